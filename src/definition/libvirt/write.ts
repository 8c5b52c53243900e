/** A definition as libvirt domain XML, which `virt-xml-validate` accepts. What cannot be said is told. */
import type { DiskDescription } from "../../machine/description.ts";
import type { VmDefinition } from "../definition.ts";
import { joinCommandLine } from "../kernel-parameters.ts";
import { tellUnsaid } from "../unsaid.ts";
import type { Problems } from "../problems.ts";
import { writeBalloon } from "./balloon.ts";
import { writeInterface } from "./interfaces.ts";
import { writeIoTune } from "./io-tune.ts";
import { writeMetadata } from "./metadata.ts";
import { writeVsock } from "./vsock.ts";
import { xml2js } from "./xml2js.ts";

/** The format of every disk must be known. */
export function writeLibvirt(definition: VmDefinition, problems: Problems): string {
  const { name, uuid, title, description, machine, restart } = definition;
  tellUnsaid(definition, "libvirt's XML", ["command", "root", "bootEntry", "hugePages", "agent"], problems);
  const {
    cpus,
    memory,
    kernel,
    disks = [],
    networks = [],
    hugePages,
    vsock,
    console,
    acpi,
    balloon,
  } = machine;
  if (disks.length > 26) problems.error(`${disks.length} disks are more than there are letters`);
  const metadata = writeMetadata(definition);
  const always = restart?.policy === "always" || restart?.policy === "unless-stopped";
  const givenUp = balloon === undefined || balloon === false ? 0 : (balloon.size ?? 0);
  const domain = {
    $: { type: "kvm" },
    name,
    ...(uuid === undefined ? {} : { uuid }),
    ...(title === undefined ? {} : { title }),
    ...(description === undefined ? {} : { description }),
    ...(metadata === undefined ? {} : { metadata }),
    memory: { $: { unit: "KiB" }, _: memory / 1024 },
    ...(givenUp === 0
      ? {}
      : { currentMemory: { $: { unit: "KiB" }, _: Math.ceil((memory - givenUp) / 1024) } }),
    ...(hugePages === "hugetlb"
      ? { memoryBacking: { hugepages: { page: { $: { size: 2048, unit: "KiB" } } } } }
      : {}),
    vcpu: cpus,
    os: writeOs(definition, problems),
    features: { ...(acpi === false ? {} : { acpi: {} }), apic: {} },
    cpu: { $: { mode: "host-passthrough" } },
    clock: { $: { offset: "utc" } },
    on_poweroff: always ? "restart" : "destroy",
    on_reboot: "restart",
    on_crash: always || restart?.policy === "on-failure" ? "restart" : "destroy",
    devices: {
      ...(disks.length === 0
        ? {}
        : { disk: disks.map((disk, index) => writeDisk(disk, index, kernel !== undefined)) }),
      ...(networks.length === 0
        ? {}
        : { interface: networks.map((network, index) => writeInterface(network, index, problems)) }),
      serial: { $: { type: "pty" }, target: { $: { port: 0 } } },
      console: {
        $: { type: "pty" },
        target: { $: { type: console === "virtio" ? "virtio" : "serial", port: 0 } },
      },
      ...(vsock === undefined ? {} : { vsock: writeVsock(vsock, problems) }),
      ...(balloon === undefined
        ? {}
        : { memballoon: balloon === false ? { $: { model: "none" } } : writeBalloon(balloon) }),
      rng: { $: { model: "virtio" }, backend: { $: { model: "random" }, _: "/dev/urandom" } },
    },
  };
  const { Builder } = xml2js();
  const builder = new Builder({
    rootName: "domain",
    headless: true,
    renderOpts: { pretty: true, indent: "  ", newline: "\n" },
  });
  return `${builder.buildObject(domain)}\n`;
}

function writeOs({ machine }: VmDefinition, problems: Problems): object {
  const { kernel, initrd, append, disks = [], rootDevice } = machine;
  const type = { $: { arch: "x86_64" }, _: "hvm" };
  if (kernel !== undefined) {
    return { type, kernel, ...(initrd === undefined ? {} : { initrd }), cmdline: joinCommandLine(machine) };
  }
  if (machine.kernelSource === "bundled" || disks.length === 0 || machine.command !== undefined) {
    problems.error(
      "libvirt's XML cannot name the bundled kernel",
      { element: "kernel" },
      "give the VM a kernel, or boot the one of a disk",
    );
  }
  const unsaid = { initrd, append, rootDevice };
  for (const [key, value] of Object.entries(unsaid)) {
    if (value !== undefined)
      problems.lacking(`${key}: libvirt's XML has it only together with a kernel`, { element: key });
  }
  return {
    type,
    ...(disks.some(({ bootOrder }) => bootOrder !== undefined) ? {} : { boot: { $: { dev: "hd" } } }),
  };
}

function writeDisk(disk: DiskDescription, index: number, ownKernel: boolean): object {
  const { path, readOnly, ephemeral, overlay, format = "raw", serial, cache, rateLimits, bootOrder } = disk;
  const block = path.startsWith("/dev/");
  const tune = rateLimits === undefined ? {} : writeIoTune(rateLimits);
  return {
    $: { type: block ? "block" : "file", device: "disk" },
    driver: { $: { name: "qemu", type: format, ...(cache === undefined ? {} : { cache }) } },
    source: { $: block ? { dev: path } : { file: path } },
    target: { $: { dev: `vd${String.fromCharCode(0x61 + index)}`, bus: "virtio" } },
    ...(Object.keys(tune).length === 0 ? {} : { iotune: tune }),
    ...(readOnly === true ? { readonly: {} } : {}),
    ...(overlay === true || ephemeral === true ? { transient: {} } : {}),
    ...(serial === undefined ? {} : { serial }),
    ...(bootOrder === undefined || ownKernel ? {} : { boot: { $: { order: bootOrder } } }),
  };
}
