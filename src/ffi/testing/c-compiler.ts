/** Asks the C compiler what a header says, for tests that compare our numbers with the system's. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether gcc is there and `headers` compile; `condition` is a preprocessor expression that must hold. */
export function canCompile(headers: readonly string[], condition = "1"): boolean {
  const guard = `#if !(${condition})\n#error condition\n#endif\n`;
  try {
    execFileSync("gcc", ["-fsyntax-only", "-x", "c", "-"], {
      input: `${includes(headers)}${guard}int main(void) { return 0; }\n`,
      stdio: ["pipe", "ignore", "ignore"],
    });
    return true;
  } catch {
    return false;
  }
}

/** The values of integer C expressions, each by its key in `expressions`. */
export function evaluateC(
  headers: readonly string[],
  expressions: Readonly<Record<string, string>>,
): Record<string, number> {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-c-"));
  try {
    const lines = Object.values(expressions).map(
      (expression) => `  printf("%llu\\n", (unsigned long long)(${expression}));`,
    );
    const source = join(directory, "values.c");
    const program = join(directory, "values");
    writeFileSync(source, `${includes(headers)}int main(void) {\n${lines.join("\n")}\n  return 0;\n}\n`);
    execFileSync("gcc", ["-D_GNU_SOURCE", "-o", program, source], { stdio: ["ignore", "ignore", "pipe"] });
    const values = execFileSync(program, { encoding: "utf8" }).trim().split("\n").map(Number);
    return Object.fromEntries(Object.keys(expressions).map((key, index) => [key, values[index]!]));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function includes(headers: readonly string[]): string {
  return ["stdio.h", "stddef.h", ...headers].map((header) => `#include <${header}>\n`).join("");
}
