/** The devices element: disks, networks and consoles, and what tsvm says to all the rest. */
import type {
  BalloonDescription,
  DiskDescription,
  NetworkDescription,
  VsockDescription,
} from "../../machine/description.ts";
import type { Place, Problems } from "../problems.ts";
import { readBalloon } from "./balloon.ts";
import { readCharacterDevices } from "./character-devices.ts";
import { readDisks } from "./disks.ts";
import { readInterfaces, type ReadInterface } from "./interfaces.ts";
import { readVsock } from "./vsock.ts";
import type { XmlElement } from "./xml-element.ts";

export interface Devices {
  readonly disks: DiskDescription[];
  readonly networks: NetworkDescription[];
  /** Where each disk stands in the file. */
  readonly places: readonly Place[];
  readonly interfaces: readonly ReadInterface[];
  readonly console: "virtio" | undefined;
  readonly vsock: VsockDescription | undefined;
  readonly balloon: BalloonDescription | false | undefined;
}

export function readDevices(domain: XmlElement, problems: Problems): Devices {
  const devices = domain.one("devices");
  if (devices === undefined)
    return {
      disks: [],
      networks: [],
      places: [],
      interfaces: [],
      console: undefined,
      vsock: undefined,
      balloon: undefined,
    };
  // The program that runs the machine: here that is tsvm.
  devices.skip("emulator");
  const read = readDisks(devices, problems);
  const disks = read.map(({ disk }) => disk);
  const interfaces = readInterfaces(devices, disks, problems);
  const console = readCharacterDevices(devices, problems);
  const vsock = readVsock(devices, problems);
  readControllers(devices, problems);
  readRng(devices, problems);
  const balloon = readBalloon(devices, problems);
  readWatchdog(devices, problems);
  for (const [name, reason] of Object.entries(COSMETIC)) {
    tellOnce(devices.all(name), reason, problems);
  }
  for (const [name, reason] of Object.entries(LACKING)) {
    for (const element of devices.all(name)) {
      const { model } = describe(element);
      element.skipContent();
      problems.lacking(`<${name}${model}>: ${reason}`, element.place);
    }
  }
  return {
    disks,
    networks: interfaces.map(({ network }) => network),
    places: read.map(({ place }) => place),
    interfaces,
    console,
    vsock,
    balloon,
  };
}

/** Devices without which the guest is the same guest, only with less to look at or to type on. */
const COSMETIC: Readonly<Record<string, string>> = {
  graphics: "tsvm has no screen",
  video: "tsvm has no screen",
  audio: "tsvm has no sound",
  sound: "tsvm has no sound",
  input: "tsvm has no keyboard, mouse or tablet; there is the console",
  hub: "tsvm has no USB",
  redirdev: "tsvm has no USB",
  redirfilter: "tsvm has no USB",
  smartcard: "tsvm has no smart cards",
  panic: "tsvm sees a panic on the console",
};

/** What the guest would miss. */
const LACKING: Readonly<Record<string, string>> = {
  filesystem: "tsvm has no shared directories yet",
  hostdev: "tsvm has no passthrough of the host's devices",
  tpm: "tsvm has no TPM",
  shmem: "tsvm has no memory shared between guests",
  memory: "tsvm has no memory modules",
  iommu: "tsvm has no IOMMU",
  lease: "tsvm takes no leases",
  crypto: "tsvm has no virtio crypto device",
  nvram: "tsvm has no NVRAM device",
};

/** One warning for all devices of a kind: virt-manager writes fourteen PCI ports. */
function tellOnce(elements: readonly XmlElement[], reason: string, problems: Problems): void {
  const kinds = new Map<string, XmlElement[]>();
  for (const element of elements) {
    const { type } = describe(element);
    const same = kinds.get(type);
    if (same === undefined) kinds.set(type, [element]);
    else same.push(element);
  }
  for (const [type, [first, ...more]] of kinds) {
    const times = more.length === 0 ? "" : `, ${more.length + 1} times`;
    problems.warning(`<${first!.name}${type}>${times}: left out, as ${reason}`, first!.place);
    for (const element of [first!, ...more]) element.skipContent();
  }
}

/** ` type="usb"` and the like. */
function describe(element: XmlElement): { type: string; model: string } {
  const type = element.attribute("type");
  const model = element.attribute("model") ?? element.one("model")?.attribute("type");
  const text = (name: string, value: string | undefined): string =>
    value === undefined ? "" : ` ${name}="${value}"`;
  return { type: text("type", type), model: text("type", type) + text("model", model) };
}

function readControllers(devices: XmlElement, problems: Problems): void {
  const controllers = devices.all("controller");
  // A disk behind one of these is told of as that disk.
  const real = controllers.filter((element) => {
    const none = element.attribute("model") === "none";
    if (none) element.skipContent();
    return !none;
  });
  tellOnce(real, "virtio devices of tsvm need none", problems);
}

/** tsvm's machine always has one, from the host's random numbers. */
function readRng(devices: XmlElement, problems: Problems): void {
  for (const [index, rng] of devices.all("rng").entries()) {
    const model = rng.attribute("model") ?? "virtio";
    rng.skip("address", "alias", "driver");
    const backend = rng.one("backend");
    const rate = rng.one("rate");
    rate?.skipContent();
    if (index > 0) problems.warning("<rng>: the guest gets one random number generator", rng.place);
    if (!model.startsWith("virtio"))
      problems.lacking(`<rng>: the model ${model} is not virtio`, rng.place, "makes it virtio");
    if (rate !== undefined)
      problems.warning("<rate>: the guest gets as many random numbers as it asks for", rate.place);
    const kind = backend?.attribute("model") ?? "random";
    const file = backend?.text() ?? "";
    if (
      kind === "builtin" ||
      (kind === "random" && ["", "/dev/urandom", "/dev/random", "/dev/hwrng"].includes(file))
    ) {
      continue;
    }
    backend?.skipContent();
    problems.lacking(
      `<backend>: random numbers come from the host's kernel, not from ${file === "" ? kind : file}`,
      backend!.place,
    );
  }
}

function readWatchdog(devices: XmlElement, problems: Problems): void {
  for (const watchdog of devices.all("watchdog")) {
    const { model } = describe(watchdog);
    const action = watchdog.attribute("action");
    watchdog.skipContent();
    const message = `<watchdog${model}>: tsvm has no watchdog yet`;
    if (action === "none") problems.warning(message, watchdog.place);
    else problems.lacking(message, watchdog.place);
  }
}
