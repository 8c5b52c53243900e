/**
 * Run inside the test bed: boots a Debian image twice and works on its console as a person would.
 *
 *   node debian-session.mjs IMAGE ROOT-PARTITION PASSWORD OUTPUT-DIRECTORY
 *
 * First boot: logs in, asks systemd for failed units, and powers off from inside. Second boot: waits for the login, and has tsvm shut
 * the guest down. Afterwards e2fsck looks at the root. Results: result.json; consoles: inside.log, outside.log.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const [image, rootPartition, password, output] = process.argv.slice(2);
const STEP_LIMIT_MS = 240_000;
/** The emulated processor sometimes fails a nested guest, QEMU's own as well. */
const ATTEMPTS = 3;

/** A booted guest whose console can be waited on and typed on. */
class Session {
  console = "";
  stderr = "";
  status;
  #seen = 0;

  constructor() {
    // Kernel, initrd and command line come from the image.
    const args = ["boot", "-c", "2", "-m", "1G", "--shutdown-timeout", "180s", image];
    this.started = performance.now();
    this.child = spawn("tsvm", args, { stdio: ["pipe", "pipe", "pipe"] });
    this.child.stdout.setEncoding("latin1").on("data", (text) => (this.console += text));
    this.child.stderr.setEncoding("utf8").on("data", (text) => (this.stderr += text));
    this.closed = new Promise((resolve) => {
      this.child.on("close", (status) => resolve((this.status = status)));
    });
  }

  /** Waits for text that comes after what was waited for before; gives what came in between. */
  async waitFor(pattern) {
    const limit = performance.now() + STEP_LIMIT_MS;
    for (;;) {
      const rest = this.console.slice(this.#seen);
      const match = pattern.exec(rest);
      if (match !== null) {
        this.#seen += match.index + match[0].length;
        return rest.slice(0, match.index + match[0].length);
      }
      if (this.status !== undefined) throw new Error(`tsvm ended with ${this.status} before ${pattern}`);
      if (performance.now() > limit) throw new Error(`waited in vain for ${pattern}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  type(line) {
    this.child.stdin.write(`${line}\r`);
  }

  async end() {
    const timer = setTimeout(() => this.child.kill("SIGKILL"), STEP_LIMIT_MS);
    await this.closed;
    clearTimeout(timer);
    return this.status;
  }
}

/** Runs one visit; again where the guest hung or died before it said what was waited for. */
async function visit(name, work) {
  for (let attempt = 1; ; attempt++) {
    const session = new Session();
    try {
      return { attempt, ...(await work(session)) };
    } catch (error) {
      session.child.kill("SIGKILL");
      await session.closed;
      process.stderr.write(
        `${name}, attempt ${attempt}: ${error.message}\n${session.console.slice(-1500)}\n${session.stderr}\n`,
      );
      if (attempt === ATTEMPTS) throw error;
    } finally {
      writeFileSync(join(output, `${name}.log`), session.console);
    }
  }
}

async function fromInside(session) {
  await session.waitFor(/login: $/);
  const loginMs = performance.now() - session.started;
  session.type("root");
  await session.waitFor(/Password: $/);
  session.type(password);
  await session.waitFor(/# $/);
  // Echoed commands must not look like their output.
  session.type(
    "systemctl is-system-running --wait; systemctl --failed --no-pager --no-legend --plain; echo 'fa''iled listed'",
  );
  const failed = await session.waitFor(/failed listed/);
  session.type("nproc; findmnt -n -o SOURCE,FSTYPE /; date >/root/was-here; echo 'fa''cts listed'");
  const facts = await session.waitFor(/facts listed/);
  session.type("poweroff");
  return { loginMs, failed, facts, status: await session.end(), stderr: session.stderr };
}

async function fromOutside(session) {
  await session.waitFor(/login: $/);
  session.child.kill("SIGTERM");
  return { status: await session.end(), stderr: session.stderr };
}

/** e2fsck of the root's partition. */
function checkRoot() {
  const table = JSON.parse(execFileSync("sfdisk", ["--json", image], { encoding: "utf8" })).partitiontable;
  const partition = table.partitions.find(({ node }) => node.endsWith(rootPartition));
  const { status, stdout, stderr } = spawnSync(
    "e2fsck",
    ["-fn", `${image}?offset=${partition.start * 512}`],
    { encoding: "utf8" },
  );
  return { status, output: stdout + stderr };
}

const inside = await visit("inside", fromInside);
const afterInside = checkRoot();
const outside = await visit("outside", fromOutside);
const afterOutside = checkRoot();
writeFileSync(
  join(output, "result.json"),
  JSON.stringify({ inside, afterInside, outside, afterOutside }, null, 2),
);
