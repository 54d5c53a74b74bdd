import type { Slot } from "./storage.js";
import { isObject } from "./transport.js";

/** One thing to report, as the server takes it: an action, engaged time, or both. */
export interface Entry {
  /** Grows from entry to entry of one client. */
  readonly sequence: number;
  /** By this browser's clock, in milliseconds. The server uses differences only. */
  readonly at: number;
  readonly action?: string;
  readonly resource_id?: string | undefined;
  readonly metadata?: unknown;
  readonly engaged_ms?: number;
}

/** How many wait at most, in one page and in the storage. */
export const WAITING = 1_000;

/** How long the server knows an entry that comes again; an older one might be recorded twice. */
const AGE_MS = 24 * 3_600_000;

type Kept = Entry & { readonly client: string };

/** Keeps what pages have not been able to report, so that another page does. */
export class Shelf {
  readonly #slot: Slot;

  constructor(slot: Slot) {
    this.#slot = slot;
  }

  /** Keep these of a client, in place of those kept before. Beyond the bound the oldest are dropped. */
  keep(client: string, entries: readonly Entry[]): void {
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
  others(client: string): Map<string, Entry[]> {
    const found = new Map<string, Entry[]>();
    for (const { client: owner, ...entry } of this.#read()) {
      if (owner !== client) found.set(owner, [...(found.get(owner) ?? []), entry]);
    }
    return found;
  }

  clear(): void {
    this.#slot.remove();
  }

  #read(): Kept[] {
    try {
      const stored: unknown = JSON.parse(this.#slot.read() ?? "[]");
      return Array.isArray(stored) ? fresh(stored.filter(isKept)) : [];
    } catch {
      return [];
    }
  }

  #write(kept: readonly Kept[]): void {
    if (kept.length) this.#slot.write(JSON.stringify(kept.slice(-WAITING)));
    else this.#slot.remove();
  }
}

/** Leave out what is too old to be told from a repeat. */
export function fresh<T extends Entry>(entries: readonly T[]): T[] {
  const oldest = Date.now() - AGE_MS;
  return entries.filter(({ at }) => at > oldest);
}

/** Whether it can be an entry: the page's other scripts can write there too. */
function isKept(value: unknown): value is Kept {
  return (
    isObject(value) &&
    typeof value["client"] === "string" &&
    Number.isInteger(value["sequence"]) &&
    Number.isInteger(value["at"])
  );
}
