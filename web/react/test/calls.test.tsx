import { useEffect } from "react";
import { type Local, SojournClient } from "sojourn-client";
import { describe, expect, test } from "vitest";

import { LiveServer } from "../../client/test/fake-live.js";
import { KEY, counting, minted, refused } from "../../client/test/fake.js";
import {
  type ActionCall,
  type SessionMutation,
  SessionProvider,
  useSessionAction,
  useSessionMutation,
  useSessionQuery,
} from "../src/index.js";
import type { Shop } from "./shop.js";
import { doing, freshPage } from "./stage.js";

const newStage = freshPage();

const url = "https://shop.example";

/** A shop whose basket is what was added, and a client of it. */
function visit(ssr = false) {
  const server = new LiveServer("minted");
  server.queries.set("basket", () => server.applied.map((call) => (call.arguments as { sku: string }).sku));
  const { WebSocket } = server;
  const options = { url, storage: "session", fetch: server.browser(), WebSocket, idGenerator: counting(), ssr } as const;
  return { server, client: new SojournClient<Shop>(options) };
}

/** The basket, and what adds to it. */
function basket() {
  const calls = new Set<SessionMutation<"add">>();
  const shown: string[] = [];
  const Basket = (): string => {
    calls.add(useSessionMutation("add"));
    shown.push(useSessionQuery("basket")?.join() ?? "loading");
    return shown.at(-1) as string;
  };
  return { Basket, calls, shown, add: () => [...calls].at(-1) as SessionMutation<"add"> };
}

const added = (local: Local<Shop>, { sku }: { sku: string }): void =>
  local.set("basket", {}, [...(local.get("basket") ?? []), `${sku}?`]);

describe("a mutation", () => {
  test("is one function in all renders, and settles when its effect is shown", async () => {
    const { client } = visit();
    const { Basket, calls, add } = basket();
    const stage = newStage();
    for (let time = 0; time < 3; time++) await stage.show(<SessionProvider client={client} children={<Basket />} />);
    expect(await doing(() => add()({ sku: "tea" }))).toMatchObject({ arguments: { sku: "tea" } });
    expect(stage.text).toBe("tea");
    expect(calls.size).toBe(1);
  });

  test("F-C1 F-C5 F-C6 is sent with its arguments and options, and as nobody else's", async () => {
    const { server, client } = visit();
    const { Basket, add } = basket();
    await newStage().show(<SessionProvider client={client} children={<Basket />} />);
    const args = { sku: "tea", sessionId: "another's", session_id: "another's" };
    await doing(() => add()(args, { requestId: "mine" }));
    expect(server.calls()[0]).toMatchObject({
      header: minted(1),
      body: { function: "add", arguments: { sku: "tea" }, request_id: "mine" },
    });
  });

  test("F-C2 without arguments is called without any", async () => {
    const { server, client } = visit();
    let clear: SessionMutation<"clear"> | undefined;
    const Clear = (): null => {
      clear = useSessionMutation("clear");
      return null;
    };
    await newStage().show(<SessionProvider client={client} children={<Clear />} />);
    await doing(() => clear?.());
    expect(server.calls().map(({ body }) => body["arguments"])).toEqual([undefined]);
  });

  test("F-C23 F-C30 of the first effects waits for the id; its update is shown when the call is made", async () => {
    const { server, client } = visit(true);
    sessionStorage.setItem(KEY, minted(5));
    const { Basket, shown } = basket();
    const Eager = (): null => {
      const add = useSessionMutation("add").withOptimisticUpdate(added);
      useEffect(() => void add({ sku: "tea" }, { requestId: "one" }), [add]);
      return null;
    };
    const stage = newStage();
    await stage.show(
      <SessionProvider client={client} ssrFriendly>
        <Basket />
        <Eager />
      </SessionProvider>,
    );
    expect(new Set(server.calls().map(({ header }) => header))).toEqual(new Set([minted(5)]));
    expect(server.applied).toHaveLength(1);
    expect(shown[0]).toBe("loading");
    expect(stage.text).toBe("tea");
  });
});

describe("an optimistic update", () => {
  test("F-C29 is shown at once, gets the arguments, and gives way to the result", async () => {
    const { client } = visit();
    const { Basket, add, shown } = basket();
    const stage = newStage();
    await stage.show(<SessionProvider client={client} children={<Basket />} />);
    await doing(() => add().withOptimisticUpdate(added)({ sku: "tea" }));
    expect([...new Set(shown)]).toEqual(["loading", "", "tea?", "tea"]);
  });

  test("F-C29 is taken back when the call fails", async () => {
    const { server, client } = visit();
    const { Basket, add, shown } = basket();
    await newStage().show(<SessionProvider client={client} children={<Basket />} />);
    server.next("POST /call", refused("application", 422, { data: "no" }));
    await doing(() => expect(add().withOptimisticUpdate(added)({ sku: "tea" })).rejects.toMatchObject({ data: "no" }));
    expect([...new Set(shown)]).toEqual(["loading", "", "tea?"]);
    expect(shown.at(-1)).toBe("");
  });

  test("makes one plain function of one update: stable, and not to be given another", async () => {
    const { client } = visit();
    const { Basket, add } = basket();
    await newStage().show(<SessionProvider client={client} children={<Basket />} />);
    const call = add().withOptimisticUpdate(added);
    expect(call).toBe(add().withOptimisticUpdate(added));
    expect(call).not.toBe(add().withOptimisticUpdate((...given) => added(...given)));
    expect(call).not.toHaveProperty("withOptimisticUpdate");
  });
});

describe("an action", () => {
  test("is one function in all renders, and is sent as the session", async () => {
    const { server, client } = visit();
    const calls = new Set<ActionCall<"ship">>();
    const Ship = (): null => {
      calls.add(useSessionAction("ship"));
      return null;
    };
    const stage = newStage();
    for (let time = 0; time < 2; time++) await stage.show(<SessionProvider client={client} children={<Ship />} />);
    const [ship, ...others] = calls;
    expect(others).toEqual([]);
    await doing(() => ship?.({ to: "Oslo" }));
    expect(server.calls()[0]).toMatchObject({ header: minted(1), body: { kind: "action", arguments: { to: "Oslo" } } });
  });

  test("of a page that was rendered on a server waits for the id", async () => {
    const { server, client } = visit(true);
    sessionStorage.setItem(KEY, minted(5));
    const Ping = (): null => {
      const ping = useSessionAction("ping");
      useEffect(() => void ping(), [ping]);
      return null;
    };
    await newStage().show(<SessionProvider client={client} ssrFriendly children={<Ping />} />);
    expect(new Set(server.calls().map(({ header }) => header))).toEqual(new Set([minted(5)]));
  });
});
