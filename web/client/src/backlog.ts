import type { SojournError } from "./errors.js";
import { randomId } from "./ids.js";
import { type Noted, Shelf } from "./shelf.js";
import type { Slot } from "./storage.js";
import { Turn, taken } from "./turn.js";

/** A mutation that was asked for and is not settled. */
export interface Asked extends Noted {
  /** What is sent, as JSON; the request id is in it. */
  readonly body: string;
  /** By what its session is told from another; null while nobody knows, and then it was not sent either. */
  readonly session: string | null;
}

/** What became of a mutation that an earlier page had asked for: its result, or why there is none. */
export interface LeftBehind {
  readonly name: string;
  readonly args: object;
  readonly requestId: string;
  readonly result?: unknown;
  readonly error?: SojournError;
}

/** Keeps the mutations of this page until they are settled, so that another page sends what is left. */
export class Backlog {
  readonly #slot: Slot;
  readonly #shelf: Shelf<Asked>;
  readonly #client = randomId();
  /** Held while something is kept: as long as this page is there, no other sends it. */
  readonly #turn = new Turn(
    () => undefined,
    () => undefined,
  );
  #asked: Asked[] = [];
  #sequence = 0;
  #unwatch: (() => void) | undefined;

  constructor(slot: Slot) {
    this.#slot = slot;
    this.#shelf = new Shelf<Asked>(slot, Number.POSITIVE_INFINITY);
  }

  /** Keep one; return by what it is settled. */
  add(body: string, session: string | undefined): number {
    const sequence = ++this.#sequence;
    this.#asked.push({ sequence, at: Date.now(), body, session: session ?? null });
    this.#turn.want(nameOf(this.#client));
    // Two pages that write at the same moment may each miss what the other wrote.
    this.#unwatch ??= this.#slot.watch(() => this.#isThere() || this.#store());
    this.#store();
    return sequence;
  }

  settle(sequence: number): void {
    this.#asked = this.#asked.filter((each) => each.sequence !== sequence);
    this.#store();
    if (this.#asked.length) return;
    this.#turn.drop();
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  /** The session is known by this from now on; `before` it was known by another name, or not at all. */
  mark(session: string, before: string | null = null): void {
    if (session === before || !this.#asked.some((each) => each.session === before)) return;
    this.#asked = this.#asked.map((each) => (each.session === before ? { ...each, session } : each));
    this.#store();
  }

  /** Do with each that pages have left behind, in order. What is done is forgotten; `send` does not fail. */
  async adopt(send: (asked: Asked) => Promise<void>): Promise<void> {
    for (const client of this.#shelf.others(this.#client).keys()) {
      const turn = await taken(nameOf(client));
      // That page is still there, and sends it itself.
      if (!turn) continue;
      for (const asked of this.#shelf.others(this.#client).get(client) ?? []) {
        await send(asked);
        this.#shelf.forget(client, asked.sequence);
      }
      turn.drop();
    }
  }

  /** Forget what other pages have left behind. */
  clear(): void {
    this.#shelf.clear();
    this.#store();
  }

  #isThere(): boolean {
    return this.#shelf.others("").get(this.#client)?.length === this.#asked.length;
  }

  #store(): void {
    this.#shelf.keep(this.#client, this.#asked);
  }
}

function nameOf(client: string): string {
  return `sojourn mutations ${client}`;
}
