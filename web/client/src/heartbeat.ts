import { SojournError } from "./errors.js";

/** The pause when something is to be told soon; and no server can make a page beat faster. */
const SOON_MS = 100;

/** Longer than a timer can wait is at once; nobody means that. */
const LONGEST_MS = 24 * 3_600_000;

/**
 * Sends a sign of life at once and then at intervals, one at a time, while it is on.
 *
 * One that fails changes nothing for the next: it goes out in time.
 */
export class Heartbeat {
  readonly #send: () => Promise<number>;
  readonly #givenMs: number | undefined;
  #pauseMs: number;
  #isOn = false;
  #isDue = false;
  #flight: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * `send` returns for how long the server asks to wait, in milliseconds; `givenMs` counts in place of that, and
   * `pauseMs` until it has answered.
   */
  constructor(send: () => Promise<number>, pauseMs: number, givenMs: number | undefined) {
    this.#send = send;
    this.#givenMs = givenMs;
    this.#pauseMs = bounded(givenMs ?? pauseMs, pauseMs);
  }

  start(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    void this.beat();
  }

  stop(): void {
    this.#isOn = false;
    this.#isDue = false;
    clearTimeout(this.#timer);
  }

  /** Beat now, unless that is under way. It settles with the beat, and does not fail because the server cannot be had. */
  beat(): Promise<void> {
    clearTimeout(this.#timer);
    return (this.#flight ??= this.#once().finally(() => {
      this.#flight = undefined;
      if (this.#isOn) this.#wait();
    }));
  }

  /** Beat soon: what is to be told has changed. The beat under way may not have it. */
  soon(): void {
    if (!this.#isOn) return;
    this.#isDue = true;
    if (!this.#flight) this.#wait();
  }

  async #once(): Promise<void> {
    try {
      const askedMs = await this.#send();
      this.#pauseMs = bounded(this.#givenMs ?? askedMs, this.#pauseMs);
    } catch (error) {
      if (!(error instanceof SojournError)) throw error;
    }
  }

  #wait(): void {
    clearTimeout(this.#timer);
    const pauseMs = this.#isDue ? SOON_MS : this.#pauseMs;
    this.#timer = setTimeout(() => {
      this.#isDue = false;
      void this.beat();
    }, pauseMs);
  }
}

/** Return the pause asked for, within bounds, or the other when what is asked for is no number. */
function bounded(ms: number, other: number): number {
  return Number.isNaN(ms) ? other : Math.min(Math.max(ms, SOON_MS), LONGEST_MS);
}
