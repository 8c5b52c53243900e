/** Columns of text. */
import { printable } from "../../definition/problem.ts";

export interface Column<Row> {
  readonly header: string;
  readonly right?: boolean;
  /** Left out where no row has anything to say. */
  readonly rare?: boolean;
  text(row: Row): string;
}

const GAP = "  ";

export function table<Row>(all: readonly Column<Row>[], rows: readonly Row[]): string {
  const columns = all.filter(({ rare = false, text }) => !rare || rows.some((row) => text(row) !== ""));
  const lines = [
    columns.map(({ header }) => header),
    ...rows.map((row) => columns.map((column) => printable(column.text(row)))),
  ];
  return alignedLines(
    lines,
    columns.map(({ right = false }) => right),
  );
}

export function alignedLines(lines: readonly (readonly string[])[], right: readonly boolean[] = []): string {
  const widths: number[] = [];
  for (const line of lines) {
    for (const [at, cell] of line.entries()) widths[at] = Math.max(widths[at] ?? 0, [...cell].length);
  }
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, at) => pad(cell, widths[at]!, right[at] === true))
          .join(GAP)
          .trimEnd()}\n`,
    )
    .join("");
}

function pad(cell: string, width: number, right: boolean): string {
  const space = " ".repeat(width - [...cell].length);
  return right ? space + cell : cell + space;
}
