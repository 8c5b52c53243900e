import type { Kvm } from "./kvm.ts";

/** APIC ids beyond 254 need interrupt remapping, which tsvm does not offer. */
const XAPIC_LIMIT = 254;

/** The largest number of vCPUs of one machine on this host. */
export function vcpuLimit(kvm: Kvm): number {
  const most = kvm.checkExtension("KVM_CAP_MAX_VCPUS") || kvm.checkExtension("KVM_CAP_NR_VCPUS");
  return Math.min(most, XAPIC_LIMIT);
}
