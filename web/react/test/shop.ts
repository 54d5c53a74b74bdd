// What the tests' application has. Whoever imports this has registered it.
import type { Action, Mutation, Page, PageRequest, Query } from "sojourn-client";

export interface Shop {
  basket: Query<{ limit?: number }, string[]>;
  owner: Query<Record<string, never>, string | null>;
  product: Query<{ sku: string }, { name: string; price: number }>;
  products: Query<{ shelf?: string; page?: PageRequest }, Page<string>>;
  add: Mutation<{ sku: string; count?: number }, null>;
  clear: Mutation;
  ship: Action<{ to: string }, { parcel: string }>;
  ping: Action;
}

declare module "sojourn-react" {
  interface Register {
    api: Shop;
  }
}
