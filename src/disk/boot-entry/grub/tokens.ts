/** Splits a GRUB script into words and separators. */
import { BootConfigError } from "../errors.ts";
import type { Word, WordPart } from "./syntax.ts";

export type Token =
  | { readonly kind: "word"; readonly word: Word }
  /** A new line or a semicolon. */
  | { readonly kind: "end" }
  | { readonly kind: "open" | "close" };

const NAME = /[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?@*#]/y;

export function tokenize(script: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const text = script.replaceAll("\r\n", "\n");
  while (at < text.length) {
    const char = text[at]!;
    if (char === " " || char === "\t") at++;
    else if (char === "\\" && text[at + 1] === "\n") at += 2;
    else if (char === "#") at = endOfLine(text, at);
    else if (char === "\n" || char === ";") {
      tokens.push({ kind: "end" });
      at++;
    } else if (char === "{" || char === "}") {
      tokens.push({ kind: char === "{" ? "open" : "close" });
      at++;
    } else if ("|&<>".includes(char)) {
      // Reserved, and of no use in GRUB so far.
      throw new BootConfigError(`"${char}" has no meaning outside of quotes`);
    } else {
      const { word, end } = readWord(text, at);
      tokens.push({ kind: "word", word });
      at = end;
    }
  }
  tokens.push({ kind: "end" });
  return tokens;
}

/** The word as it stands there if it has neither quotes nor variables: what keywords must be. */
export function plainText(word: Word): string | undefined {
  const [part] = word;
  return word.length === 1 && part?.kind === "text" && !part.quoted ? part.text : undefined;
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end === -1 ? text.length : end;
}

function readWord(text: string, start: number): { word: Word; end: number } {
  const parts: WordPart[] = [];
  let literal = "";
  const flush = (): void => {
    if (literal !== "") parts.push({ kind: "text", text: literal, quoted: false });
    literal = "";
  };
  let at = start;
  while (at < text.length) {
    const char = text[at]!;
    if (" \t\n;{}|&<>".includes(char)) break;
    if (char === "\\") {
      const next = text[at + 1];
      if (next !== undefined && next !== "\n") literal += next;
      at += 2;
    } else if (char === "'") {
      flush();
      const end = text.indexOf("'", at + 1);
      if (end === -1) throw new BootConfigError("a quoted text does not end");
      parts.push({ kind: "text", text: text.slice(at + 1, end), quoted: true });
      at = end + 1;
    } else if (char === '"') {
      flush();
      at = readDoubleQuoted(text, at + 1, parts);
    } else if (char === "$") {
      const variable = readVariable(text, at);
      if (variable === undefined) {
        literal += char;
        at++;
      } else {
        flush();
        parts.push({ kind: "variable", name: variable.name, quoted: false });
        at = variable.end;
      }
    } else {
      literal += char;
      at++;
    }
  }
  flush();
  return { word: parts, end: at };
}

/** Adds the parts up to the closing quote; the result is what follows it. */
function readDoubleQuoted(text: string, start: number, parts: WordPart[]): number {
  let literal = "";
  const before = parts.length;
  const flush = (): void => {
    if (literal !== "") parts.push({ kind: "text", text: literal, quoted: true });
    literal = "";
  };
  for (let at = start; at < text.length;) {
    const char = text[at]!;
    if (char === '"') {
      flush();
      // Nothing between quotes is a word too.
      if (parts.length === before) parts.push({ kind: "text", text: "", quoted: true });
      return at + 1;
    }
    if (char === "\\" && at + 1 < text.length && '$"\\\n'.includes(text[at + 1]!)) {
      if (text[at + 1] !== "\n") literal += text[at + 1]!;
      at += 2;
      continue;
    }
    const variable = char === "$" ? readVariable(text, at) : undefined;
    if (variable !== undefined) {
      flush();
      parts.push({ kind: "variable", name: variable.name, quoted: true });
      at = variable.end;
      continue;
    }
    literal += char;
    at++;
  }
  throw new BootConfigError("a quoted text does not end");
}

/** `$name` or `${name}` at `at`. */
function readVariable(text: string, at: number): { name: string; end: number } | undefined {
  const braces = text[at + 1] === "{";
  NAME.lastIndex = at + (braces ? 2 : 1);
  const name = NAME.exec(text)?.[0];
  if (name === undefined) return undefined;
  const end = NAME.lastIndex;
  if (!braces) return { name, end };
  return text[end] === "}" ? { name, end: end + 1 } : undefined;
}
