// The test files of a vitest JSON report in which something was skipped for want of /dev/kvm, one per line.
//
//   node without-kvm.mjs REPORT
import { readFileSync } from "node:fs";
import { relative } from "node:path";

const { testResults } = JSON.parse(readFileSync(process.argv[2], "utf8"));
for (const { name, assertionResults } of testResults) {
  const lacking = assertionResults.some(({ fullName }) => /\(needs .*\/dev\/kvm/.test(fullName));
  if (lacking) process.stdout.write(`${relative(process.cwd(), name)}\n`);
}
