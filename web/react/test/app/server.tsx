// Says what a server would send for the root of the page.
import { renderToString } from "react-dom/server";

import { Page } from "./board.js";

declare const process: { stdout: { write(text: string): void } };

process.stdout.write(renderToString(<Page url="http://127.0.0.1" storage="session" ssrFriendly />));
