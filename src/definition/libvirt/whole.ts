/** Numbers in attributes. */
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

/** Of at least 1; undefined where the attribute is missing, or is something else, which is an error. */
export function readWhole(element: XmlElement, attribute: string, problems: Problems): number | undefined {
  const text = element.attribute(attribute);
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,11}$/.test(text)) return Number(text);
  problems.error(`<${element.name}>: ${attribute}="${text}" is no whole number from 1 on`, element.place);
  return undefined;
}
