import { invalid, missing } from "./errors.js";
import { isId } from "./ids.js";

/** As much of Web Storage as is needed. */
export interface StorageLike {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem?(key: string): void;
}

/** Where something is kept: by the server in its cookie, or in a storage. */
export type StorageKind = "cookie" | "session" | "local" | StorageLike;

/**
 * One value of a storage. The storage is read each time, so that all who share it agree.
 *
 * Where a storage is there but refuses (blocked by the user, or full), the value is kept in memory instead: it then ends
 * with the page, and the page works.
 */
export class Slot {
  readonly #storage: StorageLike | undefined;
  readonly #key: string;
  readonly #isValid: (text: string) => boolean;
  #held: string | undefined;
  #isGiven: boolean;

  /**
   * `given` counts in place of what is stored, which stays as it is, until something is written. What is stored and not
   * `isValid` counts as nothing.
   */
  constructor(
    kind: Exclude<StorageKind, "cookie">,
    key: string,
    given?: string,
    isValid: (text: string) => boolean = isId,
  ) {
    this.#storage = found(kind);
    this.#key = key;
    this.#isValid = isValid;
    this.#held = given;
    this.#isGiven = given !== undefined;
  }

  /** Whether the value is the one given at construction. */
  get isGiven(): boolean {
    return this.#isGiven;
  }

  read(): string | undefined {
    if (this.#held !== undefined) return this.#held;
    try {
      const stored = this.#storage?.getItem(this.#key);
      return typeof stored === "string" && this.#isValid(stored) ? stored : undefined;
    } catch {
      return undefined;
    }
  }

  write(value: string): void {
    this.#isGiven = false;
    this.#held = value;
    try {
      if (this.#storage === undefined) return;
      this.#storage.setItem(this.#key, value);
      this.#held = undefined;
    } catch {
      // It stays in memory.
    }
  }

  remove(): void {
    this.#isGiven = false;
    this.#held = undefined;
    try {
      if (this.#storage?.removeItem) this.#storage.removeItem(this.#key);
      else this.#storage?.setItem(this.#key, "");
    } catch {
      // What cannot be written cannot have been stored by this page either.
    }
  }

  /** Call back when another tab has changed the value; return what ends that. */
  watch(changed: () => void): () => void {
    const listener = (event: StorageEvent): void => {
      // A key of null says that the whole storage was cleared.
      if (event.storageArea === this.#storage && (event.key === this.#key || event.key === null)) changed();
    };
    globalThis.addEventListener?.("storage", listener);
    return () => globalThis.removeEventListener?.("storage", listener);
  }
}

/** Return the storage asked for; undefined where the user has blocked it. */
function found(kind: Exclude<StorageKind, "cookie">): StorageLike | undefined {
  if (typeof kind === "object") return kind;
  if (kind !== "session" && kind !== "local")
    throw invalid("storage", 'it is "cookie", "session", "local" or an object');
  const name = kind === "session" ? "sessionStorage" : "localStorage";
  let storage: StorageLike | undefined;
  try {
    storage = (globalThis as { [key in typeof name]?: StorageLike })[name];
  } catch {
    return undefined;
  }
  if (!storage)
    throw missing(name, "it is only there in a browser; pass another storage, or ssr: true and start() later");
  return storage;
}
