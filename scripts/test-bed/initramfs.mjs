/** The machine's initramfs, a cpio archive in "newc" format: busybox, modules, guest/init, guest/run, and tsvm's init. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const DIRECTORY = 0o040755;
const PROGRAM = 0o100755;

/** `system`: the directory that build-root has made. */
export function initramfs(root, system) {
  const own = join(root, "scripts/test-bed/guest");
  const modules = readdirSync(join(system, "modules")).sort();
  return Buffer.concat([
    ...["bin", "dev", "modules", "root"].map((name) => entry(name, DIRECTORY, Buffer.alloc(0))),
    entry("bin/busybox", PROGRAM, readFileSync(join(system, "busybox"))),
    ...modules.map((name) => entry(`modules/${name}`, PROGRAM, readFileSync(join(system, "modules", name)))),
    entry("init", PROGRAM, readFileSync(join(own, "init"))),
    entry("test-bed-run", PROGRAM, readFileSync(join(own, "run"))),
    entry("init.tsvm", PROGRAM, readFileSync(join(root, "images/init"))),
    entry("TRAILER!!!", 0, Buffer.alloc(0)),
  ]);
}

function entry(name, mode, content) {
  // Inode, mode, uid, gid, links, mtime, size, device (4), length of the name, checksum.
  const fields = [0, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  return Buffer.concat([padded(Buffer.from(header)), padded(content)]);
}

function padded(bytes) {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
