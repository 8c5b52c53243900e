/** The vsock element. https://libvirt.org/formatdomain.html#vsock */
import { LARGEST_GUEST_CID, SMALLEST_GUEST_CID } from "../../devices/virtio/vsock/cid.ts";
import type { VsockDescription } from "../../machine/description.ts";
import { given } from "../given.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

const MODELS = ["virtio", "virtio-transitional", "virtio-non-transitional"];

export function readVsock(devices: XmlElement, problems: Problems): VsockDescription | undefined {
  const [vsock, ...more] = devices.all("vsock");
  for (const another of more) {
    another.skipContent();
    problems.error("<vsock>: a machine has one", another.place);
  }
  if (vsock === undefined) return undefined;
  const model = vsock.attribute("model") ?? "virtio";
  if (!MODELS.includes(model)) {
    problems.lacking(`<vsock>: the model ${model} is not virtio`, vsock.place, "makes it virtio");
  }
  vsock.skip("address", "alias", "driver", "acpi");
  return given({ cid: readCid(vsock, problems) });
}

/** libvirt looks for a free one if it may; guests of tsvm do not see each other's. */
function readCid(vsock: XmlElement, problems: Problems): number | undefined {
  const cid = vsock.one("cid");
  const auto = cid?.attribute("auto") === "yes";
  const address = cid?.attribute("address");
  if (cid === undefined || auto || address === undefined) return undefined;
  const value = /^\d+$/.test(address) ? Number(address) : NaN;
  if (value >= SMALLEST_GUEST_CID && value <= LARGEST_GUEST_CID) return value;
  problems.error(
    `<cid>: ${address} is not a whole number from ${SMALLEST_GUEST_CID} to ${LARGEST_GUEST_CID}`,
    cid.place,
  );
  return undefined;
}

export function writeVsock({ cid, path }: VsockDescription, problems: Problems): object {
  if (path !== undefined) {
    problems.lacking("vsock: libvirt's XML has no words for the path of its unix socket", {
      element: "vsock",
    });
  }
  return {
    $: { model: "virtio" },
    cid: { $: cid === undefined ? { auto: "yes" } : { auto: "no", address: cid } },
  };
}
