import { randomId } from "./ids.js";
import { isObject } from "./transport.js";

/**
 * Knows of the other tabs that have the same visitor, hidden ones too.
 *
 * A tab that crashed says no goodbye and stays counted: then nobody tells the server of the leaving, and the visitor's
 * activity just expires.
 */
export class Peers {
  readonly #others = new Set<string>();
  #channel: BroadcastChannel | undefined;
  #self = "";

  /** Whether no other tab is known. Where tabs cannot hear of each other nobody can say that. */
  get isAlone(): boolean {
    return this.#channel !== undefined && this.#others.size === 0;
  }

  open(name: string): void {
    if (this.#channel || typeof BroadcastChannel === "undefined") return;
    this.#self = randomId();
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => this.#hear(data);
    this.#say("hello");
  }

  /** Say goodbye. The channel is closed, or the browser could not keep the page for a way back. */
  close(): void {
    this.#say("bye");
    this.#channel?.close();
    this.#channel = undefined;
    this.#others.clear();
  }

  #hear(message: unknown): void {
    if (!isObject(message) || typeof message["tab"] !== "string") return;
    const { tab, says } = message as { tab: string; says?: unknown };
    if (says === "bye") this.#others.delete(tab);
    else this.#others.add(tab);
    if (says === "hello") this.#say("here");
  }

  #say(says: "hello" | "here" | "bye"): void {
    this.#channel?.postMessage({ says, tab: this.#self });
  }
}
