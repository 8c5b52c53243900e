/** What the FILE of `tsvm boot` is. */
import { statSync } from "node:fs";
import { identifyPath } from "../boot/file-kind.ts";

const DEFINITION_KINDS: readonly string[] = ["yaml", "json", "xml"];
const DEFINITION_ENDING = /\.(ya?ml|json|xml)$/i;

/** Looks into it. A kernel is also what nothing else is: its loader says best what is wrong. Throws BootFileError. */
export function bootFileKind(path: string): "disk" | "definition" | "kernel" {
  // A block device is never a kernel.
  if (statSync(path, { throwIfNoEntry: false })?.isBlockDevice() === true) return "disk";
  const { role, kind } = identifyPath(path);
  if (role === "disk") return "disk";
  if (DEFINITION_KINDS.includes(kind)) return "definition";
  return (role === "text" || role === "other") && DEFINITION_ENDING.test(path) ? "definition" : "kernel";
}
