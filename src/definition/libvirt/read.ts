/** Reads libvirt domain XML. Format: https://libvirt.org/formatdomain.html; what becomes of each element: docs/definition.md. */
import type { MachineDescription } from "../../machine/description.ts";
import { checkMachine } from "../check-machine.ts";
import { given } from "../given.ts";
import type { VmDefinition } from "../definition.ts";
import { splitCommandLine } from "../kernel-parameters.ts";
import type { Problems } from "../problems.ts";
import { readCpuModel, readMemory, readVcpus } from "./resources.ts";
import { readDevices } from "./devices.ts";
import { readIdentity } from "./identity.ts";
import { readRestart } from "./life-cycle.ts";
import { readMetadata } from "./metadata.ts";
import { readOs } from "./os.ts";
import { parseXml } from "./parse-xml.ts";
import { readPlatform } from "./platform.ts";
import type { XmlElement } from "./xml-element.ts";

/** What is wrong goes to `problems`; the result is of use only if there are no errors. */
export function readLibvirt(problems: Problems): VmDefinition[] {
  const root = parseXml(problems);
  if (root === undefined) return [];
  if (root.name !== "domain") {
    const hint =
      root.name === "domainsnapshot" ? "take the <domain> out of it" : "virsh dumpxml NAME prints one";
    problems.error(`<${root.name}> is no domain of libvirt`, root.place, hint);
    return [];
  }
  const definition = readDomain(root, problems);
  root.reportUnread(problems);
  return [definition];
}

function readDomain(domain: XmlElement, problems: Problems): VmDefinition {
  readType(domain, problems);
  const identity = readIdentity(domain, problems);
  const os = readOs(domain, problems);
  const devices = readDevices(domain, problems);
  const { disks, networks } = devices;
  if (os.kernel === undefined && disks.length === 0) {
    problems.lacking(
      "the domain has neither a kernel nor a disk to boot from",
      domain.place,
      "boots the bundled Linux",
    );
  }
  const machine: MachineDescription = {
    name: identity.name,
    cpus: readVcpus(domain, problems),
    ...readMemory(domain, devices.balloon, problems),
    ...given({ kernel: os.kernel, initrd: os.initrd }),
    ...(os.kernel === undefined ? {} : splitCommandLine(os.commandLine ?? "", disks[0])),
    ...(disks.length === 0 ? {} : { disks }),
    ...(networks.length === 0 ? {} : { networks }),
    ...given({ vsock: devices.vsock, console: devices.console, acpi: readPlatform(domain, problems).acpi }),
  };
  readCpuModel(domain, machine.cpus, problems);
  checkMachine(machine, problems, (key, index, ...keys) => {
    if (key === "disks" && typeof index === "number") return devices.places[index] ?? domain.place;
    if (key === "networks" && typeof index === "number")
      return devices.interfaces[index]?.place(...keys) ?? domain.place;
    const element = key === "memory" ? domain.one("memory") : domain.one("os")?.one(key);
    return element?.place ?? domain.place;
  });
  const restart = readRestart(domain, problems);
  const metadata = readMetadata(domain, problems);
  return {
    kind: "vm",
    ...identity,
    ...given({ restart }),
    ...metadata,
    machine,
  };
}

function readType(domain: XmlElement, problems: Problems): void {
  const type = domain.attribute("type");
  // The number and the state of a running domain.
  domain.skipAttributes("id");
  domain.skip("seclabel");
  if (type === "kvm" || type === "qemu") return;
  if (type === undefined) problems.error("<domain> has no type", domain.place, 'write <domain type="kvm">');
  else problems.lacking(`<domain>: the type ${type} is not kvm or qemu`, domain.place, "reads it as kvm");
}
