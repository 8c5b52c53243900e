import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EscapeFilter } from "./escape-filter.ts";

/** What comes out of `pieces`: typed text, and <leave>, <power> and <help>. */
function type(...pieces: string[]): string {
  let out = "";
  const filter = new EscapeFilter({
    data: (bytes) => (out += Buffer.from(bytes).toString("latin1")),
    leave: () => (out += "<leave>"),
    powerButton: () => (out += "<power>"),
    help: () => (out += "<help>"),
  });
  for (const piece of pieces) filter.push(Buffer.from(piece, "latin1"));
  return out;
}

describe("EscapeFilter", () => {
  it("passes on what is typed", () => expect(type("ls -l\r", "\x03")).toBe("ls -l\r\x03"));
  it("leaves on Ctrl-A x", () => expect(type("ab\x01xcd")).toBe("ab<leave>cd"));
  it("presses the power button on Ctrl-A p", () => expect(type("\x01p\x01P")).toBe("<power><power>"));
  it("helps on Ctrl-A h", () => expect(type("\x01h\x01?")).toBe("<help><help>"));
  it("sends Ctrl-A on Ctrl-A Ctrl-A", () => expect(type("\x01\x01x")).toBe("\x01x"));
  it("sends any other key after Ctrl-A", () => expect(type("\x01k")).toBe("k"));
  it("remembers Ctrl-A between reads", () => expect(type("a\x01", "xb")).toBe("a<leave>b"));

  it("does not care how the input is cut", () => {
    const key = fc.constantFrom("a", "x", "h", "\x01", "\r");
    fc.assert(
      fc.property(fc.array(key, { maxLength: 30 }), (keys) => {
        expect(type(...keys)).toBe(type(keys.join("")));
      }),
    );
  });
});
