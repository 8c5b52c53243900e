// The same stock kernel, initramfs and root disk in tsvm and in QEMU's microvm, in turn: how long until the kernel runs init, until
// userland speaks, and until the process is gone. Wants hardware KVM; elsewhere it runs itself in the test bed.
//
//   node scripts/bench-stock.mjs [--runs 5] [--cpus 1] [--kernel cloud-amd64|amd64] [--quiet]
//
// --quiet adds `quiet` to both kernel command lines: what is left when the kernel's log does not go through the serial port.
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runWhereKvmIsHardware } from "./bench/hardware-kvm.mjs";
import { median } from "./bench/statistics.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    cpus: { type: "string", default: "1" },
    kernel: { type: "string", default: "cloud-amd64" },
    quiet: { type: "boolean", default: false },
    guest: { type: "string" },
  },
});
const MEMORY = "256M";
const LIMIT_MS = 120_000;

if (values.guest === undefined) {
  const options = ["--runs", values.runs, "--cpus", values.cpus, ...(values.quiet ? ["--quiet"] : [])];
  process.exitCode = runWhereKvmIsHardware("scripts/bench-stock.mjs", values.kernel, options);
} else await compare(values.guest);

async function compare(guest) {
  const work = mkdtempSync(join(tmpdir(), "tsvm-bench-"));
  process.on("exit", () => rmSync(work, { recursive: true, force: true }));
  const disk = join(work, "root.ext4");
  const boot = { kernel: join(guest, "vmlinuz"), initrd: join(guest, "initrd.img"), disk };
  const script = Buffer.from("echo USERLAND\n").toString("base64");
  const append = `${values.quiet ? "quiet " : ""}run=${script}`;
  const contestants = {
    tsvm: () => tsvm(boot, append),
    "QEMU microvm": () => qemu(boot, append),
  };
  const results = { tsvm: [], "QEMU microvm": [], node: [] };
  for (let run = 0; run < Number(values.runs); run++) {
    results.node.push(timeNode());
    for (const [name, start] of Object.entries(contestants)) {
      copyFileSync(join(guest, "root.ext4"), disk);
      results[name].push(await observe(...start()));
    }
  }
  report(results);
}

function tsvm({ kernel, initrd, disk }, append) {
  const cli = join(root, "dist/cli.cjs");
  const machine = ["-k", kernel, "-i", initrd, "-m", MEMORY, "-c", values.cpus, disk];
  return [process.execPath, [cli, "boot", "--verbose", "-a", append, ...machine]];
}

function qemu({ kernel, initrd, disk }, append) {
  const machine = ["-M", "microvm,accel=kvm,acpi=on", "-cpu", "host", "-smp", values.cpus, "-m", MEMORY];
  const devices = ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"];
  const drive = [
    "-drive",
    `id=root,file=${disk},format=raw,if=none`,
    "-device",
    "virtio-blk-device,drive=root",
  ];
  const rng = ["-device", "virtio-rng-device"];
  const cmdline = `console=ttyS0 panic=-1 root=/dev/vda rw ${append}`;
  return [
    "qemu-system-x86_64",
    [...machine, ...devices, ...drive, ...rng, "-kernel", kernel, "-initrd", initrd, "-append", cmdline],
  ];
}

function timeNode() {
  const start = performance.now();
  spawnSync(process.execPath, ["-e", "0"]);
  return performance.now() - start;
}

/** Runs one contestant to its end; times in ms. */
function observe(command, args) {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    let console = "";
    let stderr = "";
    let userland;
    child.stdout.setEncoding("latin1").on("data", (text) => {
      console += text;
      if (userland === undefined && /^USERLAND/m.test(console)) userland = performance.now() - start;
    });
    child.stderr.setEncoding("latin1").on("data", (text) => (stderr += text));
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(timer);
      if (status !== 0 || userland === undefined) {
        reject(new Error(`${command} ended with ${status}:\n${console.slice(-3000)}\n${stderr}`));
        return;
      }
      const entry = /first guest instruction +([\d.]+)/.exec(stderr);
      resolve({
        // The kernel's own clock; quiet hides the line.
        init: Number(/\[ *([\d.]+)\] Run \/init/.exec(console)?.[1] ?? Number.NaN) * 1000,
        entry: entry === null ? undefined : Number(entry[1]),
        userland,
        exit: performance.now() - start,
      });
    });
  });
}

function report(results) {
  const ours = results.tsvm;
  const theirs = results["QEMU microvm"];
  const line = (name, cells) =>
    process.stdout.write(`${name.padEnd(52)}${cells.map((c) => c.padStart(12)).join("")}\n`);
  const seconds = (list) => (median(list) / 1000).toFixed(2);
  line(`s, medians of ${ours.length}, ${values.cpus} vCPU, ${MEMORY}`, ["tsvm", "QEMU", "tsvm/QEMU"]);
  for (const [key, name] of [
    ["init", "kernel's own clock at 'Run /init'"],
    ["userland", "process start → userland speaks"],
    ["exit", "process start → exit"],
  ]) {
    const [a, b] = [ours, theirs].map((runs) => runs.map((run) => run[key]));
    if (a.some(Number.isNaN)) continue;
    line(name, [seconds(a), seconds(b), median(a.map((value, index) => value / b[index])).toFixed(2)]);
  }
  line("process start → first guest instruction", [seconds(ours.map(({ entry }) => entry)), "", ""]);
  line("node -e 0, for comparison", [seconds(results.node), "", ""]);
}
