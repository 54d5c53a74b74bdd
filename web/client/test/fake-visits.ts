// What a tracker meets: a page, the browser's locks, and a server of visits in memory.
import { afterEach, beforeEach, vi } from "vitest";

import { type Fault, FakeStorage, json, refusal, settled } from "./fake.js";

export interface Told {
  readonly route: string;
  readonly body: Record<string, unknown>;
  readonly by: "fetch" | "beacon" | "keepalive";
  readonly at: number;
}

interface Reported {
  sequence: number;
  at: number;
  action?: string;
  resource_id?: string;
  metadata?: unknown;
  engaged_ms?: number;
}

/** As much of the routes of visits and rooms as a browser can see. */
export class VisitServer {
  readonly told: Told[] = [];
  /** What was recorded, each once. */
  readonly recorded: (Reported & { client: string; visitor: string | undefined })[] = [];
  readonly active = new Set<string | undefined>();
  /** The members of rooms by tab, with what they show. */
  readonly tabs = new Map<string, { token: string; room: string; visitor: string; data: unknown }>();
  tracked = true;
  interval_ms = 60_000;
  /** How many bytes of beacons the browser takes until `settle()`. */
  room = 65_536;
  readonly #highest = new Map<string, number>();
  readonly #faults: { route: string; fault: Fault }[] = [];
  /** Whether the network loses beacons, which nobody notices. */
  losesBeacons = false;
  #made = 0;

  next(route: string, ...faults: Fault[]): void {
    for (const fault of faults) this.#faults.push({ route, fault });
  }

  calls(route: string): Told[] {
    return this.told.filter((each) => each.route === route);
  }

  /** The names of the actions that were recorded. */
  get actions(): (string | undefined)[] {
    return this.recorded.map(({ action }) => action);
  }

  readonly fetch: typeof fetch = async (input, init = {}) => {
    const route = String(input).replace("https://shop.example", "");
    const body = JSON.parse(init.body as string) as Record<string, unknown>;
    this.told.push({ route, body, by: init.keepalive ? "keepalive" : "fetch", at: Date.now() });
    const index = this.#faults.findIndex((each) => each.route === route);
    const answer = (): Response => this.#answer(route, body);
    return index < 0 ? answer() : this.#faults.splice(index, 1)[0]!.fault(answer, init.signal as AbortSignal);
  };

  readonly sendBeacon = (url: string, text: string): boolean => {
    if (text.length > this.room) return false;
    this.room -= text.length;
    const body = JSON.parse(text) as Record<string, unknown>;
    this.told.push({ route: url, body, by: "beacon", at: Date.now() });
    if (!this.losesBeacons) this.#answer(url, body);
    return true;
  };

  #answer(route: string, body: Record<string, unknown>): Response {
    const visitor = body["visitor"] as string | undefined;
    const { tracked, interval_ms } = this;
    switch (route) {
      case "/visit":
        if (tracked) this.active.add(visitor);
        return json({ tracked, interval_ms });
      case "/visit/leave":
        this.active.delete(visitor);
        return json({ left: true });
      case "/visit/actions":
        return json(tracked ? { tracked, ...this.#record(visitor, body) } : { tracked });
      case "/presence":
        return this.#sit(body as { room: string; tab: string; visitor: string; token?: string; data?: unknown });
      case "/presence/leave":
        for (const [tab, { token }] of this.tabs) if (token === body["token"]) this.tabs.delete(tab);
        return json({ left: true });
      default:
        return refusal("route_unknown", 404);
    }
  }

  #record(visitor: string | undefined, body: Record<string, unknown>): object {
    const { client, actions, leaving } = body as { client: string; actions: Reported[]; leaving?: boolean };
    this.active.add(visitor);
    let accepted = 0;
    for (const action of actions) {
      if (action.sequence <= (this.#highest.get(client) ?? 0)) continue;
      this.#highest.set(client, action.sequence);
      this.recorded.push({ ...action, client, visitor });
      accepted++;
    }
    if (leaving) this.active.delete(visitor);
    return { accepted, repeated: actions.length - accepted, refused: [] };
  }

  #sit(body: { room: string; tab: string; visitor: string; token?: string; data?: unknown }): Response {
    const { tracked, interval_ms } = this;
    if (!tracked) return json({ tracked, token: null, interval_ms });
    const { room, tab, visitor, data } = body;
    const found = this.tabs.get(tab);
    if (found && found.visitor !== visitor) return refusal("invalid", 400);
    const token = found && found.token === body.token ? found.token : `token-${++this.#made}`;
    this.tabs.set(tab, { token, room, visitor, data: data === undefined ? found?.data : data });
    return json({ tracked, token, interval_ms });
  }
}

/** A browser's locks: each name is held by one, the others wait in order. */
export class FakeLocks {
  readonly #last = new Map<string, Promise<unknown>>();

  request(name: string, { signal }: { signal: AbortSignal }, task: () => unknown): Promise<unknown> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const turn = before.then(() => (signal.aborted ? undefined : task()));
    this.#last.set(name, turn);
    const givenUp = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    return Promise.race([turn, givenUp]);
  }
}

/** One page in a browser: what is seen, focused, left and brought back. */
export class FakePage extends EventTarget {
  readonly document = Object.assign(new EventTarget(), {
    visibilityState: "visible",
    referrer: "",
    prerendering: false,
    hasFocus: () => this.isFocused,
  });
  readonly location = { href: "https://shop.example/", pathname: "/" };
  readonly history = {
    pushState: (_: unknown, __: string, path: string): void => void (this.location.pathname = path),
    replaceState: (_: unknown, __: string, path: string): void => void (this.location.pathname = path),
  };
  isFocused = true;

  see(isSeen: boolean): void {
    this.document.visibilityState = isSeen ? "visible" : "hidden";
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  focus(isFocused: boolean): void {
    this.isFocused = isFocused;
    this.dispatchEvent(new Event(isFocused ? "focus" : "blur"));
  }

  hear(type: string, more: object = {}): void {
    this.dispatchEvent(Object.assign(new Event(type), more));
  }

  /** Leave it as browsers do: first it is told, then it is hidden. */
  leave(persisted = false): void {
    this.hear("pagehide", { persisted });
    this.see(false);
  }

  /** Come back by the browser's button. */
  comeBack(): void {
    this.see(true);
    this.hear("pageshow", { persisted: true });
  }
}

/** What a test of a tracker works with, made anew for each. */
export interface World {
  page: FakePage;
  server: VisitServer;
  storage: FakeStorage;
  navigator: Record<string, unknown>;
}

/** Give each test a page, a server and a clock of its own. */
export function freshPage(): World {
  const world = {} as World;
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_800_000_000_000 });
    vi.spyOn(Math, "random").mockReturnValue(0);
    world.server = new VisitServer();
    world.storage = new FakeStorage();
    world.navigator = { sendBeacon: world.server.sendBeacon };
    vi.stubGlobal("navigator", world.navigator);
    vi.stubGlobal("localStorage", world.storage);
    vi.stubGlobal("BroadcastChannel", FakeChannel);
    vi.stubGlobal("fetch", world.server.fetch);
    openPage(world);
  });
  afterEach(async () => {
    FakeChannel.all.clear();
    vi.useRealTimers();
    await settled(); // what this test's trackers are about is not the next one's
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });
  return world;
}

/** Go on with another page of the same browser; the one before hears nothing any more. */
export function openPage(world: World): void {
  world.page = new FakePage();
  vi.stubGlobal("document", world.page.document);
  vi.stubGlobal("location", world.page.location);
  vi.stubGlobal("history", world.page.history);
  for (const name of ["addEventListener", "removeEventListener", "dispatchEvent"] as const) {
    vi.stubGlobal(name, world.page[name].bind(world.page));
  }
}

/** A channel that delivers at once. */
export class FakeChannel {
  static readonly all = new Set<FakeChannel>();
  readonly name: string;
  onmessage: ((event: { data: unknown }) => void) | undefined;

  constructor(name: string) {
    this.name = name;
    FakeChannel.all.add(this);
  }

  postMessage(data: unknown): void {
    for (const other of FakeChannel.all) if (other !== this && other.name === this.name) other.onmessage?.({ data });
  }

  close(): void {
    FakeChannel.all.delete(this);
  }
}

/** Let so much time pass. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}
