/**
 * A virtio block device in this process, with a driver that does as little as a driver can: chains stand in guest memory once
 * and for all, and only the sector in their header changes.
 */
const HEADER_BYTES = 16;
const SECTOR = 512;
const PAGE = 4096;
const INDIRECT = 4;

export class BlockDeviceBench {
  #rig;
  #queue;
  #engine;
  #slots;

  /** `parts` are the classes; `length` is the size of each request in bytes, `depth` how many there are at a time. */
  constructor(parts, disk, { length, depth, write }) {
    const { Rig, VirtioBlk, blkModel, GuestMemory, IoEngine, monotonicNow: now } = parts;
    this.memory = GuestMemory.create(16 * 2 ** 20);
    this.#engine = IoEngine.create();
    this.#rig = new Rig(
      blkModel({ size: disk.size, readOnly: false }),
      this.memory,
      (state) =>
        new VirtioBlk(state, this.memory, disk, { readOnly: false, serial: "", engine: this.#engine, now }),
    );
    this.#queue = this.#rig.bringUp()[0];
    this.#slots = Array.from({ length: depth }, (_, slot) => {
      const header = this.#rig.allocate(HEADER_BYTES);
      this.#rig.ram.setUint32(header, write ? 1 : 0, true);
      const at = this.#rig.allocate(length, PAGE);
      const status = { gpa: this.#rig.allocate(1), length: 1, writable: true };
      // As Linux has it: a buffer for each page, in an indirect table.
      const pages = Array.from({ length: length / PAGE }, (_, page) => ({
        gpa: at + page * PAGE,
        length: PAGE,
        writable: !write,
      }));
      const segments = [{ gpa: header, length: HEADER_BYTES }, ...pages, status];
      const table = this.#rig.allocate(16 * segments.length);
      this.#queue.link(segments, 0, table, segments.length);
      this.#queue.setDescriptor(slot, { gpa: table, length: 16 * segments.length, flags: INDIRECT });
      return { header, status: status.gpa };
    });
  }

  /** Does a request at each of the first `depth` offsets, and waits for all. */
  round(offsets, first) {
    const { ram, backend } = this.#rig;
    for (const [slot, { header }] of this.#slots.entries()) {
      const sector = offsets[(first + slot) % offsets.length] / SECTOR;
      ram.setUint32(header + 8, sector, true);
      this.#queue.offer(slot);
    }
    while (backend.run(0));
    this.#engine?.drain();
    if (this.#queue.usedIndex !== (this.#queue.availIndex & 0xffff)) throw new Error("a request is missing");
    for (const { status } of this.#slots)
      if (ram.getUint8(status) !== 0) throw new Error("a request has failed");
  }

  /** Requests per second. */
  rate(offsets, milliseconds) {
    const start = performance.now();
    let done = 0;
    let elapsed = 0;
    while (elapsed < milliseconds) {
      for (let batch = 0; batch < 64; batch += this.#slots.length) this.round(offsets, done + batch);
      done += Math.ceil(64 / this.#slots.length) * this.#slots.length;
      elapsed = performance.now() - start;
    }
    return (1000 * done) / elapsed;
  }

  close() {
    this.#engine?.drain();
    this.#engine?.close();
    this.memory.release();
  }
}
