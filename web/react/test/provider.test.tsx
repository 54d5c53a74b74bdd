import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { SojournClient } from "sojourn-client";
import { describe, expect, test, vi } from "vitest";

import { FakeServer, FakeStorage, KEY, counting, minted, settled, unsent } from "../../client/test/fake.js";
import {
  SKIP,
  SessionProvider,
  type UseStorage,
  useSessionId,
  useSessionIdArg,
  useSessionMutation,
  useSessionQuery,
  useSessionStorage,
  useSojournClient,
} from "../src/index.js";
import type { SessionId } from "../src/index.js";
import { doing, freshPage, rendered } from "./stage.js";

const newStage = freshPage();

const url = "https://shop.example";

/** Notes what `useSessionId` has given in each render. */
function watching(): { Watch: () => string; seen: SessionId[]; ids: () => (string | undefined)[]; last: () => SessionId } {
  const seen: SessionId[] = [];
  const Watch = (): string => {
    seen.push(useSessionId());
    return seen.at(-1)?.[0] ?? "no id";
  };
  return { Watch, seen, ids: () => [...new Set(seen.map(([id]) => id))], last: () => seen.at(-1) as SessionId };
}

/** A storage hook as applications have it: it reads the storage, and stores what it is told to. */
function hookOver(storage: FakeStorage): UseStorage {
  return (key, initial) => {
    const [value, setValue] = useState(() => storage.getItem(key) ?? initial);
    const set = (text: string): void => {
      storage.setItem(key, text);
      setValue(text);
    };
    return [value, set];
  };
}

describe("whose id it is", () => {
  test("F-C25 a hook outside of a provider is an error that names it", async () => {
    const stage = newStage();
    const { Watch } = watching();
    await stage.show(<Watch />);
    expect(stage.errors).toEqual([expect.objectContaining({ code: "missing", valueName: "SessionProvider" })]);
  });

  test("F-C13 F-C11 an id that the browser makes is there in the first render, and stored under its key", async () => {
    const stage = newStage();
    const { Watch, ids } = watching();
    await stage.show(
      <SessionProvider url={url} storage="session" storageKey="mine" idGenerator={counting()}>
        <Watch />
      </SessionProvider>,
    );
    expect(ids()).toEqual([minted(1)]);
    expect(sessionStorage.getItem("mine")).toBe(minted(1));
    expect(sessionStorage.length).toBe(1);
  });

  test("F-C14 F-C15 providers with storages of their own have their own ids, those that share one share the id", async () => {
    const stage = newStage();
    const [one, two, three] = [watching(), watching(), watching()];
    await stage.show(
      <>
        <SessionProvider url={url} storage={new FakeStorage()} children={<one.Watch />} />
        <SessionProvider url={url} storage="local" children={<two.Watch />} />
        <SessionProvider url={url} storage="local" children={<three.Watch />} />
      </>,
    );
    expect(one.last()[0]).not.toBe(two.last()[0]);
    expect(two.last()[0]).toBe(three.last()[0]);
  });

  test("F-G1 by default the session is in a cookie: the id is the public one, and begins when it is asked for", async () => {
    const server = new FakeServer("issued");
    const stage = newStage();
    const { Watch, ids, seen } = watching();
    await stage.show(
      <SessionProvider url={url} fetch={server.browser()}>
        <Watch />
      </SessionProvider>,
    );
    expect(ids()).toEqual([undefined, server.sessions[0]?.id]);
    expect(await seen[0]?.[2]).toBe(server.sessions[0]?.id);
    expect(server.requests.map(({ route }) => route)).toEqual(["POST /session"]);
    expect(sessionStorage.length + localStorage.length).toBe(0);
  });

  test("who only looks at a page leaves no trace", async () => {
    const server = new FakeServer("issued");
    const stage = newStage();
    const Button = (): string => `${typeof useSessionMutation("add")} ${useSessionQuery("basket", SKIP)}`;
    for (const ssrFriendly of [false, true]) {
      await stage.show(
        <SessionProvider key={String(ssrFriendly)} url={url} fetch={server.browser()} ssrFriendly={ssrFriendly}>
          <Button />
        </SessionProvider>,
      );
    }
    expect(server.requests).toEqual([]);
  });

  test("F-C24 a client that waits to be started, in a provider that does not know, is an error that says what to do", async () => {
    const stage = newStage();
    const { Watch } = watching();
    const client = new SojournClient({ url, storage: "session", ssr: true });
    await stage.show(<SessionProvider client={client} children={<Watch />} />);
    expect(stage.errors).toEqual([
      expect.objectContaining({ code: "missing", message: expect.stringContaining("ssrFriendly") as unknown }),
    ]);
  });

  test("the client itself is there for what has no hook, and begins nothing but what waits for it", async () => {
    for (const ssrFriendly of [false, true]) {
      const server = new FakeServer("issued");
      let client: SojournClient | undefined;
      const Grab = (): null => {
        client = useSojournClient();
        return null;
      };
      await newStage().show(
        <SessionProvider url={url} fetch={server.browser()} ssrFriendly={ssrFriendly} children={<Grab />} />,
      );
      expect(server.requests).toHaveLength(ssrFriendly ? 1 : 0);
      expect(await doing(() => client?.query("basket"))).toMatchObject({ session: server.sessions[0]?.id });
    }
  });

  test("the promise of the id is kept by whoever begins the session", async () => {
    const server = new FakeServer("issued");
    const client = new SojournClient({ url, fetch: server.browser(), retry: { attempts: 1 } });
    const { Watch, seen, last } = watching();
    server.next("POST /session", unsent);
    await newStage().show(<SessionProvider client={client} children={<Watch />} />);
    expect(last()[0]).toBeUndefined();
    await doing(() => client.query("basket"));
    expect(await seen[0]?.[2]).toBe(server.sessions[0]?.id);
    expect(last()[0]).toBe(server.sessions[0]?.id);
  });

  test("the session's end is followed, and another one begins for who shows its id", async () => {
    const server = new FakeServer("issued");
    const stage = newStage();
    const client = new SojournClient({ url, fetch: server.browser() });
    const { Watch, ids } = watching();
    await stage.show(<SessionProvider client={client} children={<Watch />} />);
    const first = server.sessions[0]?.id;
    await doing(() => client.endSession());
    expect(ids()).toEqual([undefined, first, server.sessions[0]?.id]);
    expect(server.sessions[0]?.id).not.toBe(first);
  });

  test("another client is another session", async () => {
    const stage = newStage();
    const { Watch, last } = watching();
    for (const key of ["one", "two"]) {
      const client = new SojournClient({ url, storage: "local", storageKey: key });
      await stage.show(<SessionProvider client={client} children={<Watch />} />);
      expect(last()[0]).toBe(client.getSessionId());
    }
    expect(localStorage.getItem("one")).not.toBe(localStorage.getItem("two"));
  });
});

describe("refresh", () => {
  test("F-C16 F-C17 F-C20 F-G6 a refresh changes the id everywhere; its callback sees the new one while the old counts", async () => {
    const server = new FakeServer("minted");
    const stage = newStage();
    const client = new SojournClient({ url, storage: "local", fetch: server.browser(), idGenerator: counting() });
    const { Watch, last } = watching();
    await stage.show(<SessionProvider client={client} children={<Watch />} />);
    const during: unknown[] = [];
    const id = await doing(() =>
      last()[1](async (newId) => {
        during.push(newId, client.getSessionId(), stage.text, localStorage.getItem(KEY));
      }),
    );
    expect(during).toEqual([minted(2), minted(1), minted(1), minted(1)]);
    expect([id, client.getSessionId(), stage.text, localStorage.getItem(KEY)]).toEqual(Array(4).fill(minted(2)));
    expect(await last()[2]).toBe(minted(2));
  });

  test("F-C18 a refresh whose callback fails changes nothing", async () => {
    const stage = newStage();
    const { Watch, last, ids } = watching();
    await stage.show(
      <SessionProvider url={url} storage="session" children={<Watch />} fetch={new FakeServer("minted").browser()} />,
    );
    const refresh = last()[1](() => {
      throw new Error("no");
    });
    await expect(refresh).rejects.toThrow("no");
    expect(ids()).toEqual([sessionStorage.getItem(KEY)]);
  });

  test("F-C19 F-G6 two refreshes come one after the other, and none is lost", async () => {
    const server = new FakeServer("minted");
    const stage = newStage();
    const { Watch, last } = watching();
    await stage.show(
      <SessionProvider url={url} storage="session" idGenerator={counting()} fetch={server.browser()}>
        <Watch />
      </SessionProvider>,
    );
    const refresh = last()[1];
    const order: string[] = [];
    const both = await doing(() =>
      Promise.all([
        refresh(() => void order.push(stage.text)),
        refresh(() => void order.push(sessionStorage.getItem(KEY) ?? "")),
      ]),
    );
    expect(order).toEqual([minted(1), minted(2)]);
    expect(both).toEqual([minted(2), minted(3)]);
    expect(stage.text).toBe(minted(3));
  });

  test("F-G7 an id that another tab has stored is followed", async () => {
    const stage = newStage();
    const { Watch } = watching();
    await stage.show(<SessionProvider url={url} storage="local" children={<Watch />} />);
    await doing(() => {
      localStorage.setItem(KEY, minted(9));
      globalThis.dispatchEvent(new StorageEvent("storage", { key: KEY, storageArea: localStorage }));
    });
    expect(stage.text).toBe(minted(9));
  });
});

describe("a storage hook", () => {
  const others = { url, idGenerator: counting() };

  test("F-C9 what is stored wins over the initial value", async () => {
    const stage = newStage();
    const { Watch, ids } = watching();
    const storage = new FakeStorage({ [KEY]: minted(7) });
    await stage.show(<SessionProvider {...others} useStorage={hookOver(storage)} children={<Watch />} />);
    expect(ids()).toEqual([minted(7)]);
    expect(storage.items.get(KEY)).toBe(minted(7));
  });

  test("what it does not store itself is stored once, under the key that was asked for", async () => {
    const stage = newStage();
    const { Watch, ids } = watching();
    const storage = new FakeStorage();
    await stage.show(
      <SessionProvider {...others} useStorage={hookOver(storage)} storageKey="mine" children={<Watch />} />,
    );
    expect(ids()).toHaveLength(1);
    expect([...storage.items]).toEqual([["mine", ids()[0]]]);
  });

  test("F-C10 the text undefined, or nothing, counts as no id", async () => {
    for (const broken of ["undefined", ""]) {
      const stage = newStage();
      const { Watch, ids } = watching();
      const storage = new FakeStorage({ [KEY]: broken });
      await stage.show(<SessionProvider {...others} useStorage={hookOver(storage)} children={<Watch />} />);
      expect(ids()).toEqual([expect.stringMatching(/^minted-/)]);
      expect(storage.items.get(KEY)).toBe(ids()[0]);
    }
  });

  test("a refresh is stored through it, and a call goes with what it has", async () => {
    const server = new FakeServer("minted");
    const stage = newStage();
    const { Watch, last } = watching();
    const storage = new FakeStorage();
    await stage.show(
      <SessionProvider {...others} useStorage={hookOver(storage)} fetch={server.browser()} children={<Watch />} />,
    );
    const before = stage.text;
    const setting = vi.spyOn(SojournClient.prototype, "setSessionId");
    const id = await doing(() => last()[1]());
    // What the hook brings is what it was given, and no other session.
    expect(setting).not.toHaveBeenCalled();
    expect(id).not.toBe(before);
    expect(id).toMatch(/^minted-/);
    expect([stage.text, storage.items.get(KEY)]).toEqual([id, id]);
  });

  test("F-G7 an id that it brings later is followed, and one that it loses is made anew", async () => {
    const stage = newStage();
    const { Watch } = watching();
    let bring: (value: string | undefined) => void = () => undefined;
    const useBrought: UseStorage = (_, initial) => {
      const [value, setValue] = useState(initial);
      bring = setValue;
      return [value, setValue];
    };
    await stage.show(<SessionProvider {...others} useStorage={useBrought} children={<Watch />} />);
    await doing(() => bring(minted(70)));
    expect(stage.text).toBe(minted(70));
    await doing(() => bring("not an id"));
    expect(stage.text).toMatch(/^minted-/);
    await doing(() => bring(undefined));
    expect(stage.text).toMatch(/^minted-/);
    expect(stage.text).not.toBe(minted(70));
  });

  test("an issued token may be kept by it", async () => {
    const server = new FakeServer("issued");
    const stage = newStage();
    const { Watch } = watching();
    const storage = new FakeStorage();
    await stage.show(
      <SessionProvider url={url} issued useStorage={hookOver(storage)} fetch={server.browser()} children={<Watch />} />,
    );
    const id = server.sessions[0]?.id;
    expect(stage.text).toBe(id);
    expect(storage.items.get(KEY)).toMatch(new RegExp(`^${id}\\.secret`));
  });

  test("a token that it brings later is followed too", async () => {
    const stage = newStage();
    const { Watch } = watching();
    let bring: (value: string | undefined) => void = () => undefined;
    const useBrought: UseStorage = (_, initial) => {
      const [value, setValue] = useState(initial);
      bring = setValue;
      return [value, setValue];
    };
    const fetch = new FakeServer("issued").browser();
    await stage.show(<SessionProvider url={url} issued useStorage={useBrought} fetch={fetch} children={<Watch />} />);
    await doing(() => bring("public-of-another-tab.secret"));
    expect(stage.text).toBe("public-of-another-tab");
  });

  test("the session's end is the end of what it has stored", async () => {
    for (const [useStorage, left] of [[useSessionStorage, null], [hookOver(new FakeStorage()), ""]] as const) {
      const server = new FakeServer("minted");
      let client: SojournClient | undefined;
      let stored: string | null | undefined;
      const useWatched: UseStorage = (key, initial) => {
        const hook = useStorage(key, initial);
        stored = hook[0];
        return hook;
      };
      const Grab = (): null => {
        client = useSojournClient();
        return null;
      };
      await newStage().show(
        <SessionProvider {...others} useStorage={useWatched} fetch={server.browser()} children={<Grab />} />,
      );
      await doing(() => client?.query("basket"));
      await doing(() => client?.endSession());
      expect(useStorage === useSessionStorage ? sessionStorage.getItem(KEY) : stored).toBe(left);
    }
  });

  test("where the tab's storage is blocked, it keeps the text in memory", async () => {
    const storage = new FakeStorage();
    const full = vi.spyOn(storage, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    vi.stubGlobal("sessionStorage", storage);
    let set: (value: string) => void = () => undefined;
    const Shown = (): string => {
      const hook = useSessionStorage("blocked");
      [, set] = hook;
      return hook[0] ?? "none";
    };
    const stage = newStage();
    await stage.show(<Shown />);
    await doing(() => set("light"));
    expect(stage.text).toBe("light");
    full.mockRestore();
    await doing(() => set("dark"));
    expect([stage.text, storage.getItem("blocked")]).toEqual(["dark", "dark"]);
    vi.unstubAllGlobals();
  });

  test("the tab's own storage is one of them; components with one key share it", async () => {
    const stage = newStage();
    const Shown = (): string => useSessionStorage("theme", "dark")[0] ?? "none";
    let set: (value: string) => void = () => undefined;
    let remove: () => void = () => undefined;
    const Setting = (): string => {
      const stored = useSessionStorage("theme");
      [, set, remove] = stored;
      return stored[0] ?? "none";
    };
    await stage.show([<Shown key="1" />, <Setting key="2" />]);
    expect(stage.text).toBe("darkdark");
    expect(sessionStorage.getItem("theme")).toBe("dark");
    await doing(() => set("light"));
    expect([stage.text, sessionStorage.getItem("theme")]).toEqual(["lightlight", "light"]);
    await doing(() => remove());
    expect([stage.text, sessionStorage.getItem("theme")]).toEqual(["darknone", null]);
  });
});

describe("a page that is rendered on a server", () => {
  test("F-C22 there is no id on the server and in the first render, then that of the storage", async () => {
    const { Watch, ids, seen } = watching();
    const page = <SessionProvider url={url} storage="session" ssrFriendly children={<Watch />} />;
    const stage = newStage();
    stage.place.innerHTML = rendered(page);
    expect(stage.text).toBe("no id");
    sessionStorage.setItem(KEY, minted(5));
    seen.length = 0;
    await stage.hydrate(page);
    expect(ids()).toEqual([undefined, minted(5)]);
    expect(stage.errors).toEqual([]);
    expect(await seen[0]?.[2]).toBe(minted(5));
  });

  test("without ssrFriendly a server lacks a storage, and the error says what to do", () => {
    const { Watch } = watching();
    const page = <SessionProvider url={url} storage="session" children={<Watch />} />;
    expect(() => rendered(page)).toThrow(/sessionStorage.*ssr/s);
  });

  test("F-C23 a mutation of the first effects waits for the id, and is sent once with it", async () => {
    const server = new FakeServer("minted");
    const stage = newStage();
    const storage = new FakeStorage({ [KEY]: minted(5) });
    const Eager = (): null => {
      const add = useSessionMutation("add");
      useEffect(() => void add({ sku: "tea" }, { requestId: "the first" }), [add]);
      return null;
    };
    await stage.show(
      <SessionProvider url={url} storage={storage} ssrFriendly fetch={server.browser()} children={<Eager />} />,
    );
    expect(new Set(server.calls().map(({ header }) => header))).toEqual(new Set([minted(5)]));
    expect(server.applied).toHaveLength(1);
  });

  test("a storage hook that reads after the first render only does not lose what is stored", async () => {
    const storage = new FakeStorage({ [KEY]: minted(5) });
    const { Watch, ids } = watching();
    const page = <SessionProvider url={url} useStorage={lateHookOver(storage)} ssrFriendly children={<Watch />} />;
    // Outside of `act` what is rendered again comes after what was promised, as in a browser.
    vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", false);
    const root = createRoot(document.createElement("main"));
    root.render(page);
    while (ids().length < 2) await settled();
    await settled();
    root.unmount();
    vi.unstubAllGlobals();
    expect(ids()).toEqual([undefined, minted(5)]);
    expect(storage.items.get(KEY)).toBe(minted(5));
  });

  test("and where nothing is stored an id is made", async () => {
    const stage = newStage();
    const storage = new FakeStorage();
    const { Watch } = watching();
    await stage.show(
      <SessionProvider
        url={url}
        useStorage={lateHookOver(storage)}
        idGenerator={counting()}
        ssrFriendly
        children={<Watch />}
      />,
    );
    expect([stage.text, storage.items.get(KEY)]).toEqual([minted(1), minted(1)]);
  });

  test("the arguments for other hooks have the id, or are skipped as long as there is none", async () => {
    const stage = newStage();
    const seen: unknown[] = [];
    const Args = (): null => {
      seen.push(useSessionIdArg({ sku: "tea" }), useSessionIdArg(SKIP));
      return null;
    };
    await stage.show(
      <SessionProvider url={url} storage="session" idGenerator={counting()} ssrFriendly children={<Args />} />,
    );
    expect(seen.slice(0, 2)).toEqual([SKIP, SKIP]);
    expect(seen.slice(-2)).toEqual([{ sku: "tea", sessionId: minted(1) }, SKIP]);
  });
});

/** A storage hook for servers: it reads the storage in an effect. */
function lateHookOver(storage: FakeStorage): UseStorage {
  return (key, initial) => {
    const [value, setValue] = useState(initial);
    useEffect(() => setValue(storage.getItem(key) ?? undefined), [key]);
    const set = (text: string): void => {
      storage.setItem(key, text);
      setValue(text);
    };
    return [value, set];
  };
}
