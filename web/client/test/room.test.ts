// A tab in a room. The rows are those of tests/rows.toml; each title begins with the row it proves.
import { describe, expect, test } from "vitest";

import { SojournTracker } from "../src/index.js";
import { counting, minted, refused, silent, unanswered, unsent } from "./fake.js";
import { freshPage, pass } from "./fake-visits.js";

const world = freshPage();

function track(options = {}): SojournTracker {
  world.server.interval_ms = 10_000;
  return new SojournTracker({ idGenerator: counting(), pageViews: false, ...options });
}

const beats = (): number[] => world.server.calls("/presence").map(({ at }) => (at - 1_800_000_000_000) / 1_000);
const tokens = (): unknown[] => world.server.calls("/presence").map(({ body }) => body["token"]);
const left = (): unknown[] => world.server.calls("/presence/leave").map(({ body }) => body["token"]);

describe("a tab in a room", () => {
  test("beats as often as the server asks, each time with the token of the last", async () => {
    const room = track().room("lobby", { data: { mood: "fine" } });
    await pass(20_000);
    expect(room.name).toBe("lobby");
    expect(beats()).toStrictEqual([0, 10, 20]);
    expect(tokens()).toStrictEqual([undefined, "token-1", "token-1"]);
    const [first, second] = world.server.calls("/presence");
    expect(first?.body).toMatchObject({ room: "lobby", visitor: minted(1), data: { mood: "fine" } });
    expect(first?.body["tab"]).toMatch(/^[0-9a-f]{32}$/);
    expect(second?.body["tab"]).toBe(first?.body["tab"]);
    expect(second?.body).not.toHaveProperty("data");
  });

  test("beats as often as the page asks, if it does", async () => {
    track().room("lobby", { intervalMs: 3_000 });
    await pass(6_000);
    expect(beats()).toStrictEqual([0, 3, 6]);
  });

  test.each([
    ["a broken connection", unsent],
    ["a lost answer", unanswered],
    ["a busy server", refused("overloaded", 503, { retry: "later" })],
    ["a refusal", refused("invalid", 400)],
    ["an answer of another program", () => new Response("{}")],
  ])("F-C98 keeps the last good token through %s, and the next beats go out in time", async (_, fault) => {
    track().room("lobby");
    await pass(1);
    world.server.next("/presence", fault, fault);
    await pass(30_000);
    expect(beats()).toStrictEqual([0, 10, 20, 30]);
    expect(tokens()).toStrictEqual([undefined, "token-1", "token-1", "token-1"]);
    world.page.see(false);
    expect(left()).toStrictEqual(["token-1"]);
  });

  test("F-C98 sends what it shows again, until that has arrived", async () => {
    const room = track().room("lobby");
    await pass(1);
    world.server.next("/presence", unsent);
    room.update("away");
    await pass(20_000);
    expect([...world.server.tabs.values()]).toMatchObject([{ data: "away" }]);
  });

  test("leaves when it is hidden, comes back when it is seen, and leaves with the page", async () => {
    track().room("lobby", { data: 1 });
    await pass(1_000);
    world.page.see(false);
    expect(left()).toStrictEqual(["token-1"]);
    await pass(60_000);
    expect(beats()).toStrictEqual([0]);
    world.page.see(true);
    await pass(1);
    expect(beats()).toStrictEqual([0, 61]);
    expect([...world.server.tabs.values()]).toMatchObject([{ token: "token-2", data: 1 }]);
    world.page.leave();
    expect(left()).toStrictEqual(["token-1", "token-2"]);
    expect(world.server.calls("/presence/leave").every(({ by }) => by === "beacon")).toBe(true);
  });

  test("that is hidden while its first beat is under way leaves as soon as that is answered", async () => {
    track().room("lobby");
    world.page.see(false);
    await pass(1);
    expect(left()).toStrictEqual(["token-1"]);
    expect(world.server.tabs.size).toBe(0);
  });

  test("shows what it is told to, soon and not with each change", async () => {
    const room = track().room("lobby", { data: { x: 0 } });
    await pass(1_000);
    for (let x = 1; x <= 50; x++) room.update({ x });
    await pass(200);
    expect(world.server.calls("/presence").map(({ body }) => body["data"])).toStrictEqual([{ x: 0 }, { x: 50 }]);
    expect([...world.server.tabs.values()]).toMatchObject([{ data: { x: 50 } }]);
    await pass(20_000);
    expect(beats()).toHaveLength(4);
  });

  test("shows what changed while a beat was under way right after it", async () => {
    const room = track().room("lobby", { data: "first" });
    room.update("second");
    await pass(500);
    expect([...world.server.tabs.values()]).toMatchObject([{ data: "second" }]);
  });

  test("shows what it did when the server had given it up", async () => {
    track().room("lobby", { data: "here" });
    await pass(1);
    world.server.tabs.clear();
    await pass(10_500);
    expect([...world.server.tabs.values()]).toMatchObject([{ data: "here", token: "token-2" }]);
    await pass(10_000);
    expect(beats()).toHaveLength(4);
  });

  test("leaves for good, and another room is another place", async () => {
    const tracker = track();
    const lobby = tracker.room("lobby");
    tracker.room("hall");
    await pass(1);
    expect(new Set([...world.server.tabs.keys()]).size).toBe(2);
    lobby.leave();
    lobby.leave();
    expect(left()).toStrictEqual(["token-1"]);
    world.page.see(false);
    world.page.see(true);
    await pass(60_000);
    expect([...world.server.tabs.values()].map(({ room }) => room)).toStrictEqual(["hall"]);
  });

  test("sits elsewhere under another id: the old place is the old visitor's", async () => {
    const tracker = track();
    tracker.room("lobby");
    await pass(1);
    tracker.consent("denied");
    expect(world.server.tabs.size).toBe(0);
    tracker.consent("granted");
    await pass(1);
    const [before, now] = world.server.calls("/presence").map(({ body }) => body);
    expect([before?.["visitor"], now?.["visitor"]]).toStrictEqual([minted(1), minted(2)]);
    expect(now?.["tab"]).not.toBe(before?.["tab"]);
  });

  test("without cookies is somebody for as long as the page is there", async () => {
    const tracker = track({ cookieless: true });
    tracker.room("lobby");
    tracker.room("hall");
    await pass(10_000);
    const visitors = new Set(world.server.calls("/presence").map(({ body }) => body["visitor"]));
    expect([...visitors]).toStrictEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
    expect(world.storage.items.size).toBe(0);
  });

  test("waits for the start", async () => {
    const tracker = track({ ssr: true });
    tracker.room("lobby");
    await pass(60_000);
    expect(beats()).toStrictEqual([]);
    tracker.start();
    await pass(1);
    expect(world.server.tabs.size).toBe(1);
  });

  test("keeps trying after an answer that never came", async () => {
    world.server.next("/presence", silent);
    track().room("lobby");
    await pass(60_000);
    expect(world.server.tabs.size).toBe(1);
    expect(beats().length).toBeGreaterThan(1);
  });

  test.each([
    ["a number that is none", { x: Number.NaN }, /x: a number is finite/],
    ["too much", "x".repeat(4_097), /data: it has over 4096 bytes/],
  ])("does not show %s", (_, data, message) => {
    const room = track().room("lobby");
    expect(() => room.update(data)).toThrow(message);
    expect(() => track().room("lobby", { data })).toThrow(message);
    room.update("x".repeat(4_094));
  });
});
