import { defineConfig } from "vitest/config";

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
          testTimeout: 120_000,
          hookTimeout: 120_000,
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
