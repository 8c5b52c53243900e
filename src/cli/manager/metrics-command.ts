/** `tsvm metrics`: what VMs use and do, in Prometheus' text format. */
import { TsvmError } from "../../errors.ts";
import { Manager } from "../../manager/manager.ts";
import { Exposition } from "../../manager/metrics/exposition.ts";
import { addVm } from "../../manager/metrics/vm-metrics.ts";
import type { MonitorStats } from "../../manager/protocol.ts";
import { isAlive } from "../../manager/record.ts";
import type { Vm } from "../../manager/vm.ts";
import { print } from "../output.ts";
import { note } from "./each.ts";

/** A monitor that hangs holds up nobody's monitoring. */
const PATIENCE_MS = 5000;

/** Of VMs that do not run, that they do not. Names must be of VMs that there are. */
export async function metricsCommand(names: readonly string[]): Promise<void> {
  const manager = new Manager();
  const vms =
    names.length === 0 ? manager.store.all() : [...new Set(names)].map((name) => manager.store.get(name));
  const all = await Promise.all(
    vms.map(async (vm) => ({ name: vm.name, stats: await statsOf(manager, vm) })),
  );
  const exposition = new Exposition();
  for (const { name, stats } of all) {
    const help = "Whether the VM runs and its monitor answers.";
    exposition.gauge("tsvm_vm_up", help, { vm: name }, stats === undefined ? 0 : 1);
    if (stats !== undefined) addVm(exposition, name, stats);
  }
  print(exposition.toString());
}

async function statsOf(manager: Manager, vm: Vm): Promise<MonitorStats | undefined> {
  try {
    if (!vm.isHeld || !isAlive(vm.readRecord().state)) return undefined;
    const client = await manager.connect(vm.name);
    try {
      return await client.request("stats", undefined, PATIENCE_MS);
    } finally {
      client.close();
    }
  } catch (error) {
    if (!(error instanceof TsvmError)) throw error;
    note(`${vm.name}: ${error.message}`);
    return undefined;
  }
}
