/**
 * A vCPU thread: KVM_RUN, one switch on the exit reason, KVM_RUN again. Synchronous, and free of allocation for the exits
 * that devices cause.
 */
import { RFLAGS, RIP } from "../kvm/abi/registers.ts";
import type { Bus } from "../devices/bus.ts";
import { EAGAIN, EINTR } from "../ffi/constants.ts";
import { SystemCallError } from "../ffi/errno.ts";
import { errno } from "../ffi/libc.ts";
import {
  KVM_EXIT_FAIL_ENTRY,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_INTR,
  KVM_EXIT_IO,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
  KVM_EXIT_SYSTEM_EVENT,
  KVM_SYSTEM_EVENT_CRASH,
  KVM_SYSTEM_EVENT_RESET,
} from "../kvm/abi/constants.ts";
import {
  KVM_MP_STATE_HALTED,
  KVM_MP_STATE_INIT_RECEIVED,
  KVM_MP_STATE_UNINITIALIZED,
  kvm_run,
} from "../kvm/abi/structs.ts";
import { GuestMemory } from "../kvm/guest-memory.ts";
import { Vcpu } from "../kvm/vcpu.ts";
import { monotonicNow } from "./clock.ts";
import { ControlBlock, VcpuCommand, VcpuState, type VcpuControl } from "./control.ts";
import { buildMmioBus, buildPioBus } from "./devices.ts";
import type { EmulationAssist } from "./emulation-assist.ts";
import { completeIo, completeMmio } from "./exit-io.ts";
import { entryFailure, guestReportedCrash, unexpectedExit } from "./exit-errors.ts";
import { acceptKicks, consumeKick } from "./kick.ts";
import type { GuestStop, MachinePlan, VcpuPlan } from "./plan.ts";
import { setUpVcpu } from "./vcpu-setup.ts";

const EXIT_REASON = kvm_run.offset.exit_reason / 4;
const EXIT = kvm_run.offset.exit;

const RFLAGS_IF = 0x200n;

/** What the loop tells on its way. */
export interface VcpuEvents {
  /** The guest is about to be entered for the first time. */
  running(): void;
  /** The main thread has asked for a pause, and the vCPU is out of the guest until it is resumed. */
  paused(): void;
  /** The guest has begun to use a virtio device, and no thread serves those yet. */
  ioWanted(): void;
}

/**
 * Runs one vCPU until the guest stops (the result says how) or the main thread asks it to (undefined).
 * Throws where the guest cannot go on.
 */
export async function runVcpuLoop(
  machine: MachinePlan,
  plan: VcpuPlan,
  events: VcpuEvents,
): Promise<GuestStop | undefined> {
  const block = new ControlBlock(machine.shared, machine.control.offset, machine.control.bytes);
  const control = block.vcpu(plan.index);
  const vcpu = new Vcpu(plan.fd, machine.vcpuMmapSize);
  control.runPage = vcpu.address;
  try {
    setUpVcpu(vcpu, plan);
    const loop = new VcpuLoop(machine, vcpu, control, plan.entry !== undefined, {
      paused: () => events.paused(),
      ioUsed: () => {
        if (block.claimIoStart()) events.ioWanted();
      },
    });
    control.tid = acceptKicks(vcpu);
    // From here on a request comes with a kick; one made before shows in the command.
    if (control.command === VcpuCommand.Stop) return undefined;
    control.state = VcpuState.Running;
    events.running();
    if (plan.entry !== undefined) control.markFirstEntry(monotonicNow());
    for (;;) {
      const end = loop.run();
      if (end !== "needs-assist") return end;
      // Hardware KVM never comes here, and much code stays out of its threads. The guest meets the same instruction again.
      const { EmulationAssist } = await import("./emulation-assist.ts");
      const memory = (): GuestMemory => new GuestMemory(machine.memory);
      loop.assist = new EmulationAssist(vcpu, memory, plan.cpuid, block.memoryLock, machine.syncRegs);
    }
  } finally {
    control.tid = 0;
    control.state = VcpuState.Finished;
    control.runPage = 0;
    vcpu.unmap();
  }
}

class VcpuLoop {
  /** Completes instructions that KVM lacks. */
  assist: EmulationAssist | undefined;
  readonly #vcpu: Vcpu;
  readonly #control: VcpuControl;
  readonly #pio: Bus;
  readonly #mmio: Bus;
  readonly #onPaused: () => void;
  /** No exit of the boot processor yet. */
  #untilExit: boolean;
  #stop: GuestStop | undefined;

  constructor(
    machine: MachinePlan,
    vcpu: Vcpu,
    control: VcpuControl,
    isBootProcessor: boolean,
    events: { paused: () => void; ioUsed: () => void },
  ) {
    this.#vcpu = vcpu;
    this.#control = control;
    this.#onPaused = events.paused;
    this.#untilExit = isBootProcessor;
    // A guest may ask more than once before it is stopped: the last word counts.
    this.#pio = buildPioBus(machine, {
      reset: () => {
        this.#stop = { kind: "reset" };
      },
      powerOff: () => {
        this.#stop = { kind: "shutdown" };
      },
    });
    this.#mmio = buildMmioBus(machine, events.ioUsed);
  }

  run(): GuestStop | "needs-assist" | undefined {
    const vcpu = this.#vcpu;
    const control = this.#control;
    const page32 = vcpu.runPage32;
    if (control.command !== VcpuCommand.Run && this.#obey()) return undefined;
    for (;;) {
      control.inGuest = true;
      const result = vcpu.run();
      control.inGuest = false;
      if (this.#untilExit) this.#markFirstExit();
      if (result < 0) {
        if (this.#interrupted(errno())) return undefined;
        continue;
      }
      switch (page32[EXIT_REASON]) {
        case KVM_EXIT_IO:
          control.countIo();
          completeIo(vcpu, this.#pio);
          break;
        case KVM_EXIT_MMIO:
          control.countMmio();
          completeMmio(vcpu, this.#mmio);
          break;
        case KVM_EXIT_INTR:
          break;
        case KVM_EXIT_INTERNAL_ERROR:
          control.countAssist();
          if (this.assist === undefined) return "needs-assist";
          this.assist.complete();
          break;
        case KVM_EXIT_SHUTDOWN:
          return { kind: "triple-fault" };
        case KVM_EXIT_SYSTEM_EVENT:
          return this.#systemEvent(page32[EXIT / 4]!);
        case KVM_EXIT_FAIL_ENTRY:
          throw entryFailure(vcpu);
        default:
          throw unexpectedExit(vcpu);
      }
      if (this.#stop !== undefined) return this.#stop;
    }
  }

  #markFirstExit(): void {
    this.#untilExit = false;
    this.#control.markFirstExit(monotonicNow());
  }

  #systemEvent(type: number): GuestStop {
    if (type === KVM_SYSTEM_EVENT_CRASH) throw guestReportedCrash();
    return { kind: type === KVM_SYSTEM_EVENT_RESET ? "reset" : "shutdown" };
  }

  /** KVM_RUN failed. True when the vCPU is to stop. */
  #interrupted(error: number): boolean {
    // EAGAIN: an application processor that is still waiting was poked.
    if (error !== EINTR && error !== EAGAIN) throw new SystemCallError("KVM_RUN", error);
    this.#control.countInterrupted();
    consumeKick();
    return this.#obey();
  }

  /** Does what the main thread asks for. True when that is to stop. */
  #obey(): boolean {
    if (this.#control.command === VcpuCommand.Pause) this.#pause();
    if (this.#control.command === VcpuCommand.Probe) this.#answerProbe();
    return this.#control.command === VcpuCommand.Stop;
  }

  #pause(): void {
    this.#control.state = VcpuState.Paused;
    this.#onPaused();
    this.#control.waitWhilePaused();
    this.#control.state = VcpuState.Running;
    this.#vcpu.excuseFromWatchdog();
  }

  #answerProbe(): void {
    const regs = this.#vcpu.getRegs();
    const state = this.#haltedForGood(regs[RFLAGS]!) ? VcpuState.HaltedForGood : VcpuState.Running;
    this.#control.acknowledgeProbe(state, regs[RIP]!);
  }

  /** Whether nothing but another processor could ever wake this one: HLT with interrupts off, or not started. */
  #haltedForGood(rflags: bigint): boolean {
    switch (this.#vcpu.getMpState()) {
      case KVM_MP_STATE_UNINITIALIZED:
      case KVM_MP_STATE_INIT_RECEIVED:
        return true;
      case KVM_MP_STATE_HALTED:
        return (rflags & RFLAGS_IF) === 0n;
      default:
        return false;
    }
  }
}
