import { SojournError, invalid } from "./errors.js";
import { checkedId, isId } from "./ids.js";
import type { Slot } from "./storage.js";
import { type Answer, isObject } from "./transport.js";

/** What the server tells of a session; instants are ISO 8601. */
export interface Session {
  /** The public id, which opens nothing. */
  readonly id: string;
  /** Whose it is; null while nobody has signed in. */
  readonly subject: string | null;
  /** Null as long as a client-minted session has not been written to. */
  readonly created_at: string | null;
  readonly expires_at: string | null;
  readonly idle_expires_at: string | null;
}

/** What one attempt of a call goes by. */
export interface Pass {
  /** What is sent in the header; undefined where the cookie says it all. */
  readonly header: string | undefined;
  /** The same for two passes of one session, whatever ids it has had in between. */
  readonly session: string;
  /** By what another page tells the session from others. It opens nothing. */
  readonly mark: string;
}

/** What an identity asks of the server. */
export interface Server {
  begin(header: string | undefined): Promise<Answer>;
  rotate(header: string | undefined, to?: string): Promise<Answer>;
}

/** What is called with the new id before a refresh. */
export type BeforeUpdate = (newId: string) => unknown;

/** By what the server knows this client. */
export interface Identity {
  /** What the server has told of the session, if it has. */
  readonly facts: Session | undefined;
  /** The id, if there is one now. Makes none. */
  peek(): string | undefined;
  /** The id; made at once where it is the browser that makes ids. */
  current(): string | undefined;
  /** What the header would be now. Begins no session. */
  header(): string | undefined;
  /** The session that a pass would name now, if there is one. Begins none. */
  session(): string | undefined;
  /** The mark that a pass would have now. */
  mark(): string | undefined;
  /** What a call goes by; begins a session where there is none. */
  pass(): Promise<Pass>;
  /** The server knows no live session by this pass: forget it. False when there can be no other. */
  refused(pass: Pass): boolean;
  /** Keep what an answer brings. */
  accept(answer: Answer): void;
  set(id: string): void;
  rotate(beforeUpdate: BeforeUpdate | undefined): Promise<string>;
  /** The session is over. */
  forget(): void;
}

/** Ids are made here, kept in a storage and sent in the header. Whoever has the id has the session. */
export class Minted implements Identity {
  facts: Session | undefined;
  readonly #slot: Slot;
  readonly #server: Server;
  readonly #generate: () => string;
  readonly #changed: () => void;
  #seen: string | undefined;
  #count = 0;
  /** A new id of which the server may have heard, because the answer to a refresh was lost. */
  #spare: string | undefined;

  constructor(slot: Slot, server: Server, generate: () => string, changed: () => void) {
    this.#slot = slot;
    this.#server = server;
    this.#generate = generate;
    this.#changed = changed;
    this.current();
  }

  peek(): string | undefined {
    return this.#slot.read();
  }

  header(): string | undefined {
    return this.peek();
  }

  current(): string {
    const stored = this.#slot.read();
    const id = stored ?? this.#mint();
    if (stored === undefined) this.#slot.write(id);
    // Another client or tab may have stored another one. Whether of the same session cannot be seen, so it counts as new.
    if (id !== this.#seen) this.#become(id, true);
    return id;
  }

  session(): string {
    this.current();
    return String(this.#count);
  }

  mark(): string {
    return markOf(this.current());
  }

  async pass(): Promise<Pass> {
    const header = this.current();
    return { header, session: this.session(), mark: markOf(header) };
  }

  refused(pass: Pass): boolean {
    if (this.current() !== pass.header) return true;
    if (this.#slot.isGiven) return false;
    this.set(this.#spare ?? this.#mint());
    return true;
  }

  accept(answer: Answer): void {
    this.facts = factsOf(answer) ?? this.facts;
    this.#changed();
  }

  set(id: string): void {
    this.#slot.write(checkedId("sessionId", id));
    this.#become(id, true);
  }

  async rotate(beforeUpdate: BeforeUpdate | undefined): Promise<string> {
    const id = this.#spare ?? this.#mint();
    await beforeUpdate?.(id);
    const { header, session } = await this.pass();
    let answer: Answer | undefined;
    try {
      answer = await this.#server.rotate(header, id);
    } catch (error) {
      if (!isInvalidSession(error)) {
        if (isDoubtful(error)) this.#spare = id;
        throw error;
      }
      // There is nothing behind the old id, so there is nothing to move.
    }
    if (this.session() !== session) throw overtaken();
    this.#slot.write(id);
    this.#become(id, false);
    if (answer) this.accept(answer);
    return id;
  }

  forget(): void {
    this.#slot.remove();
    this.#become(undefined, true);
  }

  #mint(): string {
    return checkedId("idGenerator", this.#generate());
  }

  #become(id: string | undefined, isNew: boolean): void {
    this.#seen = id;
    this.#spare = undefined;
    if (isNew) {
      this.#count++;
      this.facts = undefined;
    }
    this.#changed();
  }
}

/** Tokens are issued by the server; with a slot they come by header and are kept there, without one by cookie. */
export class Issued implements Identity {
  facts: Session | undefined;
  readonly #slot: Slot | undefined;
  readonly #server: Server;
  readonly #changed: () => void;
  /** Whether there is a live session behind the cookie, which no script can see. */
  #isOpen = false;
  #beginning: Promise<void> | undefined;

  constructor(slot: Slot | undefined, server: Server, changed: () => void) {
    this.#slot = slot;
    this.#server = server;
    this.#changed = changed;
  }

  peek(): string | undefined {
    // A token is "<public id>.<secret>".
    return this.#slot ? this.#slot.read()?.split(".")[0] : this.facts?.id;
  }

  current(): string | undefined {
    return this.peek();
  }

  header(): string | undefined {
    return this.#slot?.read();
  }

  session(): string | undefined {
    return this.peek();
  }

  mark(): string | undefined {
    return this.peek();
  }

  async pass(): Promise<Pass> {
    if (this.#slot ? this.#slot.read() === undefined : !this.#isOpen) {
      this.#beginning ??= alone(() => this.#begin()).finally(() => (this.#beginning = undefined));
      await this.#beginning;
    }
    const session = this.peek();
    if (session === undefined) throw overtaken();
    return { header: this.header(), session, mark: session };
  }

  refused(pass: Pass): boolean {
    if (!this.#slot) {
      if (this.peek() === pass.session) this.#isOpen = false;
    } else if (this.#slot.read() === pass.header) {
      if (this.#slot.isGiven) return false;
      this.#slot.remove();
      this.#changed();
    }
    return true;
  }

  accept(answer: Answer): void {
    if (isId(answer.token)) this.#slot?.write(answer.token);
    this.facts = factsOf(answer) ?? this.facts;
    this.#changed();
  }

  set(id: string): void {
    if (!this.#slot) throw invalid("sessionId", "the cookie is the server's; no script can set it");
    this.#slot.write(checkedId("sessionId", id));
    this.facts = undefined;
    this.#changed();
  }

  async rotate(beforeUpdate: BeforeUpdate | undefined): Promise<string> {
    const { session } = await this.pass();
    await beforeUpdate?.(session);
    const pass = await this.pass();
    try {
      this.accept(await this.#server.rotate(pass.header));
    } catch (error) {
      if (!isInvalidSession(error) || !this.refused(pass)) throw error;
    }
    return (await this.pass()).session;
  }

  forget(): void {
    this.#slot?.remove();
    this.#isOpen = false;
    this.facts = undefined;
    this.#changed();
  }

  async #begin(): Promise<void> {
    // Another tab may have been faster. An empty header says: I have no token yet, and want it by header.
    if (this.#slot?.read() !== undefined) return;
    this.accept(await this.#server.begin(this.#slot && ""));
    this.#isOpen = true;
  }
}

/** Do it while no other tab of this origin does, or two tabs that open at once begin two sessions, and one is lost. */
function alone<T>(task: () => Promise<T>): Promise<T> {
  const { locks } = (globalThis as { navigator?: { locks?: LockManager } }).navigator ?? {};
  return locks ? locks.request("sojourn", task) : task();
}

/** The end of an id: enough to tell it from others, too little to guess it. */
function markOf(id: string): string {
  return id.slice(-6);
}

export function isInvalidSession(error: unknown): boolean {
  return error instanceof SojournError && error.code === "session_invalid";
}

function isDoubtful(error: unknown): boolean {
  return error instanceof SojournError && error.written === "perhaps";
}

function overtaken(): SojournError {
  return new SojournError("the session was ended or replaced meanwhile", {
    code: "session_invalid",
    retry: "never",
    written: "no",
  });
}

function factsOf(answer: Answer): Session | undefined {
  const session = isObject(answer.body) ? answer.body["session"] : undefined;
  return isObject(session) && typeof session["id"] === "string" ? (session as unknown as Session) : undefined;
}
