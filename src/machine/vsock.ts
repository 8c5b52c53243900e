/** Opens the host's side of a machine's vsock device. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SMALLEST_GUEST_CID } from "../devices/virtio/vsock/cid.ts";
import { listenVsock } from "../devices/virtio/vsock/listen.ts";
import { vsockModel } from "../devices/virtio/vsock/vsock.ts";
import type { VirtioModel } from "../devices/virtio/state.ts";
import type { Cleanup } from "./cleanup.ts";
import type { VsockDescription } from "./description.ts";
import type { VsockBackendPlan } from "./plan.ts";

export interface OpenVsock extends Pick<VsockBackendPlan, "cid" | "listenFd" | "portPath"> {
  readonly model: VirtioModel;
  /** Absolute. */
  readonly path: string;
}

/** Everything made here is undone by `cleanup`, or else when the program ends. Throws VsockListenError. */
export function openVsock({ cid = SMALLEST_GUEST_CID, path }: VsockDescription, cleanup: Cleanup): OpenVsock {
  const socketPath = path === undefined ? privatePath(cleanup) : resolve(path);
  const { fd, portPath, remove, close } = listenVsock(socketPath);
  removeAtExit(remove);
  cleanup.add(() => {
    keep(remove);
    close();
  });
  return { model: vsockModel(cid), cid, path: socketPath, listenFd: fd, portPath };
}

/** Nobody else may look into the directory. */
function privatePath(cleanup: Cleanup): string {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-vsock-"));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  removeAtExit(remove);
  cleanup.add(() => {
    keep(remove);
    remove();
  });
  return join(directory, "vsock");
}

/** What is still there when the program ends with machines that run. */
const leftovers = new Set<() => void>();

function removeAtExit(remove: () => void): void {
  if (leftovers.size === 0) process.on("exit", removeAll);
  leftovers.add(remove);
}

function keep(remove: () => void): void {
  leftovers.delete(remove);
  if (leftovers.size === 0) process.off("exit", removeAll);
}

function removeAll(): void {
  for (const remove of leftovers) {
    try {
      remove();
    } catch {
      // The program ends, whatever may be left.
    }
  }
}
