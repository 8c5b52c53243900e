import { describe, expect, it } from "vitest";
import { UsageError } from "./errors.ts";
import { parseVsock } from "./vsock-value.ts";

describe("--vsock", () => {
  it("is a path, and perhaps a context ID", () => {
    expect(parseVsock("/run/v.sock")).toEqual({ path: "/run/v.sock" });
    expect(parseVsock("v,cid=42")).toEqual({ path: "v", cid: 42 });
  });

  it.each(["", ",cid=3", "v,", "v,cid", "v,cid=", "v,cid=2", "v,cid=x", "v,port=3", "v,cid=3,cid=4"])(
    "is not %j",
    (text) => {
      expect(() => parseVsock(text)).toThrow(UsageError);
      expect(() => parseVsock(text)).toThrow("--vsock");
    },
  );
});
