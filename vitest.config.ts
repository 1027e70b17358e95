import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Threads start faster than processes; one per core of the smallest machine that this is built on.
    pool: "threads",
    maxWorkers: 2,
    // A test that is focused by accident would hide all the others.
    allowOnly: false,
    testTimeout: 20_000
  }
})
