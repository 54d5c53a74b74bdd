/** How long to wait for a page that is going. It is gone after a reload, but a moment may pass. */
const PATIENCE_MS = 1_000;

/**
 * The turn of one tab among those of a browser that want it: it begins once no other has it.
 *
 * By Web Locks, so the turn of a tab that crashed is over. Without them, on plain HTTP say, every tab has its turn.
 */
export class Turn {
  readonly #begin: () => void;
  readonly #end: () => void;
  #giveUp: (() => void) | undefined;

  constructor(begin: () => void, end: () => void) {
    this.#begin = begin;
    this.#end = end;
  }

  /** Want it, until `drop`. Tabs of the same `name` share the turn. */
  want(name: string): void {
    if (this.#giveUp) return;
    let isWanted = true;
    let release: (() => void) | undefined;
    const limit = new AbortController();
    this.#giveUp = () => {
      isWanted = false;
      limit.abort();
      release?.();
    };
    const take = (): Promise<void> | undefined => {
      if (!isWanted) return undefined;
      this.#begin();
      return new Promise((resolve) => (release = resolve));
    };
    const { locks } = (globalThis as { navigator?: { locks?: LockManager } }).navigator ?? {};
    // Refused where a page has no origin of its own; when it is not wanted any more, that is no refusal.
    if (locks) locks.request(name, { signal: limit.signal }, take).catch(take);
    else void take();
  }

  /** Give it up, whether it has begun or not. */
  drop(): void {
    if (!this.#giveUp) return;
    this.#giveUp();
    this.#giveUp = undefined;
    this.#end();
  }
}

/** Take a turn that nobody else has, or only a page that is going; undefined if one that is there has it. */
export function taken(name: string): Promise<Turn | undefined> {
  return new Promise((resolve) => {
    const turn = new Turn(
      () => {
        clearTimeout(timer);
        resolve(turn);
      },
      () => undefined,
    );
    const timer = setTimeout(() => {
      turn.drop();
      resolve(undefined);
    }, PATIENCE_MS);
    turn.want(name);
  });
}
