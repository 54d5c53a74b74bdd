/** What a caller may do after an error; the server's words, see docs/reference/wire.md. */
export type Retry = "after_reading" | "same_id" | "later" | "never";

/** Whether something may have been written. */
export type Written = "no" | "perhaps";

/** What an error says besides its message. */
export interface Failure {
  readonly code: string;
  readonly retry: Retry;
  readonly written: Written;
  /** The value at fault. Not `name`, which is the name of an error's class in JavaScript. */
  readonly valueName?: string | undefined;
  /** What an application's own error carries. */
  readonly data?: unknown;
  /** The HTTP status, where there was an answer. */
  readonly status?: number | undefined;
  /** What stands in the server's log beside an error that is its own fault. */
  readonly report?: string | undefined;
  /** How long the server asked to wait. */
  readonly retryAfterMs?: number | undefined;
  /** The request id of a mutation: pass it again to repeat the very same request. */
  readonly requestId?: string | undefined;
}

/** Everything that this client raises on purpose. An aborted call rejects with the signal's own reason. */
export class SojournError extends Error {
  override readonly name = "SojournError";
  declare readonly code: string;
  declare readonly retry: Retry;
  declare readonly written: Written;
  declare readonly valueName?: string;
  declare readonly data?: unknown;
  declare readonly status?: number;
  declare readonly report?: string;
  declare readonly retryAfterMs?: number;
  declare readonly requestId?: string;

  constructor(message: string, failure: Failure, cause?: unknown) {
    super(message, { cause });
    Object.assign(this, failure);
  }
}

/** The browser lacks something, or there is no session yet; `valueName` says what. */
export function missing(what: string, advice: string): SojournError {
  return new SojournError(`${what}: ${advice}`, { code: "missing", retry: "never", written: "no", valueName: what });
}

/** A value is not of the form asked for; nothing was sent. */
export function invalid(what: string, advice: string): SojournError {
  return new SojournError(`${what}: ${advice}`, { code: "invalid", retry: "never", written: "no", valueName: what });
}
