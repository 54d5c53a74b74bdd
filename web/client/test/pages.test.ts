// Lists in pages: the row F-L13 as far as it is the browser's.
import { beforeEach, expect, expectTypeOf, test, vi } from "vitest";

import { type LivePages, type Page, type PageRequest, type Query, SKIP, SojournClient } from "../src/index.js";
import { FakeStorage, counting, freshBrowser } from "./fake.js";
import { LiveServer } from "./fake-live.js";

freshBrowser();
beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  vi.spyOn(Math, "random").mockReturnValue(0);
});

type Row = readonly [key: string, value: string];

interface Api {
  rows: Query<{ list?: string; page?: PageRequest }, Page<Row>>;
  only: Query<{ page?: PageRequest }, Page<Row>>;
  count: Query<{ list?: string }, number>;
  flat: Query<{ page?: PageRequest }, Row[]>;
}

/** A client of a server that has a list of letters, and pages it as a server of sojourn does. */
function visit(letters: string) {
  const server = new LiveServer("minted");
  const list = new Set(letters);
  server.queries.set("rows", ({ page }) => {
    const { size = 2, after, until } = (page ?? {}) as PageRequest;
    const items = [...list].sort().filter((key) => key > (after ?? "") && (!until || key <= until));
    const rows = items.map((key) => [key, key.toUpperCase()] as const);
    if (!until) return { items: rows.slice(0, size), next: items.length > size ? items[size - 1] : null };
    if (items.length < 2 * size) return { items: rows, next: until };
    return { items: rows.slice(0, size), next: until, cut: items[size - 1] };
  });
  const client = new SojournClient<Api>({
    storage: new FakeStorage(),
    idGenerator: counting(),
    fetch: server.browser(),
    WebSocket: server.WebSocket,
  });
  return { server, client, list };
}

/** Let all that is under way come to an end. */
async function pass(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await vi.advanceTimersByTimeAsync(0);
}

/** Each state of the list, as the page is told: its keys, and the status. */
function follow(pages: LivePages<Row>): { said: string[]; stop: () => void } {
  const said: string[] = [];
  const tell = (): void => {
    const { results, status } = pages.state;
    said.push(`${results.map(([key]) => key).join("")} ${status}`);
  };
  const stop = pages.onChange(tell);
  tell();
  return { said, stop };
}

/** What the server is asked for now, in the order of the pages. */
function watched(server: LiveServer): PageRequest[] {
  const { ids, said } = server.socket;
  const added = said.flatMap(({ add = [] }) => add).filter(({ id }) => ids.includes(id));
  const pages = added.map((query) => query.arguments["page"] as PageRequest);
  return pages.sort((one, other) => ((one.after ?? "") < (other.after ?? "") ? -1 : 1));
}

test("F-L13 a list is shown page by page, until nothing follows", async () => {
  const { client } = visit("abcde");
  const pages = client.watchPages("rows", {}, { size: 2 });
  const { said } = follow(pages);
  pages.loadMore();
  await pass();
  pages.loadMore();
  pages.loadMore();
  await pass();
  pages.loadMore(3);
  await pass();
  pages.loadMore();
  await pass();
  expect(said).toStrictEqual([
    " loadingFirstPage",
    "ab canLoadMore",
    "ab loadingMore",
    "abcd canLoadMore",
    "abcd loadingMore",
    "abcde exhausted",
  ]);
});

test("F-L13 the end of a page is pinned when the next is asked for, in one change", async () => {
  const { client, server } = visit("abcde");
  const pages = client.watchPages("rows", { list: "all" }, { size: 2 });
  follow(pages);
  await pass();
  expect(watched(server)).toStrictEqual([{ size: 2 }]);
  const before = server.socket.heard("watch").length;
  pages.loadMore();
  await pass();
  const [change, ...others] = server.socket.heard("watch").slice(before);
  expect([change?.add?.length, change?.remove?.length, others]).toStrictEqual([2, 1, []]);
  expect(change?.add?.[0]?.arguments).toStrictEqual({ list: "all", page: { size: 2, until: "b" } });
  expect(watched(server)).toStrictEqual([
    { size: 2, until: "b" },
    { size: 2, after: "b" },
  ]);
});

test("F-L13 rows that come and go leave no gap and no overlap", async () => {
  const { client, server, list } = visit("bdfhj");
  const pages = client.watchPages("rows", {}, { size: 2 });
  const { said } = follow(pages);
  await pass();
  pages.loadMore();
  await pass();
  list.add("a").add("e").delete("d");
  server.commit();
  expect(said.at(-1)).toBe("abef canLoadMore");
  list.delete("h");
  list.delete("j");
  server.commit();
  expect(said.at(-1)).toBe("abef exhausted");
  list.clear();
  server.commit();
  expect(said.at(-1)).toBe(" exhausted");
  list.add("k").add("c").add("m").add("n");
  server.commit();
  expect(said.at(-1)).toBe("ckm canLoadMore");
});

test("F-L13 a page that grew too large is split, and until then what was there is shown", async () => {
  const { client, server, list } = visit("bxz");
  const pages = client.watchPages("rows", {}, { size: 2 });
  const { said } = follow(pages);
  await pass();
  pages.loadMore();
  await pass();
  for (const key of "cdefghijk") list.add(key);
  server.commit();
  expect(said.slice(-2)).toStrictEqual(["bxz exhausted", "bxz loadingMore"]);
  await pass();
  expect(said.at(-1)).toBe("bcdefghijkxz exhausted");
  expect(new Set(said.slice(-2))).toStrictEqual(new Set(["bxz loadingMore", "bcdefghijkxz exhausted"]));
  const ends = watched(server).map(({ after, until }) => [after, until]);
  expect(ends.map(([after]) => after)).toStrictEqual([undefined, ...ends.slice(0, -1).map(([, until]) => until)]);
  expect(ends.length).toBeGreaterThan(4);
});

test("F-L13 other arguments begin at the first page", async () => {
  const { client, server } = visit("abcde");
  const first = client.watchPages("rows", {}, { size: 2 });
  const { stop } = follow(first);
  await pass();
  first.loadMore();
  await pass();
  const { said } = follow(client.watchPages("rows", { list: "other" }, { size: 2 }));
  stop();
  await pass();
  expect(said).toStrictEqual([" loadingFirstPage", "ab canLoadMore"]);
  expect(watched(server)).toStrictEqual([{ size: 2 }]);
});

test("who listens again goes on with as many pages, and nothing is watched in between", async () => {
  const { client, server } = visit("abcde");
  const pages = client.watchPages("rows", {}, { size: 2 });
  const { stop } = follow(pages);
  await pass();
  pages.loadMore();
  await pass();
  stop();
  stop();
  await pass();
  expect([server.open, pages.state]).toStrictEqual([[], { status: "loadingFirstPage", results: [] }]);
  pages.loadMore();
  const again = follow(pages);
  await pass();
  expect(again.said.at(-1)).toBe("abcd canLoadMore");
  again.stop();
  const once = follow(pages);
  expect(once.said).toStrictEqual(["abcd canLoadMore"]);
});

test("F-C28 pages of another session are not shown with those of the one before", async () => {
  const { client, server } = visit("abcde");
  const own = server.queries.get("rows");
  server.queries.set("rows", (args, session) => {
    const page = own?.(args, session) as Page<Row>;
    return { ...page, items: page.items.map(([key]) => [key, session.id]) };
  });
  const pages = client.watchPages("rows", {}, { size: 2 });
  const owners: string[] = [];
  pages.onChange(() => owners.push([...new Set(pages.state.results.map(([, owner]) => owner))].join()));
  await pass();
  pages.loadMore();
  await pass();
  client.setSessionId("another-session-of-this-page");
  await vi.advanceTimersByTimeAsync(5_000);
  await pass();
  const [before, after] = [owners[0], owners.at(-1)];
  expect(after).not.toBe(before);
  expect(owners.filter((owner, place) => owner !== owners[place - 1])).toStrictEqual([before, "", after]);
  expect(pages.state.results).toHaveLength(4);
});

test("an error of a page is shown beside what was there, and goes when the page recovers", async () => {
  const { client, server } = visit("abcde");
  const own = server.queries.get("rows");
  const pages = client.watchPages("rows", {}, { size: 2 });
  const { said } = follow(pages);
  await pass();
  pages.loadMore();
  await pass();
  server.queries.set("rows", (args, session) => {
    if ((args["page"] as PageRequest).after) throw new Error("broken");
    return own?.(args, session);
  });
  server.commit();
  expect([said.at(-1), pages.state.error?.code]).toStrictEqual(["abcd canLoadMore", "application"]);
  if (own) server.queries.set("rows", own);
  server.commit();
  expect([said.at(-1), pages.state.error]).toStrictEqual(["abcd canLoadMore", undefined]);
  expect("error" in pages.state).toBe(false);
});

test("skipped pages ask for nothing, and without a size the server's own counts", async () => {
  const { client, server } = visit("abcde");
  const { said } = follow(client.watchPages("rows", SKIP));
  await pass();
  expect([said, server.sockets]).toStrictEqual([[" loadingFirstPage"], []]);
  follow(client.watchPages("rows"));
  await pass();
  expect(watched(server)).toStrictEqual([{}]);
});

test("pages have their types, and wrong calls are errors to the type checker", () => {
  const { client } = visit("");
  expectTypeOf(client.watchPages("rows", {}, { size: 2 }).state.results).toEqualTypeOf<readonly Row[]>();
  expectTypeOf(client.watchPages("only").state.results).toEqualTypeOf<readonly Row[]>();
  const any = new SojournClient({ fetch: new LiveServer("minted").browser() });
  expectTypeOf(any.watchPages("rows", { list: "all" }).state.results).toEqualTypeOf<readonly unknown[]>();
  const calls = () => [
    // @ts-expect-error it takes no page
    client.watchPages("count"),
    // @ts-expect-error it returns no page
    client.watchPages("flat"),
    // @ts-expect-error which page is not for the caller to say
    client.watchPages("rows", { page: {} }),
    // @ts-expect-error there is no such argument
    client.watchPages("only", { list: "all" }),
    // @ts-expect-error there is no such option
    client.watchPages("only", {}, { limit: 3 }),
  ];
  expect(calls).toBeTypeOf("function");
});
