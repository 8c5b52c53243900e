// Measures what docs/performance.md claims of background VMs, on this machine: `tsvm ps` with 100 VMs beside an empty Node, twenty
// starts at once, and the memory of a VM that idles. Its VMs are its own, in a directory that is removed again.
//
//   node scripts/bench-manager.mjs [ps|start|memory ...] [--runs N]
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { IDLE, pvhGuest } from "../firmware/tiny/pvh-guest.mjs";
import { row } from "./bench/statistics.mjs";
import { parseBenchArguments, runSuites, workDirectory } from "./bench/suites.mjs";

const cli = fileURLToPath(new URL("../dist/cli.cjs", import.meta.url));
const { runs, wanted } = parseBenchArguments(25);
const work = workDirectory("tsvm-bench-manager-", removeAll);
const env = { ...process.env, TSVM_STATE_DIR: join(work, "state"), TSVM_RUNTIME_DIR: "" };
const kernel = join(work, "idle.elf");
writeFileSync(kernel, pvhGuest(IDLE));

/** Each leaves nothing to the next. */
const alone = (suite) => async () => {
  await suite();
  removeAll();
};
await runSuites({ ps: alone(ps), start: alone(start), memory: alone(memory) }, wanted);

/** Pairs: the two commands in turn, so that what else goes on meets both. */
function ps() {
  define(100, "listed");
  const pairs = Array.from({ length: runs }, () => [time("-e", "0"), time(cli, "ps", "--all")]);
  row(
    "node -e 0",
    pairs.map(([empty]) => empty),
    "ms",
  );
  row(
    "tsvm ps --all, 100 defined VMs",
    pairs.map(([, listing]) => listing),
    "ms",
  );
  row(
    "difference, pair by pair",
    pairs.map(([empty, listing]) => listing - empty),
    "ms",
  );
}

async function start() {
  const started = define(20, "started");
  const begin = performance.now();
  const results = await Promise.all(started.map((name) => run("start", name)));
  const failed = results.filter((status) => status !== 0).length;
  console.log(`  20 times tsvm start at once: ${seconds(begin)} s until all run, ${failed} failed`);
  tsvm("stop", "--timeout", "0", ...started);
  const again = performance.now();
  const status = await run("start", ...started);
  console.log(`  tsvm start with 20 names: ${seconds(again)} s, status ${status}`);
}

async function memory() {
  const idle = define(10, "idle");
  await run("start", ...idle);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const monitors = idle.map((name) => {
    const [{ pid }] = JSON.parse(tsvm("inspect", name));
    const [{ guestResident }] = JSON.parse(tsvm("stats", "--no-stream", "--json", name));
    return { rollup: readFileSync(`/proc/${pid}/smaps_rollup`, "latin1"), guest: guestResident / 2 ** 20 };
  });
  const mebibytes = (key) =>
    monitors.map(
      ({ rollup, guest }) => Number(new RegExp(`^${key}: +(\\d+) kB`, "m").exec(rollup)[1]) / 1024 - guest,
    );
  console.log("  one of ten idle VMs, without the guest memory that was touched:");
  row("resident (RSS, counts shared pages in full)", mebibytes("Rss"), "MiB");
  row("its share of all (PSS)", mebibytes("Pss"), "MiB");
  row("its own alone (private)", mebibytes("Private_Dirty"), "MiB");
}

/** Defines so many VMs; the result is their names. */
function define(count, prefix) {
  const made = Array.from({ length: count }, (_, at) => `${prefix}${at}`);
  const file = join(work, "vms.json");
  writeFileSync(
    file,
    JSON.stringify({
      version: 1,
      vms: Object.fromEntries(made.map((name) => [name, { kernel, memory: "16M" }])),
    }),
  );
  tsvm("define", file);
  return made;
}

function removeAll() {
  tsvm("rm", "--force", ...names());
}

function names() {
  return tsvm("ps", "--all", "--quiet")
    .split("\n")
    .filter((name) => name !== "");
}

function tsvm(...args) {
  return spawnSync(process.execPath, [cli, ...args], { env, encoding: "utf8" }).stdout;
}

async function run(...args) {
  const child = spawn(process.execPath, [cli, ...args], { env, stdio: ["ignore", "ignore", "inherit"] });
  const [status] = await once(child, "exit");
  return status;
}

function time(...args) {
  const begin = performance.now();
  spawnSync(process.execPath, args, { env, stdio: "ignore" });
  return performance.now() - begin;
}

function seconds(begin) {
  return ((performance.now() - begin) / 1000).toFixed(1);
}
