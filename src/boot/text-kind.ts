/** Recognises text and, roughly, what kind of text. */
import type { FileHead } from "./file-head.ts";

export type TextKind = "script" | "json" | "xml" | "html" | "yaml" | "git-lfs" | "text";

const SAMPLE = 4096;

/** What text the file begins with, or undefined if it is not text. */
export function textKind(head: FileHead): { kind: TextKind; description: string } | undefined {
  const text = sampleText(head.bytes.subarray(0, SAMPLE));
  if (text === undefined) return undefined;
  const start = text.trimStart();
  const interpreter = /^#!\s*(\S+)/.exec(text)?.[1];
  if (interpreter !== undefined) return { kind: "script", description: `a script for ${interpreter}` };
  if (start.startsWith("version https://git-lfs")) {
    return { kind: "git-lfs", description: "a Git LFS pointer, not the file itself" };
  }
  if (/^<(!doctype\s+html|html)\b/i.test(start)) {
    return { kind: "html", description: "an HTML page (a download that went wrong?)" };
  }
  if (/^<(\?xml|!|[a-z])/i.test(start)) return { kind: "xml", description: "an XML file" };
  if (/^(\{\s*["}]|\[\s*[[{"\d\]-])/.test(start)) return { kind: "json", description: "a JSON file" };
  if (looksLikeYaml(text)) return { kind: "yaml", description: "a YAML file" };
  return { kind: "text", description: "a text file" };
}

/** The sample as text; undefined if it has control characters or is no UTF-8. */
function sampleText(sample: Uint8Array): string | undefined {
  if (sample.length === 0) return undefined;
  // TAB, LF, FF, CR and ESC occur in text.
  const isControl = (byte: number): boolean =>
    byte < 0x20 && byte !== 9 && byte !== 10 && byte !== 12 && byte !== 13 && byte !== 0x1b;
  if (sample.some(isControl)) return undefined;
  try {
    // stream: the sample may end within a character.
    return new TextDecoder("utf-8", { fatal: true }).decode(sample, { stream: true });
  } catch {
    return undefined;
  }
}

function looksLikeYaml(text: string): boolean {
  const first = text.split("\n").find((line) => line.trim() !== "" && !line.trimStart().startsWith("#"));
  return first !== undefined && /^(---|%YAML|[\w.-]+:(\s|$)|- \S)/.test(first);
}
