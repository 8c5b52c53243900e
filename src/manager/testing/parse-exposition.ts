/** A reader of Prometheus' text format 0.0.4 that takes nothing but what the format's description allows. For tests. */

export interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ParsedFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly ParsedSample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const NUMBER = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]Inf|NaN)$/;

/** Throws an Error for the first line that is wrong. */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  const families = new Map<string, { type: string; help: string; samples: ParsedSample[] }>();
  const series = new Set<string>();
  let current = "";
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line has no end");
  for (const line of text.split("\n").slice(0, -1)) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    const help = new RegExp(`^# HELP (${NAME}) ((?:[^\\\\\\n]|\\\\[\\\\n])*)$`).exec(line);
    if (help !== null) {
      if (families.has(help[1]!)) fail("a second HELP, or samples apart from each other");
      current = help[1]!;
      families.set(current, { type: "", help: help[2]!, samples: [] });
      continue;
    }
    const family = families.get(current) ?? fail("no HELP before it");
    const type = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`).exec(line);
    if (type !== null) {
      if (type[1] !== current || family.type !== "" || family.samples.length > 0) fail("TYPE out of place");
      family.type = type[2]!;
      continue;
    }
    const sample = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`).exec(line) ?? fail("no sample");
    const [, name = "", pairs = "", value = ""] = sample;
    if (!NUMBER.test(value)) fail("no number");
    const endings = family.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    if (!endings.some((ending) => name === current + ending)) fail(`not of ${current}`);
    const labels = parseLabels(pairs) ?? fail("bad labels");
    const key = `${name}${JSON.stringify(Object.entries(labels).sort())}`;
    if (series.has(key)) fail("there already");
    series.add(key);
    family.samples.push({ name, labels, value: Number(value.replace("Inf", "Infinity")) });
  }
  return families;
}

function parseLabels(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const match = LABEL.exec(text);
    if (match === null) return undefined;
    const [, key = "", value = ""] = match;
    if (Object.hasOwn(labels, key)) return undefined;
    labels[key] = value.replaceAll(/\\(.)/g, (_, character: string) =>
      character === "n" ? "\n" : character,
    );
  }
  return labels;
}
