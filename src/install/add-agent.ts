/**
 * Puts the agent into an image with a system of its own: the bundled guest mounts the image's file system and does it, since the host
 * may neither know the file system nor be allowed to mount it.
 */
import { AgentError } from "../agent/errors.ts";
import { DiskError } from "../disk/errors.ts";
import type { ImageFormat } from "../disk/plan.ts";
import { bundledFile } from "../images/bundled.ts";
import { MiB } from "../kvm/memory-map.ts";
import { Machine } from "../machine/machine.ts";
import { findSystem } from "./find-system.ts";

export interface AddAgentOptions {
  /** Where the system is; by default found. */
  readonly partition?: number | undefined;
  readonly format?: ImageFormat | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Paths in the image. */
export const AGENT_PROGRAM = "/usr/lib/tsvm/tsvm-agent";
export const AGENT_UNIT = "/etc/systemd/system/tsvm-agent.service";
const ENABLED = "/etc/systemd/system/multi-user.target.wants/tsvm-agent.service";

const UNIT = `[Unit]
Description=tsvm agent: runs commands and carries files for the host of this virtual machine
Documentation=man:vsock(7)

[Service]
ExecStartPre=-/sbin/modprobe -q vmw_vsock_virtio_transport
ExecStart=${AGENT_PROGRAM}
Restart=on-failure
RestartSec=1

[Install]
WantedBy=multi-user.target
`;

/** Beside the bundled root, which is vda. */
const DEVICE = "/dev/vdb";
const MOUNTED = "/mnt";

/**
 * Installs the agent, or renews it. Nothing of the image is changed before all was checked; files are put in their places whole.
 *
 * @throws DiskError where it cannot be done, also while another machine uses the image; what Machine.boot throws; the signal's reason.
 */
export async function addAgent(path: string, options: AddAgentOptions = {}): Promise<void> {
  const { format, signal } = options;
  const partition = findSystem(path, options);
  const machine = await Machine.boot(
    {
      name: "add-agent",
      cpus: 1,
      memory: 128 * MiB,
      root: "bundled",
      agent: "only",
      disks: [{ path, ...(format === undefined ? {} : { format }) }],
    },
    signal === undefined ? {} : { signal },
  );
  try {
    const device = `${DEVICE}${partition ?? ""}`;
    await run(machine, path, `the file system cannot be mounted`, `mount ${device} ${MOUNTED}`);
    try {
      await install(machine, path);
    } finally {
      // Also after a failure: what is there then is whole, and is not started.
      await run(machine, path, "the file system cannot be closed", `umount ${MOUNTED} && sync`);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    await machine.stop();
  }
}

async function install(machine: Machine, path: string): Promise<void> {
  const { dir, base } = split(AGENT_PROGRAM);
  await machine.copyTo(bundledFile("agent"), `${MOUNTED}${dir}/${base}`, { parents: true });
  const unit = split(AGENT_UNIT);
  await machine.writeFiles({ [unit.base]: UNIT }, `${MOUNTED}${unit.dir}`);
  // Last: from now on it is started.
  const enabled = `${MOUNTED}${ENABLED}`;
  const link = `mkdir -p ${split(enabled).dir} && ln -sfn ../tsvm-agent.service ${enabled}`;
  await run(machine, path, "the unit cannot be enabled", `chmod 755 ${MOUNTED}${AGENT_PROGRAM} && ${link}`);
}

function split(path: string): { readonly dir: string; readonly base: string } {
  const at = path.lastIndexOf("/");
  return { dir: path.slice(0, at), base: path.slice(at + 1) };
}

/** A command line in the guest. Throws a DiskError with what it said. */
async function run(machine: Machine, path: string, failure: string, line: string): Promise<void> {
  const process = await machine.exec(["sh", "-c", line], { stdin: "none" });
  const { status, stderr } = await process.output({ maxBytes: 64 * 1024 });
  if (status === 0) return;
  const words = stderr
    .toString()
    .trim()
    .replaceAll(/[^\x20-\x7e\n]/g, "?");
  throw new DiskError(
    path,
    failure,
    words === "" ? undefined : words,
    new AgentError("ERR_AGENT_REFUSED", words),
  );
}
