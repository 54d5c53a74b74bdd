import { useCallback, useEffect, useSyncExternalStore } from "react";
import type { StorageLike } from "sojourn-client";

/** What a storage hook gives: the value, what stores another, and perhaps what removes it. */
export type Stored = readonly [
  value: string | null | undefined,
  set: (value: string) => void,
  remove?: (() => void) | undefined,
  ...more: unknown[],
];

/** A hook that keeps a text under a key; `initial` is the value where nothing is stored. */
export type UseStorage = (key: string, initial: string | undefined) => Stored;

/** What the storage refused, blocked by the user or full: it then ends with the page, and the page works. */
const refused = new Map<string, string>();
const listeners = new Set<() => void>();

/** Keep a text in the storage of this tab, by which it survives a reload. Components with the same key share it. */
export function useSessionStorage(
  key: string,
  initial?: string,
): readonly [value: string | undefined, set: (value: string) => void, remove: () => void] {
  const value = useSyncExternalStore(
    listen,
    () => read(key) ?? initial,
    () => initial,
  );
  useEffect(() => {
    if (initial !== undefined && read(key) === undefined) write(key, initial);
  }, [key, initial]);
  const set = useCallback((text: string) => write(key, text), [key]);
  const remove = useCallback(() => write(key, undefined), [key]);
  return [value, set, remove];
}

function listen(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function read(key: string): string | undefined {
  try {
    return refused.get(key) ?? sessionStorage.getItem(key) ?? undefined;
  } catch {
    return undefined;
  }
}

function write(key: string, value: string | undefined): void {
  refused.delete(key);
  try {
    if (value === undefined) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    if (value !== undefined) refused.set(key, value);
  }
  for (const listener of listeners) listener();
}

/** What a storage hook keeps, as a storage that can be read and written between renders. */
export class HookStorage implements StorageLike {
  #value: string | undefined;
  /** What the hook said last. */
  #said: string | undefined;
  #hook: Stored | undefined;
  #isSaved: boolean;
  /** Nobody need wait any longer for what the hook may still find. */
  settle!: () => void;
  readonly settled = new Promise<void>((resolve) => (this.settle = resolve));

  constructor([value]: Stored, initial: string | undefined) {
    this.#said = value || undefined;
    this.#value = this.#said ?? initial;
    this.#isSaved = this.#value === undefined;
  }

  getItem(): string | null {
    return this.#value ?? null;
  }

  setItem(_key: string, value: string): void {
    this.#change(value);
  }

  removeItem(): void {
    this.#change(undefined);
  }

  /** Keep in step with the hook, after each render. Say whether it brought another value than was written here. */
  follow(hook: Stored): boolean {
    this.#hook = hook;
    // Many hooks do not store the value that they were given to begin with.
    this.#save();
    const value = hook[0] || undefined;
    if (value === this.#said) return false;
    this.#said = value;
    if (value === this.#value) return false;
    this.#value = value;
    return true;
  }

  #change(value: string | undefined): void {
    this.#value = value;
    this.#isSaved = false;
    // Not now: it may be in the midst of a render, in which no state may be set.
    queueMicrotask(() => this.#save());
  }

  #save(): void {
    if (this.#isSaved || !this.#hook) return;
    this.#isSaved = true;
    const [, set, remove] = this.#hook;
    if (this.#value === undefined && remove) remove();
    else set(this.#value ?? "");
  }
}
