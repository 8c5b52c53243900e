import { expect, it } from "vitest";
import { exitText } from "./exit-text.ts";

it.each([
  [{ reason: "command", status: 3 }, "its command exited with status 3"],
  [
    { reason: "command", status: 143, message: "its command was ended by SIGTERM" },
    "its command was ended by SIGTERM",
  ],
  [{ reason: "shutdown", status: 0 }, "powered off"],
  [{ reason: "reset", status: 0 }, "ended by a reset"],
  [{ reason: "panic", status: 121, message: "guest: Kernel panic" }, "guest: Kernel panic"],
  [{ reason: "forced", status: 137, message: "it slept" }, "forced off: it slept"],
  [{ reason: "killed", status: 137 }, "killed"],
  [{ reason: "error", status: 125, message: "/x: no such file" }, "could not be started: /x: no such file"],
] as const)("%o ended in the words: %s", (exit, text) => {
  expect(exitText(exit)).toBe(text);
});
