// A board of notes, one for each session: what tests/browser/test_react.py drives.
import { type ReactElement, StrictMode, useState } from "react";
import {
  SessionProvider,
  type SessionProviderProps,
  SessionTracker,
  useAnonymousId,
  useConnectionState,
  useSessionAction,
  useSessionId,
  useSessionMutation,
  useSessionQuery,
  useSessionQueryState,
} from "sojourn-react";
import type { Action, Local, Mutation, Query } from "sojourn-client";

interface Notes {
  notes: Query<Record<string, never>, string[]>;
  counted: Query<Record<string, never>, number>;
  owner: Query<Record<string, never>, string | null>;
  fragile: Query<Record<string, never>, string>;
  add: Mutation<{ text: string }, null>;
  breaks: Mutation<{ broken_now: boolean }, null>;
  sign_in: Action<{ name: string }, null>;
}

declare module "sojourn-react" {
  interface Register {
    api: Notes;
  }
}

/** Where the session is kept. */
export type Way = Exclude<SessionProviderProps, { readonly client: object }> & { readonly url: string };

/** The page, as a server renders it and a browser takes it over. */
export function Page(props: Way): ReactElement {
  return (
    <StrictMode>
      <SessionProvider {...props}>
        <Board />
      </SessionProvider>
      <SessionTracker url={props.url} pageViews={false} />
      <p>
        Visitor <output id="visitor">{useAnonymousId({ url: props.url }) ?? "nobody"}</output>
      </p>
    </StrictMode>
  );
}

function Board(): ReactElement {
  const [id, refresh] = useSessionId();
  return (
    <>
      <p>
        Session <output id="session">{id ?? "none"}</output>, connection <output id="connection">{useConnectionState()}</output>
      </p>
      <button type="button" onClick={() => void refresh()}>
        New id
      </button>
      <Owner />
      <List />
      <Writing />
      <Fragile />
    </>
  );
}

function Owner(): ReactElement {
  const owner = useSessionQuery("owner");
  const signIn = useSessionAction("sign_in");
  return (
    <p>
      Of <output id="owner">{owner === undefined ? "loading" : (owner ?? "nobody")}</output>
      <button type="button" onClick={() => void signIn({ name: "ada" })}>
        Sign in
      </button>
    </p>
  );
}

function List(): ReactElement {
  const notes = useSessionQuery("notes");
  const count = useSessionQuery("counted");
  // Both are of one instant, or this is seen.
  const isTorn = notes !== undefined && count !== undefined && notes.length !== count;
  return (
    <ul id="notes" data-state={notes ? "there" : "loading"} data-torn={isTorn}>
      {notes?.map((note, place) => (
        <li key={place}>{note}</li>
      ))}
    </ul>
  );
}

const shownAtOnce = (local: Local<Notes>, { text }: { text: string }): void => {
  local.set("notes", {}, [...(local.get("notes") ?? []), `${text}…`]);
  local.set("counted", {}, (local.get("counted") ?? 0) + 1);
};

function Writing(): ReactElement {
  const [text, setText] = useState("");
  const [told, setTold] = useState("nothing");
  const add = useSessionMutation("add").withOptimisticUpdate(shownAtOnce);
  const write = async (): Promise<void> => {
    setText("");
    try {
      await add({ text });
      setTold(`written: ${text}`);
    } catch (error) {
      setTold(`refused: ${(error as { data?: unknown }).data}`);
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void write();
      }}
    >
      <input aria-label="Note" value={text} onChange={(event) => setText(event.target.value)} />
      <button type="submit">Write</button>
      <output id="told">{told}</output>
    </form>
  );
}

function Fragile(): ReactElement {
  const state = useSessionQueryState("fragile");
  const breaks = useSessionMutation("breaks");
  return (
    <p>
      It is <output id="fragile">{state.status === "error" ? `broken: ${state.error.code}` : (state.value ?? "loading")}</output>
      <button type="button" onClick={() => void breaks({ broken_now: state.status !== "error" })}>
        Break or mend
      </button>
    </p>
  );
}
