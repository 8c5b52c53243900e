/** serial, console, parallel, channel. https://libvirt.org/formatdomain.html#consoles-serial-parallel-channel-devices */
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

/** tsvm shows the console itself: on the terminal, in a pipe, or kept for those who attach later. */
const SHOWN = ["pty", "stdio", "null"];

/** The machine has one serial port in any case; `virtio` if a console is a virtio one. */
export function readCharacterDevices(devices: XmlElement, problems: Problems): "virtio" | undefined {
  for (const [index, serial] of devices.all("serial").entries()) {
    readBackend(serial, problems);
    const target = serial.one("target");
    const type = target?.attribute("type") ?? "isa-serial";
    target?.skipAttributes("port");
    const model = target?.one("model")?.attribute("name");
    if (type !== "isa-serial" || (model !== undefined && model !== "isa-serial")) {
      problems.lacking(
        `<serial>: tsvm's serial port is a 16550A, not ${model ?? type}`,
        serial.place,
        "makes it one",
      );
    } else if (index > 0) {
      problems.lacking("<serial>: tsvm's machine has one serial port", serial.place);
    }
  }
  const kinds = devices.all("console").map((console) => readConsole(console, problems));
  for (const parallel of devices.all("parallel")) {
    parallel.skipContent();
    problems.lacking("<parallel>: tsvm has no parallel port", parallel.place);
  }
  for (const channel of devices.all("channel")) readChannel(channel, problems);
  return kinds.includes("virtio") ? "virtio" : undefined;
}

function readConsole(console: XmlElement, problems: Problems): string {
  readBackend(console, problems);
  const target = console.one("target");
  const type = target?.attribute("type") ?? "serial";
  target?.skipAttributes("port");
  if (type !== "serial" && type !== "virtio") {
    problems.lacking(`<console>: tsvm has no console of the type ${type}`, console.place);
  }
  return type;
}

function readBackend(device: XmlElement, problems: Problems): void {
  const type = device.attribute("type") ?? "pty";
  device.skipAttributes("tty");
  device.skip("address", "alias", "acpi");
  const source = device.one("source");
  const protocol = device.one("protocol");
  source?.skipContent();
  protocol?.skipContent();
  if (!SHOWN.includes(type)) {
    const path = source?.attribute("path");
    problems.lacking(
      `<${device.name}>: tsvm shows and keeps the console itself, it does not go to ${type}${path === undefined ? "" : ` ${path}`}`,
      device.place,
      "shows it as any console",
    );
  }
  const log = device.one("log");
  if (log === undefined) return;
  log.skipContent();
  problems.lacking(`<log>: tsvm does not write the console to a file of your choice`, log.place);
}

/** The other ends of these are agents that a guest can do without. */
const AGENTS = [
  "org.qemu.guest_agent.0",
  "com.redhat.spice.0",
  "org.spice-space.webdav.0",
  "org.libguestfs.channel.0",
];

function readChannel(channel: XmlElement, problems: Problems): void {
  const name = channel.one("target")?.attribute("name") ?? "";
  const type = channel.attribute("type") ?? "";
  channel.skipContent();
  const message = `<channel>: left out, as tsvm has no channels (${name === "" ? type : name})`;
  if (AGENTS.includes(name) || type === "spicevmc") problems.warning(message, channel.place);
  else problems.lacking(message, channel.place);
}
