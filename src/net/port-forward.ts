/** Ports of the host that lead into a guest, and their short text form: that of `--publish` and of definition files. */

/** One port of the host that leads into the guest. */
export interface PortForward {
  /** `tcp` if left out. */
  protocol?: "tcp" | "udp";
  /** IPv4 or IPv6 address of the host on which to listen; all of them if left out. */
  address?: string;
  hostPort: number;
  guestPort: number;
}

/** `[ADDRESS:]HOST_PORT[:GUEST_PORT][/tcp|/udp]`, an IPv6 address in brackets. Whether the numbers are ports it does not say. */
export const PORT_FORWARD =
  /^(?:(?:\[([0-9A-Fa-f:.]+)\]|(\d+(?:\.\d+){3})):)?(\d{1,5})(?::(\d{1,5}))?(?:\/(tcp|udp|TCP|UDP))?$/;

/** A single port is the same on both sides. Undefined if `text` is no {@link PORT_FORWARD}. */
export function parsePortForward(text: string): PortForward | undefined {
  const match = PORT_FORWARD.exec(text);
  if (match === null) return undefined;
  const [, v6, v4, hostPort, guestPort = hostPort, protocol] = match;
  const address = v6 ?? v4;
  return {
    ...(protocol?.toLowerCase() === "udp" ? { protocol: "udp" as const } : {}),
    ...(address === undefined ? {} : { address }),
    hostPort: Number(hostPort),
    guestPort: Number(guestPort),
  };
}

/** Such as `127.0.0.1:5353:53/udp`; {@link parsePortForward} takes it back. */
export function formatPortForward({ protocol, address, hostPort, guestPort }: PortForward): string {
  const on = address === undefined ? "" : address.includes(":") ? `[${address}]:` : `${address}:`;
  return `${on}${hostPort}:${guestPort}${protocol === "udp" ? "/udp" : ""}`;
}
