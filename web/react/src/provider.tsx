import { type ReactElement, type ReactNode, useEffect, useMemo, useState } from "react";
import { type ClientOptions, SojournClient, randomId } from "sojourn-client";

import type { Api, Client } from "./register.js";
import { Scope, ScopeContext } from "./scope.js";
import { HookStorage, type UseStorage } from "./storage.js";

interface Common {
  /** The page is rendered on a server first: no id there, nor in the first render of the browser. */
  readonly ssrFriendly?: boolean;
  readonly children?: ReactNode;
}

interface Given extends Common {
  /** A client of the application's own. With `ssrFriendly` it is to have the option `ssr`. */
  readonly client: Client;
}

interface Made extends Common, Omit<ClientOptions, "ssr"> {
  readonly client?: undefined;
}

interface Hooked extends Common, Omit<ClientOptions, "ssr" | "storage" | "sessionId"> {
  readonly client?: undefined;
  /** Keeps the session, in place of the cookie. */
  readonly useStorage: UseStorage;
}

/** A client, or how to make one. That is read when the provider mounts; for another session give it another `key`. */
export type SessionProviderProps = Given | (Made & { readonly useStorage?: undefined }) | Hooked;

/** Gives the components in it one session. */
export function SessionProvider(props: SessionProviderProps): ReactElement {
  if (props.client) return <GivenProvider {...props} />;
  return props.useStorage ? <HookedProvider {...props} /> : <MadeProvider {...props} />;
}

function GivenProvider({ client, ssrFriendly = false, children }: Given): ReactElement {
  const scope = useMemo(() => new Scope(client, ssrFriendly), [client, ssrFriendly]);
  return <ScopeContext.Provider value={scope}>{children}</ScopeContext.Provider>;
}

function MadeProvider({ ssrFriendly = false, children, client: _, ...options }: Made): ReactElement {
  const [scope] = useState(() => new Scope(new SojournClient<Api>({ ...options, ssr: ssrFriendly }), ssrFriendly));
  return <ScopeContext.Provider value={scope}>{children}</ScopeContext.Provider>;
}

function HookedProvider({ ssrFriendly = false, children, client: _, useStorage, ...options }: Hooked): ReactElement {
  const { storageKey = "sojourn-session", idGenerator = randomId, issued = false } = options;
  const [initial] = useState(() => (ssrFriendly || issued ? undefined : idGenerator()));
  const hook = useStorage(storageKey, initial);
  const [[storage, scope]] = useState(() => {
    const storage = new HookStorage(hook, initial);
    const client = new SojournClient<Api>({ ...options, storage, ssr: ssrFriendly });
    return [storage, new Scope(client, ssrFriendly, storage.settled)] as const;
  });
  const [isSecond, setSecond] = useState(false);
  useEffect(() => {
    if (storage.follow(hook)) scope.follow(hook[0] || undefined);
    // A hook that is made for servers reads what is stored after the first render only.
    if (isSecond) storage.settle();
    else setSecond(true);
  });
  return <ScopeContext.Provider value={scope}>{children}</ScopeContext.Provider>;
}
