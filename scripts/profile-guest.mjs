// Samples where a guest kernel spends its boot, by interrupting its first processor once per millisecond.
//
//   node scripts/profile-guest.mjs SYSTEM_MAP [--until userland|SECONDS] [KERNEL]
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Machine } from "../dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { until: { type: "string", default: "userland" }, append: { type: "string", default: "" } },
});
const [systemMap, kernel] = positionals;
if (systemMap === undefined) {
  console.error(
    "usage: node scripts/profile-guest.mjs SYSTEM_MAP [--until userland|SECONDS] [--append TEXT] [KERNEL]",
  );
  process.exit(2);
}
const symbols = readFileSync(systemMap, "utf8")
  .split("\n")
  .map((line) => /^([0-9a-f]{16}) [tTwW] (.*)$/.exec(line))
  .filter((match) => match !== null)
  .map(([, address, name]) => ({ address: BigInt(`0x${address}`), name }))
  .sort((a, b) => (a.address < b.address ? -1 : 1));

function symbolAt(rip) {
  let low = 0;
  let high = symbols.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (symbols[middle].address <= rip) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return rip < 0xffff_8000_0000_0000n ? "(user or early)" : "(unknown)";
  return symbols[low - 1].name;
}

const machine = await Machine.boot({
  cpus: 1,
  memory: 64 * 2 ** 20,
  command: { argv: ["true"] },
  ...(kernel === undefined ? {} : { kernel, console: "virtio" }),
  ...(values.append === "" ? {} : { append: values.append }),
});
const counts = new Map();
let samples = 0;
const timer = setInterval(() => {
  const [rip] = machine.instructionPointers;
  if (rip !== 0n) {
    const name = symbolAt(rip);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    samples += 1;
  }
  machine.probe();
}, 1);
if (values.until === "userland") machine.once("userland", () => void machine.stop());
else setTimeout(() => void machine.stop(), Number(values.until) * 1000);
const { timeline } = await machine.stopped;
clearInterval(timer);
console.log(
  `${samples} samples; userland ${(timeline.userland - timeline.start).toFixed(0)} ms after the start of the machine`,
);
for (const [name, count] of [...counts].sort((a, b) => b[1] - a[1]).slice(0, 50)) {
  console.log(`${((100 * count) / samples).toFixed(1).padStart(6)} %  ${name}`);
}
