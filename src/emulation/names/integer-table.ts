/**
 * Names and operands of the one-byte map and of the integer part of map 0F, in the notation of Intel SDM volume 2D
 * appendix A: `E` r/m, `G` register, `M` memory, `R` r/m that is a register, `Z` register in the opcode, `I`
 * immediate, `J` branch target, `O` offset, `S` segment, `C` and `D` control and debug registers; then the size: `b` 1,
 * `w` 2, `d` 4, `q` 8, `v` operand size, `y` 4 or 8, `z` 2 or 4, `n` the native word. Lower-case words are registers.
 * `a/b/c` names the 16, 32 and 64-bit variants; `#name` a group, whose member ModRM.reg selects.
 */

const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
export const CONDITIONS = [
  "o",
  "no",
  "b",
  "ae",
  "e",
  "ne",
  "be",
  "a",
  "s",
  "ns",
  "p",
  "np",
  "l",
  "ge",
  "le",
  "g",
];

function hex(opcode: number): string {
  return opcode.toString(16).padStart(2, "0");
}

function alu(): string[] {
  const forms = ["Eb,Gb", "Ev,Gv", "Gb,Eb", "Gv,Ev", "al,Ib", "rax,Iz"];
  return ALU.flatMap((name, row) => forms.map((form, column) => `${hex(row * 8 + column)} ${name} ${form}`));
}

function repeated(first: number, names: readonly string[], operands: string): string[] {
  return names.map((name, index) => `${hex(first + index)} ${name} ${operands}`);
}

function same(first: number, count: number, name: string, operands: string): string[] {
  return repeated(first, Array<string>(count).fill(name), operands);
}

function rows(text: string): string[] {
  return text.trim().split(/\s*\n\s*/);
}

export const ONE_BYTE_NAMES: readonly string[] = [
  ...alu(),
  ...rows(`
    06 push es
    07 pop es
    0e push cs
    16 push ss
    17 pop ss
    1e push ds
    1f pop ds
    27 daa
    2f das
    37 aaa
    3f aas`),
  ...same(0x40, 8, "inc", "Zv"),
  ...same(0x48, 8, "dec", "Zv"),
  ...same(0x50, 8, "push", "Zn"),
  ...same(0x58, 8, "pop", "Zn"),
  ...rows(`
    60 pushaw/pusha
    61 popaw/popa
    62 bound Gv,M
    63 arpl/arpl/movsxd
    68 push Iz
    69 imul Gv,Ev,Iz
    6a push Ib
    6b imul Gv,Ev,Ib
    6c ins
    6d ins
    6e outs
    6f outs`),
  ...repeated(
    0x70,
    CONDITIONS.map((condition) => `j${condition}`),
    "Jb",
  ),
  ...rows(`
    80 #alu Eb,Ib
    81 #alu Ev,Iz
    82 #alu Eb,Ib
    83 #alu Ev,Ib
    84 test Eb,Gb
    85 test Ev,Gv
    86 xchg Eb,Gb
    87 xchg Ev,Gv
    88 mov Eb,Gb
    89 mov Ev,Gv
    8a mov Gb,Eb
    8b mov Gv,Ev
    8c mov Ev,Sw
    8d lea Gv,M
    8e mov Sw,Ev
    8f pop En
    90 nop`),
  ...same(0x91, 7, "xchg", "Zv,rax"),
  ...rows(`
    98 cbw/cwde/cdqe
    99 cwd/cdq/cqo
    9a call Ap
    9b fwait
    9c pushf
    9d popf
    9e sahf
    9f lahf
    a0 movabs al,Ob
    a1 movabs rax,Ov
    a2 movabs Ob,al
    a3 movabs Ov,rax
    a4 movs
    a5 movs
    a6 cmps
    a7 cmps
    a8 test al,Ib
    a9 test rax,Iz
    aa stos
    ab stos
    ac lods
    ad lods
    ae scas
    af scas`),
  ...same(0xb0, 8, "mov", "Zb,Ib"),
  ...same(0xb8, 8, "mov", "Zv,Iv"),
  ...rows(`
    c0 #shift Eb,Ib
    c1 #shift Ev,Ib
    c2 ret Iw
    c3 ret
    c4 les Gv,M
    c5 lds Gv,M
    c6 #mov Eb,Ib
    c7 #mov Ev,Iz
    c8 enter Iw,I2
    c9 leave
    ca retf Iw
    cb retf
    cc int3
    cd int Iu
    ce into
    cf iretw/iret/iretq
    d0 #shift Eb,1
    d1 #shift Ev,1
    d2 #shift Eb,cl
    d3 #shift Ev,cl
    d4 aam Ib
    d5 aad Ib
    d6 salc
    d7 xlat
    e0 loopne Jb
    e1 loope Jb
    e2 loop Jb
    e3 jrcxz Jb
    e4 in al,Iu
    e5 in eax,Iu
    e6 out Iu,al
    e7 out Iu,eax
    e8 call Jz
    e9 jmp Jz
    ea jmp Ap
    eb jmp Jb
    ec in al,dx
    ed in eax,dx
    ee out dx,al
    ef out dx,eax
    f1 int1
    f4 hlt
    f5 cmc
    f6 #unary Eb
    f7 #unary Ev
    f8 clc
    f9 stc
    fa cli
    fb sti
    fc cld
    fd std
    fe #step Eb
    ff #jump Ev`),
];

/** Members of groups by ModRM.reg; "" where there is none. */
export const GROUPS: Readonly<Record<string, readonly string[]>> = {
  alu: ALU,
  shift: ["rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"],
  mov: ["mov", "", "", "", "", "", "", ""],
  unary: ["test", "test", "not", "neg", "mul", "imul", "div", "idiv"],
  step: ["inc", "dec", "", "", "", "", "", ""],
  jump: ["inc", "dec", "call", "call", "jmp", "jmp", "push", ""],
  selector: ["sldt", "str", "lldt", "ltr", "verr", "verw", "", ""],
  table: ["sgdt", "sidt", "lgdt", "lidt", "smsw", "", "lmsw", "invlpg"],
  bit: ["", "", "", "", "bt", "bts", "btr", "btc"],
  prefetchw: [
    "prefetch",
    "prefetchw",
    "prefetchwt1",
    "prefetch",
    "prefetch",
    "prefetch",
    "prefetch",
    "prefetch",
  ],
  prefetch: ["prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2", "nop", "nop", "nop", "nop"],
};

export const TWO_BYTE_NAMES: readonly string[] = [
  ...rows(`
    00 #selector Ew
    01 #table M
    02 lar Gv,Ew
    03 lsl Gv,Ew
    05 syscall
    06 clts
    07 sysretd/sysretd/sysretq
    08 invd
    09 wbinvd
    0b ud2
    0d #prefetchw M
    0e femms
    18 #prefetch M
    19 nop Ev
    1a nop Ev
    1b nop Ev
    1c nop Ev
    1d nop Ev
    1e nop Ev
    1f nop Ev
    20 mov Rn,Cn
    21 mov Rn,Dn
    22 mov Cn,Rn
    23 mov Dn,Rn
    30 wrmsr
    31 rdtsc
    32 rdmsr
    33 rdpmc
    34 sysenter
    35 sysexitd/sysexitd/sysexitq
    37 getsec
    78 vmread En,Gn
    79 vmwrite Gn,En
    a0 push fs
    a1 pop fs
    a2 cpuid
    a3 bt Ev,Gv
    a4 shld Ev,Gv,Ib
    a5 shld Ev,Gv,cl
    a8 push gs
    a9 pop gs
    aa rsm
    ab bts Ev,Gv
    ac shrd Ev,Gv,Ib
    ad shrd Ev,Gv,cl
    af imul Gv,Ev
    b0 cmpxchg Eb,Gb
    b1 cmpxchg Ev,Gv
    b2 lss Gv,M
    b3 btr Ev,Gv
    b4 lfs Gv,M
    b5 lgs Gv,M
    b6 movzx Gv,Eb
    b7 movzx Gv,Ew
    b8 -||popcnt Gv,Ev
    b9 ud1 Gv,Ev
    ba #bit Ev,Ib
    bb btc Ev,Gv
    bc bsf Gv,Ev||tzcnt Gv,Ev
    bd bsr Gv,Ev||lzcnt Gv,Ev
    be movsx Gv,Eb
    bf movsx Gv,Ew
    c0 xadd Eb,Gb
    c1 xadd Ev,Gv
    c3 movnti M,Gy
    ff ud0 Gv,Ev`),
  ...repeated(
    0x40,
    CONDITIONS.map((condition) => `cmov${condition}`),
    "Gv,Ev",
  ),
  ...repeated(
    0x80,
    CONDITIONS.map((condition) => `j${condition}`),
    "Jz",
  ),
  ...repeated(
    0x90,
    CONDITIONS.map((condition) => `set${condition}`),
    "Eb",
  ),
  ...same(0xc8, 8, "bswap", "Zy"),
];
