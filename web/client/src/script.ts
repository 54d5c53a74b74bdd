// A classic script cannot export, and `import "/sojourn.js"` gives a module's names to nobody: so both read this.
import { SojournClient } from "./client";
import { SojournError } from "./errors";

Object.assign(globalThis, { sojourn: { SojournClient, SojournError } });
