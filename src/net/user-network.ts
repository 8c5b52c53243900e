/** What a guest finds in user-mode networking: the addresses that QEMU's user network has too. */
export const USER_NETWORK = {
  address: "10.0.2.15",
  prefix: 24,
  gateway: "10.0.2.2",
  dns: "10.0.2.3",
  /** Bytes of payload in a frame. Large ones, since each costs the same: nothing of this ever is on a wire. */
  mtu: 65_520,
} as const;
