// A classic script cannot export, and `import "/sojourn.js"` gives a module's names to nobody: so both read this.
import { SojournClient } from "./client.js";
import { SojournError } from "./errors.js";

Object.assign(globalThis, { sojourn: { SojournClient, SojournError } });
