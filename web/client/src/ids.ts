import { invalid, missing } from "./errors.js";

/** What servers take as a client-minted id, and what an issued token looks like too. */
const FORM = /^[\w.-]{22,128}$/;

/** Say whether a text can be an id. Anything else in a storage, such as an old bug's "undefined", is none. */
export function isId(text: unknown): text is string {
  return typeof text === "string" && FORM.test(text);
}

/** Return the id, if it is one. */
export function checkedId(name: string, id: string): string {
  if (!isId(id)) throw invalid(name, "an id is 22 to 128 of A-Z a-z 0-9 _ . -");
  return id;
}

/**
 * Make an id of 128 random bits.
 *
 * Not crypto.randomUUID: it has 6 bits less, and browsers withhold it from pages that came over plain HTTP.
 */
export function randomId(): string {
  const source = (globalThis as { crypto?: Partial<Crypto> }).crypto;
  if (typeof source?.getRandomValues !== "function") {
    throw missing("crypto", "there is no source of randomness here; pass sessionId or idGenerator, and a requestId");
  }
  const bytes = source.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
