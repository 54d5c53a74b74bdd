import { SojournError } from "./errors.js";
import { randomId } from "./ids.js";
import { bytesOf } from "./json.js";
import type { Line } from "./line.js";
import { type RetryOptions, isPassing, retrying } from "./retry.js";
import { type Entry, type Shelf, WAITING, fresh } from "./shelf.js";
import { isObject, notOurs } from "./transport.js";

const PATH = "/visit/actions";

/** How long an entry waits for others to go with it. */
const WINDOW_MS = 1_000;

/** Entries of one batch, as many as the server takes. */
const BATCH = 500;

/** Bytes of one batch. A beacon carries 64 KiB, with what stands around the entries. */
const BATCH_BYTES = 60_000;

/** By what an open outbox reports. */
export interface Way {
  readonly line: Line;
  /** The visitor's id as it is now; undefined where there is none. */
  readonly visitor: () => string | undefined;
  /** Where what waits outlives the page; undefined where nothing may be stored. */
  readonly shelf: Shelf | undefined;
  /** Whether the page may be closed any moment, so that nothing can be put off. */
  readonly isUrgent: () => boolean;
  /** Whether the visitor goes with this page. */
  readonly isLeaving: () => boolean;
}

/**
 * What a page has to report, in order; each entry stays until the server has acknowledged it.
 *
 * The server knows an entry by client and sequence, so sending again does no harm. It takes those of one client in order
 * only, so every batch begins with the oldest that is not acknowledged: then none can overtake another.
 */
export class Outbox {
  readonly #retry: Required<RetryOptions>;
  #way: Way | undefined;
  #client: string | undefined;
  #entries: Entry[] = [];
  #sequence = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #flight: Promise<boolean> | undefined;
  #pause = new AbortController();
  #notBefore = 0;
  #isHurrying = false;

  constructor(retry: Required<RetryOptions>) {
    this.#retry = retry;
  }

  /**
   * Note an entry, and send it with those of the next second, or at once if it is urgent.
   *
   * Until `open` it waits; beyond the bound the oldest go.
   */
  add(what: Omit<Entry, "sequence" | "at">): void {
    if (this.#entries.length >= WAITING) this.#entries.shift();
    this.#entries.push({ sequence: ++this.#sequence, at: Date.now(), ...what });
    this.#flushSoon();
  }

  /** From now on send, what has waited first. */
  open(way: Way): void {
    this.#way = way;
    this.#flushSoon();
  }

  /** Send no more. What waits stays. */
  close(): void {
    this.#way = undefined;
    this.#stopTimer();
    this.wake();
  }

  /** Drop all that waits here. */
  clear(): void {
    this.#entries = [];
  }

  /** End a pause between two attempts: there is reason to think that the server can be had again. */
  wake(): void {
    this.#pause.abort();
    this.#pause = new AbortController();
    this.#notBefore = 0;
  }

  /** Send what waits; settles to whether all of it has arrived. Never fails because of the server. */
  flush(): Promise<boolean> {
    this.#stopTimer();
    return (this.#flight ??= this.#flush().finally(() => (this.#flight = undefined)));
  }

  /** Send what other pages have left behind, under the names of their clients. One page at a time should. */
  async adopt(): Promise<void> {
    const { shelf } = this.#way ?? {};
    for (const [client, entries] of shelf?.others(this.#own()) ?? []) {
      let left = entries;
      const hasArrived = await this.#deliver(
        client,
        () => left,
        (upTo) => {
          left = after(left, upTo);
          shelf?.forget(client, upTo);
        },
      );
      if (!hasArrived) return;
    }
  }

  /**
   * Hand a batch to the browser to send it, because the page may be closed now; say whether there was anything to send.
   *
   * Nobody acknowledges it, so it stays, and is sent again when this page, or another one, can.
   */
  beacon(): boolean {
    this.#stopTimer();
    const way = this.#way;
    if (!way) return false;
    this.#store(way);
    const batch = cut(this.#entries);
    const body = (count: number): object => bodyOf(way, this.#own(), batch.slice(0, count));
    // What the browser refuses may be too much together with what it has taken already.
    for (let count = batch.length; count; count >>= 1) {
      if (way.line.beacon(PATH, body(count))) return true;
    }
    if (batch.length) way.line.ask(PATH, body(batch.length), true).catch(() => undefined);
    return batch.length > 0;
  }

  #flushSoon(): void {
    if (!this.#way || !this.#entries.length) return;
    if (!this.#way.isUrgent()) {
      this.#timer ??= setTimeout(() => void this.flush(), WINDOW_MS);
    } else if (!this.#isHurrying) {
      this.#isHurrying = true;
      queueMicrotask(() => this.#hurry());
    }
  }

  /** Send what has just been noted, without waiting for the answer that is on its way. */
  #hurry(): void {
    this.#isHurrying = false;
    if (this.#flight) this.beacon();
    else void this.flush();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #flush(): Promise<boolean> {
    if (!this.#way) return false;
    this.#store(this.#way);
    return this.#deliver(
      this.#own(),
      () => this.#entries,
      (upTo) => {
        this.#entries = after(this.#entries, upTo);
        if (this.#way) this.#store(this.#way);
      },
    );
  }

  /** Send what waits of one client, the oldest first, until nothing is left or the server cannot be had. */
  async #deliver(client: string, waiting: () => readonly Entry[], reported: (upTo: number) => void): Promise<boolean> {
    const way = this.#way;
    for (let batch = cut(waiting()); batch.length; batch = cut(waiting())) {
      if (!way || way !== this.#way || Date.now() < this.#notBefore) return false;
      const { signal } = this.#pause;
      try {
        const answer = await retrying(
          () => way.line.ask(PATH, bodyOf(way, client, batch), way.isUrgent()),
          isPassing,
          this.#retry,
          signal,
        );
        if (typeof answer["tracked"] !== "boolean") throw notOurs();
        warn(answer["refused"]);
      } catch (error) {
        if (signal.aborted && error === signal.reason) continue;
        if (!(error instanceof SojournError)) throw error;
        if (!isFinal(error)) {
          this.#notBefore = Date.now() + (error.retryAfterMs ?? 0);
          return false;
        }
        warn([error]);
      }
      reported((batch.at(-1) as Entry).sequence);
    }
    return true;
  }

  /** The name of this page among the clients; made late, because a server that renders a page needs none. */
  #own(): string {
    return (this.#client ??= randomId());
  }

  #store({ shelf }: Way): void {
    shelf?.keep(this.#own(), this.#entries);
  }
}

function bodyOf(way: Way, client: string, actions: readonly Entry[]): object {
  return { client, sent_at: Date.now(), actions, visitor: way.visitor(), ...(way.isLeaving() ? { leaving: true } : {}) };
}

/** As many of the oldest as go in one batch. */
function cut(waiting: readonly Entry[]): Entry[] {
  const batch: Entry[] = [];
  let bytes = 0;
  for (const entry of fresh(waiting).slice(0, BATCH)) {
    bytes += bytesOf(JSON.stringify(entry)) + 1;
    if (bytes > BATCH_BYTES) break;
    batch.push(entry);
  }
  return batch;
}

function after(entries: readonly Entry[], sequence: number): Entry[] {
  return entries.filter((entry) => entry.sequence > sequence);
}

/** Whether the server itself has said that it will never take this. */
function isFinal(error: SojournError): boolean {
  return error.code !== "answer_invalid" && error.retry === "never" && (error.status ?? 500) < 500;
}

/** Tell the page's author what the server refused: it was not recorded, and is not sent again. */
function warn(refused: unknown): void {
  for (const one of Array.isArray(refused) ? refused : []) {
    if (isObject(one)) console.warn(`sojourn did not record an action: ${one["message"]}`);
  }
}
