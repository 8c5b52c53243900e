/** What others use of the agent's host side. */
export {
  AgentClient,
  type AgentOptions,
  type CopyFromOptions,
  type CopyToOptions,
  type ExecOptions,
} from "./client.ts";
export type { Connector } from "./connection.ts";
export type { CopyLimits } from "./copy-from.ts";
export type { CopyResult } from "./copy-to.ts";
export { AgentError, CopyError, type AgentErrorCode, type CopyProblem } from "./errors.ts";
export { GuestProcess, type ExecExit, type ExecOutput, type OutputOptions } from "./process.ts";
export { AGENT_PORT, type CommandUsage } from "./protocol.ts";
export type { FilesInMemory } from "./tree-source.ts";
