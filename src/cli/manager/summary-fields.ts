import type { VmSummary } from "../../manager/summary.ts";

/** What `--format` can name of a {@link VmSummary}: all of it. */
const FIELDS: Readonly<Record<keyof VmSummary, true>> = {
  name: true,
  state: true,
  since: true,
  startedAt: true,
  restarts: true,
  exit: true,
  pid: true,
  cpus: true,
  memory: true,
  ports: true,
  outdated: true,
  restart: true,
  uuid: true,
  title: true,
  labels: true,
  source: true,
  problem: true,
};

export const SUMMARY_FIELDS: readonly string[] = Object.keys(FIELDS);
