/**
 * Prometheus' text exposition format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */
import { LATENCY_BUCKETS, type LatencyCounts } from "../../devices/histogram.ts";

export type Labels = Readonly<Record<string, string>>;
type MetricType = "counter" | "gauge" | "histogram";

interface Family {
  readonly help: string;
  readonly type: MetricType;
  readonly samples: string[];
}

const MICROSECONDS = 1e6;
/** Upper bounds of a histogram's buckets in seconds, as they are written; what is beyond the last one is in `+Inf`. */
const BOUNDS = Array.from({ length: LATENCY_BUCKETS - 1 }, (_, index) => `${2 ** index / MICROSECONDS}`);

/** Collects samples. All of one metric stand together in the text, whatever order they come in. */
export class Exposition {
  readonly #families = new Map<string, Family>();

  /** A value that only grows; the name ends in `_total`. */
  counter(name: string, help: string, labels: Labels, value: number): void {
    this.#add("counter", name, help).push(sample(name, labels, value));
  }

  gauge(name: string, help: string, labels: Labels, value: number): void {
    this.#add("gauge", name, help).push(sample(name, labels, value));
  }

  /** In seconds; the name ends in `_seconds`. */
  histogram(name: string, help: string, labels: Labels, { sum, buckets }: LatencyCounts): void {
    const samples = this.#add("histogram", name, help);
    let below = 0;
    for (const [index, le] of BOUNDS.entries()) {
      below += buckets[index] ?? 0;
      samples.push(sample(`${name}_bucket`, { ...labels, le }, below));
    }
    // From the buckets, which may have changed since they were counted.
    const count = buckets.reduce((total, one) => total + one, 0);
    samples.push(
      sample(`${name}_bucket`, { ...labels, le: "+Inf" }, count),
      sample(`${name}_sum`, labels, sum / 1000),
      sample(`${name}_count`, labels, count),
    );
  }

  toString(): string {
    return [...this.#families]
      .map(
        ([name, { help, type, samples }]) =>
          `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${samples.join("")}`,
      )
      .join("");
  }

  #add(type: MetricType, name: string, help: string): string[] {
    let family = this.#families.get(name);
    if (family === undefined) this.#families.set(name, (family = { type, help, samples: [] }));
    return family.samples;
  }
}

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${number(value)}\n`;
}

function number(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? `${value}` : value > 0 ? "+Inf" : "-Inf";
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
