import { describe, expect, it } from "vitest";
import type { StopReport } from "../../machine/report.ts";
import { DescriptionError } from "../../machine/description.ts";
import { exitRecord, failureRecord } from "./exit-record.ts";

const report = (parts: Partial<StopReport>): StopReport =>
  ({ reason: "shutdown", powerButton: "unused", ...parts }) as StopReport;
const graceful = { force: false, timeout: 30_000, signaled: false };

describe("how a VM ended", () => {
  it.each([
    [report({}), false, undefined, { reason: "shutdown", status: 0 }],
    [report({ reason: "command", command: { kind: "exited", status: 7 } }), true, undefined, { status: 7 }],
    [
      report({ reason: "command", command: { kind: "signaled", signal: 15 } }),
      true,
      graceful,
      { status: 143, message: "its command was ended by SIGTERM" },
    ],
    [report({ reason: "reset" }), true, undefined, { reason: "reset", status: 125 }],
    [
      report({ reason: "panic", panic: "Kernel panic" }),
      false,
      undefined,
      { status: 121, message: "guest: Kernel panic" },
    ],
    [report({ reason: "stopped" }), false, { ...graceful, force: true }, { reason: "killed", status: 137 }],
    [
      report({ reason: "stopped", powerButton: "ignored" }),
      false,
      graceful,
      { reason: "forced", status: 137, message: "the guest ignored its power button for 30 s" },
    ],
    [
      report({ reason: "stopped", powerButton: "unknown" }),
      true,
      { ...graceful, signaled: true },
      { reason: "forced", message: "the command was still there 30 s after SIGTERM" },
    ],
  ])("%o", (end, commandMode, intent, expected) => {
    expect(exitRecord(end, commandMode, intent)).toMatchObject(expected);
  });

  it("fits into its file, whatever the guest says", () => {
    const { message } = exitRecord(report({ reason: "panic", panic: "x".repeat(100_000) }), false, undefined);
    expect(message!.length).toBeLessThan(600);
  });

  it("or did not start", () => {
    expect(failureRecord(new DescriptionError("memory: too little", "take more"))).toMatchObject({
      reason: "error",
      status: 125,
      message: "memory: too little",
      hint: "take more",
    });
  });
});
