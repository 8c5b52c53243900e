// The same guest with the same images in tsvm and in QEMU's microvm, in turn: how fast a program in it reads and writes its
// disks with direct I/O, past the page caches of guest and host. Wants hardware KVM; elsewhere it runs itself in the test bed.
//
//   node scripts/bench-disk-guest.mjs [--rounds 3] [--seconds 2] [--warm-up 20] [--size MIB] [--cpus 1] [--cache none]
//                                     [--formats raw,qcow2]
//
// Node compiles code that has run for a while: a tenth of a second on a real machine, many seconds in the test bed. So the
// guest works on each disk for --warm-up seconds before anything counts, in both monitors.
//
// Ratios are medians of the rounds' ratios tsvm/QEMU. The images are written to, and all of their space is allocated.
import { execFileSync, spawn } from "node:child_process";
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
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2" },
    "warm-up": { type: "string", default: "20" },
    size: { type: "string", default: "256" },
    cpus: { type: "string", default: "1" },
    cache: { type: "string", default: "none" },
    formats: { type: "string", default: "raw,qcow2" },
    guest: { type: "string" },
  },
});
const MEMORY = "256M";
const LIMIT_MS = 600_000;
const FORMATS = values.formats.split(",");
/** Order, bytes, depth, direction; as iobench takes them. */
const MODES = [
  ["rand", 4096, 1, "read"],
  ["rand", 4096, 32, "read"],
  ["rand", 4096, 32, "write"],
  ["seq", 131072, 1, "read"],
  ["seq", 131072, 32, "read"],
  ["seq", 131072, 1, "write"],
  ["seq", 131072, 32, "write"],
];

if (values.guest === undefined) {
  const options = Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
  process.exitCode = runWhereKvmIsHardware("scripts/bench-disk-guest.mjs", "cloud-amd64", options);
} else await compare(values.guest);

async function compare(guest) {
  const work = mkdtempSync(join(process.env.TSVM_BENCH_DIR ?? tmpdir(), "tsvm-bench-"));
  process.on("exit", () => rmSync(work, { recursive: true, force: true }));
  const tool = join(work, "iobench");
  execFileSync("gcc", ["-O2", "-static", "-o", tool, join(root, "firmware/iobench/iobench.c")]);
  execFileSync("truncate", ["-s", "%4096", tool]);
  const rootDisk = join(work, "root.ext4");
  copyFileSync(join(guest, "root.ext4"), rootDisk);
  const images = FORMATS.map((format) => ({ format, path: join(work, `disk.${format}`) }));
  for (const { format, path } of images) makeImage(format, path, work);
  const machine = {
    kernel: join(guest, "vmlinuz"),
    initrd: join(guest, "initrd.img"),
    rootDisk,
    tool,
    images,
  };
  const script = Buffer.from(guestScript(images)).toString("base64");
  const contestants = {
    tsvm: tsvm(machine, `quiet run=${script}`),
    QEMU: qemu(machine, `quiet run=${script}`),
  };
  const rates = { tsvm: [], QEMU: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, [command, args]] of Object.entries(contestants)) {
      rates[name].push(await run(command, args));
    }
  }
  report(rates);
}

/** All allocated, and no zeros: reading does not end at the tables. */
function makeImage(format, path, work) {
  const raw = join(work, "content");
  execFileSync("sh", [
    "-c",
    `yes 'tsvm disk benchmark' | head -c ${Number(values.size) * 2 ** 20} > "$1"`,
    "sh",
    raw,
  ]);
  execFileSync("qemu-img", ["convert", "-f", "raw", "-O", format, "-S", "0", raw, path]);
  rmSync(raw);
}

/** In loops, because it travels on the kernel's command line, which is short. */
function guestScript(images) {
  const disks = images.map(({ format }, index) => `${format}:${"cdef"[index]}`).join(" ");
  const modes = MODES.map((mode) => mode.join(":")).join(" ");
  const ms = Number(values.seconds) * 1000;
  const warmUp = Number(values["warm-up"]) * 250;
  return [
    "cat /dev/vdb >/tmp/iobench",
    "chmod +x /tmp/iobench",
    'bench() { /tmp/iobench /dev/vd${disk#*:} "$@"; }',
    `for disk in ${disks}; do`,
    `for how in "1 read" "1 write" "32 read" "32 write"; do bench rand 4096 ${warmUp} $how >/dev/null; done`,
    `for mode in ${modes}; do`,
    "IFS=:; set -- $mode; unset IFS",
    `echo "RESULT \${disk%:*}:$mode $(bench $1 $2 ${ms} $3 $4)"`,
    "done; done",
    "",
  ].join("\n");
}

function tsvm({ kernel, initrd, rootDisk, tool, images }, append) {
  const disks = [
    `${tool},ro,format=raw`,
    ...images.map(({ path, format }) => `${path},format=${format},cache=${values.cache}`),
  ];
  return [
    process.execPath,
    [
      ...[join(root, "dist/cli.cjs"), "boot", "-k", kernel, "-i", initrd, "-m", MEMORY, "-c", values.cpus],
      ...disks.flatMap((disk) => ["-d", disk]),
      ...["-a", append, rootDisk],
    ],
  ];
}

function qemu({ kernel, initrd, rootDisk, tool, images }, append) {
  const drive = (id, path, options) => [
    ...["-drive", `id=${id},file=${path},if=none,${options}`],
    ...["-device", `virtio-blk-device,drive=${id}`],
  ];
  // aio=native is QEMU's quickest way with O_DIRECT, and wants it.
  const cache = values.cache === "none" ? "cache=none,aio=native" : `cache=${values.cache}`;
  // microvm gives its windows to devices in reverse order.
  const drives = [
    drive("root", rootDisk, "format=raw"),
    drive("tool", tool, "format=raw,readonly=on"),
    ...images.map(({ path, format }, index) => drive(`disk${index}`, path, `format=${format},${cache}`)),
  ];
  return [
    "qemu-system-x86_64",
    [
      ...["-M", "microvm,accel=kvm,acpi=on", "-cpu", "host", "-smp", values.cpus, "-m", MEMORY],
      ...["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"],
      ...drives.flat(),
      ...["-kernel", kernel, "-initrd", initrd],
      ...["-append", `console=ttyS0 panic=-1 root=/dev/vda rw ${append}`],
    ],
  ];
}

/** Requests per second, by mode. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    let console = "";
    let stderr = "";
    child.stdout.setEncoding("latin1").on("data", (text) => (console += text));
    child.stderr.setEncoding("latin1").on("data", (text) => (stderr += text));
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(timer);
      const results = [...console.matchAll(/^RESULT (\S+) (\d+) \d+ (\d+)/gm)];
      if (status !== 0 || results.length !== MODES.length * FORMATS.length) {
        reject(new Error(`${command} ended with ${status}:\n${console.slice(-3000)}\n${stderr}`));
      } else
        resolve(
          new Map(results.map(([, key, requests, ns]) => [key, (Number(requests) * 1e9) / Number(ns)])),
        );
    });
  });
}

function report(rates) {
  const line = (name, cells) =>
    process.stdout.write(`${name.padEnd(40)}${cells.map((cell) => cell.padStart(12)).join("")}\n`);
  line(`requests/s, medians of ${rates.tsvm.length}, cache=${values.cache}`, ["tsvm", "QEMU", "tsvm/QEMU"]);
  for (const key of rates.tsvm[0].keys()) {
    const [ours, theirs] = [rates.tsvm, rates.QEMU].map((rounds) => rounds.map((round) => round.get(key)));
    const [format, order, bytes, depth, direction] = key.split(":");
    line(`${format}, ${bytes / 1024} KiB ${order} ${direction}, depth ${depth}`, [
      median(ours).toFixed(0),
      median(theirs).toFixed(0),
      median(ours.map((value, index) => value / theirs[index])).toFixed(2),
    ]);
  }
}
