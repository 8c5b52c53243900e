/** Parser of `--balloon`; throws a {@link UsageError} that names it. */
import type { BalloonDescription } from "../machine/description.ts";
import { UsageError } from "./errors.ts";
import { setProperties, type SetProperty } from "./properties.ts";
import { parseDuration, parseSize } from "./values.ts";

/** What may stand after the first word; each sets its part of the description. */
const PROPERTIES: Record<string, SetProperty<BalloonDescription>> = {
  "no-reporting": flag("no-reporting", (balloon) => (balloon.reporting = false)),
  "no-deflate-on-oom": flag("no-deflate-on-oom", (balloon) => (balloon.deflateOnOom = false)),
  stats: (balloon, value) => {
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
  const twice = (name: string): UsageError => new UsageError(`--balloon: "${name}" is given twice`);
  setProperties("--balloon", properties, PROPERTIES, balloon, twice);
  return balloon;
}

function flag(name: string, set: (balloon: BalloonDescription) => void): SetProperty<BalloonDescription> {
  return (balloon, _value, given) => {
    if (given) throw new UsageError(`--balloon: ${name} takes no value`);
    set(balloon);
  };
}
