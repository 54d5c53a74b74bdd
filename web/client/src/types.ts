import type { Local } from "./optimistic.js";

/** What a caller passes beside the arguments. */
export interface CallOptions {
  /** Gives the call up: it rejects with the signal's reason. What was sent may have been done. */
  readonly signal?: AbortSignal | undefined;
}

export interface MutationOptions<Api extends object = AnyApi, Args = unknown> extends CallOptions {
  /** 1 to 64 characters by which the server recognises a repeat; made here when left out. */
  readonly requestId?: string;
  /** Let the request outlive the page (fetch's option of this name); for bodies up to 64 KiB. */
  readonly keepalive?: boolean;
  /** Shows the effect at once, until the real one is there or the call has failed. It is repeated, so it does no more. */
  readonly optimistic?: (local: Local<Api>, args: Args) => void;
}

export type Kind = "query" | "mutation" | "action";

/** One function of the application, for the type checker only. */
export interface Declared<K extends Kind, Args extends object, Result> {
  readonly kind: K;
  readonly args: Args;
  readonly result: Result;
}

/** No arguments beside the session, which is never an argument. */
export type NoArguments = Record<string, never>;

export type Query<Args extends object = NoArguments, Result = unknown> = Declared<"query", Args, Result>;
export type Mutation<Args extends object = NoArguments, Result = unknown> = Declared<"mutation", Args, Result>;
export type Action<Args extends object = NoArguments, Result = unknown> = Declared<"action", Args, Result>;

/** What a client goes by that was told nothing of the application: any name, any arguments, an unknown result. */
export interface AnyApi {
  readonly [name: string]: Declared<Kind, Record<string, unknown>, unknown>;
}

type Any = Declared<Kind, object, unknown>;

/** The names of the functions of one kind. */
export type NameOf<Api, K extends Kind> = {
  [Name in keyof Api & string]: Api[Name] extends Any ? (K extends Api[Name]["kind"] ? Name : never) : never;
}[keyof Api & string];

/** Arguments may be left out when none is required. */
export type Rest<Function, Options = never> =
  Function extends Declared<Kind, infer Args, unknown>
    ? NoArguments extends Args
      ? [args?: Args, options?: Options]
      : [args: Args, options?: Options]
    : never;

export type ResultOf<Function> = Function extends Declared<Kind, object, infer Result> ? Result : never;

export type ArgsOf<Function> = Function extends Declared<Kind, infer Args, unknown> ? Args : never;

/** In place of arguments: watch nothing, and stay loading. */
export const SKIP = "skip";

/** Arguments that may be left out when none is required, or `SKIP`. */
export type RestOrSkip<Function> =
  NoArguments extends ArgsOf<Function>
    ? [args?: ArgsOf<Function> | typeof SKIP]
    : [args: ArgsOf<Function> | typeof SKIP];
