import type { Slot } from "./storage.js";
import { isObject } from "./transport.js";

/** What a client has noted, in order. */
export interface Noted {
  /** Grows from entry to entry of one client. */
  readonly sequence: number;
  /** By this browser's clock, in milliseconds. The server uses differences only. */
  readonly at: number;
}

/** One thing to report, as the server takes it: an action, engaged time, or both. */
export interface Entry extends Noted {
  readonly action?: string;
  readonly resource_id?: string | undefined;
  readonly metadata?: unknown;
  readonly engaged_ms?: number;
}

/** How many wait at most, in one page and in the storage. */
export const WAITING = 1_000;

/** How long the server knows an entry that comes again; an older one might be recorded twice. */
const AGE_MS = 24 * 3_600_000;

type Kept<E> = E & { readonly client: string };

/** Keeps what pages have not been able to send, so that another page does. */
export class Shelf<E extends Noted = Entry> {
  readonly #slot: Slot;
  readonly #ageMs: number;

  /** What is older than `ageMs` is dropped. */
  constructor(slot: Slot, ageMs = AGE_MS) {
    this.#slot = slot;
    this.#ageMs = ageMs;
  }

  /** Keep these of a client, in place of those kept before. Beyond the bound the oldest are dropped. */
  keep(client: string, entries: readonly E[]): void {
    const kept = this.#read();
    const others = kept.filter((each) => each.client !== client);
    if (!entries.length && others.length === kept.length) return;
    this.#write([...others, ...entries.map((entry) => ({ client, ...entry }))]);
  }

  /** Forget what a client has reported, up to a sequence. */
  forget(client: string, upTo: number): void {
    this.#write(this.#read().filter((each) => each.client !== client || each.sequence > upTo));
  }

  /** What other clients have left, by client, in order. */
  others(client: string): Map<string, E[]> {
    const found = new Map<string, E[]>();
    for (const { client: owner, ...entry } of this.#read()) {
      if (owner !== client) found.set(owner, [...(found.get(owner) ?? []), entry as unknown as E]);
    }
    return found;
  }

  clear(): void {
    this.#slot.remove();
  }

  #read(): Kept<E>[] {
    try {
      const stored: unknown = JSON.parse(this.#slot.read() ?? "[]");
      return Array.isArray(stored) ? fresh<Kept<E>>(stored.filter(isKept<E>), this.#ageMs) : [];
    } catch {
      return [];
    }
  }

  #write(kept: readonly Kept<E>[]): void {
    if (kept.length) this.#slot.write(JSON.stringify(kept.slice(-WAITING)));
    else this.#slot.remove();
  }
}

/** Leave out what is too old to be told from a repeat. */
export function fresh<E extends Noted>(entries: readonly E[], ageMs = AGE_MS): E[] {
  const oldest = Date.now() - ageMs;
  return entries.filter(({ at }) => at > oldest);
}

/** Whether it can be an entry: the page's other scripts can write there too. */
function isKept<E>(value: unknown): value is Kept<E> {
  return (
    isObject(value) &&
    typeof value["client"] === "string" &&
    Number.isInteger(value["sequence"]) &&
    Number.isInteger(value["at"])
  );
}
