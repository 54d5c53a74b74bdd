// What pages have left to report, in a storage that they share.
import { beforeEach, expect, test, vi } from "vitest";

import { type Entry, Shelf } from "../src/shelf.js";
import { Slot } from "../src/storage.js";
import { FakeStorage } from "./fake.js";

const KEY = "queue";
const NOW = 1_800_000_000_000;
let storage: FakeStorage;

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
  storage = new FakeStorage();
  return () => void vi.useRealTimers();
});

function shelf(): Shelf {
  return new Shelf(new Slot(storage, KEY, undefined, () => true));
}

function some(first: number, last: number, at = NOW): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, n) => ({ sequence: first + n, at, action: `a${first + n}` }));
}

test("each client finds what the others left, in order, and not its own", () => {
  shelf().keep("one", some(1, 3));
  shelf().keep("two", some(1, 2));
  shelf().keep("one", some(2, 4));
  expect([...shelf().others("two")]).toStrictEqual([["one", some(2, 4)]]);
  expect([...shelf().others("three")]).toStrictEqual([
    ["two", some(1, 2)],
    ["one", some(2, 4)],
  ]);
});

test("what a client has reported is forgotten, and no more", () => {
  shelf().keep("one", some(1, 4));
  shelf().keep("two", some(1, 4));
  shelf().forget("one", 3);
  expect([...shelf().others("")]).toStrictEqual([
    ["one", some(4, 4)],
    ["two", some(1, 4)],
  ]);
  shelf().forget("one", 4);
  shelf().forget("two", 4);
  expect(storage.items.size).toBe(0);
});

test("a page with nothing to report writes nothing", () => {
  shelf().keep("one", some(1, 1));
  const writes = vi.spyOn(storage, "setItem");
  shelf().keep("two", []);
  expect(writes).not.toHaveBeenCalled();
});

test("the oldest are dropped beyond 1,000, and after a day", () => {
  shelf().keep("one", some(1, 600));
  shelf().keep("two", some(1, 600));
  expect([...shelf().others("")].map(([client, entries]) => [client, entries.length])).toStrictEqual([
    ["one", 400],
    ["two", 600],
  ]);
  expect(shelf().others("").get("one")?.[0]?.sequence).toBe(201);
  vi.setSystemTime(NOW + 24 * 3_600_000);
  expect(shelf().others("").size).toBe(0);
});

test.each(["nonsense", "null", "{}", "7"])("a storage that says %s has nothing", (stored) => {
  storage.items.set(KEY, stored);
  expect(shelf().others("").size).toBe(0);
});

test("what cannot be an entry is passed over", () => {
  const good = { client: "one", sequence: 1, at: NOW };
  const bad = [1, null, [], {}, { ...good, client: 1 }, { ...good, sequence: "1" }, { ...good, at: 0.5 }];
  storage.items.set(KEY, JSON.stringify([...bad, good]));
  expect([...shelf().others("")]).toStrictEqual([["one", [{ sequence: 1, at: NOW }]]]);
});
