import { act, useLayoutEffect } from "react";
import { beforeEach, describe, expect, test, vi } from "vitest";

import { type SessionTracking, SessionTracker, useAnonymousId, useSessionTracker } from "../src/index.js";
import { doing, freshPage, rendered } from "./stage.js";

const newStage = freshPage();

const KEY = "anonymousUserId";

/** A server that tracks everybody. Trackers are shared by a page's components, so each test has a server of its own. */
function server() {
  const requests: { path: string; body: Record<string, unknown> }[] = [];
  const url = `https://shop-${++servers}.example`;
  const answer: typeof fetch = async (input, init) => {
    const path = String(input).replace(url, "");
    requests.push({ path, body: JSON.parse(String(init?.body ?? "{}")) as Record<string, unknown> });
    return new Response(JSON.stringify({ tracked: true, interval_ms: 60_000, until: 1_000 }), { status: 200 });
  };
  const beats = () => requests.filter(({ path, body }) => path === "/visit" && !("actions" in body));
  return { url, fetch: answer, requests, beats };
}
let servers = 0;

beforeEach(() => void Object.assign(navigator, { sendBeacon: () => true }));

const options = { pageViews: false } as const;

describe("a visitor", () => {
  test("has no id on a server and in the first render, then that of the storage; the page is taken over without a word", async () => {
    const { url, fetch } = server();
    const seen = new Set<string | undefined>();
    const Id = (): string => {
      const id = useAnonymousId({ ...options, url, fetch });
      seen.add(id);
      return id ?? "nobody";
    };
    const stage = newStage();
    stage.place.innerHTML = rendered(<Id />);
    expect(stage.text).toBe("nobody");
    await stage.hydrate(<Id />);
    expect([...seen]).toEqual([undefined, localStorage.getItem(KEY)]);
    expect(stage.errors).toEqual([]);
  });

  test("is one for all components: one heartbeat in strict mode, under the key that was asked for", async () => {
    const { url, fetch, beats } = server();
    const stage = newStage();
    const all = { ...options, url, fetch, storageKey: "visitor" };
    const Both = (): string => String(useAnonymousId(all) === useSessionTracker(all).id);
    await stage.show([<SessionTracker key="1" {...all} />, <Both key="2" />]);
    expect(stage.text).toBe("true");
    expect(beats().map(({ body }) => body["visitor"])).toEqual([localStorage.getItem("visitor")]);
  });

  test("is seen on a page once, however often React mounts", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
    const { url, fetch, requests } = server();
    await newStage().show(<SessionTracker url={url} fetch={fetch} />);
    await act(() => vi.advanceTimersByTimeAsync(2_000));
    const told = requests.flatMap(({ body }) => (body["actions"] ?? []) as { action?: string }[]);
    // What has no name is how long the page was looked at, by a clock that goes on.
    expect(told.flatMap(({ action }) => action ?? [])).toEqual(["page_view"]);
  });

  test("of another key is another one", async () => {
    const { url, fetch } = server();
    const Two = (): string => {
      const ids = ["one", "two"].map((storageKey) => useAnonymousId({ ...options, url, fetch, storageKey }));
      return String(ids[0] !== ids[1]);
    };
    const stage = newStage();
    await stage.show(<Two />);
    expect(stage.text).toBe("true");
  });

  test("of a page that is loaded ahead is nobody until it is shown", async () => {
    const { url, fetch, requests } = server();
    const page = document as { prerendering?: boolean };
    page.prerendering = true;
    const Id = (): string => useAnonymousId({ ...options, url, fetch }) ?? "nobody";
    const stage = newStage();
    await stage.show(<Id />);
    expect([stage.text, requests]).toEqual(["nobody", []]);
    delete page.prerendering;
    await doing(() => document.dispatchEvent(new Event("prerenderingchange")));
    expect(stage.text).toBe(localStorage.getItem(KEY));
  });

  test("beats as often as was asked, while a component wants it, and not after the last is gone", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const { url, fetch, beats } = server();
    const stage = newStage();
    await stage.show(<SessionTracker {...options} url={url} fetch={fetch} heartbeatInterval={5_000} />);
    expect(beats()).toHaveLength(1);
    await act(() => vi.advanceTimersByTimeAsync(20_000));
    const seen = beats().length;
    expect(seen).toBeGreaterThanOrEqual(4);
    await stage.leave();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(beats()).toHaveLength(seen);
  });

  test("F-W10 F-W11 what it does is recorded once, also before the component has mounted", async () => {
    const { url, fetch, requests } = server();
    const seen = new Set<SessionTracking>();
    let isEarly = true;
    const Early = ({ tracking }: { tracking: SessionTracking }): null => {
      useLayoutEffect(() => {
        if (isEarly) tracking.trackUserAction("early", { resourceId: "book" });
        isEarly = false;
      }, [tracking]);
      return null;
    };
    const Track = () => {
      const tracking = useSessionTracker({ ...options, url, fetch });
      seen.add(tracking);
      return <Early tracking={tracking} />;
    };
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
    const stage = newStage();
    await stage.show(<Track />);
    await stage.show(<Track />);
    [...seen].at(-1)?.trackUserAction("late", { metadata: { price: 3 } });
    await act(() => vi.advanceTimersByTimeAsync(2_000));
    const actions = requests.flatMap(({ body }) => (body["actions"] ?? []) as { action: string }[]);
    expect(actions.map(({ action }) => action)).toEqual(["early", "late"]);
    expect([...seen].at(-1)?.id).toBe(localStorage.getItem(KEY));
  });

  test("who has not agreed has no id and is not told of, until it is said, here or in another tab", async () => {
    const { url, fetch, requests } = server();
    let tracking: SessionTracking | undefined;
    const Banner = (): string => {
      tracking = useSessionTracker({ ...options, url, fetch, consent: "required" });
      return `${tracking.consent} ${tracking.id ?? "nobody"}`;
    };
    const stage = newStage();
    await stage.show(<Banner />);
    expect([stage.text, requests]).toEqual(["pending nobody", []]);
    await doing(() => tracking?.setConsent("denied"));
    expect(stage.text).toBe("denied nobody");
    await doing(() => tracking?.setConsent("granted"));
    expect(stage.text).toBe(`granted ${localStorage.getItem(KEY)}`);
    await doing(() => {
      localStorage.setItem(`${KEY}.consent`, "denied");
      const event = { key: `${KEY}.consent`, storageArea: localStorage };
      globalThis.dispatchEvent(new StorageEvent("storage", event));
    });
    expect(stage.text).toBe("denied nobody");
  });
});
