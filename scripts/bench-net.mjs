// The same guest in tsvm and in QEMU's microvm, in turn, over the same back ends: a tap device, passt and vsock. How much a TCP or
// vsock stream carries in each direction, and how long one byte takes there and back. Wants hardware KVM and root; elsewhere
// it runs itself in the test bed.
//
//   node scripts/bench-net.mjs [--rounds 3] [--seconds 3] [--warm-up 8] [--ways tap,passt,vsock]
//
// The guest is the bundled kernel, and a program (firmware/netbench) that serves as its init. Node compiles code that has run for a
// while: every stream runs for --warm-up seconds before anything counts, in both monitors.
//
// Ratios are medians of the rounds' ratios tsvm/QEMU: above 1 tsvm carries more; for the round trips, below 1 it is quicker.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { commandWhereKvmIsHardware } from "./bench/hardware-kvm.mjs";
import { median } from "./bench/statistics.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "3" },
    "warm-up": { type: "string", default: "8" },
    ways: { type: "string", default: "tap,passt,vsock" },
    "in-place": { type: "boolean", default: false },
  },
});
const WAYS = values.ways.split(",");
const DIRECTIONS = ["send", "receive", "echo"];
const TITLES = { send: "host to guest, MB/s", receive: "guest to host, MB/s", echo: "round trip, µs" };
const MEMORY = "256M";
/** Ports of the host that passt leads to 5001, 5002 and 5003 of the guest. */
const FORWARD_OFFSET = 20_000;
const CID = 77;
const TAP = { name: "netbench0", host: "192.168.77.1", guest: "192.168.77.2" };
/** tsvm's user network, and what QEMU's passt is told. */
const USER = { guest: "10.0.2.15", gateway: "10.0.2.2" };

if (!values["in-place"]) {
  const options = Object.entries(values).flatMap(([name, value]) =>
    name === "in-place" ? [] : [`--${name}`, value],
  );
  process.exitCode = commandWhereKvmIsHardware("scripts/bench-net.mjs", ["--in-place", ...options]);
} else await main();

async function main() {
  const work = mkdtempSync(join(process.env.TSVM_BENCH_DIR ?? tmpdir(), "tsvm-bench-"));
  process.on("exit", () => rmSync(work, { recursive: true, force: true }));
  const tool = join(work, "init");
  execFileSync("gcc", ["-O2", "-static", "-o", tool, join(root, "firmware/netbench/netbench.c")]);
  const kernel = join(work, "vmlinux");
  const initrd = join(work, "initrd");
  execFileSync("sh", ["-c", `cd "$1" && echo init | cpio -o -H newc >initrd`, "sh", work], {
    stdio: "ignore",
  });
  const { brotliDecompressSync } = await import("node:zlib");
  const { readFileSync } = await import("node:fs");
  writeFileSync(kernel, brotliDecompressSync(readFileSync(join(root, "images/vmlinux.br"))));
  prepareHost();
  const results = new Map();
  for (const way of WAYS) {
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const monitor of ["tsvm", "QEMU"]) {
        const figures = await session(monitor, way, { work, tool, kernel, initrd });
        for (const [direction, figure] of figures) {
          const key = `${way} ${direction}`;
          if (!results.has(key)) results.set(key, { tsvm: [], QEMU: [] });
          results.get(key)[monitor].push(figure);
        }
        process.stderr.write(
          `${way}, round ${round + 1}, ${monitor}: ${[...figures.values()].map((x) => x.toFixed(1)).join(" ")}\n`,
        );
      }
    }
  }
  report(results);
}

/** A tap device; and for passt, which wants one, a default route, where there is none. */
function prepareHost() {
  const ip = (...args) => execFileSync("ip", args, { stdio: "ignore" });
  if (WAYS.includes("tap")) {
    ip("tuntap", "add", TAP.name, "mode", "tap", "vnet_hdr");
    process.on("exit", () => ip("link", "delete", TAP.name));
    ip("addr", "add", `${TAP.host}/24`, "dev", TAP.name);
    ip("link", "set", TAP.name, "up");
  }
  if (execFileSync("ip", ["route", "show", "default"], { encoding: "utf8" }) === "") {
    ip("link", "add", "netbench1", "type", "dummy");
    process.on("exit", () => ip("link", "delete", "netbench1"));
    ip("addr", "add", "192.168.78.2/24", "dev", "netbench1");
    ip("link", "set", "netbench1", "up");
    ip("route", "add", "default", "via", "192.168.78.1");
  }
}

/** One guest's life: the figure of each direction. */
async function session(monitor, way, files) {
  const socket = join(files.work, "vsock");
  const helper = monitor === "QEMU" && way === "passt" ? startPasst(files.work) : undefined;
  const [command, args] = monitor === "tsvm" ? tsvm(way, files, socket) : qemu(way, files);
  const guest = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [guest.stdout, guest.stderr])
    stream.setEncoding("latin1").on("data", (text) => (output += text));
  const ended = new Promise((resolve) => guest.on("close", resolve));
  try {
    await until(() => {
      if (guest.exitCode !== null) throw new Error(`${command} ended:\n${output}`);
      return output.includes("SERVING");
    });
    const address = {
      tap: `tcp:${TAP.guest}:0`,
      passt: `tcp:127.0.0.1:${FORWARD_OFFSET}`,
      vsock: monitor === "tsvm" ? `unix:${socket}` : `vsock:${CID}`,
    }[way];
    const figures = new Map();
    for (const direction of DIRECTIONS) {
      await measure(files.tool, address, direction, Number(values["warm-up"]));
      figures.set(direction, await measure(files.tool, address, direction, Number(values.seconds)));
    }
    return figures;
  } catch (error) {
    throw new Error(`${monitor}, ${way}: ${error.message}\n${output.slice(-2000)}`, { cause: error });
  } finally {
    guest.kill("SIGKILL");
    await ended;
    helper?.kill();
  }
}

/** MB/s, or µs for the median round trip. */
function measure(tool, address, direction, seconds) {
  return new Promise((resolve, reject) => {
    const client = spawn(tool, [address, direction, String(seconds * 1000)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => client.kill("SIGKILL"), (seconds + 120) * 1000);
    let output = "";
    let errors = "";
    client.stdout.on("data", (text) => (output += text));
    client.stderr.on("data", (text) => (errors += text));
    client.on("close", (status) => {
      clearTimeout(timer);
      const [amount, nanoseconds, middle] = output.trim().split(" ").map(Number);
      if (status !== 0) reject(new Error(`netbench ${address} ${direction} ended with ${status}: ${errors}`));
      else resolve(direction === "echo" ? middle / 1000 : amount / 1e6 / (nanoseconds / 1e9));
    });
  });
}

function tsvm(way, { kernel, initrd }, socket) {
  const { guest } = way === "passt" ? USER : TAP;
  const ports = [5001, 5002, 5003].flatMap((port) => ["-p", `127.0.0.1:${port + FORWARD_OFFSET}:${port}`]);
  const device = {
    tap: ["--net", `tap=${TAP.name}`],
    passt: ["--net", "user", ...ports],
    vsock: ["--vsock", socket],
  }[way];
  return [
    process.execPath,
    [
      ...[join(root, "dist/cli.cjs"), "boot", "-k", kernel, "-i", initrd, "-m", MEMORY, "--no-acpi"],
      ...device,
      ...["-a", `quiet rdinit=/init netbench=${guest}`],
    ],
  ];
}

function qemu(way, { kernel, initrd, work }) {
  const { guest } = way === "passt" ? USER : TAP;
  const device = {
    tap: [
      ...["-netdev", `tap,id=n,ifname=${TAP.name},script=no,downscript=no,vhost=off`],
      ...["-device", "virtio-net-device,netdev=n"],
    ],
    passt: [
      ...["-netdev", `stream,id=n,server=off,addr.type=unix,addr.path=${join(work, "passt")}`],
      ...["-device", "virtio-net-device,netdev=n,host_mtu=65520"],
    ],
    // vhost: the kernel serves it, QEMU has no other.
    vsock: ["-device", `vhost-vsock-device,guest-cid=${CID}`],
  }[way];
  return [
    "qemu-system-x86_64",
    [
      ...["-M", "microvm,accel=kvm,acpi=off,auto-kernel-cmdline=on", "-cpu", "host", "-m", MEMORY],
      ...["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"],
      ...["-global", "virtio-mmio.force-legacy=false", ...device],
      ...["-kernel", kernel, "-initrd", initrd],
      ...["-append", `console=ttyS0 panic=-1 quiet rdinit=/init netbench=${guest}`],
    ],
  ];
}

function startPasst(work) {
  const ports = [5001, 5002, 5003].map((port) => `127.0.0.1/${port + FORWARD_OFFSET}:${port}`);
  return spawn(
    "passt",
    [
      ...["--foreground", "--quiet", "--one-off", "--socket", join(work, "passt"), "--runas", "0"],
      ...["--address", USER.guest, "--netmask", "24", "--gateway", USER.gateway, "--mtu", "65520"],
      ...ports.flatMap((port) => ["--tcp-ports", port]),
    ],
    { stdio: "ignore" },
  );
}

async function until(condition) {
  for (const end = Date.now() + 120_000; !condition();) {
    if (Date.now() > end) throw new Error("the guest does not come up");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function report(results) {
  const line = (name, cells) =>
    process.stdout.write(`${name.padEnd(32)}${cells.map((cell) => cell.padStart(12)).join("")}\n`);
  line(`medians of ${values.rounds} rounds`, ["tsvm", "QEMU", "tsvm/QEMU"]);
  for (const [key, { tsvm: ours, QEMU: theirs }] of results) {
    const [way, direction] = key.split(" ");
    line(`${way}, ${TITLES[direction]}`, [
      median(ours).toFixed(1),
      median(theirs).toFixed(1),
      median(ours.map((value, index) => value / theirs[index])).toFixed(2),
    ]);
  }
}
