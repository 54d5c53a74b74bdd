import { useEffect, useMemo, useSyncExternalStore } from "react";
import { SKIP } from "sojourn-client";

import type { Client } from "./register.js";
import { useScope } from "./scope.js";

/** The id, what gives the session another one, and a promise of the id where there is none yet. */
export type SessionId = readonly [id: string | undefined, refresh: Client["refreshSessionId"], promise: Promise<string>];

/** The id of the session, which begins now if it has not. It is undefined until then, and in what a server renders. */
export function useSessionId(): SessionId {
  const scope = useScope();
  const id = useId();
  useEffect(() => {
    if (id === undefined) scope.begin();
  }, [scope, id]);
  const promise = useMemo(() => (id === undefined ? scope.coming : Promise.resolve(id)), [scope, id]);
  return [id, scope.refresh, promise];
}

/** The arguments and the session's id, to know what belongs to the session; SKIP while there is no id. */
export function useSessionIdArg<Args extends object>(
  args: Args | typeof SKIP,
): (Args & { readonly sessionId: string }) | typeof SKIP {
  const [sessionId] = useSessionId();
  return args === SKIP || sessionId === undefined ? SKIP : { ...(args as Args), sessionId };
}

/** The client, for all that has no hook. */
export function useSojournClient(): Client {
  const scope = useScope();
  useEffect(() => scope.open(), [scope]);
  return scope.client;
}

function useId(): string | undefined {
  const { onChange, id, serverId } = useScope();
  return useSyncExternalStore(onChange, id, serverId);
}
