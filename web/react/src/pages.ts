import { useCallback, useMemo, useSyncExternalStore } from "react";
import { type ItemOf, type PagedNameOf, type PagesState, type RestOfPages, SKIP } from "sojourn-client";

import { isRaised } from "./queries.js";
import type { Api } from "./register.js";
import { useScope } from "./scope.js";

/** The names of the queries that can be shown in pages. */
export type PaginatedName = PagedNameOf<Api>;

/** All that is shown of a list, and what shows one more page of it. */
export interface Paginated<Item> extends Omit<PagesState<Item>, "error"> {
  /** Show one more page, of this size; nothing happens unless the status is `canLoadMore`. */
  readonly loadMore: (size?: number) => void;
}

/** A list in pages, always the present one; other arguments begin at the first page. Throws what the query raised. */
export function useSessionPaginatedQuery<Name extends PaginatedName>(
  name: Name,
  ...[args, options]: RestOfPages<Api[Name]>
): Paginated<ItemOf<Api[Name]>> {
  const scope = useScope();
  const pages = useMemo(
    () => scope.client.watchPages(name, ...([args, options] as unknown as RestOfPages<Api[Name]>)),
    [scope, name, JSON.stringify(args), options?.size],
  );
  const subscribe = useCallback(
    (listener: () => void) => {
      if (args !== SKIP) scope.open();
      return pages.onChange(listener);
    },
    [scope, pages],
  );
  // Nobody else listens to them, so they are loading on a server, and in the browser until this one listens.
  const state = (): PagesState<ItemOf<Api[Name]>> => pages.state;
  const { status, results, error } = useSyncExternalStore(subscribe, state, state);
  const loadMore = useCallback((size?: number) => pages.loadMore(size), [pages]);
  const shown = useMemo(() => ({ status, results, loadMore }), [status, results, loadMore]);
  if (error && isRaised(error, status !== "loadingFirstPage")) throw error;
  return shown;
}
