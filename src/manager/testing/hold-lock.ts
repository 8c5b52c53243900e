/** Process of file-lock.test.ts: takes a monitor's lock, says so, and keeps it until it is killed. */
import { openSync } from "node:fs";
import { lockForLife } from "../file-lock.ts";

const path = process.argv[2]!;
process.stdout.write(lockForLife(openSync(path, "r+"), path) ? "held\n" : "not held\n");
setInterval(() => undefined, 60_000);
