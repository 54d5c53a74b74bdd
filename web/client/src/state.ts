import type { SojournError } from "./errors.js";

/** What a query is now. An error keeps the last value, if there was one. */
export type QueryState<Result = unknown> =
  | { readonly status: "loading"; readonly value?: undefined; readonly error?: undefined }
  | { readonly status: "value"; readonly value: Result; readonly error?: undefined }
  | { readonly status: "error"; readonly value?: Result; readonly error: SojournError };

export const LOADING: QueryState = { status: "loading" };

/** The value that a state has; undefined if it is none. */
export function valueOf({ status, value }: QueryState): unknown {
  return status === "value" ? value : undefined;
}

/** The state in which a value is shown; undefined stands for loading. */
export function stateOf(value: unknown): QueryState {
  return value === undefined ? LOADING : { status: "value", value };
}

/** The state after an error. The last value stays beside it. */
export function failed({ value }: QueryState, error: SojournError): QueryState {
  return { status: "error", error, ...(value === undefined ? {} : { value }) };
}

/** Whether there is nothing to tell: after a new connection most of what comes is what was there. */
export function isSame(one: QueryState, other: QueryState): boolean {
  if (one === other) return true;
  return one.status === "value" && other.status === "value" && JSON.stringify(one.value) === JSON.stringify(other.value);
}
