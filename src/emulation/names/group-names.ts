/** Names of the instructions that share an opcode with others by ModRM: groups 7, 9, 12 to 15 and VEX group 17. */
import {
  ENCODING_LEGACY,
  ENCODING_VEX,
  MAP_0F,
  MAP_0F38,
  PREFIX_66,
  PREFIX_F2,
  PREFIX_F3,
  PREFIX_NONE,
  type Instruction,
} from "../decode.ts";

/** 0F 01 with a register, by ModRM. */
const GROUP_7: Readonly<Record<number, string>> = {
  0xc1: "vmcall",
  0xc2: "vmlaunch",
  0xc3: "vmresume",
  0xc4: "vmxoff",
  0xc8: "monitor",
  0xc9: "mwait",
  0xca: "clac",
  0xcb: "stac",
  0xcf: "encls",
  0xd0: "xgetbv",
  0xd1: "xsetbv",
  0xd4: "vmfunc",
  0xd5: "xend",
  0xd6: "xtest",
  0xd7: "enclu",
  0xd8: "vmrun",
  0xd9: "vmmcall",
  0xda: "vmload",
  0xdb: "vmsave",
  0xdc: "stgi",
  0xdd: "clgi",
  0xdf: "invlpga",
  0xe8: "serialize",
  0xee: "rdpkru",
  0xef: "wrpkru",
  0xf8: "swapgs",
  0xf9: "rdtscp",
  0xfa: "monitorx",
  0xfb: "mwaitx",
  0xfc: "clzero",
};

const W = ["", "64"];

export function groupSpec(insn: Instruction): string | undefined {
  if (insn.map === MAP_0F38) return vexBits(insn);
  if (insn.map !== MAP_0F) return undefined;
  switch (insn.opcode) {
    case 0x01:
      return insn.memory ? undefined : group7(insn);
    case 0x1e:
      return insn.prefix === PREFIX_F3 && !insn.memory ? shadowStack(insn) : undefined;
    case 0x71:
    case 0x72:
    case 0x73:
      return shift(insn);
    case 0xae:
      return insn.memory ? group15Memory(insn) : group15Register(insn);
    case 0xc7:
      return insn.memory ? group9Memory(insn) : group9Register(insn);
    default:
      return undefined;
  }
}

function group7(insn: Instruction): string | undefined {
  const modrm = 0xc0 | (insn.group << 3) | (insn.rm & 7);
  if (insn.group === 4) return "smsw Ev";
  if (insn.group === 6) return "lmsw Ew";
  return GROUP_7[modrm];
}

function shadowStack(insn: Instruction): string | undefined {
  if (insn.group === 7 && (insn.rm & 7) === 2) return "endbr64";
  if (insn.group === 7 && (insn.rm & 7) === 3) return "endbr32";
  return insn.group === 1 ? `rdssp${insn.w ? "q" : "d"} Ey` : undefined;
}

function shift(insn: Instruction): string | undefined {
  const width = "wdq"[insn.opcode - 0x71]!;
  const names: Record<number, string> = { 2: `psrl${width}`, 6: `psll${width}` };
  if (insn.opcode !== 0x73) names[4] = `psra${width}`;
  else if (insn.prefix === PREFIX_66) Object.assign(names, { 3: "psrldq", 7: "pslldq" });
  const name = names[insn.group];
  if (name === undefined) return undefined;
  if (insn.encoding !== ENCODING_LEGACY) return `v${name} H,U,Ib`;
  return `${name} ${insn.prefix === PREFIX_66 ? "U" : "N"},Ib`;
}

function group15Memory(insn: Instruction): string | undefined {
  const v = insn.encoding === ENCODING_VEX ? "v" : "";
  const w = W[Number(insn.w)]!;
  if (insn.prefix === PREFIX_66) return ["", "", "", "", "", "", "clwb M", "clflushopt M"][insn.group];
  if (insn.prefix === PREFIX_F3) return ["", "", "", "", "ptwrite Ey", "", "clrssbsy M", ""][insn.group];
  return [
    `fxsave${w} M`,
    `fxrstor${w} M`,
    `${v}ldmxcsr M`,
    `${v}stmxcsr M`,
    `xsave${w} M`,
    `xrstor${w} M`,
    `xsaveopt${w} M`,
    "clflush M",
  ][insn.group];
}

function group15Register(insn: Instruction): string | undefined {
  const incssp = `incssp${insn.w ? "q" : "d"} Ey`;
  if (insn.prefix === PREFIX_F3)
    return [
      "rdfsbase Ey",
      "rdgsbase Ey",
      "wrfsbase Ey",
      "wrgsbase Ey",
      "ptwrite Ey",
      incssp,
      "umonitor En",
      "",
    ][insn.group];
  if (insn.prefix === PREFIX_F2) return insn.group === 6 ? "umwait Ed" : undefined;
  if (insn.prefix === PREFIX_66) return insn.group === 6 ? "tpause Ed" : undefined;
  return ["", "", "", "", "", "lfence", "mfence", "sfence"][insn.group];
}

function group9Memory(insn: Instruction): string | undefined {
  const w = W[Number(insn.w)]!;
  if (insn.group === 1) return insn.w ? "cmpxchg16b M" : "cmpxchg8b M";
  if (insn.prefix === PREFIX_66) return insn.group === 6 ? "vmclear M" : undefined;
  if (insn.prefix === PREFIX_F3) return insn.group === 6 ? "vmxon M" : undefined;
  return ["", "", "", `xrstors${w} M`, `xsavec${w} M`, `xsaves${w} M`, "vmptrld M", "vmptrst M"][insn.group];
}

function group9Register(insn: Instruction): string | undefined {
  if (insn.prefix === PREFIX_F3) return ["", "", "", "", "", "", "senduipi En", "rdpid En"][insn.group];
  return ["", "", "", "", "", "", "rdrand Ev", "rdseed Ev"][insn.group];
}

function vexBits(insn: Instruction): string | undefined {
  if (insn.opcode !== 0xf3 || insn.encoding !== ENCODING_VEX || insn.prefix !== PREFIX_NONE) return undefined;
  const name = ["", "blsr", "blsmsk", "blsi", "", "", "", ""][insn.group]!;
  return name === "" ? undefined : `${name} By,Ey`;
}
