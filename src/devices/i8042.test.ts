import { describe, expect, it } from "vitest";
import { I8042 } from "./i8042.ts";

describe("I8042", () => {
  it("resets the machine on command 0xFE, and on nothing else", () => {
    let resets = 0;
    const keyboard = new I8042(() => resets++);
    for (let offset = 0; offset < I8042.PORTS; offset++) {
      for (let value = 0; value < 256; value++) {
        if (offset !== 4 || value !== 0xfe) keyboard.write(offset, 1, value);
      }
    }
    expect(resets).toBe(0);
    keyboard.write(4, 1, 0xfe);
    expect(resets).toBe(1);
  });

  it("has empty buffers, so that no driver waits for it", () => {
    const keyboard = new I8042(() => undefined);
    expect(keyboard.read(4) & 3).toBe(0);
    expect(keyboard.read(0)).toBe(0);
    expect([1, 2, 3].map((offset) => keyboard.read(offset))).toEqual([0xff, 0xff, 0xff]);
  });
});
