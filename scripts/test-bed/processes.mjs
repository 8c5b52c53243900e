/** Runs programs of this machine. All of them end when kvm-host does. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { TestBedError } from "./errors.mjs";

const running = new Set();

// Disk tools lie in sbin, which is not in every user's PATH.
const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/**
 * Runs a program to its end. Its output goes to our stderr, or nowhere with `quiet` and comes back in the error.
 * Throws TestBedError when it fails.
 */
export async function run(file, args, { cwd, input, quiet = false, environment } = {}) {
  const child = start(file, args, {
    cwd,
    stdio: [input === undefined ? "ignore" : "pipe", quiet ? "pipe" : 2, quiet ? "pipe" : "inherit"],
    env: { ...ENVIRONMENT, ...environment },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text) => (output += text));
  }
  child.stdin?.on("error", () => undefined).end(input);
  const [status, signal] = await once(child, "close");
  if (status !== 0) {
    throw new TestBedError(`${file} failed (${signal ?? `status ${status}`})\n${output}`.trimEnd());
  }
  return output;
}

/** Starts a program in a process group of its own. */
export function start(file, args, options) {
  const child = spawn(file, args, { env: ENVIRONMENT, ...options, detached: true });
  running.add(child);
  child.on("error", () => running.delete(child)).on("close", () => running.delete(child));
  return child;
}

/** Ends all that still runs, and waits for it. */
export async function endAll() {
  const children = [...running];
  for (const child of children) endGroup(child, "SIGTERM");
  const force = setTimeout(() => children.forEach((child) => endGroup(child, "SIGKILL")), 5000);
  await Promise.all(children.map((child) => running.has(child) && once(child, "close")));
  clearTimeout(force);
}

function endGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has just ended.
  }
}
