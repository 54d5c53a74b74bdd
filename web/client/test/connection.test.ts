// The connection's life: when it is made, lost, and made anew.
import { beforeEach, describe, expect, test, vi } from "vitest";

import { type ClientOptions, SojournClient } from "../src/index.js";
import { FakeStorage, counting, freshBrowser, minted, refused, silent, unsent } from "./fake.js";
import { LiveServer } from "./fake-live.js";

freshBrowser();
let page: EventTarget;
beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  vi.spyOn(Math, "random").mockReturnValue(0);
  page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
});

async function pass(ms = 1): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  for (let turn = 0; turn < 5; turn++) await vi.advanceTimersByTimeAsync(0);
}

/** A client that watches how many mutations there were. */
function visit(options: ClientOptions = {}, server = new LiveServer("minted")) {
  server.queries.set("count", () => server.applied.length);
  const client = new SojournClient({
    storage: new FakeStorage(),
    idGenerator: counting(),
    fetch: server.browser(),
    WebSocket: server.WebSocket,
    ...options,
  });
  const states: string[] = [];
  client.connection.onChange(() => states.push(client.connection.state));
  const watch = () => client.subscribe("count", {}, () => undefined);
  return { server, client, states, watch, value: () => client.watch("count").state };
}

/** After how many milliseconds each connection was tried. */
function times(server: LiveServer): number[] {
  return server.triedAt.map((at) => at - (server.triedAt[0] as number));
}

test("it is opened at the server's address, with a ticket and the version, and no secret in the address", async () => {
  const { server, watch } = visit({ url: "https://shop.example/" });
  watch();
  await pass();
  expect(server.socket.url).toBe("wss://shop.example/live");
  expect(server.socket.said[0]).toStrictEqual({ type: "connect", protocol: 1, ticket: "ticket 1" });
  expect(server.calls("POST /live/ticket")).toMatchObject([{ header: minted(1), body: {} }]);
});

test.each([
  ["http://127.0.0.1:8000", "ws://127.0.0.1:8000/live"],
  ["https://shop.example/api/", "wss://shop.example/api/live"],
  ["/api", "wss://shop.example/api/live"],
  ["", "wss://shop.example/live"],
])("the address %j leads to %s", async (url, found) => {
  const server = new LiveServer("minted");
  const browser = server.browser();
  const { watch } = visit({ url, fetch: (to, init) => browser(String(to).slice(url.replace(/\/$/, "").length), init) }, server);
  watch();
  await pass();
  expect(server.socket.url).toBe(found);
});

test("a page can follow how it stands", async () => {
  const { server, client, states, watch } = visit();
  expect(client.connection.state).toBe("idle");
  const stop = watch();
  await pass();
  server.drop();
  await pass(100);
  stop();
  await pass();
  expect(states).toStrictEqual(["connecting", "open", "closed", "connecting", "open", "idle"]);
});

test("without WebSocket there is an error as soon as somebody watches, and not before", async () => {
  vi.stubGlobal("WebSocket", undefined);
  const { client, watch } = visit({ WebSocket: undefined as never });
  await client.query("count");
  expect(client.watch("count").state).toStrictEqual({ status: "loading" });
  expect(watch).toThrow(expect.objectContaining({ code: "missing", valueName: "WebSocket" }));
});

describe("the pauses", () => {
  test("begin small, double, and are never longer than 4 seconds", async () => {
    const { server, watch } = visit();
    server.isAway = true;
    watch();
    await pass(12_000);
    // Half of each is chance, which is none here.
    expect(times(server)).toStrictEqual([0, 50, 150, 350, 750, 1_550, 3_150, 5_150, 7_150, 9_150, 11_150]);
  });

  test("are different in each tab, and 4 seconds at most with chance", async () => {
    vi.mocked(Math.random).mockReturnValue(0.999);
    const { server, watch } = visit();
    server.isAway = true;
    watch();
    await pass(60_000);
    const gaps = times(server).map((at, n, all) => at - (all[n - 1] ?? at));
    expect(Math.max(...gaps)).toBeGreaterThan(3_900);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(4_001);
  });

  test("are the same while tickets cannot be had: one request each", async () => {
    const { server, watch } = visit();
    server.next("POST /live/ticket", unsent, unsent, unsent);
    watch();
    await pass(360);
    expect(server.calls("POST /live/ticket")).toHaveLength(4);
    expect(server.open).toHaveLength(1);
  });

  test("begin at a second after an error of the server's, and are as long as it asks", async () => {
    const { server, watch } = visit();
    server.next("POST /live/ticket", refused("unavailable", 503, { retry: "later" }));
    server.next("POST /live/ticket", refused("rate_limited", 429, { retry: "later" }, { "Retry-After": "9" }));
    watch();
    await pass(499);
    expect(server.calls("POST /live/ticket")).toHaveLength(1);
    await pass(2);
    expect(server.calls("POST /live/ticket")).toHaveLength(2);
    await pass(8_900);
    expect(server.calls("POST /live/ticket")).toHaveLength(2);
    await pass(200);
    expect(server.open).toHaveLength(1);
  });

  test("begin anew after a connection that held, not after one that was lost at once", async () => {
    const { server, watch } = visit();
    server.isAway = true;
    watch();
    await pass(3_000);
    server.isAway = false;
    await pass(15_000);
    const before = server.sockets.length;
    server.drop();
    for (let turn = 0; turn < 60; turn++) {
      await pass(50);
      server.drop();
    }
    // Within 3 seconds: 50, 100, 200, 400, 800 and 1,600 ms apart.
    expect(server.sockets.length - before).toBe(5);
  });
});

describe("what ends it", () => {
  test("is silence, of two and a half beats", async () => {
    const { server, states, watch } = visit();
    watch();
    await pass();
    await pass(30_000);
    server.socket.tell({ type: "beat" });
    await pass(37_000);
    expect(server.sockets).toHaveLength(1);
    await pass(600);
    expect(server.sockets).toHaveLength(2);
    expect(states).toContain("closed");
    expect(server.sockets[0]?.isClosed).toBe(true);
  });

  test("is a server that stops: the page goes on with another", async () => {
    const { server, client, watch, value } = visit();
    watch();
    await pass();
    server.socket.goodbye("closed");
    const sent = client.mutation("add_item");
    await pass(1_000);
    await sent;
    expect(value()).toStrictEqual({ status: "value", value: 1 });
    expect(server.open).toHaveLength(1);
  });

  test("is one that is never finished", async () => {
    const { server, watch } = visit();
    server.next("POST /live/ticket", silent);
    watch();
    await pass(10_100);
    expect(server.open).toHaveLength(1);
  });

  test("is what is no message, but not one that is unknown here", async () => {
    const { server, watch, value } = visit();
    watch();
    await pass();
    server.socket.tell({ type: "news" });
    server.socket.tell({ type: "transition", version: "?", updates: 3 });
    await pass();
    expect(server.sockets).toHaveLength(1);
    server.socket.onmessage?.({ data: "<html>" });
    expect(server.sockets[0]?.isClosed).toBe(true);
    await pass(60_000);
    expect(server.open).toHaveLength(1);
    expect(value()).toStrictEqual({ status: "value", value: 0 });
  });

  test("is a ticket that was not taken: another is asked for", async () => {
    const { server, watch } = visit();
    watch();
    await pass();
    server.socket.goodbye("ticket_invalid", "later");
    await pass(60);
    expect(server.calls("POST /live/ticket")).toHaveLength(2);
    expect(server.open).toHaveLength(1);
  });
});

describe("a server of another version", () => {
  test("is told apart: the state says so, values stay with the error, and calls go on", async () => {
    const { server, client, watch, value } = visit();
    watch();
    await pass();
    server.protocol = 2;
    server.drop();
    await pass(600_000);
    expect(client.connection.state).toBe("outdated");
    expect(value()).toMatchObject({ status: "error", value: 0, error: { code: "protocol_unsupported" } });
    expect(server.sockets).toHaveLength(2);
    await client.mutation("add_item");
    expect(await client.query("count")).toMatchObject({ arguments: {} });
    expect(vi.getTimerCount()).toBe(0);
    const late: unknown[] = [];
    client.subscribe("other", {}, ({ error }) => late.push(error?.code));
    expect(late).toStrictEqual(["protocol_unsupported"]);
  });

  test.each(["protocol_unsupported", "limit"])("does not leave a mutation waiting that was under way: %s", async (code) => {
    const { server, client, watch, value } = visit();
    watch();
    await pass();
    server.isSlow = true;
    const sent = client.mutation("add_item");
    await pass();
    server.isSlow = false;
    server.socket.goodbye(code);
    await sent;
    expect(value()).toMatchObject({ status: "error", value: 0, error: { code } });
  });
});

test("a refusal that does not pass is shown, and asked again once a minute", async () => {
  const { server, client, watch, value, states } = visit();
  server.next("POST /live/ticket", refused("route_unknown", 404), refused("route_unknown", 404));
  watch();
  await pass();
  expect(value()).toMatchObject({ status: "error", error: { code: "route_unknown" } });
  await pass(59_000);
  expect(server.calls("POST /live/ticket")).toHaveLength(2);
  await pass(31_000);
  expect(value()).toStrictEqual({ status: "value", value: 0 });
  expect(states.at(-1)).toBe("open");
  const late: unknown[] = [];
  client.subscribe("other", {}, ({ status }) => late.push(status));
  expect(late).toStrictEqual(["loading"]);
});

describe("what happens to the page", () => {
  test("the network is back: connected at once", async () => {
    const { server, watch } = visit();
    watch();
    await pass();
    server.isAway = true;
    server.drop();
    await pass(30_000);
    server.isAway = false;
    const before = server.sockets.length;
    page.dispatchEvent(new Event("online"));
    await pass();
    expect([server.sockets.length - before, server.open.length]).toStrictEqual([1, 1]);
  });

  test("kept for a way back, it has none; brought back, it has one, and shows what was missed", async () => {
    const { server, client, watch, value } = visit();
    watch();
    await pass();
    page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
    await pass(60_000);
    expect([client.connection.state, server.open.length, server.sockets.length]).toStrictEqual(["closed", 0, 1]);
    server.applied.push({ session: "", function: "", arguments: {} });
    page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    await pass();
    expect(value()).toStrictEqual({ status: "value", value: 1 });
  });

  test("left for ever or shown the first time, nothing changes; nobody watches, nothing is heard", async () => {
    const { server, client, watch } = visit();
    const stop = watch();
    await pass();
    for (const type of ["pagehide", "pageshow"]) page.dispatchEvent(Object.assign(new Event(type), { persisted: false }));
    await pass();
    expect([server.sockets.length, client.connection.state]).toStrictEqual([1, "open"]);
    stop();
    await pass();
    page.dispatchEvent(new Event("online"));
    await pass();
    expect(server.sockets).toHaveLength(1);
  });
});

test("forty clients whose server dies are all back within 10 seconds, and none missed a change", async () => {
  vi.mocked(Math.random).mockRestore();
  vi.stubGlobal("addEventListener", undefined);
  const server = new LiveServer("minted");
  const clients = Array.from({ length: 40 }, (_, n) => visit({ sessionId: minted(n), storage: new FakeStorage() }, server));
  for (const { watch } of clients) watch();
  await pass();
  expect(server.open).toHaveLength(40);
  server.isDead = true;
  server.drop();
  const sent = Promise.all(clients.map(({ client }) => client.mutation("add_item")));
  await pass(5_000);
  server.isDead = false;
  await pass(4_000);
  expect(server.open).toHaveLength(40);
  await pass(6_000);
  await sent;
  expect(server.applied).toHaveLength(40);
  expect(new Set(clients.map(({ value }) => value().value))).toStrictEqual(new Set([40]));
});

test("an address that the browser refuses is shown, and not tried again and again", async () => {
  const { server, watch, value } = visit({
    WebSocket: class {
      constructor() {
        throw new DOMException("mixed content", "SecurityError");
      }
    } as never,
  });
  watch();
  await pass(29_000);
  expect(value()).toMatchObject({ status: "error", error: { code: "invalid", valueName: "url" } });
  expect(server.calls("POST /live/ticket")).toHaveLength(1);
});
