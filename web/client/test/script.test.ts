// The script that the server hands out: what its tag asks for.
import { beforeEach, describe, expect, test, vi } from "vitest";

import { freshPage, pass } from "./fake-visits.js";

const world = freshPage();
beforeEach(() => void vi.resetModules());

interface Defined {
  readonly SojournTracker: unknown;
  readonly tracker?: { readonly visitorId: string | undefined; consent(): string };
}

/** Run the script as the browser does for a tag with these attributes. */
async function load(dataset: Record<string, string> | undefined): Promise<Defined> {
  const tag = dataset && { src: "https://shop.example/sojourn.js", dataset };
  Object.assign(world.page.document, { currentScript: tag ?? null });
  await import("../src/script.js");
  await pass(1);
  return (globalThis as unknown as { sojourn: Defined }).sojourn;
}

describe("the tag", () => {
  test("data-track is the whole set-up", async () => {
    const { tracker } = await load({ track: "" });
    await pass(1_000);
    expect(tracker?.visitorId).toMatch(/^[0-9a-f]{32}$/);
    expect(world.server.told.map(({ route }) => route)).toStrictEqual(["/visit", "/visit/actions"]);
    expect(world.server.actions).toStrictEqual(["page_view"]);
  });

  test.each([["without data-track", {}], ["of a module", undefined]])("%s tracks nothing", async (_, dataset) => {
    const defined = await load(dataset);
    await pass(60_000);
    expect(defined.tracker).toBeUndefined();
    expect(defined.SojournTracker).toBeTypeOf("function");
    expect(world.server.told).toStrictEqual([]);
    expect(world.storage.touched).toStrictEqual([]);
  });

  test("data-interval is the heartbeat's, in seconds", async () => {
    await load({ track: "", interval: "2.5" });
    await pass(5_000);
    expect(world.server.calls("/visit")).toHaveLength(3);
  });

  test("data-consent waits for consent", async () => {
    const { tracker } = await load({ track: "", consent: "required" });
    await pass(60_000);
    expect(tracker?.consent()).toBe("pending");
    expect(world.server.told).toStrictEqual([]);
  });

  test("data-cookieless stores nothing", async () => {
    const { tracker } = await load({ track: "", cookieless: "" });
    expect(tracker?.visitorId).toBeUndefined();
    expect(world.storage.items.size).toBe(0);
    expect(world.server.calls("/visit")).toHaveLength(1);
  });

  test("defines its names where there is no document at all", async () => {
    vi.stubGlobal("document", undefined);
    await import("../src/script.js");
    expect((globalThis as unknown as { sojourn: Defined }).sojourn.SojournTracker).toBeTypeOf("function");
  });
});
