import type { AnyApi, ArgsOf, NameOf, ResultOf, SojournClient } from "sojourn-client";

/**
 * Where an application says what its functions are, once, for all hooks:
 *
 *     declare module "sojourn-react" {
 *       interface Register { api: Api }
 *     }
 *
 * An interface to add to, and not a factory of typed hooks: so the hooks are plain imports, which tools can follow, shake
 * off and check.
 */
export interface Register {}

/** The functions of the application; any, where it has not said. */
export type Api = Register extends { api: infer Registered extends object } ? Registered : AnyApi;

export type Client = SojournClient<Api>;

/** The names of the functions of one kind. */
export type QueryName = NameOf<Api, "query">;
export type MutationName = NameOf<Api, "mutation">;
export type ActionName = NameOf<Api, "action">;

export type Args<Name extends keyof Api> = ArgsOf<Api[Name]>;
export type Result<Name extends keyof Api> = ResultOf<Api[Name]>;
