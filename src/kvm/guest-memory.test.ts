import fc from "fast-check";
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { GuestMemoryError } from "./errors.ts";
import { GuestMemory } from "./guest-memory.ts";
import { GiB, HOLE_END, HOLE_START, MiB } from "./memory-map.ts";

/** Two windows and a bit below the hole, two and a bit above: address space only, no memory until it is touched. */
const LARGE = 5 * GiB + 64 * 1024;
const END = LARGE + (HOLE_END - HOLE_START);

const small = GuestMemory.create(2 * MiB);
const large = GuestMemory.create(LARGE);
afterAll(() => {
  small.release();
  large.release();
});

/** Addresses of every kind: near each edge, anywhere, and not addresses at all. */
const edges = [
  0,
  GiB,
  2 * GiB,
  HOLE_START,
  HOLE_END,
  HOLE_END + GiB,
  END,
  2 * MiB,
  2 ** 32,
  2 ** 47,
  2 ** 53,
  2 ** 64,
];
const address = fc.oneof(
  fc.tuple(fc.constantFrom(...edges), fc.integer({ min: -20, max: 20 })).map(([edge, by]) => edge + by),
  fc.maxSafeNat(),
  fc.nat(2 * MiB),
  fc.double(),
  fc.constantFrom(NaN, Infinity, -Infinity, -0, 0.5, -1),
);
const length = fc.oneof(fc.nat(40), fc.nat(LARGE + 10), address);

describe("discarding memory", () => {
  const PAGE = 4096;

  it("gives pages back, on both sides of the hole, and nothing else", () => {
    const memory = GuestMemory.create(HOLE_START + 16 * PAGE);
    try {
      const resident = (): number => fstatSync(memory.plan.fd).blocks * 512;
      const low = HOLE_START - 2 * PAGE;
      for (const gpa of [low, low + PAGE, HOLE_END, HOLE_END + PAGE]) memory.setUint8(gpa, 1);
      const before = resident();
      expect(memory.discard(low + PAGE, PAGE)).toBe(PAGE);
      expect(memory.discard(HOLE_END, PAGE)).toBe(PAGE);
      expect(before - resident()).toBe(2 * PAGE);
      expect([low, low + PAGE, HOLE_END, HOLE_END + PAGE].map((gpa) => memory.getUint8(gpa))).toEqual([
        1, 0, 0, 1,
      ]);
    } finally {
      memory.release();
    }
  });

  it("takes of a range what is RAM", () => {
    const memory = GuestMemory.create(HOLE_START + 16 * PAGE);
    try {
      memory.setUint8(HOLE_START - PAGE, 1);
      memory.setUint8(HOLE_END + 15 * PAGE, 1);
      expect(memory.discard(HOLE_START - PAGE, HOLE_END - HOLE_START + 100 * PAGE)).toBe(17 * PAGE);
      expect(memory.discard(HOLE_START, PAGE)).toBe(0);
      expect(memory.getUint8(HOLE_START - PAGE) + memory.getUint8(HOLE_END + 15 * PAGE)).toBe(0);
      expect(fstatSync(memory.plan.fd).size).toBe(memory.size);
    } finally {
      memory.release();
    }
  });

  it("says so where the host does not take it", () => {
    const memory = new GuestMemory({ fd: -1, hostAddress: 2 ** 40, size: MiB });
    expect(memory.discard(0, PAGE)).toBe(-1);
  });
});

describe("hostAddress", () => {
  it("never lies outside the mapping, nor across the hole (property)", () => {
    fc.assert(
      fc.property(fc.constantFrom(small, large), address, length, (memory, gpa, bytes) => {
        const host = memory.hostAddress(gpa, bytes);
        expect(memory.contains(gpa, bytes)).toBe(host !== -1);
        if (host === -1) return;
        const { hostAddress, size } = memory.plan;
        expect(bytes).toBeGreaterThanOrEqual(0);
        expect(host).toBeGreaterThanOrEqual(hostAddress);
        expect(host + bytes).toBeLessThanOrEqual(hostAddress + size);
        const below = gpa + bytes <= HOLE_START;
        expect(below || gpa >= HOLE_END).toBe(true);
        expect(host === hostAddress + (below ? gpa : gpa - (HOLE_END - HOLE_START))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("is found for exactly the ranges that are RAM (property)", () => {
    fc.assert(
      fc.property(fc.nat(END + 10), fc.nat(8192), (gpa, bytes) => {
        const ram =
          gpa + bytes <= HOLE_START ? gpa < HOLE_START : gpa >= HOLE_END && gpa < END && gpa + bytes <= END;
        expect(large.contains(gpa, bytes)).toBe(ram);
      }),
      { numRuns: 1000 },
    );
  });

  it("refuses what no range of RAM can be", () => {
    for (const gpa of [
      NaN,
      Infinity,
      -Infinity,
      -1,
      -0.5,
      2 ** 53,
      2 ** 53 + 2,
      2 ** 64 - 4096,
      2 ** 64,
      END,
      HOLE_START,
    ]) {
      expect(large.hostAddress(gpa, 1)).toBe(-1);
      expect(large.hostAddress(gpa, 0)).toBe(-1);
    }
    for (const bytes of [NaN, Infinity, -1, -0.5, LARGE + 1, 2 ** 53, 2 ** 64]) {
      expect(large.hostAddress(0, bytes)).toBe(-1);
    }
    expect(large.hostAddress(HOLE_START - 1, 2)).toBe(-1);
    expect(large.hostAddress(HOLE_END - 1, 2)).toBe(-1);
    expect(large.hostAddress(END - 1, 2)).toBe(-1);
  });

  it("takes what is just inside, and zero bytes of RAM", () => {
    const { hostAddress } = large.plan;
    expect(large.hostAddress(0, HOLE_START)).toBe(hostAddress);
    expect(large.hostAddress(HOLE_START - 1, 1)).toBe(hostAddress + HOLE_START - 1);
    expect(large.hostAddress(HOLE_END, END - HOLE_END)).toBe(hostAddress + HOLE_START);
    expect(large.hostAddress(END - 1, 1)).toBe(hostAddress + LARGE - 1);
    expect(large.hostAddress(12345, 0)).toBe(hostAddress + 12345);
  });
});

describe("reads and writes", () => {
  it("of scalars agree with the bytes around every window and region edge", () => {
    for (const edge of [0, GiB, 2 * GiB, HOLE_START, HOLE_END, HOLE_END + GiB, END]) {
      for (let gpa = edge - 12; gpa < edge + 12; gpa++) {
        if (!large.contains(gpa, 1)) {
          expect(() => large.getUint8(gpa)).toThrow(GuestMemoryError);
          expect(() => large.setUint8(gpa, 1)).toThrow(GuestMemoryError);
          continue;
        }
        large.setUint8(gpa, (gpa * 7 + 3) & 0xff);
        expect(large.read(gpa, 1)[0]).toBe((gpa * 7 + 3) & 0xff);
      }
      for (let gpa = edge - 12; gpa < edge + 12; gpa++) {
        for (const [bytes, get] of [
          [1, () => large.getUint8(gpa)],
          [2, () => large.getUint16(gpa)],
          [4, () => large.getUint32(gpa)],
        ] as const) {
          if (!large.contains(gpa, bytes)) expect(get).toThrow(GuestMemoryError);
          else {
            const raw = Buffer.from(large.read(gpa, bytes));
            expect(get()).toBe(raw.readUIntLE(0, bytes));
          }
        }
      }
    }
  });

  it("of bytes cross window edges, and refuse to cross the hole", () => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, index) => index * 13);
    for (const gpa of [
      GiB - 2500,
      2 * GiB - 1,
      HOLE_START - 5000,
      HOLE_END,
      HOLE_END + GiB - 100,
      END - 5000,
    ]) {
      large.write(gpa, bytes);
      expect(Buffer.compare(large.read(gpa, bytes.length), bytes)).toBe(0);
    }
    for (const gpa of [HOLE_START - 4999, HOLE_END - 1, END - 4999, -1, NaN, 2 ** 53]) {
      expect(() => large.write(gpa, bytes)).toThrow(GuestMemoryError);
      expect(() => large.read(gpa, bytes.length)).toThrow(GuestMemoryError);
      expect(() => large.viewOf(gpa, bytes.length)).toThrow(GuestMemoryError);
    }
  });

  it("of nothing touch nothing", () => {
    small.write(0, new Uint8Array(0));
    expect(small.read(0, 0).length).toBe(0);
    expect(small.viewOf(0, 0).length).toBe(0);
  });

  it("through two objects over one plan are the same memory", () => {
    const other = new GuestMemory(structuredClone(small.plan));
    small.setUint8(777, 42);
    expect(other.getUint8(777)).toBe(42);
    other.viewOf(1000, 4).set([1, 2, 3, 4]);
    expect(small.getUint32(1000)).toBe(0x0403_0201);
  });

  it("give copies with read, and live views with viewOf", () => {
    small.write(2000, Uint8Array.of(1));
    const copy = small.read(2000, 1);
    const live = small.viewOf(2000, 1);
    small.setUint8(2000, 9);
    expect([copy[0], live[0]]).toEqual([1, 9]);
  });
});

describe("compareExchange64", () => {
  it("exchanges only what it expected, up to the last bytes of each window", () => {
    for (const gpa of [0, GiB - 8, GiB, HOLE_START - 8, HOLE_END, END - 8]) {
      large.write(gpa, new Uint8Array(8));
      expect(large.compareExchange64(gpa, 1n, 5n)).toBe(0n);
      expect(large.compareExchange64(gpa, 0n, 2n ** 64n - 2n)).toBe(0n);
      expect(large.compareExchange64(gpa, 0n, 3n)).toBe(2n ** 64n - 2n);
      expect(Buffer.from(large.read(gpa, 8)).readBigUInt64LE()).toBe(2n ** 64n - 2n);
    }
  });

  it("refuses addresses that are not aligned or not RAM", () => {
    for (const gpa of [1, 4, GiB - 4, GiB + 7])
      expect(() => large.compareExchange64(gpa, 0n, 1n)).toThrow(RangeError);
    for (const gpa of [HOLE_START - 4, HOLE_START, END - 4, END, -8, NaN]) {
      expect(() => large.compareExchange64(gpa, 0n, 1n)).toThrow(GuestMemoryError);
    }
  });
});

describe("readFile", () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-memory-"));
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  const content = Uint8Array.from({ length: 3000 }, (_, index) => index * 11);
  writeFileSync(join(directory, "file"), content);

  const withFile = (use: (fd: number) => void): void => {
    const fd = openSync(join(directory, "file"), "r");
    try {
      use(fd);
    } finally {
      closeSync(fd);
    }
  };

  it("reads part of a file into the guest, and nothing around it", () => {
    withFile((fd) => {
      small.viewOf(0, 8192).fill(0xee);
      small.readFile(100, fd, 1000, 2000);
      const seen = small.read(0, 8192);
      expect(seen.subarray(100, 2100)).toEqual(content.subarray(1000));
      expect(seen.subarray(0, 100).every((byte) => byte === 0xee)).toBe(true);
      expect(seen.subarray(2100).every((byte) => byte === 0xee)).toBe(true);
      large.readFile(GiB - 1500, fd, 0, 3000);
      expect(large.read(GiB - 1500, 3000)).toEqual(content);
      small.readFile(0, fd, 0, 0);
    });
  });

  it("says how much of a short file is missing", () => {
    withFile((fd) => {
      expect(() => small.readFile(0, fd, 2000, 1500)).toThrow("the file ends 500 bytes early");
      expect(() => small.readFile(0, fd, 9000, 1)).toThrow("the file ends 1 bytes early");
    });
  });

  it("refuses targets outside RAM before it reads", () => {
    withFile((fd) => {
      expect(() => small.readFile(2 * MiB - 10, fd, 0, 11)).toThrow(GuestMemoryError);
      expect(() => small.readFile(NaN, fd, 0, 1)).toThrow(GuestMemoryError);
      expect(() => large.readFile(HOLE_START - 1, fd, 0, 2)).toThrow(GuestMemoryError);
    });
  });

  it("says what a bad descriptor is", () => {
    expect(() => small.readFile(0, -1, 0, 1)).toThrow("pread failed: EBADF");
  });
});

describe("create", () => {
  it("gives zeroed memory", () => {
    const memory = GuestMemory.create(MiB);
    expect(memory.read(0, MiB).every((byte) => byte === 0)).toBe(true);
    memory.release();
  });

  it.each([0, -4096, NaN, Infinity, 2 ** 50, 2 ** 62])(
    "refuses %s bytes with an error of its own",
    (size) => {
      expect(() => GuestMemory.create(size)).toThrow(GuestMemoryError);
    },
  );

  it("says what to do where huge pages are missing", () => {
    // 64 TiB of them: no host has reserved so many.
    const failure = (): GuestMemory => GuestMemory.create(2 ** 46, { hugePages: "hugetlb" });
    expect(failure).toThrow("cannot make 67108864 MiB of guest memory");
    expect(failure).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("vm.nr_hugepages") as string }),
    );
    expect(() => GuestMemory.create(MiB, { hugePages: "hugetlb" })).toThrow(
      "not a multiple of the 2 MiB huge page",
    );
  });

  it("takes transparent huge pages as advice", () => {
    const memory = GuestMemory.create(4 * MiB, { hugePages: "transparent" });
    memory.setUint8(4 * MiB - 1, 1);
    memory.release();
  });
});
