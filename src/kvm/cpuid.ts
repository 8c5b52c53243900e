/** The CPUID leaves of one vCPU, from what the host supports. Intel SDM volume 2A, CPUID. */
import type { kvm_cpuid_entry2 } from "./abi/structs.ts";

const LEAF_1_ECX_TSC_DEADLINE = 1 << 24;
const LEAF_1_ECX_HYPERVISOR = 1 << 31;
const LEAF_1_EDX_HTT = 1 << 28;
const TOPOLOGY = 0xb;
const TOPOLOGY_V2 = 0x1f;
const KVM_CPUID_FLAG_SIGNIFCANT_INDEX = 1;
/** KVM_CPUID_FEATURES: Documentation/virt/kvm/x86/cpuid.rst. */
const KVM_FEATURES = 0x4000_0001;
/** PV_UNHALT, PV_SEND_IPI and PV_SCHED_YIELD are hypercalls, with which guests of a software KVM get stuck. */
const SOFTWARE_KVM_UNFIT = (1 << 7) | (1 << 11) | (1 << 13);
const LEVEL_NONE = 0;
const LEVEL_SMT = 1;
const LEVEL_CORE = 2;

export interface Topology {
  /** APIC id of this vCPU. */
  readonly index: number;
  readonly cpus: number;
  /** KVM_CAP_TSC_DEADLINE_TIMER: the in-kernel local APIC has that timer mode. */
  readonly tscDeadline: boolean;
  /** The host's KVM emulates guest kernels. */
  readonly softwareKvm: boolean;
}

/** One socket with `cpus` cores of one thread each. */
export function vcpuCpuid(
  supported: readonly kvm_cpuid_entry2[],
  { index, cpus, tscDeadline, softwareKvm }: Topology,
): kvm_cpuid_entry2[] {
  const coreBits = Math.ceil(Math.log2(Math.max(cpus, 1)));
  const topology = supported.some(({ function: leaf }) => leaf === TOPOLOGY)
    ? topologyLevels(index, coreBits, cpus)
    : [];
  // Hosts list only the first level of these leaves: all of them are ours.
  const others = supported.filter(({ function: leaf }) => leaf !== TOPOLOGY && leaf !== TOPOLOGY_V2);
  const entries = others.map((entry) => {
    switch (entry.function) {
      case 0x1: {
        const logical = cpus > 1 ? Math.min(1 << coreBits, 255) : 1;
        return {
          ...entry,
          ebx: ((entry.ebx & 0xffff) | (logical << 16) | (index << 24)) >>> 0,
          ecx: (entry.ecx | LEAF_1_ECX_HYPERVISOR | (tscDeadline ? LEAF_1_ECX_TSC_DEADLINE : 0)) >>> 0,
          edx: (cpus > 1 ? entry.edx | LEAF_1_EDX_HTT : entry.edx & ~LEAF_1_EDX_HTT) >>> 0,
        };
      }
      case 0x4:
        return entry.eax === 0 ? entry : { ...entry, eax: cacheSharing(entry, coreBits) };
      case KVM_FEATURES:
        return softwareKvm ? { ...entry, eax: (entry.eax & ~SOFTWARE_KVM_UNFIT) >>> 0 } : entry;
      case 0x8000_0008:
        return { ...entry, ecx: ((entry.ecx & ~0xffff) | (coreBits << 12) | (cpus - 1)) >>> 0 };
      case 0x8000_001e:
        return { ...entry, eax: index, ebx: index, ecx: 0 };
      default:
        return entry;
    }
  });
  return [...entries, ...topology];
}

/** Leaf 4: cores in the package, and that only the last level cache is shared. */
function cacheSharing(entry: kvm_cpuid_entry2, coreBits: number): number {
  const level = (entry.eax >> 5) & 7;
  const sharing = level >= 3 ? (1 << coreBits) - 1 : 0;
  return ((entry.eax & 0x3fff) | (sharing << 14) | (Math.min((1 << coreBits) - 1, 0x3f) << 26)) >>> 0;
}

/** Leaf 0xB: for each level how many APIC id bits lie below it and how many processors it has. */
function topologyLevels(index: number, coreBits: number, cpus: number): kvm_cpuid_entry2[] {
  const level = (number: number, eax: number, ebx: number, type: number): kvm_cpuid_entry2 => ({
    function: TOPOLOGY,
    index: number,
    flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
    eax,
    ebx,
    ecx: number | (type << 8),
    edx: index,
    padding: [],
  });
  return [level(0, 0, 1, LEVEL_SMT), level(1, coreBits, cpus, LEVEL_CORE), level(2, 0, 0, LEVEL_NONE)];
}
