import { describe, expect, it } from "vitest";
import { ControlBlock, VcpuCommand, VcpuState } from "./control.ts";

function block(cpus: number): [ControlBlock, ControlBlock] {
  const bytes = ControlBlock.bytes(cpus);
  const shared = new SharedArrayBuffer(64 + bytes);
  return [new ControlBlock(shared, 64, bytes), new ControlBlock(shared, 64, bytes)];
}

describe("ControlBlock", () => {
  it("is one thing seen through two objects", () => {
    const [ours, theirs] = block(3);
    expect(theirs.cpus).toBe(3);
    ours.vcpu(1).tid = 42;
    ours.vcpu(1).state = VcpuState.Running;
    ours.windowSize = { rows: 50, columns: 132 };
    ours.requestIoStop();
    expect(theirs.vcpu(1).tid).toBe(42);
    expect(theirs.vcpu(1).state).toBe(VcpuState.Running);
    expect(theirs.vcpu(0).tid).toBe(0);
    expect(theirs.vcpu(2).tid).toBe(0);
    expect(theirs.windowSize).toEqual({ rows: 50, columns: 132 });
    expect(theirs.ioStop).toBe(true);
  });

  it("never takes a stop back", () => {
    const vcpu = block(1)[0].vcpu(0);
    vcpu.request(VcpuCommand.Stop);
    vcpu.request(VcpuCommand.Probe);
    expect(vcpu.command).toBe(VcpuCommand.Stop);
    vcpu.acknowledgeProbe(VcpuState.Running, 0n);
    expect(vcpu.command).toBe(VcpuCommand.Stop);
  });

  it("keeps a pause in spite of a probe, takes it back on resume, and never for a stop", () => {
    const [ours, theirs] = block(1);
    ours.vcpu(0).request(VcpuCommand.Pause);
    ours.vcpu(0).request(VcpuCommand.Probe);
    expect(theirs.vcpu(0).command).toBe(VcpuCommand.Pause);
    ours.vcpu(0).resume();
    expect(theirs.vcpu(0).command).toBe(VcpuCommand.Run);
    ours.vcpu(0).request(VcpuCommand.Pause);
    ours.vcpu(0).request(VcpuCommand.Stop);
    ours.vcpu(0).resume();
    expect(theirs.vcpu(0).command).toBe(VcpuCommand.Stop);
    theirs.vcpu(0).waitWhilePaused(); // returns
  });

  it("has one thread only start I/O", () => {
    const [ours, theirs] = block(2);
    expect([ours.claimIoStart(), theirs.claimIoStart(), ours.claimIoStart()]).toEqual([true, false, false]);
  });

  it("holds addresses of 47 bits", () => {
    const [ours, theirs] = block(1);
    expect(theirs.vcpu(0).runPage).toBe(0);
    for (const address of [0x7f12_ffff_f000, 0x7f12_8000_0000, 0x1000]) {
      ours.vcpu(0).runPage = address;
      expect(theirs.vcpu(0).runPage).toBe(address);
    }
  });

  it("measures the CPU time of a thread, while it works and afterwards, without what it had used before", () => {
    const [ours, theirs] = block(1);
    const burn = (milliseconds: number): void => {
      const start = process.cpuUsage();
      while (process.cpuUsage(start).user + process.cpuUsage(start).system < milliseconds * 1000);
    };
    burn(20);
    expect(ours.ioClock.used).toBe(0);
    ours.ioClock.start();
    burn(20);
    const during = theirs.ioClock.used;
    expect(during).toBeGreaterThan(0);
    burn(5);
    ours.ioClock.end();
    const inAll = theirs.ioClock.used;
    expect(inAll).toBeGreaterThanOrEqual(during);
    burn(5);
    expect(theirs.ioClock.used).toBe(inAll);
    expect(theirs.vcpuClock(0).used).toBe(0);
  });

  it("answers a probe with state and instruction pointer", () => {
    const [ours, theirs] = block(1);
    ours.vcpu(0).request(VcpuCommand.Probe);
    theirs.vcpu(0).acknowledgeProbe(VcpuState.HaltedForGood, 0xffff_ffff_8100_0123n);
    expect(ours.vcpu(0).command).toBe(VcpuCommand.Run);
    expect(ours.vcpu(0).state).toBe(VcpuState.HaltedForGood);
    expect(ours.vcpu(0).rip).toBe(0xffff_ffff_8100_0123n);
  });

  it("adds up the exits of all processors", () => {
    const [control] = block(2);
    control.vcpu(0).countIo();
    control.vcpu(1).countIo();
    control.vcpu(1).countMmio();
    control.vcpu(1).countAssist();
    control.vcpu(0).countInterrupted();
    expect(control.exits).toEqual({ io: 2, mmio: 1, assist: 1, interrupted: 1 });
  });
});
