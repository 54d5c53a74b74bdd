/** What happens to a page, in the words of the one who wants to know. */
export interface PageListener {
  /** It can be seen, or cannot any more. */
  seen(): void;
  /** It has got the focus or has lost it. */
  focused(): void;
  /** It is left: for ever, or kept by the browser for the way back. */
  left(isKept: boolean): void;
  /** The browser has brought it back. */
  returned(): void;
  /** The network is back. */
  online(): void;
  /** Its address has changed without loading another page. */
  moved(): void;
}

export function isSeen(): boolean {
  return document.visibilityState === "visible";
}

/** Whether somebody looks at it, as far as a browser can tell. */
export function isLookedAt(): boolean {
  return isSeen() && document.hasFocus();
}

/** Tell the listener of all that happens to this page; return what ends that. */
export function watchPage(listener: PageListener): () => void {
  const limit = new AbortController();
  const on = (target: EventTarget, type: string, heard: (event: Event) => void): void =>
    target.addEventListener(type, heard, { signal: limit.signal });
  on(document, "visibilitychange", () => listener.seen());
  on(globalThis, "focus", () => listener.focused());
  on(globalThis, "blur", () => listener.focused());
  on(globalThis, "online", () => listener.online());
  on(globalThis, "popstate", () => listener.moved());
  on(globalThis, "pagehide", (event) => listener.left((event as PageTransitionEvent).persisted));
  on(globalThis, "pageshow", (event) => {
    if ((event as PageTransitionEvent).persisted) listener.returned();
  });
  for (const name of ["pushState", "replaceState"] as const) {
    const native = history[name];
    history[name] = function (this: History, ...given): void {
      native.apply(this, given);
      // What stands here stays: somebody may have put his own around it.
      if (!limit.signal.aborted) listener.moved();
    };
  }
  return () => limit.abort();
}
