/**
 * XML as elements that know their place. The parser is xml2js; its tree has no places in the file, so they travel through it as
 * an attribute, which its SAX parser, whose events we see first, adds to every element.
 */
import type { Problems } from "../problems.ts";
import { XmlElement } from "./xml-element.ts";
import { xml2js } from "./xml2js.ts";

/** libvirt's own documents have 8 levels. */
const DEEPEST = 32;
const MOST_ELEMENTS = 5000;
const MOST_ATTRIBUTES = 50;
/** XML has no such characters, the parser lets them pass as `&#1;`. */
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/;
const CONTROL_MESSAGE = "this is no XML: there is a control character";
/** A name that no XML attribute can have. */
const PLACE = "<place>";

/** What xml2js makes of an element with the options below. */
interface Node {
  readonly "#name": string;
  readonly "#attributes": Readonly<Record<string, string>>;
  readonly "#text"?: string;
  readonly "#children"?: readonly Node[];
}

/** The parts of the `sax` parser within xml2js that we need. */
interface Sax {
  /** Offset behind the `<` of the current tag. */
  readonly startTagPosition: number;
  readonly position: number;
  onopentag(tag: { name: string; attributes: Record<string, string> }): void;
  onclosetag(name: string): void;
  ontext(text: string): void;
  ondoctype(doctype: string): void;
  onerror(error: Error): void;
}

/** What ends the reading: a mistake in the syntax, or a document that is refused for what it does. */
interface Failure {
  readonly message: string;
  readonly offset: number;
}

/** Undefined where the text is no XML, or hostile, which `problems` then tell. */
export function parseXml(problems: Problems): XmlElement | undefined {
  const { text } = problems.source;
  const { Parser } = xml2js();
  const parser = new Parser({
    async: false,
    // No element can be called so, as it could with the defaults.
    attrkey: "#attributes",
    charkey: "#text",
    childkey: "#children",
    explicitArray: false,
    explicitChildren: true,
    preserveChildrenOrder: true,
    explicitRoot: false,
  });
  const watch = new Watch((parser as unknown as { saxParser: Sax }).saxParser, text);
  let root: Node | undefined;
  try {
    parser.parseString(text, (error: Error | null, result: Node | undefined) => {
      if (error === null) root = result;
    });
  } catch (error) {
    // After the end of the root element xml2js no longer passes errors on; the watch has seen them.
    if (watch.failure === undefined) throw error;
  }
  const { failure } = watch;
  if (failure !== undefined) {
    const at = Math.max(0, Math.min(failure.offset, text.length - 1));
    problems.error(failure.message, { range: [at, at + 1] });
    return undefined;
  }
  if (root?.["#name"] === undefined) {
    problems.error("the file has no XML element");
    return undefined;
  }
  return element(root, undefined);
}

/** Stands between the SAX parser and xml2js: adds places, and ends what is hostile or has mistakes. */
class Watch {
  failure: Failure | undefined;
  readonly #sax: Sax;
  readonly #text: string;
  #depth = 0;
  #count = 0;

  constructor(sax: Sax, text: string) {
    this.#sax = sax;
    this.#text = text;
    const { onopentag, onclosetag, ontext, onerror } = sax;
    sax.onopentag = (tag) => {
      this.#check(tag.attributes);
      tag.attributes[PLACE] = String(sax.startTagPosition - 1);
      onopentag(tag);
    };
    sax.onclosetag = (name) => {
      this.#depth--;
      onclosetag(name);
    };
    sax.ontext = (content) => {
      if (CONTROL.test(content)) this.#refuse(CONTROL_MESSAGE);
      ontext(content);
    };
    sax.ondoctype = () =>
      this.#refuse("a document type (<!DOCTYPE>) is not read, as it may define entities: take it out");
    sax.onerror = (error) => {
      const [line = ""] = error.message.split("\n");
      this.failure ??= {
        message: `this is no XML: ${line.charAt(0).toLowerCase()}${line.slice(1).replace(/\.$/, "")}`,
        offset: sax.position - 1,
      };
      onerror(error);
    };
  }

  /** Each opening tag. */
  #check(attributes: Readonly<Record<string, string>>): void {
    if (this.#depth === 0 && this.#count > 0) {
      this.#refuse(
        "there is a second document in the file: keep one (virt-install --print-step 2 prints the last one alone)",
      );
    }
    if (++this.#depth > DEEPEST) this.#refuse(`elements are nested more than ${DEEPEST} levels deep`);
    if (++this.#count > MOST_ELEMENTS) this.#refuse(`there are more than ${MOST_ELEMENTS} elements`);
    if (Object.values(attributes).some((value) => CONTROL.test(value))) this.#refuse(CONTROL_MESSAGE);
    // The parser drops the second one without a word.
    const tag = this.#text.slice(this.#sax.startTagPosition, this.#sax.position);
    const names = [...tag.matchAll(/\s([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')/g)].map(([, name]) => name);
    if (names.length > MOST_ATTRIBUTES)
      this.#refuse(`an element has more than ${MOST_ATTRIBUTES} attributes`);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) this.#refuse(`this is no XML: the attribute ${twice} is there twice`);
  }

  #refuse(message: string): never {
    this.failure ??= { message, offset: this.#sax.startTagPosition - 1 };
    throw new Error(message);
  }
}

function element(node: Node, parent: XmlElement | undefined): XmlElement {
  const name = node["#name"];
  const start = Number(node["#attributes"][PLACE]);
  const attributes = new Map(Object.entries(node["#attributes"]).filter(([key]) => key !== PLACE));
  const made = new XmlElement(name, attributes, [start, start + name.length + 1], parent);
  made.content = node["#text"] ?? "";
  for (const child of node["#children"] ?? []) made.children.push(element(child, made));
  return made;
}
