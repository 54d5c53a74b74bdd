import { randomId } from "./ids.js";
import { Slot, type StorageLike } from "./storage.js";
import { type Turn, taken } from "./turn.js";

/** The pages whose session storage is known to be their own or not, each by its storage and key. */
const pages = new WeakMap<StorageLike, Map<string, Promise<boolean>>>();

/**
 * Say whether the session storage of this tab is a copy of another's, which is still there.
 *
 * A browser copies it when a tab is duplicated or opens another. So each tab has a name in it, and holds the turn of that
 * name: whoever finds the turn taken is the copy, and takes a name of its own. Where browsers have no locks nobody knows.
 * A frame has the storage of its page, and is no copy.
 */
export async function isCopy(key: string): Promise<boolean> {
  const { navigator, parent } = globalThis as { navigator?: { locks?: LockManager }; parent?: unknown };
  if (!navigator?.locks || (parent !== undefined && parent !== globalThis)) return false;
  const storage: StorageLike = sessionStorage;
  const known = pages.get(storage) ?? new Map<string, Promise<boolean>>();
  pages.set(storage, known);
  const found = known.get(key) ?? settle(new Slot(storage, key));
  known.set(key, found);
  return found;
}

async function settle(slot: Slot): Promise<boolean> {
  const name = slot.read() ?? randomId();
  slot.write(name);
  const turn = await taken(nameOf(name));
  if (turn) {
    hold(turn, nameOf(name));
    return false;
  }
  slot.remove();
  await settle(slot);
  return true;
}

/** Hold it as long as the page is there; a page that holds one cannot be kept by the browser for a way back. */
function hold(turn: Turn, name: string): void {
  globalThis.addEventListener?.("pagehide", () => turn.drop());
  globalThis.addEventListener?.("pageshow", () => turn.want(name));
}

function nameOf(name: string): string {
  return `sojourn tab ${name}`;
}
