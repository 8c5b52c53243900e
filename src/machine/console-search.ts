/** Looks for text in what a guest prints on one console. */
import { StringDecoder } from "node:string_decoder";

/** Characters kept for a search that has yet to begin: the longest text that one is sure to find. */
const KEPT = 64 * 1024;

interface Search {
  readonly pattern: RegExp;
  /** Where it began, in characters since the boot. */
  readonly from: number;
  readonly found: (match: RegExpExecArray) => void;
}

/**
 * A search begins where the last successful one has ended, or at the boot, so that "wait for the prompt, type, wait for the next
 * prompt" does what it says whenever the text comes. Several at a time do not take text from each other.
 */
export class ConsoleSearch {
  readonly #decoder = new StringDecoder("utf8");
  #searches = new Set<Search>();
  #text = "";
  /** Characters that came before `#text`. */
  #dropped = 0;
  #cursor = 0;

  push(bytes: Buffer): void {
    this.#text += this.#decoder.write(bytes);
    for (const search of this.#searches) this.#try(search);
    const excess = this.#text.length - KEPT;
    // In large steps: each one copies what is kept.
    if (excess < KEPT) return;
    this.#text = this.#text.slice(excess);
    this.#dropped += excess;
  }

  /** Calls `found`, perhaps at once, when `pattern` is there. The result gives up. */
  add(pattern: string | RegExp, found: (match: RegExpExecArray) => void): () => void {
    const search = { pattern: asRegExp(pattern), from: this.#cursor, found };
    this.#searches.add(search);
    this.#try(search);
    return () => void this.#searches.delete(search);
  }

  #try(search: Search): void {
    const start = Math.max(0, search.from - this.#dropped);
    const match = search.pattern.exec(this.#text.slice(start));
    if (match === null) return;
    this.#searches.delete(search);
    this.#cursor = Math.max(this.#cursor, this.#dropped + start + match.index + match[0].length);
    search.found(match);
  }
}

/** Without the flags that make a RegExp remember where it was. */
function asRegExp(pattern: string | RegExp): RegExp {
  if (typeof pattern !== "string") return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""));
  return new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
}
