/** `tsvm cp`: files into a VM of the background, or out of it. */
import { CopyError } from "../../agent/errors.ts";
import { agentOf } from "../../manager/agent.ts";
import { Manager } from "../../manager/manager.ts";
import { printable } from "../../definition/problem.ts";
import { UsageError } from "../errors.ts";
import { ExitCode } from "../exit-codes.ts";

export interface CpFlags {
  readonly follow?: boolean;
  readonly owner?: string;
  readonly parents?: boolean;
}

interface GuestPlace {
  readonly name: string;
  readonly path: string;
}

/** The result is the exit status. */
export async function cpCommand(source: string, destination: string, flags: CpFlags): Promise<number> {
  const { follow = false, parents = false, owner = "" } = flags;
  const from = guestPlace(source);
  const to = guestPlace(destination);
  if (from !== undefined && to !== undefined)
    throw new UsageError("both are in VMs", "copy to this host first, then into the other VM");
  const controller = new AbortController();
  const stop = (): void => controller.abort(new UsageError("broken off"));
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const { signal } = controller;
  try {
    if (from !== undefined) {
      if (parents || owner !== "")
        throw new UsageError("--parents and --owner are for copies into a guest", "leave them out");
      await agent(from).copyFrom(from.path, destination, { follow, signal });
    } else if (to !== undefined) {
      await agent(to).copyTo(source, to.path, { follow, parents, owner, signal });
    } else {
      throw new UsageError("neither is in a VM", "a place in a VM is written NAME:PATH");
    }
    return ExitCode.Ok;
  } catch (error) {
    if (!(error instanceof CopyError)) throw error;
    for (const { path, side, code } of error.problems)
      process.stderr.write(`tsvm: ${printable(path)}: ${code}${side === "guest" ? " (in the guest)" : ""}\n`);
    const { length } = error.problems;
    if (error.count > length) process.stderr.write(`tsvm: and ${error.count - length} more\n`);
    return 1;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

function agent({ name }: GuestPlace): ReturnType<typeof agentOf> {
  return agentOf(new Manager().store.get(name));
}

/** `NAME:PATH`; undefined for a path of this host. */
function guestPlace(text: string): GuestPlace | undefined {
  const match = /^([^:/.][^:/]*):(.*)$/s.exec(text);
  if (match === null) return undefined;
  const [, name, path] = match;
  if (path === "") throw new UsageError(`${text}: names no path in the VM`, `write ${name}:PATH`);
  return { name: name!, path: path! };
}
