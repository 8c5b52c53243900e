/**
 * The decoder against binutils, over the machine code of what is installed: lengths must agree on every instruction
 * but those nobody's compiler emits. Needs `objdump` and a C library; says so where they are missing.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decode } from "../decode.ts";
import { nameInstruction } from "../mnemonics.ts";

const OBJDUMP = ["/usr/bin/objdump", "/usr/local/bin/objdump"].find((path) => existsSync(path));
const CORPUS = [
  "/bin/busybox",
  "/lib/x86_64-linux-gnu/libc.so.6",
  "/usr/lib64/libc.so.6",
  "/lib/ld-musl-x86_64.so.1",
].find((path) => existsSync(path));

/** Lines that are data, prefixes that objdump could not attach, and FWAIT glued to its successor. */
const NOT_ONE_INSTRUCTION =
  /\(bad\)|^\.byte|^(rep|repz|repnz|data16|[c-gs]s|rex\S*|addr32|lock|bnd|notrack)$/;

interface Listed {
  address: bigint;
  bytes: Uint8Array;
  text: string;
}

function disassemble(objdump: string, file: string): Listed[] {
  const listing = execFileSync(objdump, ["-d", "-w", "-M", "intel", "--insn-width=16", file], {
    encoding: "latin1",
    maxBuffer: 2 ** 30,
  });
  return listing.split("\n").flatMap((line) => {
    const match = /^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(.*)$/.exec(line);
    if (match === null || NOT_ONE_INSTRUCTION.test(match[3]!.trim())) return [];
    return [
      {
        address: BigInt(`0x${match[1]!}`),
        bytes: Buffer.from(match[2]!.replaceAll(" ", ""), "hex"),
        text: match[3]!,
      },
    ];
  });
}

/** The mnemonic alone, without prefixes. */
function mnemonic(text: string): string {
  return text
    .replace(/^((repz?|repnz|lock|[c-gs]s|data16|addr32|rex\.\w+|bnd|notrack) )+/, "")
    .split(/\s/)[0]!;
}

const missing = [OBJDUMP === undefined ? "objdump (binutils)" : "", CORPUS === undefined ? "a C library" : ""]
  .filter((what) => what !== "")
  .join(" and ");

describe.skipIf(missing !== "")(
  `decoder and objdump${missing === "" ? "" : `: not run, lacks ${missing}`}`,
  () => {
    it("agree on lengths and names", { timeout: 120_000 }, () => {
      const listed = disassemble(OBJDUMP!, CORPUS!);
      expect(listed.length).toBeGreaterThan(10_000);
      const lengths: string[] = [];
      let names = 0;
      for (const { address, bytes, text } of listed) {
        const insn = decode(Uint8Array.of(...bytes, 0x90, 0x90, 0x90), 64);
        if (insn.invalid || insn.length !== bytes.length) {
          lengths.push(`${Buffer.from(bytes).toString("hex")} ${text}`);
        } else if (mnemonic(nameInstruction(insn, address)) !== mnemonic(text)) names++;
      }
      expect(lengths.length, lengths.slice(0, 10).join("\n")).toBeLessThan(listed.length / 2000);
      expect(names).toBeLessThan(listed.length / 100);
    });
  },
);
