import type { Asked, Backlog, LeftBehind } from "./backlog.js";
import { SojournError } from "./errors.js";
import { type Identity, type Pass, isInvalidSession } from "./identity.js";
import { type RetryOptions, abortable, isPassing, retrying } from "./retry.js";
import { type Answer, LOST, type Request, type Transport, isObject, notOurs } from "./transport.js";
import type { CallOptions, Kind } from "./types.js";

/** How long the server knows a mutation that comes again; an older one might be applied twice. */
const KEEP_MS = 24 * 3_600_000;

/** An answer, and whose it is. */
export type Delivered = Answer & { readonly pass: Pass };

/** How a request is sent, beside what it is. */
export interface Sending extends CallOptions {
  readonly requestId?: string | undefined;
  /** How often at most, in place of what is usual. */
  readonly attempts?: number;
  /** What an earlier page had asked for, and may have sent. */
  readonly asked?: Asked;
}

/** By what calls are sent. */
export interface Means {
  /** There once the client has started. */
  readonly identity: Promise<Identity>;
  readonly send: Transport["send"];
  /** Where mutations are kept until they are settled, if they are. */
  readonly backlog: () => Backlog | undefined;
  readonly retry: Required<RetryOptions>;
}

/** Sends calls, again while that can help, each under the session that it may be sent under. */
export class Delivery {
  readonly #means: Means;

  constructor(means: Means) {
    this.#means = means;
  }

  async result<Result>(kind: Kind, request: Request, sending?: Sending): Promise<Result> {
    const { body } = await this.deliver(kind, request, sending);
    if (!isObject(body) || !("result" in body)) throw notOurs();
    return body["result"] as Result;
  }

  /** Send what an earlier page had asked for, and say what became of it; undefined if it is no call. */
  async left(asked: Asked): Promise<LeftBehind | undefined> {
    const call = callOf(asked);
    if (!call) return undefined;
    const request: Request = { method: "POST", path: "/call", body: asked.body };
    try {
      if (Date.now() - asked.at > KEEP_MS) throw tooLate();
      return { ...call, result: await this.result("mutation", request, { asked, requestId: call.requestId }) };
    } catch (error) {
      if (!(error instanceof SojournError)) throw error;
      return { ...call, error };
    }
  }

  /** Send a request until it is answered, a session begun anew, or hope is gone. */
  async deliver(kind: Kind, request: Request, sending: Sending = {}): Promise<Delivered> {
    const { signal, asked, requestId } = sending;
    const identity = await abortable(this.#means.identity, signal);
    const backlog = kind === "mutation" ? this.#means.backlog() : undefined;
    // What is kept in a storage is tried as long as the page is there.
    const attempts = sending.attempts ?? (backlog ? Number.POSITIVE_INFINITY : this.#means.retry.attempts);
    const began = asked?.at ?? Date.now();
    let before: Pass | undefined;
    let isRenewed = false;
    // Something was sent, and perhaps done.
    let isDoubtful = asked !== undefined && asked.session !== null;
    const attempt = async (): Promise<Delivered> => {
      const pass = await abortable(identity.pass(), signal);
      const isSame = before ? pass.session === before.session : (asked?.session ?? pass.mark) === pass.mark;
      // Under another session the same request id would do it a second time, and so it would when it is forgotten.
      if (isDoubtful && !isSame) throw ended();
      if (isDoubtful && Date.now() - began > KEEP_MS) throw tooLate();
      before = pass;
      backlog?.mark(pass.mark);
      try {
        const answer = await this.#means.send(request, pass.header, signal);
        identity.accept(answer);
        return { ...answer, pass };
      } catch (error) {
        if (isInvalidSession(error)) {
          const isThereAnother = identity.refused(pass);
          // An action may have met this in its midst.
          if (isThereAnother && !isRenewed && kind !== "action") {
            isRenewed = true;
            return attempt();
          }
        }
        if (kind !== "query" && error instanceof SojournError) isDoubtful ||= error.written === "perhaps";
        throw error;
      }
    };
    try {
      return await retrying(
        attempt,
        (error) => isPassing(error) && !(kind === "action" && before),
        { ...this.#means.retry, attempts },
        signal,
      );
    } catch (error) {
      throw error instanceof SojournError ? seenBy(kind, error, isDoubtful, requestId) : error;
    }
  }
}

/** The call that an earlier page had asked for; undefined if that is none: other scripts can write to the storage too. */
function callOf({ body }: Asked): Pick<LeftBehind, "name" | "args" | "requestId"> | undefined {
  try {
    const call = JSON.parse(body) as Record<string, unknown>;
    return {
      name: String(call["function"]),
      args: (call["arguments"] ?? {}) as object,
      requestId: String(call["request_id"]),
    };
  } catch {
    return undefined;
  }
}

function ended(): SojournError {
  return new SojournError("the session ended meanwhile", { ...LOST, retry: "never" });
}

function tooLate(): SojournError {
  return new SojournError("it was asked for too long ago", { ...LOST, retry: "never" });
}

/** What an error means to the one who called. */
function seenBy(kind: Kind, error: SojournError, isDoubtful: boolean, requestId: string | undefined): SojournError {
  if (kind === "query") {
    const retry = error.retry === "same_id" ? "later" : error.retry;
    return new SojournError(error.message, { ...error, retry, written: "no" }, error.cause);
  }
  const written = isDoubtful ? "perhaps" : error.written;
  const retry = kind === "mutation" && isDoubtful && isPassing(error) ? "same_id" : error.retry;
  const isOnce = kind === "action" && written === "perhaps";
  return new SojournError(
    error.message,
    { ...error, written, retry: isOnce ? "never" : retry, requestId },
    error.cause,
  );
}
