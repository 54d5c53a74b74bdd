import type { SojournError } from "./errors.js";
import type { ArgsOf, NameOf, ResultOf, SKIP } from "./types.js";
import type { LiveQuery } from "./watching.js";

/** Which page is asked for: what a query that is watched in pages takes as its argument `page`. */
export interface PageRequest {
  readonly size?: number;
  /** The page begins behind this. */
  readonly after?: string | null;
  /** The page has all up to here, and this too; its end is pinned. */
  readonly until?: string | null;
}

/** What such a query returns. */
export interface Page<Item = unknown> {
  readonly items: readonly Item[];
  /** Where the next page begins; null when nothing follows. */
  readonly next: string | null;
  /** Where a page that has grown too large is to be cut in two; its items end there. */
  readonly cut?: string | null;
}

/** All that is shown of a list. An error is that of a page, and goes when the page recovers. */
export interface PagesState<Item = unknown> {
  readonly status: "loadingFirstPage" | "canLoadMore" | "loadingMore" | "exhausted";
  readonly results: readonly Item[];
  readonly error?: SojournError;
}

/** A list that is watched in pages, as long as somebody listens. */
export interface LivePages<Item = unknown> {
  /** What it is now; the same object as long as nothing changes. */
  readonly state: PagesState<Item>;
  /** Show one more page, of this size; nothing happens unless the status is `canLoadMore`. */
  loadMore(size?: number): void;
  /** Be told of each change. Return what ends that. */
  onChange(listener: () => void): () => void;
}

/** How a list is watched. */
export interface PagesOptions {
  /** Items of a page; the server's own size when left out. */
  readonly size?: number;
}

/** The names of the queries that can be watched in pages. */
export type PagedNameOf<Api> = {
  [Name in NameOf<Api, "query">]: "page" extends keyof ArgsOf<Api[Name]>
    ? unknown extends ResultOf<Api[Name]>
      ? Name
      : ResultOf<Api[Name]> extends Page
        ? Name
        : never
    : never;
}[NameOf<Api, "query">];

export type ItemOf<Function> =
  unknown extends ResultOf<Function> ? unknown : ResultOf<Function> extends Page<infer Item> ? Item : never;

type ArgsBesidePage<Function> =
  keyof Omit<ArgsOf<Function>, "page"> extends never ? Record<string, never> : Omit<ArgsOf<Function>, "page">;

/** The arguments beside `page`, which may be left out when none is required, or `SKIP`. */
export type RestOfPages<Function> =
  Record<never, never> extends ArgsBesidePage<Function>
    ? [args?: ArgsBesidePage<Function> | typeof SKIP, options?: PagesOptions]
    : [args: ArgsBesidePage<Function> | typeof SKIP, options?: PagesOptions];

/** One page that is watched. */
interface Part<Item> {
  readonly request: PageRequest;
  readonly query: LiveQuery<Page<Item>>;
  readonly stop: () => void;
  isKnown: boolean;
}

/**
 * Pages in a row. Each begins where the one before ends, and all but the last are pinned, so none of the items is in two
 * of them or in none.
 *
 * While pages are on their way, what was there before is shown: the next thing shown is again of one instant.
 */
export class Pages<Item> implements LivePages<Item> {
  readonly #watch: (page: PageRequest) => LiveQuery<Page<Item>>;
  readonly #size: number | undefined;
  readonly #listeners = new Set<() => void>();
  /** What is watched as soon as somebody listens. */
  #requests: PageRequest[];
  #parts: Part<Item>[] = [];
  #state: PagesState<Item> = { status: "loadingFirstPage", results: [] };

  constructor(watch: (page: PageRequest) => LiveQuery<Page<Item>>, size?: number) {
    this.#watch = watch;
    this.#size = size;
    this.#requests = [sized(size)];
  }

  get state(): PagesState<Item> {
    return this.#state;
  }

  onChange(listener: () => void): () => void {
    // Of its own, because one function may listen twice.
    const heard = (): void => listener();
    if (!this.#listeners.size) this.#begin();
    this.#listeners.add(heard);
    return () => {
      if (this.#listeners.delete(heard) && !this.#listeners.size) this.#end();
    };
  }

  loadMore(size = this.#size): void {
    const last = this.#parts.at(-1);
    const next = last?.query.state.value?.next ?? null;
    if (!last || next === null || this.#state.status !== "canLoadMore") return;
    this.#replace(last, { ...last.request, until: next }, { ...sized(size), after: next });
  }

  #begin(): void {
    this.#parts = this.#requests.map((request) => this.#part(request));
    this.#look();
  }

  #end(): void {
    for (const { stop } of this.#parts) stop();
    this.#parts = [];
    this.#state = { status: "loadingFirstPage", results: [] };
  }

  #part(request: PageRequest): Part<Item> {
    const query = this.#watch(request);
    return { request, query, stop: query.onChange(() => this.#look()), isKnown: false };
  }

  /** Watch two pages in place of one, as one change: the server shows them together. */
  #replace(part: Part<Item>, ...requests: PageRequest[]): void {
    const parts = requests.map((request) => this.#part(request));
    this.#parts.splice(this.#parts.indexOf(part), 1, ...parts);
    this.#requests = this.#parts.map(({ request }) => request);
    part.stop();
    this.#become({ status: "loadingMore", results: this.#state.results });
  }

  /** Show what the pages are now, if they are all there. One transition may bring several, and each of them tells. */
  #look(): void {
    const states = this.#parts.map(({ query }) => query.state);
    if (this.#parts.some(({ isKnown }, place) => isKnown && states[place]?.status === "loading")) {
      // It was there, and is not any more: who asks is somebody else now.
      for (const part of this.#parts) part.isKnown = false;
      return this.#become({ status: "loadingFirstPage", results: [] });
    }
    for (const [place, part] of this.#parts.entries()) part.isKnown = states[place]?.status !== "loading";
    const error = states.find(({ status }) => status === "error")?.error;
    if (error) return this.#become({ ...this.#state, error });
    const pages = states.flatMap(({ value }) => value ?? []);
    if (pages.length < states.length) return;
    const grown = this.#parts.find((_, place) => typeof pages[place]?.cut === "string");
    const cut = grown?.query.state.value?.cut;
    if (grown && cut) return this.#replace(grown, { ...grown.request, until: cut }, { ...grown.request, after: cut });
    const isMore = (pages.at(-1)?.next ?? null) !== null;
    this.#become({ status: isMore ? "canLoadMore" : "exhausted", results: pages.flatMap(({ items }) => items) });
  }

  #become(state: PagesState<Item>): void {
    const { status, results, error } = this.#state;
    const isSame = state.results.length === results.length && state.results.every((item, place) => item === results[place]);
    if (isSame && state.status === status && state.error === error) return;
    this.#state = isSame ? { ...state, results } : state;
    for (const listener of [...this.#listeners]) if (this.#listeners.has(listener)) listener();
  }
}

function sized(size: number | undefined): PageRequest {
  return size === undefined ? {} : { size };
}
