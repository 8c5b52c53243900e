/** name, uuid, title, description. */
import { given } from "../given.ts";
import { NAME, NAME_RULE, UUID } from "../names.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

export interface Identity {
  readonly name: string;
  readonly uuid?: string;
  readonly title?: string;
  readonly description?: string;
}

export function readIdentity(domain: XmlElement, problems: Problems): Identity {
  const title = domain.textOf("title");
  const description = domain.textOf("description");
  return {
    name: readName(domain, problems),
    ...given({ uuid: readUuid(domain, problems), title, description }),
  };
}

function readName(domain: XmlElement, problems: Problems): string {
  const element = domain.one("name");
  const name = element?.text() ?? "";
  if (element === undefined || name === "") {
    problems.error("the domain has no <name>", (element ?? domain).place);
    return "";
  }
  if (NAME.test(name)) return name;
  // libvirt allows all but a slash and a line break.
  const substitute = name
    .replaceAll(/[^A-Za-z0-9_.-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 63);
  if (substitute === "" || /[/\x00-\x1f]/.test(name)) {
    problems.error(`<name>: "${name}" is no name for a VM`, element.place, NAME_RULE);
  } else {
    problems.lacking(
      `<name>: "${name}" is no name for a VM of tsvm (${NAME_RULE})`,
      element.place,
      `calls it ${substitute}`,
    );
  }
  return substitute;
}

function readUuid(domain: XmlElement, problems: Problems): string | undefined {
  const element = domain.one("uuid");
  if (element === undefined) return undefined;
  // libvirt takes it with any hyphens and blanks.
  const digits = element.text().toLowerCase().replaceAll(/[-\s]/g, "");
  const uuid = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  if (UUID.test(uuid)) return uuid;
  problems.error(`<uuid>: "${element.text()}" is no UUID`, element.place);
  return undefined;
}
