/** The machine's Debian system, and the programs that this machine needs. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cached, keyOf } from "./cache.mjs";
import { ROOT } from "./checkout.mjs";
import { TestBedError } from "./errors.mjs";
import { run } from "./processes.mjs";

const SCRIPTS = join(ROOT, "scripts");
/** program:package; mmdebstrap is looked for where it is used, in debian-root.sh. */
const PROGRAMS = ["qemu-system-x86_64:qemu-system-x86", "mke2fs:e2fsprogs", "git:git"];

/** Installs what is missing if it may, else throws TestBedError after having said what to type. */
export async function needPrograms() {
  const script = 'source "$1/guest-tools.sh"; shift; need_packages "$@"';
  await run("bash", ["-c", script, "bash", SCRIPTS, ...PROGRAMS]).catch((error) => {
    throw new TestBedError("programs that the test bed needs are missing, see above", { cause: error });
  });
}

/** A directory with root.ext4, vmlinuz, busybox and modules/. Built the first time, in about a minute. */
export async function systemDirectory(say) {
  const builder = join(SCRIPTS, "test-bed/build-root");
  const packages = join(SCRIPTS, "test-bed/packages");
  const key = keyOf(...[builder, packages, "/etc/os-release"].map((path) => readFileSync(path)));
  return cached("system", key, async (partial) => {
    say("building the test bed's system, once; this takes a minute or two");
    await run(builder, [partial]);
  });
}
