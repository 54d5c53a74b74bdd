// Whatever happens to a page: the time reported is never more than has passed, and never below 0.
import { expect, test } from "vitest";

import { SojournTracker } from "../src/index.js";
import { Engagement } from "../src/engagement.js";
import { freshPage, pass } from "./fake-visits.js";

const world = freshPage();

/** Chance that can be repeated. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

test.each(Array.from({ length: 200 }, (_, seed) => seed))(
  "P-R17 what is measured is the sum of the intervals looked at, to the millisecond (%i)",
  (seed) => {
    const roll = dice(seed);
    let now = roll(1_000) / 7;
    const begun = now;
    const engagement = new Engagement(() => now);
    let [isLookedAt, expected, sum] = [false, 0, 0];
    for (let step = 0; step < 200; step++) {
      const passed = roll(3) ? roll(20_000) / 7 : 0;
      now += passed;
      if (isLookedAt) expected += passed;
      if (roll(2)) engagement.turn((isLookedAt = roll(2) === 1));
      else {
        const taken = engagement.take();
        expect(Number.isInteger(taken) && taken >= 0).toBe(true);
        sum += taken;
        expect(sum).toBeLessThanOrEqual(expected + 1e-6);
        expect(sum).toBeGreaterThan(expected - 1 - 1e-6);
      }
      expect(sum).toBeLessThanOrEqual(now - begun);
    }
  },
);

test("P-R17 a clock that jumps back takes nothing away", () => {
  let now = 1_000;
  const engagement = new Engagement(() => now);
  engagement.turn(true);
  now = 500;
  expect(engagement.take()).toBe(0);
  now = 700;
  expect(engagement.take()).toBe(200);
});

test.each(Array.from({ length: 60 }, (_, seed) => seed))(
  "P-R17 a tracker never reports more than has passed, nor a page that was not looked at (%i)",
  async (seed) => {
    const roll = dice(seed + 1);
    const begun = performance.now();
    const tracker = new SojournTracker();
    let lookedAt = 0;
    const { page, server } = world;
    const reported = (): number => server.recorded.reduce((sum, { engaged_ms }) => sum + (engaged_ms ?? 0), 0);
    const events = [
      () => page.focus(roll(2) === 1),
      () => page.see(roll(2) === 1),
      () => page.leave(true),
      () => page.comeBack(),
      () => page.hear("online"),
      () => page.hear("blur"),
      () => tracker.track("click"),
      () => tracker.stop(),
      () => tracker.start(),
      () => tracker.consent(roll(2) ? "granted" : "pending"),
    ];
    for (let step = 0; step < 60; step++) {
      events[roll(events.length)]!();
      const passed = roll(40_000);
      if (page.document.visibilityState === "visible" && page.isFocused) lookedAt += passed;
      await pass(passed);
      // What happens unseen is noted at the next report, at the latest.
      expect(reported()).toBeLessThanOrEqual(lookedAt);
      expect(reported()).toBeLessThanOrEqual(performance.now() - begun);
    }
    for (const each of server.recorded) expect(each.engaged_ms ?? 1).toBeGreaterThan(0);
  },
);
