/** memballoon: https://libvirt.org/formatdomain.html#memory-balloon-device */
import type { BalloonDescription } from "../../machine/description.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

/** Undefined where the domain leaves it to whoever runs it. */
export function readBalloon(devices: XmlElement, problems: Problems): BalloonDescription | false | undefined {
  const [balloon, ...others] = devices.all("memballoon");
  for (const other of others) {
    other.skipContent();
    problems.warning("<memballoon>: the guest gets one balloon", other.place);
  }
  if (balloon === undefined) return undefined;
  const model = balloon.attribute("model") ?? "virtio";
  const reporting = readSwitch(balloon, "freePageReporting", problems);
  const deflateOnOom = readSwitch(balloon, "autodeflate", problems);
  const period = readPeriod(balloon, problems);
  balloon.skip("alias", "address", "driver");
  if (model === "none") return false;
  if (!model.startsWith("virtio"))
    problems.lacking(`<memballoon>: the model ${model} is not virtio`, balloon.place, "makes it virtio");
  return {
    ...(reporting === undefined ? {} : { reporting }),
    ...(deflateOnOom === undefined ? {} : { deflateOnOom }),
    ...(period === undefined ? {} : { statsInterval: period }),
  };
}

function readSwitch(balloon: XmlElement, name: string, problems: Problems): boolean | undefined {
  const value = balloon.attribute(name);
  if (value === undefined || value === "on" || value === "off")
    return value === undefined ? value : value === "on";
  problems.error(`<memballoon>: ${name}="${value}" is neither on nor off`, balloon.place);
  return undefined;
}

function readPeriod(balloon: XmlElement, problems: Problems): number | undefined {
  const stats = balloon.one("stats");
  const period = stats?.attribute("period");
  if (period === undefined || /^\d{1,6}$/.test(period))
    return period === undefined ? undefined : Number(period);
  problems.error(`<stats>: the period "${period}" is no number of seconds`, stats!.place);
  return undefined;
}

export function writeBalloon({ reporting, deflateOnOom, statsInterval }: BalloonDescription): object {
  const onOff = (value: boolean): string => (value ? "on" : "off");
  return {
    $: {
      model: "virtio",
      ...(deflateOnOom === undefined ? {} : { autodeflate: onOff(deflateOnOom) }),
      ...(reporting === undefined ? {} : { freePageReporting: onOff(reporting) }),
    },
    ...(statsInterval === undefined ? {} : { stats: { $: { period: Math.ceil(statsInterval) } } }),
  };
}
