// Measures what machines cost the program that runs them: memory, the time for which its event loop stands still, and many
// machines at once. Each figure comes from a process of its own.
//
//   node scripts/bench-library.mjs [memory linux blocking crowd ...] [--library DIST]...   (several builds: in turn)
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { IDLE, ONE_BYTE_AND_RESET, pvhGuest } from "../firmware/tiny/pvh-guest.mjs";

const MiB = 2 ** 20;
const script = fileURLToPath(import.meta.url);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    library: { type: "string", multiple: true },
    child: { type: "string" },
    guests: { type: "string" },
  },
});
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const suites = { memory, linux, blocking, crowd };

if (values.child === undefined) parent();
else {
  const library = await import(pathToFileURL(join(values.library[0], "index.js")).href);
  console.log(JSON.stringify(await suites[values.child](library)));
  process.exit(0);
}

function parent() {
  const guests = mkdtempSync(join(tmpdir(), "tsvm-bench-"));
  process.on("exit", () => rmSync(guests, { recursive: true, force: true }));
  process.on("SIGINT", () => process.exit(130));
  writeFileSync(join(guests, "idle"), pvhGuest(IDLE));
  writeFileSync(join(guests, "reset"), pvhGuest(ONE_BYTE_AND_RESET));
  const chosen = positionals.length === 0 ? Object.keys(suites) : positionals;
  const unknown = chosen.find((name) => suites[name] === undefined);
  if (unknown !== undefined) {
    console.error(`no such suite: ${unknown}; there are ${Object.keys(suites).join(", ")}`);
    process.exit(2);
  }
  const model = cpus()[0].model;
  console.log(
    `Linux ${release()}, ${cpus().length} × ${model}, Node ${process.version}, load ${loadavg()[0].toFixed(2)}`,
  );
  const libraries = (values.library ?? [fileURLToPath(new URL("../dist", import.meta.url))]).map((d) =>
    resolve(d),
  );
  for (const name of chosen) {
    for (const library of libraries) {
      const args = [script, "--child", name, "--library", library, "--guests", guests];
      const result = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 600_000 });
      if (result.status !== 0)
        throw new Error(`${name}: status ${result.status} ${result.signal} ${result.stderr}`);
      console.log(`\n${name}${libraries.length > 1 ? ` (${library})` : ""}`);
      for (const [label, value] of JSON.parse(result.stdout)) console.log(`  ${label.padEnd(64)}${value}`);
    }
  }
}

function guest(name) {
  return join(values.guests, name);
}

/** Proportional set size of this process in MiB, guest memory aside. */
function ownMemory() {
  let total = 0;
  let isGuest = false;
  for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isGuest = line.includes("memfd:tsvm");
    else if (!isGuest && line.startsWith("Pss:")) total += Number(/\d+/.exec(line)[0]);
  }
  return total / 1024;
}

/** What the process holds when it has come to rest. */
async function settled() {
  let before = ownMemory();
  for (let round = 0; round < 30; round++) {
    await sleep(500);
    const now = ownMemory();
    if (Math.abs(now - before) < 0.2) return now;
    before = now;
  }
  return before;
}

/** Memory beside the guests', for one machine more. */
async function perMachine(machines, start) {
  const running = [await start()];
  const first = await settled();
  while (running.length < machines) running.push(await start());
  const all = await settled();
  await Promise.all(running.map((machine) => machine.stop()));
  return (all - first) / (machines - 1);
}

async function memory({ Machine }) {
  const rows = [];
  for (const [vcpus, count] of [
    [1, 20],
    [2, 10],
  ]) {
    const boot = () => Machine.boot({ cpus: vcpus, memory: 64 * MiB, kernel: guest("idle") });
    const megabytes = await perMachine(count, boot);
    rows.push([`one more idle machine, ${vcpus} vCPU, of ${count}`, `${megabytes.toFixed(1)} MiB`]);
  }
  return rows;
}

/** The bundled Linux, whose disk and console have an I/O thread. */
async function linux({ Machine }) {
  const boot = async () => {
    const machine = await Machine.boot({ cpus: 1, memory: 64 * MiB, command: { argv: ["sleep", "1000"] } });
    await machine.ready;
    return machine;
  };
  return [["one more bundled Linux, 1 vCPU, of 4", `${(await perMachine(4, boot)).toFixed(1)} MiB`]];
}

/** The longest time in ms for which the event loop stood still while `work` went on. */
async function longestBlock(work) {
  let [last, longest, running] = [performance.now(), 0, true];
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (running) setImmediate(look);
  };
  setImmediate(look);
  await work();
  await sleep(1);
  running = false;
  return longest;
}

async function blocking({ Machine, warmUpWorkers }) {
  const [boots, stops] = [[], []];
  for (let run = 0; run < 21; run++) {
    warmUpWorkers(2);
    await sleep(200);
    let machine;
    const boot = async () => {
      machine = await Machine.boot({ cpus: 1, memory: 64 * MiB, kernel: guest("idle") });
    };
    boots.push(await longestBlock(boot));
    stops.push(await longestBlock(() => machine.stop()));
  }
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1].toFixed(1);
  return [
    ["event loop stands still: Machine.boot(), median", `${median(boots)} ms`],
    ["event loop stands still: stop(), median", `${median(stops)} ms`],
  ];
}

async function crowd({ Machine }) {
  const start = performance.now();
  const one = async () => {
    const machine = await Machine.boot({ cpus: 1, memory: 64 * MiB, kernel: guest("reset") });
    return (await machine.stopped).reason;
  };
  let reasons;
  const longest = await longestBlock(async () => {
    reasons = await Promise.all(Array.from({ length: 20 }, one));
  });
  if (reasons.some((reason) => reason !== "reset")) throw new Error(`ended by ${reasons.join(", ")}`);
  return [
    [
      "20 machines at once, from the first call to the last end",
      `${(performance.now() - start).toFixed(0)} ms`,
    ],
    ["event loop stands still meanwhile, at most", `${longest.toFixed(0)} ms`],
  ];
}
