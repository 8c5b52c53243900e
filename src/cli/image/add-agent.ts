/** `tsvm image add-agent`: the agent into an image, for `tsvm exec` and `tsvm cp`. */
import { existsSync } from "node:fs";
import { parseImageReference } from "../../disk/filesystem/image-reference.ts";
import type { ImageFormat } from "../../disk/plan.ts";
import { addAgent, AGENT_PROGRAM, AGENT_UNIT } from "../../install/add-agent.ts";
import { ExitCode } from "../exit-codes.ts";
import { print } from "../output.ts";
import { interruptible } from "./interruptible.ts";

/** Runs the command; the result is the exit status. */
export async function imageAddAgentCommand(
  reference: string,
  { format }: { format?: ImageFormat },
): Promise<number> {
  const { path, partition } = parseImageReference(reference, existsSync);
  return interruptible(async (signal) => {
    await addAgent(path, { partition, format, signal });
    print(
      `${path}: ${AGENT_PROGRAM} and ${AGENT_UNIT} are there; the guest starts the agent with its next boot\n`,
    );
    return ExitCode.Ok;
  });
}
