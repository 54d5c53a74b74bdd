export { type ClientOptions, type SessionListener, SojournClient } from "./client.js";
export { type Failure, type Retry, SojournError, type Written } from "./errors.js";
export type { BeforeUpdate, Session } from "./identity.js";
export type { RetryOptions } from "./retry.js";
export type { Room, RoomOptions } from "./room.js";
export type { StorageKind, StorageLike } from "./storage.js";
export { type Consent, SojournTracker, type TrackOptions, type TrackerOptions } from "./tracker.js";
export type { Action, AnyApi, CallOptions, Mutation, MutationOptions, Query } from "./types.js";
