/** The os element: what is booted. https://libvirt.org/formatdomain.html#operating-system-booting */
import { given } from "../given.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

export interface Os {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly commandLine?: string;
}

export function readOs(domain: XmlElement, problems: Problems): Os {
  for (const name of ["bootloader", "bootloader_args"]) {
    const element = domain.one(name);
    element?.skipContent();
    if (element !== undefined)
      problems.lacking(`<${name}>: tsvm runs no boot loader of the host`, element.place);
  }
  const os = domain.one("os");
  if (os === undefined) {
    problems.error("the domain has no <os>", domain.place);
    return {};
  }
  readType(os, problems);
  readFirmware(os, problems);
  readBootDevices(os, problems);
  readLess(os, problems);
  return {
    ...given({
      kernel: readPath(os, "kernel", problems),
      initrd: readPath(os, "initrd", problems),
      commandLine: readCommandLine(os, problems),
    }),
  };
}

function readCommandLine(os: XmlElement, problems: Problems): string | undefined {
  const element = os.one("cmdline");
  if (element === undefined) return undefined;
  const without = os.children.every(({ name }) => name !== "kernel");
  if (without) problems.error("<cmdline> without a <kernel>", element.place);
  return element.text();
}

/** Relative paths are relative to the file, although libvirt has absolute ones only. */
function readPath(os: XmlElement, name: string, problems: Problems): string | undefined {
  const element = os.one(name);
  const path = element?.text();
  return path === undefined || path === "" ? undefined : problems.source.resolve(path);
}

function readType(os: XmlElement, problems: Problems): void {
  const type = os.one("type");
  // Machine types are boards of QEMU; ours has no name.
  type?.skipAttributes("machine");
  const arch = type?.attribute("arch");
  const kind = type?.text();
  if (type === undefined || kind !== "hvm") {
    problems.error(
      `<os>: the type ${kind ?? ""} is not hvm`,
      (type ?? os).place,
      "tsvm runs full virtual machines",
    );
  } else if (arch !== undefined && arch !== "x86_64") {
    problems.error(`<type>: tsvm has no machine of the architecture ${arch}`, type.place);
  }
}

function readFirmware(os: XmlElement, problems: Problems): void {
  const hint = "boots the kernel that the disk's boot configuration names, without firmware";
  const firmware = os.attribute("firmware");
  if (firmware === "efi") problems.lacking("<os>: tsvm has no firmware, so no UEFI", os.place, hint);
  else if (firmware !== undefined && firmware !== "bios") {
    problems.lacking(`<os>: tsvm has no firmware ${firmware}`, os.place, hint);
  }
  for (const name of ["loader", "nvram", "firmware"]) {
    for (const element of os.all(name)) {
      element.skipContent();
      problems.lacking(`<${name}>: tsvm has no firmware`, element.place, hint);
    }
  }
}

function readBootDevices(os: XmlElement, problems: Problems): void {
  const devices = os.all("boot");
  for (const [index, element] of devices.entries()) {
    const device = element.attribute("dev") ?? "";
    if (device === "hd") continue;
    const message = `<boot>: tsvm boots from disks only, not from ${device}`;
    // What comes after the disk would have been tried only if that cannot be booted.
    if (index > 0 && devices[0]!.attribute("dev") === "hd") problems.warning(message, element.place);
    else problems.lacking(message, element.place, "boots from the first disk");
  }
}

/** Menus and tables of firmware. */
function readLess(os: XmlElement, problems: Problems): void {
  for (const name of ["bootmenu", "bios"]) {
    for (const element of os.all(name)) {
      element.skipContent();
      problems.warning(`<${name}>: tsvm has no firmware that could have a menu`, element.place);
    }
  }
  for (const name of ["smbios", "acpi"]) {
    for (const element of os.all(name)) {
      element.skipContent();
      problems.lacking(`<${name}>: the tables of tsvm's machine cannot be replaced`, element.place);
    }
  }
}
