import { close } from "node:fs";
import { capabilities, type Capability } from "./abi/constants.ts";
import {
  kvm_enable_cap,
  kvm_ioeventfd,
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  kvm_irqfd,
  kvm_pit_config,
  KVM_PIT_SPEAKER_DUMMY,
  kvm_userspace_memory_region,
} from "./abi/structs.ts";
import { callInBackground, callInteger, callStruct } from "./call.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { KVM_IDENTITY_MAP_ADDR, KVM_TSS_ADDR } from "./memory-map.ts";

/** One virtual machine. Documentation/virt/kvm/api.rst, "VM ioctls". */
export class Vm {
  readonly fd: number;
  /** Work in the background that uses the fd. */
  #pending: Promise<void> = Promise.resolve();

  constructor(fd: number) {
    this.fd = fd;
  }

  checkExtension(capability: Capability): number {
    return callInteger(this.fd, "KVM_CHECK_EXTENSION", capabilities[capability]);
  }

  enableCap(capability: Capability, ...args: bigint[]): void {
    callStruct(this.fd, "KVM_ENABLE_CAP", kvm_enable_cap.pack({ cap: capabilities[capability], args }));
  }

  /** In-kernel PIC, I/O APIC and local APICs, and a PIT; also the pages that KVM wants for itself on Intel. */
  createInterruptControllers(): void {
    const identityMap = new BigUint64Array([BigInt(KVM_IDENTITY_MAP_ADDR)]);
    callStruct(this.fd, "KVM_SET_IDENTITY_MAP_ADDR", identityMap);
    callInteger(this.fd, "KVM_SET_TSS_ADDR", KVM_TSS_ADDR);
    callInteger(this.fd, "KVM_CREATE_IRQCHIP", 0);
    callStruct(this.fd, "KVM_CREATE_PIT2", kvm_pit_config.pack({ flags: KVM_PIT_SPEAKER_DUMMY }));
  }

  /**
   * Gives the guest its RAM: one memory slot per region. For each the kernel waits until no processor looks at the old slots, some
   * ms in all, so that is done in the background.
   */
  async setGuestMemory(memory: GuestMemory): Promise<void> {
    this.#pending = this.#setSlots(memory);
    return this.#pending;
  }

  async #setSlots(memory: GuestMemory): Promise<void> {
    for (const [slot, region] of memory.regions.entries()) {
      await callInBackground(
        this.fd,
        "KVM_SET_USER_MEMORY_REGION",
        kvm_userspace_memory_region.pack({
          slot,
          guest_phys_addr: BigInt(region.gpa),
          memory_size: BigInt(region.size),
          userspace_addr: BigInt(region.host),
        }),
      );
    }
  }

  /** Makes vCPU `id`; the result is its fd, from which any thread of the process can build a {@link Vcpu}. */
  createVcpu(id: number): number {
    return callInteger(this.fd, "KVM_CREATE_VCPU", id);
  }

  /** Each write to the eventfd `fd` raises an edge on interrupt line `gsi`. */
  irqfd(fd: number, gsi: number): void {
    callStruct(this.fd, "KVM_IRQFD", kvm_irqfd.pack({ fd, gsi }));
  }

  /** A guest write of the 32-bit `value` to MMIO address `gpa` signals the eventfd `fd` instead of leaving KVM_RUN. */
  ioeventfd(fd: number, gpa: number, value: number): void {
    callStruct(
      this.fd,
      "KVM_IOEVENTFD",
      kvm_ioeventfd.pack({
        fd,
        addr: BigInt(gpa),
        len: 4,
        datamatch: BigInt(value),
        flags: KVM_IOEVENTFD_FLAG_DATAMATCH,
      }),
    );
  }

  /** In a thread of Node's pool: the kernel takes some 10 ms for it. */
  async close(): Promise<void> {
    await this.#pending.catch(() => undefined);
    return new Promise((resolve) => close(this.fd, () => resolve()));
  }
}
