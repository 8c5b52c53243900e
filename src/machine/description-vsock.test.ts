import { describe, expect, it } from "vitest";
import { validateVsock } from "./description-vsock.ts";

describe("the vsock part of a description", () => {
  it.each([{}, { cid: 3 }, { cid: 2 ** 32 - 2 }, { path: "v.sock" }, { cid: 42, path: "/run/v" }])(
    "may be %j",
    (vsock) => {
      expect(() => validateVsock(vsock)).not.toThrow();
    },
  );

  it.each([
    [{ cid: 2 }, "vsock.cid: 2 is not"],
    [{ cid: 0 }, "vsock.cid"],
    [{ cid: 2 ** 32 - 1 }, "vsock.cid"],
    [{ cid: 3.5 }, "vsock.cid"],
    [{ cid: NaN }, "vsock.cid"],
    [{ path: "" }, "vsock.path: is empty"],
    [{ path: "a\0b" }, "vsock.path: contains a NUL"],
  ])("may not be %j", (vsock, message) => {
    expect(() => validateVsock(vsock)).toThrow(message);
  });
});
