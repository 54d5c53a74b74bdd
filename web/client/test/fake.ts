// A server and a browser's storages in memory: as much of docs/reference/wire.md as the client can see.
import { afterEach, beforeEach, vi } from "vitest";

import type { StorageLike } from "../src/index.js";

/** One request, as it reached the server. */
export interface Seen {
  readonly route: string;
  readonly header: string | null;
  readonly init: RequestInit;
  readonly body: Record<string, unknown>;
  /** The public id of the session it opened, if any. */
  readonly session: string | undefined;
}

export interface Kept {
  readonly id: string;
  subject: string | null;
  /** When each of its secrets dies. */
  readonly secrets: Map<string, number>;
  readonly results: Map<string, unknown>;
}

export type Fault = (answer: () => Response, signal: AbortSignal) => Response | Promise<Response>;

const GRACE_MS = 10_000;

export class FakeServer {
  readonly requests: Seen[] = [];
  /** Each application of a mutation, not counting recognised repeats. */
  readonly applied: { session: string; function: string; arguments: unknown }[] = [];
  readonly sessions: Kept[] = [];
  now = 0;
  readonly #mode: "issued" | "minted";
  readonly #faults: { route: string; fault: Fault }[] = [];
  #made = 0;

  constructor(mode: "issued" | "minted") {
    this.#mode = mode;
  }

  /** Make something go wrong with the next request of a route; several wait in order. */
  next(route: string, ...faults: Fault[]): void {
    for (const fault of faults) this.#faults.push({ route, fault });
  }

  /** The requests of one route. */
  calls(route = "POST /call"): Seen[] {
    return this.requests.filter((request) => request.route === route);
  }

  /** A browser's fetch; the tabs of one browser share its cookie. */
  browser(jar: { cookie?: string } = {}): typeof fetch {
    return async (input, init = {}) => {
      const headers = new Headers(init.headers);
      const header = headers.get("Sojourn-Session");
      const route = `${init.method} ${String(input).replace("https://shop.example", "")}`;
      const body = (init.body ? JSON.parse(init.body as string) : {}) as Record<string, unknown>;
      const cookie = init.credentials === "include" ? jar.cookie : undefined;
      const kept = this.#opened(header || cookie);
      this.requests.push({ route, header, init, body, session: kept?.id });
      const answer = (): Response => {
        const response = this.#answer(route, body, header, header || cookie, kept);
        const set = response.headers.get("x-cookie");
        if (set !== null) {
          if (set) jar.cookie = set;
          else delete jar.cookie;
        }
        return response;
      };
      const index = this.#faults.findIndex((each) => each.route === route);
      const signal = init.signal as AbortSignal;
      if (signal.aborted) throw signal.reason;
      return index < 0 ? answer() : this.#faults.splice(index, 1)[0]!.fault(answer, signal);
    };
  }

  end(id: string): void {
    const index = this.sessions.findIndex((session) => session.id === id);
    this.sessions.splice(index, 1);
  }

  #opened(secret: string | undefined | null): Kept | undefined {
    if (!secret) return undefined;
    const found = this.sessions.find((session) => (session.secrets.get(secret) ?? -1) > this.now);
    const isUsedUp = this.sessions.some((session) => session.secrets.has(secret));
    if (found || this.#mode === "issued" || isUsedUp) return found;
    return this.#begin(secret);
  }

  #begin(secret?: string): Kept {
    const id = `public-${String(++this.#made).padStart(15, "0")}`;
    const session: Kept = { id, subject: null, secrets: new Map(), results: new Map() };
    session.secrets.set(secret ?? this.#token(id), Number.POSITIVE_INFINITY);
    this.sessions.push(session);
    return session;
  }

  #token(id: string): string {
    return `${id}.secret-${String(++this.#made).padStart(36, "0")}`;
  }

  /** A mutation was applied. */
  protected committed(): void {}

  /** What a subclass knows beside sessions and calls. */
  protected more(_route: string, _kept: Kept): Response {
    return refusal("route_unknown", 404);
  }

  #answer(
    route: string,
    body: Record<string, unknown>,
    header: string | null,
    secret: string | undefined,
    kept?: Kept,
  ): Response {
    const show = (session: Kept, token?: string): Response => {
      const { id, subject } = session;
      const facts = { id, subject, created_at: null, expires_at: null, idle_expires_at: null };
      const handed = token === undefined ? {} : header === null ? { "x-cookie": token } : { "Sojourn-Session": token };
      return json({ session: facts }, 200, handed);
    };
    if (route === "POST /session") {
      if (this.#mode === "minted") return refusal("invalid", 400);
      if (kept) return show(kept);
      const session = this.#begin();
      return show(session, [...session.secrets.keys()][0]);
    }
    if (!kept) return refusal("session_invalid", 401, {}, { "x-cookie": "" });
    switch (route) {
      case "GET /session":
        return show(kept);
      case "POST /session/rotate": {
        const token = this.#mode === "minted" ? (body["to"] as string) : this.#token(kept.id);
        const dies = kept.secrets.get(secret as string) as number;
        kept.secrets.set(secret as string, Math.min(dies, this.now + GRACE_MS));
        kept.secrets.set(token, Number.POSITIVE_INFINITY);
        return show(kept, token);
      }
      case "DELETE /session":
        this.end(kept.id);
        return json({ ended: true }, 200, { "x-cookie": "" });
      case "POST /call":
        return json({ result: this.#call(kept, body) });
      default:
        return this.more(route, kept);
    }
  }

  #call(kept: Kept, body: Record<string, unknown>): unknown {
    const result = { session: kept.id, arguments: body["arguments"] ?? {} };
    if (body["kind"] !== "mutation") return result;
    const id = body["request_id"] as string;
    if (!kept.results.has(id)) {
      kept.results.set(id, result);
      this.applied.push({ session: kept.id, function: body["function"] as string, arguments: result.arguments });
      this.committed();
    }
    return kept.results.get(id);
  }
}

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers });
}

export function refusal(
  code: string,
  status: number,
  more: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Response {
  const error = { code, message: `${code}!`, retry: "never", written: "no", ...more };
  return json({ error }, status, headers);
}

/** The connection breaks before the server does anything. */
export const unsent: Fault = () => {
  throw new TypeError("Failed to fetch");
};

/** The server does it, and the answer is lost. */
export const unanswered: Fault = (answer) => {
  answer();
  throw new TypeError("Failed to fetch");
};

/** The server does it and never answers. */
export const silent: Fault = (answer, signal) => {
  answer();
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
};

/** The server refuses. */
export function refused(...of: Parameters<typeof refusal>): Fault {
  return () => refusal(...of);
}

/** A storage that remembers what was done to it. */
export class FakeStorage implements StorageLike {
  readonly items = new Map<string, string>();
  readonly touched: string[] = [];

  constructor(items: Record<string, string> = {}) {
    for (const [key, value] of Object.entries(items)) this.items.set(key, value);
  }

  getItem(key: string): string | null {
    this.touched.push(key);
    return this.items.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.touched.push(key);
    this.items.set(key, value);
  }

  removeItem(key: string): void {
    this.touched.push(key);
    this.items.delete(key);
  }
}

/** A generator of ids that are easy to recognise. */
export function counting(): () => string {
  let count = 0;
  return () => `minted-${String(++count).padStart(16, "0")}`;
}

export function minted(number: number): string {
  return `minted-${String(number).padStart(16, "0")}`;
}

export const KEY = "sojourn-session";

declare function setImmediate(callback: () => void): unknown; // node's

/** What settles without any timer has settled after this. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(() => resolve(undefined)));
}

/** Give each test a browser of its own. Node has a navigator with locks or not, depending on its release. */
export function freshBrowser(): void {
  beforeEach(() => {
    vi.stubGlobal("navigator", {});
    vi.stubGlobal("location", { href: "https://shop.example/" });
    vi.stubGlobal("sessionStorage", new FakeStorage());
    vi.stubGlobal("localStorage", new FakeStorage());
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });
}
