/** What listings say of a VM. */
import type { RestartPolicy } from "../definition/definition.ts";
import { TsvmError } from "../errors.ts";
import { MonitorClient } from "./client.ts";
import { forwardedPorts } from "./forwarded-ports.ts";
import type { MonitorStatus } from "./protocol.ts";
import { isAlive, type ExitRecord, type VmRecord, type VmState } from "./record.ts";
import type { Vm } from "./vm.ts";

export interface VmSummary {
  readonly name: string;
  /** `unknown`: its files cannot be read; see `problem`. */
  readonly state: VmState | "unknown";
  /** Times in ISO 8601; null where there was no such moment. */
  readonly since: string | null;
  readonly startedAt: string | null;
  readonly restarts: number;
  readonly exit: (Omit<ExitRecord, "at"> & { readonly at: string }) | null;
  /** Of the monitor. */
  readonly pid: number | null;
  /** Of the machine that runs; of one that does not, as it is defined. Memory in bytes. */
  readonly cpus: number | null;
  readonly memory: number | null;
  /** Of the host, and where in the guest they lead, as definitions have it: `8080:80`. */
  readonly ports: readonly string[];
  /** It runs by an older definition than the one that is stored. */
  readonly outdated: boolean;
  readonly restart: RestartPolicy["policy"] | null;
  readonly uuid: string | null;
  readonly title: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly source: string | null;
  /** What kept us from knowing all of this. */
  readonly problem: string | null;
}

/** A listing does not wait longer for a monitor that hangs. */
const PATIENCE_MS = 1000;

/** Never throws because of what is wrong with the VM; undefined if it has just been removed. */
export async function summarize(vm: Vm): Promise<VmSummary | undefined> {
  const problems: string[] = [];
  const attempt = <T>(look: () => T): T | undefined => {
    try {
      return look();
    } catch (error) {
      if (!(error instanceof TsvmError)) throw error;
      problems.push(error.message);
      return undefined;
    }
  };
  const stored = attempt(() => vm.readDefinition());
  const standing = attempt(() => vm.standing());
  if (problems.length > 0 && !vm.exists()) return undefined;
  let record: Partial<VmRecord> = standing?.record ?? {};
  let running: MonitorStatus | undefined;
  if (standing?.pid !== undefined && standing.record.socket !== undefined && isAlive(standing.record.state)) {
    try {
      // The file may be behind: on a full disk it cannot be written.
      running = await ask(vm.name, standing.record.socket);
      record = running as Partial<VmRecord>;
    } catch (error) {
      problems.push(`${vm.name}: its monitor does not answer`);
      if (!(error instanceof Error)) throw error;
    }
  }
  const { definition, source } = stored ?? {};
  return {
    name: vm.name,
    state: record.state ?? "unknown",
    since: timeText(record.since),
    startedAt: timeText(record.startedAt),
    restarts: record.restarts ?? 0,
    exit: record.exit === undefined ? null : { ...record.exit, at: timeText(record.exit.at)! },
    pid: standing?.pid === undefined || standing.pid === 0 ? null : standing.pid,
    cpus: running?.cpus ?? definition?.machine.cpus ?? null,
    memory: running?.memory ?? definition?.machine.memory ?? null,
    ports: running?.ports ?? (definition === undefined ? [] : forwardedPorts(definition.machine)),
    outdated: running !== undefined && stored !== undefined && running.definedAt !== stored.definedAt,
    restart: definition === undefined ? null : (definition.restart?.policy ?? "no"),
    uuid: definition?.uuid ?? null,
    title: definition?.title ?? null,
    labels: definition?.labels ?? {},
    source: source ?? null,
    problem: problems.length === 0 ? null : problems.join("; "),
  };
}

async function ask(name: string, socket: string): Promise<MonitorStatus> {
  const client = await MonitorClient.connect(name, socket, PATIENCE_MS);
  try {
    return await client.request("status", undefined, PATIENCE_MS);
  } finally {
    client.close();
  }
}

function timeText(ms: number | undefined): string | null {
  return ms === undefined || ms === 0 ? null : new Date(ms).toISOString();
}
