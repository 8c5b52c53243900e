/** disk elements. https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms */
import type { DiskDescription } from "../../machine/description.ts";
import { given } from "../given.ts";
import type { Place, Problems } from "../problems.ts";
import { readIoTune } from "./io-tune.ts";
import type { XmlElement } from "./xml-element.ts";

export interface ReadDisk {
  readonly disk: DiskDescription;
  readonly place: Place;
  /** `vda`. */
  readonly target: string;
}

/** In the order in which the guest sees them: libvirt sorts by target. */
export function readDisks(devices: XmlElement, problems: Problems): ReadDisk[] {
  const disks = devices.all("disk").flatMap((element) => readDisk(element, problems) ?? []);
  const virtio = disks.filter(({ target }) => target.startsWith("vd"));
  const others = disks.filter(({ target }) => !target.startsWith("vd"));
  for (const [index, { target, place }] of virtio.entries()) {
    if (virtio.findIndex((other) => other.target === target) !== index) {
      problems.error(`<target>: another disk is ${target} too`, place);
    }
  }
  return [...virtio.toSorted((a, b) => compareTargets(a.target, b.target)), ...others];
}

/** vdb comes before vdaa. */
function compareTargets(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

function readDisk(element: XmlElement, problems: Problems): ReadDisk | undefined {
  const device = element.attribute("device") ?? "disk";
  const source = element.one("source");
  const path = readSource(element, source, problems);
  if (path === undefined) {
    element.skipContent();
    return undefined;
  }
  if (device !== "disk" && device !== "cdrom") {
    element.skipContent();
    problems.lacking(`<disk>: tsvm has no ${device}, only virtio disks`, element.place);
    return undefined;
  }
  const target = readTarget(element, device, problems);
  skipBookkeeping(element);
  tellLess(element, problems);
  const { format, cache } = readDriver(element, problems);
  const serial = element.textOf("serial");
  const readOnly = element.one("readonly") !== undefined || device === "cdrom";
  const rateLimits = readIoTune(element, problems);
  const disk: DiskDescription = {
    path: problems.source.resolve(path),
    ...(readOnly ? { readOnly } : {}),
    ...(readTransient(element, problems) ? { overlay: true } : {}),
    ...given({ format, serial: readSerial(element, serial, problems), cache, rateLimits }),
    ...given({ bootOrder: readBootOrder(element, problems) }),
  };
  return { disk, place: element.place, target };
}

/** The image's path; undefined where there is none, which is told. */
function readSource(
  disk: XmlElement,
  source: XmlElement | undefined,
  problems: Problems,
): string | undefined {
  const type = disk.attribute("type") ?? "file";
  if (type !== "file" && type !== "block") {
    problems.lacking(`<disk>: tsvm has no disks of the type ${type}, only file and block`, disk.place);
    return undefined;
  }
  const path = source?.attribute(type === "file" ? "file" : "dev");
  source?.skipAttributes("startupPolicy", "index");
  source?.skip("seclabel", "privateData");
  if (path !== undefined && path !== "") return path;
  const device = disk.attribute("device") ?? "disk";
  if (device === "cdrom" || device === "floppy") {
    problems.warning(`<disk>: the ${device} has nothing in it, and is left out`, disk.place);
  } else
    problems.error(`<disk>: there is no <source> with a ${type === "file" ? "file" : "dev"}`, disk.place);
  return undefined;
}

function readTarget(disk: XmlElement, device: string, problems: Problems): string {
  const target = disk.one("target");
  const name = target?.attribute("dev") ?? "";
  // Of removable media.
  target?.skipAttributes("tray", "removable");
  const bus = target?.attribute("bus") ?? (name.startsWith("vd") ? "virtio" : "ide");
  const rotation = target?.attribute("rotation_rate");
  if (rotation !== undefined)
    problems.warning("<target>: the guest does not see how fast a disk turns", target!.place);
  if (bus !== "virtio") {
    problems.lacking(
      `<target>: tsvm has no ${bus} bus, only virtio${device === "cdrom" ? ", and no CD-ROM drives" : ""}`,
      (target ?? disk).place,
      `makes it a${device === "cdrom" ? " read-only" : ""} virtio disk`,
    );
  }
  return name;
}

/** What libvirt notes of a running disk, or can be had from the image itself. */
function skipBookkeeping(disk: XmlElement): void {
  disk.skip("address", "alias", "backingStore", "privateData");
  disk.skipAttributes("model", "snapshot");
}

const LESS_BUT_SAME = ["geometry", "wwn", "vendor", "product", "acpi"];
const NOT_THE_SAME = ["encryption", "auth", "mirror", "blockio", "backenddomain", "throttlefilters"];

function tellLess(disk: XmlElement, problems: Problems): void {
  for (const name of LESS_BUT_SAME) {
    const element = disk.one(name);
    element?.skipContent();
    if (element !== undefined) problems.warning(`<${name}>: a virtio disk of tsvm has none`, element.place);
  }
  for (const name of NOT_THE_SAME) {
    const element = disk.one(name);
    element?.skipContent();
    if (element !== undefined) problems.lacking(`<${name}>: tsvm's disks have no such thing`, element.place);
  }
  const shareable = disk.one("shareable");
  if (shareable !== undefined) {
    problems.lacking("<shareable>: a disk of tsvm has one writer, or several readers", shareable.place);
  }
  for (const name of ["rawio", "sgio"]) {
    if (disk.attribute(name) !== undefined)
      problems.lacking(`<disk>: tsvm does not pass SCSI commands on (${name})`, disk.place);
  }
}

const CACHES: Readonly<Record<string, DiskDescription["cache"]>> = {
  writeback: "writeback",
  none: "none",
  unsafe: "unsafe",
};
/** Modes that tsvm lacks, and what is nearest. */
const NEAREST: Readonly<Record<string, DiskDescription["cache"]>> = {
  writethrough: "writeback",
  directsync: "none",
};
/** How QEMU does its work; the guest sees none of it. */
const ONLY_SPEED = [
  "io",
  "iothread",
  "queues",
  "queue_size",
  "event_idx",
  "ioeventfd",
  "copy_on_read",
  "detect_zeroes",
  "packed",
  "page_per_vq",
  "discard_no_unref",
];
const ONLY_ERRORS = ["error_policy", "rerror_policy"];
const NOT_OURS = ["iommu", "ats"];

function readDriver(disk: XmlElement, problems: Problems): Pick<DiskDescription, "format" | "cache"> {
  const driver = disk.one("driver");
  driver?.skipAttributes("name");
  driver?.skip("iothreads", "metadata_cache");
  const format = readFormat(disk, driver, problems);
  if (driver === undefined) return given({ format });
  tellDriver(driver, problems);
  const cache = driver.attribute("cache") ?? "default";
  if (cache === "default") return given({ format });
  const nearest = NEAREST[cache];
  if (nearest !== undefined) {
    problems.lacking(`<driver>: tsvm has no cache="${cache}"`, driver.place, `takes ${nearest}`);
    return given({ format, cache: nearest });
  }
  if (CACHES[cache] === undefined) problems.error(`<driver>: "${cache}" is no cache mode`, driver.place);
  return given({ format, cache: CACHES[cache] });
}

function tellDriver(driver: XmlElement, problems: Problems): void {
  const discard = driver.attribute("discard");
  if (discard === "ignore") {
    problems.warning("<driver>: what the guest discards is freed in the image", driver.place);
  }
  for (const name of ONLY_SPEED) {
    const value = driver.attribute(name);
    if (value !== undefined)
      problems.warning(`<driver>: tsvm has its own way in place of ${name}="${value}"`, driver.place);
  }
  for (const name of ONLY_ERRORS) {
    const value = driver.attribute(name);
    // The guest is told of errors.
    if (value !== undefined && value !== "report") {
      problems.warning(
        `<driver>: an error is reported to the guest, in place of ${name}="${value}"`,
        driver.place,
      );
    }
  }
  for (const name of NOT_OURS) {
    const value = driver.attribute(name);
    if (value === "on") problems.lacking(`<driver>: tsvm has no ${name}`, driver.place);
  }
}

function readFormat(disk: XmlElement, driver: XmlElement | undefined, problems: Problems): "raw" | "qcow2" {
  const type = driver?.attribute("type");
  if (type === "raw" || type === "qcow2") return type;
  if (type === undefined) {
    problems.warning(
      "<disk>: without <driver type=…> the image is taken as raw, as libvirt does",
      (driver ?? disk).place,
    );
  } else {
    problems.error(
      `<driver>: tsvm reads raw and qcow2 images, not ${type}`,
      driver!.place,
      "convert it: tsvm image convert OLD NEW.qcow2",
    );
  }
  return "raw";
}

function readTransient(disk: XmlElement, problems: Problems): boolean {
  const transient = disk.one("transient");
  if (transient?.attribute("shareBacking") === "yes") {
    problems.warning("<transient>: several machines may always read the image", transient.place);
  }
  return transient !== undefined;
}

function readSerial(disk: XmlElement, serial: string | undefined, problems: Problems): string | undefined {
  if (serial === undefined || /^[\x20-\x7e]{0,20}$/.test(serial)) return serial;
  problems.lacking(
    `<serial>: a virtio disk has at most 20 ASCII characters for "${serial}"`,
    disk.one("serial")!.place,
    "cuts it",
  );
  return serial.replaceAll(/[^\x20-\x7e]/g, "").slice(0, 20);
}

function readBootOrder(disk: XmlElement, problems: Problems): number | undefined {
  const boot = disk.one("boot");
  const order = boot?.attribute("order");
  boot?.skipAttributes("loadparm");
  if (boot === undefined || (order !== undefined && /^[1-9]\d{0,8}$/.test(order))) {
    return order === undefined ? undefined : Number(order);
  }
  problems.error(`<boot>: the order "${order ?? ""}" is no whole number from 1 on`, boot.place);
  return undefined;
}
