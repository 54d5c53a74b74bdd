// Proved by the compiler: `tsc` reads these lines too, and an unneeded @ts-expect-error is an error.
import { expect, expectTypeOf, test } from "vitest";

import {
  type Action,
  type ConnectionState,
  type Consent,
  type LiveQuery,
  type Mutation,
  type Query,
  type QueryState,
  type Room,
  SKIP,
  type Session,
  SojournClient,
  SojournTracker,
} from "../src/index.js";
import { FakeServer, freshBrowser } from "./fake.js";

freshBrowser();

interface Item {
  readonly sku: string;
}

interface Shop {
  cart: Query<{ limit?: number }, Item[]>;
  owner: Query;
  add_item: Mutation<{ sku: string; count?: number }, null>;
  ship: Action<{ to: string }, { parcel: string }>;
}

function shop(): SojournClient<Shop> {
  return new SojournClient<Shop>({ fetch: new FakeServer("issued").browser() });
}

test("F-C3 arguments that are all optional may be left out", async () => {
  const client = shop();
  await client.query("cart");
  await client.query("cart", {});
  await client.query("cart", { limit: 5 });
  await client.query("owner");
  const signal = new AbortController().signal;
  expectTypeOf(client.query("cart", undefined, { signal })).resolves.toEqualTypeOf<Item[]>();
});

test("F-C4 a required argument left out, or a wrong one, is an error to the type checker", async () => {
  const client = shop();
  const calls = () => [
    // @ts-expect-error sku is missing
    client.mutation("add_item"),
    // @ts-expect-error sku is missing
    client.mutation("add_item", {}),
    // @ts-expect-error sku is a text
    client.mutation("add_item", { sku: 1 }),
    // @ts-expect-error there is no such argument
    client.mutation("add_item", { sku: "book", colour: "red" }),
    // @ts-expect-error the session is not an argument
    client.query("cart", { session_id: "mine" }),
    // @ts-expect-error there is no such function
    client.query("carts"),
    // @ts-expect-error that is a mutation
    client.query("add_item", { sku: "book" }),
    // @ts-expect-error a query has no request id
    client.query("cart", {}, { requestId: "1" }),
    // @ts-expect-error it takes no arguments
    client.query("owner", { limit: 5 }),
  ];
  expect(calls).toBeTypeOf("function");
});

test("results have their types, and those of unknown functions have none", () => {
  const client = shop();
  expectTypeOf(client.query("cart")).resolves.toEqualTypeOf<Item[]>();
  expectTypeOf(client.query("owner")).resolves.toBeUnknown();
  expectTypeOf(client.mutation("add_item", { sku: "book" })).resolves.toBeNull();
  expectTypeOf(client.action("ship", { to: "Oslo" })).resolves.toEqualTypeOf<{ parcel: string }>();
  const any = new SojournClient({ fetch: new FakeServer("issued").browser() });
  expectTypeOf(any.query("cart", { limit: 5 })).resolves.toBeUnknown();
  expectTypeOf(any.mutation("add_item", undefined, { requestId: "1" })).resolves.toBeUnknown();
  expectTypeOf(any.session).toEqualTypeOf<Session | undefined>();
});

test("what is watched has its types, and wrong calls are errors to the type checker", () => {
  const client = shop();
  expectTypeOf(client.watch("cart")).toEqualTypeOf<LiveQuery<Item[]>>();
  expectTypeOf(client.watch("cart", { limit: 5 }).state).toEqualTypeOf<QueryState<Item[]>>();
  expectTypeOf(client.watch("cart", SKIP).state.value).toEqualTypeOf<Item[] | undefined>();
  expectTypeOf(client.connection.state).toEqualTypeOf<ConnectionState>();
  expectTypeOf(new SojournClient({ fetch }).watch("cart", { limit: 5 }).state.value).toBeUnknown();
  const calls = () => [
    client.subscribe("cart", {}, ({ value }) => expectTypeOf(value).toEqualTypeOf<Item[] | undefined>()),
    client.mutation("add_item", { sku: "book" }, {
      optimistic: (local, { sku }) => local.set("cart", {}, [...(local.get("cart") ?? []), { sku }]),
    }),
    // @ts-expect-error that is a mutation
    client.watch("add_item", { sku: "book" }),
    // @ts-expect-error limit is a number
    client.watch("cart", { limit: "5" }),
    // @ts-expect-error it takes no arguments
    client.watch("owner", { limit: 5 }),
    // @ts-expect-error there is no such function
    client.subscribe("carts", {}, () => undefined),
    // @ts-expect-error arguments stand before the listener
    client.subscribe("cart", () => undefined),
    // @ts-expect-error an item has a sku
    client.mutation("add_item", { sku: "book" }, { optimistic: (local) => local.set("cart", {}, [{}]) }),
    // @ts-expect-error the connection is the client's to close
    client.connection.drop(),
  ];
  expect(calls).toBeTypeOf("function");
});

test("a tracker's calls have their types, and wrong ones are errors to the type checker", () => {
  const tracker = new SojournTracker({ ssr: true, storage: "session", consent: "required" });
  expectTypeOf(tracker.visitorId).toEqualTypeOf<string | undefined>();
  expectTypeOf(tracker.consent("granted")).toEqualTypeOf<Consent>();
  expectTypeOf(tracker.room("lobby", { data: [1], intervalMs: 5_000 })).toEqualTypeOf<Room>();
  expectTypeOf(tracker.track("add", { resourceId: "book", metadata: { price: 3 } })).toBeVoid();
  const calls = () => [
    // @ts-expect-error an action has a name
    tracker.track(),
    // @ts-expect-error metadata is an object
    tracker.track("add", { metadata: 3 }),
    // @ts-expect-error there is no such option
    tracker.track("add", { resource: "book" }),
    // @ts-expect-error there is no such state
    tracker.consent("maybe"),
    // @ts-expect-error a cookie is the server's; it keeps no visitor
    new SojournTracker({ storage: "cookie" }),
    // @ts-expect-error what the tracker does with it is none of the page's business
    tracker.room("lobby").exit(),
  ];
  expect(calls).toBeTypeOf("function");
});
