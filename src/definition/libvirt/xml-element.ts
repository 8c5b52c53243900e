/** One element of a document, which remembers what of it was read: what was not is no silent loss. */
import type { Place, Problems } from "../problems.ts";
import type { Range } from "../source.ts";

export class XmlElement {
  readonly name: string;
  readonly parent: XmlElement | undefined;
  /** From `<` to the end of the name. */
  readonly range: Range;
  readonly children: XmlElement[] = [];
  readonly #attributes: ReadonlyMap<string, string>;
  readonly #readAttributes = new Set<string>();
  #content = "";
  #contentRead = false;
  #read = false;

  constructor(name: string, attributes: ReadonlyMap<string, string>, range: Range, parent?: XmlElement) {
    this.name = name;
    this.parent = parent;
    this.range = range;
    this.#attributes = attributes;
  }

  set content(text: string) {
    this.#content = text.trim();
  }

  /** Where it stands, with an XPath that numbers elements of the same name. */
  get place(): Place {
    return { range: this.range, element: this.path };
  }

  get path(): string {
    const same = this.parent?.children.filter(({ name }) => name === this.name) ?? [this];
    const number = same.length > 1 ? `[${same.indexOf(this) + 1}]` : "";
    return `${this.parent?.path ?? ""}/${this.name}${number}`;
  }

  /** Text between the tags, trimmed. */
  text(): string {
    this.#contentRead = true;
    return this.#content;
  }

  attribute(name: string): string | undefined {
    this.#readAttributes.add(name);
    return this.#attributes.get(name);
  }

  get attributes(): Iterable<[string, string]> {
    for (const name of this.#attributes.keys()) this.#readAttributes.add(name);
    return this.#attributes;
  }

  /** All children of this name. */
  all(name: string): XmlElement[] {
    const found = this.children.filter((child) => child.name === name);
    for (const child of found) child.#read = true;
    return found;
  }

  /** The first child of this name; another one counts as not read. */
  one(name: string): XmlElement | undefined {
    const found = this.children.find((child) => child.name === name);
    if (found !== undefined) found.#read = true;
    return found;
  }

  /** The text of the child of this name. */
  textOf(name: string): string | undefined {
    return this.one(name)?.text();
  }

  /** Reads the attributes of these names, which mean nothing to a machine. */
  skipAttributes(...names: string[]): void {
    for (const name of names) this.#readAttributes.add(name);
  }

  /** Reads the children of these names with all that is in them. */
  skip(...names: string[]): void {
    for (const name of names) for (const child of this.all(name)) child.skipContent();
  }

  /** Reads all that is in it. */
  skipContent(): void {
    this.#read = true;
    this.#contentRead = true;
    for (const name of this.#attributes.keys()) this.#readAttributes.add(name);
    for (const child of this.children) child.skipContent();
  }

  /** Tells what was not read, outermost first: what is within an unread element needs no word of its own. */
  reportUnread(problems: Problems): void {
    for (const [name, value] of this.#attributes) {
      if (this.#readAttributes.has(name) || name === "xmlns" || name.startsWith("xmlns:")) continue;
      problems.lacking(
        `<${this.name}>: tsvm does not know the attribute ${name}="${value.slice(0, 40)}"`,
        this.place,
      );
    }
    if (this.#content !== "" && !this.#contentRead) {
      problems.lacking(
        `<${this.name}>: tsvm knows no text here ("${this.#content.slice(0, 40)}")`,
        this.place,
      );
    }
    for (const child of this.children) {
      if (child.#read) child.reportUnread(problems);
      else
        problems.lacking(`<${child.name}> in <${this.name}>: tsvm does not know this element`, child.place);
    }
  }
}
