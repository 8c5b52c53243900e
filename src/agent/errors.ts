/** What can go wrong between a program and the agent in a guest. */
import { TsvmError } from "../errors.ts";

/** What kind of failure an {@link AgentError} is. */
export type AgentErrorCode =
  /** Nobody in the guest takes connections at the agent's port. */
  | "ERR_AGENT_ABSENT"
  /** The agent lacks what was asked for, or speaks another version of the protocol. */
  | "ERR_AGENT_VERSION"
  /** What it says makes no sense. */
  | "ERR_AGENT_PROTOCOL"
  /** It has not said hello, or has not ended what it was told to end, in time. */
  | "ERR_AGENT_TIMEOUT"
  /** The connection ended before its time. */
  | "ERR_AGENT_LOST"
  /** The command could not be started, or the request could not be served; `errno` says why. */
  | "ERR_AGENT_REFUSED"
  /** On the host there is nothing to copy, or no place to copy to. */
  | "ERR_AGENT_LOCAL_PATH"
  /** Some files were not copied: see {@link CopyError}. */
  | "ERR_AGENT_COPY"
  /** More output or more files than the caller wants to take. */
  | "ERR_AGENT_LIMIT";

/** A failed conversation with the agent in a guest. */
export class AgentError extends TsvmError {
  override name = "AgentError";
  declare readonly code: AgentErrorCode;
  /** Of ERR_AGENT_REFUSED: the errno in the guest, positive. */
  readonly errno: number | undefined;
  constructor(
    code: AgentErrorCode,
    message: string,
    { errno, ...options }: { errno?: number; hint?: string | undefined; cause?: unknown } = {},
  ) {
    super(code, message, options);
    this.errno = errno;
  }
}

export function protocolError(what: string): AgentError {
  return new AgentError("ERR_AGENT_PROTOCOL", `the guest's agent broke the protocol: ${what}`);
}

/** One file that was not copied, or not all of it. */
export interface CopyProblem {
  /** In the guest or on the host, wherever it failed. */
  readonly path: string;
  readonly side: "guest" | "host";
  /** The symbolic name of the errno, such as `EACCES`. */
  readonly code: string;
}

/** Some of the files were not copied. The others were. */
export class CopyError extends AgentError {
  override name = "CopyError";
  /** The first thousand. */
  readonly problems: readonly CopyProblem[];
  /** How many there were. */
  readonly count: number;
  constructor(problems: readonly CopyProblem[], count: number) {
    const [first] = problems;
    const others = count === 1 ? "" : `, and ${count - 1} more`;
    super(
      "ERR_AGENT_COPY",
      `not copied: ${first!.path} (${first!.side === "guest" ? "in the guest" : "on the host"}: ${first!.code})${others}`,
    );
    this.problems = problems;
    this.count = count;
  }
}
