import { describe, expect, it } from "vitest";
import type { kvm_cpuid_entry2 } from "./abi/structs.ts";
import { vcpuCpuid } from "./cpuid.ts";

const entry = (leaf: number, values: Partial<kvm_cpuid_entry2> = {}): kvm_cpuid_entry2 => ({
  function: leaf,
  index: 0,
  flags: 0,
  eax: 0,
  ebx: 0,
  ecx: 0,
  edx: 0,
  padding: [0, 0, 0],
  ...values,
});
const HTT = 1 << 28;
const HYPERVISOR = 2 ** 31;
const TSC_DEADLINE = 1 << 24;

describe("vcpuCpuid", () => {
  const one = { index: 0, cpus: 1, tscDeadline: false, softwareKvm: false };

  it("leaves other leaves alone, and the input too", () => {
    const supported = [
      entry(0, { eax: 0x1f }),
      entry(1, { ebx: 0xdead_beef }),
      entry(7, { ebx: 0xffff_ffff }),
    ];
    const before = structuredClone(supported);
    const result = vcpuCpuid(supported, { index: 3, cpus: 4, tscDeadline: true, softwareKvm: false });
    expect(supported).toEqual(before);
    expect([result[0], result[2]]).toEqual([before[0], before[2]]);
  });

  it("leaf 1 has the APIC id, the number of processors, and the hypervisor bit, as unsigned numbers", () => {
    const leaf = (index: number, cpus: number, tscDeadline = false): kvm_cpuid_entry2 =>
      vcpuCpuid([entry(1, { ebx: 0x1234_5678, ecx: 5, edx: HTT | 3 })], {
        index,
        cpus,
        tscDeadline,
        softwareKvm: false,
      })[0]!;
    expect(leaf(0, 1)).toMatchObject({ ebx: 0x0001_5678, ecx: HYPERVISOR + 5, edx: 3 });
    expect(leaf(2, 3)).toMatchObject({ ebx: 0x0204_5678, edx: HTT + 3 });
    expect(leaf(253, 254)).toMatchObject({ ebx: 0xfdff_5678 });
    expect(leaf(0, 1, true).ecx).toBe(HYPERVISOR + TSC_DEADLINE + 5);
  });

  it("leaf 0xB tells all levels of the topology, whatever the host lists", () => {
    const listed = [entry(0xb, { eax: 9 }), entry(0x1f, { eax: 9 }), entry(0x1f, { index: 1 })];
    const leaves = vcpuCpuid(listed, { index: 5, cpus: 6, tscDeadline: false, softwareKvm: false });
    expect(leaves).toMatchObject([
      { function: 0xb, index: 0, flags: 1, eax: 0, ebx: 1, ecx: 0x100, edx: 5 },
      { function: 0xb, index: 1, flags: 1, eax: 3, ebx: 6, ecx: 0x201, edx: 5 },
      { function: 0xb, index: 2, flags: 1, eax: 0, ebx: 0, ecx: 2, edx: 5 },
    ]);
    expect(vcpuCpuid([entry(1)], { index: 0, cpus: 1, tscDeadline: false, softwareKvm: false })).toHaveLength(
      1,
    );
  });

  it("keeps hypercalls from guests of a software KVM", () => {
    const features = (softwareKvm: boolean): number =>
      vcpuCpuid([entry(0x4000_0001, { eax: 0x0100_3fff })], {
        index: 0,
        cpus: 2,
        tscDeadline: false,
        softwareKvm,
      })[0]!.eax;
    expect(features(false)).toBe(0x0100_3fff);
    expect(features(true)).toBe(0x0100_177f);
  });

  it("leaf 4 shares only the last level, and stops where the host stops", () => {
    const cache = (level: number, type: number): kvm_cpuid_entry2 =>
      entry(4, { eax: 0xffff_c000 | (level << 5) | type });
    const [l1, l3, none] = vcpuCpuid([cache(1, 1), cache(3, 3), entry(4)], {
      index: 0,
      cpus: 8,
      tscDeadline: false,
      softwareKvm: false,
    });
    const sharing = (eax: number): number => (eax >>> 14) & 0xfff;
    expect(sharing(l1!.eax)).toBe(0);
    expect(sharing(l3!.eax)).toBe(7);
    expect(l3!.eax >>> 26).toBe(7);
    expect(l3!.eax & 0x3fff).toBe((3 << 5) | 3);
    expect(none!.eax).toBe(0);
  });

  it("AMD's leaves tell the same", () => {
    const [size, node] = vcpuCpuid(
      [entry(0x8000_0008, { ecx: 0xffff_ffff }), entry(0x8000_001e, { ecx: 7 })],
      {
        index: 2,
        cpus: 4,
        tscDeadline: false,
        softwareKvm: false,
      },
    );
    expect(size!.ecx).toBe(0xffff_2003);
    expect(node).toMatchObject({ eax: 2, ebx: 2, ecx: 0 });
    expect(vcpuCpuid([entry(0x8000_0008)], one)[0]!.ecx).toBe(0);
  });
});
