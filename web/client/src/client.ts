import { Backlog, type LeftBehind } from "./backlog.js";
import type { LiveConnection } from "./connection.js";
import { Delivery } from "./delivery.js";
import { invalid, missing } from "./errors.js";
import {
  type BeforeUpdate,
  type Identity,
  Issued,
  Minted,
  type Pass,
  type Session,
  isInvalidSession,
} from "./identity.js";
import { checkedId, randomId } from "./ids.js";
import { encoded } from "./json.js";
import type { Layer, Local } from "./optimistic.js";
import { type ItemOf, type LivePages, type Page, type PageRequest, Pages, type PagedNameOf, type RestOfPages } from "./pages.js";
import { Queue } from "./queue.js";
import { RETRY, type RetryOptions, abortable, isPassing, retrying } from "./retry.js";
import type { QueryState } from "./state.js";
import { Slot, type StorageKind } from "./storage.js";
import { isCopy } from "./tab.js";
import { type Answer, type Request, Transport, isObject, notOurs } from "./transport.js";
import type {
  AnyApi,
  ArgsOf,
  CallOptions,
  Kind,
  MutationOptions,
  NameOf,
  RestOrSkip,
  ResultOf,
  Rest,
  SKIP,
} from "./types.js";
import { type LiveQuery, Watching } from "./watching.js";

/** How a client is set up; everything may be left out. */
export interface ClientOptions {
  /** Where the server is; the page's own origin when left out. */
  readonly url?: string;
  /** Where the session is kept. By default in a cookie that no script can read. */
  readonly storage?: StorageKind;
  /** Under which key of the storage. */
  readonly storageKey?: string;
  /** Whether the server issues the ids although they are kept in a storage. Those in a cookie always are. */
  readonly issued?: boolean;
  /** An id to begin with, in place of what is stored; not itself stored. */
  readonly sessionId?: string;
  /** What makes ids, here and in every refresh. */
  readonly idGenerator?: () => string;
  /** There is no id until `start()` is called; queries and mutations wait for it. */
  readonly ssr?: boolean;
  /** Where mutations wait; in a storage they survive a restart of the page, and are sent however long that takes. */
  readonly queue?: "memory" | Exclude<StorageKind, "cookie">;
  readonly fetch?: typeof fetch;
  /** What opens live connections; the browser's own when left out. */
  readonly WebSocket?: typeof WebSocket;
  readonly retry?: RetryOptions;
}

/** Hears the new id; undefined when there is none any more. */
export type SessionListener = (id: string | undefined) => void;

/** Hears what became of a mutation that an earlier page had asked for. */
export type LeftBehindListener = (left: LeftBehind) => void;

/** Calls a sojourn server's functions as one session. */
export class SojournClient<Api extends object = AnyApi> {
  readonly #options: ClientOptions;
  readonly #retry: Required<RetryOptions>;
  /** Made with the identity: a server that renders a page may have no address to send to. */
  #transport!: Transport;
  readonly #delivery: Delivery;
  readonly #mutations = new Queue();
  readonly #refreshes = new Queue();
  readonly #watching: Watching;
  readonly #listeners = new Set<SessionListener>();
  readonly #leftListeners = new Set<LeftBehindListener>();
  /** What was left behind, and nobody has heard of yet. */
  #left: LeftBehind[] = [];
  #backlog: Backlog | undefined;
  readonly #opened: Promise<Identity>;
  #open!: (identity: Identity) => void;
  #identity: Identity | undefined;
  #slot: Slot | undefined;
  #unwatch: (() => void) | undefined;
  #told = " ";

  constructor(options: ClientOptions = {}) {
    const { url = "", storage = "cookie", sessionId } = options;
    this.#options = options;
    this.#retry = { ...RETRY, ...options.retry };
    this.#opened = new Promise((resolve) => (this.#open = resolve));
    if (sessionId !== undefined) {
      if (storage === "cookie") throw invalid("sessionId", "the cookie is the server's; no script can set it");
      checkedId("sessionId", sessionId);
    }
    this.#delivery = new Delivery({
      identity: this.#opened,
      send: (...request) => this.#transport.send(...request),
      backlog: () => this.#backlog,
      retry: this.#retry,
    });
    this.#watching = new Watching(url, options.WebSocket, {
      ticket: (signal) => this.#ticket(signal),
      owner: () => ({ session: this.#identity?.session(), subject: this.session?.subject ?? undefined }),
      refused: (pass) => this.#identity?.refused(pass) ?? false,
      accept: (body) => this.#identity?.accept({ body, token: undefined }),
      onSessionChange: (listener) => this.onSessionChange(listener),
    });
    if (options.queue && options.queue !== "memory") void this.#mutations.run(() => this.#catchUp());
    if (!options.ssr) this.#here();
  }

  /** Run a query. It is repeated while that can help, beside whatever else is under way. */
  async query<Name extends NameOf<Api, "query">>(
    name: Name,
    ...[args, options]: Rest<Api[Name], CallOptions>
  ): Promise<ResultOf<Api[Name]>> {
    return this.#delivery.result("query", { method: "POST", path: "/call", body: encode("query", name, args) }, options);
  }

  /**
   * Run a mutation, after all that were asked for before it.
   *
   * It is repeated while that can help, under one request id, so that it is applied once. It settles when the queries
   * that are watched show what it did.
   */
  async mutation<Name extends NameOf<Api, "mutation">>(
    name: Name,
    ...[args, options]: Rest<Api[Name], MutationOptions<Api, ArgsOf<Api[Name]>>>
  ): Promise<ResultOf<Api[Name]>> {
    const { requestId = randomId(), keepalive, optimistic, signal } = options ?? {};
    const body = encode("mutation", name, args, requestId);
    const given = { ...args } as ArgsOf<Api[Name]>;
    const layer: Layer | undefined = optimistic && ((local) => optimistic(local as unknown as Local<Api>, given));
    let sequence: number | undefined;
    let hasBegun = false;
    const begin = (identity: Identity): void => {
      if (hasBegun) return;
      hasBegun = true;
      if (layer) this.#watching.show(layer);
      sequence = this.#backlog?.add(body, identity.mark());
    };
    try {
      if (this.#identity) begin(this.#identity);
      const turn = this.#mutations.run(async () => {
        const identity = await this.#opened;
        signal?.throwIfAborted();
        begin(identity);
        if (layer) await this.#watching.sending(layer);
        const request: Request = { method: "POST", path: "/call", body, keepalive };
        return this.#delivery.result<ResultOf<Api[Name]>>("mutation", request, { signal, requestId });
      });
      const result = await abortable(turn, signal).finally(() => sequence && this.#backlog?.settle(sequence));
      await abortable(this.#watching.reflected(layer), signal);
      return result;
    } catch (error) {
      if (layer) this.#watching.unshow(layer);
      throw error;
    }
  }

  /** Run an action, once: it may do things outside that must not be done twice. */
  async action<Name extends NameOf<Api, "action">>(
    name: Name,
    ...[args, options]: Rest<Api[Name], CallOptions>
  ): Promise<ResultOf<Api[Name]>> {
    return this.#delivery.result("action", { method: "POST", path: "/call", body: encode("action", name, args) }, options);
  }

  /**
   * Watch a query: what it is now, and each change, while somebody listens.
   *
   * The same query with the same arguments is watched once, however often it is asked for here.
   */
  watch<Name extends NameOf<Api, "query">>(
    name: Name,
    ...[args]: RestOrSkip<Api[Name]>
  ): LiveQuery<ResultOf<Api[Name]>> {
    return this.#watching.query(name, args) as LiveQuery<ResultOf<Api[Name]>>;
  }

  /** Call the listener with what a query is, now and after each change. Return what ends that. */
  subscribe<Name extends NameOf<Api, "query">>(
    name: Name,
    args: ArgsOf<Api[Name]> | typeof SKIP,
    listener: (state: QueryState<ResultOf<Api[Name]>>) => void,
  ): () => void {
    const query = this.#watching.query(name, args) as LiveQuery<ResultOf<Api[Name]>>;
    const stop = query.onChange(() => listener(query.state));
    listener(query.state);
    return stop;
  }

  /** Watch a list page by page: a query that takes a `PageRequest` as `page`, and returns a `Page`. */
  watchPages<Name extends PagedNameOf<Api>>(
    name: Name,
    ...[args, options]: RestOfPages<Api[Name]>
  ): LivePages<ItemOf<Api[Name]>> {
    const watch = (page: PageRequest) => this.#watching.query(name, typeof args === "string" ? args : { ...args, page });
    return new Pages(watch as (page: PageRequest) => LiveQuery<Page<ItemOf<Api[Name]>>>, options?.size);
  }

  /** The connection over which watched queries come. There is none while nothing is watched. */
  get connection(): LiveConnection {
    return this.#watching.connection;
  }

  /**
   * Be told what became of each mutation that an earlier page had left in the queue. Return what ends that.
   *
   * The first listener hears of those that were settled before it came, too.
   */
  onLeftBehind(listener: LeftBehindListener): () => void {
    this.#leftListeners.add(listener);
    for (const left of this.#left.splice(0)) void Promise.resolve(left).then(listener);
    return () => void this.#leftListeners.delete(listener);
  }

  /** Make sure that there is a session, and return its id. With `ssr`, what has been waiting begins now. */
  async start(): Promise<string> {
    const identity = this.#here();
    await retrying(() => identity.pass(), isPassing, this.#retry);
    return this.#id(identity);
  }

  /**
   * Return the id: the one that was made here, or the public id of an issued one.
   *
   * With `ssr` it is undefined before `start()`; without, an id that is not there is an error.
   */
  getSessionId(): string | undefined {
    if (!this.#identity) return undefined;
    return this.#options.ssr ? this.#identity.current() : this.#id(this.#identity);
  }

  /** Go on with another id, or with another issued token, from the next call on. */
  setSessionId(id: string): void {
    this.#here().set(id);
  }

  /**
   * Give the session a new id, or a new token if ids are issued; what it holds stays. Return the id.
   *
   * `beforeUpdate` gets the new id while the old one is still current and stored; when it fails nothing changes. Then
   * the server is told, then the new id is stored. Two refreshes run one after the other.
   */
  async refreshSessionId(beforeUpdate?: BeforeUpdate): Promise<string> {
    return this.#refreshes.run(async () => {
      const identity = await this.#opened;
      const mark = identity.mark();
      const id = await identity.rotate(beforeUpdate);
      if (mark !== undefined) this.#backlog?.mark(identity.mark() ?? mark, mark);
      return id;
    });
  }

  /** End the session, after the mutations asked for so far. The next call begins a new one. */
  async endSession(): Promise<void> {
    return this.#mutations.run(async () => {
      const identity = await this.#opened;
      const header = identity.header();
      if (header !== undefined || !this.#slot) {
        try {
          await this.#ask({ method: "DELETE", path: "/session" }, header);
        } catch (error) {
          if (!isInvalidSession(error)) throw error; // over already
        }
      }
      identity.forget();
    });
  }

  /** What the server last told of the session. */
  get session(): Session | undefined {
    return this.#identity?.facts;
  }

  /** Ask the server about the session: whose it is, and how long it lasts. */
  async loadSession(options?: CallOptions): Promise<Session> {
    await this.#delivery.deliver("query", { method: "GET", path: "/session" }, options);
    const session = this.session;
    if (!session) throw notOurs();
    return session;
  }

  /** Be told of each new id, also from another tab's local storage, and of a new subject. Return what ends that. */
  onSessionChange(listener: SessionListener): () => void {
    this.#listeners.add(listener);
    this.#watch();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size) return;
      this.#unwatch?.();
      this.#unwatch = undefined;
    };
  }

  /** The identity, which takes the storage, and perhaps an id, that a server rendering a page does not have. */
  #here(): Identity {
    if (this.#identity) return this.#identity;
    const {
      url = "",
      storage = "cookie",
      storageKey = "sojourn-session",
      sessionId,
      issued,
      idGenerator = randomId,
      queue = "memory",
    } = this.#options;
    const server = {
      begin: (header: string | undefined) =>
        this.#transport.send({ method: "POST", path: "/session", body: "{}" }, header),
      rotate: (header: string | undefined, to?: string) =>
        this.#ask({ method: "POST", path: "/session/rotate", body: JSON.stringify({ to }) }, header),
    };
    const changed = (): void => this.#announce();
    this.#transport = new Transport(url, storage === "cookie", this.#retry.timeoutMs, this.#options.fetch);
    if (storage !== "cookie") this.#slot = new Slot(storage, storageKey, sessionId);
    if (queue !== "memory") this.#backlog = new Backlog(new Slot(queue, `${storageKey}.mutations`, undefined, () => true));
    this.#identity =
      this.#slot && !issued
        ? new Minted(this.#slot, server, idGenerator, changed)
        : new Issued(this.#slot, server, changed);
    this.#announce();
    this.#watch();
    void this.#admit(this.#identity);
    return this.#identity;
  }

  /** Let calls go out, once it is known that this is nobody else's session: that of the tab this one is a copy of. */
  async #admit(identity: Identity): Promise<void> {
    const { storage, storageKey = "sojourn-session", sessionId, queue } = this.#options;
    if (storage === "session" && sessionId === undefined && (await isCopy(`${storageKey}.tab`))) {
      // What was copied with it is sent by the other tab.
      if (queue === "session") this.#backlog?.clear();
      identity.forget();
    }
    this.#open(identity);
  }

  #id(identity: Identity): string {
    const id = identity.current();
    if (id === undefined) throw missing("session", "there is none yet; await start(), or make a call first");
    return id;
  }

  #ask(request: Request, header: string | undefined): Promise<Answer> {
    return retrying(() => this.#transport.send(request, header), isPassing, this.#retry);
  }

  /** Send what earlier pages have left in the queue, and say what became of it. */
  async #catchUp(): Promise<void> {
    await this.#opened;
    await this.#backlog?.adopt(async (asked) => {
      const left = await this.#delivery.left(asked);
      if (!left) return;
      if (!this.#leftListeners.size) this.#left.push(left);
      for (const listener of this.#leftListeners) void Promise.resolve(left).then(listener);
    });
  }

  /** Ask, once, for what opens a live connection. */
  async #ticket(signal: AbortSignal): Promise<{ ticket: string; pass: Pass }> {
    const request: Request = { method: "POST", path: "/live/ticket", body: "{}" };
    const { body, pass } = await this.#delivery.deliver("query", request, { signal, attempts: 1 });
    if (!isObject(body) || typeof body["ticket"] !== "string") throw notOurs();
    return { ticket: body["ticket"], pass };
  }

  #watch(): void {
    if (this.#slot && this.#listeners.size) this.#unwatch ??= this.#slot.watch(() => this.#announce());
  }

  /** Tell the listeners, if the id or the subject is not what they were told last. */
  #announce(): void {
    const identity = this.#identity;
    const id = identity?.peek();
    const state = `${id ?? ""} ${identity?.facts?.subject ?? ""}`;
    if (state === this.#told) return;
    this.#told = state;
    // Each on its own and after the work at hand: one that fails is reported by the browser and disturbs nobody.
    for (const listener of this.#listeners) void Promise.resolve(id).then(listener);
  }
}

/** The body of a call. The session is never an argument, so what a caller calls so is left out. */
function encode(kind: Kind, name: string, args: object | undefined, requestId?: string): string {
  const { sessionId: _, session_id: __, ...rest } = (args ?? {}) as Record<string, unknown>;
  return encoded({
    kind,
    function: name,
    ...(Object.keys(rest).length ? { arguments: rest } : {}),
    request_id: requestId,
  });
}
