/**
 * What a completion costs beside the ioctls around it: decoding, page walks, the work itself. Run with
 *
 *     npx esbuild src/emulation/testing/bench.ts --bundle --platform=node --format=esm | node --input-type=module
 */
import { completeInstruction } from "../complete.ts";
import { R11, RIP, RSP } from "../registers.ts";
import { FakeCpu } from "./fake-cpu.ts";

const ROUNDS = 100_000;

/** Prints the mean time of one completion, in microseconds. */
function measure(name: string, hex: string, prepare: (cpu: FakeCpu) => void = () => undefined): void {
  const cpu = new FakeCpu().mapIdentity(16);
  cpu.markDirty = () => undefined;
  // RDI, RSI
  cpu.regs[5] = 0x2000n;
  cpu.regs[4] = 0x2000n;
  cpu.regs[0] = 0xffff_ffffn;
  cpu.regs[3] = 0xffff_ffffn;
  prepare(cpu);
  const bytes = Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16));
  const round = (): void => {
    cpu.regs[RIP] = 0x1000n;
    completeInstruction(cpu, bytes);
  };
  for (let warm = 0; warm < ROUNDS / 5; warm++) round();
  const start = process.hrtime.bigint();
  for (let done = 0; done < ROUNDS; done++) round();
  const nanoseconds = Number(process.hrtime.bigint() - start) / ROUNDS;
  process.stdout.write(`${name.padEnd(32)} ${(nanoseconds / 1000).toFixed(2).padStart(6)} µs\n`);
}

measure("clac", "0f 01 ca");
measure("clac, R11 looks like flags", "0f 01 ca", (cpu) => {
  cpu.regs[R11] = 0x246n;
  cpu.regs[RSP] = 0x3000n;
});
measure("stac", "0f 01 cb");
measure("fwait", "9b");
measure("int3", "cc");
measure("popcnt rax, rbx", "f3 48 0f b8 c3");
measure("popcnt rax, [rdi]", "f3 48 0f b8 07");
measure("lock cmpxchg16b [rdi]", "f0 48 0f c7 0f");
measure("xsave64 [rdi]", "48 0f ae 27");
measure("xsavec64 [rdi], AVX in use", "48 0f c7 27", (cpu) => {
  cpu.xsave[512] = 7;
});
measure("xrstor64 [rdi]", "48 0f ae 2f");
measure("xrstor64 [rdi], compacted", "48 0f ae 2f", (cpu) => {
  cpu.view.setUint32(0x2000 + 524, 0x8000_0000, true);
  cpu.ram[0x2000 + 520] = 7;
  cpu.ram[0x2000 + 512] = 7;
});
measure("fxsave64 [rdi]", "48 0f ae 07");
measure("rdtscp", "0f 01 f9");
measure("rdrand rax", "48 0f c7 f0");
measure("lfence", "0f ae e8");
measure("movups [rdi], xmm0", "0f 11 07");
