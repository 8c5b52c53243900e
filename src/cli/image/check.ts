/** `tsvm image check`: whether an image's tables are in order. */
import { checkImage, type CheckOptions, type CheckReport } from "../../disk/qemu-img/check.ts";
import { ExitCode } from "../exit-codes.ts";
import { print } from "../output.ts";
import { interruptible } from "./interruptible.ts";
import { printable, toJson, warn } from "./text.ts";

const STATUS = {
  clean: ExitCode.Ok,
  leaks: ExitCode.ImageLeaks,
  corrupt: ExitCode.ImageCorrupt,
} as const;
/** Of a badly damaged image there are thousands. */
const MAX_ERRORS = 10;

/** Runs the command; the result is the exit status. */
export async function imageCheckCommand(
  path: string,
  { json, ...options }: CheckOptions & { json?: boolean },
): Promise<number> {
  return interruptible(
    async (signal) => {
      const report = await checkImage(path, options, { signal });
      if (json === true) print(toJson(report));
      else tell(report, options);
      return STATUS[report.state];
    },
    { finish: options.repair !== undefined },
  );
}

function tell(
  { path, format, state, corruptions, leaks, repaired, clusters, details }: CheckReport,
  { repair }: CheckOptions,
): void {
  const errors = details.filter((line) => line.startsWith("ERROR"));
  warn(errors.slice(0, MAX_ERRORS));
  if (errors.length > MAX_ERRORS) warn([`${errors.length - MAX_ERRORS} errors more; --json has them`]);
  const lines: string[] = [`${path}: ${state} (${format})`];
  if (corruptions > 0) lines.push(`corruptions: ${corruptions}`);
  if (leaks > 0) lines.push(`leaked clusters, which only waste space: ${leaks}`);
  if (repaired.corruptions > 0) lines.push(`repaired corruptions: ${repaired.corruptions}`);
  if (repaired.leaks > 0) lines.push(`leaked clusters given back: ${repaired.leaks}`);
  if (clusters !== undefined) {
    const { total, allocated, compressed, fragmented } = clusters;
    lines.push(
      `clusters: ${allocated} of ${total} allocated, ${compressed} compressed, ${fragmented} fragmented`,
    );
  }
  print(`${lines.map(printable).join("\n  ")}\n`);
  if (state === "clean" || repair === "all") return;
  const what = state === "leaks" ? "leaks" : "all";
  if (what === repair) return;
  const care = what === "all" ? "copy it, then: " : "";
  process.stderr.write(`  → ${care}tsvm image check --repair ${what} ${printable(path)}\n`);
}
