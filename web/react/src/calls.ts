import { useMemo } from "react";
import type { CallOptions, MutationOptions, Rest } from "sojourn-client";

import type { ActionName, Api, Args, MutationName, Result } from "./register.js";
import { type Scope, useScope } from "./scope.js";

type Options<Name extends MutationName> = Omit<MutationOptions<Api, Args<Name>>, "optimistic">;

/** Shows the effect of a mutation at once; see the client's `Local`. */
export type OptimisticUpdate<Name extends MutationName> = NonNullable<
  MutationOptions<Api, Args<Name>>["optimistic"]
>;

/** Calls a mutation. */
export type MutationCall<Name extends MutationName> = (
  ...rest: Rest<Api[Name], Options<Name>>
) => Promise<Result<Name>>;

/** Calls a mutation, or makes what calls it with an update that is shown at once. */
export interface SessionMutation<Name extends MutationName> extends MutationCall<Name> {
  /** The same call for the same update. */
  withOptimisticUpdate(update: OptimisticUpdate<Name>): MutationCall<Name>;
}

/** Calls an action. */
export type ActionCall<Name extends ActionName> = (...rest: Rest<Api[Name], CallOptions>) => Promise<Result<Name>>;

/** What calls a mutation as the session. It is the same in each render. */
export function useSessionMutation<Name extends MutationName>(name: Name): SessionMutation<Name> {
  const scope = useScope();
  return useMemo(() => mutationOf(scope, name), [scope, name]);
}

/** What calls an action as the session. It is the same in each render. */
export function useSessionAction<Name extends ActionName>(name: Name): ActionCall<Name> {
  const scope = useScope();
  return useMemo(
    () =>
      async (...rest) => {
        scope.open();
        return scope.client.action(name, ...rest);
      },
    [scope, name],
  );
}

function mutationOf<Name extends MutationName>(scope: Scope, name: Name): SessionMutation<Name> {
  const calling =
    (update?: OptimisticUpdate<Name>): MutationCall<Name> =>
    async (...[args, options]) => {
      scope.open();
      const all = update ? { ...options, optimistic: update } : options;
      const rest = [args, all] as unknown as Rest<Api[Name], MutationOptions<Api, Args<Name>>>;
      return scope.client.mutation(name, ...rest);
    };
  const made = new WeakMap<OptimisticUpdate<Name>, MutationCall<Name>>();
  const withOptimisticUpdate = (update: OptimisticUpdate<Name>): MutationCall<Name> => {
    const call = made.get(update) ?? calling(update);
    made.set(update, call);
    return call;
  };
  return Object.assign(calling(), { withOptimisticUpdate });
}
