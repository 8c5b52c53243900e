/** The CPUID leaves of one vCPU, from what the host supports. Intel SDM volume 2A, CPUID. */
import type { kvm_cpuid_entry2 } from "./abi/structs.ts";

const LEAF_1_ECX_TSC_DEADLINE = 1 << 24;
const LEAF_1_ECX_HYPERVISOR = 1 << 31;
const LEAF_1_EDX_HTT = 1 << 28;
const LEVEL_SMT = 1;
const LEVEL_CORE = 2;

export interface Topology {
  /** APIC id of this vCPU. */
  readonly index: number;
  readonly cpus: number;
  /** KVM_CAP_TSC_DEADLINE_TIMER: the in-kernel local APIC has that timer mode. */
  readonly tscDeadline: boolean;
}

/** One socket with `cpus` cores of one thread each. */
export function vcpuCpuid(
  supported: readonly kvm_cpuid_entry2[],
  { index, cpus, tscDeadline }: Topology,
): kvm_cpuid_entry2[] {
  const coreBits = Math.ceil(Math.log2(Math.max(cpus, 1)));
  return supported.map((entry) => {
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
      case 0xb:
      case 0x1f:
        return { ...entry, ...topologyLevel(entry.index, coreBits, cpus), edx: index };
      case 0x8000_0008:
        return { ...entry, ecx: ((entry.ecx & ~0xffff) | (coreBits << 12) | (cpus - 1)) >>> 0 };
      case 0x8000_001e:
        return { ...entry, eax: index, ebx: index, ecx: 0 };
      default:
        return entry;
    }
  });
}

/** Leaf 4: cores in the package, and that only the last level cache is shared. */
function cacheSharing(entry: kvm_cpuid_entry2, coreBits: number): number {
  const level = (entry.eax >> 5) & 7;
  const sharing = level >= 3 ? (1 << coreBits) - 1 : 0;
  return ((entry.eax & 0x3fff) | (sharing << 14) | (Math.min((1 << coreBits) - 1, 0x3f) << 26)) >>> 0;
}

/** Leaf 0xB: how many APIC id bits lie below each level, and how many processors it has. */
function topologyLevel(
  level: number,
  coreBits: number,
  cpus: number,
): Pick<kvm_cpuid_entry2, "eax" | "ebx" | "ecx"> {
  if (level === 0) return { eax: 0, ebx: 1, ecx: level | (LEVEL_SMT << 8) };
  if (level === 1) return { eax: coreBits, ebx: cpus, ecx: level | (LEVEL_CORE << 8) };
  return { eax: 0, ebx: 0, ecx: level };
}
