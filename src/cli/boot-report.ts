/** How a finished run is told: for people and for programs. */
import { performance } from "node:perf_hooks";
import { monotonicNow } from "../machine/clock.ts";
import type { StopReport } from "../machine/report.ts";

/** ms of the monotonic clock at which this process began. */
function processStart(): number {
  return monotonicNow() - performance.now();
}

/** Moments in ms after process start, in order; what did not happen is left out. */
function moments({ timeline }: StopReport): [name: string, ms: number][] {
  const origin = processStart();
  const all: [string, number | undefined][] = [
    ["start of the machine", timeline.start],
    ["loaded", timeline.loaded],
    ["first guest instruction", timeline.firstEntry],
    ["first exit", timeline.firstExit],
    ["first console byte", timeline.firstConsoleByte],
    ["userland", timeline.userland],
    ["end", timeline.stopped],
  ];
  return all
    .filter((entry): entry is [string, number] => entry[1] !== undefined)
    .map(([name, at]): [string, number] => [name, at - origin])
    .sort((a, b) => a[1] - b[1]);
}

export function timelineText(report: StopReport, commandLine: string): string {
  const lines = [`kernel command line: ${commandLine}`, "time since process start:"];
  for (const [name, ms] of moments(report)) lines.push(`  ${name.padEnd(24)}${ms.toFixed(1).padStart(9)} ms`);
  const { io, mmio, assist, interrupted } = report.exits;
  lines.push(
    `exits: ${io} port I/O, ${mmio} MMIO, ${assist} completed instructions, ${interrupted} interrupted`,
  );
  return lines.map((line) => `tsvm: ${line}\n`).join("");
}

export interface Captured {
  readonly stdout: string;
  readonly stderr: string;
  readonly console: string;
}

export function jsonReport(
  report: StopReport,
  extra: { status: number; captured: Captured; commandLine: string },
): string {
  const { reason, command, panic, powerButton, error, exits } = report;
  const times = Object.fromEntries(
    moments(report).map(([name, ms]) => [camelCase(name), Math.round(ms * 1000) / 1000]),
  );
  const document = {
    status: extra.status,
    reason,
    command: command ?? null,
    panic: panic ?? null,
    powerButton,
    error:
      error === undefined ? null : { code: error.code, message: error.message, hint: error.hint ?? null },
    stdout: extra.captured.stdout,
    stderr: extra.captured.stderr,
    console: extra.captured.console,
    commandLine: extra.commandLine,
    millisecondsSinceProcessStart: times,
    exits,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function camelCase(words: string): string {
  return words
    .replace("start of the machine", "start")
    .replace(/ (\w)/g, (_, letter: string) => letter.toUpperCase());
}
