import { invalid, missing } from "./errors.js";
import { Engagement } from "./engagement.js";
import { Heartbeat } from "./heartbeat.js";
import { checkedId, randomId } from "./ids.js";
import { copied } from "./json.js";
import { Line } from "./line.js";
import { Outbox } from "./outbox.js";
import { isLookedAt, isSeen, watchPage } from "./page.js";
import { Peers } from "./peers.js";
import { RETRY, type RetryOptions } from "./retry.js";
import { type Room, type RoomOptions, Seat } from "./room.js";
import { Shelf } from "./shelf.js";
import { Slot, type StorageKind } from "./storage.js";
import { Transport, notOurs } from "./transport.js";
import { Turn } from "./turn.js";

/** The pause between two signs of life until the server has said how long it is. */
const BEAT_MS = 60_000;

/** How long one request may take; what it tells is small, and soon told again. */
const TIMEOUT_MS = 10_000;

/** How often what could not be sent is tried again. Where nothing waits, nothing is sent. */
const AGAIN_MS = 15_000;

/** Bytes of an action's metadata, as many as the server takes. */
const METADATA_BYTES = 8_192;

/** Characters of a path that are reported. Room for any that a person wrote. */
const PATH_CHARS = 512;

/** Whether the visitor may be tracked: yes, no, or not asked yet. */
export type Consent = "granted" | "denied" | "pending";

/** How a tracker is set up; everything may be left out. */
export interface TrackerOptions {
  /** Where the server is; the page's own origin when left out. */
  readonly url?: string;
  /** Where the visitor's id is kept; by default in the local storage, which all tabs share. */
  readonly storage?: Exclude<StorageKind, "cookie">;
  /** Under which key; what else is kept stands under keys that begin with it. */
  readonly storageKey?: string;
  readonly idGenerator?: () => string;
  /** Nothing happens until `start()` is called; what is tracked waits for it. */
  readonly ssr?: boolean;
  /** The pause between two signs of life, in place of the server's. */
  readonly heartbeatMs?: number;
  /** "required": nothing is stored or sent until `consent("granted")`. */
  readonly consent?: "required";
  /** Whether a browser that signals against tracking is believed. */
  readonly honour?: boolean;
  /** No id is made and nothing stored; the server tells visitors apart for a day, by what it is sent anyway. */
  readonly cookieless?: boolean;
  /** Whether each page that is seen is recorded, as the action "page_view". */
  readonly pageViews?: boolean;
  readonly fetch?: typeof fetch;
  readonly retry?: RetryOptions;
}

/** What an action says besides its name. */
export interface TrackOptions {
  /** What it was done to. */
  readonly resourceId?: string;
  /** Facts about it; anything that JSON has. */
  readonly metadata?: object;
}

/** What a tracker has once it is in a browser. */
interface Ground {
  readonly line: Line;
  /** The visitor's id; undefined where there is to be none. */
  readonly id: Slot | undefined;
  /** What was said about consent. */
  readonly said: Slot;
  readonly shelf: Shelf | undefined;
  readonly leave: () => void;
}

/** Tells a sojourn server that a visitor is here, and what it does. */
export class SojournTracker {
  readonly #options: TrackerOptions;
  readonly #retry: Required<RetryOptions>;
  readonly #outbox: Outbox;
  readonly #heartbeat: Heartbeat;
  readonly #turn: Turn;
  readonly #peers = new Peers();
  readonly #engagement = new Engagement();
  #again: ReturnType<typeof setInterval> | undefined;
  readonly #seats = new Set<Seat>();
  #ground: Ground | undefined;
  /** What was said about consent and is not stored, because that is not to be or nowhere yet. */
  #spoken: Consent | undefined;
  /** Whether the server has said that it does not track this visitor. */
  #isRefused = false;
  /** Whether the page is kept by the browser for a way back. */
  #isAway = false;
  #isOn = false;
  /** Whether what is done while the page is seen is being done. */
  #isPresent = false;
  /** Whether the visitor goes with this page. */
  #isLeaving = false;
  /** The member that a visitor without an id is in rooms. */
  #member: string | undefined;
  #path: string | undefined;

  constructor(options: TrackerOptions = {}) {
    this.#options = options;
    this.#retry = { ...RETRY, timeoutMs: TIMEOUT_MS, ...options.retry };
    this.#outbox = new Outbox(this.#retry);
    this.#heartbeat = new Heartbeat(() => this.#beat(), BEAT_MS, options.heartbeatMs);
    this.#turn = new Turn(
      () => this.#heartbeat.start(),
      () => this.#heartbeat.stop(),
    );
    if (!options.ssr) this.start();
  }

  /** Begin to track, or go on; what was tracked before is sent. A page that is loaded ahead begins when it is shown. */
  start(): void {
    if (this.#ground) return;
    if ((document as { prerendering?: boolean }).prerendering) {
      document.addEventListener("prerenderingchange", () => this.start(), { once: true });
      return;
    }
    const { url = "", storage = "local", storageKey = "anonymousUserId", cookieless } = this.#options;
    const transport = new Transport(url, false, this.#retry.timeoutMs, this.#options.fetch);
    const said = new Slot(storage, `${storageKey}.consent`, undefined, isSaid);
    const unwatch = said.watch(() => this.#settle());
    const unlisten = watchPage({
      seen: () => this.#seen(),
      focused: () => this.#focused(),
      left: (isKept) => this.#left(isKept),
      returned: () => this.#returned(),
      online: () => this.#online(),
      moved: () => this.#moved(),
    });
    this.#ground = {
      line: new Line(transport, url, () => this.#refused()),
      id: cookieless ? undefined : new Slot(storage, storageKey),
      said,
      shelf: cookieless ? undefined : new Shelf(new Slot(storage, `${storageKey}.queue`, undefined, () => true)),
      leave: () => {
        unwatch();
        unlisten();
      },
    };
    this.#remember();
    this.#view(referrer());
    this.#settle();
  }

  /** Track no more until `start()`. What waits is handed to the browser; the visitor counts as here for a while. */
  stop(): void {
    if (this.#isPresent) this.#disappear();
    this.#end();
    this.#ground?.leave();
    this.#ground = undefined;
  }

  /** The visitor's id; undefined where there is none: before `start()`, without consent, or without cookies. */
  get visitorId(): string | undefined {
    return this.#ground?.id?.read();
  }

  /**
   * Record an action, once. It is sent with others within a second, or when the page is hidden; what cannot be sent waits
   * up to a day, and for another page if this one is closed.
   */
  track(action: string, options: TrackOptions = {}): void {
    if (typeof action !== "string" || action === "") throw invalid("action", "it is text of at least one character");
    const { resourceId, metadata } = options;
    const facts = copied("metadata", metadata, METADATA_BYTES);
    if (this.#isRefused || this.consent() === "denied") return;
    this.#outbox.add({ action, resource_id: resourceId, metadata: facts, ...this.#engaged() });
  }

  /**
   * Say whether the visitor may be tracked, and return what counts: a browser's signal against it before all.
   *
   * "granted" and "denied" are remembered, for other tabs too. Once denied, the id and what waits are forgotten. While it
   * is pending nothing is stored or sent, and actions wait in memory.
   */
  consent(said?: Consent): Consent {
    if (said !== undefined) {
      if (!isSaid(said) && said !== "pending") throw invalid("consent", 'it is "granted", "denied" or "pending"');
      this.#spoken = said;
      this.#remember();
      this.#settle();
    }
    if ((this.#options.honour ?? true) && isSignalled()) return "denied";
    const unsaid = this.#options.consent === "required" ? "pending" : "granted";
    return (this.#ground?.said.read() as Consent | undefined) ?? this.#spoken ?? unsaid;
  }

  /** Be present in a room, for those who watch it, as long as this tab is seen. Each call takes a place of its own. */
  room(name: string, options: RoomOptions = {}): Room {
    const seat = new Seat(name, options, (left) => this.#seats.delete(left));
    this.#seats.add(seat);
    if (this.#isPresent) seat.enter(this.#memberId(), this.#grounded().line);
    return seat;
  }

  #remember(): void {
    const { said } = this.#ground ?? {};
    if (!said || this.#spoken === undefined) return;
    if (this.#spoken === "pending") return said.remove();
    said.write(this.#spoken);
    this.#spoken = undefined;
  }

  /** Begin or end, as all that counts says now. */
  #settle(): void {
    if (!this.#ground) return;
    const consent = this.consent();
    const isOn = consent === "granted" && !this.#isRefused && !this.#isAway;
    const wasOn = this.#isOn;
    if (isOn && !wasOn) this.#begin(this.#ground);
    if (!isOn) this.#end();
    if (consent === "denied") this.#forget(this.#ground, wasOn);
  }

  #begin({ line, shelf }: Ground): void {
    this.#isOn = true;
    this.#peers.open(this.#name());
    if (isSeen()) this.#appear();
    this.#outbox.open({
      line,
      shelf,
      visitor: () => this.#visitor(),
      isUrgent: () => !this.#isPresent,
      isLeaving: () => this.#isLeaving,
    });
  }

  #end(): void {
    this.#isOn = false;
    this.#withdraw();
    this.#engagement.take();
    this.#peers.close();
    this.#outbox.close();
  }

  /** Forget who it was and what it did, and have the server forget that it is here. */
  #forget({ line, id, shelf }: Ground, wasOn: boolean): void {
    const visitor = id?.read();
    if (visitor !== undefined || wasOn) line.tell("/visit/leave", { visitor });
    id?.remove();
    shelf?.clear();
    this.#outbox.clear();
  }

  #refused(): void {
    this.#isRefused = true;
    this.#ground?.shelf?.clear();
    this.#outbox.clear();
    this.#settle();
  }

  /** Do what is done while the page is seen. */
  #appear(): void {
    this.#isPresent = true;
    this.#turn.want(this.#name());
    for (const seat of this.#seats) seat.enter(this.#memberId(), this.#grounded().line);
    this.#engagement.turn(isLookedAt());
    this.#again ??= setInterval(() => void this.#outbox.flush(), AGAIN_MS);
  }

  #withdraw(): void {
    this.#isPresent = false;
    this.#turn.drop();
    for (const seat of this.#seats) seat.exit();
    this.#engagement.turn(false);
    clearInterval(this.#again);
    this.#again = undefined;
  }

  /** The page may never be seen again: say all there is to say. */
  #disappear(): void {
    this.#noteEngaged();
    this.#withdraw();
    const isTold = this.#outbox.beacon();
    if (this.#isLeaving && !isTold) this.#grounded().line.tell("/visit/leave", { visitor: this.#visitor() });
  }

  #seen(): void {
    if (!this.#isOn || isSeen() === this.#isPresent) return;
    if (!isSeen()) return this.#disappear();
    this.#appear();
    void this.#outbox.flush();
  }

  #focused(): void {
    if (!this.#isOn) return;
    this.#engagement.turn(isLookedAt());
    if (!isLookedAt()) this.#noteEngaged();
  }

  #left(isKept: boolean): void {
    if (this.#isOn) {
      this.#isLeaving = !isKept && this.#peers.isAlone;
      if (this.#isPresent || this.#isLeaving) this.#disappear();
      this.#peers.close();
    }
    // Otherwise what others still track, while the page is closed, is sent too.
    this.#isAway = isKept;
    this.#settle();
  }

  #returned(): void {
    this.#isAway = false;
    this.#path = undefined;
    this.#moved();
    this.#settle();
  }

  #online(): void {
    this.#outbox.wake();
    void this.#outbox.flush();
    this.#heartbeat.soon();
  }

  #moved(): void {
    if (location.pathname !== this.#path) this.#view();
  }

  #view(from?: string): void {
    this.#path = location.pathname;
    if (!(this.#options.pageViews ?? true)) return;
    const metadata = { path: this.#path.slice(0, PATH_CHARS), ...(from ? { referrer: from } : {}) };
    this.track("page_view", { metadata });
  }

  async #beat(): Promise<number> {
    const { tracked, interval_ms: intervalMs } = await this.#grounded().line.ask("/visit", { visitor: this.#visitor() });
    if (typeof tracked !== "boolean" || typeof intervalMs !== "number") throw notOurs();
    // The time during which the page was looked at goes along, so that an idle page sends nothing in between.
    this.#engagement.turn(isLookedAt());
    this.#noteEngaged();
    void this.#catchUp();
    return intervalMs;
  }

  /** The server can be had, and this tab speaks for all. */
  async #catchUp(): Promise<void> {
    if (await this.#outbox.flush()) await this.#outbox.adopt();
  }

  #noteEngaged(): void {
    const engaged = this.#engaged();
    if (engaged.engaged_ms) this.#outbox.add(engaged);
  }

  #engaged(): { engaged_ms?: number } {
    const engagedMs = this.#engagement.take();
    return engagedMs ? { engaged_ms: engagedMs } : {};
  }

  /** The id by which the server knows the visitor, made if there is none; only while tracking. */
  #visitor(): string | undefined {
    const { id } = this.#grounded();
    if (!id) return undefined;
    const stored = id.read();
    if (stored !== undefined) return stored;
    const made = checkedId("idGenerator", (this.#options.idGenerator ?? randomId)());
    id.write(made);
    return made;
  }

  #memberId(): string {
    return this.#visitor() ?? (this.#member ??= randomId());
  }

  /** By what the tabs of one visitor find each other; nobody else can hear or hold it. */
  #name(): string {
    return `sojourn visit ${this.#visitor() ?? ""}`;
  }

  #grounded(): Ground {
    if (!this.#ground) throw missing("start", "the tracker is not started");
    return this.#ground;
  }
}

function isSaid(text: string): boolean {
  return text === "granted" || text === "denied";
}

/** Whether the browser signals that its user does not want to be tracked. */
function isSignalled(): boolean {
  const { navigator } = globalThis as { navigator?: { globalPrivacyControl?: boolean; doNotTrack?: string | null } };
  return navigator?.globalPrivacyControl === true || navigator?.doNotTrack === "1";
}

/** The host from which the visitor came; no more of that address, which may tell who it is. */
function referrer(): string | undefined {
  return document.referrer ? new URL(document.referrer).host : undefined;
}
