/** A machine's way to the agent in its guest. */
import { AgentClient } from "../agent/client.ts";
import { AgentError } from "../agent/errors.ts";
import { connectAgent } from "./agent-connect.ts";
import { monotonicNow } from "./clock.ts";
import { MachineStateError, MachineTimeoutError } from "./errors.ts";
import type { MachineLife } from "./life.ts";
import type { WaitOptions } from "./machine-types.ts";
import { Turnstile } from "../turnstile.ts";

const ATTEMPT_INTERVAL_MS = 250;
/** At a time: a hundred that knock at once would each wait for all others, and find that too long. */
const CONNECTING = 8;

/** Throws an AgentError, a MachineStateError or a MachineEndedError where a request is made and cannot reach the agent. */
export function machineAgent(life: MachineLife, vsockPath: string | undefined): AgentClient {
  const turnstile = new Turnstile(CONNECTING);
  return new AgentClient(async ({ signal }) => {
    if (life.ended) throw new MachineStateError("the guest's agent");
    if (vsockPath === undefined) {
      throw new AgentError(
        "ERR_AGENT_ABSENT",
        "the machine has no vsock device, by which the agent is reached",
        {
          hint: "ask for the agent in the description: agent: true",
        },
      );
    }
    await life.keepAlive.while(unlessAborted(life.guestAgent.listening, signal));
    try {
      return await turnstile.pass(async () => {
        signal?.throwIfAborted();
        // Of one that is known to listen only the machine's end, or the caller, is reason to give up.
        return connectAgent(vsockPath, { signal, ...(life.guestAgent.listens ? { timeout: Infinity } : {}) });
      });
    } catch (error) {
      if (life.ended) throw new MachineStateError("the guest's agent");
      throw error;
    }
  });
}

/** Resolves when the agent answers. Throws a MachineTimeoutError, a MachineEndedError, or the signal's reason. */
export async function waitForAgent(
  life: MachineLife,
  agent: AgentClient,
  { timeout = Infinity, signal }: WaitOptions,
): Promise<void> {
  const deadline = monotonicNow() + timeout;
  const limit = timeout === Infinity ? undefined : AbortSignal.timeout(timeout);
  const given = [signal, limit].filter((one) => one !== undefined);
  const either = given.length === 0 ? undefined : AbortSignal.any(given);
  for (;;) {
    try {
      await agent.ping({ signal: either });
      return;
    } catch (error) {
      signal?.throwIfAborted();
      if (monotonicNow() >= deadline || limit?.aborted === true)
        throw new MachineTimeoutError("waitForAgent", timeout);
      // What may pass, while the guest still boots.
      const { code } = error as AgentError;
      if (life.ended || !["ERR_AGENT_ABSENT", "ERR_AGENT_LOST", "ERR_AGENT_TIMEOUT"].includes(code))
        throw error;
      // Its init has said that it cannot be started: that does not pass.
      if ((error as AgentError).errno !== undefined) throw error;
    }
    const pause = new Promise((resolve) => setTimeout(resolve, ATTEMPT_INTERVAL_MS));
    await unlessAborted(Promise.race([pause, life.stopped]), either).catch(() => undefined);
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  let onAbort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
