/** memory, vcpu, cpu: https://libvirt.org/formatdomain.html#cpu-allocation and what follows there. */
import type { MachineDescription } from "../../machine/description.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

/** `k` and `KiB` are 1024 bytes, `KB` are 1000; KiB without a unit. */
const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1e3,
  k: 2 ** 10,
  KiB: 2 ** 10,
  MB: 1e6,
  M: 2 ** 20,
  MiB: 2 ** 20,
  GB: 1e9,
  G: 2 ** 30,
  GiB: 2 ** 30,
  TB: 1e12,
  T: 2 ** 40,
  TiB: 2 ** 40,
};

const NO_MATTER = 2 ** 30;

/** `balloon` is what the domain says of the device; what the guest is to have of its memory stands beside the memory. */
export function readMemory(
  domain: XmlElement,
  balloon: MachineDescription["balloon"],
  problems: Problems,
): Pick<MachineDescription, "memory" | "hugePages" | "balloon"> {
  const memory = domain.one("memory");
  const current = domain.one("currentMemory");
  const most = domain.one("maxMemory");
  // Whether guest memory is in a core dump of the emulator.
  memory?.skipAttributes("dumpCore");
  const bytes = memory === undefined ? undefined : readSize(memory, problems);
  const now = current === undefined ? undefined : readSize(current, problems);
  if (most !== undefined) {
    readSize(most, problems);
    most.skipAttributes("slots");
    problems.warning("<maxMemory>: the guest cannot be given more memory while it runs", most.place);
  }
  const hugePages = readBacking(domain, problems);
  const size = bytes ?? now;
  if (size === undefined) {
    if (memory === undefined && current === undefined) {
      problems.error(
        "the domain has no <memory>",
        domain.place,
        "say how much: <memory unit='MiB'>512</memory>",
      );
    }
    // There is an error already: nothing else is to be said of its memory.
    return { memory: NO_MATTER };
  }
  const givenUp = now !== undefined && now < size ? size - now : 0;
  if (hugePages || balloon === false) {
    if (givenUp > 0) {
      const reason = hugePages ? "huge pages cannot be given up" : "without a balloon";
      problems.warning(`<currentMemory>: ${reason}, so the guest has all of <memory>`, current!.place);
    }
    return {
      memory: size,
      ...(hugePages ? { hugePages: "hugetlb" } : {}),
      ...(balloon === false ? { balloon } : {}),
    };
  }
  if (givenUp > 0) return { memory: size, balloon: { ...balloon, size: givenUp } };
  return { memory: size, ...(balloon === undefined ? {} : { balloon }) };
}

/** Bytes, whole pages of them as libvirt rounds up to KiB. */
function readSize(element: XmlElement, problems: Problems): number | undefined {
  const unit = element.attribute("unit") ?? "KiB";
  const text = element.text();
  const factor = Object.hasOwn(UNITS, unit) ? UNITS[unit] : undefined;
  if (factor === undefined) {
    problems.error(`<${element.name}>: "${unit}" is no unit`, element.place, "KiB, MiB or GiB are");
  } else if (!/^\d{1,15}$/.test(text)) {
    problems.error(`<${element.name}>: "${text}" is no whole number`, element.place);
  } else {
    return Math.ceil((Number(text) * factor) / 1024) * 1024;
  }
  return undefined;
}

/** Whether memory comes from huge pages. */
function readBacking(domain: XmlElement, problems: Problems): boolean {
  const backing = domain.one("memoryBacking");
  if (backing === undefined) return false;
  const huge = backing.one("hugepages");
  for (const page of huge?.all("page") ?? []) {
    const size = readPageSize(page, problems);
    if (size !== 2 ** 21)
      problems.lacking("<page>: tsvm has huge pages of 2 MiB only", page.place, "takes those");
  }
  // How the emulator gets its memory; the guest sees none of it.
  for (const name of ["nosharepages", "locked", "source", "access", "allocation", "discard"]) {
    const element = backing.one(name);
    if (element === undefined) continue;
    element.skipContent();
    problems.warning(`<${name}>: tsvm always takes shared, unlocked memory from a memfd`, element.place);
  }
  return huge !== undefined;
}

function readPageSize(page: XmlElement, problems: Problems): number {
  const unit = page.attribute("unit") ?? "KiB";
  const nodes = page.attribute("nodeset");
  if (nodes !== undefined) problems.lacking("<page>: tsvm has no NUMA nodes", page.place);
  return Number(page.attribute("size")) * (UNITS[unit] ?? NaN);
}

export function readVcpus(domain: XmlElement, problems: Problems): number {
  const element = domain.one("vcpu");
  const vcpus = domain.one("vcpus");
  if (vcpus !== undefined) {
    vcpus.skipContent();
    problems.warning("<vcpus>: all processors are there from the start", vcpus.place);
  }
  if (element === undefined) return 1;
  element.skipAttributes("placement");
  const set = element.attribute("cpuset");
  if (set !== undefined)
    problems.lacking(`<vcpu>: tsvm binds no processors (cpuset="${set}")`, element.place);
  const most = readCount(element, element.text(), problems);
  const current = element.attribute("current");
  if (current === undefined) return most;
  const now = readCount(element, current, problems);
  if (now < most)
    problems.warning(
      `<vcpu>: the guest has ${now} processors and cannot get more while it runs`,
      element.place,
    );
  return now;
}

function readCount(element: XmlElement, text: string, problems: Problems): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  problems.error(`<${element.name}>: "${text}" is no number of processors`, element.place);
  return 1;
}

/** The guest sees the host's processor, as one socket of cores. */
export function readCpuModel(domain: XmlElement, cpus: number, problems: Problems): void {
  const cpu = domain.one("cpu");
  if (cpu === undefined) return;
  // How libvirt makes sure of the model, and whether the machine may move to another host.
  cpu.skipAttributes("check", "migratable", "match");
  const mode = cpu.attribute("mode");
  const model = cpu.one("model");
  const vendor = cpu.one("vendor");
  model?.skipAttributes("fallback", "vendor_id");
  vendor?.text();
  const name = model?.text() ?? "";
  const passes =
    mode === undefined ? name === "" : ["host-passthrough", "host-model", "maximum"].includes(mode);
  if (!passes) {
    problems.lacking(
      `<cpu>: tsvm shows the guest the host's processor, not the model ${name === "" ? (mode ?? "") : name}`,
      cpu.place,
      "shows the host's",
    );
  }
  readTopology(cpu, cpus, problems);
  const cache = cpu.one("cache");
  if (cache !== undefined && cache.attribute("mode") !== "passthrough") {
    cache.skipContent();
    problems.warning("<cache>: the guest sees the host's caches", cache.place);
  }
  const features = cpu.all("feature");
  for (const feature of features) {
    const what = `${feature.attribute("name") ?? ""}`;
    const policy = feature.attribute("policy") ?? "require";
    // What the model consists of, when libvirt has written it out.
    if (mode === "host-model" || mode === "custom") continue;
    problems.lacking(
      `<feature>: tsvm does not change single features of the processor (${policy} ${what})`,
      feature.place,
    );
  }
}

function readTopology(cpu: XmlElement, cpus: number, problems: Problems): void {
  const topology = cpu.one("topology");
  if (topology === undefined) return;
  const number = (name: string): number => Number(topology.attribute(name) ?? "1");
  const [sockets, dies, clusters, cores, threads] = ["sockets", "dies", "clusters", "cores", "threads"].map(
    number,
  );
  if (
    sockets! * dies! * clusters! * cores! * threads! === cpus &&
    sockets === 1 &&
    dies === 1 &&
    threads === 1
  )
    return;
  problems.warning(`<topology>: the guest sees one socket with ${cpus} cores of one thread`, topology.place);
}
