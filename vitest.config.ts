import { defineConfig } from "vitest/config";

// In the test bed everything takes longer.
const LIMIT_MS = process.env.TSVM_TEST_BED === undefined ? 200_000 : 500_000;

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["src/**/*.test.ts", "scripts/**/*.test.ts"], pool: "forks" } },
      {
        test: {
          name: "integration",
          include: ["test/*.test.ts"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: LIMIT_MS,
          hookTimeout: LIMIT_MS,
          globalSetup: ["test/support/build.ts"],
        },
      },
      {
        // Whole systems in the test bed: minutes, so a run of its own.
        test: {
          name: "system",
          include: ["test/system/*.test.ts"],
          pool: "forks",
          fileParallelism: false,
          globalSetup: ["test/support/build.ts"],
        },
      },
    ],
  },
});
