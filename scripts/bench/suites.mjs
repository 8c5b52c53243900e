import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

/** Of a script with suites: `[SUITE ...] [--runs N]`. */
export function parseBenchArguments(defaultRuns) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { runs: { type: "string", default: String(defaultRuns) } },
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) fail(`--runs: "${values.runs}" is not a number of runs`);
  return { runs, wanted: positionals };
}

/** A directory that is gone when the process ends; `first` is called before. */
export function workDirectory(prefix, first = () => undefined) {
  const work = mkdtempSync(join(tmpdir(), prefix));
  process.on("exit", () => {
    first();
    rmSync(work, { recursive: true, force: true });
  });
  process.on("SIGINT", () => process.exit(130));
  return work;
}

/** Runs the wanted ones of `suites` (functions by name), or all, below a line about this machine. */
export async function runSuites(suites, wanted) {
  const names = wanted.length === 0 ? Object.keys(suites) : wanted;
  const unknown = names.find((name) => !Object.hasOwn(suites, name));
  if (unknown !== undefined) fail(`no such suite: ${unknown}; there are ${Object.keys(suites).join(", ")}`);
  const load = loadavg()[0].toFixed(2);
  console.log(
    `Linux ${release()}, ${cpus().length} × ${cpus()[0].model}, Node ${process.version}, load ${load}`,
  );
  for (const name of names) {
    console.log(`\n${name}`);
    await suites[name]();
  }
}

function fail(message) {
  console.error(message);
  process.exit(2);
}
