import { isAlive, VM_STATES } from "../../manager/record.ts";
import { Manager } from "../../manager/manager.ts";
import type { VmSummary } from "../../manager/summary.ts";
import { quoted } from "../../manager/names.ts";
import { didYouMean } from "../../suggestion.ts";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";
import { note } from "./each.ts";
import { formatter, type Listing, type ListingFlags } from "./listing.ts";
import { SUMMARY_FIELDS } from "./summary-fields.ts";
import { durationText, sizeText } from "./quantities.ts";

export interface PsFlags extends ListingFlags {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly filter: readonly string[];
}

const LISTING: Listing<VmSummary> = {
  columns: [
    { header: "NAME", text: ({ name }) => name },
    { header: "STATE", text: ({ state }) => state },
    {
      header: "SINCE",
      text: ({ since }) => (since === null ? "" : durationText(Date.now() - Date.parse(since))),
    },
    { header: "EXIT", text: ({ exit }) => (exit === null ? "" : `${exit.reason} (${exit.status})`) },
    { header: "RESTARTS", right: true, text: ({ restarts }) => `${restarts}` },
    { header: "CPUS", right: true, text: ({ cpus }) => `${cpus ?? ""}` },
    { header: "MEMORY", right: true, text: ({ memory }) => (memory === null ? "" : sizeText(memory)) },
    { header: "PORTS", rare: true, text: ({ ports }) => ports.join(", ") },
    { header: "TITLE", text: ({ title }) => title ?? "" },
  ],
  fields: SUMMARY_FIELDS,
};

export async function psCommand(flags: PsFlags): Promise<void> {
  if (flags.quiet === true && (flags.json === true || flags.format !== undefined)) {
    const other = flags.json === true ? "--json" : "--format";
    throw new UsageError(
      `--quiet and ${other} do not go together`,
      "--format '{{.name}}' prints names only, too",
    );
  }
  const format = formatter(LISTING, flags);
  const filters = parseFilters(flags.filter);
  // Who asks for a state wants to see it, running or not.
  const all = flags.all === true || filters.has("state");
  const summaries = (await new Manager().list())
    .filter(({ state }) => all || (state !== "unknown" && isAlive(state)))
    .filter((summary) => matches(summary, filters));
  print(flags.quiet === true ? summaries.map(({ name }) => `${name}\n`).join("") : format(summaries));
  for (const { problem } of summaries) if (problem !== null) note(problem);
}

type Filters = ReadonlyMap<string, readonly string[]>;
const KEYS = ["name", "state", "label"];
const STATES: readonly string[] = [...VM_STATES, "unknown"];

function parseFilters(texts: readonly string[]): Filters {
  const filters = new Map<string, string[]>();
  for (const text of texts) {
    const at = text.indexOf("=");
    const key = text.slice(0, Math.max(at, 0));
    if (!KEYS.includes(key)) {
      throw new UsageError(
        `--filter: "${text}" makes no sense`,
        "write state=running, name=web* or label=KEY[=VALUE]",
      );
    }
    const value = text.slice(at + 1);
    if (key === "state" && !STATES.includes(value)) {
      const list = `the states are ${STATES.join(", ")}`;
      const meant = didYouMean(value, STATES);
      throw new UsageError(
        `--filter: there is no state ${quoted(value)}`,
        meant === undefined ? list : `${meant} ${list}`,
      );
    }
    filters.set(key, [...(filters.get(key) ?? []), value]);
  }
  return filters;
}

/** Of several values for a key one must fit, and that for every key. */
function matches({ name, state, labels }: VmSummary, filters: Filters): boolean {
  const fits = (key: string, value: string): boolean => {
    if (key === "state") return state === value;
    if (key === "name") return globMatches(value, name);
    const [label = "", wanted] = value.split(/=(.*)/s);
    return Object.hasOwn(labels, label) && (wanted === undefined || labels[label] === wanted);
  };
  return [...filters].every(([key, values]) => values.some((value) => fits(key, value)));
}

/** `*` is any text. */
function globMatches(pattern: string, text: string): boolean {
  const escaped = pattern.split("*").map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`).test(text);
}
