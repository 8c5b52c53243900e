import { readFileSync } from "node:fs";

/** The version in package.json, which lies one directory above dist/ and two above src/cli/. */
export function version(): string {
  const up = import.meta.url.endsWith(".ts") ? "../../" : "../";
  const text = readFileSync(new URL(`${up}package.json`, import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
