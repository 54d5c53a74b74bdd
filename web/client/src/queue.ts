import { SojournError } from "./errors.js";

/** How many may wait. More than any person causes; a loop that runs wild is stopped. */
const WAITING = 1_000;

/** Runs one task after another, in the order given. A task that fails does not hold up the next. */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITING) {
      throw new SojournError("too many are waiting", { code: "overloaded", retry: "later", written: "no" });
    }
    this.#waiting++;
    const turn = this.#last.then(task);
    this.#last = turn.catch(() => undefined).then(() => this.#waiting--);
    return turn;
  }
}
