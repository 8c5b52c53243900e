/** Names of x87 instructions, D8 to DF. Intel SDM volume 2D appendix A, tables. */
import type { Instruction } from "../decode.ts";

/** By opcode - D8 and ModRM.reg, memory operand. */
const MEMORY: readonly (readonly string[])[] = [
  ["fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr"],
  ["fld", "", "fst", "fstp", "fldenv", "fldcw", "fnstenv", "fnstcw"],
  ["fiadd", "fimul", "ficom", "ficomp", "fisub", "fisubr", "fidiv", "fidivr"],
  ["fild", "fisttp", "fist", "fistp", "", "fld", "", "fstp"],
  ["fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr"],
  ["fld", "fisttp", "fst", "fstp", "frstor", "", "fnsave", "fnstsw"],
  ["fiadd", "fimul", "ficom", "ficomp", "fisub", "fisubr", "fidiv", "fidivr"],
  ["fild", "fisttp", "fist", "fistp", "fbld", "fild", "fbstp", "fistp"],
];

/** By opcode - D8 and ModRM.reg, register operand ST(i). */
const REGISTER: readonly (readonly string[])[] = [
  ["fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr"],
  ["fld", "fxch", "", "", "", "", "", ""],
  ["fcmovb", "fcmove", "fcmovbe", "fcmovu", "", "", "", ""],
  ["fcmovnb", "fcmovne", "fcmovnbe", "fcmovnu", "", "fucomi", "fcomi", ""],
  ["fadd", "fmul", "", "", "fsubr", "fsub", "fdivr", "fdiv"],
  ["ffree", "", "fst", "fstp", "fucom", "fucomp", "", ""],
  ["faddp", "fmulp", "", "", "fsubrp", "fsubp", "fdivrp", "fdivp"],
  ["", "", "", "", "", "fucomip", "fcomip", ""],
];

/** Those without operands, by opcode and ModRM. */
const WITHOUT_OPERANDS: Readonly<Record<number, string>> = {
  0xd9d0: "fnop",
  0xd9e0: "fchs",
  0xd9e1: "fabs",
  0xd9e4: "ftst",
  0xd9e5: "fxam",
  0xd9e8: "fld1",
  0xd9e9: "fldl2t",
  0xd9ea: "fldl2e",
  0xd9eb: "fldpi",
  0xd9ec: "fldlg2",
  0xd9ed: "fldln2",
  0xd9ee: "fldz",
  0xd9f0: "f2xm1",
  0xd9f1: "fyl2x",
  0xd9f2: "fptan",
  0xd9f3: "fpatan",
  0xd9f4: "fxtract",
  0xd9f5: "fprem1",
  0xd9f6: "fdecstp",
  0xd9f7: "fincstp",
  0xd9f8: "fprem",
  0xd9f9: "fyl2xp1",
  0xd9fa: "fsqrt",
  0xd9fb: "fsincos",
  0xd9fc: "frndint",
  0xd9fd: "fscale",
  0xd9fe: "fsin",
  0xd9ff: "fcos",
  0xdae9: "fucompp",
  0xdbe2: "fnclex",
  0xdbe3: "fninit",
  0xded9: "fcompp",
  0xdfe0: "fnstsw ax",
};

/** Name with operands, in the notation of the other tables; undefined where there is no such instruction. */
export function x87Spec(insn: Instruction): string | undefined {
  const row = insn.opcode - 0xd8;
  if (insn.memory) return withOperands(MEMORY[row]![insn.group]!, "M");
  const modrm = 0xc0 | (insn.group << 3) | (insn.rm & 7);
  return (
    WITHOUT_OPERANDS[(insn.opcode << 8) | modrm] ??
    withOperands(REGISTER[row]![insn.group]!, `st(${insn.rm & 7})`)
  );
}

function withOperands(name: string, operands: string): string | undefined {
  return name === "" ? undefined : `${name} ${operands}`;
}
