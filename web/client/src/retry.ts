import { SojournError } from "./errors.js";

/** How often and how long a call is tried. */
export interface RetryOptions {
  /** How often it is sent at most; 1 sends it once. */
  readonly attempts?: number;
  /** The first pause; each later one is twice as long. */
  readonly firstMs?: number;
  /** The longest pause. A server that asks for a longer one is not asked again. */
  readonly longestMs?: number;
  /** How long one attempt may take. Longer than a server's own limit, so that its answer is heard. */
  readonly timeoutMs?: number;
}

export const RETRY: Required<RetryOptions> = { attempts: 8, firstMs: 200, longestMs: 10_000, timeoutMs: 40_000 };

/** Do it, and again while `again` says so of its error, with pauses that grow and are never the same in two tabs. */
export async function retrying<T>(
  attempt: () => Promise<T>,
  again: (error: SojournError) => boolean,
  retry: Required<RetryOptions>,
  signal?: AbortSignal,
): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof SojournError) || tried >= retry.attempts || !again(error)) throw error;
      const asked = error.retryAfterMs ?? 0;
      // What is tried without end waits for as long as it takes.
      if (asked > retry.longestMs && retry.attempts < Number.POSITIVE_INFINITY) throw error;
      const step = Math.min(retry.longestMs, retry.firstMs * 2 ** (tried - 1));
      await abortable(paused(pauseOf(step, asked)), signal);
    }
  }
}

/**
 * Return how long to wait: the step or what the server asked for, in milliseconds, and chance.
 *
 * Half of the step is fixed, half is chance; chance is also added to what was asked for, or all would come back at once.
 */
export function pauseOf(stepMs: number, askedMs = 0): number {
  return Math.max(askedMs, stepMs / 2) + (Math.random() * stepMs) / 2;
}

/** Wait so many milliseconds, but no longer than until the network is back. */
function paused(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const limit = new AbortController();
    const end = (): void => {
      limit.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, ms);
    globalThis.addEventListener?.("online", end, { signal: limit.signal });
  });
}

/** Say whether the failure passes by itself. */
export function isPassing(error: SojournError): boolean {
  return error.retry === "later" || error.retry === "same_id";
}

/** Settle as the promise does, or with the signal's reason once it is aborted. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  // The promise is heard in any case: nobody else may be listening to it.
  promise.catch(() => undefined);
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (stop) signal.removeEventListener("abort", stop);
  }
}
