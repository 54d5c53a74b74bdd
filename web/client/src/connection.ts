import { SojournError, invalid, missing } from "./errors.js";
import { isPassing, pauseOf } from "./retry.js";
import { isObject, notOurs, told } from "./transport.js";

/** The version of the messages of live connections that is spoken here. */
const PROTOCOL = 1;

/** The pause before a connection that was lost is made anew; each later one is twice as long. */
const FIRST_MS = 100;

/** The same after an error of the server's: it has its reasons. */
const FIRST_AFTER_ERROR_MS = 1_000;

const LONGEST_MS = 4_000;

/** The pause after a refusal that does not pass by itself, but may with another server. */
const HOPELESS_MS = 60_000;

/** How long a connection may take to be made. */
const OPENING_MS = 10_000;

/** How often silence is broken until the server has said it. */
const BEAT_MS = 15_000;

/** After how many beats in vain a connection counts as lost. */
const SILENT_BEATS = 2.5;

/** How long a connection must have held for the pauses to begin anew. */
const STEADY_MS = 10_000;

/** After how many failures nobody waits for the first connection of a page any more: something may not let it through. */
const TRIES = 3;

/** What says nothing against the server: a new connection, with a new ticket, is all it takes. */
const HARMLESS = ["connection_lost", "session_invalid", "ticket_invalid"];

/** What is over when this server is. */
const ITS_OWN = ["closed", "internal"];

/**
 * How it stands with the connection over which live queries come.
 *
 * `idle`: nothing is watched. `closed`: it was lost, and is made anew soon. `outdated`: this page and the server do not
 * speak the same version; the page should be loaded anew.
 */
export type ConnectionState = "idle" | "connecting" | "open" | "closed" | "outdated";

/** The connection over which live queries come, for a page that wants to show how it stands. */
export interface LiveConnection {
  readonly state: ConnectionState;
  /** Be told of each change. Return what ends that. */
  onChange(listener: () => void): () => void;
}

/** Whom a connection serves. */
export interface Subscriber {
  /** The highest version that was shown. */
  readonly seen: number | undefined;
  /** Get what opens one connection. */
  ticket(signal: AbortSignal): Promise<string>;
  opened(welcome: Record<string, unknown>): void;
  heard(transition: Record<string, unknown>): void;
  /** It has ended, for whatever reason, and what it was told to watch with it. */
  ended(): void;
  /** It was lost. Without hope, it will not be made anew soon; the error says why. */
  lost(error: SojournError | undefined, isHopeless: boolean): void;
  /** The server knows no live session behind it: forget that. False when there can be no other. */
  refused(): boolean;
}

/** Keeps one WebSocket to the server open while it is wanted, with pauses that grow while it cannot be had. */
export class Connection implements LiveConnection {
  readonly #url: string;
  readonly #given: typeof WebSocket | undefined;
  readonly #subscriber: Subscriber;
  readonly #listeners = new Set<() => void>();
  #state: ConnectionState = "idle";
  /** Ends the attempt that is under way, or the connection. What is still heard of it afterwards is nobody's. */
  #end: AbortController | undefined;
  #page: AbortController | undefined;
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #beatMs = BEAT_MS;
  #failures = 0;
  #wasOpen = false;
  /** When it was last opened. */
  #since = 0;

  constructor(url: string, given: typeof WebSocket | undefined, subscriber: Subscriber) {
    this.#url = url;
    this.#given = given;
    this.#subscriber = subscriber;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Whether it is worth the while to wait for it. */
  get isHopeful(): boolean {
    if (this.#state === "idle" || this.#state === "outdated") return false;
    return this.#wasOpen || this.#failures < TRIES;
  }

  onChange(listener: () => void): () => void {
    const heard = (): void => listener();
    this.#listeners.add(heard);
    return () => void this.#listeners.delete(heard);
  }

  /** Open it, and keep it open, until `drop`. */
  want(): void {
    if (this.#page) return;
    this.#native();
    const page = new AbortController();
    const on = (type: string, heard: (isKept: boolean) => void): void =>
      globalThis.addEventListener?.(type, (event) => heard((event as PageTransitionEvent).persisted), page);
    this.#page = page;
    on("online", () => this.reconnect());
    // A page with an open connection cannot be kept by the browser for a way back.
    on("pagehide", (isKept) => isKept && this.#stop("closed"));
    on("pageshow", (isKept) => isKept && this.reconnect());
    void this.#open();
  }

  drop(): void {
    this.#page?.abort();
    this.#page = undefined;
    this.#stop("idle");
  }

  /** Make it anew, now: who it is for has changed, or there is reason to think that it can be had again. */
  reconnect(): void {
    if (!this.#page) return;
    this.#failures = 0;
    void this.#open();
  }

  /** Send a message, which is JSON already. Only while it is open. */
  send(message: string): void {
    this.#socket?.send(message);
  }

  async #open(): Promise<void> {
    this.#stop("connecting");
    const end = new AbortController();
    this.#end = end;
    const isOver = (): boolean => end.signal.aborted;
    this.#wait(OPENING_MS, () => this.#lost());
    try {
      const ticket = await this.#subscriber.ticket(end.signal);
      if (isOver()) return;
      const socket = new (this.#native())(this.#address());
      end.signal.addEventListener("abort", () => socket.close());
      const { seen } = this.#subscriber;
      socket.onopen = () => {
        if (!isOver()) socket.send(JSON.stringify({ type: "connect", protocol: PROTOCOL, ticket, seen }));
      };
      socket.onmessage = ({ data }) => {
        if (!isOver()) this.#hear(socket, data);
      };
      socket.onclose = () => {
        if (!isOver()) this.#lost();
      };
    } catch (error) {
      // What the browser itself refuses, an address say, it refuses the next time too.
      if (!isOver()) this.#lost(error instanceof SojournError ? error : invalid("url", String(error)));
    }
  }

  #hear(socket: WebSocket, data: unknown): void {
    const message = parsed(data);
    if (!message) return this.#lost(notOurs());
    if (message["type"] === "goodbye") return this.#lost(told(message["error"]) ?? notOurs());
    if (message["type"] === "connected") {
      // A server that is behind what was shown has nothing to say that is new.
      if (Number(message["version"]) < (this.#subscriber.seen ?? 0)) return this.#lost();
      this.#socket = socket;
      this.#beatMs = Number(message["beat_ms"]) || BEAT_MS;
      this.#wasOpen = true;
      this.#since = Date.now();
      this.#become("open");
      this.#subscriber.opened(message);
    }
    if (message["type"] === "transition") this.#subscriber.heard(message);
    // Whoever was told of it may have ended it.
    if (this.#socket === socket) this.#wait(this.#beatMs * SILENT_BEATS, () => this.#lost());
  }

  #lost(error?: SojournError): void {
    const isOutdated = error?.code === "protocol_unsupported";
    const isHopeless = error !== undefined && !this.#isPassing(error);
    if (this.#socket && Date.now() - this.#since > STEADY_MS) this.#failures = 0;
    this.#stop(isOutdated ? "outdated" : "closed");
    const firstMs = !error || HARMLESS.includes(error.code) ? FIRST_MS : FIRST_AFTER_ERROR_MS;
    const stepMs = isHopeless ? HOPELESS_MS : Math.min(LONGEST_MS, firstMs * 2 ** this.#failures++);
    if (!isOutdated) this.#wait(pauseOf(stepMs, error?.retryAfterMs), () => void this.#open());
    this.#subscriber.lost(error, isHopeless);
  }

  #isPassing(error: SojournError): boolean {
    if (error.code === "session_invalid") return this.#subscriber.refused();
    return isPassing(error) || ITS_OWN.includes(error.code);
  }

  #stop(state: ConnectionState): void {
    clearTimeout(this.#timer);
    this.#socket = undefined;
    this.#end?.abort();
    this.#subscriber.ended();
    this.#become(state);
  }

  #wait(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #become(state: ConnectionState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) void Promise.resolve().then(listener);
  }

  #native(): typeof WebSocket {
    const native = this.#given ?? (globalThis as { WebSocket?: typeof WebSocket }).WebSocket;
    if (!native) throw missing("WebSocket", "there is none here; pass one");
    return native;
  }

  #address(): string {
    const address = new URL(`${this.#url.replace(/\/+$/, "")}/live`, (globalThis as { location?: Location }).location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    return address.href;
  }
}

function parsed(data: unknown): Record<string, unknown> | undefined {
  try {
    const message: unknown = JSON.parse(String(data));
    return isObject(message) ? message : undefined;
  } catch {
    return undefined;
  }
}
