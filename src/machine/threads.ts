/** The threads of one machine: starts them, gives all vCPUs commands, and notices when they end or die. */
import type { TsvmError } from "../errors.ts";
import { munmap } from "../ffi/libc.ts";
import type { Assembly } from "./assemble.ts";
import { VcpuCommand, VcpuState } from "./control.ts";
import { ring } from "./doorbell.ts";
import { kick } from "./kick.ts";
import type { GuestStop, WorkerError, WorkerMessage, WorkerTask } from "./plan.ts";
import { MachineError } from "./report.ts";
import { runTask, type TaskHandle } from "./worker-pool.ts";

/** Between the boot processor's first instruction and the start of the other threads. */
const OTHERS_DELAY_MS = 2;
/** Between two looks at vCPUs that have not said that they are paused. */
const PAUSE_POLL_MS = 20;
/** What the other threads get to end by themselves after one has died. It may have held a lock that they wait for. */
const GRACE_MS = 1000;

export interface ThreadEvents {
  /** A vCPU says that the guest stopped of its own accord. */
  guestStop(kind: GuestStop["kind"]): void;
  /** The machine cannot go on. */
  failed(error: TsvmError): void;
  /** No thread is left. */
  ended(): void;
}

export class MachineThreads {
  readonly #assembly: Assembly;
  readonly #events: ThreadEvents;
  readonly #running = new Map<WorkerTask, TaskHandle>();
  #othersTimer: NodeJS.Timeout | undefined;
  #graceTimer: NodeJS.Timeout | undefined;
  #stopping = false;
  #checkPaused: (() => void) | undefined;

  constructor(assembly: Assembly, events: ThreadEvents) {
    this.#assembly = assembly;
    this.#events = events;
  }

  /**
   * The boot processor first and alone: on a small host more threads that start at the same time would only slow it down.
   * Nobody needs the others before it has run for a while, and a tiny guest may never need them.
   */
  start(): void {
    const { plan, vcpus } = this.#assembly;
    this.#runTask({ role: "vcpu", machine: plan, vcpu: vcpus[0]! });
  }

  /** Calls all vCPUs out of the guest with something to do. */
  interrupt(command: VcpuCommand): void {
    for (const vcpu of this.#vcpus()) {
      vcpu.request(command);
      if (vcpu.tid !== 0) kick(vcpu.tid);
    }
  }

  /** Resolves when no vCPU executes guest code any more; false if the machine ended instead. */
  async pause(): Promise<boolean> {
    this.interrupt(VcpuCommand.Pause);
    return new Promise((resolve) => {
      // One that waits for room in the pipe of the serial port is out of the guest too, and cannot say so.
      const poll = setInterval(() => {
        if (this.#vcpus().every((vcpu) => !vcpu.inGuest)) done();
      }, PAUSE_POLL_MS);
      const done = (): void => {
        clearInterval(poll);
        this.#checkPaused = undefined;
        resolve(!this.#stopping);
      };
      this.#checkPaused = () => {
        if (this.#stopping || this.#vcpus().every(({ state }) => state === VcpuState.Paused)) done();
      };
      this.#checkPaused();
    });
  }

  resume(): void {
    for (const vcpu of this.#vcpus()) vcpu.resume();
  }

  /** Asks all vCPUs to end; the I/O thread follows when they have. */
  stop(): void {
    this.#stopping = true;
    clearTimeout(this.#othersTimer);
    this.interrupt(VcpuCommand.Stop);
    this.#checkPaused?.();
  }

  stopIo(): void {
    this.#assembly.control.requestIoStop();
    ring(this.#assembly.plan.ioControlFd);
  }

  #vcpus(): ReturnType<Assembly["control"]["vcpu"]>[] {
    const { control, vcpus } = this.#assembly;
    return vcpus.map(({ index }) => control.vcpu(index));
  }

  /**
   * Starts the thread that serves virtio devices and takes what is typed on the serial port, unless it runs already. A machine
   * with a disk or a virtio console has it from the beginning, any other when its guest or its user first wants it.
   */
  startIo(): void {
    if (!this.#assembly.control.claimIoStart()) return;
    this.#startIo();
  }

  #startOthers(): void {
    const { plan, vcpus } = this.#assembly;
    if (plan.virtio.some(({ backend }) => backend.type !== "rng")) this.startIo();
    for (const vcpu of vcpus.slice(1)) this.#tryTask({ role: "vcpu", machine: plan, vcpu });
  }

  #startIo(): void {
    if (!this.#stopping) this.#tryTask({ role: "io", machine: this.#assembly.plan });
  }

  #tryTask(task: WorkerTask): void {
    try {
      this.#runTask(task);
    } catch (error) {
      this.#events.failed(internal("a thread of the machine cannot be started", error));
    }
  }

  #runTask(task: WorkerTask): void {
    const handle = runTask(
      task,
      (message) => this.#onMessage(task, message),
      (error) => this.#died(task, error),
    );
    // Only now: a thread that could not be started is none to wait for.
    this.#running.set(task, handle);
  }

  #onMessage(task: WorkerTask, message: WorkerMessage): void {
    switch (message.type) {
      case "running":
        if (task.role === "vcpu" && task.vcpu.index === 0 && !this.#stopping) {
          this.#othersTimer = setTimeout(() => this.#startOthers(), OTHERS_DELAY_MS);
        }
        return;
      case "paused":
        this.#checkPaused?.();
        return;
      case "io-wanted":
        this.#startIo();
        return;
      case "guest-stop":
        this.#events.guestStop(message.stop.kind);
        return;
      case "failed":
        this.#events.failed(revive(message.error));
        return;
      case "finished":
        this.#finished(task);
    }
  }

  /** A thread ended without a word: out of memory, or ended by the program. */
  #died(task: WorkerTask, error: Error): void {
    if (task.role === "vcpu") this.#buryVcpu(task.vcpu.index);
    this.#graceTimer ??= setTimeout(() => {
      for (const { terminate } of this.#running.values()) terminate();
    }, GRACE_MS);
    this.#events.failed(internal(`a thread of the machine died: ${error.message}`, error));
    this.#finished(task);
  }

  /** Does what the thread would have done at its end. */
  #buryVcpu(index: number): void {
    const { control, plan } = this.#assembly;
    const vcpu = control.vcpu(index);
    // Its number may soon be another thread's, which must not be kicked.
    vcpu.tid = 0;
    vcpu.inGuest = false;
    // KVM keeps a VM as long as a page of it is mapped.
    if (vcpu.runPage !== 0) munmap(vcpu.runPage, plan.vcpuMmapSize);
    vcpu.runPage = 0;
  }

  #finished(task: WorkerTask): void {
    this.#running.delete(task);
    if (!this.#stopping) this.#events.failed(internal("a thread of the machine ended early"));
    const vcpusLeft = [...this.#running.keys()].some(({ role }) => role === "vcpu");
    // The I/O thread goes last: what the guest has written up to its end still comes out.
    if (!vcpusLeft) this.stopIo();
    if (this.#running.size > 0) return;
    clearTimeout(this.#graceTimer);
    this.#events.ended();
  }
}

function internal(message: string, cause?: unknown): MachineError {
  return new MachineError("ERR_INTERNAL", message, { cause });
}

function revive({ code, message, hint, stack }: WorkerError): MachineError {
  const error = new MachineError(code, message, { hint });
  if (stack !== undefined) error.stack = stack;
  return error;
}
