/**
 * Boots Debian's own kernels in the test bed: several cases in one run of it, each a `tsvm boot --json` on a fresh copy of the
 * stock guest's root disk.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./paths.ts";
import { inTestBedAgain } from "./test-bed.ts";
import type { JsonReport } from "./tsvm.ts";

export interface StockCase {
  /** Names its files; letters, digits and dashes. */
  readonly name: string;
  /** Options of `tsvm boot` beside kernel, initrd, disk and memory. */
  readonly options: string;
  /** Run by the guest on its console before it powers off; without one it has a shell and stays. */
  readonly script?: string;
  /** Kernel and initrd; by default both of the stock guest. */
  readonly boot?: string;
  /** How often it is tried at most, {@link ATTEMPTS} by default. */
  readonly attempts?: number;
  /** Sent to tsvm as soon as the guest has printed `awaited`. */
  readonly signal?: { readonly name: string; readonly awaited: string };
}

export interface StockResult {
  readonly report: JsonReport;
  readonly stderr: string;
  readonly status: number;
  /** Of the root disk afterwards. */
  readonly e2fsck: { readonly status: number; readonly output: string };
  /** More than 1 where the emulated processor failed the guest before, see {@link ATTEMPTS}. */
  readonly attempts: number;
}

/**
 * QEMU's emulation of a nested guest's processor is not perfect: about one boot in thirty hangs or ends in a triple fault, under
 * QEMU's own microvm as well. A case gets this many attempts, and the tests print when one took more than one.
 */
const ATTEMPTS = 3;

/** Builds the guest if need be; the directory with vmlinuz, initrd.img, root.ext4. */
export function stockGuest(flavour: "cloud-amd64" | "amd64"): string {
  return execFileSync(join(ROOT, "scripts/build-stock-guest"), [flavour], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 600_000,
  }).trim();
}

/** Runs the cases in one test bed; results by name. `directory` is the caller's scratch. */
export async function bootStockGuest(
  guest: string,
  cases: readonly StockCase[],
  directory: string,
): Promise<Map<string, StockResult>> {
  const script = join(directory, "cases.sh");
  writeFileSync(script, [PROLOGUE, ...cases.map(caseScript)].join("\n"));
  const out = join(directory, "results");
  const { status, stdout, stderr } = await inTestBedAgain(
    [
      ...["--in", `${guest}:/guest`, "--in", `${script}:/cases.sh`, "--out", `/results:${out}`],
      ...["--timeout", `${180 + cases.length * 120}s`, "--", "sh", "/cases.sh"],
    ],
    { temporary: directory },
  );
  if (status !== 0 || !existsSync(out))
    throw new Error(`kvm-host ended with ${status}\n${stdout}\n${stderr}`);
  return new Map(cases.map(({ name }) => [name, readResult(out, name)]));
}

/** The emulator's known failures: a guest that hangs until the time limit, or ends in a triple fault. */
const PROLOGUE = `
mkdir -p /results /work
failed_by_emulator() { grep -qE '"reason": "triple-fault"' "$1" || grep -q 'the --timeout' "$2" || [ "$3" = 124 ]; }
`;

function caseScript({ name, options, script, boot, signal, attempts = ATTEMPTS }: StockCase): string {
  const files = boot ?? "-k /guest/vmlinuz -i /guest/initrd.img";
  const run = script === undefined ? "" : `-a run=${Buffer.from(script).toString("base64")}`;
  const boots = `tsvm boot --json -m 512M -t 180s ${files} ${run} ${options} /work/root.ext4`;
  const result = `/results/${name}`;
  const start =
    signal === undefined
      ? `${boots} >${result}.json 2>${result}.err; status=$?`
      : `${withSignal(boots, result, signal)}; status=$?`;
  return `
attempt=1
while :; do
  cp /guest/root.ext4 /work/root.ext4
  ${start}
  echo $status >${result}.status; echo $attempt >${result}.attempts
  [ $attempt -lt ${attempts} ] && failed_by_emulator ${result}.json ${result}.err $status || break
  attempt=$((attempt + 1))
done
e2fsck -fn /work/root.ext4 >${result}.e2fsck 2>&1; echo $? >${result}.e2fsck.status
`;
}

/** --json prints nothing before the end: the signalled run shows its console instead, and a report is made of that. */
function withSignal(
  boots: string,
  result: string,
  { name, awaited }: { name: string; awaited: string },
): string {
  const shown = boots.replace("--json ", "");
  return `${shown} </dev/null >${result}.console 2>${result}.err & pid=$!
  tries=0
  until grep -q ${JSON.stringify(awaited)} ${result}.console || [ $tries -ge 1500 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -${name} $pid
  wait $pid`;
}

function readResult(directory: string, name: string): StockResult {
  const read = (suffix: string): string => readFileSync(join(directory, `${name}${suffix}`), "utf8");
  const number = (suffix: string): number => Number(read(suffix));
  const attempts = number(".attempts");
  if (attempts > 1)
    process.stderr.write(`${name}: attempt ${attempts}; the emulated processor failed the guest before\n`);
  const console_ = join(directory, `${name}.console`);
  const report = existsSync(console_)
    ? ({ console: readFileSync(console_, "latin1") } as JsonReport)
    : (JSON.parse(read(".json")) as JsonReport);
  return {
    report,
    stderr: read(".err"),
    status: number(".status"),
    e2fsck: { status: number(".e2fsck.status"), output: read(".e2fsck") },
    attempts,
  };
}
