import { describe, expect, it } from "vitest";
import { UsageError } from "../errors.ts";
import { newImage, overlayNameNote, parseClusterSize, parseDiskSize, parseNewSize } from "./options.ts";

const MiB = 2 ** 20;

describe("image options", () => {
  it.each([
    ["disk.qcow2", "qcow2"],
    ["disk", "qcow2"],
    ["disk.raw", "raw"],
    ["DISK.IMG", "raw"],
    ["img", "qcow2"],
    ["a.b/debian-12.5", "qcow2"],
  ])("%s is %s by default", (path, format) => expect(newImage(path, {})).toMatchObject({ path, format }));

  it("a name of another format wants the format", () => {
    for (const path of ["a.vmdk", "a.qcow2.bak", "a.qcow"]) {
      expect(() => newImage(path, {})).toThrow(UsageError);
      expect(newImage(path, { format: "raw" }).format).toBe("raw");
    }
    expect(() => newImage("a.vmdk", {})).toThrow(
      "a.vmdk: tsvm makes raw and qcow2 images, and .vmdk says neither",
    );
  });

  it("overlays are qcow2, and are told to be where the name says otherwise", () => {
    expect(["a", "a.qcow2", "a.1"].map(overlayNameNote)).toEqual([undefined, undefined, undefined]);
    expect(overlayNameNote("a.img")).toBe("a.img: an overlay is a qcow2 image, whatever its name says");
    expect(() => overlayNameNote("a.vmdk")).toThrow(UsageError);
  });

  it("a format that is given counts, and --force", () => {
    expect(newImage("a.img", { format: "qcow2", clusterSize: "4K", force: true })).toMatchObject({
      format: "qcow2",
      clusterSize: 4096,
      replace: true,
    });
    expect(newImage("a", {}).replace).toBe(false);
  });

  it("raw images have neither clusters nor tables", () => {
    expect(() => newImage("a.raw", { clusterSize: "64K" })).toThrow("--cluster-size is for qcow2 images");
    expect(() => newImage("a.raw", { preallocation: "metadata" })).toThrow(UsageError);
    expect(newImage("a.raw", { preallocation: "full" }).preallocation).toBe("full");
  });

  it("cluster sizes", () => {
    expect(["512B", "64K", "2M"].map(parseClusterSize)).toEqual([512, 65536, 2 * MiB]);
    for (const text of ["256B", "4M", "3K", "0", "x"])
      expect(() => parseClusterSize(text)).toThrow(UsageError);
  });

  it("sizes of disks are whole sectors, and not nothing", () => {
    expect(["10M", "1B", "1000B", "0.3K"].map(parseDiskSize)).toEqual([10 * MiB, 512, 1024, 512]);
    for (const text of ["0", "0.1B", "-1G", "", "9000000T"])
      expect(() => parseDiskSize(text)).toThrow(UsageError);
  });

  it("new sizes, absolute and relative", () => {
    expect(["5M", "+5M", "-5M", "+1B"].map((text) => parseNewSize(text)(10 * MiB))).toEqual([
      5 * MiB,
      15 * MiB,
      5 * MiB,
      10 * MiB + 512,
    ]);
    for (const text of ["+", "+-1M", "--1M", "0"]) expect(() => parseNewSize(text)).toThrow(UsageError);
  });
});
