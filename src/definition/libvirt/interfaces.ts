/** interface elements. https://libvirt.org/formatdomain.html#network-interfaces */
import type { DiskDescription, NetworkDescription } from "../../machine/description.ts";
import { given } from "../given.ts";
import type { Place, Problems } from "../problems.ts";
import { readBandwidth, writeBandwidth } from "./bandwidth.ts";
import { readHostSide } from "./interface-host.ts";
import { readPortForwards, writePortForwards } from "./port-forwards.ts";
import { readWhole } from "./whole.ts";
import type { XmlElement } from "./xml-element.ts";

export interface ReadInterface {
  readonly network: NetworkDescription;
  /** Where a property of the network comes from, such as `"forwards", 0`. */
  place(...keys: readonly (string | number)[]): Place;
}

/** In the order of the file, which is that of eth0, eth1, … */
export function readInterfaces(
  devices: XmlElement,
  disks: readonly DiskDescription[],
  problems: Problems,
): ReadInterface[] {
  return devices.all("interface").flatMap((element) => readInterface(element, disks, problems) ?? []);
}

function readInterface(
  element: XmlElement,
  disks: readonly DiskDescription[],
  problems: Problems,
): ReadInterface | undefined {
  const host = readHostSide(element, problems);
  if (host === undefined) {
    element.skipContent();
    return undefined;
  }
  readModel(element, problems);
  skipBookkeeping(element);
  tellLess(element, problems);
  tellDriver(element, problems);
  tellBoot(element, disks, problems);
  const mac = element.one("mac");
  // How libvirt came by it, and what of other hypervisors.
  mac?.skipAttributes("type", "check");
  const mtu = element.one("mtu");
  const forwards = readPortForwards(element, problems);
  if (host.type === "tap" && forwards.length > 0) {
    problems.lacking("<portForward>: a tap device leads in what the host sends there", forwards[0]!.place);
  }
  const network: NetworkDescription = {
    ...host,
    ...given({
      mac: mac?.attribute("address"),
      mtu: mtu === undefined ? undefined : readWhole(mtu, "size", problems),
      rateLimits: readBandwidth(element, problems),
    }),
    ...(host.type === "tap" || forwards.length === 0
      ? {}
      : { forwards: forwards.map(({ forward }) => forward) }),
  };
  return {
    network,
    place(key = "", index = 0) {
      if (key === "forwards") return forwards[Number(index)]?.place ?? element.place;
      const name = ELEMENTS[key];
      return (name === undefined ? undefined : element.one(name))?.place ?? element.place;
    },
  };
}

/** Where properties come from. */
const ELEMENTS: Readonly<Record<string, string>> = {
  mac: "mac",
  mtu: "mtu",
  tap: "target",
  rateLimits: "bandwidth",
};

const MODELS = ["virtio", "virtio-transitional", "virtio-non-transitional"];

function readModel(element: XmlElement, problems: Problems): void {
  const model = element.one("model");
  const type = model?.attribute("type");
  if (type === undefined) {
    problems.warning("<interface>: without <model type=…> it is virtio", (model ?? element).place);
  } else if (!MODELS.includes(type)) {
    problems.lacking(`<model>: tsvm has no ${type}, only virtio`, model!.place, "makes it virtio");
  }
}

/** What libvirt notes of a running interface, and what a guest does not see. */
function skipBookkeeping(element: XmlElement): void {
  element.skip("address", "alias");
  element.skipAttributes("trustGuestRxFilters");
}

const LESS_BUT_SAME: Readonly<Record<string, string>> = {
  rom: "there is no firmware that would run it",
  coalesce: "tsvm has its own way",
  tune: "tsvm has its own way",
  guest: "the guest names its interfaces itself",
  acpi: "the guest sees no PCI device",
};
const NOT_THE_SAME = ["filterref", "vlan", "virtualport", "teaming", "port", "backenddomain"];

function tellLess(element: XmlElement, problems: Problems): void {
  for (const [name, reason] of Object.entries(LESS_BUT_SAME)) {
    for (const less of element.all(name)) {
      less.skipContent();
      problems.warning(`<${name}>: left out, as ${reason}`, less.place);
    }
  }
  for (const name of NOT_THE_SAME) {
    for (const more of element.all(name)) {
      more.skipContent();
      problems.lacking(`<${name}>: tsvm's networks have no such thing`, more.place);
    }
  }
  const link = element.one("link");
  if (link?.attribute("state") === "down") {
    problems.lacking("<link>: the guest's cable is always plugged in", link.place, "plugs it in");
  }
}

/** How QEMU and vhost do their work; the guest sees none of it, or less to speed up. */
const ONLY_SPEED = [
  "queues",
  "rx_queue_size",
  "tx_queue_size",
  "txmode",
  "ioeventfd",
  "event_idx",
  "packed",
  "page_per_vq",
  "rss",
  "rss_hash_report",
];
const NOT_OURS = ["iommu", "ats"];

function tellDriver(element: XmlElement, problems: Problems): void {
  const driver = element.one("driver");
  if (driver === undefined) return;
  driver.skipAttributes("name");
  for (const name of ONLY_SPEED) {
    const value = driver.attribute(name);
    if (value !== undefined)
      problems.warning(`<driver>: tsvm has its own way in place of ${name}="${value}"`, driver.place);
  }
  for (const name of NOT_OURS) {
    if (driver.attribute(name) === "on") problems.lacking(`<driver>: tsvm has no ${name}`, driver.place);
  }
  for (const name of ["host", "guest"]) {
    const offloads = driver.one(name);
    offloads?.skipContent();
    if (offloads !== undefined)
      problems.warning(`<${name}>: tsvm itself decides which offloads there are`, offloads.place);
  }
}

/** As os/boot: what comes after a disk would have been tried only if that cannot be booted. */
function tellBoot(element: XmlElement, disks: readonly DiskDescription[], problems: Problems): void {
  const boot = element.one("boot");
  if (boot === undefined) return;
  boot.skipAttributes("loadparm");
  const order = Number(boot.attribute("order"));
  const message = "<boot>: tsvm boots from disks only, not from network";
  if (disks.some(({ bootOrder }) => bootOrder !== undefined && bootOrder < order))
    problems.warning(message, boot.place);
  else problems.lacking(message, boot.place, "boots from the first disk");
}

/** As xml2js writes it. */
export function writeInterface(network: NetworkDescription, index: number, problems: Problems): object {
  const { type, tap, mac, mtu, forwards = [], hostLoopback, address, gateway, dns } = network;
  const at = `networks[${index}]`;
  const unsaid = { hostLoopback: hostLoopback === true ? true : undefined, address, gateway, dns };
  for (const [key, value] of Object.entries(unsaid)) {
    if (value !== undefined)
      problems.lacking(`${at}: ${key}: libvirt's XML has no words for it`, { element: at });
  }
  const bandwidth = writeBandwidth(network, at, problems);
  return {
    $: { type: type === "user" ? "user" : "ethernet" },
    ...(mac === undefined ? {} : { mac: { $: { address: mac } } }),
    ...(type === "user"
      ? { backend: { $: { type: "passt" } } }
      : { target: { $: { dev: tap, managed: "no" } } }),
    model: { $: { type: "virtio" } },
    ...(mtu === undefined ? {} : { mtu: { $: { size: mtu } } }),
    ...(forwards.length === 0 ? {} : { portForward: writePortForwards(forwards) }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
  };
}
