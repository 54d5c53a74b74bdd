// Beginning, keeping, losing and ending a session, each way it can travel.
import { describe, expect, test, vi } from "vitest";

import { type ClientOptions, SojournClient } from "../src/index.js";
import {
  FakeServer,
  FakeStorage,
  KEY,
  counting,
  freshBrowser,
  minted,
  refusal,
  refused,
  settled,
  unanswered,
} from "./fake.js";

freshBrowser();

const URL = "https://shop.example";

/** The answer takes a while. */
async function late(answer: () => Response): Promise<Response> {
  await settled();
  return answer();
}

describe("by cookie", () => {
  function visit(jar = {}, server = new FakeServer("issued"), options: ClientOptions = {}) {
    const client = new SojournClient({ fetch: server.browser(jar), ...options });
    return { server, client, jar };
  }

  test("nothing is sent before the first call, and then the session begins once", async () => {
    const { client, server } = visit();
    await settled();
    expect(server.requests).toStrictEqual([]);
    await Promise.all([client.query("cart"), client.query("cart")]);
    await client.query("cart");
    expect(server.requests.map(({ route }) => route)).toStrictEqual(["POST /session", ...Array(3).fill("POST /call")]);
  });

  test("requests carry the cookie, say that they are JSON, and carry no header of ours", async () => {
    const { client, server } = visit({}, undefined, { url: `${URL}/` });
    await client.query("cart");
    for (const { init, header } of server.requests) {
      expect(init).toMatchObject({ credentials: "include", cache: "no-store" });
      expect(init.headers).toStrictEqual({ "Content-Type": "application/json" });
      expect(header).toBeNull();
    }
  });

  test("the next page and the next tab have the same session", async () => {
    const { client, server, jar } = visit();
    await client.query("cart");
    const { client: next } = visit(jar, server);
    await next.query("cart");
    expect(next.getSessionId()).toBe(client.getSessionId());
    expect(server.sessions).toHaveLength(1);
  });

  test("tabs that open at once begin one session, where the browser has locks", async () => {
    let last: Promise<unknown> = Promise.resolve();
    const request = (_: string, task: () => Promise<unknown>) => (last = last.then(task));
    vi.stubGlobal("navigator", { locks: { request } });
    const { client, server, jar } = visit();
    const { client: other } = visit(jar, server);
    server.next("POST /session", late, late);
    await Promise.all([client.query("cart"), other.query("cart")]);
    expect(server.sessions).toHaveLength(1);
    expect(other.getSessionId()).toBe(client.getSessionId());
  });

  test("a session that is over is begun anew, once for all calls, and the page is told", async () => {
    const { client, server } = visit();
    const first = await client.start();
    const told = vi.fn();
    client.onSessionChange(told);
    server.end(first);
    await Promise.all([client.query("cart"), client.mutation("add_item"), client.query("cart")]);
    expect(client.getSessionId()).not.toBe(first);
    expect(server.sessions).toHaveLength(1);
    expect(told.mock.calls).toStrictEqual([[client.getSessionId()]]);
  });

  test("one begun anew is not thrown away for an answer that comes late", async () => {
    const { client, server } = visit();
    server.end(await client.start());
    const lateRefusal = () => late(() => refusal("session_invalid", 401));
    server.next("POST /call", (answer) => answer(), lateRefusal);
    await Promise.all([client.query("cart"), client.query("cart")]);
    expect(server.calls("POST /session")).toHaveLength(2);
    expect(server.sessions).toHaveLength(1);
  });

  test("a call whose new session is refused too gives up", async () => {
    const { client, server } = visit();
    server.next("POST /call", refused("session_invalid", 401), refused("session_invalid", 401));
    await expect(client.query("cart")).rejects.toMatchObject({ code: "session_invalid" });
    expect(await client.query("cart")).toMatchObject({ arguments: {} });
  });

  test("an action that meets the end of its session is not repeated, and the next call begins anew", async () => {
    const { client, server } = visit();
    server.end(await client.start());
    await expect(client.action("ship")).rejects.toMatchObject({ code: "session_invalid" });
    expect(await client.action("ship")).toMatchObject({ session: client.getSessionId() });
  });

  test("a refresh changes the token, not the id", async () => {
    const { client, server, jar } = visit();
    const id = await client.start();
    const before = { ...jar };
    const callback = vi.fn();
    expect(await client.refreshSessionId(callback)).toBe(id);
    expect(callback.mock.calls).toStrictEqual([[id]]);
    expect(jar).not.toStrictEqual(before);
    server.now += 10_001;
    expect(await client.query("cart")).toMatchObject({ session: id });
    expect(server.calls("POST /session/rotate")[0]?.body).toStrictEqual({});
  });

  test("a refresh of a session that is over gives a new one", async () => {
    const { client, server } = visit();
    const id = await client.start();
    server.end(id);
    expect(await client.refreshSessionId()).not.toBe(id);
  });

  test("no script sets the id", () => {
    const { client } = visit();
    expect(() => client.setSessionId(minted(1))).toThrow(/the cookie is the server's/);
    expect(() => new SojournClient({ sessionId: minted(1), fetch })).toThrow(/the cookie is the server's/);
  });

  test("ending it waits for the mutations before it, and the next call begins another", async () => {
    const { client, server, jar } = visit();
    const first = await client.start();
    const told = vi.fn();
    client.onSessionChange(told);
    const mutation = client.mutation("add_item");
    const ended = client.endSession();
    const next = client.mutation("add_item");
    await Promise.all([mutation, ended]);
    expect(jar).not.toHaveProperty("cookie", expect.stringContaining(first));
    expect(await mutation).toMatchObject({ session: first });
    expect(await next).not.toMatchObject({ session: first });
    expect(server.sessions).toHaveLength(1);
    expect(told.mock.calls).toStrictEqual([[undefined], [client.getSessionId()]]);
  });

  test("ending ends what an earlier page began, and nothing at all is no error", async () => {
    const { client, server, jar } = visit();
    await client.query("cart");
    await visit(jar, server).client.endSession();
    expect(server.sessions).toHaveLength(0);
    await visit(jar, server).client.endSession();
    expect(() => visit(jar, server).client.getSessionId()).toThrow(/session: there is none yet/);
  });

  test("a session that could not be ended goes on", async () => {
    const { client, server } = visit();
    const id = await client.start();
    server.next("DELETE /session", refused("internal", 500));
    await expect(client.endSession()).rejects.toMatchObject({ code: "internal" });
    expect(client.getSessionId()).toBe(id);
  });

  test("what the server tells of it can be asked for, and a new subject is announced", async () => {
    const { client, server } = visit();
    expect(client.session).toBeUndefined();
    const id = await client.start();
    expect(client.session).toMatchObject({ id, subject: null });
    const told = vi.fn();
    client.onSessionChange(told);
    server.sessions[0]!.subject = "ada";
    expect(await client.loadSession()).toMatchObject({ id, subject: "ada" });
    await settled();
    expect(told.mock.calls).toStrictEqual([[id]]);
    expect(server.calls("GET /session")[0]?.init.headers).toStrictEqual({});
  });
});

describe("by header, issued by the server", () => {
  function visit(storage = new FakeStorage(), server = new FakeServer("issued"), options: ClientOptions = {}) {
    const client = new SojournClient({ storage, issued: true, fetch: server.browser(), ...options });
    return { server, client, storage };
  }

  test("the token is asked for by an empty header, stored, sent, and never a cookie beside it", async () => {
    const { client, server, storage } = visit();
    expect(storage.items.size).toBe(0);
    await client.query("cart");
    expect(server.requests.map(({ header }) => header)).toStrictEqual(["", storage.items.get(KEY)]);
    expect(server.requests.every(({ init }) => init.credentials === "omit")).toBe(true);
    expect(client.getSessionId()).toBe(storage.items.get(KEY)?.split(".")[0]);
  });

  test("the next page sends the stored token without asking", async () => {
    const { client, storage, server } = visit();
    await client.query("cart");
    const { client: next } = visit(storage, server);
    expect(next.getSessionId()).toBe(client.getSessionId());
    await next.query("cart");
    expect(server.calls("POST /session")).toHaveLength(1);
  });

  test("a token that an answer brings is kept", async () => {
    const { client, server, storage } = visit();
    await client.start();
    const token = "public-000000000000001.from-a-sign-in-00000000000000000000000000000";
    server.next("POST /call", (answer) => {
      const response = answer();
      response.headers.set("Sojourn-Session", token);
      return response;
    });
    await client.mutation("sign_in", { name: "ada" });
    expect(storage.items.get(KEY)).toBe(token);
  });

  test("a refresh stores the new token and keeps the id; ending forgets it", async () => {
    const { client, storage, server } = visit();
    const id = await client.start();
    const token = storage.items.get(KEY);
    expect(await client.refreshSessionId()).toBe(id);
    expect(storage.items.get(KEY)).not.toBe(token);
    server.now += 10_001;
    await client.query("cart");
    await client.endSession();
    expect(storage.items.size).toBe(0);
    await client.endSession();
    expect(server.calls("DELETE /session")).toHaveLength(1);
  });

  test("a stored token that is over is replaced", async () => {
    const { client, storage, server } = visit();
    const id = await client.start();
    server.end(id);
    await Promise.all([client.query("cart"), client.query("cart")]);
    expect(client.getSessionId()).not.toBe(id);
    expect(server.calls("POST /session")).toHaveLength(2);
    expect(storage.items.get(KEY)).toContain(client.getSessionId());
  });

  test("one begun anew is not thrown away for an answer that comes late", async () => {
    const { client, server } = visit();
    server.end(await client.start());
    server.next(
      "POST /call",
      (answer) => answer(),
      () => late(() => refusal("session_invalid", 401)),
    );
    await Promise.all([client.query("cart"), client.query("cart")]);
    expect(server.calls("POST /session")).toHaveLength(2);
    expect(server.sessions).toHaveLength(1);
  });

  test("tabs that open at once begin one session, where the browser has locks", async () => {
    let last: Promise<unknown> = Promise.resolve();
    const request = (_: string, task: () => Promise<unknown>) => (last = last.then(task));
    vi.stubGlobal("navigator", { locks: { request } });
    const { client, server, storage } = visit();
    const { client: other } = visit(storage, server);
    await Promise.all([client.query("cart"), other.query("cart")]);
    expect(server.calls("POST /session")).toHaveLength(1);
  });

  test("a token of one's own is used, and refused it is an error", async () => {
    const server = new FakeServer("issued");
    const { client: first, storage } = visit(undefined, server);
    await first.start();
    const { client } = visit(new FakeStorage(), server, { sessionId: storage.items.get(KEY) as string });
    expect(await client.query("cart")).toMatchObject({ session: first.getSessionId() });
    server.end(server.sessions[0]!.id);
    await expect(client.query("cart")).rejects.toMatchObject({ code: "session_invalid" });
    client.setSessionId(storage.items.get(KEY) as string);
    await expect(client.query("cart")).resolves.toMatchObject({ arguments: {} });
  });
});

describe("by header, minted here", () => {
  function visit(options: ClientOptions = {}, server = new FakeServer("minted")) {
    const storage = new FakeStorage();
    const client = new SojournClient({ storage, idGenerator: counting(), fetch: server.browser(), ...options });
    return { server, client, storage };
  }

  test("the server is not asked for a session", async () => {
    const { client, server } = visit();
    await client.query("cart");
    expect(server.requests.map(({ route }) => route)).toStrictEqual(["POST /call"]);
  });

  test("an id that is over is replaced and stored, once for all calls", async () => {
    const { client, server, storage } = visit();
    await client.query("cart");
    server.sessions[0]!.secrets.set(minted(1), 0);
    await Promise.all([client.query("cart"), client.mutation("add_item"), client.query("cart")]);
    expect(storage.items.get(KEY)).toBe(minted(2));
    expect(server.sessions).toHaveLength(2);
  });

  test("an id with nothing behind it is refreshed all the same", async () => {
    const { client, server } = visit();
    server.next("POST /session/rotate", refused("session_invalid", 401));
    expect(await client.refreshSessionId()).toBe(minted(2));
    expect(client.getSessionId()).toBe(minted(2));
  });

  test("a refresh whose answer was lost is taken up by the next, and by a refusal of the old id", async () => {
    const { client, server } = visit({ retry: { attempts: 1 } });
    const before = await client.query("cart");
    server.next("POST /session/rotate", unanswered);
    await expect(client.refreshSessionId()).rejects.toMatchObject({ code: "connection_lost" });
    expect(client.getSessionId()).toBe(minted(1));
    server.now += 10_001;
    expect(await client.query("cart")).toStrictEqual(before);
    expect(client.getSessionId()).toBe(minted(2));

    server.next("POST /session/rotate", unanswered);
    await expect(client.refreshSessionId()).rejects.toMatchObject({ code: "connection_lost" });
    expect(await client.refreshSessionId()).toBe(minted(3));
    expect(await client.query("cart")).toStrictEqual(before);
  });

  test("an id set during a refresh stands", async () => {
    const { client, storage, server } = visit();
    server.next("POST /session/rotate", (answer) => {
      client.setSessionId("set-meanwhile-22-chars");
      return answer();
    });
    await expect(client.refreshSessionId()).rejects.toMatchObject({ code: "session_invalid" });
    expect(storage.items.get(KEY)).toBe("set-meanwhile-22-chars");
  });

  test("ending it forgets the id, and the next use makes another", async () => {
    const { client, server, storage } = visit();
    await client.query("cart");
    await client.endSession();
    expect(storage.items.size).toBe(0);
    expect(server.sessions).toHaveLength(0);
    expect(client.getSessionId()).toBe(minted(2));
  });

  test("an id that another tab ended is given up here too", async () => {
    const { client, storage } = visit();
    storage.items.delete(KEY);
    expect(client.getSessionId()).toBe(minted(2));
  });

  test("a storage that refuses is replaced by memory, for this page", async () => {
    const storage = {
      getItem: (): string | null => null,
      setItem: (): void => {
        throw new DOMException("full", "QuotaExceededError");
      },
    };
    const { client, server } = visit({ storage });
    expect(client.getSessionId()).toBe(minted(1));
    await client.query("cart");
    await client.refreshSessionId();
    await client.query("cart");
    await client.endSession();
    expect(client.getSessionId()).toBe(minted(3));
    expect(server.calls().map(({ header }) => header)).toStrictEqual([minted(1), minted(2)]);
  });

  test("a storage that the user has blocked too", () => {
    vi.stubGlobal("localStorage", undefined);
    Object.defineProperty(globalThis, "localStorage", {
      configurable: true,
      get: () => {
        throw new DOMException("blocked", "SecurityError");
      },
    });
    const { client } = visit({ storage: "local" });
    expect(client.getSessionId()).toBe(minted(1));
    expect(client.getSessionId()).toBe(minted(1));
  });

  test("a storage without removeItem is emptied by writing", async () => {
    const items = new Map<string, string>();
    const storage = {
      getItem: (key: string) => items.get(key) ?? null,
      setItem: (key: string, value: string) => void items.set(key, value),
    };
    const { client } = visit({ storage });
    await client.endSession();
    expect(items.get(KEY)).toBe("");
    expect(client.getSessionId()).toBe(minted(2));
  });

  test("a storage that is none is refused", () => {
    expect(() => visit({ storage: "locale" as "local" })).toThrow(/storage: it is/);
  });

  test("listeners fail alone", async () => {
    const { client } = visit();
    const reported = vi.fn();
    process.once("unhandledRejection", reported);
    const told = vi.fn();
    client.onSessionChange(() => {
      throw new Error("mine");
    });
    client.onSessionChange(told);
    client.setSessionId(minted(9));
    await settled();
    expect(told.mock.calls).toStrictEqual([[minted(9)]]);
    expect(reported).toHaveBeenCalledTimes(1);
  });
});

declare const process: { once(event: string, listener: (...given: unknown[]) => void): void };
