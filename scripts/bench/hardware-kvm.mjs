import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Runs `script`, a path in the checkout: here, or in the test bed where this machine has no hardware KVM. The result is the exit status. */
export function commandWhereKvmIsHardware(script, options, inputs = []) {
  const [command, ...args] = hasHardwareKvm()
    ? [process.execPath, join(root, script)]
    : [
        ...[join(root, "scripts/kvm-host"), "--timeout", "45m"],
        ...inputs.flatMap(({ path, there }) => ["--in", `${path}:${there}`]),
        ...["--", "node", script],
      ];
  return spawnSync(command, [...args, ...options], { stdio: "inherit" }).status ?? 1;
}

/** Prepares a stock guest on this machine and runs `script` likewise, with `--guest DIRECTORY` and `options`. */
export function runWhereKvmIsHardware(script, flavour, options) {
  const guest = execFileSync(join(root, "scripts/build-stock-guest"), [flavour], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  }).trim();
  const there = "/guest";
  const directory = hasHardwareKvm() ? guest : there;
  return commandWhereKvmIsHardware(script, ["--guest", directory, ...options], [{ path: guest, there }]);
}

function hasHardwareKvm() {
  return /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync("/proc/cpuinfo", "utf8"));
}
