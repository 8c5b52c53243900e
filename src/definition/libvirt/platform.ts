/** features, clock, pm, and what limits or binds a machine on its host. */
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

export function readPlatform(domain: XmlElement, problems: Problems): { acpi: false | undefined } {
  readClock(domain, problems);
  readPowerManagement(domain, problems);
  readHostSide(domain, problems);
  return { acpi: readFeatures(domain, problems) };
}

/** What tsvm's machine has, or lacks, in any case: each with the state in which nothing need be said. */
const FEATURES: Readonly<Record<string, "on" | "off" | "any">> = {
  apic: "on",
  pae: "on",
  pvspinlock: "any",
  vmport: "off",
  smm: "off",
  ioapic: "any",
  hap: "any",
  pmu: "on",
};

/** `false` where features are listed and acpi is not among them; otherwise tsvm decides. */
function readFeatures(domain: XmlElement, problems: Problems): false | undefined {
  const features = domain.one("features");
  if (features === undefined) {
    problems.warning(
      "no <features>: the guest gets ACPI tables nevertheless, as its kernel may need them to find its disks",
      domain.place,
    );
    return undefined;
  }
  const acpi = features.one("acpi") !== undefined;
  for (const feature of [...features.children]) {
    const normal = Object.hasOwn(FEATURES, feature.name) ? FEATURES[feature.name] : undefined;
    if (feature.name === "acpi") continue;
    features.skip(feature.name);
    const state = feature.attribute("state") ?? "on";
    if (normal === "any" || normal === state) continue;
    problems.lacking(
      `<${feature.name}>: tsvm's machine has no such feature${normal === undefined ? "" : ` in the state ${state}`}`,
      feature.place,
    );
  }
  return acpi ? undefined : false;
}

function readClock(domain: XmlElement, problems: Problems): void {
  const clock = domain.one("clock");
  if (clock === undefined) return;
  const offset = clock.attribute("offset") ?? "utc";
  if (offset !== "utc") {
    clock.skipAttributes("adjustment", "basis", "timezone", "start");
    problems.lacking(
      `<clock>: the clock of tsvm's machine shows UTC, not ${offset}`,
      clock.place,
      "lets it show UTC",
    );
  }
  for (const timer of clock.all("timer")) readTimer(timer, problems);
}

function readTimer(timer: XmlElement, problems: Problems): void {
  const name = timer.attribute("name") ?? "";
  const present = timer.attribute("present");
  const policy = timer.attribute("tickpolicy");
  const absent = ["hpet", "hypervclock", "armvtimer", "platform"].includes(name);
  if (absent) {
    if (present !== "no") problems.lacking(`<timer>: tsvm's machine has no ${name}`, timer.place);
    timer.skipContent();
    return;
  }
  if (present === "no") problems.lacking(`<timer>: tsvm's machine always has its ${name}`, timer.place);
  // KVM's own timer makes up for lost ticks as "delay" says, and our RTC has none to lose.
  const usual = name === "pit" ? "delay" : name === "rtc" ? "catchup" : undefined;
  if (policy !== undefined && policy !== usual) {
    problems.warning(`<timer>: ticks of the ${name} are not treated as "${policy}" says`, timer.place);
  }
  timer.skipAttributes("track");
}

function readPowerManagement(domain: XmlElement, problems: Problems): void {
  const pm = domain.one("pm");
  for (const name of ["suspend-to-mem", "suspend-to-disk"]) {
    const element = pm?.one(name);
    if (element?.attribute("enabled") === "yes")
      problems.warning(`<${name}>: tsvm's machine cannot sleep`, element.place);
  }
}

/** Each costs or saves the host something; the guest sees no difference but in speed. */
const LIMITS = ["cputune", "memtune", "blkiotune", "numatune", "throttlegroups"];
/** What libvirt notes of how it runs the emulator. */
const BOOKKEEPING = ["resource", "iothreads", "iothreadids", "defaultiothread", "perf"];
/** What the guest would see. */
const GUEST_VISIBLE = ["sysinfo", "genid", "idmap", "launchSecurity", "keywrap"];

function readHostSide(domain: XmlElement, problems: Problems): void {
  const each = (names: readonly string[], tell: (element: XmlElement) => void): void => {
    for (const name of names) {
      for (const element of domain.all(name)) {
        element.skipContent();
        tell(element);
      }
    }
  };
  each(LIMITS, (element) =>
    problems.lacking(
      `<${element.name}>: tsvm does not limit or bind what a VM uses of its host`,
      element.place,
    ),
  );
  each(BOOKKEEPING, (element) => problems.warning(`<${element.name}>: means nothing to tsvm`, element.place));
  each(GUEST_VISIBLE, (element) =>
    problems.lacking(`<${element.name}>: tsvm's machine has no such thing`, element.place),
  );
  each(["qemu:commandline", "qemu:override", "qemu:capabilities", "qemu:deprecation"], (element) =>
    problems.lacking(`<${element.name}>: tsvm is not QEMU`, element.place),
  );
}
