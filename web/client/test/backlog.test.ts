// Mutations that survive a restart of the page, and tabs that were duplicated.
import { beforeEach, describe, expect, test, vi } from "vitest";

import { type ClientOptions, type LeftBehind, SojournClient } from "../src/index.js";
import { FakeServer, FakeStorage, KEY, counting, freshBrowser, minted, refused, silent, unanswered, unsent } from "./fake.js";
import { FakeLocks } from "./fake-visits.js";

const QUEUE = `${KEY}.mutations`;
const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;

freshBrowser();
let server: FakeServer;
let storage: FakeStorage;
let page: FakePage;
beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
  vi.spyOn(Math, "random").mockReturnValue(0);
  server = new FakeServer("minted");
  storage = new FakeStorage();
  page = new FakePage();
  vi.stubGlobal("navigator", { locks: page.locks });
});

async function pass(ms = 1): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  for (let turn = 0; turn < 5; turn++) await vi.advanceTimersByTimeAsync(0);
}

/** One page of a browser, whose locks end with it; `fetch` of a page that is gone reaches nobody. */
class FakePage {
  isGone = false;
  readonly #held: (() => void)[] = [];
  readonly #all: FakeLocks;

  constructor(browser?: FakePage) {
    this.#all = browser ? browser.#all : new FakeLocks();
  }

  readonly locks = {
    request: (name: string, options: { signal: AbortSignal }, task: () => unknown): Promise<unknown> =>
      this.#all.request(name, options, () => {
        if (this.isGone) return undefined;
        return Promise.race([task(), new Promise<void>((release) => this.#held.push(release))]);
      }),
  };

  /** It is closed or reloaded: nothing of it goes on. */
  leave(): FakePage {
    this.isGone = true;
    for (const release of this.#held) release();
    const next = new FakePage(this);
    vi.stubGlobal("navigator", { locks: next.locks });
    return next;
  }

  /** Another tab of the same browser. */
  tab(): FakePage {
    const next = new FakePage(this);
    vi.stubGlobal("navigator", { locks: next.locks });
    return next;
  }
}

/** A client of a page, and what it hears of those left behind. */
function visit(options: ClientOptions = {}, of: FakePage = page) {
  const answered = server.browser();
  const client = new SojournClient({
    storage,
    queue: storage,
    idGenerator: counting(),
    fetch: (...request) => (of.isGone ? new Promise(() => undefined) : answered(...request)),
    ...options,
  });
  const left: LeftBehind[] = [];
  client.onLeftBehind((one) => left.push(one));
  return { client, left };
}

const never = (count: number) => Array.from({ length: count }, () => unsent);

/** A mutation of a page that may be gone before it is settled. */
function ask(client: SojournClient, name: string, args: Record<string, unknown> = {}): void {
  client.mutation(name, args).catch(() => undefined);
}

const functions = () => server.applied.map((each) => each.function);

test("what is settled leaves nothing in the storage, and what failed neither", async () => {
  const { client } = visit();
  await client.mutation("add_item");
  server.next("POST /call", refused("application", 422));
  await expect(client.mutation("add_item")).rejects.toMatchObject({ code: "application" });
  const given = client.mutation("add_item", {}, { signal: AbortSignal.abort("enough") });
  await expect(given).rejects.toBe("enough");
  expect([...storage.items.keys()]).toStrictEqual([KEY]);
});

test("in memory, nothing is stored", async () => {
  const { client } = visit({ queue: "memory" });
  server.next("POST /call", silent);
  ask(client, "add_item");
  await pass();
  expect([...storage.items.keys()]).toStrictEqual([KEY]);
});

test("what waits is tried as long as the page is there, and at once when the network is back", async () => {
  const network = new EventTarget();
  vi.stubGlobal("addEventListener", network.addEventListener.bind(network));
  const { client } = visit();
  server.next("POST /call", ...never(100));
  const done = vi.fn();
  void client.mutation("add_item").then(done);
  while (server.calls().length < 100) await pass(5_000);
  network.dispatchEvent(new Event("online"));
  await pass();
  expect([done.mock.calls.length, functions()]).toStrictEqual([1, ["add_item"]]);
});

describe("after a restart of the page", () => {
  test("what was left is sent first, in order, each once, and listeners hear of it", async () => {
    const { client } = visit();
    server.next("POST /call", unanswered, unsent);
    for (const name of ["first", "second", "third"]) ask(client, name, { of: name });
    await pass();
    expect(functions()).toStrictEqual(["first"]);
    const next = visit({}, page.leave());
    const fourth = next.client.mutation("fourth");
    await pass(2_000);
    await fourth;
    expect(functions()).toStrictEqual(["first", "second", "third", "fourth"]);
    expect(next.left).toMatchObject([
      { name: "first", args: { of: "first" }, result: { arguments: { of: "first" } } },
      { name: "second" },
      { name: "third" },
    ]);
    expect(new Set(server.calls().map(({ body }) => body["request_id"])).size).toBe(4);
    expect([...storage.items.keys()]).toStrictEqual([KEY]);
  });

  test("nothing is asked of the server when nothing was left", async () => {
    visit({ queue: "session" });
    visit({ queue: "local", storage: "cookie" });
    await pass(60_000);
    expect(server.requests).toStrictEqual([]);
  });

  test("who listens later hears of it too, once", async () => {
    ask(visit().client, "first");
    server.next("POST /call", unsent);
    const next = page.leave();
    const client = new SojournClient({ storage, queue: storage, fetch: server.browser() });
    await pass(5_000);
    const [one, other] = [vi.fn(), vi.fn()];
    client.onLeftBehind(one);
    client.onLeftBehind(other)();
    await pass();
    expect([one.mock.calls.length, other.mock.calls.length]).toStrictEqual([1, 0]);
    expect(next.isGone).toBe(false);
  });

  test("what the server refuses is told, and what follows is sent", async () => {
    const { client } = visit();
    server.next("POST /call", ...never(1));
    for (const name of ["first", "second"]) ask(client, name);
    await pass();
    server.next("POST /call", refused("application", 422, { data: { left: 0 } }));
    const { left } = visit({}, page.leave());
    await pass();
    expect(left).toMatchObject([{ name: "first", error: { code: "application", data: { left: 0 } } }, { name: "second" }]);
    expect(left[0]).not.toHaveProperty("result");
    expect(functions()).toStrictEqual(["second"]);
  });

  test("what the server would no longer know as a repeat is not sent", async () => {
    server.next("POST /call", unanswered);
    ask(visit().client, "first");
    await pass();
    const next = page.leave();
    await pass(24 * HOUR);
    const { left } = visit({}, next);
    await pass();
    expect(left).toMatchObject([{ error: { code: "connection_lost", retry: "never", written: "perhaps" } }]);
    expect(server.calls()).toHaveLength(1);
  });

  test("what becomes too old while it is tried is not sent again either", async () => {
    const { client } = visit({ retry: { longestMs: 2 * HOUR } });
    server.next("POST /call", unanswered, ...never(100));
    const caught = vi.fn();
    client.mutation("first").catch(caught);
    await pass(30 * HOUR);
    expect(caught.mock.calls[0]?.[0]).toMatchObject({ code: "connection_lost", retry: "never", written: "perhaps" });
    expect(functions()).toStrictEqual(["first"]);
  });

  test("what the server asks a long pause for waits for it", async () => {
    const busy = refused("rate_limited", 429, { retry: "later" }, { "Retry-After": "60" });
    server.next("POST /call", busy);
    const { client } = visit();
    const done = vi.fn();
    client.mutation("first").then(done);
    await pass(59_000);
    expect(done).not.toHaveBeenCalled();
    await pass(2_000);
    expect(done).toHaveBeenCalledTimes(1);
  });

  test("what was asked for by another session is not sent under this one", async () => {
    server.next("POST /call", ...never(1));
    ask(visit().client, "first");
    await pass();
    const next = page.leave();
    storage.setItem(KEY, minted(7));
    const { left } = visit({}, next);
    await pass(60_000);
    expect(left).toMatchObject([{ name: "first", error: { code: "connection_lost", retry: "never", written: "perhaps" } }]);
    expect(functions()).toStrictEqual([]);
  });

  test("a refresh in between is no other session", async () => {
    const { client } = visit();
    server.next("POST /call", ...never(1));
    ask(client, "first");
    await pass();
    await client.refreshSessionId();
    const { left } = visit({}, page.leave());
    await pass(60_000);
    expect(left).toMatchObject([{ name: "first", result: { session: server.sessions[0]?.id } }]);
  });

  test("what was asked for before there was a session goes with the first", async () => {
    server = new FakeServer("issued");
    server.next("POST /session", ...never(1));
    const jar = {};
    const first = page;
    const answered = server.browser(jar);
    const gone: typeof fetch = (...request) => (first.isGone ? new Promise(() => undefined) : answered(...request));
    vi.stubGlobal("navigator", {});
    ask(visit({ storage: "cookie", fetch: gone }).client, "first");
    await pass();
    first.leave();
    vi.stubGlobal("navigator", {});
    const { left } = visit({ storage: "cookie", fetch: server.browser(jar) });
    await pass(60_000);
    expect(left).toMatchObject([{ name: "first", result: { session: server.sessions[0]?.id } }]);
  });

  test("what was never sent is not sent either when it is too old", async () => {
    const body = JSON.stringify({ kind: "mutation", function: "first", request_id: "one" });
    const asked = { client: "gone", sequence: 1, at: NOW - 24 * HOUR - 1, session: null, body };
    storage.items.set(QUEUE, JSON.stringify([asked]));
    const { left } = visit();
    await pass();
    expect(left).toMatchObject([{ name: "first", args: {}, requestId: "one", error: { code: "connection_lost" } }]);
    expect(server.calls()).toStrictEqual([]);
  });

  test("whose it is is stored as soon as it is known", async () => {
    server = new FakeServer("issued");
    vi.stubGlobal("navigator", {});
    const jar = {};
    const first = page;
    const answered = server.browser(jar);
    server.next("POST /call", unanswered);
    const gone: typeof fetch = (...request) => (first.isGone ? new Promise(() => undefined) : answered(...request));
    ask(visit({ storage: "cookie", fetch: gone }).client, "first");
    await pass();
    first.leave();
    vi.stubGlobal("navigator", {});
    server.end(server.sessions[0]!.id);
    const { left } = visit({ storage: "cookie", fetch: server.browser(jar) });
    await pass(60_000);
    expect(left).toMatchObject([{ name: "first", error: { code: "connection_lost", retry: "never" } }]);
    expect(server.applied).toHaveLength(1);
  });

  test("no id that opens a session is stored beside it", async () => {
    server.next("POST /call", ...never(1));
    ask(visit().client, "first");
    await pass();
    expect(storage.items.get(QUEUE)).not.toContain(minted(1));
    expect(storage.items.get(QUEUE)).toContain("first");
  });

  test.each(["nonsense", "{}", "[1, null, {}]", '[{"client": "x", "sequence": 1, "at": 1800000000000, "body": "{"}]'])(
    "what stands there as %s is nobody's",
    async (stored) => {
      storage.items.set(QUEUE, stored);
      const { client, left } = visit();
      await Promise.all([client.mutation("add_item"), pass()]);
      expect([functions(), left]).toStrictEqual([["add_item"], []]);
    },
  );
});

describe("several tabs", () => {
  test("one does not send what another, which is there, has waiting", async () => {
    const { client } = visit();
    server.next("POST /call", ...never(2));
    ask(client, "first");
    await pass();
    const other = visit({}, page.tab());
    const second = other.client.mutation("second");
    await pass(1_500);
    await second;
    await pass(20_000);
    expect(server.applied.map((each) => each.function).sort()).toStrictEqual(["first", "second"]);
    expect(other.left).toStrictEqual([]);
    expect([...storage.items.keys()]).toStrictEqual([KEY]);
  });

  test("two that open at once send what was left once, by one of them", async () => {
    server.next("POST /call", ...never(1));
    for (const name of ["first", "second"]) ask(visit().client, name);
    await pass();
    const gone = page.leave();
    const [one, two] = [visit({}, gone), visit({}, gone.tab())];
    await pass(60_000);
    expect(functions()).toStrictEqual(["first", "second"]);
    expect(one.left.length + two.left.length).toBe(2);
    expect(server.calls()).toHaveLength(3);
  });

  test("without locks both may send it, and it is applied once", async () => {
    vi.stubGlobal("navigator", {});
    const { client } = visit();
    server.next("POST /call", ...never(1));
    ask(client, "first");
    await pass();
    const { left } = visit();
    await pass(60_000);
    expect([functions(), left.length]).toStrictEqual([["first"], 1]);
  });

  test("what another overwrote by writing at the same moment is there again", async () => {
    const heard = new EventTarget();
    vi.stubGlobal("addEventListener", heard.addEventListener.bind(heard));
    vi.stubGlobal("removeEventListener", heard.removeEventListener.bind(heard));
    server.next("POST /call", silent);
    ask(visit().client, "first");
    await pass();
    storage.items.set(QUEUE, "[]");
    heard.dispatchEvent(Object.assign(new Event("storage"), { storageArea: storage, key: QUEUE }));
    expect(storage.items.get(QUEUE)).toContain("first");
  });
});

describe("F-G5 a tab that was duplicated", () => {
  /** A tab of the browser, with the session storage it has. */
  function open(of: FakePage, own: FakeStorage) {
    vi.stubGlobal("navigator", { locks: of.locks });
    vi.stubGlobal("sessionStorage", own);
    const { client, left } = visit({ storage: "session", queue: "session", idGenerator: randomish }, of);
    leftBehind.push(left);
    return client;
  }
  const leftBehind: LeftBehind[][] = [];
  let made = 0;
  const randomish = () => `id-${String(++made).padStart(24, "0")}`;
  const copy = (own: FakeStorage) => new FakeStorage(Object.fromEntries(own.items));

  test("has a session of its own, and what waits in the first is sent by the first", async () => {
    const own = new FakeStorage();
    const first = open(page, own);
    const id = first.getSessionId();
    server.next("POST /call", ...never(1));
    ask(first, "first");
    await pass();
    const told = vi.fn();
    const copied = copy(own);
    const second = open(page.tab(), copied);
    second.onSessionChange(told);
    const call = second.query("mine");
    await pass(2_000);
    expect(await call).toMatchObject({ session: server.sessions[1]?.id });
    expect(second.getSessionId()).not.toBe(id);
    expect(told).toHaveBeenLastCalledWith(second.getSessionId());
    expect(first.getSessionId()).toBe(id);
    expect([copied.items.has(QUEUE), leftBehind.flat()]).toStrictEqual([false, []]);
    expect(server.applied.map(({ session }) => session)).toStrictEqual([server.sessions[0]?.id]);
    expect(server.requests.filter(({ header }) => header === id)).toHaveLength(2);
  });

  test("one that is reloaded keeps its own, and so does another client of the page", async () => {
    const own = new FakeStorage();
    const id = open(page, own).getSessionId();
    await pass();
    const next = page.leave();
    const kept = copy(own);
    const second = open(next, kept);
    await second.query("mine");
    expect(second.getSessionId()).toBe(id);
    const third = open(next, kept);
    await pass(5_000);
    await third.query("mine");
    expect(third.getSessionId()).toBe(id);
  });

  test("the copy too keeps its own when it is reloaded", async () => {
    const own = new FakeStorage();
    open(page, own);
    await pass();
    const tab = page.tab();
    const copied = copy(own);
    const second = open(tab, copied);
    await pass(2_000);
    const id = second.getSessionId();
    const again = open(tab.leave(), copy(copied));
    await pass(2_000);
    expect(again.getSessionId()).toBe(id);
  });

  test("what the browser keeps for a way back is no tab that is there", async () => {
    const events = new EventTarget();
    vi.stubGlobal("addEventListener", events.addEventListener.bind(events));
    const own = new FakeStorage();
    const id = open(page, own).getSessionId();
    await pass();
    events.dispatchEvent(new Event("pagehide"));
    await pass();
    const next = open(page.tab(), copy(own));
    await pass(2_000);
    expect(next.getSessionId()).toBe(id);
  });

  test("a copy of the copy has its own too, and the frames of a page have the page's", async () => {
    const own = new FakeStorage();
    const first = open(page, own);
    await pass();
    const copied = copy(own);
    const tab = page.tab();
    const second = open(tab, copied);
    await pass(2_000);
    const third = open(tab.tab(), copy(copied));
    await pass(2_000);
    expect(new Set([first, second, third].map((client) => client.getSessionId())).size).toBe(3);
    const id = first.getSessionId();
    vi.stubGlobal("parent", {});
    const frame = open(tab.tab(), new FakeStorage(Object.fromEntries(own.items)));
    await pass(2_000);
    expect(frame.getSessionId()).toBe(id);
  });
});
