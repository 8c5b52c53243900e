/** The options of `tsvm boot`, and what more than one way to boot makes of them. */
import type { CommandDescription, MachineDescription } from "../machine/description.ts";
import { parseBalloon } from "./balloon-values.ts";
import { CONSOLES, HUGE_PAGES } from "./choices.ts";
import { UsageError } from "./errors.ts";
import { oneOf, parseCount, parseMemory } from "./values.ts";

/** What commander hands over; `--no-console` makes `console` false. */
export interface BootFlags {
  kernel?: string;
  entry?: string;
  initrd?: string;
  root?: string;
  disk: string[];
  net: string[];
  publish: string[];
  vsock?: string;
  balloon?: string;
  append: string[];
  cpus?: string;
  memory?: string;
  hugePages?: string;
  console?: string | boolean;
  readOnly?: boolean;
  overlay?: boolean;
  acpi: boolean;
  detach?: boolean;
  name?: string;
  replace?: boolean;
  timeout?: string;
  shutdownTimeout?: string;
  vm?: string;
  lenient?: boolean;
  json?: boolean;
  verbose?: boolean;
  debug?: boolean;
}

/** Processors, memory and balloon, as far as the flags say. Throws UsageError. */
export function sizeFlags({ cpus, memory, hugePages, balloon }: BootFlags): Partial<MachineDescription> {
  return {
    ...(cpus === undefined ? {} : { cpus: parseCount("--cpus", cpus, 1) }),
    ...(memory === undefined ? {} : { memory: parseMemory("--memory", memory) }),
    ...(hugePages === undefined ? {} : { hugePages: parseHugePages(hugePages) }),
    ...(balloon === undefined ? {} : { balloon: parseBalloon(balloon) }),
  };
}

/** What stands after `--`, on the terminal or apart from it. Throws UsageError. */
export function commandOf(
  guestCommand: string[],
  terminal: boolean,
  initrd: string | undefined,
): CommandDescription {
  if (guestCommand.length === 0)
    throw new UsageError("no command after --", "leave out -- for an interactive shell");
  if (initrd !== undefined) {
    throw new UsageError(
      "a command after -- needs tsvm's own init, which --initrd replaces",
      "give only one of them",
    );
  }
  return { argv: guestCommand, ...terminalOf(terminal) };
}

export function terminalOf(terminal: boolean): Pick<CommandDescription, "terminal" | "env"> {
  const term = process.env.TERM;
  return { terminal, ...(terminal && term !== undefined ? { env: { TERM: term } } : {}) };
}

function parseHugePages(text: string): "none" | "transparent" | "hugetlb" {
  return oneOf("--huge-pages", text, HUGE_PAGES);
}

export function parseConsole(text: string): "serial" | "virtio" {
  return oneOf("--console", text, CONSOLES);
}
