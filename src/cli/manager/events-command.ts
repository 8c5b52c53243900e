import { eventsPath, type VmEvent } from "../../manager/events.ts";
import { followLines } from "../../manager/log/follow-lines.ts";
import { Manager } from "../../manager/manager.ts";
import { unknownVm } from "../../manager/names.ts";
import { onOutputFailure, print } from "../output.ts";
import { printable } from "../../definition/problem.ts";
import { refuseTwoFormats } from "./listing.ts";
import { parseMoment } from "./quantities.ts";
import { Template } from "./template.ts";

export interface EventsFlags {
  readonly since?: string;
  readonly follow: boolean;
  readonly json?: boolean;
  readonly format?: string;
}

/** A VM whose monitor was killed is told of within this time. */
const LOOK_INTERVAL_MS = 1000;

const FIELDS: readonly string[] = ["time", "vm", "event", "reason", "status", "message"];

/** What happens from now on, or since a time; of these VMs, or of all. */
export async function eventsCommand(names: readonly string[], flags: EventsFlags): Promise<void> {
  const { json = false, format } = flags;
  refuseTwoFormats(flags);
  const template = format === undefined || format === "json" ? undefined : new Template(format, FIELDS);
  const manager = new Manager();
  const { paths } = manager.store;
  const since =
    flags.since === undefined ? (flags.follow ? Date.now() : 0) : parseMoment("--since", flags.since);
  await refuseUnknown(manager, names);
  manager.noticeLosses();
  const lookout = flags.follow ? setInterval(() => manager.noticeLosses(), LOOK_INTERVAL_MS) : undefined;
  const controller = new AbortController();
  const unwatch = onOutputFailure(() => controller.abort());
  try {
    for await (const line of followLines(eventsPath(paths.state), {
      follow: flags.follow,
      signal: controller.signal,
    })) {
      const event = parse(line);
      if (event === undefined || Date.parse(event.time) < since) continue;
      if (names.length > 0 && !names.includes(event.vm)) continue;
      if (json || format === "json") print(`${JSON.stringify(event)}\n`);
      else print(template === undefined ? text(event) : template.render([event]));
    }
  } finally {
    clearInterval(lookout);
    unwatch();
  }
}

/** One that has been removed may still have something to tell. */
async function refuseUnknown(manager: Manager, names: readonly string[]): Promise<void> {
  const known = new Set(manager.store.names());
  if (names.every((name) => known.has(name))) return;
  for await (const line of followLines(eventsPath(manager.store.paths.state))) {
    const event = parse(line);
    if (event !== undefined) known.add(event.vm);
  }
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined) throw unknownVm(unknown, [...known]);
}

function parse(line: string): VmEvent | undefined {
  try {
    const event = JSON.parse(line) as Partial<VmEvent>;
    return typeof event.time === "string" && typeof event.vm === "string" ? (event as VmEvent) : undefined;
  } catch {
    // A full disk has cut it.
    return undefined;
  }
}

function text({ time, vm, event, reason, status, message }: VmEvent): string {
  const details =
    event === "exit" ? ` ${reason} (${status})${message === undefined ? "" : `: ${printable(message)}`}` : "";
  return `${time} ${vm} ${event}${details}\n`;
}
