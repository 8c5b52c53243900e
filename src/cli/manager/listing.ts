/** What all listings have in common: a table for people, `--json` and `--format` for programs. */
import { UsageError } from "../errors.ts";
import { table, type Column } from "./table.ts";
import { Template } from "./template.ts";

export interface ListingFlags {
  readonly json?: boolean;
  readonly format?: string;
}

export interface Listing<Row> {
  readonly columns: readonly Column<Row>[];
  /** What `--format` can name. */
  readonly fields: readonly string[];
}

/** `--format json` says the same as `--json`; anything else says something else. */
export function refuseTwoFormats({ json = false, format }: ListingFlags): void {
  if (json && format !== undefined && format !== "json") {
    throw new UsageError(
      "--json and --format do not go together",
      "--format '{{json .}}' is JSON, a line each",
    );
  }
}

/** Says what is wrong with a template before anything else is done. */
export function formatter<Row extends object>(
  { columns, fields }: Listing<Row>,
  { json = false, format }: ListingFlags,
): (rows: readonly Row[]) => string {
  refuseTwoFormats({ json, ...(format === undefined ? {} : { format }) });
  if (json || format === "json") return (rows) => `${JSON.stringify(rows, null, 2)}\n`;
  if (format === undefined || format === "table") return (rows) => table(columns, rows);
  const template = new Template(format, fields);
  return (rows) => template.render(rows);
}
