import { Component, type ReactNode, useLayoutEffect } from "react";
import { type PageRequest, type QueryState, SojournClient } from "sojourn-client";
import { describe, expect, test, vi } from "vitest";

import { LiveServer } from "../../client/test/fake-live.js";
import { FakeStorage, counting } from "../../client/test/fake.js";
import {
  type Paginated,
  SKIP,
  SessionProvider,
  useConnectionState,
  useSessionId,
  useSessionPaginatedQuery,
  useSessionQuery,
  useSessionQueryState,
} from "../src/index.js";
import type { Shop } from "./shop.js";
import { doing, freshPage, rendered } from "./stage.js";

const newStage = freshPage();

const url = "https://shop.example";

/** A shop in which a product's price is what was committed last, and a client of it. */
function visit({ ssr = false, id = "minted" as "minted" | "issued" } = {}) {
  const server = new LiveServer(id);
  const prices = new Map<string, number>();
  server.queries.set("product", ({ sku }) => ({ name: sku, price: prices.get(String(sku)) ?? 1 }));
  server.queries.set("basket", (_, session) => [`${session.id} has ${prices.get("tea") ?? 1}`]);
  server.queries.set("owner", () => prices.get("tea") ?? 1);
  const options = { url, fetch: server.browser(), WebSocket: server.WebSocket, idGenerator: counting(), ssr };
  const client = new SojournClient<Shop>({ ...options, ...(id === "minted" ? { storage: new FakeStorage() } : {}) });
  const commit = (price: number): Promise<void> =>
    doing(() => {
      prices.set("tea", price);
      server.commit();
    });
  return { server, client, commit, prices };
}

const shown = new Array<string>();

function Price({ sku }: { sku: string | typeof SKIP }): string {
  const product = useSessionQuery("product", sku === SKIP ? SKIP : { sku });
  const text = product ? `${product.name} ${product.price}` : "loading";
  shown.push(text);
  return text;
}

/** What the server was told to watch, and to watch no more. */
function watched(server: LiveServer): unknown[] {
  return server.sockets.flatMap((socket) =>
    socket.heard("watch").map(({ add = [], remove = [] }) => [add.map((query) => query.arguments), remove.length]),
  );
}

describe("a query", () => {
  test("is loading, then shows its result and each later one, over one subscription in strict mode", async () => {
    const { server, client, commit } = visit();
    const stage = newStage();
    shown.length = 0;
    await stage.show(<SessionProvider client={client} children={<Price sku="tea" />} />);
    await commit(2);
    await commit(3);
    expect([...new Set(shown)]).toEqual(["loading", "tea 1", "tea 2", "tea 3"]);
    expect(watched(server)).toEqual([[[{ sku: "tea" }], 0]]);
    expect(server.sockets).toHaveLength(1);
  });

  test("is watched by nobody once the component is gone", async () => {
    const { server, client } = visit();
    const stage = newStage();
    await stage.show(<SessionProvider client={client} children={<Price sku="tea" />} />);
    await stage.show(<SessionProvider client={client} />);
    expect(server.open).toEqual([]);
    expect(client.connection.state).toBe("idle");
  });

  test("F-C77 asked for by several components, with new objects in each render, is watched once", async () => {
    const { server, client, commit } = visit();
    const stage = newStage();
    const page = (): ReactNode => (
      <SessionProvider client={client}>
        <Price sku="tea" />
        <Price sku="tea" />
      </SessionProvider>
    );
    await stage.show(page());
    await commit(2);
    const asking = vi.spyOn(client, "watch");
    await stage.show(page());
    expect(stage.text).toBe("tea 2tea 2");
    expect(asking).not.toHaveBeenCalled();
    expect(watched(server)).toEqual([[[{ sku: "tea" }], 0]]);
  });

  test("F-C26 that is skipped asks for nothing and stays loading", async () => {
    const { server, client } = visit();
    const stage = newStage();
    await stage.show(<SessionProvider client={client} children={<Price sku={SKIP} />} />);
    expect(stage.text).toBe("loading");
    expect([server.requests, server.sockets]).toEqual([[], []]);
  });

  test("F-C27 from skipped to real arguments and back shows nothing of before", async () => {
    const { server, client, commit } = visit();
    const stage = newStage();
    const show = async (sku: string): Promise<string> => {
      await stage.show(<SessionProvider client={client} children={<Price sku={sku} />} />);
      return stage.text;
    };
    expect([await show(SKIP), await show("tea"), await show(SKIP)]).toEqual(["loading", "tea 1", "loading"]);
    await commit(2);
    expect(stage.text).toBe("loading");
    expect(server.open).toEqual([]);
    shown.length = 0;
    expect(await show("tea")).toBe("tea 2");
    expect(shown).not.toContain("tea 1");
  });

  test("with other arguments is another one: never the old result under them, and one message to the server", async () => {
    const { server, client } = visit();
    const stage = newStage();
    for (const sku of ["tea", "jam"]) {
      shown.length = 0;
      await stage.show(<SessionProvider client={client} children={<Price sku={sku} />} />);
    }
    expect(new Set(shown)).toEqual(new Set(["loading", "jam 1"]));
    expect(watched(server)).toEqual([
      [[{ sku: "tea" }], 0],
      [[{ sku: "jam" }], 1],
    ]);
  });

  test("F-C69 what one transition brings is shown in one render: nothing on the page is of two instants", async () => {
    const { client, commit } = visit();
    const stage = newStage();
    const pages = new Set<string>();
    const Page = (): ReactNode => {
      useLayoutEffect(() => void pages.add(stage.text));
      return [<Price key="1" sku="tea" />, " ", <Owner key="2" />];
    };
    const Owner = (): string => String(useSessionQuery("owner") ?? "loading");
    await stage.show(<SessionProvider client={client} children={<Page />} />);
    const observer = new MutationObserver(() => pages.add(stage.text));
    observer.observe(stage.place, { subtree: true, childList: true, characterData: true });
    await commit(2);
    observer.disconnect();
    expect([...pages]).toEqual(["loading loading", "tea 2 2"]);
  });

  test("F-C28 belongs to its session: with another id it loads, and the results of two never mix", async () => {
    const { server, client } = visit();
    const pairs = new Set<string>();
    const Basket = (): null => {
      const [id] = useSessionId();
      const basket = useSessionQuery("basket");
      pairs.add(`${id} ${basket?.[0] ?? "loading"}`);
      return null;
    };
    const stage = newStage();
    await stage.show(<SessionProvider client={client} children={<Basket />} />);
    const [one, two] = ["minted-0000000000000001", "another-000000000000002"];
    await doing(() => client.setSessionId(two));
    const [first, second] = server.sessions.map((session) => session.id);
    expect(pairs).toContain(`${one} ${first} has 1`);
    expect([...pairs].at(-1)).toBe(`${two} ${second} has 1`);
    expect(pairs).not.toContain(`${two} ${first} has 1`);
    expect(server.open).toHaveLength(1);
  });

  test("F-C73 F-C78 keeps what is shown while the connection is away, and is whole again with the next", async () => {
    const { server, client, prices } = visit();
    const stage = newStage();
    const State = (): string => useConnectionState();
    await stage.show(
      <SessionProvider client={client}>
        <Price sku="tea" /> <State />
      </SessionProvider>,
    );
    expect(stage.text).toBe("tea 1 open");
    await doing(() => {
      prices.set("tea", 9);
      server.drop();
    });
    expect(stage.text).toBe("tea 1 closed");
    await doing(() => globalThis.dispatchEvent(new Event("online")));
    expect(stage.text).toBe("tea 9 open");
  });
});

describe("a list in pages", () => {
  /** A list of letters, which is paged as a server of sojourn does. */
  const letters = (all: string, ssr = false) => {
    const { server, client } = visit({ ssr });
    const list = new Set(all);
    server.queries.set("products", ({ page, shelf = "" }) => {
      const { size = 2, after, until } = page as PageRequest;
      const behind = [...list].sort().filter((key) => key > (after ?? "") && (!until || key <= until));
      const items = until ? behind : behind.slice(0, size);
      const next = until ?? (behind.length > size ? items.at(-1) : null);
      return { items: items.map((item) => `${shelf}${item}`), next };
    });
    let more: Paginated<string>["loadMore"] = () => undefined;
    const List = ({ shelf = "", size = 2 }): string => {
      const { status, results, loadMore } = useSessionPaginatedQuery("products", shelf ? { shelf } : {}, { size });
      more = loadMore;
      return `${results.join("")} ${status}`;
    };
    const stage = newStage();
    const show = async (shelf = ""): Promise<string> => {
      await stage.show(<SessionProvider client={client} ssrFriendly={ssr} children={<List shelf={shelf} />} />);
      return stage.text;
    };
    const commit = (letter: string): Promise<void> =>
      doing(() => {
        if (!list.delete(letter)) list.add(letter);
        server.commit();
      });
    return { server, stage, show, commit, more: (size?: number) => doing(() => more(size)) };
  };

  test("F-L13 shows one page after the other, and what comes and goes in them", async () => {
    const { stage, show, commit, more } = letters("abcdef");
    expect(await show()).toBe("ab canLoadMore");
    await more();
    expect(stage.text).toBe("abcd canLoadMore");
    await more(5);
    expect(stage.text).toBe("abcdef exhausted");
    await commit("b");
    expect(stage.text).toBe("acdef exhausted");
    await commit("g");
    expect(stage.text).toBe("acdefg exhausted");
  });

  test("F-C22 is shown in a page that was rendered on a server, too", async () => {
    expect(await letters("abc", true).show()).toBe("ab canLoadMore");
  });

  test("F-L13 begins at the first page when its arguments are others", async () => {
    const { stage, show, more } = letters("abcdef");
    await show();
    await more();
    expect(await show("low-")).toBe("low-alow-b canLoadMore");
    expect(await show()).toBe("ab canLoadMore");
    expect(stage.errors).toEqual([]);
  });

  test("an error is thrown into the error boundary", async () => {
    const { server, stage, show } = letters("ab");
    server.queries.set("products", () => {
      throw "broken";
    });
    await show();
    expect(stage.errors).toEqual(Array(stage.errors.length).fill(expect.objectContaining({ data: "broken" })));
    expect(stage.errors).not.toEqual([]);
  });
});

describe("an error of a query", () => {
  const failing = () => {
    const all = visit();
    let isBroken = true;
    all.server.queries.set("owner", () => {
      if (isBroken) throw "broken";
      return "ada";
    });
    const repair = (): Promise<void> =>
      doing(() => {
        isBroken = false;
        all.server.commit();
      });
    return { ...all, repair };
  };

  test("is thrown into the error boundary around it, and only there", async () => {
    const { client } = failing();
    const Owner = (): string => useSessionQuery("owner") ?? "loading";
    const stage = newStage();
    await stage.show(
      <SessionProvider client={client}>
        <Boundary>
          <Owner />
        </Boundary>
        <Price sku="tea" />
      </SessionProvider>,
    );
    expect(stage.text).toBe("brokentea 1");
    expect(stage.errors).toEqual([]);
  });

  test("that says nothing of the query leaves what is shown, and is thrown where nothing is", async () => {
    const { server, client, commit } = visit();
    const stage = newStage();
    const say = (code: string): Promise<void> =>
      doing(() => {
        const error = { code, message: "?", retry: "later", written: "no" };
        const updates = server.socket.ids.map((id) => ({ id, error }));
        server.socket.tell({ type: "transition", version: ++server.version, updates, synced: [] });
      });
    await stage.show(<SessionProvider client={client} children={<Price sku="tea" />} />);
    await say("unavailable");
    expect(stage.text).toBe("tea 1");
    await commit(2);
    expect(stage.text).toBe("tea 2");
    await doing(() => server.socket.goodbye("protocol_unsupported"));
    expect([stage.text, client.connection.state, stage.errors]).toEqual(["tea 2", "outdated", []]);
    await stage.show(<SessionProvider client={client} children={<Price sku="cup" />} />);
    expect(stage.errors[0]).toMatchObject({ code: "protocol_unsupported" });
  });

  test("F-C71 is a state, for who asks for states, and gives way to a value by itself", async () => {
    const { client, repair } = failing();
    const states = new Set<QueryState>();
    const Owner = (): string => {
      const state = useSessionQueryState("owner");
      states.add(state);
      return state.status === "error" ? state.error.code : (state.value ?? state.status);
    };
    const stage = newStage();
    await stage.show(<SessionProvider client={client} children={<Owner />} />);
    expect(stage.text).toBe("application");
    await repair();
    expect(stage.text).toBe("ada");
    expect([...states].map(({ status }) => status)).toEqual(["loading", "error", "value"]);
  });
});

/** Shows what was thrown in it. */
class Boundary extends Component<{ children: ReactNode }, { data?: string }> {
  override state: { data?: string } = {};

  static getDerivedStateFromError(error: { data: string }): { data: string } {
    return { data: error.data };
  }

  override render(): ReactNode {
    return this.state.data ?? this.props.children;
  }
}

describe("a page that is rendered on a server", () => {
  test("F-C22 shows a query as loading there and in the first render of the browser, without a request", async () => {
    const { server, client } = visit({ ssr: true });
    const page = <SessionProvider client={client} ssrFriendly children={<Price sku="tea" />} />;
    const stage = newStage();
    stage.place.innerHTML = rendered(page);
    expect([stage.text, server.requests, server.sockets]).toEqual(["loading", [], []]);
    shown.length = 0;
    await stage.hydrate(page);
    expect([...new Set(shown)]).toEqual(["loading", "tea 1"]);
    expect(stage.errors).toEqual([]);
  });

  test("is taken over without a word also where the client already knows more", async () => {
    const { client } = visit({ id: "issued" });
    const Shown = (): ReactNode => {
      const [id] = useSessionId();
      return [id ? "id" : "no id", " ", useConnectionState(), " ", <Price key="1" sku="tea" />];
    };
    const page = <SessionProvider client={client} ssrFriendly children={<Shown />} />;
    const [one, two] = [newStage(), newStage()];
    two.place.innerHTML = rendered(page);
    await one.show(page);
    expect(one.text).toBe("id open tea 1");
    expect(two.text).toBe("no id idle loading");
    await two.hydrate(page);
    expect(two.text).toBe("id open tea 1");
    expect(two.errors).toEqual([]);
  });
});
