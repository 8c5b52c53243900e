import { describe, expect, it } from "vitest";
import { completeInstruction } from "../complete.ts";
import { decode } from "../decode.ts";
import { nameInstruction } from "../mnemonics.ts";
import { KVM_INDEX_BY_NUMBER, RFLAGS } from "../registers.ts";
import { FakeCpu } from "../testing/fake-cpu.ts";
import { NATIVE_VECTORS } from "../testing/native-vectors.ts";

const REGISTERS = [0, 2, 3, 8].map((number) => KVM_INDEX_BY_NUMBER[number]!);

function words(text: string): bigint[] {
  return text
    .trim()
    .split(" ")
    .map((word) => BigInt(`0x${word}`));
}

function fields(row: string): [code: Uint8Array, before: bigint[], after: bigint[]] {
  const [code = "", before = "", after = ""] = row.split("|");
  return [Uint8Array.from(words(code).map(Number)), words(before), words(after)];
}

describe("results of a real processor", () => {
  it.each(NATIVE_VECTORS.map((row) => [nameInstruction(decode(fields(row)[0], 64), 0n), row]))(
    "%s",
    (_name, row) => {
      const [code, before, after] = fields(row);
      const cpu = new FakeCpu();
      REGISTERS.forEach((index, at) => (cpu.regs[index] = before[at]!));
      cpu.regs[RFLAGS] = before[4]! | 2n;
      expect(completeInstruction(cpu, code)).toEqual({ kind: "completed" });
      expect(REGISTERS.map((index) => cpu.regs[index])).toEqual(after.slice(0, 4));
      expect(cpu.regs[RFLAGS]! & after[5]!).toBe(after[4]);
    },
  );
});
