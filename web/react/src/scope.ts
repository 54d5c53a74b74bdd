import { createContext, useContext } from "react";
import { SojournError } from "sojourn-client";

import type { Client } from "./register.js";

/** The session of one provider: its client, and when it begins. */
export class Scope {
  readonly client: Client;
  readonly #isSsrFriendly: boolean;
  readonly #settled: Promise<unknown>;
  #beginning: Promise<void> | undefined;
  #coming: Promise<string> | undefined;
  #came: ((id: string) => void) | undefined;

  /** Nothing begins before `settled`. */
  constructor(client: Client, isSsrFriendly: boolean, settled: Promise<unknown> = Promise.resolve()) {
    this.client = client;
    this.#isSsrFriendly = isSsrFriendly;
    this.#settled = settled;
  }

  /** The id; undefined while there is none. */
  readonly id = (): string | undefined => {
    try {
      const id = this.client.getSessionId();
      if (id !== undefined || this.#isSsrFriendly) return id;
    } catch (error) {
      // The server has not begun it yet.
      if (error instanceof SojournError && error.valueName === "session") return undefined;
      throw error;
    }
    throw missing("session", "the client waits for start(); give its SessionProvider ssrFriendly");
  };

  /** The id as it was rendered on a server. */
  readonly serverId = (): string | undefined => (this.#isSsrFriendly ? undefined : this.id());

  readonly onChange = (listener: () => void): (() => void) =>
    this.client.onSessionChange((id) => {
      if (id !== undefined) this.#arrived(id);
      listener();
    });

  /** The id when there is one; the same promise until then. */
  get coming(): Promise<string> {
    return (this.#coming ??= new Promise((resolve) => (this.#came = resolve)));
  }

  /** Somebody needs the session, and so does what waits for it in a page that was rendered on a server. */
  open(): void {
    if (this.#isSsrFriendly) this.begin();
  }

  /** Make sure that there is a session. Not before somebody needs it: who only looks at a page leaves no trace. */
  begin(): void {
    this.#beginning ??= this.#begin().finally(() => (this.#beginning = undefined));
  }

  readonly refresh: Client["refreshSessionId"] = (beforeUpdate) => this.client.refreshSessionId(beforeUpdate);

  /** Go on with an id that came from elsewhere, by way of the storage. */
  follow(id: string | undefined): void {
    try {
      if (id !== undefined) return this.client.setSessionId(id);
    } catch {
      // It has not the form of an id, so it counts as none.
    }
    this.id();
  }

  async #begin(): Promise<void> {
    await this.#settled;
    try {
      this.#arrived(await this.client.start());
    } catch {
      // Each call that needs the session tries by itself, and says so when it fails.
    }
  }

  #arrived(id: string): void {
    this.#came?.(id);
    this.#coming = this.#came = undefined;
  }
}

export const ScopeContext = createContext<Scope | undefined>(undefined);

/** The scope around the component. */
export function useScope(): Scope {
  const scope = useContext(ScopeContext);
  if (!scope) throw missing("SessionProvider", "there is none around the component that uses a session's hook");
  return scope;
}

function missing(what: string, advice: string): SojournError {
  return new SojournError(`${what}: ${advice}`, { code: "missing", retry: "never", written: "no", valueName: what });
}
