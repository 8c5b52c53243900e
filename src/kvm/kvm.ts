import { closeSync, openSync } from "node:fs";
import { capabilities, KVM_API_VERSION, type Capability } from "./abi/constants.ts";
import { kvm_cpuid2, kvm_cpuid_entry2 } from "./abi/structs.ts";
import { callInteger, callStruct } from "./call.ts";
import { KvmUnavailableError } from "./errors.ts";
import { Vm } from "./vm.ts";

/** What tsvm cannot do without. All are in Linux 4.14 (2017) and later. */
const REQUIRED: readonly Capability[] = [
  "KVM_CAP_USER_MEMORY",
  "KVM_CAP_IRQCHIP",
  "KVM_CAP_PIT2",
  "KVM_CAP_SET_TSS_ADDR",
  "KVM_CAP_EXT_CPUID",
  "KVM_CAP_IRQFD",
  "KVM_CAP_IOEVENTFD",
  "KVM_CAP_MP_STATE",
  "KVM_CAP_VCPU_EVENTS",
  "KVM_CAP_SET_IDENTITY_MAP_ADDR",
];

/** The KVM subsystem: an open /dev/kvm. Documentation/virt/kvm/api.rst, "system ioctls". */
export class Kvm {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Opens /dev/kvm and makes sure that it offers what tsvm needs. Throws {@link KvmUnavailableError}. */
  static open(path = "/dev/kvm"): Kvm {
    const kvm = new Kvm(openDevice(path));
    try {
      const version = kvm.#apiVersion(path);
      if (version !== KVM_API_VERSION) {
        throw new KvmUnavailableError(
          `${path}: KVM API version ${version}, need ${KVM_API_VERSION}`,
          "use a Linux kernel from this decade",
        );
      }
      const missing = REQUIRED.filter((capability) => kvm.checkExtension(capability) === 0);
      if (missing.length > 0) {
        throw new KvmUnavailableError(`${path} lacks ${missing.join(", ")}`, "use Linux 4.14 or newer");
      }
      return kvm;
    } catch (error) {
      kvm.close();
      throw error;
    }
  }

  /** The value of a capability: 0 where it is missing, else 1 or a number that says how much. */
  checkExtension(capability: Capability): number {
    return callInteger(this.fd, "KVM_CHECK_EXTENSION", capabilities[capability]);
  }

  /** Size in bytes of the shared kvm_run mapping of a vCPU. */
  getVcpuMmapSize(): number {
    return callInteger(this.fd, "KVM_GET_VCPU_MMAP_SIZE", 0);
  }

  /** The CPUID leaves this host can give to a guest, as kvm_cpuid_entry2 values. */
  getSupportedCpuid(): kvm_cpuid_entry2[] {
    const room = 256;
    const buffer = new Uint8Array(kvm_cpuid2.size + room * kvm_cpuid_entry2.size);
    buffer.set(kvm_cpuid2.pack({ nent: room }));
    callStruct(this.fd, "KVM_GET_SUPPORTED_CPUID", buffer);
    const { nent } = kvm_cpuid2.unpack(buffer);
    return Array.from({ length: nent }, (_, index) =>
      kvm_cpuid_entry2.unpack(buffer, kvm_cpuid2.size + index * kvm_cpuid_entry2.size),
    );
  }

  createVm(): Vm {
    return new Vm(callInteger(this.fd, "KVM_CREATE_VM", 0));
  }

  close(): void {
    closeSync(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #apiVersion(path: string): number {
    try {
      return callInteger(this.fd, "KVM_GET_API_VERSION", 0);
    } catch (error) {
      throw new KvmUnavailableError(`${path} is not KVM`, "name the KVM device: /dev/kvm", error);
    }
  }
}

function openDevice(path: string): number {
  try {
    return openSync(path, "r+");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENODEV" || code === "ENXIO") {
      throw new KvmUnavailableError(
        `${path} does not exist: this host offers no KVM`,
        "switch virtualization on in the firmware setup and load the module (modprobe kvm-intel or kvm-amd); " +
          "in a cloud VM, ask for nested virtualization",
        error,
      );
    }
    if (code === "EACCES" || code === "EPERM") {
      throw new KvmUnavailableError(
        `${path}: permission denied`,
        "add yourself to the group kvm (sudo usermod -aG kvm $USER) and log in again",
        error,
      );
    }
    throw new KvmUnavailableError(`${path}: ${code ?? String(error)}`, "run tsvm doctor", error);
  }
}
