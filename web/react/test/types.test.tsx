// Proved by the compiler: `tsc` reads these lines too, and an unneeded @ts-expect-error is an error. That each wrong call
// is one by itself is proved by tests/client/test_react.py.
import type { ReactElement } from "react";
import { type PagesState, type QueryState, SKIP, SojournClient } from "sojourn-client";
import { expect, expectTypeOf, test } from "vitest";

import {
  type SessionId,
  SessionProvider,
  SessionTracker,
  useAnonymousId,
  useSessionAction,
  useSessionId,
  useSessionIdArg,
  useSessionMutation,
  useSessionPaginatedQuery,
  useSessionQuery,
  useSessionQueryState,
  useSessionStorage,
  useSessionTracker,
  useSojournClient,
} from "../src/index.js";
import type { Shop } from "./shop.js";

test("F-C2 F-C3 arguments may be left out where none is required, and queries may be skipped", () => {
  const useAll = () => {
    expectTypeOf(useSessionQuery("basket")).toEqualTypeOf<string[] | undefined>();
    expectTypeOf(useSessionQuery("basket", {})).toEqualTypeOf<string[] | undefined>();
    expectTypeOf(useSessionQuery("basket", { limit: 5 })).toEqualTypeOf<string[] | undefined>();
    expectTypeOf(useSessionQuery("basket", SKIP)).toEqualTypeOf<string[] | undefined>();
    expectTypeOf(useSessionQuery("product", { sku: "tea" })).toEqualTypeOf<Product | undefined>();
    expectTypeOf(useSessionQuery("product", SKIP)).toEqualTypeOf<Product | undefined>();
    expectTypeOf(useSessionQueryState("owner")).toEqualTypeOf<QueryState<string | null>>();
    expectTypeOf(useSessionPaginatedQuery("products", {}, { size: 5 }).results).toEqualTypeOf<readonly string[]>();
    expectTypeOf(useSessionPaginatedQuery("products", SKIP).status).toEqualTypeOf<PagesState["status"]>();
    const [add, clear] = [useSessionMutation("add"), useSessionMutation("clear")];
    expectTypeOf(add({ sku: "tea" })).resolves.toBeNull();
    expectTypeOf(add({ sku: "tea", count: 2 }, { requestId: "1" })).resolves.toBeNull();
    expectTypeOf(clear()).resolves.toBeUnknown();
    const update = add.withOptimisticUpdate((local, args) => {
      expectTypeOf(args).toEqualTypeOf<{ sku: string; count?: number }>();
      expectTypeOf(local.get("basket")).toEqualTypeOf<string[] | undefined>();
      local.set("product", { sku: args.sku }, { name: "tea", price: 3 });
      local.set("product", { sku: args.sku }, undefined);
    });
    expectTypeOf(update({ sku: "tea" })).resolves.toBeNull();
    expectTypeOf(useSessionAction("ship")({ to: "Oslo" })).resolves.toEqualTypeOf<{ parcel: string }>();
    expectTypeOf(useSessionAction("ping")()).resolves.toBeUnknown();
  };
  expect(useAll).toBeTypeOf("function");
});

interface Product {
  name: string;
  price: number;
}

test("F-C4 a wrong name, kind or argument, or one that is left out, is an error to the type checker", () => {
  const useAll = () => {
    const [add, clear, ship] = [useSessionMutation("add"), useSessionMutation("clear"), useSessionAction("ship")];
    return [
      // @ts-expect-error there is no such function
      useSessionQuery("baskets"),
      // @ts-expect-error that is a mutation
      useSessionQuery("add", { sku: "tea" }),
      // @ts-expect-error that is a query
      useSessionMutation("basket"),
      // @ts-expect-error that is a mutation
      useSessionAction("add"),
      // @ts-expect-error sku is missing
      useSessionQuery("product"),
      // @ts-expect-error sku is missing
      useSessionQuery("product", {}),
      // @ts-expect-error sku is a text
      useSessionQuery("product", { sku: 1 }),
      // @ts-expect-error there is no such argument
      useSessionQuery("product", { sku: "tea", colour: "red" }),
      // @ts-expect-error it takes no arguments
      useSessionQuery("owner", { sku: "tea" }),
      // @ts-expect-error the session is not an argument
      useSessionQuery("basket", { sessionId: "mine" }),
      // @ts-expect-error that is not the word
      useSessionQuery("basket", "skipped"),
      // @ts-expect-error sku is missing
      useSessionQueryState("product"),
      // @ts-expect-error that has no pages
      useSessionPaginatedQuery("basket"),
      // @ts-expect-error which page it is is not the caller's business
      useSessionPaginatedQuery("products", { page: {} }),
      // @ts-expect-error a size is a number
      useSessionPaginatedQuery("products", {}, { size: "5" }),
      // @ts-expect-error sku is missing
      add(),
      // @ts-expect-error sku is missing
      add({ count: 1 }),
      // @ts-expect-error a mutation is not skipped
      add(SKIP),
      // @ts-expect-error an update is given by withOptimisticUpdate
      add({ sku: "tea" }, { optimistic: () => undefined }),
      // @ts-expect-error that is not chained
      add.withOptimisticUpdate(() => undefined).withOptimisticUpdate(() => undefined),
      // @ts-expect-error there is no such query
      add.withOptimisticUpdate((local) => local.get("baskets")),
      // @ts-expect-error a basket has texts
      add.withOptimisticUpdate((local) => local.set("basket", {}, [1])),
      // @ts-expect-error an event is no argument
      <button type="button" onClick={clear} />,
      // @ts-expect-error to is missing
      ship(),
      // @ts-expect-error an action has no optimistic update
      ship.withOptimisticUpdate(() => undefined),
    ];
  };
  expect(useAll).toBeTypeOf("function");
});

test("what belongs to a session has its types", () => {
  const useAll = () => {
    expectTypeOf(useSessionId()).toEqualTypeOf<SessionId>();
    expectTypeOf(useSessionId()[0]).toEqualTypeOf<string | undefined>();
    expectTypeOf(useSessionId()[1]((newId) => newId.length)).resolves.toBeString();
    expectTypeOf(useSessionId()[2]).resolves.toBeString();
    expectTypeOf(useSessionIdArg({ sku: "tea" })).toEqualTypeOf<
      ({ sku: string } & { readonly sessionId: string }) | typeof SKIP
    >();
    expectTypeOf(useSessionStorage("theme", "dark")[0]).toEqualTypeOf<string | undefined>();
    expectTypeOf(useSojournClient()).toEqualTypeOf<SojournClient<Shop>>();
    expectTypeOf(useAnonymousId()).toEqualTypeOf<string | undefined>();
    const { trackUserAction } = useSessionTracker();
    expectTypeOf(trackUserAction("add", { resourceId: "tea" })).toBeVoid();
    // @ts-expect-error an action has a name
    trackUserAction();
    // @ts-expect-error metadata is an object
    trackUserAction("add", { metadata: 3 });
  };
  expect(useAll).toBeTypeOf("function");
});

test("a provider is given a client, or what makes one; a tracker its options", () => {
  const client = new SojournClient<Shop>({ ssr: true });
  const all = (): ReactElement[] => [
    <SessionProvider />,
    <SessionProvider client={client} ssrFriendly />,
    <SessionProvider url="https://shop.example" storage="local" storageKey="mine" queue="local" />,
    <SessionProvider useStorage={useSessionStorage} idGenerator={() => "0123456789012345678901"} issued={false} />,
    // @ts-expect-error the client has its own
    <SessionProvider client={client} storage="local" />,
    // @ts-expect-error a storage hook is in place of a storage
    <SessionProvider useStorage={useSessionStorage} storage="local" />,
    // @ts-expect-error that is what ssrFriendly is for
    <SessionProvider ssr />,
    // @ts-expect-error there is no such storage
    <SessionProvider storage="memory" />,
    <SessionTracker heartbeatInterval={300_000} storageKey="anonymousUserId" consent="required" />,
    // @ts-expect-error it is told in milliseconds
    <SessionTracker heartbeatInterval="5m" />,
    // @ts-expect-error it shows nothing
    <SessionTracker>text</SessionTracker>,
  ];
  expect(all).toBeTypeOf("function");
});
