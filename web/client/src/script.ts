// A classic script cannot export, and `import "/sojourn.js"` gives a module's names to nobody: so both read this.
import { SojournClient } from "./client.js";
import { SojournError } from "./errors.js";
import { SojournTracker } from "./tracker.js";
import { SKIP } from "./types.js";

/** The tracker that the script's own tag asks for: `<script src="/sojourn.js" data-track></script>` is the whole set-up. */
function asked(): SojournTracker | undefined {
  const tag = (globalThis as { document?: Document }).document?.currentScript as HTMLScriptElement | null | undefined;
  if (tag?.dataset?.["track"] === undefined) return undefined;
  const { interval, consent, cookieless } = tag.dataset;
  return new SojournTracker({
    url: new URL(tag.src).origin,
    cookieless: cookieless !== undefined,
    ...(interval ? { heartbeatMs: Number(interval) * 1_000 } : {}),
    ...(consent === "required" ? { consent } : {}),
  });
}

Object.assign(globalThis, { sojourn: { SKIP, SojournClient, SojournError, SojournTracker, tracker: asked() } });
