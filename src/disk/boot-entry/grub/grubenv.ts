/** The environment block, grubenv: lines of name=value, filled up with `#` to 1024 bytes. GRUB manual, "The GRUB environment block". */

const SIGNATURE = "# GRUB Environment Block\n";

/** The variables; none if it is no such block. */
export function parseGrubenv(text: string): Map<string, string> {
  const variables = new Map<string, string>();
  if (!text.startsWith(SIGNATURE)) return variables;
  // A backslash keeps the line going or the backslash itself.
  for (const line of text.slice(SIGNATURE.length).match(/(?:\\[^]|[^\\\n])+/g) ?? []) {
    const equals = line.indexOf("=");
    if (line.startsWith("#") || equals <= 0) continue;
    variables.set(line.slice(0, equals), line.slice(equals + 1).replaceAll(/\\([^])/g, "$1"));
  }
  return variables;
}
