// One tab at a time.
import { expect, test, vi } from "vitest";

import { Turn } from "../src/turn.js";
import { settled } from "./fake.js";
import { FakeLocks } from "./fake-visits.js";

/** Three tabs of one browser, and what they said. */
function tabs(locks: unknown): { said: string[]; all: Turn[] } {
  vi.stubGlobal("navigator", { locks });
  const said: string[] = [];
  const all = [1, 2, 3].map((n) => new Turn(() => said.push(`begin ${n}`), () => said.push(`end ${n}`)));
  return { said, all };
}

test("F-W9 each waits for the one before, and one that has given up waiting never begins", async () => {
  const { said, all } = tabs(new FakeLocks());
  for (const turn of all) turn.want("name");
  await settled();
  expect(said).toStrictEqual(["begin 1"]);
  all[1]?.drop();
  await settled();
  all[0]?.drop();
  all[0]?.drop();
  await settled();
  expect(said).toStrictEqual(["begin 1", "end 2", "end 1", "begin 3"]);
});

test("F-W9 it can be wanted again, and waits at the end", async () => {
  const { said, all } = tabs(new FakeLocks());
  all[0]?.want("name");
  all[1]?.want("name");
  await settled();
  all[0]?.drop();
  all[0]?.want("name");
  await settled();
  all[1]?.drop();
  await settled();
  expect(said).toStrictEqual(["begin 1", "end 1", "begin 2", "end 2", "begin 1"]);
});

test("F-W9 turns of other names are nobody's business", async () => {
  const { said, all } = tabs(new FakeLocks());
  for (const [n, turn] of all.entries()) turn.want(`name ${n}`);
  await settled();
  expect(said).toStrictEqual(["begin 1", "begin 2", "begin 3"]);
});
