// Sending: order, repeats, pauses, giving up.
import { beforeEach, describe, expect, test, vi } from "vitest";

import { type ClientOptions, SojournClient, SojournError } from "../src/index.js";
import {
  FakeServer,
  FakeStorage,
  counting,
  freshBrowser,
  json,
  minted,
  refused,
  silent,
  unanswered,
  unsent,
} from "./fake.js";

freshBrowser();
beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0);
});

const BUSY = refused("overloaded", 503, { retry: "later" });
const LOST = refused("commit_unknown", 503, { retry: "same_id", written: "perhaps" });

function visit(options: ClientOptions = {}) {
  const server = new FakeServer("minted");
  const client = new SojournClient({
    storage: new FakeStorage(),
    idGenerator: counting(),
    fetch: server.browser(),
    ...options,
  });
  return { server, client };
}

/** How a promise settles when no pause is too long. */
async function outcome(promise: Promise<unknown>): Promise<unknown> {
  const settled = promise.catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(600_000);
  return settled;
}

describe("a mutation", () => {
  test.each([
    ["a broken connection", unsent],
    ["a lost answer", unanswered],
    ["an answer that never comes", silent],
    ["a busy server", BUSY],
    ["an unknown outcome", LOST],
    ["a proxy's page", () => new Response("<h1>Bad gateway</h1>", { status: 502 })],
  ])("survives %s under the same request id", async (_, fault) => {
    const { client, server } = visit();
    server.next("POST /call", fault, fault);
    expect(await outcome(client.mutation("add_item", { sku: "book" }))).toMatchObject({ arguments: { sku: "book" } });
    const ids = server.calls().map(({ body }) => body["request_id"]);
    expect(ids).toHaveLength(3);
    expect(new Set(ids).size).toBe(1);
    expect(server.applied).toHaveLength(1);
  });

  test("goes after those before it, even while they are repeated, and queries pass by", async () => {
    const { client, server } = visit();
    server.next("POST /call", unanswered, unsent);
    const done: string[] = [];
    const note = (name: string) => (): unknown => done.push(name);
    void client.mutation("first").then(note("first"));
    void client.mutation("second").then(note("second"));
    await vi.advanceTimersByTimeAsync(1);
    void client.query("cart").then(note("cart"));
    void client.action("ship").then(note("ship"));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.applied.map((each) => each.function)).toStrictEqual(["first", "second"]);
    expect(done.indexOf("first")).toBeLessThan(done.indexOf("second"));
    expect(done.indexOf("ship")).toBeLessThan(done.indexOf("second"));
  });

  test("is not held up by one that failed", async () => {
    const { client, server } = visit();
    server.next("POST /call", refused("application", 422, { data: { left: 0 } }));
    const first = outcome(client.mutation("first"));
    const second = outcome(client.mutation("second"));
    expect(await first).toMatchObject({ code: "application", data: { left: 0 } });
    expect(await second).toMatchObject({ arguments: {} });
  });

  test("keeps the arguments it was called with", async () => {
    const { client, server } = visit();
    const basket = { sku: "book" };
    const sent = outcome(client.mutation("add_item", basket));
    basket.sku = "lamp";
    await sent;
    expect(server.applied[0]?.arguments).toStrictEqual({ sku: "book" });
  });

  test("says what is not known, and by which id to ask again", async () => {
    const { client, server } = visit({ retry: { attempts: 2 } });
    server.next("POST /call", unanswered, BUSY);
    const error = await outcome(client.mutation("add_item"));
    const requestId = server.calls()[0]?.body["request_id"];
    expect(error).toMatchObject({ code: "overloaded", retry: "same_id", written: "perhaps", requestId });
    await outcome(client.mutation("add_item", {}, { requestId: requestId as string }));
    expect(server.applied).toHaveLength(1);
  });

  test("is not sent under another session once it may have been done", async () => {
    const { client, server } = visit();
    server.next("POST /call", unanswered, refused("session_invalid", 401));
    const error = await outcome(client.mutation("pay"));
    expect(error).toMatchObject({ code: "connection_lost", retry: "never", written: "perhaps" });
    expect(server.applied).toHaveLength(1);
    expect(await outcome(client.mutation("next"))).toMatchObject({ session: server.sessions[1]?.id });
  });

  test("is not sent under an id that another tab has stored meanwhile: that may be another session", async () => {
    const storage = new FakeStorage();
    const { client, server } = visit({ storage });
    server.next("POST /call", unanswered);
    const sent = client.mutation("pay");
    await vi.advanceTimersByTimeAsync(1);
    storage.setItem("sojourn-session", minted(7));
    expect(await outcome(sent)).toMatchObject({ code: "connection_lost", retry: "never", written: "perhaps" });
    expect(server.calls()).toHaveLength(1);
  });

  test("goes on after a refresh in between: it is the same session", async () => {
    const { client, server } = visit();
    server.next("POST /call", unanswered);
    const sent = outcome(client.mutation("pay"));
    await client.refreshSessionId();
    expect(await sent).toMatchObject({ session: server.sessions[0]?.id });
    expect(server.calls().map(({ header }) => header)).toStrictEqual([minted(1), minted(2)]);
    expect(server.applied).toHaveLength(1);
  });

  test("waits in a queue that has an end, and room again later", async () => {
    const { client, server } = visit({ ssr: true });
    for (let count = 0; count < 1_000; count++) void client.mutation("add_item");
    await expect(client.mutation("add_item")).rejects.toMatchObject({ code: "overloaded", written: "no" });
    void client.start();
    await vi.waitUntil(() => server.applied.length === 1_000);
    expect(await outcome(client.mutation("add_item"))).toMatchObject({ arguments: {} });
  });

  test("needs randomness for its request id, or is given one", async () => {
    const { client } = visit();
    vi.stubGlobal("crypto", undefined);
    await expect(client.mutation("add_item")).rejects.toMatchObject({ code: "missing", valueName: "crypto" });
    expect(await outcome(client.mutation("add_item", {}, { requestId: "mine" }))).toMatchObject({ arguments: {} });
  });
});

describe("a query", () => {
  test("is repeated, and what fails has written nothing", async () => {
    const { client, server } = visit({ retry: { attempts: 3 } });
    server.next("POST /call", unsent, BUSY);
    expect(await outcome(client.query("cart"))).toMatchObject({ arguments: {} });
    server.next("POST /call", unsent, unsent, unsent);
    expect(await outcome(client.query("cart"))).toMatchObject({
      code: "connection_lost",
      retry: "later",
      written: "no",
    });
    expect(server.calls()).toHaveLength(6);
  });

  test("does not wait for another", async () => {
    const { client, server } = visit();
    server.next("POST /call", silent);
    const slow = client.query("slow");
    await vi.advanceTimersByTimeAsync(1);
    expect(await client.query("cart")).toMatchObject({ arguments: {} });
    expect(await outcome(slow)).toMatchObject({ arguments: {} });
  });
});

describe("an action", () => {
  test.each([
    ["lost on its way", unanswered, { code: "connection_lost", retry: "never", written: "perhaps" }],
    ["refused by a busy server", BUSY, { code: "overloaded", retry: "later", written: "no" }],
    ["told that the session is over", refused("session_invalid", 401), { code: "session_invalid" }],
  ])("is sent once, also when %s", async (_, fault, error) => {
    const { client, server } = visit();
    server.next("POST /call", fault);
    expect(await outcome(client.action("ship"))).toMatchObject(error);
    expect(server.calls()).toHaveLength(1);
  });

  test("waits for a session that is slow to begin: nothing was sent yet", async () => {
    const server = new FakeServer("issued");
    const client = new SojournClient({ fetch: server.browser() });
    server.next("POST /session", unsent, BUSY);
    expect(await outcome(client.action("ship"))).toMatchObject({ arguments: {} });
    expect(server.calls()).toHaveLength(1);
  });
});

describe("the pauses", () => {
  /** When the attempts of a call were made, in milliseconds from the first. */
  async function times(options: ClientOptions, faults: Parameters<FakeServer["next"]>[1][]): Promise<number[]> {
    const { server } = visit();
    const sent: number[] = [];
    const browser = server.browser();
    const client = new SojournClient({
      ...options,
      storage: new FakeStorage(),
      fetch: (...request) => {
        sent.push(Date.now());
        return browser(...request);
      },
    });
    server.next("POST /call", ...faults);
    await outcome(client.query("cart"));
    return sent.map((time) => time - (sent[0] as number));
  }
  const always = (fault: typeof unsent) => Array.from({ length: 20 }, () => fault);

  test("double, and end", async () => {
    expect(await times({}, always(unsent))).toStrictEqual([0, 100, 300, 700, 1_500, 3_100, 6_300, 11_300]);
  });

  test("are different in each tab", async () => {
    vi.mocked(Math.random).mockReturnValue(0.99);
    expect(await times({ retry: { attempts: 3 } }, always(unsent))).toStrictEqual([0, 199, 597]);
  });

  test("are as one wants them", async () => {
    const retry = { attempts: 4, firstMs: 10, longestMs: 20 };
    expect(await times({ retry }, always(unsent))).toStrictEqual([0, 5, 15, 25]);
    expect(await times({ retry: { attempts: 1 } }, always(unsent))).toStrictEqual([0]);
  });

  test("are as long as the server asks, or there is none", async () => {
    const wait = (seconds: string) => refused("rate_limited", 429, { retry: "later" }, { "Retry-After": seconds });
    expect(await times({}, [wait("7"), wait("0")])).toStrictEqual([0, 7_000, 7_200]);
    expect(await times({}, [wait("11")])).toStrictEqual([0]);
    expect(await times({}, [wait("Fri, 20 Nov 2026 10:00:00 GMT"), wait("")])).toStrictEqual([0, 100, 300]);
  });
});

describe("a signal", () => {
  test("gives up what was sent", async () => {
    const { client, server } = visit();
    server.next("POST /call", silent);
    const controller = new AbortController();
    const sent = client.query("cart", {}, { signal: controller.signal });
    await vi.advanceTimersByTimeAsync(1);
    controller.abort();
    await expect(sent).rejects.toBe(controller.signal.reason);
    expect(server.calls()[0]?.init.signal?.aborted).toBe(true);
    expect(server.calls()).toHaveLength(1);
  });

  test("gives up a pause", async () => {
    const { client, server } = visit();
    server.next("POST /call", unsent);
    const sent = client.query("cart", {}, { signal: AbortSignal.abort("enough") });
    await expect(sent).rejects.toBe("enough");
    const controller = new AbortController();
    const other = client.query("cart", {}, { signal: controller.signal });
    await vi.advanceTimersByTimeAsync(1);
    controller.abort("enough");
    await expect(other).rejects.toBe("enough");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.calls()).toHaveLength(1);
  });

  test("takes a waiting mutation out of the queue, and only that one", async () => {
    const { client, server } = visit();
    server.next("POST /call", unsent);
    const controller = new AbortController();
    const first = outcome(client.mutation("first"));
    const second = client.mutation("second", {}, { signal: controller.signal });
    const third = outcome(client.mutation("third"));
    controller.abort("enough");
    await expect(second).rejects.toBe("enough");
    expect(server.applied).toStrictEqual([]);
    await Promise.all([first, third]);
    expect(server.applied.map((each) => each.function)).toStrictEqual(["first", "third"]);
  });

  test("gives up waiting for a page to start", async () => {
    const { client } = visit({ ssr: true });
    await expect(client.query("cart", {}, { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
    await expect(client.mutation("add_item", {}, { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
  });

  test("leaves the session to the others who wait for it", async () => {
    const server = new FakeServer("issued");
    const client = new SojournClient({ fetch: server.browser() });
    const controller = new AbortController();
    const one = client.query("cart", {}, { signal: controller.signal });
    const two = outcome(client.query("cart"));
    controller.abort("enough");
    await expect(one).rejects.toBe("enough");
    expect(await two).toMatchObject({ arguments: {} });
  });
});

describe("an answer", () => {
  test.each([
    ["a page of another program", () => new Response("<h1>Hello</h1>"), { status: 200, written: "perhaps" }],
    ["JSON of another program", () => json([1]), { written: "perhaps" }],
    ["an error of another program", () => json({ detail: "?" }, 404), { status: 404, written: "no" }],
  ])("that is %s is an error of its own", async (_, fault, error) => {
    const { client, server } = visit();
    server.next("POST /call", fault);
    const caught = await outcome(client.mutation("add_item"));
    expect(caught).toBeInstanceOf(SojournError);
    expect(caught).toMatchObject({ code: "answer_invalid", retry: "never", ...error });
  });

  test("keeps all that the server says of an error", async () => {
    const { client, server } = visit();
    const said = { message: "the server made a mistake", written: "perhaps", report: "r-17", data: [1], name: "sku" };
    server.next("POST /call", refused("internal", 500, said));
    const error = (await outcome(client.mutation("add_item"))) as SojournError;
    expect(error).toMatchObject({ code: "internal", status: 500, report: "r-17", data: [1], valueName: "sku" });
    expect(error.message).toBe("the server made a mistake");
    expect(error.name).toBe("SojournError");
  });

  test("that is lost keeps its cause", async () => {
    const { client, server } = visit({ retry: { attempts: 1 } });
    server.next("POST /call", unsent);
    expect((await outcome(client.query("cart"))) as SojournError).toHaveProperty(
      "cause",
      new TypeError("Failed to fetch"),
    );
  });

  test("without Retry-After has none", async () => {
    const { client, server } = visit();
    server.next("POST /call", refused("application", 422), refused("rate_limited", 429, {}, { "Retry-After": "60" }));
    expect(await outcome(client.query("cart"))).not.toHaveProperty("retryAfterMs", expect.any(Number));
    expect(await outcome(client.query("cart"))).toMatchObject({ code: "rate_limited", retryAfterMs: 60_000 });
  });

  test("leaves no timer behind", async () => {
    const { client } = visit();
    await client.query("cart");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("of null is a result", async () => {
    const { client, server } = visit();
    server.next("POST /call", () => json({ result: null }));
    expect(await outcome(client.mutation("add_item"))).toBeNull();
  });
});

test("numbers that JSON does not have are refused, not turned into null", async () => {
  const { client, server } = visit();
  await expect(client.query("cart", { deep: [{ limit: Number.NaN }] })).rejects.toMatchObject({
    code: "invalid",
    valueName: "limit",
  });
  expect(server.requests).toStrictEqual([]);
});

test("the browser's own fetch is called as browsers want it, and as it is at that moment", async () => {
  const { server } = visit();
  const browser = server.browser();
  const native = vi.fn(function (this: unknown, ...request: Parameters<typeof fetch>) {
    if (this !== undefined && this !== globalThis) throw new TypeError("Illegal invocation");
    return browser(...request);
  });
  const client = new SojournClient({ storage: new FakeStorage() });
  vi.stubGlobal("fetch", native);
  expect(await outcome(client.query("cart"))).toMatchObject({ arguments: {} });
  expect(native).toHaveBeenCalledTimes(1);
});
