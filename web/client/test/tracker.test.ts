// A whole tracker on one page. The rows are those of tests/rows.toml; each title begins with the row it proves.
import { describe, expect, test, vi } from "vitest";

import { SojournTracker, type TrackerOptions } from "../src/index.js";
import { FakeStorage, counting, minted, refused, silent, unanswered, unsent } from "./fake.js";
import { FakeLocks, VisitServer, freshPage, openPage, pass } from "./fake-visits.js";

const world = freshPage();
const ID = "anonymousUserId";
const BUSY = refused("overloaded", 503, { retry: "later" });

function track(options: TrackerOptions = {}): SojournTracker {
  return new SojournTracker({ idGenerator: counting(), pageViews: false, ...options });
}

function entries(route = "/visit/actions"): Record<string, unknown>[][] {
  return world.server.calls(route).map(({ body }) => body["actions"] as Record<string, unknown>[]);
}

describe("the id", () => {
  test("is made once, stored under its key, and sent with everything", async () => {
    const tracker = track();
    tracker.track("click");
    await pass(1_000);
    expect(world.storage.items.get(ID)).toBe(minted(1));
    expect(tracker.visitorId).toBe(minted(1));
    expect(world.server.told.map(({ route, body }) => [route, body["visitor"]])).toStrictEqual([
      ["/visit", minted(1)],
      ["/visit/actions", minted(1)],
    ]);
    tracker.stop();
    expect(track().visitorId).toBe(minted(1));
  });

  test("is made by the client's own randomness when nothing else is said", () => {
    expect(new SojournTracker().visitorId).toMatch(/^[0-9a-f]{32}$/);
  });

  test("stays in memory where the storage is blocked, and nothing fails", async () => {
    vi.stubGlobal("localStorage", undefined);
    Object.defineProperty(globalThis, "localStorage", {
      configurable: true,
      get: () => {
        throw new DOMException("blocked", "SecurityError");
      },
    });
    const tracker = track();
    tracker.track("click");
    await pass(60_000);
    expect(tracker.visitorId).toBe(minted(1));
    expect(new Set(world.server.told.map(({ body }) => body["visitor"]))).toStrictEqual(new Set([minted(1)]));
    expect(world.server.actions).toContain("click");
  });

  test("F-W11 what is tracked before start() waits for the id, in order, and no storage is touched", async () => {
    const tracker = track({ ssr: true, pageViews: true });
    tracker.track("early", { metadata: { n: 1 } });
    tracker.track("later");
    await pass(60_000);
    expect(world.server.told).toStrictEqual([]);
    expect(world.storage.touched).toStrictEqual([]);
    expect(tracker.visitorId).toBeUndefined();
    tracker.start();
    await pass(1_000);
    expect(world.server.recorded).toMatchObject([
      { action: "early", metadata: { n: 1 }, visitor: minted(1) },
      { action: "later", visitor: minted(1) },
      { action: "page_view", visitor: minted(1) },
    ]);
  });

  test("F-W11 a tracker can be made, and used, where there is no browser", () => {
    vi.unstubAllGlobals();
    const tracker = new SojournTracker({ ssr: true });
    tracker.track("early");
    tracker.room("lobby");
    tracker.stop();
    expect(tracker.consent()).toBe("granted");
  });

  test("cookieless: none is made, nothing is stored, and the bodies name nobody", async () => {
    const tracker = track({ cookieless: true });
    world.server.next("/visit/actions", unsent);
    tracker.track("click");
    await pass(60_000);
    world.page.leave();
    expect(tracker.visitorId).toBeUndefined();
    expect(new Set(world.storage.touched)).toStrictEqual(new Set([`${ID}.consent`]));
    expect(world.storage.items.size).toBe(0);
    expect(world.server.told.length).toBeGreaterThan(3);
    expect(world.server.told.filter(({ body }) => "visitor" in body)).toStrictEqual([]);
    expect(world.server.actions).toContain("click");
  });
});

describe("the heartbeat", () => {
  const beats = (): number[] => world.server.calls("/visit").map(({ at }) => (at - 1_800_000_000_000) / 1_000);

  test("goes at once and then as often as the server asks", async () => {
    world.server.interval_ms = 20_000;
    track();
    await pass(60_000);
    expect(beats()).toStrictEqual([0, 20, 40, 60]);
  });

  test("goes as often as the page asks, if it does", async () => {
    track({ heartbeatMs: 5_000 });
    await pass(15_000);
    expect(beats()).toStrictEqual([0, 5, 10, 15]);
  });

  test.each([0, -1, Number.NaN])("does not run wild when the server asks for %s milliseconds", async (interval) => {
    world.server.interval_ms = interval;
    track();
    await pass(1_000);
    expect(beats().length).toBeLessThan(12);
  });

  test.each([
    ["a broken connection", unsent],
    ["a lost answer", unanswered],
    ["a busy server", BUSY],
    ["a refusal", refused("invalid", 400)],
    ["a server's mistake", refused("internal", 500)],
    ["a page of another program", () => new Response("<h1>Hello</h1>")],
    ["an answer of another program", () => new Response("{}")],
  ])("F-C98 goes on in time after %s", async (_, fault) => {
    track();
    await pass(1);
    world.server.next("/visit", fault, fault);
    await pass(180_000);
    expect(beats()).toStrictEqual([0, 60, 120, 180]);
  });

  test("F-C98 goes on after an answer that never came, and never twice at a time", async () => {
    world.server.next("/visit", silent);
    track({ retry: { timeoutMs: 90_000 } });
    await pass(200_000);
    expect(beats()).toStrictEqual([0, 150]);
  });

  test("F-C98 is not sent a second time when the page is hidden and seen while it is under way", async () => {
    world.server.next("/visit", silent);
    track();
    world.page.see(false);
    world.page.see(true);
    await pass(1_000);
    expect(beats()).toStrictEqual([0]);
    await pass(70_000);
    expect(beats()).toStrictEqual([0, 70]);
  });

  test("F-W9 stops while the page is hidden, and goes at once when it is seen", async () => {
    track();
    await pass(1_000);
    world.page.see(false);
    await pass(600_000);
    expect(beats()).toStrictEqual([0]);
    world.page.see(true);
    await pass(1_000);
    expect(beats()).toStrictEqual([0, 601]);
  });

  test("F-W9 does not begin in a page that was opened in the background", async () => {
    world.page.document.visibilityState = "hidden";
    track();
    await pass(600_000);
    expect(beats()).toStrictEqual([]);
    world.page.see(true);
    await pass(1);
    expect(beats()).toStrictEqual([600]);
  });

  test("F-W9 is one tab's at a time, and the next takes over at once", async () => {
    world.navigator["locks"] = new FakeLocks();
    const [first] = [track(), track(), track()];
    await pass(120_000);
    expect(beats()).toStrictEqual([0, 60, 120]);
    await pass(1_000);
    first.stop();
    await pass(1);
    expect(beats()).toStrictEqual([0, 60, 120, 121]);
  });

  test("F-W9 does not become that of a tab which waited for its turn and has gone", async () => {
    world.navigator["locks"] = new FakeLocks();
    const [first, second] = [track(), track()];
    await pass(1_000);
    second.stop();
    first.stop();
    await pass(120_000);
    expect(beats()).toStrictEqual([0]);
  });

  test("F-W9 is each visitor's own, where tabs do not share the storage", async () => {
    world.navigator["locks"] = new FakeLocks();
    track({ storage: new FakeStorage({ [ID]: minted(1) }) });
    track({ storage: new FakeStorage({ [ID]: minted(2) }) });
    await pass(1);
    expect(world.server.active).toStrictEqual(new Set([minted(1), minted(2)]));
  });

  test("goes in every tab where there are no locks, or where they are refused", async () => {
    track();
    world.navigator["locks"] = { request: () => Promise.reject(new DOMException("no origin", "SecurityError")) };
    track();
    await pass(1);
    expect(beats()).toStrictEqual([0, 0]);
  });

  test("goes at once when the network is back", async () => {
    world.server.next("/visit", unsent);
    track();
    await pass(5_000);
    world.page.hear("online");
    await pass(100);
    expect(beats()).toStrictEqual([0, 5.1]);
  });

  test("begins with a page that was loaded ahead when it is shown", async () => {
    world.page.document.prerendering = true;
    track({ pageViews: true });
    await pass(60_000);
    expect(world.server.told).toStrictEqual([]);
    world.page.document.prerendering = false;
    world.page.document.dispatchEvent(new Event("prerenderingchange"));
    await pass(1_000);
    expect(beats()).toStrictEqual([60]);
    expect(world.server.actions).toStrictEqual(["page_view"]);
  });

  test("ends, with all else, when the server tracks nobody like this", async () => {
    world.server.tracked = false;
    const tracker = track();
    tracker.room("lobby");
    tracker.track("click");
    await pass(600_000);
    tracker.track("click");
    world.page.see(false);
    world.page.see(true);
    await pass(600_000);
    world.page.leave();
    expect(beats()).toStrictEqual([0]);
    expect(entries()).toStrictEqual([]);
    expect(world.storage.items.has(`${ID}.queue`)).toBe(false);
  });
});

describe("actions", () => {
  test("go together, in order, with their sequence and the browser's time", async () => {
    const tracker = track();
    world.page.focus(false);
    await pass(1_000);
    tracker.track("add", { resourceId: "sku 1", metadata: { price: 3 } });
    await pass(400);
    tracker.track("pay");
    await pass(600);
    const [call] = world.server.calls("/visit/actions");
    expect(entries()).toHaveLength(1);
    expect(call?.body["sent_at"]).toBe(1_800_000_002_000);
    expect(call?.body["client"]).toMatch(/^[0-9a-f]{32}$/);
    expect(call?.body).not.toHaveProperty("leaving");
    expect(entries()[0]).toMatchObject([
      { sequence: 1, at: 1_800_000_001_000, action: "add", resource_id: "sku 1", metadata: { price: 3 } },
      { sequence: 2, at: 1_800_000_001_400, action: "pay" },
    ]);
    expect(world.storage.items.has(`${ID}.queue`)).toBe(false);
  });

  test("P-R16 are at most 500 and 60 KB of a batch, and all arrive in order", async () => {
    const tracker = track();
    for (let n = 1; n <= 700; n++) tracker.track(`action ${n}`);
    for (let n = 1; n <= 20; n++) tracker.track(`big ${n}`, { metadata: { text: "ä".repeat(4_000) } });
    await pass(1_000);
    expect(world.server.recorded.map(({ sequence }) => sequence)).toStrictEqual(Array.from({ length: 720 }, (_, n) => n + 1));
    for (const { body } of world.server.calls("/visit/actions")) {
      expect((body["actions"] as unknown[]).length).toBeLessThanOrEqual(500);
      expect(new TextEncoder().encode(JSON.stringify(body)).length).toBeLessThan(61_000);
    }
  });

  test.each([
    ["a broken connection", unsent],
    ["a lost answer", unanswered],
    ["a busy server", BUSY],
    ["a proxy's page", () => new Response("<h1>Bad gateway</h1>", { status: 502 })],
    ["a portal's page", () => new Response("<h1>Sign in to the network</h1>")],
    ["an answer of another program", () => new Response("{}")],
  ])("P-R16 are recorded once each in spite of %s", async (_, fault) => {
    const tracker = track();
    world.server.next("/visit/actions", fault, fault, fault);
    tracker.track("one");
    await pass(1_200);
    tracker.track("two");
    await pass(120_000);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["one", "two"]);
  });

  test("F-W10 wait as long as the server is away, and are tried again for ever", async () => {
    const tracker = track();
    await pass(1);
    world.server.next("/visit/actions", ...Array.from({ length: 60 }, () => unsent));
    tracker.track("click");
    await pass(1_800_000);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["click"]);
  });

  test("F-W10 of a tab that does not beat are tried again too", async () => {
    world.navigator["locks"] = new FakeLocks();
    world.page.focus(false);
    track();
    const tracker = track({ retry: { attempts: 1 } });
    world.server.next("/visit/actions", unsent);
    tracker.track("click");
    await pass(14_000);
    expect(world.server.actions).toStrictEqual([]);
    await pass(1_000);
    expect(world.server.actions).toStrictEqual(["click"]);
  });

  test("F-W10 go at once when the network is back, in the midst of a pause", async () => {
    const tracker = track({ retry: { firstMs: 1_000_000, longestMs: 1_000_000 } });
    world.server.next("/visit/actions", unsent);
    tracker.track("click");
    await pass(10_000);
    expect(world.server.actions).toStrictEqual([]);
    world.page.hear("online");
    await pass(1);
    expect(world.server.actions).toStrictEqual(["click"]);
  });

  test("F-W10 an action before the first heartbeat has succeeded is recorded", async () => {
    world.server.next("/visit", unsent);
    track().track("click");
    await pass(1_000);
    expect(world.server.actions).toStrictEqual(["click"]);
  });

  test("are not asked for again before the server wants them", async () => {
    const tracker = track();
    await pass(1);
    world.server.next("/visit/actions", refused("rate_limited", 429, { retry: "later" }, { "Retry-After": "40" }));
    tracker.track("click");
    await pass(40_000);
    expect(entries()).toHaveLength(1);
    await pass(20_000);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["click"]);
  });

  test("P-R16 a refused one is named on the console, and the others are not held up", async () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    const answer = { tracked: true, accepted: 1, repeated: 0, refused: [{ sequence: 1, code: "limit", message: "action: it is too long" }] };
    world.server.next("/visit/actions", (accept) => (accept(), new Response(JSON.stringify(answer))));
    track().track("click");
    await pass(2_000);
    expect(warn.mock.calls).toStrictEqual([["sojourn did not record an action: action: it is too long"]]);
    expect(entries()).toHaveLength(1);
  });

  test("a batch that the server will never take is given up", async () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    world.server.next("/visit/actions", refused("invalid", 400, { message: "client: no" }));
    const tracker = track();
    world.page.focus(false);
    tracker.track("bad");
    await pass(2_000);
    tracker.track("good");
    await pass(60_000);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["good"]);
    expect(warn).toHaveBeenCalledTimes(1);
  });

  test("waiting ones are bounded: the oldest go", async () => {
    const tracker = track({ ssr: true });
    for (let n = 1; n <= 1_200; n++) tracker.track(`action ${n}`);
    tracker.start();
    await pass(1_000);
    expect(world.server.actions).toHaveLength(1_000);
    expect(world.server.actions[0]).toBe("action 201");
  });

  test("those of the day before are not sent: the server would not know a repeat", async () => {
    const tracker = track({ ssr: true });
    tracker.track("old");
    await pass(24 * 3_600_000);
    tracker.track("new");
    tracker.start();
    await pass(1_000);
    expect(world.server.actions).toStrictEqual(["new"]);
  });

  test("half of a character is told as a damaged one, and the rest of the batch arrives", async () => {
    const tracker = track();
    const half = "\u{1f600}".slice(0, 1);
    tracker.track(`cut ${half}`, { metadata: { [half]: `${half} \\ud83d`, whole: "\u{1f600}" } });
    await pass(1_000);
    const [recorded] = world.server.recorded;
    expect(recorded?.action).toBe("cut \ufffd");
    expect(recorded?.metadata).toStrictEqual({ "\ufffd": "\ufffd \\ud83d", whole: "\u{1f600}" });
  });

  test("are as they were when they were tracked", async () => {
    const metadata = { count: 1 };
    const tracker = track();
    tracker.track("add", { metadata });
    metadata.count = 2;
    await pass(1_000);
    expect(world.server.recorded[0]?.metadata).toStrictEqual({ count: 1 });
  });

  test.each([
    ["no name", "", {}, /action: it is text/],
    ["a number that is none", "add", { metadata: { price: Number.NaN } }, /price: a number is finite/],
    ["too much", "add", { metadata: { text: "x".repeat(8_192) } }, /metadata: it has over 8192 bytes/],
  ])("with %s are refused at once", (_, action, options, message) => {
    expect(() => track().track(action, options)).toThrow(message);
  });
});

describe("a page that is hidden", () => {
  test("F-W9 hands over what waits by a beacon, and sends it again when it is seen, since nobody said it arrived", async () => {
    const tracker = track();
    await pass(1_000);
    tracker.track("click");
    world.server.losesBeacons = true;
    world.page.see(false);
    expect(world.server.calls("/visit/actions")).toMatchObject([{ by: "beacon", body: { visitor: minted(1) } }]);
    expect(world.server.recorded).toStrictEqual([]);
    world.page.see(true);
    await pass(1);
    expect(world.server.actions).toContain("click");
    await pass(60_000);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["click"]);
  });

  test("P-R16 a beacon that arrived and is sent again counts once", async () => {
    const tracker = track();
    tracker.track("click");
    world.page.see(false);
    world.page.see(true);
    await pass(60_000);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["click"]);
  });

  test("goes on tracking what it does there", async () => {
    const tracker = track();
    world.page.see(false);
    await pass(5_000);
    tracker.track("song_ended");
    await pass(1);
    expect(world.server.calls("/visit/actions")).toMatchObject([{ by: "keepalive" }]);
    await pass(5_000);
    tracker.track("song_ended");
    await pass(60_000);
    expect(entries().map(({ length }) => length)).toStrictEqual([1, 1]);
    expect(world.server.actions).toStrictEqual(["song_ended", "song_ended"]);
  });

  test("a refused beacon is made smaller, and what does not fit waits", async () => {
    const tracker = track();
    for (let n = 1; n <= 100; n++) tracker.track(`action ${n}`);
    world.server.room = 3_000;
    world.page.see(false);
    expect(entries().map(({ length }) => length)).toStrictEqual([50]);
    expect(world.server.actions).toStrictEqual(Array.from({ length: 50 }, (_, n) => `action ${n + 1}`));
    world.page.see(true);
    await pass(1);
    expect(world.server.actions.filter(Boolean)).toHaveLength(100);
  });

  test.each([
    ["takes none", () => false],
    ["has none", undefined],
  ])("where the browser %s, a request does that outlives the page", async (_, sendBeacon) => {
    world.navigator["sendBeacon"] = sendBeacon;
    const tracker = track();
    await pass(1);
    tracker.track("click");
    world.page.see(false);
    await pass(1);
    expect(world.server.calls("/visit/actions")).toMatchObject([{ by: "keepalive" }]);
    expect(world.server.actions).toStrictEqual(["click"]);
  });
});

describe("a page that is left", () => {
  const leaving = (): unknown[] => world.server.told.filter(({ body, route }) => body["leaving"] || route === "/visit/leave");

  test("F-W9 says so with what waits, in one beacon", async () => {
    const tracker = track();
    await pass(1_000);
    tracker.track("click");
    world.page.leave();
    expect(world.server.told.slice(1)).toMatchObject([{ route: "/visit/actions", by: "beacon", body: { leaving: true } }]);
    expect(world.server.active.size).toBe(0);
    await pass(600_000);
    expect(world.server.told).toHaveLength(2);
  });

  test("F-W9 says so when nothing waits", async () => {
    world.page.isFocused = false;
    track();
    await pass(1_000);
    world.page.leave();
    expect(world.server.told.slice(1)).toMatchObject([{ route: "/visit/leave", by: "beacon", body: { visitor: minted(1) } }]);
    expect(world.server.active.size).toBe(0);
  });

  test("F-W10 sends what others track while it is closed, as part of its leaving", async () => {
    const tracker = track();
    await pass(1_000);
    world.page.addEventListener("pagehide", () => tracker.track("bye"));
    world.page.leave();
    await pass(1);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["bye"]);
    expect(world.server.active.size).toBe(0);
  });

  test("F-W10 sends what is tracked then without waiting for the answer that is on its way", async () => {
    world.server.next("/visit/actions", silent);
    const tracker = track();
    tracker.track("click");
    await pass(1_000);
    world.page.addEventListener("pagehide", () => {
      for (let n = 1; n <= 3; n++) tracker.track(`bye ${n}`);
    });
    world.page.leave();
    await pass(1);
    expect(world.server.calls("/visit/actions").map(({ by }) => by)).toStrictEqual(["fetch", "beacon", "beacon"]);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["click", "bye 1", "bye 2", "bye 3"]);
  });

  test("F-W9 that was hidden before says so too, and one that stays hidden does not", async () => {
    track();
    await pass(1_000);
    world.page.see(false);
    await pass(60_000);
    expect(leaving()).toStrictEqual([]);
    world.page.hear("pagehide", { persisted: false });
    expect(leaving()).toHaveLength(1);
    expect(world.server.active.size).toBe(0);
  });

  test("F-W9 does not say so while another tab is there, even a hidden one", async () => {
    const other = new FakeTab(`sojourn visit ${minted(1)}`);
    track();
    await pass(1_000);
    world.page.leave();
    expect(leaving()).toStrictEqual([]);
    expect(other.heard).toMatchObject([{ says: "hello" }, { says: "bye" }]);
  });

  test("F-W9 says so when the other tabs have gone before, and those of another visitor do not count", async () => {
    new FakeTab(`sojourn visit ${minted(2)}`);
    const other = new FakeTab(`sojourn visit ${minted(1)}`);
    track();
    await pass(1_000);
    other.say("bye");
    world.page.leave();
    expect(leaving()).toHaveLength(1);
  });

  test("F-W9 answers a tab that comes later, and counts it", async () => {
    track();
    await pass(1_000);
    const other = new FakeTab(`sojourn visit ${minted(1)}`);
    other.say("hello");
    expect(other.heard).toMatchObject([{ says: "here" }]);
    world.page.leave();
    expect(leaving()).toStrictEqual([]);
  });

  test("F-W9 does not say so where it cannot know of other tabs", async () => {
    vi.stubGlobal("BroadcastChannel", undefined);
    track();
    await pass(1_000);
    world.page.leave();
    expect(leaving()).toStrictEqual([]);
  });

  test("F-W9 and kept by the browser is silent, and begins again when it comes back", async () => {
    track({ pageViews: true });
    await pass(1_000);
    world.page.leave(true);
    expect(leaving()).toStrictEqual([]);
    await pass(600_000);
    expect(world.server.calls("/visit")).toHaveLength(1);
    world.page.comeBack();
    await pass(1_000);
    expect(world.server.calls("/visit")).toHaveLength(2);
    expect(world.server.actions.filter(Boolean)).toStrictEqual(["page_view", "page_view"]);
  });

  test("F-W10 leaves what could not be sent to another page, which sends it under its first name, once", async () => {
    const left = track();
    await pass(1_000);
    left.track("one");
    world.server.losesBeacons = true;
    world.page.leave();
    const client = world.server.calls("/visit/actions")[0]?.body["client"];
    openPage(world);
    await pass(3_600_000);
    expect(world.server.recorded).toStrictEqual([]);

    track().track("two");
    await pass(60_000);
    expect(world.server.actions.filter(Boolean).sort()).toStrictEqual(["one", "two"]);
    expect(world.server.recorded.find(({ action }) => action === "one")).toMatchObject({ client, at: 1_800_000_001_000 });
    expect(world.storage.items.has(`${ID}.queue`)).toBe(false);
    expect(world.server.calls("/visit/actions").filter(({ body }) => body["client"] === client)).toHaveLength(2);
  });

  test("F-W10 leaves what waits for a server that is away, even if it crashes", async () => {
    world.server.next("/visit/actions", ...Array.from({ length: 20 }, () => unsent));
    track({ retry: { attempts: 1 } }).track("one");
    await pass(2_000);
    openPage(world);
    const stored = world.storage.items.get(`${ID}.queue`);
    expect(JSON.parse(stored as string)).toMatchObject([{ sequence: 1, action: "one" }]);
  });

  test("what another page left is taken by the tab whose turn it is, and only while the server can be had", async () => {
    const left = [{ client: "gone", sequence: 4, at: Date.now(), action: "left" }];
    world.storage.items.set(`${ID}.queue`, JSON.stringify(left));
    world.navigator["locks"] = new FakeLocks();
    world.server.next("/visit", unsent);
    track();
    track();
    await pass(59_000);
    expect(world.server.calls("/visit/actions").filter(({ body }) => body["client"] === "gone")).toHaveLength(0);
    await pass(2_000);
    expect(world.server.calls("/visit/actions").filter(({ body }) => body["client"] === "gone")).toHaveLength(1);
    expect(world.server.recorded.filter(({ client }) => client === "gone")).toMatchObject([{ sequence: 4, action: "left" }]);
  });

  test.each(["nonsense", "{}", "[1, null, {}]", '[{"client": 1, "sequence": 1, "at": 1}]'])(
    "what stands there as %s is nobody's",
    async (stored) => {
      world.storage.items.set(`${ID}.queue`, stored);
      track().track("click");
      await pass(2_000);
      expect(world.server.actions).toStrictEqual(["click"]);
    },
  );
});

describe("engaged time", () => {
  const engaged = (): number => world.server.recorded.reduce((sum, each) => sum + (each.engaged_ms ?? 0), 0);

  test("P-R17 goes with the heartbeat, while the page is seen and in focus", async () => {
    track();
    await pass(121_000);
    expect(world.server.recorded).toMatchObject([{ engaged_ms: 60_000 }, { engaged_ms: 60_000 }]);
    expect(world.server.recorded[0]).not.toHaveProperty("action");
    world.page.focus(false);
    await pass(60_000);
    expect(engaged()).toBe(121_000);
    world.page.focus(true);
    await pass(5_000);
    world.page.see(false);
    expect(engaged()).toBe(126_000);
  });

  test("P-R17 is reported when the page loses the focus", async () => {
    track();
    await pass(2_000);
    world.page.focus(false);
    await pass(1_000);
    expect(world.server.recorded).toMatchObject([{ engaged_ms: 2_000 }]);
  });

  test("P-R17 goes with an action where there is one", async () => {
    const tracker = track();
    await pass(3_000);
    tracker.track("click");
    await pass(1_000);
    expect(world.server.recorded).toMatchObject([{ action: "click", engaged_ms: 3_000 }]);
  });
});

describe("consent", () => {
  const stored = (): string[] => [...world.storage.items.keys()];

  test("P-R20 while it is pending nothing is stored or sent, and what is tracked waits", async () => {
    const tracker = track({ consent: "required", pageViews: true });
    tracker.track("click");
    tracker.room("lobby");
    await pass(600_000);
    world.page.see(false);
    world.page.see(true);
    expect([world.server.told, stored()]).toStrictEqual([[], []]);
    expect(tracker.consent()).toBe("pending");

    expect(tracker.consent("granted")).toBe("granted");
    await pass(1_000);
    expect(world.server.actions).toStrictEqual(["page_view", "click"]);
    expect(world.server.recorded[1]?.at).toBe(1_800_000_000_000);
    expect(world.server.tabs.size).toBe(1);
    expect(track({ consent: "required" }).consent()).toBe("granted");
  });

  test("P-R20 a page that is closed while it is pending has told nobody", async () => {
    track({ consent: "required" }).track("click");
    world.page.leave();
    await pass(60_000);
    expect([world.server.told, stored()]).toStrictEqual([[], []]);
  });

  test("P-R20 denied: what waits and the id are forgotten, the server is told, and nothing follows", async () => {
    const tracker = track();
    tracker.room("lobby");
    world.server.next("/visit/actions", ...Array.from({ length: 20 }, () => unsent));
    tracker.track("click");
    await pass(1_000);
    expect(stored()).toStrictEqual([ID, `${ID}.queue`]);
    expect(tracker.consent("denied")).toBe("denied");
    expect(stored()).toStrictEqual([`${ID}.consent`]);
    expect(world.server.active.size).toBe(0);
    expect(world.server.tabs.size).toBe(0);
    const before = world.server.told.length;
    tracker.track("click");
    world.page.see(false);
    world.page.see(true);
    await pass(600_000);
    expect(world.server.told).toHaveLength(before);
    expect(world.server.actions).toStrictEqual([]);
    expect(tracker.visitorId).toBeUndefined();

    world.page.focus(false);
    tracker.consent("granted");
    tracker.track("again");
    await pass(60_000);
    expect(world.server.recorded).toMatchObject([{ action: "again", visitor: minted(2) }]);
    expect(world.server.recorded[0]).not.toHaveProperty("engaged_ms");
  });

  test("P-R20 denied is a goodbye to the other tabs", async () => {
    const other = new FakeTab(`sojourn visit ${minted(1)}`);
    track().consent("denied");
    expect(other.heard).toMatchObject([{ says: "hello" }, { says: "bye" }]);
  });

  test("P-R20 denied is remembered by the next page, and heard by other tabs", async () => {
    const tracker = track();
    await pass(1);
    world.storage.items.set(`${ID}.consent`, "denied");
    world.page.hear("storage", { storageArea: world.storage, key: `${ID}.consent` });
    expect(tracker.consent()).toBe("denied");
    expect(world.server.active.size).toBe(0);
    tracker.stop();
    const before = world.server.told.length;
    track().track("click");
    await pass(60_000);
    expect(world.server.told).toHaveLength(before);
  });

  test.each([
    ["Global Privacy Control", { globalPrivacyControl: true }],
    ["Do Not Track", { doNotTrack: "1" }],
  ])("P-R20 %s counts as denied, whatever else was said, unless it is not to be honoured", async (_, signal) => {
    Object.assign(world.navigator, signal);
    const tracker = track();
    expect(tracker.consent("granted")).toBe("denied");
    tracker.track("click");
    await pass(60_000);
    expect(world.server.told).toStrictEqual([]);
    expect(stored()).toStrictEqual([`${ID}.consent`]);
    track({ honour: false });
    await pass(1);
    expect(world.server.active.size).toBe(1);
  });

  test("P-R20 other values of the signals are none", () => {
    Object.assign(world.navigator, { globalPrivacyControl: false, doNotTrack: "unspecified" });
    expect(track().consent()).toBe("granted");
  });

  test("can be taken back to pending, and given before the start", async () => {
    const tracker = track({ ssr: true, consent: "required" });
    expect(tracker.consent("granted")).toBe("granted");
    tracker.start();
    await pass(1);
    expect(world.storage.items.get(`${ID}.consent`)).toBe("granted");
    expect(tracker.consent("pending")).toBe("pending");
    expect(world.storage.items.has(`${ID}.consent`)).toBe(false);
    await pass(600_000);
    expect(world.server.calls("/visit")).toHaveLength(1);
    expect(() => tracker.consent("maybe" as "denied")).toThrow(/consent: it is/);
  });
});

describe("page views", () => {
  const views = (): unknown[] => world.server.recorded.filter(({ action }) => action).map(({ metadata }) => metadata);

  test("are recorded at the start, with the host that led here, and at each new path", async () => {
    world.page.document.referrer = "https://search.example/?q=private";
    world.page.location.pathname = "/shop";
    track({ pageViews: true });
    history.pushState({}, "", "/shop/cart");
    history.replaceState({}, "", "/shop/cart");
    world.page.location.pathname = "/shop";
    world.page.hear("popstate");
    await pass(1_000);
    expect(views()).toStrictEqual([{ path: "/shop", referrer: "search.example" }, { path: "/shop/cart" }, { path: "/shop" }]);
    expect(new Set(world.server.actions)).toStrictEqual(new Set(["page_view"]));
  });

  test("of a stopped tracker are not recorded, and the page's own history works on", async () => {
    const tracker = track({ pageViews: true });
    await pass(1_000);
    tracker.stop();
    history.pushState({}, "", "/other");
    expect(location.pathname).toBe("/other");
    await pass(60_000);
    expect(views()).toStrictEqual([{ path: "/" }]);
  });

  test("have a path that fits, however long it is", async () => {
    world.page.location.pathname = `/${"x".repeat(100_000)}`;
    track({ pageViews: true });
    await pass(1_000);
    expect(world.server.actions).toStrictEqual(["page_view"]);
  });
});

test("a tracker that was stopped goes on after start()", async () => {
  const tracker = track();
  tracker.start();
  await pass(1_000);
  tracker.stop();
  tracker.stop();
  tracker.track("meanwhile");
  await pass(600_000);
  expect(world.server.calls("/visit")).toHaveLength(1);
  tracker.start();
  await pass(1_000);
  expect(world.server.calls("/visit")).toHaveLength(2);
  expect(world.server.actions.filter(Boolean)).toStrictEqual(["meanwhile"]);
});

test("another server is another address", async () => {
  const server = new VisitServer();
  track({ url: "https://shop.example/", fetch: server.fetch });
  await pass(1);
  expect(server.told).toMatchObject([{ route: "/visit" }]);
});

/** Another tab, as far as this one can hear it. */
class FakeTab {
  readonly heard: unknown[] = [];
  readonly #channel: BroadcastChannel;

  constructor(name: string) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: { data: unknown }) => {
      this.heard.push(data);
      if ((data as { says: string }).says === "hello") this.say("here");
    };
  }

  say(says: string): void {
    this.#channel.postMessage({ says, tab: "the other" });
  }
}
