// Sums up vitest's JSON reports: what failed, what was skipped (test names say what they need), and the counts.
//
//   node summary.mjs DIRECTORY-WITH-REPORTS [CHECK-THAT-FAILED...]
import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";

const [directory, ...failedChecks] = process.argv.slice(2);
const read = (name) => readFileSync(join(directory, name), "utf8");
const names = readdirSync(directory);
const reports = names
  .filter((name) => name.endsWith(".json"))
  .map((name) => JSON.parse(read(name)).testResults);
const files = reports.flat();

// What was skipped here may have run in the test bed, and the other way round: the worst of those that ran counts, and a test
// is skipped only if it ran nowhere.
const rank = ({ status }) => ["failed", "passed"].indexOf(status) + 1 || 3;
const byName = new Map();
for (const report of reports) {
  const seen = new Map();
  for (const { name, assertionResults } of report) {
    for (const result of assertionResults) {
      const test = { ...result, file: relative(process.cwd(), name) };
      // Without what was missing; and several tests may share a name.
      const title = [test.file, ...test.ancestorTitles, test.title].join("\n").replaceAll(/ \(needs .*/g, "");
      seen.set(title, (seen.get(title) ?? 0) + 1);
      const key = `${title} ${seen.get(title)}`;
      if (!byName.has(key) || rank(test) < rank(byName.get(key))) byName.set(key, test);
    }
  }
}
const tests = [...byName.values()];

const passed = tests.filter(({ status }) => status === "passed");
const failed = tests.filter(({ status }) => status === "failed");
const skipped = tests.filter(({ status }) => status !== "passed" && status !== "failed");
// A file that could not even be loaded, or whose hooks failed, has no failed test of its own.
const brokenFiles = files.filter(
  ({ status, assertionResults }) =>
    status === "failed" && !assertionResults.some((test) => test.status === "failed"),
);

// And vitest itself can fail: no report at all, or an error outside of all tests.
for (const name of names.filter((name) => name.endsWith(".status"))) {
  const project = name.replace(".status", "");
  const toldBy = names.includes(`${project}.json`) && JSON.parse(read(`${project}.json`)).success === false;
  if (read(name).trim() !== "0" && !toldBy) failedChecks.push(`vitest run --project ${project}`);
}

const say = (line) => process.stdout.write(`${line}\n`);
const list = (title, lines) => {
  if (lines.length > 0) say([`${title}:`, ...lines].join("\n  "));
};
const called = ({ file, ancestorTitles, title }) =>
  `${file}: ${[...ancestorTitles, title].filter(Boolean).join(" > ")}`;

list("Skipped (what is missing stands in the name)", skipped.map(called));
list("Failed", [
  ...failedChecks,
  ...brokenFiles.map(({ name, message }) => `${relative(process.cwd(), name)}: ${message.split("\n")[0]}`),
  ...failed.map(called),
]);

const failures = failedChecks.length + brokenFiles.length + failed.length;
const nothingRan = passed.length + failures === 0;
if (nothingRan) say("No test ran.");
say(`${passed.length} passed, ${failures} failed, ${skipped.length} skipped`);
process.exitCode = failures > 0 || nothingRan ? 1 : 0;
