/** Exit statuses of tsvm that are not the guest command's own. docs/cli.md. */
export { ExitCode, signalStatus } from "../machine/outcome.ts";
