import { RemoteError } from "../../manager/errors.ts";
import type { Manager, Started } from "../../manager/manager.ts";

/** Starts a VM. What is wrong with its machine is told with its name, and by the keys of its definition. */
export async function startVm(manager: Manager, name: string): Promise<Started> {
  try {
    return await manager.start(name);
  } catch (error) {
    if (!(error instanceof RemoteError)) throw error;
    const { code, message, hint } = error;
    throw new RemoteError({
      code,
      message: message.startsWith(`${name}: `) ? message : `${name}: ${message}`,
      hint: hint === undefined ? undefined : inDefinition(hint, name),
    });
  }
}

/** Options of `tsvm boot` in hints, and the keys that say the same in a definition. */
const KEYS: Readonly<Record<string, string>> = {
  "--kernel": "kernel",
  "--entry": "bootEntry",
  "--initrd": "initrd",
  "--disk": "disks",
  "--root": "rootDevice",
  "--append": "append",
  "--cpus": "cpus",
  "--memory": "memory",
  "--huge-pages": "hugePages",
  "--console": "console",
  "--read-only": "readOnly",
  "--overlay": "overlay",
};
const VALUES = "PATH|bundled|/dev/\\S+";
const OPTION = new RegExp(`(--[a-z]+(?:-[a-z]+)*)(?: (${VALUES})(?=[\\s,;:)]|$))?`, "g");

/** `--kernel bundled` becomes `kernel: bundled`, `(--memory)` becomes `(memory)`, each once explained. */
export function inDefinition(hint: string, name: string): string {
  let named = false;
  const text = hint.replaceAll(OPTION, (whole, option: string, value: string | undefined) => {
    if (option === "--verbose") return `tsvm logs ${name}`;
    const key = Object.hasOwn(KEYS, option) ? KEYS[option]! : undefined;
    if (key === undefined) return whole;
    named = true;
    return value === undefined ? key : `${key}: ${value}`;
  });
  return named ? `in its definition: ${text}` : text;
}
