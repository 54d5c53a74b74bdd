import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// One ES module for npm, which the application's own tools minify. React and the client stay outside: there must be one
// of each in a page.
export default defineConfig(({ command }) => ({
  // The tests run on the sources of the client, whether it has been built or not.
  ...(command === "serve" ? { resolve: { alias: { "sojourn-client": source("../client/src/index.ts") } } } : {}),
  build: {
    target: "es2022",
    emptyOutDir: false,
    copyPublicDir: false,
    reportCompressedSize: false,
    minify: false,
    lib: { entry: "src/index.ts", formats: ["es" as const], fileName: "index" },
    rolldownOptions: {
      external: ["react", "react/jsx-runtime", "sojourn-client"],
      // By this React's server components know that all of it is for the browser.
      output: { banner: '"use client";' },
    },
  },
  test: { include: ["test/**/*.test.{ts,tsx}"], environment: "happy-dom" },
}));
