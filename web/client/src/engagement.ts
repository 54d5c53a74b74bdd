/**
 * Measures how long a page is looked at: seen and in focus.
 *
 * By a clock that nobody sets. What is taken is never more than the time that has passed, and never below 0.
 */
export class Engagement {
  readonly #now: () => number;
  #since: number | undefined;
  #sumMs = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Note whether the page is looked at from now on. */
  turn(isLookedAt: boolean): void {
    const now = this.#now();
    if (this.#since !== undefined) this.#sumMs += Math.max(0, now - this.#since);
    this.#since = isLookedAt ? now : undefined;
  }

  /** Return the whole milliseconds since the last time this was asked; the rest stays for the next. */
  take(): number {
    this.turn(this.#since !== undefined);
    const wholeMs = Math.floor(this.#sumMs);
    this.#sumMs -= wholeMs;
    return wholeMs;
  }
}
