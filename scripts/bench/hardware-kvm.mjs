import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Prepares a stock guest on this machine and runs `script`, a path in the checkout, with `--guest DIRECTORY` and `options`:
 * here, or in the test bed where this machine has no hardware KVM. The result is the exit status.
 */
export function runWhereKvmIsHardware(script, flavour, options) {
  const guest = execFileSync(join(root, "scripts/build-stock-guest"), [flavour], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  }).trim();
  const hardware = /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync("/proc/cpuinfo", "utf8"));
  const [command, ...args] = hardware
    ? [process.execPath, join(root, script), "--guest", guest]
    : [
        join(root, "scripts/kvm-host"),
        ...["--timeout", "45m", "--in", `${guest}:/guest`],
        ...["--", "node", script, "--guest", "/guest"],
      ];
  return spawnSync(command, [...args, ...options], { stdio: "inherit" }).status ?? 1;
}
