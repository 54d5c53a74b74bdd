import { useCallback, useMemo, useSyncExternalStore } from "react";
import { type QueryState, type RestOrSkip, SKIP, type SojournError } from "sojourn-client";

import type { Api, QueryName, Result } from "./register.js";
import { useScope } from "./scope.js";

const LOADING: QueryState<never> = { status: "loading" };

/** What says nothing of a query: the store is away, or the page is older than the server. What is shown may stay. */
const ELSEWHERE = ["unavailable", "protocol_unsupported"];

/** Whether an error is reason enough to take away what is shown. */
export function isRaised(error: SojournError, isShown: boolean): boolean {
  return !isShown || !ELSEWHERE.includes(error.code);
}

/** The result of a query, always the present one; undefined while it loads or is skipped. Throws what the query raised. */
export function useSessionQuery<Name extends QueryName>(
  name: Name,
  ...rest: RestOrSkip<Api[Name]>
): Result<Name> | undefined {
  const state = useSessionQueryState(name, ...rest);
  if (state.status === "error" && isRaised(state.error, state.value !== undefined)) throw state.error;
  return state.value;
}

/** What a query is now: loading, a value, or an error, which throws nothing and gives way to a value by itself. */
export function useSessionQueryState<Name extends QueryName>(
  name: Name,
  ...[args]: RestOrSkip<Api[Name]>
): QueryState<Result<Name>> {
  const scope = useScope();
  // The arguments are new objects in each render, but the same text.
  const live = useMemo(
    () => scope.client.watch(name, ...([args] as RestOrSkip<Api[Name]>)),
    [scope, name, JSON.stringify(args)],
  );
  const subscribe = useCallback(
    (listener: () => void) => {
      if (args !== SKIP) scope.open();
      return live.onChange(listener);
    },
    [scope, live],
  );
  return useSyncExternalStore(
    subscribe,
    () => live.state,
    () => LOADING,
  );
}
