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
