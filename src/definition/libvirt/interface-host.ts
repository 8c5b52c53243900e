/** The host's side of interface elements: what they lead to. */
import type { NetworkDescription } from "../../machine/description.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

const INSTEAD = "makes it user-mode networking";

export type HostSide = Pick<NetworkDescription, "type" | "tap">;

/** Undefined for an interface that tsvm has nothing like, which is told. */
export function readHostSide(element: XmlElement, problems: Problems): HostSide | undefined {
  const type = element.attribute("type");
  const source = element.one("source");
  switch (type) {
    case "user":
      return readUser(element, source, problems);
    case "ethernet":
      return readEthernet(element, source, problems);
    case "network":
    case "bridge":
    case "direct":
      return readMadeByLibvirt(element, type, source, problems);
    case undefined:
      problems.error("<interface> has no type", element.place, "write <interface type='user'>");
      return undefined;
    default:
      problems.lacking(
        `<interface>: tsvm has no interfaces of the type ${type}, only user and ethernet`,
        element.place,
      );
      return undefined;
  }
}

function readUser(element: XmlElement, source: XmlElement | undefined, problems: Problems): HostSide {
  const backend = element.one("backend");
  const type = backend?.attribute("type") ?? "default";
  const logFile = backend?.attribute("logFile");
  const device = source?.attribute("dev");
  // libvirt's name for its end.
  element.skip("target");
  if (type !== "passt") {
    problems.warning(
      "<interface>: the guest does not reach the host's loopback at 10.0.2.2, as it does with SLIRP",
      element.place,
    );
  }
  if (logFile !== undefined)
    problems.warning("<backend>: tsvm itself tells what is wrong with passt", backend!.place);
  if (device !== undefined) {
    problems.lacking(
      `<source>: connections leave by the host's routes, not by ${device} alone`,
      source!.place,
      "lets them",
    );
  }
  for (const ip of element.all("ip")) {
    const address = ip.attribute("address") ?? "";
    ip.skipContent();
    if (address !== "10.0.2.15")
      problems.lacking(`<ip>: the guest is 10.0.2.15, not ${address}`, ip.place, "gives it that");
  }
  tellRoutes(element, problems);
  return { type: "user" };
}

function readEthernet(element: XmlElement, source: XmlElement | undefined, problems: Problems): HostSide {
  const target = element.one("target");
  const tap = target?.attribute("dev");
  const managed = target?.attribute("managed") ?? "yes";
  tellBackend(element, problems);
  if (source !== undefined) {
    const empty = source.children.length === 0;
    source.skipContent();
    if (!empty) problems.lacking("<source>: tsvm sets up nothing on the host's side", source.place);
  }
  for (const ip of element.all("ip")) {
    ip.skipContent();
    problems.lacking("<ip>: with a tap device the guest sets its own addresses", ip.place);
  }
  tellRoutes(element, problems);
  for (const name of ["script", "downscript"]) {
    const script = element.one(name);
    const path = script?.attribute("path") ?? "";
    // QEMU's way to say that there is none.
    if (path !== "" && path !== "no") problems.lacking(`<${name}>: tsvm runs no scripts`, script!.place);
  }
  if (tap === undefined || tap === "") {
    problems.lacking(
      "<interface>: tsvm makes no tap devices, and there is no <target dev=…> with the name of one",
      element.place,
      INSTEAD,
    );
    return { type: "user" };
  }
  if (managed !== "no") {
    problems.warning(`<target>: tsvm makes no tap devices: ${tap} must be there already`, target!.place);
  }
  return { type: "tap", tap };
}

function readMadeByLibvirt(
  element: XmlElement,
  type: string,
  source: XmlElement | undefined,
  problems: Problems,
): HostSide {
  const name = source?.attribute(type === "direct" ? "dev" : type) ?? "";
  const device = type === "direct" ? "macvtap devices" : "tap devices";
  problems.lacking(
    `<interface>: tsvm makes no ${device}, which the type ${type} (${name}) needs`,
    element.place,
    INSTEAD,
  );
  // What libvirt notes of a running machine, and where on the host it leads.
  source?.skipAttributes("network", "bridge", "dev", "mode", "portid");
  element.skip("target");
  tellBackend(element, problems);
  const group = source?.attribute("portgroup");
  if (group !== undefined)
    problems.lacking(`<source>: tsvm's networks have no port groups (${group})`, source!.place);
  return { type: "user" };
}

/** Paths of devices. */
function tellBackend(element: XmlElement, problems: Problems): void {
  const backend = element.one("backend");
  const paths = [backend?.attribute("tap"), backend?.attribute("vhost")].filter((path) => path !== undefined);
  if (paths.length > 0)
    problems.warning(`<backend>: tsvm opens /dev/net/tun, not ${paths.join(" and ")}`, backend!.place);
}

function tellRoutes(element: XmlElement, problems: Problems): void {
  for (const route of element.all("route")) {
    route.skipContent();
    problems.lacking("<route>: tsvm sets no routes of a guest that boots by itself", route.place);
  }
}
