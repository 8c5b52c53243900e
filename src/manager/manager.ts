/** What can be done with VMs that are kept: all that the commands do, without their words. */
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import type { VmDefinition } from "../definition/definition.ts";
import type { MonitorClient } from "./client.ts";
import { END_PATIENCE_MS, endVm, KILL_PATIENCE_MS, untilFree } from "./end.ts";
import { ManagerError } from "./errors.ts";
import type { HeldLock } from "./file-lock.ts";
import { launch } from "./launch.ts";
import { noticeLoss, recordLoss } from "./loss.ts";
import type { Step } from "./order.ts";
import { fallbackRuntime } from "./paths.ts";
import type { MonitorStats } from "./protocol.ts";
import { reach } from "./reach.ts";
import { isAlive, type ExitRecord, type VmRecord } from "./record.ts";
import { DEFAULT_STOP_TIMEOUT_MS } from "./stop-timeout.ts";
import { VmStore, type Defined, type DefineOptions } from "./store.ts";
import { summarize, type VmSummary } from "./summary.ts";
import type { Vm } from "./vm.ts";

export type Started =
  { readonly already: true } | { readonly already: false; readonly warnings: readonly string[] };

const POLL_MS = 10;

export class Manager {
  readonly store: VmStore;

  constructor(store = new VmStore()) {
    this.store = store;
  }

  async list(): Promise<VmSummary[]> {
    this.noticeLosses();
    const summaries = await Promise.all(this.store.all().map(summarize));
    return summaries.filter((summary) => summary !== undefined);
  }

  /** Writes down which monitors have been killed since somebody last looked. False if somebody else may be doing so just now. */
  noticeLosses(vms: readonly Vm[] = this.store.all()): boolean {
    return vms.map((vm) => noticeLoss(vm, this.store.paths.state)).every(Boolean);
  }

  /** Whether it runs by an older definition than the one that is stored. */
  async isOutdated(name: string): Promise<boolean> {
    return (await summarize(this.store.get(name)))?.outdated ?? false;
  }

  async define(definition: VmDefinition, options?: DefineOptions): Promise<Defined> {
    return this.store.define(definition, options);
  }

  /** Resolves when the machine runs. Throws what keeps it from that. */
  async start(name: string): Promise<Started> {
    const vm = this.store.get(name);
    this.store.prepare();
    const lock = await vm.lock();
    try {
      await this.#untilSettled(vm);
      if (vm.isHeld) return { already: true };
      this.#recordLoss(vm);
      return { already: false, warnings: await this.#launch(vm, lock) };
    } finally {
      lock.release();
    }
  }

  /**
   * Has the guest shut down, and forces it off `timeout` ms later (its definition's limit by default). Undefined if it did not run,
   * else how it ended.
   */
  async stop(
    name: string,
    { timeout }: { timeout?: number | undefined } = {},
  ): Promise<ExitRecord | undefined> {
    const vm = this.store.get(name);
    await this.#untilKnown(vm);
    if (!vm.isHeld) return undefined;
    const limit = timeout ?? vm.readDefinition().definition.stopTimeout ?? DEFAULT_STOP_TIMEOUT_MS;
    return endVm(vm, this.store.paths.state, limit + END_PATIENCE_MS, (client) =>
      client.request("stop", { timeout: limit }),
    );
  }

  /** Ends it as if its power was cut; the monitor as well, where that does not answer. Throws if it does not run. */
  async kill(name: string): Promise<ExitRecord> {
    const vm = this.store.get(name);
    await this.#untilKnown(vm);
    if (!vm.isHeld) throw new ManagerError("ERR_VM_NOT_RUNNING", `${name} is not running`);
    return endVm(vm, this.store.paths.state, KILL_PATIENCE_MS, (client) =>
      client.request("stop", { force: true }, KILL_PATIENCE_MS),
    );
  }

  async pause(name: string): Promise<void> {
    await this.#ask(name, (client) => client.request("pause"));
  }

  async resume(name: string): Promise<void> {
    await this.#ask(name, (client) => client.request("resume"));
  }

  /** How many bytes of its memory the guest is to give up, until its machine is started again. */
  async setBalloon(name: string, bytes: number): Promise<void> {
    await this.#ask(name, (client) => client.request("balloon", { bytes }));
  }

  async stats(name: string): Promise<MonitorStats> {
    return this.#ask(name, (client) => client.request("stats"));
  }

  /** Throws if it runs, unless `force` ends it first. */
  async remove(name: string, { force = false } = {}): Promise<void> {
    const vm = this.store.get(name);
    await this.#untilKnown(vm);
    if (vm.isHeld) {
      if (!force) {
        throw new ManagerError(
          "ERR_VM_RUNNING",
          `${name} is running`,
          `stop it first: tsvm stop ${name}; or --force, which cuts its power`,
        );
      }
      await this.kill(name).catch((error: unknown) => {
        if (!(error instanceof ManagerError && error.code === "ERR_VM_NOT_RUNNING")) throw error;
      });
    }
    const record = this.#checkReadable(vm, force);
    await this.store.remove(vm);
    // What a monitor leaves behind that was killed. A vsock socket elsewhere is the user's.
    if (record?.socket !== undefined) rmSync(record.socket, { force: true });
    const { vsock } = record ?? {};
    if (vsock !== undefined && dirname(vsock) === fallbackRuntime(this.store.paths.state))
      rmSync(vsock, { force: true });
  }

  /** Resolves when it does not run (any more), with how it ended. Throws if it has never been started. */
  async wait(name: string): Promise<ExitRecord> {
    const vm = this.store.get(name);
    await this.#untilKnown(vm);
    while (vm.isHeld) {
      const client = await reach(vm).catch(() => undefined);
      await (client?.closed ?? pause(END_INTERVAL_MS));
      if (client !== undefined) await untilFree(vm, END_PATIENCE_MS);
    }
    this.noticeLosses([vm]);
    const { exit } = vm.standing().record;
    if (exit === undefined) {
      throw new ManagerError(
        "ERR_VM_NOT_RUNNING",
        `${name} has never been started`,
        `tsvm start ${name} starts it`,
      );
    }
    return exit;
  }

  /** Those that depend on it, and run. One that cannot be read does not count. */
  runningDependents(name: string): string[] {
    return this.store.all().flatMap((vm) => {
      try {
        const { dependsOn = [] } = vm.readDefinition().definition;
        return dependsOn.includes(name) && vm.isHeld ? [vm.name] : [];
      } catch (error) {
        if (error instanceof ManagerError) return [];
        throw error;
      }
    });
  }

  /** The VMs that are to run when the host has come up: those with a policy for it that have run before. */
  autostartNames(): string[] {
    return this.store.all().flatMap((vm) => {
      try {
        const { policy = "no" } = vm.readDefinition().definition.restart ?? {};
        const { startedAt, stoppedByUser } = vm.readRecord();
        const wanted = policy === "always" || (policy === "unless-stopped" && !stoppedByUser);
        return wanted && startedAt !== undefined ? [vm.name] : [];
      } catch (error) {
        // What cannot be read is no reason to leave out the others; starting it says what is wrong.
        if (error instanceof ManagerError) return [vm.name];
        throw error;
      }
    });
  }

  /** Those of `names` and, with `dependencies`, all that they need, each with those that come before it. */
  steps(names: readonly string[], { dependencies }: { dependencies: boolean }): Step[] {
    const steps = new Map<string, Step>();
    const add = (name: string, wantedBy?: string): void => {
      if (steps.has(name)) return;
      if (wantedBy !== undefined && this.store.find(name) === undefined) {
        throw new ManagerError(
          "ERR_VM_DEPENDENCY",
          `${wantedBy} depends on ${name}, which is not defined`,
          `define it, or ${wantedBy} without it`,
        );
      }
      const { dependsOn: after = [] } = this.store.get(name).readDefinition().definition;
      steps.set(name, { name, after });
      if (dependencies) for (const other of after) add(other, name);
    };
    for (const name of names) add(name);
    return [...steps.values()];
  }

  async connect(name: string): Promise<MonitorClient> {
    return reach(this.store.get(name));
  }

  async #ask<T>(name: string, question: (client: MonitorClient) => Promise<T>): Promise<T> {
    const client = await this.connect(name);
    try {
      return await question(client);
    } finally {
      client.close();
    }
  }

  /** A monitor that has said its last word is as good as gone. */
  async #untilSettled(vm: Vm): Promise<void> {
    const end = performance.now() + END_PATIENCE_MS;
    while (vm.isHeld && performance.now() < end && !isAlive(readable(vm)?.state ?? "stopped"))
      await pause(POLL_MS);
  }

  async #launch(vm: Vm, lock: HeldLock): Promise<readonly string[]> {
    try {
      return await launch(vm, this.store.paths, lock);
    } catch (error) {
      await untilFree(vm, KILL_PATIENCE_MS);
      this.#recordLoss(vm);
      throw error;
    }
  }

  /** A start that is under way, whose command may have been killed, has come to something; a loss is written down. */
  async #untilKnown(vm: Vm): Promise<void> {
    await vm.untilStarted();
    this.noticeLosses([vm]);
  }

  /** Under the VM's lock. Refuses a newer version's file. */
  #recordLoss(vm: Vm): void {
    if (readable(vm) !== undefined) recordLoss(vm, this.store.paths.state);
  }

  /** What is damaged or newer than this tsvm is only removed by force. */
  #checkReadable(vm: Vm, force: boolean): VmRecord | undefined {
    try {
      vm.readDefinition();
      return vm.readRecord();
    } catch (error) {
      if (!force) throw error;
      return undefined;
    }
  }
}

const END_INTERVAL_MS = 200;

/** Undefined for a damaged file: the next start writes a new one. Throws for a newer version's. */
function readable(vm: Vm): VmRecord | undefined {
  try {
    return vm.readRecord();
  } catch (error) {
    if (error instanceof ManagerError && error.code === "ERR_STATE_DAMAGED") return undefined;
    throw error;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
