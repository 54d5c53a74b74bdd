import { Connection, type Subscriber } from "./connection.js";
import { SojournError, invalid } from "./errors.js";
import type { Pass } from "./identity.js";
import { bytesOf, canonical } from "./json.js";
import { type Layer, Optimistic } from "./optimistic.js";
import { LOADING, type QueryState, failed, isSame, stateOf, valueOf } from "./state.js";
import { isObject, notOurs, told } from "./transport.js";
import { SKIP } from "./types.js";

/** How many queries one connection watches: as many as the server takes, which watches the session's own life too. */
const QUERIES = 999;

/** Bytes of the queries that one message adds; the server takes a message of 256 KiB. */
const ADDED_BYTES = 200_000;

/** How long a mutation waits for its effect to be shown, when the connection is lost meanwhile. */
const PATIENCE_MS = 15_000;

/** How long what comes in is held back while it may hold the effect of a mutation whose answer is under way. */
const HOLD_MS = 3_000;

/** One query, which is watched as long as somebody listens. */
export interface LiveQuery<Result = unknown> {
  /** What it is now; the same object as long as nothing changes. `loading` while nobody listens. */
  readonly state: QueryState<Result>;
  /** Be told of each change. Return what ends that. */
  onChange(listener: () => void): () => void;
}

/** What watching needs of the client: whose the queries are, and how a connection is begun. */
export interface Household {
  /** Ask for a ticket, once, and say whose it is. */
  ticket(signal: AbortSignal): Promise<{ ticket: string; pass: Pass }>;
  /** Whose a call would be now: the session, as a pass names it, and its subject. */
  owner(): { session: string | undefined; subject: string | undefined };
  /** The server knows no live session by this pass. False when there can be no other. */
  refused(pass: Pass): boolean;
  /** Keep what the server tells of the session. */
  accept(body: unknown): void;
  onSessionChange(listener: () => void): () => void;
}

const SKIPPED: LiveQuery<never> = { state: { status: "loading" }, onChange: () => () => undefined };

/** A query that somebody listens to. */
interface Watched {
  readonly id: number;
  readonly key: string;
  /** What the server is told of it, as JSON. */
  readonly text: string;
  readonly listeners: Set<() => void>;
  /** What it is by the server. */
  known: QueryState;
  /** What is shown of it. */
  shown: QueryState;
}

/** One who waits for what was committed to be shown. */
interface Waiting {
  readonly layer: Layer | undefined;
  readonly done: () => void;
}

/**
 * The queries that a page watches; the same query with the same arguments is watched once, however many listen.
 *
 * What one transition brings is shown together: no listener is told before all is there.
 */
export class Watching implements Subscriber {
  readonly connection: Connection;
  readonly #household: Household;
  readonly #queries = new Map<string, Watched>();
  /** What this connection was told to watch. */
  readonly #sent = new Map<number, Watched>();
  readonly #optimistic: Optimistic;
  /** Who waits for the next sync, and who for the one that was sent: one is under way at a time. */
  readonly #waiting = new Set<Waiting>();
  readonly #asked = new Set<Waiting>();
  #updates: unknown[] = [];
  /**
   * The updates that are not shown yet, and who goes on when they are.
   *
   * What comes while a mutation is under way may hold its effect already; with the optimistic update it would show twice.
   */
  readonly #held: unknown[] = [];
  readonly #reflected = new Set<Waiting>();
  /** The layers of mutations that were sent, and who waits to send another until this has been shown. */
  readonly #inFlight = new Set<Layer>();
  readonly #barred: (() => void)[] = [];
  #holding: ReturnType<typeof setTimeout> | undefined;
  /** The highest version that was shown, and that of this connection. */
  #seen: number | undefined;
  #version = 0;
  #lastId = 0;
  #isFlushing = false;
  #pass: Pass | undefined;
  /** Whose the values are that are shown. */
  #owner: string | undefined;
  #subject: string | undefined;
  #unlisten: (() => void) | undefined;
  /** Why there will be no connection soon. */
  #trouble: SojournError | undefined;

  constructor(url: string, given: typeof WebSocket | undefined, household: Household) {
    this.#household = household;
    this.connection = new Connection(url, given, this);
    this.#optimistic = new Optimistic({
      keyOf: (name, args) => {
        const key = keyOf(name, args);
        return this.#queries.has(key) ? key : undefined;
      },
      valueOf: (key) => valueOf(this.#queries.get(key)?.known ?? LOADING),
    });
  }

  get seen(): number | undefined {
    return this.#seen;
  }

  query(name: string, args: object | typeof SKIP | undefined): LiveQuery {
    if (args === SKIP) return SKIPPED;
    const key = keyOf(name, args);
    if (bytesOf(key) > ADDED_BYTES) throw invalid("arguments", `they have over ${ADDED_BYTES} bytes`);
    const queries = this.#queries;
    return {
      get state() {
        return queries.get(key)?.shown ?? LOADING;
      },
      onChange: (listener) => this.#listen(key, listener),
    };
  }

  /** Show in advance what a mutation does, until it is settled. What the layer itself throws is the caller's. */
  show(layer: Layer): void {
    this.#optimistic.add(layer);
    this.#tell();
  }

  /** The mutation is about to be sent. Wait if something is held back: it would have to be held for this one too. */
  async sending(layer: Layer): Promise<void> {
    if (this.#holding !== undefined) await new Promise<void>((go) => this.#barred.push(go));
    // It may have been given up meanwhile.
    if (this.#optimistic.has(layer)) this.#inFlight.add(layer);
  }

  /** Take that back. */
  unshow(layer: Layer): void {
    this.#inFlight.delete(layer);
    if (this.#optimistic.drop(layer)) {
      this.#optimistic.replay();
      this.#tell();
    }
    this.#showUnlessHeld();
  }

  /**
   * Settle once what is shown has all that was committed before now; the layer goes at that moment.
   *
   * At once where nothing is watched or there is no connection to wait for.
   */
  async reflected(layer: Layer | undefined): Promise<void> {
    if (this.connection.isHopeful) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((done) => {
        const waiting = { layer, done };
        timer = setTimeout(() => this.#release([waiting]), PATIENCE_MS);
        this.#waiting.add(waiting);
        this.#sync();
      });
      clearTimeout(timer);
    } else if (layer) {
      this.unshow(layer);
    }
  }

  async ticket(signal: AbortSignal): Promise<string> {
    const { ticket, pass } = await this.#household.ticket(signal);
    this.#pass = pass;
    return ticket;
  }

  refused(): boolean {
    return this.#pass !== undefined && this.#household.refused(this.#pass);
  }

  opened(welcome: Record<string, unknown>): void {
    // The session may have changed while the connection was made.
    if (this.#household.owner().session !== this.#pass?.session) return this.connection.reconnect();
    const session = welcome["session"];
    this.#become(this.#pass?.session);
    this.#subject = isObject(session) ? ((session["subject"] ?? undefined) as string | undefined) : undefined;
    this.#household.accept(welcome);
    this.#trouble = undefined;
    this.#version = Number(welcome["version"]) - 1;
    this.#flush();
    this.#sync();
  }

  heard({ version, updates, synced, more }: Record<string, unknown>): void {
    if (!Array.isArray(updates) || typeof version !== "number") return;
    this.#updates.push(...(updates as unknown[]));
    if (more === true) return;
    const all = this.#updates.splice(0);
    if (version <= this.#version) return;
    this.#version = version;
    this.#held.push(...all);
    if (Array.isArray(synced) && synced.length) {
      for (const waiting of this.#asked) this.#reflected.add(waiting);
      this.#asked.clear();
    }
    this.#holding ??= setTimeout(() => this.#show(), HOLD_MS);
    this.#showUnlessHeld();
    this.#sync();
  }

  ended(): void {
    this.#sent.clear();
    this.#updates = [];
    this.#held.length = 0;
    this.#unhold();
    for (const waiting of [...this.#asked, ...this.#reflected]) this.#waiting.add(waiting);
    this.#asked.clear();
    this.#reflected.clear();
  }

  lost(error: SojournError | undefined, isHopeless: boolean): void {
    if (this.#household.owner().session !== this.#owner) this.#become(undefined);
    if (isHopeless) {
      this.#trouble = error;
      for (const query of this.#queries.values()) query.known = failed(query.known, error as SojournError);
    }
    this.#release(isHopeless || !this.connection.isHopeful ? [...this.#waiting] : [], isHopeless);
  }

  #listen(key: string, listener: () => void): () => void {
    if (!this.#queries.has(key) && this.#queries.size >= QUERIES) {
      throw new SojournError("too many queries are watched", { code: "overloaded", retry: "later", written: "no" });
    }
    this.connection.want();
    this.#unlisten ??= this.#household.onSessionChange(() => this.#changed());
    const query = this.#queries.get(key) ?? this.#add(key);
    // Of its own, because one function may listen twice.
    const heard = (): void => listener();
    query.listeners.add(heard);
    return () => {
      query.listeners.delete(heard);
      if (!query.listeners.size) this.#flushSoon();
    };
  }

  #add(key: string): Watched {
    const id = ++this.#lastId;
    const [name, args] = JSON.parse(key) as [string, object];
    const text = JSON.stringify({ id, function: name, arguments: args });
    const known = this.#trouble ? failed(LOADING, this.#trouble) : LOADING;
    const query: Watched = { id, key, text, listeners: new Set(), known, shown: known };
    this.#queries.set(key, query);
    this.#flushSoon();
    return query;
  }

  /** What is watched and left in one go, as when a page turns from one view to another, is one message. */
  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (const query of this.#queries.values()) if (!query.listeners.size) this.#queries.delete(query.key);
    if (!this.#queries.size) return this.#leave();
    if (this.connection.state !== "open") return;
    const remove = [...this.#sent.values()].filter((query) => this.#queries.get(query.key) !== query);
    for (const { id } of remove) this.#sent.delete(id);
    const add = [...this.#queries.values()].filter(({ id }) => !this.#sent.has(id));
    for (const query of add) this.#sent.set(query.id, query);
    let ids = remove.map(({ id }) => id);
    for (const part of parts(add)) {
      this.connection.send(`{"type":"watch","add":[${part.join()}],"remove":[${ids.join()}]}`);
      ids = [];
    }
    if (ids.length) this.connection.send(`{"type":"watch","remove":[${ids.join()}]}`);
  }

  /** Nothing is watched any more. */
  #leave(): void {
    this.connection.drop();
    this.#unlisten?.();
    this.#unlisten = this.#owner = this.#trouble = undefined;
    this.#release([...this.#waiting]);
  }

  /** Show what has come, unless there are mutations of which nobody knows whether it has their effect. */
  #showUnlessHeld(): void {
    if (this.#holding === undefined) return;
    const known = new Set([...this.#reflected].map(({ layer }) => layer));
    if ([...this.#inFlight].every((layer) => known.has(layer))) this.#show();
  }

  #unhold(): void {
    clearTimeout(this.#holding);
    this.#holding = undefined;
    for (const go of this.#barred.splice(0)) go();
  }

  #show(): void {
    this.#unhold();
    this.#seen = Math.max(this.#version, this.#seen ?? 0);
    for (const update of this.#held.splice(0)) this.#update(update);
    this.#release([...this.#reflected], true);
  }

  #sync(): void {
    if (this.#asked.size || !this.#waiting.size || this.connection.state !== "open") return;
    this.#flush();
    for (const waiting of this.#waiting) this.#asked.add(waiting);
    this.#waiting.clear();
    this.connection.send(`{"type":"sync","id":${++this.#lastId}}`);
  }

  /** Show what has changed, without the layers of those whose wait is over, and then let them go on. */
  #release(over: readonly Waiting[], hasChanged = false): void {
    for (const waiting of over) {
      for (const waiters of [this.#waiting, this.#asked, this.#reflected]) waiters.delete(waiting);
      if (!waiting.layer) continue;
      this.#inFlight.delete(waiting.layer);
      hasChanged = this.#optimistic.drop(waiting.layer) || hasChanged;
    }
    if (hasChanged) {
      this.#optimistic.replay();
      this.#tell();
    }
    for (const { done } of over) done();
  }

  #update(update: unknown): void {
    const query = isObject(update) ? this.#sent.get(update["id"] as number) : undefined;
    if (!isObject(update) || !query) return;
    if ("error" in update) query.known = failed(query.known, told(update["error"]) ?? notOurs());
    else query.known = { status: "value", value: update["result"] };
  }

  /** The id or the subject may have changed. */
  #changed(): void {
    if (this.#owner === undefined) return;
    const { session, subject } = this.#household.owner();
    if (session === this.#owner && subject === this.#subject) return;
    if (session !== this.#owner) this.#become(undefined);
    this.connection.reconnect();
  }

  /** From now on the values are another's: those of the one before are not shown any more. */
  #become(owner: string | undefined): void {
    const isAnother = this.#owner !== undefined && owner !== this.#owner;
    this.#owner = owner;
    if (!isAnother) return;
    for (const query of this.#queries.values()) query.known = LOADING;
    this.#optimistic.replay();
    this.#tell();
  }

  /** Show what each query is now, and tell those who listen to one that is not what it was. */
  #tell(): void {
    const { overlay } = this.#optimistic;
    const changed: Watched[] = [];
    for (const query of this.#queries.values()) {
      const state = overlay.has(query.key) ? stateOf(overlay.get(query.key)) : query.known;
      if (isSame(state, query.shown)) {
        if (state === query.known) query.known = query.shown;
        continue;
      }
      query.shown = state;
      changed.push(query);
    }
    for (const { listeners } of changed) {
      for (const listener of [...listeners]) if (listeners.has(listener)) alone(listener);
    }
  }
}

/** By what a query is known; the session, which is never an argument, is left out. */
function keyOf(name: string, args: object | undefined): string {
  const { sessionId: _, session_id: __, ...rest } = (args ?? {}) as Record<string, unknown>;
  return canonical([name, rest]);
}

/** The texts of queries, as many together as go in one message. */
function parts(queries: readonly Watched[]): string[][] {
  const all: string[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const { text } of queries) {
    bytes += bytesOf(text) + 1;
    if (bytes > ADDED_BYTES) {
      all.push([]);
      bytes = bytesOf(text);
    }
    all.at(-1)?.push(text);
  }
  return all;
}

/** Call a listener; one that fails is reported by the browser and disturbs nobody. */
function alone(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    void Promise.reject(error);
  }
}
