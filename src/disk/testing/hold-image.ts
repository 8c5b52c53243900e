/** Process of lock.test.ts: opens an image as tsvm does, says how that went, and keeps it until its input ends. */
import { openDisk } from "../open.ts";

const [path, mode] = process.argv.slice(2);
try {
  openDisk(path!, { readOnly: mode === "read-only", ephemeral: mode === "ephemeral" });
  process.stdout.write("open\n");
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
}
process.stdin.resume();
