import { createRoot, hydrateRoot } from "react-dom/client";
import { useSessionStorage } from "sojourn-react";

import { Page, type Way } from "./board.js";

const root = document.getElementById("root") as HTMLElement;
const url = location.origin;

/** What the address asks for: where the session is kept. */
const ways: Record<string, Way> = {
  cookie: { url },
  local: { url, storage: "local" },
  session: { url, storage: "session" },
  hook: { url, useStorage: useSessionStorage },
};
const way = ways[location.search.slice(1)] ?? { url };

if (root.firstChild) hydrateRoot(root, <Page {...way} ssrFriendly />);
else createRoot(root).render(<Page {...way} />);
