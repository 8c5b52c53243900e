import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EFD_CLOEXEC, EFD_NONBLOCK } from "../ffi/constants.ts";
import { check, close, errno, eventfd, read } from "../ffi/libc.ts";
import { errnoName } from "../ffi/errno.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { unprivileged } from "../ffi/testing/unprivileged.ts";
import { KVM_EXIT_HLT, KVM_EXIT_IO, KVM_EXIT_MMIO } from "./abi/constants.ts";
import {
  kvm_exit_io,
  kvm_exit_mmio,
  KVM_EXIT_IO_IN,
  KVM_EXIT_IO_OUT,
  KVM_MP_STATE_RUNNABLE,
  kvm_regs,
  kvm_run,
  KVM_SYNC_X86_REGS,
} from "./abi/structs.ts";
import { vcpuCpuid } from "./cpuid.ts";
import { KvmUnavailableError } from "./errors.ts";
import { GuestMemory } from "./guest-memory.ts";
import { isSoftwareKvm } from "./host.ts";
import { Kvm } from "./kvm.ts";
import { vcpuLimit } from "./limits.ts";
import { MiB } from "./memory-map.ts";
import { Vcpu } from "./vcpu.ts";
import type { Vm } from "./vm.ts";

const hasKvm = ((): boolean => {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
})();

const openFds = (): number => readdirSync("/proc/self/fd").length;

describe("Kvm.open", () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-kvm-"));
  const file = join(directory, "file");
  writeFileSync(file, "no device");
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  it("says that a missing device means no KVM, and where it may come from", () => {
    const failure = (): Kvm => Kvm.open(join(directory, "missing"));
    expect(failure).toThrow(KvmUnavailableError);
    expect(failure).toThrow(/missing does not exist: this host offers no KVM$/);
    expect(failure).toThrow(expect.objectContaining({ hint: expect.stringContaining("modprobe") as string }));
  });

  it("refuses a path that is no KVM, and closes it", () => {
    const before = openFds();
    for (const path of ["/dev/null", file]) {
      expect(() => Kvm.open(path)).toThrow(KvmUnavailableError);
      expect(() => Kvm.open(path)).toThrow(`${path} is not KVM`);
    }
    expect(() => Kvm.open(directory)).toThrow(KvmUnavailableError);
    expect(openFds()).toBe(before);
  });

  it("says what to do without permission", () => {
    const path = join(directory, "forbidden");
    writeFileSync(path, "", { mode: 0 });
    chmodSync(directory, 0o755);
    unprivileged(() => {
      expect(() => Kvm.open(path)).toThrow(/forbidden: permission denied$/);
      expect(() => Kvm.open(path)).toThrow(
        expect.objectContaining({ hint: expect.stringContaining("usermod -aG kvm") as string }),
      );
    });
  });
});

describe("isSoftwareKvm", () => {
  it("always says the same", () => {
    expect(isSoftwareKvm()).toBe(isSoftwareKvm());
  });
});

describe.skipIf(!hasKvm)("KVM (needs /dev/kvm)", () => {
  let kvm: Kvm;
  let vm: Vm;
  const memory = GuestMemory.create(2 * MiB);
  let nextVcpu = 0;
  let mmapSize = 0;
  const cleanup: (() => void)[] = [];

  beforeAll(async () => {
    kvm = Kvm.open();
    vm = kvm.createVm();
    vm.createInterruptControllers();
    await vm.setGuestMemory(memory);
    mmapSize = kvm.getVcpuMmapSize();
  });
  afterAll(async () => {
    for (const undo of cleanup.reverse()) undo();
    await vm.close();
    kvm.close();
    memory.release();
  });

  const newVcpu = (): Vcpu => {
    const vcpu = new Vcpu(vm.createVcpu(nextVcpu++), mmapSize);
    cleanup.push(() => {
      vcpu.unmap();
      close(vcpu.fd);
    });
    return vcpu;
  };
  const newEventfd = (): number => {
    const fd = check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
    cleanup.push(() => close(fd));
    return fd;
  };

  it("closes itself at the end of a using block", () => {
    const before = openFds();
    const other = Kvm.open();
    other[Symbol.dispose]();
    expect(openFds()).toBe(before);
  });

  it("has capabilities with values, and limits", () => {
    expect(kvm.checkExtension("KVM_CAP_USER_MEMORY")).toBeGreaterThan(0);
    expect(vm.checkExtension("KVM_CAP_NR_MEMSLOTS")).toBeGreaterThan(2);
    expect(vcpuLimit(kvm)).toBeGreaterThanOrEqual(1);
    expect(vcpuLimit(kvm)).toBeLessThanOrEqual(254);
    // kvm_run and the page for PIO data; sync registers have to be inside.
    expect(mmapSize).toBeGreaterThanOrEqual(2 * 4096);
    expect(kvm_run.size).toBeLessThanOrEqual(4096);
  });

  it("has CPUID leaves that a vCPU takes", () => {
    const supported = kvm.getSupportedCpuid();
    expect(supported.some((entry) => entry.function === 0)).toBe(true);
    expect(supported.some((entry) => entry.function === 1)).toBe(true);
    const vcpu = newVcpu();
    vcpu.setCpuid(vcpuCpuid(supported, { index: 0, cpus: 1, tscDeadline: true, softwareKvm: false }));
    const tooMany = Array.from({ length: 300 }, () => supported[0]!);
    expect(() => vcpu.setCpuid(tooMany)).toThrow("KVM_SET_CPUID2 failed: E2BIG");
  });

  it("names the call that fails", () => {
    expect(() => vm.createInterruptControllers()).toThrow(/^KVM_\w+ failed: E(EXIST|INVAL)$/);
    newVcpu();
    expect(() => vm.createVcpu(nextVcpu - 1)).toThrow("KVM_CREATE_VCPU failed: EEXIST");
    expect(() => vm.createVcpu(0x10_0000)).toThrow("KVM_CREATE_VCPU failed: EINVAL");
    expect(() => new Vcpu(-1, mmapSize)).toThrow("mmap failed: EBADF");
  });

  it("gives back the registers that were set", () => {
    const vcpu = newVcpu();
    const regs = vcpu.getRegs();
    const changed = regs.map((_, index) => BigInt(index + 1) * 0x0101_0101_0101_0101n);
    changed[16] = 0x1234n; // rip
    changed[17] = 2n; // rflags: bit 1 is always set
    vcpu.setRegs(changed);
    expect(vcpu.getRegs()).toEqual(changed);

    const sregs = vcpu.getSregs();
    const next = { ...sregs, cr2: 0xdead_beef_000n, cs: { ...sregs.cs, base: 0x1_0000n, selector: 0x1000 } };
    vcpu.setSregs(next);
    expect(vcpu.getSregs()).toMatchObject({ cr2: next.cr2, cs: { base: 0x1_0000n, selector: 0x1000 } });

    const IA32_SYSENTER_ESP = 0x175;
    vcpu.setMsr(IA32_SYSENTER_ESP, 0x1234_5678_9abcn);
    expect(vcpu.getMsr(IA32_SYSENTER_ESP)).toBe(0x1234_5678_9abcn);
    expect(() => vcpu.getMsr(0x1234_5678)).toThrow(/no MSR 0x12345678 on this host/);
    expect(() => vcpu.setMsr(0x1234_5678, 1n)).toThrow(RangeError);

    const events = vcpu.getVcpuEvents();
    vcpu.setVcpuEvents(events);
    expect(vcpu.getVcpuEvents()).toEqual(events);

    const lapic = vcpu.getLapic();
    expect(lapic.length).toBe(1024);
    vcpu.setLapic(lapic);
    expect(vcpu.getLapic().subarray(0x20, 0x24)).toEqual(lapic.subarray(0x20, 0x24));
  });

  it("gives back the extended state that was set", () => {
    const vcpu = newVcpu();
    vcpu.setCpuid(kvm.getSupportedCpuid());
    const xcr0 = vcpu.getXcr0();
    expect(xcr0 & 1n).toBe(1n);
    vcpu.setXcr0(xcr0 | 2n);
    expect(vcpu.getXcr0()).toBe(xcr0 | 2n);
    const area = vcpu.getXsave();
    expect(area.length).toBe(4096);
    // XMM0 in the legacy region, and the bit in XSTATE_BV that says SSE state is present.
    area.set([1, 2, 3, 4, 5, 6, 7, 8], 160);
    area[512]! |= 2;
    vcpu.setXsave(area);
    const seen = vcpu.getXsave(new Uint8Array(4096));
    expect([...seen.subarray(160, 168)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  /** A vCPU in real mode at `code`. */
  const realMode = (vcpu: Vcpu, at: number, code: readonly number[]): void => {
    memory.write(at, Uint8Array.from(code));
    const sregs = vcpu.getSregs();
    vcpu.setSregs({
      ...sregs,
      cs: { ...sregs.cs, base: 0n, selector: 0 },
      ds: { ...sregs.ds, base: 0n, selector: 0 },
    });
    const regs = new BigUint64Array(18);
    regs[16] = BigInt(at);
    regs[17] = 2n;
    vcpu.setRegs(regs);
  };

  // Only the first vCPU of a machine with an in-kernel APIC starts without INIT and SIPI.
  let first: Vcpu;
  beforeAll(() => {
    first = newVcpu();
  });

  it("runs a guest of a few bytes, exit by exit", () => {
    const vcpu = first;
    expect(vcpu.getMpState()).toBe(KVM_MP_STATE_RUNNABLE);
    // mov al, 0x42; out 0x10, al; mov dx, 0x123; in ax, dx; mov bx, ax; out 0x30, ax
    realMode(vcpu, 0x1000, [0xb0, 0x42, 0xe6, 0x10, 0xba, 0x23, 0x01, 0xed, 0x89, 0xc3, 0xe7, 0x30]);
    const exit = kvm_run.offset.exit;
    const nextIo = (): { direction: number; size: number; port: number; count: number; at: number } => {
      expect(vcpu.run()).toBe(0);
      expect(vcpu.runPage32[kvm_run.offset.exit_reason / 4]).toBe(KVM_EXIT_IO);
      const { data_offset, ...io } = kvm_exit_io.unpack(vcpu.runPage, exit);
      return { ...io, at: Number(data_offset) };
    };
    const out = nextIo();
    expect(out).toMatchObject({ direction: KVM_EXIT_IO_OUT, size: 1, port: 0x10, count: 1 });
    expect(vcpu.runPage[out.at]).toBe(0x42);
    const input = nextIo();
    expect(input).toMatchObject({ direction: KVM_EXIT_IO_IN, size: 2, port: 0x123, count: 1 });
    vcpu.runPage16[input.at / 2] = 0xbeef;
    const echo = nextIo();
    expect(echo).toMatchObject({ direction: KVM_EXIT_IO_OUT, size: 2, port: 0x30 });
    expect(vcpu.runPage16[echo.at / 2]).toBe(0xbeef);
    expect(vcpu.getRegs()[1]).toBe(0xbeefn); // rbx
  });

  it("leaves for memory that is not there, with the value", () => {
    const vcpu = first;
    // mov al, 0x99; mov es:[0], al with es far above RAM: base set by hand.
    realMode(vcpu, 0x2000, [0xb0, 0x99, 0x26, 0xa2, 0x00, 0x00]);
    const sregs = vcpu.getSregs();
    vcpu.setSregs({ ...sregs, es: { ...sregs.es, base: 0xd000_0000n, selector: 0 } });
    expect(vcpu.run()).toBe(0);
    expect(vcpu.runPage32[kvm_run.offset.exit_reason / 4]).toBe(KVM_EXIT_MMIO);
    const mmio = kvm_exit_mmio.unpack(vcpu.runPage, kvm_run.offset.exit);
    expect(mmio).toMatchObject({ phys_addr: 0xd000_0000n, len: 1, is_write: 1 });
    expect(mmio.data[0]).toBe(0x99);
  });

  it("leaves registers in kvm_run where that is asked for", ({ skip }) => {
    if ((kvm.checkExtension("KVM_CAP_SYNC_REGS") & KVM_SYNC_X86_REGS) === 0) skip("needs KVM_CAP_SYNC_REGS");
    const vcpu = first;
    realMode(vcpu, 0x3000, [0xb8, 0x34, 0x12, 0xe6, 0x10]);
    vcpu.setSyncRegs(KVM_SYNC_X86_REGS);
    expect(vcpu.run()).toBe(0);
    expect(kvm_regs.unpack(vcpu.runPage, kvm_run.offset.s_regs).rax & 0xffffn).toBe(0x1234n);
    vcpu.setSyncRegs(0);
  });

  it("gives the guest zeros for memory that has been discarded, and a page again for what it writes then", () => {
    const vcpu = first;
    const write = (value: number): number[] => [0xb0, value, 0xa2, 0x00, 0x70, 0xe6, 0x10]; // mov [0x7000], al
    const show = [0xa0, 0x00, 0x70, 0xe6, 0x10]; // mov al, [0x7000]; out 0x10, al
    realMode(vcpu, 0x6000, [...write(0x5a), ...show, ...show, ...write(0x77), ...show]);
    const shown = (): number => {
      expect(vcpu.run()).toBe(0);
      expect(vcpu.runPage32[kvm_run.offset.exit_reason / 4]).toBe(KVM_EXIT_IO);
      const { data_offset } = kvm_exit_io.unpack(vcpu.runPage, kvm_run.offset.exit);
      return vcpu.runPage[Number(data_offset)]!;
    };
    expect([shown(), shown()]).toEqual([0x5a, 0x5a]);
    expect(memory.discard(0x7000, 0x1000)).toBe(0x1000);
    expect(shown()).toBe(0);
    shown();
    expect(shown()).toBe(0x77);
    expect(memory.getUint8(0x7000)).toBe(0x77);
  });

  it("does not enter the guest while immediate_exit is set", () => {
    const vcpu = first;
    realMode(vcpu, 0x4000, [0xeb, 0xfe]); // jmp $
    vcpu.runPage[kvm_run.offset.immediate_exit] = 1;
    expect(vcpu.run()).toBe(-1);
    expect(errnoName(errno())).toBe("EINTR");
    vcpu.runPage[kvm_run.offset.immediate_exit] = 0;
  });

  it("signals an ioeventfd for its address and value, and leaves for others", () => {
    const vcpu = first;
    const fd = newEventfd();
    vm.ioeventfd(fd, 0xd000_0050, 7);
    const store = (value: number): number[] => [0x26, 0x66, 0xc7, 0x06, 0x50, 0x00, value, 0, 0, 0];
    realMode(vcpu, 0x5000, [...store(7), ...store(8)]);
    const sregs = vcpu.getSregs();
    vcpu.setSregs({ ...sregs, es: { ...sregs.es, base: 0xd000_0000n, selector: 0 } });
    expect(vcpu.run()).toBe(0);
    const mmio = kvm_exit_mmio.unpack(vcpu.runPage, kvm_run.offset.exit);
    expect(mmio).toMatchObject({ phys_addr: 0xd000_0050n, len: 4, is_write: 1 });
    expect(mmio.data[0]).toBe(8);
    const count = allocateNative(8);
    expect(read(fd, count.address, 8)).toBe(8);
    expect(new BigUint64Array(count.buffer)[0]).toBe(1n);
    expect(() => vm.ioeventfd(newEventfd(), 0xd000_0050, 7)).toThrow("KVM_IOEVENTFD failed: EEXIST");
  });

  it("refuses descriptors that are no eventfds, and one eventfd twice", () => {
    expect(() => vm.ioeventfd(-1, 0xd000_0000, 0)).toThrow("KVM_IOEVENTFD failed: EBADF");
    expect(() => vm.irqfd(-1, 5)).toThrow("KVM_IRQFD failed: EBADF");
    const file = openSync("/dev/null", "r");
    expect(() => vm.irqfd(file, 5)).toThrow("KVM_IRQFD failed: EINVAL");
    expect(() => vm.ioeventfd(file, 0xd000_0000, 0)).toThrow("KVM_IOEVENTFD failed: EINVAL");
    closeSync(file);
    const fd = newEventfd();
    vm.irqfd(fd, 5);
    expect(() => vm.irqfd(fd, 6)).toThrow("KVM_IRQFD failed: EBUSY");
  });

  it("runs without an in-kernel APIC too, up to a halt", async () => {
    const bare = kvm.createVm();
    const ram = GuestMemory.create(MiB);
    await bare.setGuestMemory(ram);
    const vcpu = new Vcpu(bare.createVcpu(0), mmapSize);
    const halt = [0xf4];
    ram.write(0x1000, Uint8Array.from(halt));
    const sregs = vcpu.getSregs();
    vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
    const regs = new BigUint64Array(18);
    regs[16] = 0x1000n;
    regs[17] = 2n;
    vcpu.setRegs(regs);
    expect(vcpu.run()).toBe(0);
    expect(vcpu.runPage32[kvm_run.offset.exit_reason / 4]).toBe(KVM_EXIT_HLT);
    expect(() => vcpu.getLapic()).toThrow("KVM_GET_LAPIC failed: EINVAL");
    vcpu.unmap();
    close(vcpu.fd);
    bare.close();
    ram.release();
  });
});
