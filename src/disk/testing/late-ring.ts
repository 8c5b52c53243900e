import { IORING_OP_FSYNC, IORING_OP_READV, type Ring } from "../../ffi/io-uring.ts";
import { errno, fdatasync, preadv, pwritev } from "../../ffi/libc.ts";
import type { Random } from "./random.ts";

interface Entry {
  readonly opcode: number;
  readonly fd: number;
  readonly address: number;
  readonly length: number;
  readonly offset: number;
  readonly token: number;
}

/**
 * A ring whose kernel does everything as late as it can, in any order: a transfer happens when its result is taken. Some
 * happen only when somebody waits for them.
 */
export class LateRing implements Ring {
  readonly fd = -1;
  readonly #random: Random;
  readonly #soon: Entry[] = [];
  readonly #veryLate: Entry[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  get pending(): number {
    return this.#soon.length + this.#veryLate.length;
  }

  push(opcode: number, fd: number, address: number, length: number, offset: number, token: number): void {
    // A flush may hold up everything else, and with that the disorder.
    const veryLate = opcode !== IORING_OP_FSYNC && this.#random.below(3) === 0;
    const list = veryLate ? this.#veryLate : this.#soon;
    list.push({ opcode, fd, address, length, offset, token });
  }

  submit(): void {
    // The kernel has it, and waits.
  }

  wait(): void {
    this.#soon.push(...this.#veryLate.splice(0));
  }

  reap(completion: (token: number, result: number) => void): number {
    const some = this.#random.below(Math.min(this.#soon.length, 4) + 1);
    for (let count = 0; count < some; count++) {
      const [entry] = this.#soon.splice(this.#random.below(this.#soon.length), 1);
      completion(entry!.token, execute(entry!));
    }
    return some;
  }

  close(): void {
    // Nothing is open.
  }
}

function execute({ opcode, fd, address, length, offset }: Entry): number {
  const call = opcode === IORING_OP_READV ? preadv : pwritev;
  const result = opcode === IORING_OP_FSYNC ? fdatasync(fd) : call(fd, address, length, offset);
  return result < 0 ? -errno() : result;
}
