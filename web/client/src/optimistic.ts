import { invalid } from "./errors.js";
import { isObject } from "./transport.js";
import type { AnyApi, ArgsOf, NameOf, Rest, ResultOf } from "./types.js";

/** What the page shows of the queries it watches, for an optimistic update to read and to change. */
export interface Local<Api extends object = AnyApi> {
  /** What is shown of a query; undefined if that is no value, or if it is not watched. */
  get<Name extends NameOf<Api, "query">>(name: Name, ...[args]: Rest<Api[Name]>): ResultOf<Api[Name]> | undefined;
  /** Show another value, a new one: what `get` gave is not changed. Undefined shows it as loading. */
  set<Name extends NameOf<Api, "query">>(
    name: Name,
    args: ArgsOf<Api[Name]>,
    value: ResultOf<Api[Name]> | undefined,
  ): void;
}

/** What one mutation, which is under way, shows of its effect in advance. */
export type Layer = (local: Local) => unknown;

/** What the queries of a page are by the server. */
export interface Shown {
  /** By what a query is known; undefined if it is not watched. */
  keyOf(name: string, args: object | undefined): string | undefined;
  /** Its value by the server, if it has one. */
  valueOf(key: string): unknown;
}

/** What is shown in place of the server's values, by key; undefined stands for loading. */
export type Overlay = ReadonlyMap<string, unknown>;

/** Lays what mutations show in advance over what the server has said, in the order of the mutations. */
export class Optimistic {
  readonly #shown: Shown;
  readonly #layers = new Set<Layer>();
  #overlay: Overlay = new Map();

  constructor(shown: Shown) {
    this.#shown = shown;
  }

  get overlay(): Overlay {
    return this.#overlay;
  }

  /** Lay one on top. One that fails is not, and its error is the caller's. */
  add(layer: Layer): void {
    this.#overlay = this.#over(this.#overlay, layer);
    this.#layers.add(layer);
  }

  has(layer: Layer): boolean {
    return this.#layers.has(layer);
  }

  /** Take one away; say whether it was there. What lies above it is then made anew, by `replay`. */
  drop(layer: Layer): boolean {
    return this.#layers.delete(layer);
  }

  /** Make it anew over what the server says now. One that fails on that is dropped, and reported by the browser. */
  replay(): void {
    this.#overlay = new Map();
    for (const layer of this.#layers) {
      try {
        this.#overlay = this.#over(this.#overlay, layer);
      } catch (error) {
        this.#layers.delete(layer);
        void Promise.reject(error);
      }
    }
  }

  #over(below: Overlay, layer: Layer): Overlay {
    const overlay = new Map(below);
    const local: Local = {
      get: (name, args?: object) => {
        const key = this.#shown.keyOf(name, args);
        if (key === undefined) return undefined;
        return overlay.has(key) ? overlay.get(key) : this.#shown.valueOf(key);
      },
      set: (name, args, value) => {
        const key = this.#shown.keyOf(name, args);
        if (key !== undefined) overlay.set(key, value);
      },
    };
    const returned = layer(local);
    if (isObject(returned) && typeof returned["then"] === "function") {
      Promise.resolve(returned).catch(() => undefined);
      throw invalid("optimistic", "an update is shown at once, so it returns no promise");
    }
    return overlay;
  }
}
