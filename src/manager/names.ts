/** Names of VMs: they become directories, arguments in scripts and lines on terminals. */
import { nearest } from "../suggestion.ts";
import { ManagerError } from "./errors.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

export function isVmName(name: string): boolean {
  return NAME.test(name);
}

/** Throws a ManagerError for what cannot be the name of a VM. */
export function checkVmName(name: string): void {
  if (isVmName(name)) return;
  throw new ManagerError(
    "ERR_VM_NAME",
    `${quoted(name)} cannot be the name of a VM`,
    "letters, digits, _ . and -, at most 63 of them, the first one a letter or digit",
  );
}

const LONGEST_QUOTE = 80;

/** In quotes, with every character that a terminal would obey written out, and cut where it is long. */
export function quoted(text: string): string {
  const shown = text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text;
  return JSON.stringify(shown).replaceAll(
    /[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

export function unknownVm(name: string, known: readonly string[]): ManagerError {
  const meant = nearest(name, known);
  const hint =
    meant !== undefined
      ? `did you mean ${meant}?`
      : known.length === 0
        ? "there are no VMs yet: tsvm define FILE makes some"
        : "tsvm ps --all lists those that there are";
  return new ManagerError("ERR_NO_VM", `there is no VM ${quoted(name)}`, hint);
}
