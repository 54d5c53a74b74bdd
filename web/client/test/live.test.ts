// Watching queries: the rows F-C26 to F-C30 and F-C68 to F-C78 as far as they are the browser's.
import { beforeEach, describe, expect, test, vi } from "vitest";

import {
  type ClientOptions,
  type Local,
  type MutationOptions,
  type QueryState,
  SKIP,
  SojournClient,
  SojournError,
} from "../src/index.js";
import {
  FakeStorage,
  type Fault,
  KEY,
  counting,
  freshBrowser,
  minted,
  refused,
  settled,
  silent,
  unanswered,
  unsent,
} from "./fake.js";
import { LiveServer } from "./fake-live.js";

freshBrowser();
beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  vi.spyOn(Math, "random").mockReturnValue(0);
});

/** A client of a shop whose basket is what was added. */
function visit(options: ClientOptions = {}, server = new LiveServer("minted")) {
  server.queries.set("cart", ({ limit = 100 }) => server.applied.map((call) => call.arguments).slice(0, limit as number));
  server.queries.set("count", () => server.applied.length);
  server.queries.set("mine", (_, session) => session.id);
  const storage = new FakeStorage();
  const client = new SojournClient({
    storage,
    idGenerator: counting(),
    fetch: server.browser(),
    WebSocket: server.WebSocket,
    ...options,
  });
  return { server, client, storage };
}

/** Let time pass, and then all that is under way come to an end. */
async function pass(ms = 1): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  for (let turn = 0; turn < 5; turn++) await vi.advanceTimersByTimeAsync(0);
}

/** A call that is under way while the test goes on. */
async function unsettled(call: Promise<unknown>): Promise<void> {
  call.catch(() => undefined);
  await pass();
}

/** Each state that a query has, as the page is told. */
function follow(client: SojournClient, name: string, args: object | typeof SKIP = {}) {
  const states: QueryState[] = [];
  const stop = client.subscribe(name, args as Record<string, unknown>, (state) => states.push(state));
  return { states, stop, values: () => states.map(({ status, value }) => value ?? status) };
}

/** Every change of the shop, as the mutation that made it. */
const add = (client: SojournClient, sku: string): Promise<unknown> => client.mutation("add_item", { sku });

test("a query is loading, then it has a value, and each later one", async () => {
  const { client } = visit();
  const { values } = follow(client, "count");
  await pass();
  await add(client, "book");
  await add(client, "lamp");
  expect(values()).toStrictEqual(["loading", 0, 1, 2]);
});

test("what the server tells of the session is known, without a call", async () => {
  const { client, server } = visit();
  follow(client, "count");
  await pass();
  expect(client.session).toMatchObject({ id: server.sessions[0]?.id, subject: null });
});

test("nothing is connected before somebody listens, and after the last has stopped", async () => {
  const { client, server } = visit();
  const query = client.watch("count");
  await pass();
  expect([query.state, client.connection.state, server.requests]).toStrictEqual([{ status: "loading" }, "idle", []]);
  const stop = query.onChange(() => undefined);
  await pass();
  expect([query.state.value, client.connection.state]).toStrictEqual([0, "open"]);
  stop();
  stop();
  await pass();
  expect([query.state, client.connection.state]).toStrictEqual([{ status: "loading" }, "idle"]);
  expect(server.open).toStrictEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test("P-R14 an idle page is silent: no request leaves it, and nothing is said over the connection", async () => {
  const { client, server } = visit();
  follow(client, "count");
  await pass();
  const before = [server.requests.length, server.socket.said.length];
  for (let minute = 0; minute < 10; minute++) {
    for (let beat = 0; beat < 4; beat++) {
      await pass(15_000);
      server.socket.tell({ type: "beat" });
    }
  }
  expect([server.requests.length, server.socket.said.length]).toStrictEqual(before);
  expect(server.sockets).toHaveLength(1);
});

test("F-C26 a skipped query asks for nothing and stays loading", async () => {
  const { client, server } = visit();
  const { states } = follow(client, "count", SKIP);
  await pass(60_000);
  expect(states).toStrictEqual([{ status: "loading" }]);
  expect([server.requests, server.sockets]).toStrictEqual([[], []]);
});

test("F-C27 from skipped to real arguments and back: nothing comes late", async () => {
  const { client, server } = visit();
  const before = follow(client, "count", SKIP);
  before.stop();
  const real = follow(client, "count");
  follow(client, "cart");
  await pass();
  expect(real.values()).toStrictEqual(["loading", 0]);
  server.isSlow = true;
  await unsettled(add(client, "book"));
  real.stop();
  const after = follow(client, "count", SKIP);
  await pass();
  server.isSlow = false;
  server.socket.deliver();
  await pass();
  expect(server.socket.heard("watch").at(-1)).toMatchObject({ remove: [1] });
  expect(real.values()).toStrictEqual(["loading", 0]);
  expect(after.values()).toStrictEqual(["loading"]);
  expect(client.watch("count").state).toStrictEqual({ status: "loading" });
});

describe("F-C28 F-C78 when the session changes", () => {
  test("the values of the one before go at once, and never mix with the new ones", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "mine");
    await pass();
    const first = server.sessions[0]!.id;
    const old = server.socket;
    client.setSessionId(minted(7));
    await Promise.resolve().then(() => undefined);
    await Promise.resolve();
    expect(client.watch("mine").state).toStrictEqual({ status: "loading" });
    old.tell({ type: "transition", version: server.version + 5, updates: [{ id: 1, result: "of the one before" }], synced: [] });
    await pass();
    expect(values()).toStrictEqual(["loading", first, "loading", server.sessions[1]!.id]);
    expect(old.isClosed).toBe(true);
    expect(server.open).toHaveLength(1);
  });

  test("also when nothing was watched for a while", async () => {
    const { client, server } = visit();
    const before = follow(client, "mine");
    await pass();
    before.stop();
    await pass();
    const { values } = follow(client, "mine");
    await pass();
    client.setSessionId(minted(7));
    await pass();
    expect(values().at(-1)).toBe(server.sessions[1]!.id);
  });

  test("by another tab, the same", async () => {
    const storage = new FakeStorage();
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
    const { client, server } = visit({ storage });
    const { values } = follow(client, "mine");
    await pass();
    storage.setItem(KEY, minted(7));
    page.dispatchEvent(Object.assign(new Event("storage"), { storageArea: storage, key: KEY }));
    await pass();
    expect(values()).toStrictEqual(["loading", server.sessions[0]!.id, "loading", server.sessions[1]!.id]);
  });

  test("a refresh is no change: what is shown stays, and goes on when the old id has died", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "mine");
    await pass();
    await client.refreshSessionId();
    await pass();
    server.socket.goodbye("session_invalid");
    await pass(100);
    await pass();
    expect(values()).toStrictEqual(["loading", server.sessions[0]!.id]);
    expect(server.sockets).toHaveLength(2);
    expect(server.sessions).toHaveLength(1);
  });

  test("a session that has ended is begun anew, and its values are the new one's", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "mine");
    await pass();
    const first = server.sessions[0]!;
    first.secrets.set(minted(1), 0);
    server.socket.goodbye("session_invalid");
    await pass(100);
    await pass();
    expect(values()).toStrictEqual(["loading", first.id, "loading", server.sessions[1]!.id]);
  });

  test("a server that refuses every session is not asked without a pause", async () => {
    const { client, server } = visit();
    follow(client, "mine");
    for (let turn = 0; turn < 600; turn++) {
      await pass(100);
      server.open[0]?.goodbye("session_invalid");
    }
    // 60 seconds; the pauses grow to 2 seconds, which is the fixed half of 4.
    expect(server.sockets.length).toBeLessThan(40);
  });

  test("a new subject is a new connection, and what is shown stays until it is replaced", async () => {
    const { client, server } = visit();
    server.queries.set("who", (_, session) => session.subject ?? "nobody");
    const { values } = follow(client, "who");
    await pass();
    server.sessions[0]!.subject = "ada";
    await client.loadSession();
    await pass();
    expect(values()).toStrictEqual(["loading", "nobody", "ada"]);
    expect(server.sockets).toHaveLength(2);
    expect(client.session?.subject).toBe("ada");
  });

  test("ending it leaves nothing of it on the page", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "mine");
    await pass();
    const first = server.sessions[0]!.id;
    await client.endSession();
    await pass();
    expect(values()).toStrictEqual(["loading", first, "loading", server.sessions[0]!.id]);
    expect(server.sessions[0]!.id).not.toBe(first);
  });

  test("while a connection is made, it is made for the new one", async () => {
    const { client, server } = visit();
    let isFirst = true;
    server.next("POST /live/ticket", (answer) => {
      if (isFirst) client.setSessionId(minted(7));
      isFirst = false;
      return answer();
    });
    const { values } = follow(client, "mine");
    await pass();
    await pass();
    expect(values()).toStrictEqual(["loading", server.sessions[1]!.id]);
  });
});

describe("F-C29 an optimistic update", () => {
  const optimistic: MutationOptions["optimistic"] = (local, args) => {
    const cart = local.get("cart") as unknown[] | undefined;
    local.set("cart", {}, [...(cart ?? []), { ...(args as object), isHere: "soon" }]);
  };
  const soon = (sku: string) => ({ sku, isHere: "soon" });

  test("shows at once, is given the arguments, and gives way to the real result, in one change", async () => {
    const { client } = visit();
    const { states } = follow(client, "cart");
    await pass();
    const done = client.mutation("add_item", { sku: "book" }, { optimistic });
    expect(client.watch("cart").state.value).toStrictEqual([soon("book")]);
    await done;
    expect(states.map(({ value }) => value)).toStrictEqual([undefined, [], [soon("book")], [{ sku: "book" }]]);
  });

  test("stays until its mutation is reflected; those of others lie over what the server says, in order", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "cart");
    await pass();
    server.next("POST /call", (answer) => answer(), silent);
    const all = ["book", "lamp"].map((sku) => client.mutation("add_item", { sku }, { optimistic }));
    expect(values().at(-1)).toStrictEqual([soon("book"), soon("lamp")]);
    await pass(3_100);
    await all[0];
    // The answer of the second is late: what it did is there already, and the server has not said so.
    expect(values().at(-1)).toStrictEqual([{ sku: "book" }, { sku: "lamp" }, soon("lamp")]);
    server.applied.unshift({ session: "", function: "", arguments: "another's" });
    server.commit();
    await pass(60_000);
    await all[1];
    expect(values().at(-1)).toStrictEqual(["another's", { sku: "book" }, { sku: "lamp" }]);
  });

  test("never shows beside its own effect, although that comes before the answer", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "count");
    await pass();
    const plusOne: MutationOptions["optimistic"] = (local) => local.set("count", {}, (local.get("count") as number) + 1);
    const late: Fault = async (answer) => {
      const response = answer();
      await new Promise((resolve) => setTimeout(resolve, 400));
      return response;
    };
    server.next("POST /call", ...Array.from({ length: 10 }, () => late));
    const all = Array.from({ length: 10 }, () => client.mutation("add_item", {}, { optimistic: plusOne }));
    for (let turn = 0; turn < 60; turn++) await pass(100);
    await Promise.all(all);
    expect(values()).toStrictEqual(["loading", ...Array.from({ length: 11 }, (_, n) => n)]);
    expect(vi.getTimerCount()).toBe(1);
  });

  test("that was given up while it waited holds back nothing", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "cart");
    await pass();
    server.next("POST /call", silent);
    const controller = new AbortController();
    void client.mutation("add_item", { sku: "book" }, { optimistic, signal: controller.signal }).catch(() => undefined);
    const second = client.mutation("add_item", { sku: "lamp" }, { optimistic, signal: controller.signal });
    await pass();
    controller.abort("enough");
    await expect(second).rejects.toBe("enough");
    await pass(3_500);
    server.applied.length = 0;
    server.commit();
    expect(values().at(-1)).toStrictEqual([]);
  });

  test("that was given up while it waited for the one before to be shown holds back nothing either", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "cart");
    await pass();
    server.next("POST /call", async (answer) => {
      const response = answer();
      await new Promise((resolve) => setTimeout(resolve, 400));
      server.isSlow = true;
      return response;
    });
    const controller = new AbortController();
    const first = client.mutation("add_item", { sku: "book" }, { optimistic });
    const second = client.mutation("add_item", { sku: "lamp" }, { optimistic, signal: controller.signal });
    await pass(500);
    controller.abort("enough");
    await expect(second).rejects.toBe("enough");
    server.isSlow = false;
    server.socket.deliver();
    await first;
    await pass();
    server.applied.push({ session: "", function: "", arguments: "another's" });
    server.commit();
    expect(values().at(-1)).toStrictEqual([{ sku: "book" }, "another's"]);
  });

  test("is taken back when the call fails, and when it is given up", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "cart");
    await pass();
    server.next("POST /call", refused("application", 422));
    const failed = client.mutation("add_item", { sku: "book" }, { optimistic });
    await expect(failed).rejects.toMatchObject({ code: "application" });
    expect(values()).toStrictEqual(["loading", [], [soon("book")], []]);
    const given = client.mutation("add_item", { sku: "lamp" }, { optimistic, signal: AbortSignal.abort("enough") });
    await expect(given).rejects.toBe("enough");
    expect(values().slice(-2)).toStrictEqual([[soon("lamp")], []]);
    expect(server.applied).toStrictEqual([]);
  });

  test("that guessed right changes nothing a second time", async () => {
    const { client } = visit();
    const { states } = follow(client, "count");
    await pass();
    await client.mutation("add_item", {}, { optimistic: (local) => local.set("count", {}, 1) });
    await add(client, "lamp");
    expect(states.map(({ value }) => value)).toStrictEqual([undefined, 0, 1, 2]);
  });

  test("set to undefined shows loading; what has failed or is not watched has no value", async () => {
    const { client, server } = visit();
    server.queries.set("broken", () => {
      throw "no";
    });
    follow(client, "broken");
    const { values } = follow(client, "count");
    await pass();
    const seen: unknown[] = [];
    await client.mutation("add_item", {}, {
      optimistic: (local) => {
        seen.push(local.get("broken"), local.get("cart"), local.get("count"));
        local.set("count", {}, undefined);
        local.set("cart", {}, ["nobody watches"]);
        seen.push(local.get("count"));
      },
    });
    expect(seen.slice(0, 4)).toStrictEqual([undefined, undefined, 0, undefined]);
    expect(values()).toStrictEqual(["loading", 0, "loading", 1]);
    expect(client.watch("cart").state).toStrictEqual({ status: "loading" });
  });

  test("that returns a promise or throws is an error, nothing is sent, and nothing of it shows", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "count");
    await pass();
    const late = client.mutation("add_item", {}, {
      optimistic: async (local) => {
        local.set("count", {}, 7);
        await Promise.reject(new Error("nobody hears this"));
      },
    });
    await expect(late).rejects.toMatchObject({ code: "invalid", valueName: "optimistic" });
    const broken = client.mutation("add_item", {}, {
      optimistic: (local) => {
        local.set("count", {}, 7);
        throw new Error("mine");
      },
    });
    await expect(broken).rejects.toThrow("mine");
    expect(values()).toStrictEqual(["loading", 0]);
    expect(server.calls()).toStrictEqual([]);
  });

  test("that fails on what the server said later is dropped and reported, and the others stay", async () => {
    const { client, server } = visit();
    const reported = vi.fn();
    process.once("unhandledRejection", reported);
    const { values } = follow(client, "cart");
    await pass();
    server.next("POST /call", silent);
    const options = {
      optimistic: (local: Local) => {
        if ((local.get("cart") as unknown[]).length) throw new Error("mine");
        local.set("cart", {}, ["soon"]);
      },
    };
    void client.mutation("add_item", {}, options).catch(() => undefined);
    server.applied.push({ session: "", function: "", arguments: "another's" });
    await pass(3_000);
    expect(values()).toStrictEqual(["loading", [], ["soon"], ["another's", {}]]);
    vi.useRealTimers();
    await settled();
    expect(reported).toHaveBeenCalledTimes(1);
  });

  test("keeps the arguments it was called with", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "cart");
    await pass();
    const args = { sku: "book" };
    const sent = client.mutation("add_item", args, { optimistic });
    args.sku = "lamp";
    server.applied.push({ session: "", function: "", arguments: "another's" });
    server.commit();
    expect(values().at(-1)).toStrictEqual(["another's", soon("book")]);
    await sent;
  });
});

test("F-C30 an optimistic update of a call that waits for the session shows when the call is made", async () => {
  const { client, server } = visit({ ssr: true });
  const { values } = follow(client, "count");
  const done = client.mutation("add_item", {}, { optimistic: (local) => local.set("count", {}, "soon") });
  await pass();
  expect([values(), server.requests]).toStrictEqual([["loading"], []]);
  server.next("POST /call", silent);
  void client.start();
  await pass();
  expect(values().at(-1)).toBe("soon");
  await pass(60_000);
  await done;
  expect(values().at(-1)).toBe(1);
});

test("F-C30 one that was given up before the call was made never shows", async () => {
  const { client } = visit({ ssr: true });
  const { values } = follow(client, "count");
  const signal = AbortSignal.abort("enough");
  const given = client.mutation("add_item", {}, { signal, optimistic: (local) => local.set("count", {}, "soon") });
  await expect(given).rejects.toBe("enough");
  void client.start();
  await pass();
  expect(values()).toStrictEqual(["loading", 0]);
});

test("F-C68 what is equal is not told, also after a new connection", async () => {
  const { client, server } = visit();
  const { states } = follow(client, "cart");
  await add(client, "book");
  await pass();
  const before = [...states];
  const { state } = client.watch("cart");
  server.drop();
  await pass(100);
  await pass();
  expect(server.open[0]?.ids).toHaveLength(1);
  expect(states).toStrictEqual(before);
  expect(client.watch("cart").state).toBe(state);
});

test("F-C69 what one transition brings is there before anybody is told, also when it comes in parts", async () => {
  const { client, server } = visit();
  const pairs: unknown[] = [];
  const look = () => pairs.push([client.watch("count").state.value, (client.watch("cart").state.value as unknown[])?.length]);
  client.watch("count").onChange(look);
  client.watch("cart").onChange(look);
  await pass();
  await add(client, "book");
  expect(pairs).toStrictEqual([[0, 0], [0, 0], [1, 1], [1, 1]]);
  const [count, cart] = server.socket.ids;
  const version = ++server.version;
  server.socket.tell({ type: "transition", version, updates: [{ id: count, result: 2 }], synced: [], more: true });
  expect(pairs).toHaveLength(4);
  server.socket.tell({ type: "transition", version, updates: [{ id: cart, result: [1, 2] }], synced: [], more: false });
  expect(pairs.slice(4)).toStrictEqual([[2, 2], [2, 2]]);
});

describe("F-C70 a mutation settles", () => {
  test("when what is watched shows it", async () => {
    const { client, server } = visit();
    follow(client, "count");
    await pass();
    server.isSlow = true;
    const done = vi.fn();
    const sent = add(client, "book").then(done);
    await pass(1_000);
    expect([server.applied.length, done.mock.calls.length]).toStrictEqual([1, 0]);
    server.isSlow = false;
    server.socket.deliver();
    await sent;
    expect(client.watch("count").state.value).toBe(1);
  });

  test("at once where nothing is watched, and a failure does anyway", async () => {
    const { client, server } = visit();
    await add(client, "book");
    follow(client, "count");
    await pass();
    server.isSlow = true;
    server.next("POST /call", refused("application", 422));
    await expect(add(client, "lamp")).rejects.toMatchObject({ code: "application" });
    expect(server.sockets[0]?.heard("sync")).toStrictEqual([]);
  });

  test("also when what was watched is left meanwhile, or the server never says", async () => {
    const { client, server } = visit();
    const { stop } = follow(client, "count");
    await pass();
    server.isSlow = true;
    const first = add(client, "book");
    await pass();
    stop();
    await first;
    server.isSlow = false;
    follow(client, "count");
    await pass();
    server.isSlow = true;
    const second = add(client, "lamp");
    await pass(15_000);
    await second;
  });

  test("asking once for all that wait", async () => {
    const { client, server } = visit();
    follow(client, "count");
    await pass();
    server.isSlow = true;
    const all = Array.from({ length: 300 }, (_, n) => add(client, `${n}`));
    await pass(1_000);
    expect(server.applied).toHaveLength(300);
    expect(server.socket.heard("sync")).toHaveLength(1);
    server.isSlow = false;
    server.socket.deliver();
    await Promise.all(all);
    expect(server.socket.heard("sync")).toHaveLength(2);
    expect(client.watch("count").state.value).toBe(300);
  });

  test("at once on a page to which no connection has ever been let through", async () => {
    const { client, server } = visit();
    server.isAway = true;
    follow(client, "count");
    await pass(10_000);
    await add(client, "book");
    expect(server.applied).toHaveLength(1);
  });
});

test("F-C72 what is of an older version, or of the same, is not shown", async () => {
  const { client, server } = visit();
  const { values } = follow(client, "count");
  await pass();
  const { socket, version } = server;
  const say = (at: number, result: unknown) =>
    socket.tell({ type: "transition", version: at, updates: [{ id: socket.ids[0], result }], synced: [] });
  say(version + 5, "newer");
  say(version + 5, "the same");
  say(version + 4, "older");
  say(version + 6, "newest");
  expect(values()).toStrictEqual(["loading", 0, "newer", "newest"]);
});

test("F-C73 a query that fails keeps its value, and recovers in the same subscription", async () => {
  const { client, server } = visit();
  const { states } = follow(client, "count");
  await pass();
  server.queries.set("count", () => {
    throw { left: 0 };
  });
  server.commit();
  server.queries.set("count", () => 2);
  server.commit();
  expect(states[2]).toMatchObject({ status: "error", value: 0, error: { code: "application", data: { left: 0 } } });
  expect(states[2]?.error).toBeInstanceOf(SojournError);
  expect(states[3]).toStrictEqual({ status: "value", value: 2 });
  expect(server.socket.heard("watch")).toHaveLength(1);
});

describe("F-C74 a connection lost around a mutation", () => {
  test.each([
    ["before it arrived", unsent],
    ["after it was done", unanswered],
  ])("%s: it is done once, and settles after the page has caught up", async (_, fault) => {
    const { client, server } = visit();
    follow(client, "count");
    await pass();
    server.next("POST /call", (answer, signal) => {
      server.drop();
      server.isAway = true;
      return fault(answer, signal);
    });
    const done = vi.fn();
    const sent = add(client, "book").then(done);
    await pass(3_000);
    expect([server.applied.length, done.mock.calls.length]).toStrictEqual([1, 0]);
    server.isAway = false;
    await pass(4_000);
    await sent;
    expect(server.applied).toHaveLength(1);
    expect(client.watch("count").state.value).toBe(1);
  });

  test("while it waits to be shown: it settles with the next connection, and so does its optimistic update", async () => {
    const { client, server } = visit();
    const { values } = follow(client, "count");
    await pass();
    server.isSlow = true;
    const sent = client.mutation("add_item", {}, { optimistic: (local) => local.set("count", {}, "soon") });
    await pass();
    server.drop();
    server.isSlow = false;
    await pass(100);
    await sent;
    expect(values()).toStrictEqual(["loading", 0, "soon", 1]);
  });
});

test("F-C75 an action under way when the connection is lost fails, and is not repeated", async () => {
  const { client, server } = visit();
  follow(client, "count");
  await pass();
  server.next("POST /call", (answer, signal) => {
    server.drop();
    return unanswered(answer, signal);
  });
  await expect(client.action("ship")).rejects.toMatchObject({ code: "connection_lost", retry: "never", written: "perhaps" });
  await pass(60_000);
  expect(server.calls()).toHaveLength(1);
});

test("F-C76 a server that is behind what was shown is left, until one is not", async () => {
  const { client, server } = visit();
  const { values } = follow(client, "count");
  await pass();
  await add(client, "book");
  const { version } = server;
  server.version -= 1_000;
  server.drop();
  await pass(3_000);
  expect(server.sockets.at(-1)?.heard("connect")[0]).toMatchObject({ protocol: 1, seen: version });
  expect(server.open).toStrictEqual([]);
  expect(values()).toStrictEqual(["loading", 0, 1]);
  server.version = version + 1;
  await pass(4_000);
  await add(client, "lamp");
  expect(values()).toStrictEqual(["loading", 0, 1, 2]);
});

describe("F-C77 what is watched a hundred times", () => {
  test("is watched once, whatever the order of the arguments, and until the last has stopped", async () => {
    const { client, server } = visit();
    const same = [{ a: 1, b: [{ c: 2, d: 3 }] }, { b: [{ d: 3, c: 2 }], a: 1 }] as const;
    const all = Array.from({ length: 100 }, (_, n) => follow(client, "cart", same[n % 2]));
    follow(client, "cart", { a: 1, b: [{ c: 2 }] });
    await pass();
    expect(server.socket.heard("watch")).toMatchObject([{ add: [{ function: "cart" }, { function: "cart" }] }]);
    for (const { stop } of all.slice(1)) stop();
    await add(client, "book");
    expect(server.socket.heard("watch")).toHaveLength(1);
    expect(all[0]?.values()).toStrictEqual(["loading", [], [{ sku: "book" }]]);
    expect(all[1]?.values()).toStrictEqual(["loading", []]);
    all[0]?.stop();
    await pass();
    expect(server.socket.heard("watch").at(-1)).toStrictEqual({ type: "watch", remove: [1] });
  });

  test("who comes later has the value at once, and one function may listen twice", async () => {
    const { client } = visit();
    follow(client, "count");
    await pass();
    expect(follow(client, "count").values()).toStrictEqual([0]);
    const heard = vi.fn();
    const stop = client.watch("count").onChange(heard);
    client.watch("count").onChange(heard);
    stop();
    await add(client, "book");
    expect(heard).toHaveBeenCalledTimes(1);
  });

  test("the session is never an argument", async () => {
    const { client, server } = visit();
    follow(client, "count", { sessionId: minted(1), session_id: minted(1) });
    follow(client, "count");
    await pass();
    expect(server.socket.heard("watch")).toMatchObject([{ add: [{ arguments: {} }] }]);
  });
});

test("what is watched and left in one task is one message, and what is left and watched again none", async () => {
  const { client, server } = visit();
  const first = follow(client, "count");
  await pass();
  first.stop();
  follow(client, "cart");
  follow(client, "mine");
  await pass();
  expect(server.socket.heard("watch").slice(1)).toMatchObject([{ add: [{ id: 2 }, { id: 3 }], remove: [1] }]);
  const again = follow(client, "count");
  await pass();
  again.stop();
  const last = follow(client, "count");
  await pass();
  expect(last.values()).toStrictEqual([0]);
  expect(server.socket.heard("watch")).toHaveLength(3);
});

test("what is watched on a large scale goes in messages that the server takes", async () => {
  const { client, server } = visit();
  for (let n = 0; n < 30; n++) follow(client, "cart", { limit: n, note: "x".repeat(20_000) });
  await pass();
  const sizes = server.socket.heard("watch").map((message) => JSON.stringify(message).length);
  expect(Math.max(...sizes)).toBeLessThan(262_144);
  expect(server.socket.ids).toHaveLength(30);
  expect(() => follow(client, "cart", { note: "x".repeat(200_000) })).toThrow(/arguments: they have over/);
});

test("more than the server takes is refused here, and what was watched stays", async () => {
  const { client, server } = visit();
  for (let n = 0; n < 999; n++) follow(client, "cart", { limit: n });
  expect(() => follow(client, "cart", { limit: 1_000 })).toThrow(expect.objectContaining({ code: "overloaded" }));
  follow(client, "cart", { limit: 998 });
  await pass();
  expect(server.socket.ids).toHaveLength(999);
});

test("a listener that fails is reported and disturbs nobody, and one that stops another is heeded", async () => {
  const { client } = visit();
  const reported = vi.fn();
  process.once("unhandledRejection", reported);
  const told = vi.fn();
  client.watch("count").onChange(() => {
    throw new Error("mine");
  });
  client.watch("count").onChange(() => stop());
  const stop = client.watch("count").onChange(told);
  client.watch("count").onChange(told);
  await pass();
  expect(told).toHaveBeenCalledTimes(1);
  vi.useRealTimers();
  await settled();
  expect(reported).toHaveBeenCalledTimes(1);
});

declare const process: { once(event: string, listener: (...given: unknown[]) => void): void };
