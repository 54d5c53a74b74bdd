import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// The page for a browser, and with `--ssr server.tsx` the program that renders it.
export default defineConfig({
  root: source("."),
  base: "./",
  resolve: {
    alias: { "sojourn-client": source("../../../client/src/index.ts"), "sojourn-react": source("../../src/index.ts") },
  },
  // React's own checks say on the console what is wrong, if it is not the one for production.
  mode: "development",
  define: { "process.env.NODE_ENV": '"development"' },
  build: { target: "es2022", emptyOutDir: false, reportCompressedSize: false, minify: false },
  ssr: { noExternal: true },
});
