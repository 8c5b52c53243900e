/** What the devices of the I/O thread have in common. */
import type { VirtioBackend } from "../../devices/virtio/backend.ts";
import type { VirtioState } from "../../devices/virtio/state.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import type { ControlBlock } from "../control.ts";
import type { MachinePlan, VirtioPlan } from "../plan.ts";
import type { EventLoop } from "./event-loop.ts";

/** The surroundings of all devices of a machine, on its I/O thread. */
export interface IoContext {
  readonly machine: MachinePlan;
  readonly memory: GuestMemory;
  readonly control: ControlBlock;
  readonly loop: EventLoop;
  /** Tells the user something that the machine survives. */
  readonly warn: (text: string) => void;
}

/** A device that has been built. */
export interface IoDevice {
  readonly backend: VirtioBackend;
  /** Registers what else wakes the device, beside the driver's notifications. `runners[i]` serves queue i. */
  readonly attach?: (runners: readonly (() => void)[]) => void;
  /** The main thread has changed something in the control block. */
  readonly controlChanged?: () => void;
  /** Gives back what the device holds, when the loop has ended. */
  readonly close?: () => void;
}

/** Builds the device of `plan` over its `state`. */
export type DeviceBuilder<Backend> = (
  context: IoContext,
  state: VirtioState,
  plan: VirtioPlan,
  backend: Backend,
) => IoDevice;
