import { SojournError, invalid, missing } from "./errors.js";
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
import { Queue } from "./queue.js";
import { RETRY, type RetryOptions, abortable, isPassing, retrying } from "./retry.js";
import { Slot, type StorageKind } from "./storage.js";
import { type Answer, LOST, type Request, Transport, isObject, notOurs } from "./transport.js";
import type { AnyApi, CallOptions, Kind, MutationOptions, NameOf, ResultOf, Rest } from "./types.js";

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
  readonly fetch?: typeof fetch;
  readonly retry?: RetryOptions;
}

/** Hears the new id; undefined when there is none any more. */
export type SessionListener = (id: string | undefined) => void;

/** Calls a sojourn server's functions as one session. */
export class SojournClient<Api extends object = AnyApi> {
  readonly #options: ClientOptions;
  readonly #retry: Required<RetryOptions>;
  readonly #transport: Transport;
  readonly #mutations = new Queue();
  readonly #refreshes = new Queue();
  readonly #listeners = new Set<SessionListener>();
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
    this.#transport = new Transport(url, storage === "cookie", this.#retry.timeoutMs, options.fetch);
    this.#opened = new Promise((resolve) => (this.#open = resolve));
    if (sessionId !== undefined) {
      if (storage === "cookie") throw invalid("sessionId", "the cookie is the server's; no script can set it");
      checkedId("sessionId", sessionId);
    }
    if (!options.ssr) this.#here();
  }

  /** Run a query. It is repeated while that can help, beside whatever else is under way. */
  async query<Name extends NameOf<Api, "query">>(
    name: Name,
    ...[args, options]: Rest<Api[Name], CallOptions>
  ): Promise<ResultOf<Api[Name]>> {
    return this.#result("query", { method: "POST", path: "/call", body: encode("query", name, args) }, options);
  }

  /**
   * Run a mutation, after all that were asked for before it.
   *
   * It is repeated while that can help, under one request id, so that it is applied once.
   */
  async mutation<Name extends NameOf<Api, "mutation">>(
    name: Name,
    ...[args, options]: Rest<Api[Name], MutationOptions>
  ): Promise<ResultOf<Api[Name]>> {
    const requestId = options?.requestId ?? randomId();
    const request: Request = {
      method: "POST",
      path: "/call",
      body: encode("mutation", name, args, requestId),
      keepalive: options?.keepalive,
    };
    const turn = this.#mutations.run(() => this.#result<ResultOf<Api[Name]>>("mutation", request, options, requestId));
    return abortable(turn, options?.signal);
  }

  /** Run an action, once: it may do things outside that must not be done twice. */
  async action<Name extends NameOf<Api, "action">>(
    name: Name,
    ...[args, options]: Rest<Api[Name], CallOptions>
  ): Promise<ResultOf<Api[Name]>> {
    return this.#result("action", { method: "POST", path: "/call", body: encode("action", name, args) }, options);
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
    return this.#refreshes.run(async () => (await this.#opened).rotate(beforeUpdate));
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
    await this.#deliver("query", { method: "GET", path: "/session" }, options);
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
      storage = "cookie",
      storageKey = "sojourn-session",
      sessionId,
      issued,
      idGenerator = randomId,
    } = this.#options;
    const server = {
      begin: (header: string | undefined) =>
        this.#transport.send({ method: "POST", path: "/session", body: "{}" }, header),
      rotate: (header: string | undefined, to?: string) =>
        this.#ask({ method: "POST", path: "/session/rotate", body: JSON.stringify({ to }) }, header),
    };
    const changed = (): void => this.#announce();
    if (storage !== "cookie") this.#slot = new Slot(storage, storageKey, sessionId);
    this.#identity =
      this.#slot && !issued
        ? new Minted(this.#slot, server, idGenerator, changed)
        : new Issued(this.#slot, server, changed);
    this.#announce();
    this.#watch();
    this.#open(this.#identity);
    return this.#identity;
  }

  #id(identity: Identity): string {
    const id = identity.current();
    if (id === undefined) throw missing("session", "there is none yet; await start(), or make a call first");
    return id;
  }

  #ask(request: Request, header: string | undefined): Promise<Answer> {
    return retrying(() => this.#transport.send(request, header), isPassing, this.#retry);
  }

  async #result<Result>(kind: Kind, request: Request, options?: CallOptions, requestId?: string): Promise<Result> {
    const { body } = await this.#deliver(kind, request, options, requestId);
    if (!isObject(body) || !("result" in body)) throw notOurs();
    return body["result"] as Result;
  }

  /** Send a request until it is answered, a session begun anew, or hope is gone. */
  async #deliver(kind: Kind, request: Request, options?: CallOptions, requestId?: string): Promise<Answer> {
    const signal = options?.signal;
    const identity = await abortable(this.#opened, signal);
    let before: Pass | undefined;
    let isRenewed = false;
    // Something was sent, and perhaps done.
    let isDoubtful = false;
    const attempt = async (): Promise<Answer> => {
      const pass = await abortable(identity.pass(), signal);
      // Under another session the same request id would do it a second time.
      if (isDoubtful && pass.session !== before?.session) {
        throw new SojournError("the session ended meanwhile", { ...LOST, retry: "never" });
      }
      before = pass;
      try {
        const answer = await this.#transport.send(request, pass.header, signal);
        identity.accept(answer);
        return answer;
      } catch (error) {
        if (isInvalidSession(error)) {
          const isThereAnother = identity.refused(pass);
          // An action may have met this in its midst.
          if (isThereAnother && !isRenewed && kind !== "action") {
            isRenewed = true;
            return attempt();
          }
        }
        if (kind !== "query" && error instanceof SojournError) isDoubtful ||= error.written === "perhaps";
        throw error;
      }
    };
    try {
      return await retrying(
        attempt,
        (error) => isPassing(error) && !(kind === "action" && before),
        this.#retry,
        signal,
      );
    } catch (error) {
      throw error instanceof SojournError ? seenBy(kind, error, isDoubtful, requestId) : error;
    }
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

/** What an error means to the one who called. */
function seenBy(kind: Kind, error: SojournError, isDoubtful: boolean, requestId: string | undefined): SojournError {
  if (kind === "query") {
    const retry = error.retry === "same_id" ? "later" : error.retry;
    return new SojournError(error.message, { ...error, retry, written: "no" }, error.cause);
  }
  const written = isDoubtful ? "perhaps" : error.written;
  const retry = kind === "mutation" && isDoubtful && isPassing(error) ? "same_id" : error.retry;
  const isOnce = kind === "action" && written === "perhaps";
  return new SojournError(
    error.message,
    { ...error, written, retry: isOnce ? "never" : retry, requestId },
    error.cause,
  );
}
