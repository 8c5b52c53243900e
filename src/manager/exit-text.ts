import type { ExitRecord } from "./record.ts";

/** How a VM ended, in words that go on after its name. */
export function exitText({
  reason,
  status,
  message,
}: Pick<ExitRecord, "reason" | "status" | "message">): string {
  const why = message === undefined ? "" : `: ${message}`;
  switch (reason) {
    case "command":
      return message ?? `its command exited with status ${status}`;
    case "shutdown":
      return "powered off";
    case "reset":
      return "ended by a reset";
    case "halt":
      return "halted";
    case "panic":
      return message ?? "its kernel panicked";
    case "triple-fault":
      return message ?? "ended in a triple fault";
    case "crash":
      return `crashed${why}`;
    case "error":
      return `could not be started${why}`;
    case "lost":
      return `lost${why}`;
    case "forced":
      return `forced off${why}`;
    case "killed":
      return `killed${why}`;
  }
}
