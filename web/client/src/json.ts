import { invalid } from "./errors.js";

/** Return the JSON of what a caller gave. A number that is not finite is refused: JSON.stringify would make null of it. */
export function encoded(given: unknown): string {
  return JSON.stringify(given, (key, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) throw invalid(key, "a number is finite");
    return value;
  });
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
