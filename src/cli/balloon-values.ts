/** Parser of `--balloon`; throws a {@link UsageError} that names it. */
import type { BalloonDescription } from "../machine/description.ts";
import { UsageError } from "./errors.ts";
import { parseDuration, parseSize } from "./values.ts";

/** What may stand after the first word; each sets its part of the description. */
const PROPERTIES: Record<string, (balloon: BalloonDescription, value: string | undefined) => void> = {
  "no-reporting": flag("no-reporting", (balloon) => (balloon.reporting = false)),
  "no-deflate-on-oom": flag("no-deflate-on-oom", (balloon) => (balloon.deflateOnOom = false)),
  stats: (balloon, value = "") => {
    balloon.statsInterval = value === "0" ? 0 : parseDuration("--balloon: stats", value) / 1000;
  },
};

/** `off`, or `on` or a size, then `[,PROPERTY[=VALUE]]...`; docs/cli.md lists the properties. */
export function parseBalloon(text: string): BalloonDescription | false {
  const [first = "", ...properties] = text.split(",");
  if (first === "off") {
    if (properties.length > 0) throw new UsageError(`--balloon: "${text}": off takes no properties`);
    return false;
  }
  const balloon: BalloonDescription = first === "on" ? {} : { size: parseSize("--balloon", first) };
  const seen = new Set<string>();
  for (const property of properties) {
    const [name = "", ...rest] = property.split("=");
    const set = Object.hasOwn(PROPERTIES, name) ? PROPERTIES[name] : undefined;
    if (set === undefined) {
      throw new UsageError(
        `--balloon: unknown property "${property}"`,
        `known are ${Object.keys(PROPERTIES).join(", ")}`,
      );
    }
    if (seen.has(name)) throw new UsageError(`--balloon: "${name}" is given twice`);
    seen.add(name);
    set(balloon, property.includes("=") ? rest.join("=") : undefined);
  }
  return balloon;
}

function flag(
  name: string,
  set: (balloon: BalloonDescription) => void,
): (balloon: BalloonDescription, value: string | undefined) => void {
  return (balloon, value) => {
    if (value !== undefined) throw new UsageError(`--balloon: ${name} takes no value`);
    set(balloon);
  };
}
