/** scripts/kvm-host: runs a command in the test bed. docs/test-bed.md says what that is. */
import { closeSync, openSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArguments, USAGE } from "./arguments.mjs";
import { buildIfOld, ROOT } from "./checkout.mjs";
import { checkoutDisk, nodeDisk, packagesDisk } from "./disks.mjs";
import { TestBedError, UsageError } from "./errors.mjs";
import { initramfs } from "./initramfs.mjs";
import { isLeaving, leave, leaveOnSignals, makeTemporary, removeTemporary } from "./lifetime.mjs";
import { runMachine } from "./machine.mjs";
import { environment, standardInput } from "./request.mjs";
import { needPrograms, systemDirectory } from "./system.mjs";
import { packInputs, unpackOutputs } from "./transfer.mjs";

const STATUS_TIME_OVER = 124;
const STATUS_FAILED = 125;
/** Room for all --out, in bytes. The file is sparse. */
const OUT_SIZE = 64 * 2 ** 30;

const say = (text) => process.stderr.write(`kvm-host: ${text}\n`);

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (options.terminal && !(process.stdin.isTTY && process.stdout.isTTY)) {
    throw new UsageError("--terminal needs a terminal on standard input and output");
  }
  const began = performance.now();
  const tellTime = (what) => {
    if (options.verbose) say(`${what} after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  };

  await needPrograms();
  await buildIfOld();
  const system = await systemDirectory(say);
  const node = await nodeDisk();
  const packages = await packagesDisk(ROOT);
  if (options.prepare) return 0;

  const temporary = makeTemporary();
  const kernel = join(system, "vmlinuz");
  const initrd = join(temporary, "initrd");
  writeFileSync(initrd, initramfs(ROOT, system));
  const checkout = join(temporary, "checkout.ext4");
  await checkoutDisk(ROOT, checkout);
  // In the order that guest/init expects.
  const disks = [join(system, "root.ext4"), node, checkout, packages].map((path) => ({ path, kept: false }));
  const attach = (path, kept) => `/dev/vd${"abcdef"[disks.push({ path, kept }) - 1]}`;

  let inputDevice = "-";
  if (options.inputs.length > 0) {
    const archive = join(temporary, "in.tar");
    await packInputs(options.inputs, archive);
    inputDevice = attach(archive, false);
  }
  let outputDevice = "-";
  let outputFile;
  if (options.outputs.length > 0) {
    const archive = join(temporary, "out.tar");
    writeFileSync(archive, "");
    truncateSync(archive, OUT_SIZE);
    outputFile = openSync(archive, "r");
    outputDevice = attach(archive, true);
  }
  tellTime("everything is prepared");

  const { command, inputs, outputs, cpus, memory, verbose, terminal } = options;
  const request = {
    // See guest/run.
    command: [
      ...["/lib/test-bed-run", inputDevice, outputDevice],
      ...[inputs, outputs].flatMap((list) => [`${list.length}`, ...list.map(({ guestPath }) => guestPath)]),
      ...command,
    ],
    environment: environment(options),
    directory: "/tsvm",
    hostname: "test-bed",
    terminal,
  };
  const streams = { stdin: standardInput(options), stdout: process.stdout, stderr: process.stderr };
  const machine = { kernel, initrd, disks, cpus, memory, temporary, request, streams, verbose };
  const status = await withTimeLimit(options.timeout, () =>
    runMachine({ ...machine, onStarted: removeTemporary }),
  );
  tellTime("the command has ended");
  return outputFile === undefined ? status : collect(outputs, outputFile, status);
}

async function withTimeLimit(limit, work) {
  const timer = setTimeout(() => {
    say(`ended after ${limit / 1000} s, the time limit (--timeout)`);
    void leave(STATUS_TIME_OVER);
  }, limit);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
  }
}

/** Brings --out here. What is missing is a failure where the command says that it has succeeded. */
async function collect(outputs, file, status) {
  const missing = await unpackOutputs(outputs, file);
  closeSync(file);
  for (const path of missing) say(`--out ${path}: not in the machine at the end`);
  return status === 0 && missing.length > 0 ? STATUS_FAILED : status;
}

leaveOnSignals();
try {
  await leave(await main(), { flush: true });
} catch (error) {
  if (!isLeaving()) {
    say(error instanceof TestBedError ? error.message : error.stack);
    if (error instanceof UsageError) process.stderr.write("Try scripts/kvm-host --help.\n");
    await leave(STATUS_FAILED, { flush: true });
  }
}
