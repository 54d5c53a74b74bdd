import { Heartbeat } from "./heartbeat.js";
import { randomId } from "./ids.js";
import { copied } from "./json.js";
import type { Line } from "./line.js";
import { notOurs } from "./transport.js";

/** The pause between two signs of life until the server has said how long it is. */
const BEAT_MS = 10_000;

/** Bytes of what a member shows of itself, as many as the server takes. */
const DATA_BYTES = 4_096;

export interface RoomOptions {
  /** The pause between two signs of life, in place of the server's. Longer than that of the server, and you are out. */
  readonly intervalMs?: number;
  /** What this visitor shows of itself to the others; anything that JSON has. */
  readonly data?: unknown;
}

/** This tab's place in a room, in which its visitor is present while the tab is seen. */
export interface Room {
  readonly name: string;
  /** Show something else. */
  update(data: unknown): void;
  /** Leave for good. */
  leave(): void;
}

/** Sits in a room while it is told to. */
export class Seat implements Room {
  readonly name: string;
  readonly #left: (seat: Seat) => void;
  readonly #heartbeat: Heartbeat;
  #data: unknown;
  /** Whether the server may not have the data as they are now. */
  #isNew = false;
  #line: Line | undefined;
  #visitor: string | undefined;
  #tab = "";
  #token: string | undefined;
  #isIn = false;

  constructor(name: string, { data, intervalMs }: RoomOptions, left: (seat: Seat) => void) {
    this.name = name;
    this.#left = left;
    this.#heartbeat = new Heartbeat(() => this.#beat(), BEAT_MS, intervalMs);
    this.#data = copied("data", data, DATA_BYTES);
  }

  update(data: unknown): void {
    this.#data = copied("data", data, DATA_BYTES);
    this.#isNew = true;
    this.#heartbeat.soon();
  }

  leave(): void {
    this.exit();
    this.#left(this);
  }

  /** Sit down as this visitor. */
  enter(visitor: string, line: Line): void {
    if (this.#isIn) return;
    // A tab is one visitor's: the server lets nobody else sit there.
    if (visitor !== this.#visitor) this.#tab = randomId();
    this.#visitor = visitor;
    this.#line = line;
    this.#isIn = true;
    this.#isNew = true;
    this.#heartbeat.start();
  }

  /** Get up, and tell the server. */
  exit(): void {
    this.#isIn = false;
    this.#heartbeat.stop();
    if (this.#token !== undefined) this.#line?.tell("/presence/leave", { token: this.#token });
    this.#token = undefined;
  }

  async #beat(): Promise<number> {
    const [line, tab, data] = [this.#line as Line, this.#tab, this.#data];
    const isShown = this.#isNew && data !== undefined;
    this.#isNew = false;
    try {
      const body = { room: this.name, tab, visitor: this.#visitor, token: this.#token, ...(isShown ? { data } : {}) };
      const { token, interval_ms: intervalMs } = await line.ask("/presence", body);
      if (typeof token !== "string" || typeof intervalMs !== "number") throw notOurs();
      if (this.#isIn && tab === this.#tab) this.#seated(token, isShown);
      else line.tell("/presence/leave", { token });
      return intervalMs;
    } catch (error) {
      this.#isNew = true;
      throw error;
    }
  }

  #seated(token: string, isShown: boolean): void {
    // Another token is another beginning: the server had given the tab up, and with it what it showed.
    if (token !== this.#token && !isShown && this.#data !== undefined) {
      this.#isNew = true;
      this.#heartbeat.soon();
    }
    this.#token = token;
  }
}
