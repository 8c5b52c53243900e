import { fileURLToPath } from "node:url";
import { resolve } from "node:path";

/** The repository. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What is tested: dist/, or the build that TSVM_TEST_DIST names (for example one that is installed). */
export const DIST = resolve(
  process.env.TSVM_TEST_DIST ?? fileURLToPath(new URL("../../dist", import.meta.url)),
);
export const CLI = resolve(DIST, "cli.cjs");
