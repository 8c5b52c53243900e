/** All commands of the manager, as one piece of the program: more pieces would make every command read more files. */
export { balloonCommand } from "./balloon-command.ts";
export { bootDetached } from "./boot-detached.ts";
export { consoleCommand } from "./console-command.ts";
export { eventsCommand } from "./events-command.ts";
export { downCommand, upCommand } from "./file-commands.ts";
export { inspectCommand } from "./inspect-command.ts";
export {
  killCommand,
  pauseCommand,
  restartCommand,
  resumeCommand,
  rmCommand,
  startCommand,
  stopCommand,
  waitCommand,
} from "./lifecycle-commands.ts";
export { logsCommand } from "./logs-command.ts";
export { metricsCommand } from "./metrics-command.ts";
export { psCommand } from "./ps-command.ts";
export { statsCommand } from "./stats-command.ts";
export { storeDefinitions } from "./store-definitions.ts";
