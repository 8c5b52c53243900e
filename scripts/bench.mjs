// Measures what docs/performance.md claims, on this machine. Figures are medians; a peer runs in turn with tsvm.
//
//   node scripts/bench.mjs [startup|peer|exits|disk|userland ...] [--runs N]
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync, truncateSync, openSync, writeSync, closeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  mmioReads,
  ONE_BYTE_AND_RESET,
  ONE_BYTE_AND_TRIPLE_FAULT,
  portReads,
  pvhGuest,
} from "../firmware/tiny/pvh-guest.mjs";
import { Machine, releaseIdleWorkers, warmUpWorkers } from "../dist/index.js";
import { row } from "./bench/statistics.mjs";
import { parseBenchArguments, runSuites, workDirectory } from "./bench/suites.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const cli = join(root, "dist/cli.cjs");
const { runs, wanted } = parseBenchArguments(15);
const work = workDirectory("tsvm-bench-");

await runSuites({ startup, peer, exits, disk, userland }, wanted);
await releaseIdleWorkers();

function guest(name, code) {
  const path = join(work, name);
  writeFileSync(path, pvhGuest(code));
  return path;
}
/** Wall time in ms of a whole process. */
function timeProcess(command, args) {
  const start = process.hrtime.bigint();
  const result = spawnSync(command, args, { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
  if (result.error !== undefined) throw result.error;
  return { ms: Number(process.hrtime.bigint() - start) / 1e6, output: result.stdout.toString() };
}

/** tsvm's own start-up: as a command, and inside a program with warm threads. */
async function startup() {
  const kernel = guest("reset", ONE_BYTE_AND_RESET);
  const toEntry = [];
  const whole = [];
  const bare = [];
  for (let run = 0; run < runs; run++) {
    bare.push(timeProcess(process.execPath, ["-e", "0"]).ms);
    const { ms, output } = timeProcess(process.execPath, [cli, "boot", "-m", "64M", "--json", kernel]);
    whole.push(ms);
    toEntry.push(JSON.parse(output).millisecondsSinceProcessStart.firstGuestInstruction);
  }
  row("node -e 0, whole process", bare, "ms");
  row("tsvm boot: process start → first guest instruction", toEntry, "ms");
  row("tsvm boot, 12-byte guest, whole process", whole, "ms");

  warmUpWorkers(2);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const inProcess = [];
  for (let run = 0; run < runs * 2; run++) {
    const machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20, kernel });
    const { timeline } = await machine.stopped;
    inProcess.push(timeline.firstEntry - timeline.start);
  }
  row("Machine.boot(): call → first guest instruction", inProcess, "ms");
}

/** A guest of 16 bytes, whole process, against QEMU's microvm with the same file. */
async function peer() {
  const kernel = guest("triple-fault", ONE_BYTE_AND_TRIPLE_FAULT);
  const qemu = [
    "-M",
    "microvm,accel=kvm",
    "-nodefaults",
    "-no-reboot",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-m",
    "64M",
    "-kernel",
    kernel,
  ];
  if (spawnSync("qemu-system-x86_64", ["--version"]).error !== undefined) {
    console.log("  skipped: qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)");
    return;
  }
  const ours = [];
  const theirs = [];
  const ratios = [];
  for (let run = 0; run < runs; run++) {
    const a = timeProcess(process.execPath, [cli, "boot", "-m", "64M", kernel]);
    const b = timeProcess("qemu-system-x86_64", qemu);
    if (a.output !== "!" || b.output !== "!") throw new Error("the guest did not print its byte");
    ours.push(a.ms);
    theirs.push(b.ms);
    ratios.push(a.ms / b.ms);
  }
  row("tsvm boot, 16-byte guest, whole process", ours, "ms");
  row("qemu-system-x86_64 -M microvm, same guest", theirs, "ms");
  row("tsvm / QEMU", ratios, "×  ", 2);
}

/** Exits to JavaScript and back. */
async function exits() {
  const count = 1_000_000;
  for (const [name, code] of [
    ["port I/O exits per second", portReads(0x3fd, count)],
    ["MMIO exits per second", mmioReads(0xd000_0000, count)],
  ]) {
    const kernel = guest("exits", code);
    const machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20, kernel });
    const { timeline } = await machine.stopped;
    const seconds = (timeline.stopped - timeline.firstEntry) / 1000;
    row(name, [count / seconds], "1/s", 0);
  }
  // Scavenges for want of space, all threads, while a hundred thousand and a million exits are handled: as many in both means
  // that an exit leaves no garbage. (Node also collects when idle, which is not counted.)
  for (const exitCount of [100_000, 1_000_000]) {
    const kernel = guest("gc", portReads(0x3fd, exitCount));
    const { output } = timeProcess(process.execPath, ["--trace-gc", cli, "boot", "-m", "64M", kernel]);
    const scavenges = output.split("\n").filter((line) => line.includes("allocation failure")).length;
    row(`garbage collections during ${exitCount} exits`, [scavenges], "   ", 0);
  }
}

/** virtio-blk from guest userland, direct I/O, one request at a time. */
async function disk() {
  const tool = join(work, "iobench");
  try {
    execFileSync("gcc", ["-O2", "-static", "-o", tool, join(root, "firmware/iobench/iobench.c")], {
      stdio: "pipe",
    });
  } catch (error) {
    console.log(
      `  skipped: needs gcc and libc6-dev to build firmware/iobench (${error.message.split("\n")[0]})`,
    );
    return;
  }
  const image = join(work, "data.img");
  const fd = openSync(image, "w");
  const chunk = Buffer.alloc(1 << 20, 0xa5);
  for (let mib = 0; mib < 256; mib++) writeSync(fd, chunk);
  closeSync(fd);
  const toolDisk = join(work, "tool.img");
  writeFileSync(toolDisk, execFileSync("cat", [tool], { maxBuffer: 1 << 26 }));
  truncateSync(toolDisk, Math.ceil(execFileSync("stat", ["-c", "%s", tool]) / 512) * 512);
  const modes = ["seq 4096", "rand 4096", "seq 131072", "rand 131072"];
  const script = `cat /dev/vdb > /tmp/iobench; chmod +x /tmp/iobench; ${modes.map((mode) => `/tmp/iobench /dev/vdc ${mode} 3000`).join("; ")}`;
  const output = execFileSync(
    process.execPath,
    [cli, "boot", "-m", "128M", "-d", `${toolDisk},ro`, "-d", `${image},ro`, "--", "sh", "-c", script],
    { encoding: "utf8", timeout: 120_000, stdio: ["ignore", "pipe", "inherit"] },
  );
  for (const [index, line] of output.trim().split("\n").entries()) {
    const [requests, bytes, nanoseconds] = line.split(" ").map(Number);
    const seconds = nanoseconds / 1e9;
    const [order, block] = modes[index].split(" ");
    const label = `${order === "seq" ? "sequential" : "random"} read, ${block / 1024} KiB, depth 1`;
    console.log(
      `  ${label.padEnd(40)}${(requests / seconds).toFixed(0).padStart(8)} requests/s ${(bytes / seconds / 2 ** 20).toFixed(1).padStart(9)} MiB/s`,
    );
  }
}

/** The bundled Linux. */
async function userland() {
  const toUserland = [];
  const whole = [];
  for (let run = 0; run < Math.max(3, Math.ceil(runs / 3)); run++) {
    const { ms, output } = timeProcess(process.execPath, [cli, "boot", "-m", "64M", "--json", "--", "true"]);
    const report = JSON.parse(output);
    if (report.status !== 0) throw new Error(output);
    toUserland.push(report.millisecondsSinceProcessStart.userland);
    whole.push(ms);
  }
  row("tsvm boot -- true: process start → guest userland", toUserland, "ms", 0);
  row("tsvm boot -- true, whole process", whole, "ms", 0);
}
