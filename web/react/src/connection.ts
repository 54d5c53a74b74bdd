import { useCallback, useSyncExternalStore } from "react";
import type { ConnectionState } from "sojourn-client";

import { useScope } from "./scope.js";

/** How it stands with the connection over which the session's queries come. */
export function useConnectionState(): ConnectionState {
  const { connection } = useScope().client;
  return useSyncExternalStore(
    useCallback((listener) => connection.onChange(listener), [connection]),
    () => connection.state,
    () => "idle",
  );
}
