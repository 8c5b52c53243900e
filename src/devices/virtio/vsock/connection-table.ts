/** The connections of a device by their two ports, which together are what tells them apart. */

/** Ports that the host gives to its connections: as Firecracker, from 2^30 on, where no service is. */
const FIRST_HOST_PORT = 2 ** 30;
const LAST_HOST_PORT = 2 ** 31 - 1;

interface Ported {
  readonly hostPort: number;
  readonly guestPort: number;
}

export class ConnectionTable<C extends Ported> {
  readonly #byGuestPort = new Map<number, Map<number, C>>();
  #nextPort = FIRST_HOST_PORT;

  get(hostPort: number, guestPort: number): C | undefined {
    return this.#byGuestPort.get(guestPort)?.get(hostPort);
  }

  add(connection: C): void {
    const { hostPort, guestPort } = connection;
    let there = this.#byGuestPort.get(guestPort);
    if (there === undefined) this.#byGuestPort.set(guestPort, (there = new Map<number, C>()));
    there.set(hostPort, connection);
  }

  delete({ hostPort, guestPort }: C): void {
    const there = this.#byGuestPort.get(guestPort);
    if (there?.delete(hostPort) === true && there.size === 0) this.#byGuestPort.delete(guestPort);
  }

  /** A host port that no connection to `guestPort` has. Not one of those that were used last: the guest may remember them. */
  freeHostPort(guestPort: number): number {
    const taken = this.#byGuestPort.get(guestPort);
    for (;;) {
      const port = this.#nextPort;
      this.#nextPort = port === LAST_HOST_PORT ? FIRST_HOST_PORT : port + 1;
      if (taken?.has(port) !== true) return port;
    }
  }
}
