import { defineConfig } from "vitest/config";

// Two forms of one source: an ES module for npm, which the application's own tools minify, and with `--mode script` the
// one classic script that the server hands out at /sojourn.js.
export default defineConfig(({ mode }) => ({
  build: {
    target: "es2022",
    emptyOutDir: false,
    copyPublicDir: false,
    reportCompressedSize: false,
    ...(mode === "script"
      ? { lib: { entry: "src/script.ts", formats: ["iife" as const], name: "sojourn", fileName: () => "sojourn.js" } }
      : { minify: false, lib: { entry: "src/index.ts", formats: ["es" as const], fileName: "index" } }),
  },
  test: { include: ["test/**/*.test.ts"] },
}));
