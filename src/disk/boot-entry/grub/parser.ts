/** Parses GRUB's script language. */
import { BootConfigError } from "../errors.ts";
import type { Statement, Word } from "./syntax.ts";
import { plainText, tokenize, type Token } from "./tokens.ts";

/** No one nests as deeply, and the parser calls itself. */
const MAX_DEPTH = 100;

/** @throws {BootConfigError} where it is no such script. */
export function parseScript(script: string): Statement[] {
  const parser = new Parser(tokenize(script));
  const statements = parser.statements([]);
  parser.expectEnd();
  return statements;
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  expectEnd(): void {
    if (this.#at < this.#tokens.length) throw new BootConfigError(`unexpected ${this.#describe()}`);
  }

  /** Up to one of the keywords, a closing brace, or the end; that stays. */
  statements(keywords: readonly string[]): Statement[] {
    if (++this.#depth > MAX_DEPTH) throw new BootConfigError("blocks are nested too deeply");
    const list: Statement[] = [];
    for (;;) {
      this.#skipEnds();
      const token = this.#token();
      if (token === undefined || token.kind === "close") break;
      if (token.kind === "word" && keywords.includes(plainText(token.word) ?? "")) break;
      list.push(this.#statement());
    }
    this.#depth--;
    return list;
  }

  #statement(): Statement {
    switch (this.#keyword()) {
      case "if":
        return this.#if();
      case "while":
      case "until":
        return this.#while();
      case "for":
        return this.#for();
      case "function":
        return this.#function();
      default:
        return this.#command();
    }
  }

  #if(): Statement {
    const branches: { condition: Statement[]; body: Statement[] }[] = [];
    let otherwise: Statement[] = [];
    do {
      this.#at++;
      const condition = this.statements(["then"]);
      this.#expect("then");
      branches.push({ condition, body: this.statements(["elif", "else", "fi"]) });
    } while (this.#keyword() === "elif");
    if (this.#keyword() === "else") {
      this.#at++;
      otherwise = this.statements(["fi"]);
    }
    this.#expect("fi");
    return { kind: "if", branches, otherwise };
  }

  #while(): Statement {
    const as = this.#keyword() === "while";
    this.#at++;
    const condition = this.statements(["do"]);
    return { kind: "while", as, condition, body: this.#loopBody() };
  }

  #for(): Statement {
    this.#at++;
    const variable = this.#name("for");
    this.#expect("in");
    const words: Word[] = [];
    for (let token = this.#token(); token?.kind === "word"; token = this.#token()) {
      words.push(token.word);
      this.#at++;
    }
    this.#skipEnds();
    return { kind: "for", variable, words, body: this.#loopBody() };
  }

  #loopBody(): Statement[] {
    this.#expect("do");
    const body = this.statements(["done"]);
    this.#expect("done");
    return body;
  }

  #function(): Statement {
    this.#at++;
    const name = this.#name("function");
    this.#skipEnds();
    if (this.#token()?.kind !== "open") throw new BootConfigError(`function ${name} has no body`);
    return { kind: "function", name, body: this.#block() };
  }

  #command(): Statement {
    const words: Word[] = [];
    for (let token = this.#token(); token?.kind === "word"; token = this.#token()) {
      words.push(token.word);
      this.#at++;
    }
    const body = this.#token()?.kind === "open" ? this.#block() : undefined;
    if (words.length === 0) throw new BootConfigError(`unexpected ${this.#describe()}`);
    return { kind: "command", words, body };
  }

  #block(): Statement[] {
    this.#at++;
    const body = this.statements([]);
    if (this.#token()?.kind !== "close") throw new BootConfigError("a block is not closed");
    this.#at++;
    return body;
  }

  #skipEnds(): void {
    while (this.#token()?.kind === "end") this.#at++;
  }

  #name(after: string): string {
    const token = this.#token();
    const name = token?.kind === "word" ? plainText(token.word) : undefined;
    if (name === undefined) throw new BootConfigError(`no name after "${after}"`);
    this.#at++;
    return name;
  }

  #expect(keyword: string): void {
    if (this.#keyword() !== keyword)
      throw new BootConfigError(`"${keyword}" is missing before ${this.#describe()}`);
    this.#at++;
  }

  #keyword(): string | undefined {
    const token = this.#token();
    return token?.kind === "word" ? plainText(token.word) : undefined;
  }

  #token(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #describe(): string {
    const token = this.#token();
    switch (token?.kind) {
      case undefined:
        return "the end of the file";
      case "word":
        return `"${plainText(token.word) ?? "a word"}"`;
      case "open":
        return '"{"';
      case "close":
        return '"}"';
      default:
        return "the end of a line";
    }
  }
}
