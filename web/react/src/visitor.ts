import { useCallback, useMemo, useSyncExternalStore } from "react";
import { type Consent, SojournTracker, type TrackOptions, type TrackerOptions } from "sojourn-client";

/** How a visitor is tracked: a tracker's options, with the pause between two heartbeats under the name it has in React. */
export interface SessionTrackerProps extends Omit<TrackerOptions, "ssr" | "heartbeatMs"> {
  /** In milliseconds, in place of the server's. */
  readonly heartbeatInterval?: number;
}

/** The visitor of this page. */
export interface SessionTracking {
  /** The visitor's id; undefined where there is none: in the first render, without consent, or without cookies. */
  readonly id: string | undefined;
  /** Record an action, once. What is recorded before the component has mounted, or without a network, waits. */
  readonly trackUserAction: (action: string, options?: TrackOptions) => void;
  /** Whether the visitor may be tracked; undefined in the first render. */
  readonly consent: Consent | undefined;
  /** Say so, for all tabs. A browser's own signal against it counts for more. */
  readonly setConsent: (said: Consent) => void;
}

/** One visitor of one server, tracked as long as a component asks for that. */
class Visitor {
  readonly tracker: SojournTracker;
  readonly #listeners = new Set<() => void>();
  #limit: AbortController | undefined;

  constructor({ heartbeatInterval, ...options }: SessionTrackerProps) {
    const beat = heartbeatInterval === undefined ? {} : { heartbeatMs: heartbeatInterval };
    this.tracker = new SojournTracker({ ...options, ...beat, ssr: true });
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#start();
    return () => {
      this.#listeners.delete(listener);
      // Not now: the next page may have a tracker too, and React mounts twice in its strict mode.
      queueMicrotask(() => this.#stop());
    };
  }

  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #start(): void {
    if (this.#limit) return;
    this.#limit = new AbortController();
    this.tracker.start();
    const { signal } = this.#limit;
    // Another tab has said something about consent; and a page that was loaded ahead begins when it is shown.
    globalThis.addEventListener("storage", () => this.tell(), { signal });
    document.addEventListener("prerenderingchange", () => this.tell(), { signal });
  }

  #stop(): void {
    if (this.#listeners.size) return;
    this.#limit?.abort();
    this.#limit = undefined;
    this.tracker.stop();
  }
}

/** All of one server and one key are one visitor, which beats once. */
const visitors = new Map<string, Visitor>();

/** Tell the server that the visitor is here and what it does, as long as the component is mounted. */
export function useSessionTracker(options: SessionTrackerProps = {}): SessionTracking {
  const name = nameOf(options);
  const id = useVisitor(options, idOf);
  const consent = useVisitor(options, consentOf);
  return useMemo(
    () => ({
      id,
      consent,
      trackUserAction: (action, more) => visitorOf(name, options).tracker.track(action, more),
      setConsent: (said) => {
        const visitor = visitorOf(name, options);
        visitor.tracker.consent(said);
        visitor.tell();
      },
    }),
    [id, consent, name],
  );
}

/** The same as a component, which shows nothing. */
export function SessionTracker(props: SessionTrackerProps): null {
  useVisitor(props, idOf);
  return null;
}

/** The visitor's id alone. */
export function useAnonymousId(options: SessionTrackerProps = {}): string | undefined {
  return useVisitor(options, idOf);
}

function idOf({ tracker }: Visitor): string | undefined {
  return tracker.visitorId;
}

function consentOf({ tracker }: Visitor): Consent {
  return tracker.consent();
}

/** Track the visitor, and follow something of it, which is undefined on a server. */
function useVisitor<Fact>(options: SessionTrackerProps, factOf: (visitor: Visitor) => Fact): Fact | undefined {
  const name = nameOf(options);
  return useSyncExternalStore(
    useCallback((listener) => visitorOf(name, options).onChange(listener), [name]),
    () => {
      const visitor = visitors.get(name);
      return visitor && factOf(visitor);
    },
    () => undefined,
  );
}

function nameOf({ url = "", storageKey = "" }: SessionTrackerProps): string {
  return `${url} ${storageKey}`;
}

function visitorOf(name: string, options: SessionTrackerProps): Visitor {
  let visitor = visitors.get(name);
  if (!visitor) visitors.set(name, (visitor = new Visitor(options)));
  return visitor;
}
