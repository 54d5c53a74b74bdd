// Where components are shown, in React's strict mode; what React or a component says on the console fails the test.
import { Component, type ReactNode, StrictMode, act } from "react";
import { type Root, createRoot, hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { type MockInstance, afterEach, beforeEach, expect, vi } from "vitest";

import { settled } from "../../client/test/fake.js";
import "./shop.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

/** One place in the page, and what is shown there. */
export class Stage {
  readonly place = document.createElement("main");
  /** What was thrown in a render, until the next `show`; nothing is shown then. Also what did not fit in a hydration. */
  readonly errors: unknown[] = [];
  #root: Root | undefined;

  /** Show it, and let what follows from that happen. */
  async show(node: ReactNode): Promise<void> {
    await this.#acting(() => {
      this.#root ??= createRoot(this.place, { onCaughtError: () => undefined });
      this.#root.render(this.#framed(node));
    });
  }

  /** Show what a server rendered, and then let the browser take it over. */
  async hydrate(node: ReactNode): Promise<void> {
    await this.#acting(() => {
      this.#root = hydrateRoot(this.place, this.#framed(node), { onRecoverableError: (error) => this.errors.push(error) });
    });
  }

  async leave(): Promise<void> {
    await this.#acting(() => this.#root?.unmount());
    this.#root = undefined;
  }

  get text(): string {
    return this.place.textContent ?? "";
  }

  #framed(node: ReactNode): ReactNode {
    const frame = <Frame heard={(error) => this.errors.push(error)}>{node}</Frame>;
    return <StrictMode>{frame}</StrictMode>;
  }

  async #acting(task: () => void): Promise<void> {
    await act(async () => {
      task();
      await settled();
    });
  }
}

/** Takes errors, and tries again with what it is given next. */
class Frame extends Component<{ heard: (error: unknown) => void; children: ReactNode }, { isBroken: boolean }> {
  override state = { isBroken: false };

  static getDerivedStateFromError(): { isBroken: boolean } {
    return { isBroken: true };
  }

  override componentDidCatch(error: unknown): void {
    this.props.heard(error);
  }

  override componentDidUpdate(before: { children: ReactNode }): void {
    if (this.state.isBroken && before.children !== this.props.children) this.setState({ isBroken: false });
  }

  override render(): ReactNode {
    return this.state.isBroken ? null : this.props.children;
  }
}

/** Do something outside of React, and let what follows from it be shown. */
export async function doing<T>(task: () => T | Promise<T>): Promise<T> {
  return act(async () => {
    const done = await task();
    await settled();
    return done;
  });
}

/** What a server sends: no effect runs, and there is no storage. */
export function rendered(node: ReactNode): string {
  vi.stubGlobal("sessionStorage", undefined);
  vi.stubGlobal("localStorage", undefined);
  try {
    return renderToString(<StrictMode>{node}</StrictMode>);
  } finally {
    vi.unstubAllGlobals();
  }
}

/** Give each test a page with empty storages. */
export function freshPage(): () => Stage {
  const stages: Stage[] = [];
  let said: MockInstance[] = [];
  beforeEach(() => {
    sessionStorage.clear();
    localStorage.clear();
    said = [vi.spyOn(console, "error"), vi.spyOn(console, "warn")];
  });
  afterEach(async () => {
    for (const stage of stages.splice(0)) await stage.leave();
    const words = said.flatMap((spy) => spy.mock.calls);
    vi.restoreAllMocks();
    vi.useRealTimers();
    expect(words).toEqual([]);
  });
  return () => {
    const stage = new Stage();
    stages.push(stage);
    return stage;
  };
}
