/** What the commands print: texts that a terminal can take, JSON. */

/** On stderr. */
export function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`tsvm: ${printable(warning)}\n`);
}

/** Names come from the image, and a terminal obeys control characters. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\x00-\x1f\x7f-\x9f]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

/** What is not known is null, not missing. */
export function toJson(value: unknown): string {
  return `${JSON.stringify(value, (_, part: unknown) => (part === undefined ? null : part), 2)}\n`;
}
