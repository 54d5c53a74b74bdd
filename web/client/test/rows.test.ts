// The rows F-C1 to F-C25 of tests/rows.toml; each title begins with the row it proves.
import { describe, expect, test, vi } from "vitest";

import { type ClientOptions, SojournClient, SojournError } from "../src/index.js";
import { FakeServer, FakeStorage, KEY, counting, freshBrowser, minted, refused, settled } from "./fake.js";

freshBrowser();

/** A client that makes its own ids, and the server it talks to. */
function visit(options: ClientOptions = {}, server = new FakeServer("minted")) {
  const storage = new FakeStorage();
  const client = new SojournClient({ storage, idGenerator: counting(), fetch: server.browser(), ...options });
  return { server, client, storage };
}

const KINDS = ["query", "mutation", "action"] as const;

describe.each(KINDS)("%s", (kind) => {
  test("F-C1 arguments arrive as given, and the session beside them", async () => {
    const { client, server } = visit();
    await client[kind]("cart", { limit: 5, words: ["a", null] });
    const [call] = server.calls();
    expect(call?.body["arguments"]).toStrictEqual({ limit: 5, words: ["a", null] });
    expect(Object.keys(call?.body ?? {}).sort()).toStrictEqual(
      ["arguments", "function", "kind", ...(kind === "mutation" ? ["request_id"] : [])].sort(),
    );
    expect(call?.body).toMatchObject({ kind, function: "cart" });
    expect(call?.header).toBe(minted(1));
  });

  test("F-C2 a call without arguments carries just the id", async () => {
    const { client, server } = visit();
    await client[kind]("cart");
    const [call] = server.calls();
    expect(call?.body).not.toHaveProperty("arguments");
    expect(call?.header).toBe(minted(1));
  });

  test("F-C5 an id that a caller slips in does not get through", async () => {
    const { client, server } = visit();
    await client[kind]("cart", { sessionId: "mine", session_id: "mine", limit: 5 });
    await client[kind]("cart", { session_id: "mine" });
    const [first, second] = server.calls();
    expect(first?.body["arguments"]).toStrictEqual({ limit: 5 });
    expect(second?.body).not.toHaveProperty("arguments");
    expect(JSON.stringify([first?.init, second?.init])).not.toContain("mine");
    expect(first?.header).toBe(minted(1));
  });
});

// F-C3 and the types of F-C4 are in types.test.ts.
test("F-C4 a missing argument is the server's error of validation, with the argument's name", async () => {
  const { client, server } = visit();
  server.next("POST /call", refused("invalid", 400, { message: "sku: it is missing", name: "sku" }));
  const error = await client.mutation("add_item").catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(SojournError);
  expect(error).toMatchObject({ code: "invalid", valueName: "sku", retry: "never", written: "no", status: 400 });
});

test("F-C6 the options of a mutation arrive as given, and without any there are none", async () => {
  const { client, server } = visit();
  await client.mutation("add_item", { sku: "book" }, { requestId: "mine", keepalive: true });
  await client.mutation("add_item", { sku: "book" });
  const [first, second] = server.calls();
  expect(first?.body["request_id"]).toBe("mine");
  expect(first?.init.keepalive).toBe(true);
  expect(second?.body["request_id"]).toMatch(/^[0-9a-f]{32}$/);
  expect(second?.init).not.toHaveProperty("keepalive");
});

test("F-C7 an id that was set is used, returned and stored", async () => {
  const { client, server, storage } = visit();
  client.setSessionId("another-id-of-22-chars");
  expect(client.getSessionId()).toBe("another-id-of-22-chars");
  expect(storage.items.get(KEY)).toBe("another-id-of-22-chars");
  await client.query("cart");
  expect(server.calls()[0]?.header).toBe("another-id-of-22-chars");
});

test("F-C8 an id given at construction is used, and the storage is as it was", async () => {
  const storage = new FakeStorage({ [KEY]: "the-stored-id-22-chars" });
  const { client, server } = visit({ storage, sessionId: "the-given-id-22-chars-" });
  await client.query("cart");
  expect(server.calls()[0]?.header).toBe("the-given-id-22-chars-");
  expect(client.getSessionId()).toBe("the-given-id-22-chars-");
  expect([...storage.items]).toStrictEqual([[KEY, "the-stored-id-22-chars"]]);
});

test("F-C8 a given id that is refused is an error, not silently another id", async () => {
  const { client, server, storage } = visit({ sessionId: "the-given-id-22-chars-" });
  server.next("POST /call", refused("session_invalid", 401));
  await expect(client.query("cart")).rejects.toMatchObject({ code: "session_invalid" });
  expect(storage.items.size).toBe(0);
});

test("F-C9 a stored id is used again by the next client", async () => {
  const { client, storage } = visit();
  const next = visit({ storage, idGenerator: () => "never-used-never-used-" });
  expect(next.client.getSessionId()).toBe(client.getSessionId());
});

test.each(["", "undefined", "null", "too-short", "with a space in its middle"])(
  "F-C10 what is stored as %j is no id",
  (stored) => {
    const storage = new FakeStorage({ [KEY]: stored });
    const { client } = visit({ storage });
    expect(client.getSessionId()).toBe(minted(1));
    expect(storage.items.get(KEY)).toBe(minted(1));
  },
);

test("F-C11 only the given key is read and written", async () => {
  const storage = new FakeStorage({ [KEY]: "the-stored-id-22-chars", other: "1" });
  const { client } = visit({ storage, storageKey: "my-shop" });
  await client.query("cart");
  await client.refreshSessionId();
  await client.endSession();
  expect(new Set(storage.touched)).toStrictEqual(new Set(["my-shop"]));
  expect([...storage.items]).toStrictEqual([
    [KEY, "the-stored-id-22-chars"],
    ["other", "1"],
  ]);
});

test.each([undefined, {}])("F-C12 without randomness (crypto is %j) and without an id there is no client", (crypto) => {
  vi.stubGlobal("crypto", crypto);
  const make = () => new SojournClient({ storage: "local", fetch });
  expect(make).toThrow(/crypto: .*pass sessionId or idGenerator/);
  expect(make).toThrow(expect.objectContaining({ code: "missing", valueName: "crypto" }) as Error);
  expect(new SojournClient({ storage: "local", fetch, sessionId: minted(1) }).getSessionId()).toBe(minted(1));
});

test("F-C12 a page over plain HTTP has randomness enough, though no randomUUID", () => {
  const { getRandomValues } = crypto;
  vi.stubGlobal("crypto", { getRandomValues: getRandomValues.bind(crypto) });
  expect(new SojournClient({ storage: "local", fetch }).getSessionId()).toMatch(/^[0-9a-f]{32}$/);
});

test("F-C13 the generator makes the first id and that of every refresh", async () => {
  const { client } = visit();
  expect(client.getSessionId()).toBe(minted(1));
  expect(await client.refreshSessionId()).toBe(minted(2));
  expect(await client.refreshSessionId()).toBe(minted(3));
});

test("F-C13 a generator that makes poor ids is refused", () => {
  expect(() => visit({ idGenerator: () => "1" })).toThrow(/idGenerator: an id is 22 to 128/);
});

test("F-G2 without a generator an id is 128 bits, all of them from the browser's source of randomness", () => {
  const filled: number[] = [];
  const source = vi.fn((bytes: Uint8Array) => {
    filled.push(bytes.length);
    return bytes.fill(filled.length, 0, 8).fill(0xff, 8);
  });
  vi.stubGlobal("crypto", { getRandomValues: source });
  const ids = [1, 2].map(() => new SojournClient({ storage: new FakeStorage(), fetch }).getSessionId());
  expect(filled).toContain(16);
  expect(Math.min(...filled)).toBeGreaterThanOrEqual(16);
  for (const id of ids) expect(id).toMatch(/^(0[1-9a-f]){8}f{16}$/);
  expect(ids[0]).not.toBe(ids[1]);
});

test("F-C14 clients with separate storages have different ids", () => {
  const one = new SojournClient({ storage: new FakeStorage(), fetch });
  const two = new SojournClient({ storage: new FakeStorage(), fetch });
  expect(one.getSessionId()).not.toBe(two.getSessionId());
});

test("F-C15 F-G7 clients with one storage have the same id, also after one of them got another", async () => {
  const { client, storage, server } = visit();
  const other = new SojournClient({ storage, fetch: server.browser() });
  expect(other.getSessionId()).toBe(client.getSessionId());
  await client.refreshSessionId();
  expect(other.getSessionId()).toBe(client.getSessionId());
  await other.query("cart");
  expect(server.calls()[0]?.header).toBe(minted(2));
});

test("F-C16 a refresh returns, uses and stores one new id, and the session goes on", async () => {
  const { client, server, storage } = visit();
  const before = await client.query("cart");
  const id = await client.refreshSessionId();
  expect(id).toBe(minted(2));
  expect(client.getSessionId()).toBe(id);
  expect(storage.items.get(KEY)).toBe(id);
  expect(server.calls("POST /session/rotate")[0]).toMatchObject({ header: minted(1), body: { to: id } });
  expect(await client.query("cart")).toStrictEqual(before);
});

test("F-C17 the callback gets the new id while the old one is current and stored", async () => {
  const { client, server, storage } = visit();
  await client.refreshSessionId(async (id) => {
    await settled();
    expect(id).toBe(minted(2));
    expect(client.getSessionId()).toBe(minted(1));
    expect(storage.items.get(KEY)).toBe(minted(1));
    await client.mutation("move_to", { id });
    expect(server.calls("POST /session/rotate")).toStrictEqual([]);
  });
  expect(server.calls()[0]?.header).toBe(minted(1));
  expect(client.getSessionId()).toBe(minted(2));
});

test.each(["at once", "later"])("F-C18 a callback that fails %s changes nothing", async (when) => {
  const { client, server, storage } = visit();
  const refresh = client.refreshSessionId(() => {
    if (when === "at once") throw new Error("no");
    return Promise.reject(new Error("no"));
  });
  await expect(refresh).rejects.toThrow("no");
  expect(client.getSessionId()).toBe(minted(1));
  expect(storage.items.get(KEY)).toBe(minted(1));
  expect(server.requests).toStrictEqual([]);
});

test("F-C18 a refresh that the server refuses changes nothing either", async () => {
  const { client, server, storage } = visit();
  server.next("POST /session/rotate", refused("invalid", 400));
  await expect(client.refreshSessionId()).rejects.toMatchObject({ code: "invalid" });
  expect(client.getSessionId()).toBe(minted(1));
  expect(storage.items.get(KEY)).toBe(minted(1));
});

test("F-C19 F-G6 two refreshes at once are two rotations in order", async () => {
  const { client, server } = visit();
  const seen: string[] = [];
  const refresh = () => client.refreshSessionId((id) => seen.push(`${client.getSessionId()} to ${id}`));
  expect(await Promise.all([refresh(), refresh()])).toStrictEqual([minted(2), minted(3)]);
  expect(seen).toStrictEqual([`${minted(1)} to ${minted(2)}`, `${minted(2)} to ${minted(3)}`]);
  expect(server.calls("POST /session/rotate").map(({ header, body }) => [header, body["to"]])).toStrictEqual([
    [minted(1), minted(2)],
    [minted(2), minted(3)],
  ]);
  expect(server.sessions).toHaveLength(1);
});

test("F-C19 a refresh that fails does not hold up the next", async () => {
  const { client } = visit();
  const failing = client.refreshSessionId(() => Promise.reject(new Error("no")));
  const next = client.refreshSessionId();
  await expect(failing).rejects.toThrow("no");
  const id = await next;
  expect(client.getSessionId()).toBe(id);
});

test("F-C20 F-G6 F-G7 calls, listeners and other tabs go on with the new id", async () => {
  const events = new EventTarget();
  vi.stubGlobal("addEventListener", events.addEventListener.bind(events));
  const unlisten = vi.fn(events.removeEventListener.bind(events));
  vi.stubGlobal("removeEventListener", unlisten);
  const { client, server } = visit({ storage: "local" });
  const other = new SojournClient({ storage: "local", fetch: server.browser() });
  const here = vi.fn();
  const there = vi.fn();
  client.onSessionChange(here);
  const stop = other.onSessionChange(there);
  other.onSessionChange(() => undefined)();

  const id = await client.refreshSessionId();
  const storageEvent = () => Object.assign(new Event("storage"), { key: KEY, storageArea: localStorage });
  events.dispatchEvent(storageEvent());
  await settled();
  expect(here.mock.calls).toStrictEqual([[id]]);
  expect(there.mock.calls).toStrictEqual([[id]]);
  await Promise.all([client.query("cart"), other.query("cart")]);
  expect(server.calls().map(({ header }) => header)).toStrictEqual([id, id]);

  expect(unlisten).not.toHaveBeenCalled();
  stop();
  expect(unlisten).toHaveBeenCalledTimes(1);
  await client.refreshSessionId();
  events.dispatchEvent(storageEvent());
  await settled();
  expect(there).toHaveBeenCalledTimes(1);
});

test("F-C21 the old id lives for its grace and then is refused, the new one goes on", async () => {
  const server = new FakeServer("minted");
  const { client } = visit({}, server);
  await client.query("cart");
  await client.refreshSessionId();
  const { client: late } = visit({ sessionId: minted(1) }, server);
  await late.query("cart");
  server.now += 10_001;
  await expect(late.query("cart")).rejects.toMatchObject({ code: "session_invalid", status: 401 });
  await client.query("cart");
});

describe("a page that is rendered on a server first", () => {
  test("F-C22 has no id, and queries wait without request and error", async () => {
    vi.stubGlobal("localStorage", undefined);
    vi.stubGlobal("location", undefined);
    vi.stubGlobal("crypto", undefined);
    const { client, server } = visit({ storage: "local", ssr: true });
    const done = vi.fn();
    void client.query("cart").then(done, done);
    await settled();
    expect(client.getSessionId()).toBeUndefined();
    expect(client.session).toBeUndefined();
    expect(done).not.toHaveBeenCalled();
    expect(server.requests).toStrictEqual([]);
  });

  test("F-C22 begins when start is called, with the id that is stored", async () => {
    vi.stubGlobal("localStorage", new FakeStorage({ [KEY]: "the-stored-id-22-chars" }));
    const { client, server } = visit({ storage: "local", ssr: true });
    const waiting = client.query("cart");
    expect(client.getSessionId()).toBeUndefined();
    expect(await client.start()).toBe("the-stored-id-22-chars");
    await waiting;
    expect(client.getSessionId()).toBe("the-stored-id-22-chars");
    expect(server.calls().map(({ header }) => header)).toStrictEqual(["the-stored-id-22-chars"]);
  });

  test("F-C23 sends a mutation that was made early once, with the id", async () => {
    const { client, server } = visit({ ssr: true });
    const waiting = [client.mutation("first"), client.mutation("second"), client.action("third")];
    await settled();
    expect(server.requests).toStrictEqual([]);
    await client.start();
    await Promise.all(waiting);
    expect(server.applied.map((each) => each.function)).toStrictEqual(["first", "second"]);
    expect(server.calls().map(({ header }) => header)).toStrictEqual([minted(1), minted(1), minted(1)]);
  });
});

test("F-C23 with a cookie a mutation waits for the session, which begins once", async () => {
  const { client, server } = visit({ storage: "cookie" }, new FakeServer("issued"));
  await Promise.all([client.mutation("first"), client.query("cart"), client.action("ship")]);
  expect(server.calls("POST /session")).toHaveLength(1);
  expect(server.applied).toHaveLength(1);
  expect(new Set(server.calls().map(({ session }) => session)).size).toBe(1);
});

test("F-C24 reading an id before there is a session is an error that says what to do", async () => {
  const { client } = visit({ storage: "cookie" }, new FakeServer("issued"));
  expect(() => client.getSessionId()).toThrow(/session: .*start\(\)/);
  expect(() => client.getSessionId()).toThrow(
    expect.objectContaining({ code: "missing", valueName: "session" }) as Error,
  );
  expect(client.getSessionId.bind(client)).toThrow(SojournError);
  const id = await client.start();
  expect(client.getSessionId()).toBe(id);
});

describe("F-C25 outside a browser the error names what is missing:", () => {
  const options = { fetch, sessionId: minted(1) };
  test.each([
    ["localStorage", { ...options, storage: "local" }],
    ["sessionStorage", { ...options, storage: "session" }],
    ["fetch", {}],
    ["url", { url: "/api" }],
  ] as const)("%s", (what, given) => {
    vi.stubGlobal("localStorage", undefined);
    vi.stubGlobal("sessionStorage", undefined);
    if (what === "fetch") vi.stubGlobal("fetch", undefined);
    Reflect.deleteProperty(globalThis, "location");
    const make = () => new SojournClient(given as ClientOptions);
    expect(make).toThrow(expect.objectContaining({ code: "missing", valueName: what }) as Error);
    expect(make).toThrow(new RegExp(`^${what}: `));
  });

  test("and a client that waits for its page fails when it is started there", async () => {
    vi.stubGlobal("localStorage", undefined);
    const client = new SojournClient({ storage: "local", ssr: true, fetch });
    await expect(client.start()).rejects.toMatchObject({ code: "missing", valueName: "localStorage" });
  });

  test("and one that waits needs no address on the server that renders its page", async () => {
    Reflect.deleteProperty(globalThis, "location");
    const client = new SojournClient({ ssr: true });
    expect(client.watch("cart").state).toStrictEqual({ status: "loading" });
    await expect(client.start()).rejects.toMatchObject({ code: "missing", valueName: "url" });
  });
});
