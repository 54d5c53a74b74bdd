import { invalid } from "./errors.js";

/** Every escape in JSON, whole; six characters long and of the form below it is one half of a character without the other. */
const ESCAPES = /\\(?:ud[89a-f][0-9a-f]{2}|.)/g;

/**
 * Return the JSON of what a caller gave.
 *
 * A number that is not finite is refused: JSON.stringify would make null of it. Half a character, as is left of an emoji
 * that was cut, becomes the sign for one that is damaged: servers refuse the half, and all that comes with it.
 */
export function encoded(given: unknown): string {
  const text = JSON.stringify(given, (key, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) throw invalid(key, "a number is finite");
    return value;
  });
  return text.replace(ESCAPES, (escape) => (escape.length === 6 ? "\ufffd" : escape));
}

/** Return the JSON of what a caller gave, with the keys of objects in order: equal values have equal texts. */
export function canonical(given: unknown): string {
  return encoded(sorted(JSON.parse(encoded(given))));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(members.map(([key, member]) => [key, sorted(member)]));
}

/** Return a copy, so that what is changed later is not sent by chance; undefined is nothing, and stays that. */
export function copied(name: string, given: unknown, mostBytes: number): unknown {
  if (given === undefined) return undefined;
  const text = encoded(given);
  if (bytesOf(text) > mostBytes) throw invalid(name, `it has over ${mostBytes} bytes`);
  return JSON.parse(text);
}

export function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}
