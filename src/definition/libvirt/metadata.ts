/** The metadata element, in which tsvm keeps what libvirt has no words for. */
import type { RestartPolicy, VmDefinition } from "../definition.ts";
import { formatRestart, parseRestart } from "../restart.ts";
import { formatDuration, parseDuration } from "../quantities.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

export const NAMESPACE = "urn:x-tsvm:definition:1";

type Kept = Pick<VmDefinition, "labels" | "stopTimeout" | "dependsOn"> & { restart?: RestartPolicy };

export function readMetadata(domain: XmlElement, problems: Problems): Kept {
  const metadata = domain.one("metadata");
  let kept: Kept = {};
  for (const element of metadata?.children ?? []) {
    metadata!.all(element.name);
    if ([...element.attributes].some(([name, value]) => name.startsWith("xmlns") && value === NAMESPACE)) {
      kept = readOwn(element, problems);
    } else {
      element.skipContent();
      problems.warning(
        `<${element.name}>: notes of another program, which tsvm does not keep`,
        element.place,
      );
    }
  }
  return kept;
}

function readOwn(own: XmlElement, problems: Problems): Kept {
  const labels: Record<string, string> = {};
  for (const label of own.all("tsvm:label")) {
    const name = label.attribute("name") ?? "";
    if (name !== "" && name !== "__proto__") labels[name] = label.attribute("value") ?? "";
    else problems.error("<tsvm:label> has no name", label.place);
  }
  const restart = own.attribute("restart");
  const policy = restart === undefined ? undefined : parseRestart(restart);
  const stopTimeout = own.attribute("stopTimeout");
  const timeout = stopTimeout === undefined ? undefined : parseDuration(stopTimeout);
  if (restart !== undefined && policy === undefined)
    problems.error(`restart="${restart}" is no policy`, own.place);
  if (stopTimeout !== undefined && timeout === undefined)
    problems.error(`stopTimeout="${stopTimeout}" is no time`, own.place);
  const dependsOn = own.all("tsvm:dependsOn").map((element) => element.text());
  if (dependsOn.length > 0) {
    problems.warning(
      `the domain depends on ${dependsOn.join(", ")}, and a domain's file has no other VMs`,
      own.place,
    );
  }
  return {
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(policy === undefined ? {} : { restart: policy }),
    ...(timeout === undefined ? {} : { stopTimeout: timeout }),
  };
}

/** The element as xml2js writes it; undefined if there is nothing to keep. */
export function writeMetadata({
  labels = {},
  restart,
  stopTimeout,
  dependsOn = [],
}: VmDefinition): object | undefined {
  const entries = Object.entries(labels);
  const attributes = {
    ...(restart === undefined ? {} : { restart: formatRestart(restart) }),
    ...(stopTimeout === undefined ? {} : { stopTimeout: formatDuration(stopTimeout) }),
  };
  if (entries.length === 0 && dependsOn.length === 0 && Object.keys(attributes).length === 0)
    return undefined;
  return {
    "tsvm:vm": {
      $: { "xmlns:tsvm": NAMESPACE, ...attributes },
      ...(entries.length === 0
        ? {}
        : { "tsvm:label": entries.map(([name, value]) => ({ $: { name, value } })) }),
      ...(dependsOn.length === 0 ? {} : { "tsvm:dependsOn": dependsOn }),
    },
  };
}
