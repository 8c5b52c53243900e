// Measures commands in a guest that runs, by the agent: `true` from a program and from the command line, one after the other, and
// many at once. Any that is lost, or ends with the wrong status, is counted.
//
//   node scripts/bench-exec.mjs [--runs N] [--parallel N] [--cpus N] [--no-cli]
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { Machine } from "../dist/index.js";
import { row } from "./bench/statistics.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "20" },
    parallel: { type: "string", default: "100" },
    cpus: { type: "string", default: "1" },
    "no-cli": { type: "boolean", default: false },
  },
});
const runs = Number(values.runs);
const parallel = Number(values.parallel);
const run = promisify(execFile);
const CLI = fileURLToPath(new URL("../dist/cli.cjs", import.meta.url));

const seconds = (ms) => (ms < 10_000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`);

async function repeated(count, action) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await action(i);
    times.push(performance.now() - start);
  }
  return times;
}

console.log(
  `Linux ${release()}, ${cpus().length} × ${cpus()[0].model}, Node ${process.version}, load ${loadavg()[0].toFixed(2)}`,
);
const machine = await Machine.boot({ cpus: Number(values.cpus), memory: 512 * 2 ** 20, agent: "only" });
try {
  await machine.waitForAgent();
  const execTrue = async () => {
    const { status } = await (await machine.exec(["true"], { stdin: "none" })).output();
    if (status !== 0) throw new Error(`status ${status}`);
  };
  await execTrue(); // the first one reads the program from the disk
  row("ping: a connection, no command", await repeated(runs, () => machine.waitForAgent()), "ms");
  row("exec of true, from a program", await repeated(runs, execTrue), "ms");
  const start = performance.now();
  let lost = 0;
  const outputs = await Promise.all(
    Array.from({ length: parallel }, async (_, i) => {
      try {
        const command = await machine.exec(["sh", "-c", `echo ${i}; exit ${i % 100}`], { stdin: "none" });
        const { stdout, status } = await command.output();
        return stdout.toString() === `${i}\n` && status === i % 100;
      } catch (error) {
        console.error(`${i}: ${error.message}`);
        return false;
      }
    }),
  );
  lost = outputs.filter((right) => !right).length;
  const time = performance.now() - start;
  console.log(
    `${`${parallel} commands at once`.padEnd(44)} ${seconds(time)} in all, ${seconds(time / parallel)} each; lost or wrong: ${lost}`,
  );
} finally {
  await machine.stop();
}

if (!values["no-cli"]) {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-bench-"));
  const env = { ...process.env, TSVM_STATE_DIR: directory, TSVM_RUNTIME_DIR: "" };
  const tsvm = (...args) => run(process.execPath, [CLI, ...args], { env });
  try {
    await tsvm("boot", "--detach", "--name", "bench", "-c", values.cpus);
    await tsvm("exec", "bench", "--", "true");
    row(
      "tsvm exec of true, from the command line",
      await repeated(runs, () => tsvm("exec", "bench", "--", "true")),
      "ms",
    );
    row("for comparison: tsvm --version", await repeated(runs, () => tsvm("--version")), "ms");
  } finally {
    await tsvm("rm", "--force", "bench").catch(() => undefined);
    rmSync(directory, { recursive: true, force: true });
  }
}
process.exit(0);
