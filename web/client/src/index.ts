export { type ClientOptions, type SessionListener, SojournClient } from "./client";
export { type Failure, type Retry, SojournError, type Written } from "./errors";
export type { BeforeUpdate, Session } from "./identity";
export type { RetryOptions } from "./retry";
export type { StorageKind, StorageLike } from "./storage";
export type { Action, AnyApi, CallOptions, Mutation, MutationOptions, Query } from "./types";
