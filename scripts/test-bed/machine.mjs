/** The QEMU machine: started, talked to, ended. */
import { TestBedError } from "./errors.mjs";
import { start } from "./processes.mjs";
import { encodeRun, encodeStdin, encodeStdinEnd, encodeWindow, frameReader } from "./session.mjs";

/** Of the machine's console and of QEMU's own output, in an error message. */
const TAIL_LINES = 20;
const TAIL_BYTES = 16 * 1024;
/** How long to wait for init's last words after the machine has stopped. */
const LAST_WORDS_MS = 2000;

/**
 * Without XSAVE and what needs it: QEMU's emulation does not hand a nested guest's XSETBV to KVM, which then restores another XCR0
 * at each entry, and the guest loses its vector registers.
 */
const PROCESSOR = "EPYC,+svm,+npt,-xsave,-xsaveopt,-xsavec,-xgetbv1,-avx,-avx2,-f16c,-fma";
/** The processors share the host's TSC, so it is the clock: as on real machines, and 5 times cheaper to read than the HPET. */
const KERNEL_PARAMETERS = "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on tsc=reliable";

/**
 * Runs a command in a machine and gives its exit status.
 *
 * `disks`: {path, kept} in the order of /dev/vda, /dev/vdb, …; what is written to one goes to the file only if `kept`.
 * `request`: see encodeRun. `streams`: {stdin, stdout, stderr}, stdin null for none. `onStarted`: QEMU has opened all files.
 * Throws TestBedError if the machine ends before the command.
 */
export function runMachine({
  kernel,
  initrd,
  disks,
  cpus,
  memory,
  temporary,
  request,
  streams,
  verbose,
  onStarted,
}) {
  const { terminal } = request;
  const qemu = start("setpriv", ["--pdeathsig", "KILL", "qemu-system-x86_64", ...qemuArguments()], {
    // QEMU's own temporary files, which have no name after it has opened them, go there.
    env: { ...process.env, TMPDIR: temporary },
    stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe", "pipe"],
  });
  const [, qemuStdout, qemuStderr, control, monitor, consolePort, terminalPort] = qemu.stdio;

  function qemuArguments() {
    const drives = disks.flatMap(({ path, kept }) => [
      "-drive",
      `file=${path.replaceAll(",", ",,")},format=raw,if=virtio,cache=unsafe,discard=unmap,werror=report,snapshot=${kept ? "off" : "on"}`,
    ]);
    const sockets = { control: 3, monitor: 4, console: 5, terminal: 6 };
    return [
      ...["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", PROCESSOR],
      ...["-smp", `${cpus}`, "-m", `${memory}M`, "-nodefaults", "-no-user-config", "-display", "none"],
      // A machine that has stopped keeps QEMU alive until all it has said is read.
      ...["-action", "reboot=shutdown,shutdown=pause"],
      ...["-kernel", kernel, "-initrd", initrd, "-append", KERNEL_PARAMETERS],
      ...Object.entries(sockets).flatMap(([id, fd]) => ["-chardev", `socket,id=${id},fd=${fd}`]),
      ...["-mon", "chardev=monitor,mode=control", "-serial", "chardev:console"],
      ...["-device", "virtio-serial-pci,max_ports=2", "-device", "virtconsole,chardev=terminal"],
      ...["-device", "virtserialport,chardev=control,name=tsvm.control"],
      ...drives,
    ];
  }

  return new Promise((resolve, reject) => {
    let console_ = "";
    let complaints = "";
    let settled = false;

    /** The first reason counts. */
    const end = (settle) => {
      if (settled) return;
      settled = true;
      restoreStdin();
      qemu.once("close", settle);
      qemu.kill("SIGKILL");
    };
    const fail = (message) => {
      end(() => {
        reject(new TestBedError([message, ...tail(`${console_}\n${complaints}`)].join("\n")));
      });
    };

    // --- QEMU ---
    qemu.on("error", (error) => {
      settled = true;
      reject(new TestBedError(`cannot start QEMU: ${error.message}`));
    });
    qemu.on("close", (status, signal) => {
      if (!settled) {
        settled = true;
        reject(new TestBedError(`QEMU ended (${signal ?? `status ${status}`})\n${complaints}`.trimEnd()));
      }
    });
    for (const stream of qemu.stdio.slice(1)) stream.on("error", () => undefined); // QEMU has ended, see above
    for (const stream of [qemuStdout, qemuStderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        // The emulated processor lacks features that its model has. That is known.
        complaints += text.replaceAll(/.*warning: TCG doesn't support requested feature.*\n/g, "");
      });
    }
    monitor.write('{"execute":"qmp_capabilities"}\n');
    lines(monitor, (line) => {
      const message = JSON.parse(line);
      if (message.return !== undefined) onStarted();
      if (message.event === "SHUTDOWN")
        afterLastWords(() => fail("the machine stopped before the command did"));
    });
    consolePort.setEncoding("utf8").on("data", (text) => {
      console_ = (console_ + text).slice(-TAIL_BYTES);
      if (verbose) process.stderr.write(text);
    });

    /** Calls when nothing has come from init for a while. What our own reader is slow to take does not count as nothing. */
    function afterLastWords(call) {
      const look = setInterval(() => {
        if (full.size > 0) heard = performance.now();
        if (performance.now() - heard < LAST_WORDS_MS) return;
        clearInterval(look);
        call();
      }, LAST_WORDS_MS / 10);
      heard = performance.now();
    }

    // --- the command ---
    const { stdin, stdout, stderr } = streams;
    const full = new Set();
    const pass = (stream, bytes) => {
      if (stream.write(bytes) || full.has(stream)) return;
      full.add(stream);
      control.pause();
      stream.once("drain", () => {
        full.delete(stream);
        if (full.size === 0) control.resume();
      });
    };
    const read = frameReader({
      hello() {
        if (verbose) process.stderr.write("kvm-host: init has started\n");
      },
      stdout: (bytes) => pass(stdout, bytes),
      stderr: (bytes) => pass(stderr, bytes),
      exit({ kind, value, text }) {
        if (kind === "not-started") fail(`cannot start a command in the machine: ${text}`);
        else end(() => resolve(kind === "signaled" ? 128 + value : value));
      },
    });
    let heard = 0;
    control.on("data", (bytes) => {
      heard = performance.now();
      try {
        read(bytes);
      } catch (error) {
        fail(error.message);
      }
    });
    control.write(encodeRun(request));
    if (terminal) {
      terminalPort.on("data", (bytes) => stdout.write(bytes));
      stdin.setRawMode(true);
      stdin.on("data", (bytes) => terminalPort.write(bytes));
      const resize = () => control.write(encodeWindow(stdout.rows, stdout.columns));
      stdout.on("resize", resize);
      resize();
    } else if (stdin === null) {
      control.write(encodeStdinEnd());
    } else {
      stdin.on("data", (bytes) => {
        if (control.write(encodeStdin(bytes))) return;
        stdin.pause();
        control.once("drain", () => stdin.resume());
      });
      stdin.on("end", () => control.write(encodeStdinEnd()));
    }

    function restoreStdin() {
      if (terminal) stdin.setRawMode(false);
      stdin?.pause();
    }
  });
}

/** The last lines of what the machine said, and all since it panicked, if it did. */
function tail(text) {
  const lines = text.split(/[\r\n]+/).filter((line) => line !== "");
  const panic = lines.findLastIndex((line) => line.includes("Kernel panic"));
  const from = Math.max(lines.length - TAIL_LINES, 0);
  return lines.slice(panic < 0 ? from : Math.min(panic, from)).map((line) => `  ${line}`);
}

/** Calls with each line. */
function lines(stream, each) {
  let rest = "";
  stream.setEncoding("utf8").on("data", (text) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop();
    parts.filter((line) => line.trim() !== "").forEach(each);
  });
}
