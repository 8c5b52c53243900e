// Shows where the memory of an idle guest is: a program in the bundled guest fills some of it and ends. What the host has to keep
// then, without a balloon, with free page reporting, and with a balloon that is blown up. Resident means what the memory file
// really has in pages (stats().memory.resident).
//
//   node scripts/bench-balloon.mjs [--memory MIB] [--touch MIB] [none report inflate ...]
import { cpus, loadavg, release } from "node:os";
import { parseArgs } from "node:util";
import { Machine } from "../dist/index.js";

const MiB = 2 ** 20;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { memory: { type: "string", default: "128" }, touch: { type: "string", default: "64" } },
});
const MEMORY = Number(values.memory) * MiB;
const TOUCH = Number(values.touch);
if (!(MEMORY > 0 && TOUCH > 0)) throw new Error("--memory and --touch are numbers of MiB");
/** What is left to the guest. */
const LEFT = 32 * MiB;
/** Linux tells of free pages two seconds after they were freed. */
const QUIET_MS = 10_000;
const PATIENCE_MS = 600_000;

const KINDS = {
  none: false,
  report: {},
  inflate: { reporting: false },
};
const chosen = positionals.length === 0 ? Object.keys(KINDS) : positionals;
const unknown = chosen.find((kind) => KINDS[kind] === undefined);
if (unknown !== undefined)
  throw new Error(`no such case: ${unknown}; there are ${Object.keys(KINDS).join(", ")}`);

console.log(
  `Linux ${release()}, ${cpus().length} × ${cpus()[0].model}, Node ${process.version}, load ${loadavg()[0].toFixed(2)}; ` +
    `${values.memory} MiB of guest memory, ${TOUCH} MiB filled and freed`,
);
console.log(
  `${"MiB resident".padEnd(16)}${["booted", "peak", "at rest", "deflated"].map((text) => text.padStart(10)).join("")}   then`,
);
for (const kind of chosen) await measure(kind);

async function measure(kind) {
  const fill = `dd if=/dev/zero of=/dev/null bs=${TOUCH}M count=1 2>/dev/null; echo filled; exec sleep 100000`;
  const machine = await Machine.boot({
    cpus: 1,
    memory: MEMORY,
    balloon: KINDS[kind],
    command: { argv: ["sh", "-c", `echo booted; sleep 5; ${fill}`] },
  });
  try {
    await watch(kind, machine);
  } finally {
    await machine.stop();
  }
}

async function watch(kind, machine) {
  let output = "";
  machine.on("stdout", (bytes) => (output += bytes));
  const resident = () => machine.stats().memory.resident;
  await until(() => output.includes("booted"));
  const booted = resident();
  let peak = booted;
  await until(() => {
    peak = Math.max(peak, resident());
    return output.includes("filled");
  });
  const start = performance.now();
  let then = "";
  if (kind === "inflate") {
    machine.setBalloon(MEMORY - LEFT);
    // The guest cannot give up what it needs itself.
    await settled(() => machine.stats().balloon.actual);
    const { actual } = machine.stats().balloon;
    then = `${(actual / MiB).toFixed(0)} MiB given up in ${((performance.now() - start) / 1000).toFixed(1)} s`;
  } else {
    await settled(resident);
    if (kind === "report")
      then = `${(machine.stats().balloon.reportedBytes / MiB).toFixed(0)} MiB reported since the boot`;
  }
  const rest = resident();
  let deflated;
  if (kind === "inflate") {
    machine.setBalloon(0);
    await until(() => machine.stats().balloon.actual === 0);
    deflated = resident();
  }
  const columns = [booted, peak, rest, deflated].map((bytes) =>
    (bytes === undefined ? "" : (bytes / MiB).toFixed(1)).padStart(10),
  );
  console.log(`${kind.padEnd(16)}${columns.join("")}   ${then}`);
}

/** Looks until it stays the same for a while. */
async function settled(look) {
  let last = look();
  let since = performance.now();
  await until(() => {
    const now = look();
    if (now !== last) [last, since] = [now, performance.now()];
    return performance.now() - since > QUIET_MS;
  });
}

async function until(condition) {
  for (
    const end = performance.now() + PATIENCE_MS;
    !condition();
    await new Promise((done) => setTimeout(done, 200))
  ) {
    if (performance.now() > end) throw new Error("the guest takes too long");
  }
}
