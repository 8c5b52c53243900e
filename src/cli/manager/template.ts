/**
 * `--format`: a text with `{{.field}}` in it for each row, as docker and podman have it. `{{.exit.status}}` goes deeper, `{{json .exit}}`
 * writes JSON (`{{json .}}` all of it), `\t` and `\n` are tab and line feed, and `table ` in front aligns columns below a header.
 */
import { nearest } from "../../suggestion.ts";
import { UsageError } from "../errors.ts";
import { printable } from "../../definition/problem.ts";
import { alignedLines } from "./table.ts";

type Row = Readonly<Record<string, unknown>>;
type Piece = string | { readonly path: readonly string[]; readonly json: boolean };

const TABLE = "table ";
const PLACE = /\{\{(.*?)\}\}/g;
const EXPRESSION = /^\s*(json\s+)?\.([A-Za-z][\w.-]*)?\s*$/;

export class Template {
  readonly #pieces: readonly Piece[];
  readonly #table: boolean;

  /** `fields`: those that every row has. Throws a UsageError for what makes no sense. */
  constructor(text: string, fields: readonly string[]) {
    this.#table = text.startsWith(TABLE);
    this.#pieces = parse(this.#table ? text.slice(TABLE.length) : text, fields);
  }

  /** One line for each row, and the header of a table. */
  render(rows: readonly object[]): string {
    const lines = rows.map((row) => this.#pieces.map((piece) => fill(piece, row as Row)).join(""));
    if (!this.#table) return lines.map((line) => `${line}\n`).join("");
    const header = this.#pieces
      .map((piece) => (typeof piece === "string" ? piece : title(piece.path)))
      .join("");
    return alignedLines([header, ...lines].map((line) => line.split("\t")));
  }
}

function parse(text: string, fields: readonly string[]): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(PLACE)) {
    pieces.push(unescape(text.slice(end, match.index)), expression(match[1]!, fields));
    end = match.index + match[0].length;
  }
  const rest = text.slice(end);
  if (rest.includes("{{")) throw new UsageError(`--format: "${text}": {{ without }}`);
  return [...pieces, unescape(rest)];
}

function expression(text: string, fields: readonly string[]): Piece {
  const match = EXPRESSION.exec(text);
  if (match === null) {
    throw new UsageError(
      `--format: {{${printable(text)}}} makes no sense`,
      "write {{.field}} or {{json .field}}",
    );
  }
  const path = (match[2] ?? "").split(".").filter((key) => key !== "");
  const json = match[1] !== undefined || path.length === 0;
  const [field] = path;
  if (field !== undefined && !fields.includes(field)) {
    const meant = nearest(field, fields);
    const list = `the fields are ${fields.join(", ")}`;
    throw new UsageError(
      `--format: there is no field "${field}"`,
      meant === undefined ? list : `did you mean ${meant}? ${list}`,
    );
  }
  return { path, json };
}

function unescape(text: string): string {
  return text.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
}

function fill(piece: Piece, row: Row): string {
  if (typeof piece === "string") return piece;
  let value: unknown = row;
  for (const key of piece.path) {
    value =
      typeof value === "object" && value !== null && Object.hasOwn(value, key)
        ? (value as Row)[key]
        : undefined;
  }
  if (piece.json) return JSON.stringify(value ?? null);
  if (value === undefined || value === null) return "";
  return printable(typeof value === "object" ? JSON.stringify(value) : String(value));
}

function title(path: readonly string[]): string {
  return (path.at(-1) ?? "").replaceAll(/[A-Z]/g, (letter) => ` ${letter}`).toUpperCase();
}
