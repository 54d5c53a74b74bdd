import { type Failure, SojournError, missing } from "./errors.js";

/** One request; `body` is JSON already, so that what a caller changes later is not sent. */
export interface Request {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: string;
  readonly keepalive?: boolean | undefined;
}

/** A successful answer: its JSON, and the new token it brought, if the token travels by header. */
export interface Answer {
  readonly body: unknown;
  readonly token: string | undefined;
}

const HEADER = "Sojourn-Session";

/** Sends requests, each once, and turns whatever goes wrong into a SojournError. */
export class Transport {
  readonly #url: string;
  readonly #fetch: typeof fetch;
  readonly #byCookie: boolean;
  readonly #timeoutMs: number;

  constructor(url: string, byCookie: boolean, timeoutMs: number, given: typeof fetch | undefined) {
    const native = (globalThis as { fetch?: typeof fetch }).fetch;
    if (!given && !native) throw missing("fetch", "there is none here; pass one");
    if (!given && !/^https?:/.test(url) && !("location" in globalThis)) {
      throw missing("url", "outside a page there is no origin to start from; pass the whole address of the server");
    }
    this.#url = url.replace(/\/+$/, "");
    this.#fetch = given ?? ((input, init) => globalThis.fetch(input, init));
    this.#byCookie = byCookie;
    this.#timeoutMs = timeoutMs;
  }

  /** `header` is what the caller is known by where that is not the cookie. */
  async send(request: Request, header: string | undefined, signal?: AbortSignal): Promise<Answer> {
    const limit = new AbortController();
    const stop = (): void => limit.abort();
    const timer = setTimeout(stop, this.#timeoutMs);
    signal?.addEventListener("abort", stop);
    try {
      signal?.throwIfAborted();
      return await this.#exchange(request, header, limit.signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof SojournError) throw error;
      throw new SojournError("the connection was lost, or no answer came in time", LOST, error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }

  async #exchange(request: Request, header: string | undefined, signal: AbortSignal): Promise<Answer> {
    const { method, path, body, keepalive } = request;
    const response = await this.#fetch(this.#url + path, {
      method,
      // Both at once are refused by the server, so without a cookie none is sent.
      credentials: this.#byCookie ? "include" : "omit",
      cache: "no-store",
      headers: {
        ...(method === "GET" ? {} : { "Content-Type": "application/json" }),
        ...(header === undefined ? {} : { [HEADER]: header }),
      },
      ...(body === undefined ? {} : { body }),
      ...(keepalive === undefined ? {} : { keepalive }),
      signal,
    });
    const text = await response.text();
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    if (response.ok && isObject(json)) return { body: json, token: response.headers.get(HEADER) ?? undefined };
    throw refusal(response, isObject(json) ? json["error"] : undefined);
  }
}

/** Something was sent and nothing came back: what it did is not known. */
export const LOST: Failure = { code: "connection_lost", retry: "same_id", written: "perhaps" };

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** The error of a success that lacks what a sojourn server would have said. */
export function notOurs(): SojournError {
  return new SojournError("the answer is not one of a sojourn server", {
    code: "answer_invalid",
    retry: "never",
    written: "perhaps",
  });
}

/** The error that a sojourn server tells of, with what else is known of it; undefined if this is none. */
export function told(error: unknown, more: Partial<Failure> = {}): SojournError | undefined {
  if (!isObject(error) || typeof error["code"] !== "string") return undefined;
  const { code, message, retry, written, name, data, report } = error as Record<string, string> & { code: string };
  return new SojournError(String(message ?? code), {
    code,
    retry: (retry ?? "never") as Failure["retry"],
    written: (written ?? "perhaps") as Failure["written"],
    valueName: name,
    data,
    report,
    ...more,
  });
}

/** The error of an answer that is not a success, or not from a sojourn server. */
function refusal(response: Response, error: unknown): SojournError {
  const { status } = response;
  const wait = Number(response.headers.get("Retry-After") || Number.NaN);
  const retryAfterMs = wait >= 0 ? wait * 1_000 : undefined;
  const said = told(error, { status, retryAfterMs });
  if (said) return said;
  // What stands between, a proxy say, knows nothing of our errors. Its 5xx pass, and may hide a request that was done.
  const isPassing = status >= 500 || status === 429;
  return new SojournError(`the answer (status ${status}) is not one of a sojourn server`, {
    code: "answer_invalid",
    retry: isPassing ? "same_id" : "never",
    written: response.ok || status >= 500 ? "perhaps" : "no",
    status,
    retryAfterMs,
  });
}
