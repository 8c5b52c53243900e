/** Which format a definition is written in. */

export type DefinitionFormat = "yaml" | "libvirt" | "firecracker";

/** By what the text begins with, else by the name's ending. What is none of these is read as the native format. */
export function recogniseFormat(text: string, path: string): DefinitionFormat {
  const start = text.trimStart();
  if (start.startsWith("<") || (start === "" && /\.xml$/i.test(path))) return "libvirt";
  // The one thing that Firecracker's configuration must have, and ours cannot.
  if (start.startsWith("{") && /"boot-source"\s*:/.test(start)) return "firecracker";
  return "yaml";
}
