// A server of live queries in memory, and the browser's end of its WebSockets.
import { FakeServer, type Kept, json } from "./fake.js";

/** A query, as the server runs it; what it throws is the error that is sent. */
export type FakeQuery = (args: Record<string, unknown>, session: Kept) => unknown;

interface Told {
  readonly type: string;
  readonly add?: { id: number; function: string; arguments: Record<string, unknown> }[];
  readonly remove?: number[];
  readonly [name: string]: unknown;
}

/** As much of live connections as a browser can see. Nothing takes time, but it is never there at once. */
export class LiveServer extends FakeServer {
  readonly queries = new Map<string, FakeQuery>();
  /** Every connection that was tried, in order. */
  readonly sockets: FakeSocket[] = [];
  /** When each of them was. */
  readonly triedAt: number[] = [];
  /** Whether no connection can be had, and whether nothing at all can. */
  isAway = false;
  isDead = false;
  /** Whether messages are kept back, until `deliver`. */
  isSlow = false;
  version = 1_800_000_000_000_000;
  protocol = 1;
  readonly #tickets = new Map<string, Kept>();

  /** What a client is given as its `WebSocket`. */
  get WebSocket(): typeof WebSocket {
    const server = this;
    return class {
      constructor(url: string) {
        return new FakeSocket(server, url) as never;
      }
    } as unknown as typeof WebSocket;
  }

  /** The connection made last. */
  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  /** The connections that are open now. */
  get open(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.isOpen);
  }

  /** Something was committed: every connection is told what is different. */
  commit(): void {
    for (const socket of this.open) socket.advance();
  }

  override browser(jar: { cookie?: string } = {}): typeof fetch {
    const answered = super.browser(jar);
    return (input, init) => (this.isDead ? Promise.reject(new TypeError("Failed to fetch")) : answered(input, init));
  }

  /** Every connection is gone, without a word. */
  drop(): void {
    for (const socket of this.open) socket.lose();
  }

  redeem(ticket: unknown): Kept | undefined {
    const kept = this.#tickets.get(String(ticket));
    this.#tickets.delete(String(ticket));
    return kept;
  }

  protected override committed(): void {
    this.commit();
  }

  protected override more(route: string, kept: Kept): Response {
    if (route !== "POST /live/ticket") return super.more(route, kept);
    const ticket = `ticket ${this.requests.length}`;
    this.#tickets.set(ticket, kept);
    return json({ ticket, expires_in_ms: 30_000 });
  }
}

/** One WebSocket: both ends of it. */
export class FakeSocket {
  onopen: (() => void) | undefined;
  onmessage: ((event: { data: string }) => void) | undefined;
  onclose: (() => void) | undefined;
  readonly url: string;
  /** What the client has said. */
  readonly said: Told[] = [];
  isOpen = false;
  isClosed = false;
  readonly #server: LiveServer;
  readonly #watched = new Map<number, { function: string; arguments: Record<string, unknown>; sent?: string }>();
  readonly #held: object[] = [];
  #session: Kept | undefined;

  constructor(server: LiveServer, url: string) {
    this.#server = server;
    this.url = url;
    server.sockets.push(this);
    server.triedAt.push(Date.now());
    queueMicrotask(() => (server.isAway || server.isDead ? this.lose() : this.onopen?.()));
  }

  /** What the client has said of one type. */
  heard(type: string): Told[] {
    return this.said.filter((message) => message.type === type);
  }

  /** The ids that are watched. */
  get ids(): number[] {
    return [...this.#watched.keys()];
  }

  send(text: string): void {
    const message = JSON.parse(text) as Told;
    this.said.push(message);
    queueMicrotask(() => this.#answer(message));
  }

  close(): void {
    this.isOpen = false;
    this.isClosed = true;
  }

  /** The connection breaks. */
  lose(): void {
    if (this.isClosed) return;
    this.close();
    this.onclose?.();
  }

  goodbye(code: string, retry = "never"): void {
    this.tell({ type: "goodbye", error: { code, message: `${code}!`, retry, written: "no" } });
    this.lose();
  }

  tell(message: object): void {
    if (this.#server.isSlow) this.#held.push(message);
    else this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** Let through what was kept back. */
  deliver(): void {
    for (const message of this.#held.splice(0)) this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** Send what is different now. */
  advance(synced: number[] = []): void {
    const updates = [...this.#watched].flatMap(([id, query]) => {
      const update = this.#run(query);
      const text = JSON.stringify(update);
      if (text === query.sent) return [];
      query.sent = text;
      return [{ id, ...update }];
    });
    if (updates.length || synced.length) this.tell({ type: "transition", version: ++this.#server.version, updates, synced });
  }

  #run(query: { function: string; arguments: Record<string, unknown> }): object {
    const run = this.#server.queries.get(query.function);
    if (!run) return { error: { code: "function_unknown", message: "?", retry: "never", written: "no" } };
    try {
      return { result: run(query.arguments, this.#session as Kept) ?? null };
    } catch (error) {
      return { error: { code: "application", message: String(error), retry: "never", written: "no", data: error } };
    }
  }

  #answer(message: Told): void {
    if (this.isClosed) return;
    switch (message.type) {
      case "connect": {
        this.#session = this.#server.redeem(message["ticket"]);
        if (!this.#session) return this.goodbye("ticket_invalid", "later");
        if (message["protocol"] !== this.#server.protocol) return this.goodbye("protocol_unsupported");
        this.isOpen = true;
        const { id, subject } = this.#session;
        const session = { id, subject, created_at: null, expires_at: null, idle_expires_at: null };
        const { version } = this.#server;
        return this.tell({ type: "connected", protocol: 1, version, session, beat_ms: 15_000 });
      }
      case "watch":
        for (const id of message.remove ?? []) this.#watched.delete(id);
        for (const { id, ...query } of message.add ?? []) {
          if (this.#watched.has(id)) return this.goodbye("invalid");
          this.#watched.set(id, query);
        }
        return this.advance();
      case "sync":
        return this.advance([message["id"] as number]);
    }
  }
}
