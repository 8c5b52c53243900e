/**
 * Names of instructions for error messages, as `objdump -d -M intel` prints them, without operand sizes. Covers what
 * compilers emit and kernels use; the rest is named by its map and opcode. Loaded tables are parsed on first use.
 */
import {
  ENCODING_EVEX,
  ENCODING_LEGACY,
  ENCODING_VEX,
  MAP_0F,
  MAP_0F38,
  MAP_0F3A,
  MAP_ONE_BYTE,
  type Instruction,
} from "./decode.ts";
import { groupSpec } from "./names/group-names.ts";
import { GROUPS, ONE_BYTE_NAMES, TWO_BYTE_NAMES } from "./names/integer-table.ts";
import { opmaskSuffix, printOperand } from "./names/operands.ts";
import {
  OPMASK_0F_NAMES,
  VECTOR_0F38_NAMES,
  VECTOR_0F3A_NAMES,
  VECTOR_0F_NAMES,
} from "./names/vector-table.ts";
import { x87Spec } from "./names/x87-table.ts";

type NameTable = ReadonlyMap<number, readonly string[]>;

let tables: readonly NameTable[] | undefined;
let opmaskNames: NameTable | undefined;

/** From rows `opcode none|66|F3|F2` to columns by opcode. */
function parse(rows: readonly string[]): NameTable {
  return new Map(rows.map((row) => [Number.parseInt(row.slice(0, 2), 16), row.slice(3).split("|")]));
}

function nameTables(): readonly NameTable[] {
  return (tables ??= [
    parse(ONE_BYTE_NAMES),
    parse([...TWO_BYTE_NAMES, ...VECTOR_0F_NAMES]),
    parse(VECTOR_0F38_NAMES),
    parse(VECTOR_0F3A_NAMES),
  ]);
}

/** The instruction in Intel syntax, for instance `lock cmpxchg16b [rsi]`. `rip` is its address, for branch targets. */
export function nameInstruction(insn: Instruction, rip: bigint): string {
  if (insn.invalid) return "(invalid)";
  const spec = findSpec(insn);
  if (spec === undefined) return fallbackName(insn);
  const blank = spec.indexOf(" ");
  const name = blank < 0 ? spec : spec.slice(0, blank);
  const operands = blank < 0 ? [] : spec.slice(blank + 1).split(",");
  const printed = operands.map((code) => printOperand(code, insn, rip)).filter((text) => text !== undefined);
  if (printed.length > 0) printed[0] += opmaskSuffix(insn);
  const text = [withEncoding(insn, name), printed.join(", ")].filter((part) => part !== "").join(" ");
  return prefixes(insn, text) + text;
}

/** Name and operands as the tables have them, with the group member and the size variant chosen. */
function findSpec(insn: Instruction): string | undefined {
  const special = specialSpec(insn);
  if (special !== undefined) return special;
  const columns = findColumns(insn);
  if (columns === undefined) return undefined;
  // Integer instructions have one column, whatever the prefixes.
  const wanted = columns.length === 1 && insn.map <= MAP_0F ? columns[0] : chooseColumn(insn, columns);
  if (wanted === undefined || wanted === "" || wanted === "-") return undefined;
  const vexOnly = wanted.startsWith("!");
  const legacyOnly = !vexOnly && !wanted.startsWith("~");
  if (vexOnly ? insn.encoding === ENCODING_LEGACY : legacyOnly && insn.encoding !== ENCODING_LEGACY)
    return undefined;
  const spec = vexOnly ? wanted.slice(1) : wanted;
  return chooseVariant(insn, chooseMember(insn, spec));
}

function findColumns(insn: Instruction): readonly string[] | undefined {
  if (insn.encoding !== ENCODING_LEGACY && insn.map === MAP_0F) {
    const opmask = (opmaskNames ??= parse(OPMASK_0F_NAMES)).get(insn.opcode);
    if (opmask !== undefined) return opmask;
  }
  return nameTables()[insn.map]?.get(insn.opcode);
}

function chooseColumn(insn: Instruction, columns: readonly string[]): string | undefined {
  const column = columns[insn.prefix];
  // BSF and BSR keep their name with 66 and F2, CRC32 and MOVBE take 66 as an operand size.
  const isScan = insn.map === MAP_0F && (insn.opcode & 0xfe) === 0xbc;
  return isScan && insn.prefix !== 2 ? columns[0] : column;
}

function chooseMember(insn: Instruction, spec: string): string | undefined {
  if (!spec.startsWith("#")) return spec;
  const [group, operands = ""] = spec.slice(1).split(" ");
  const member = GROUPS[group!]![insn.group]!;
  if (member === "") return undefined;
  if (member === "test" && group === "unary") return `test ${operands},${insn.opcode === 0xf6 ? "Ib" : "Iz"}`;
  if (group === "jump" && insn.group >= 2)
    return `${member} ${insn.group === 3 || insn.group === 5 ? "M" : "En"}`;
  return `${member} ${operands}`;
}

/** `a/b/c` are the 16, 32 and 64-bit variants, `a/b` of VEX-only vector instructions those of VEX.W. */
function chooseVariant(insn: Instruction, spec: string | undefined): string | undefined {
  if (spec === undefined || !spec.includes("/")) return spec;
  const [name = "", operands] = spec.split(" ");
  const variants = name.split("/");
  let chosen: string;
  if (variants.length === 2 && insn.map >= MAP_0F38) {
    const first = variants[0]!;
    const second = variants[1]!;
    // "vfmadd132ps/pd": the second variant may be only an ending.
    chosen = !insn.w ? first : second.length < 3 ? first.slice(0, -second.length) + second : second;
  } else chosen = variants[insn.operandSize === 2 ? 0 : insn.operandSize === 4 ? 1 : variants.length - 1]!;
  return operands === undefined ? chosen : `${chosen} ${operands}`;
}

/** What the tables cannot say: groups with prefixes, x87, and a few opcodes whose name depends on more. */
function specialSpec(insn: Instruction): string | undefined {
  const group = groupSpec(insn);
  if (group !== undefined && group !== "") return group;
  if (insn.map === MAP_ONE_BYTE) return specialOneByte(insn);
  if (insn.map === MAP_0F) return special0f(insn);
  return insn.map === MAP_0F3A && insn.w ? special0f3a(insn) : undefined;
}

function specialOneByte(insn: Instruction): string | undefined {
  if ((insn.opcode & 0xf8) === 0xd8) return x87Spec(insn);
  if ((insn.opcode & 0xf8) === 0xb8 && insn.immediateSize === 8) return "movabs Zv,Iv";
  if (insn.opcode === 0x63) return insn.codeSize === 64 ? "movsxd Gv,Ed" : "arpl Ew,Gw";
  if (insn.opcode === 0x90 && (insn.rex & 1) !== 0) return "xchg Zv,rax";
  if (insn.opcode === 0x90 && insn.repeat === 0xf3) return "pause";
  if (insn.opcode === 0x90 && insn.operandSizePrefix) return "xchg ax,ax";
  if (insn.opcode === 0xe3 && insn.addressSize !== 8) return insn.addressSize === 4 ? "jecxz Jb" : "jcxz Jb";
  if (insn.codeSize !== 64 && (insn.opcode & 0xfc) === 0xa0)
    return ["mov al,Ob", "mov rax,Ov", "mov Ob,al", "mov Ov,rax"][insn.opcode & 3];
  if ((insn.opcode === 0xc6 || insn.opcode === 0xc7) && insn.mod === 3 && insn.group === 7 && insn.rm === 0)
    return insn.opcode === 0xc6 ? "xabort Ib" : "xbegin Jz";
  return undefined;
}

function special0f(insn: Instruction): string | undefined {
  const { opcode } = insn;
  if (opcode === 0x77 && insn.encoding === ENCODING_VEX)
    return insn.vectorLength === 0 ? "vzeroupper" : "vzeroall";
  if (opcode === 0x09 && insn.repeat === 0xf3) return "wbnoinvd";
  const v = insn.encoding === ENCODING_LEGACY ? "" : "v";
  if (!insn.memory && insn.prefix === 0 && opcode === 0x12) return `${v}movhlps Vo,Ho,Wo`;
  if (!insn.memory && insn.prefix === 0 && opcode === 0x16) return `${v}movlhps Vo,Ho,Wo`;
  // MOVSS and MOVSD have a third operand between registers.
  if (!insn.memory && insn.encoding !== ENCODING_LEGACY && (opcode | 1) === 0x11 && insn.prefix >= 2)
    return `vmovs${insn.prefix === 2 ? "s" : "d"} ${opcode === 0x10 ? "Vo,Ho,Wo" : "Wo,Ho,Vo"}`;
  if ((opcode === 0x6e || opcode === 0x7e) && insn.prefix < 2 && insn.w) {
    const register = insn.prefix === 0 ? "P" : "Vo";
    return `${v}movq ${opcode === 0x6e ? `${register},Ey` : `Ey,${register}`}`;
  }
  return undefined;
}

function special0f3a(insn: Instruction): string | undefined {
  const v = insn.encoding === ENCODING_LEGACY ? "" : "v";
  if (insn.opcode === 0x16) return `${v}pextrq Ey,Vo,Ib`;
  return insn.opcode === 0x22 ? `${v}pinsrq Vo,Ho,Ey,Ib` : undefined;
}

/** Names that EVEX splits by element size. */
const EVEX_SPLIT: Readonly<Record<string, readonly [string, string]>> = {
  "~pand": ["vpandd", "vpandq"],
  "~pandn": ["vpandnd", "vpandnq"],
  "~por": ["vpord", "vporq"],
  "~pxor": ["vpxord", "vpxorq"],
  "~movdqa": ["vmovdqa32", "vmovdqa64"],
  "~movdqu": ["vmovdqu32", "vmovdqu64"],
  movdqu: ["vmovdqu8", "vmovdqu16"],
};

function withEncoding(insn: Instruction, name: string): string {
  if (insn.encoding === ENCODING_EVEX) {
    const split = EVEX_SPLIT[name];
    if (split !== undefined) return split[Number(insn.w)]!;
  }
  if (name.startsWith("k") && insn.encoding === ENCODING_VEX) return name + opmaskWidth(insn);
  if (!name.startsWith("~")) return name;
  return insn.encoding === ENCODING_LEGACY ? name.slice(1) : `v${name.slice(1)}`;
}

/** Opmask instructions end in the width: b, w, d or q. */
function opmaskWidth(insn: Instruction): string {
  if (insn.opcode === 0x92 || insn.opcode === 0x93)
    return insn.prefix === 1 ? "b" : insn.prefix === 0 ? "w" : insn.w ? "q" : "d";
  if (insn.opcode === 0x4b) return insn.prefix === 1 ? "bw" : insn.w ? "dq" : "wd";
  return insn.prefix === 1 ? (insn.w ? "d" : "b") : insn.w ? "q" : "w";
}

function prefixes(insn: Instruction, text: string): string {
  const lock = insn.lock ? "lock " : "";
  if (insn.repeat === 0 || insn.map !== MAP_ONE_BYTE) return lock;
  if (/^(movs|stos|lods|ins|outs)\b/.test(text)) return `${lock}rep `;
  if (/^(cmps|scas)\b/.test(text)) return `${lock}${insn.repeat === 0xf3 ? "repz" : "repnz"} `;
  return lock;
}

const MAP_NAMES = ["", "0f ", "0f38 ", "0f3a "];

/** Something to search the manual for. */
function fallbackName(insn: Instruction): string {
  const prefix = ["", "66 ", "f3 ", "f2 "][insn.prefix]!;
  const encoding = insn.encoding === ENCODING_LEGACY ? "" : insn.encoding === ENCODING_VEX ? "vex " : "evex ";
  const group = insn.hasModrm ? ` /${insn.group}` : "";
  const map = MAP_NAMES[insn.map] ?? `map${insn.map} `;
  return `(unnamed: ${encoding}${prefix}${map}${insn.opcode.toString(16).padStart(2, "0")}${group})`;
}
