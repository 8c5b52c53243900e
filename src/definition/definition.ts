/** What a definition file says of one VM: the machine, and how it is kept. Plain data, which every file format is translated into. */
import type { MachineDescription } from "../machine/description.ts";

/** When a machine that has ended is started again. */
export interface RestartPolicy {
  /** `unless-stopped` is `always`, but a VM that was stopped by its user stays so over a restart of the host. */
  readonly policy: "no" | "on-failure" | "always" | "unless-stopped";
  /** With `on-failure`: how often at most, without a limit if left out. */
  readonly maxRetries?: number;
}

export interface VmDefinition {
  readonly kind: "vm";
  /** Letters, digits, `_`, `.` and `-`, at most 63, the first one a letter or digit. Unique in a file and in a manager. */
  readonly name: string;
  /** RFC 4122, in lower case. */
  readonly uuid?: string;
  readonly title?: string;
  readonly description?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Paths in it are absolute. */
  readonly machine: MachineDescription;
  readonly restart?: RestartPolicy;
  /** ms that the guest gets to power off by itself; 30,000 if left out. */
  readonly stopTimeout?: number;
  /** Names of VMs of the same file that are started before this one, and stopped after it. */
  readonly dependsOn?: readonly string[];
}
