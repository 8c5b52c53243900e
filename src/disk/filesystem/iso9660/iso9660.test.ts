import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { check, suite, tool } from "../../../../test/support/needs.ts";
import type { FileSystem } from "../filesystem.ts";
import { resolvePath } from "../path.ts";
import { listDirectory, readFile } from "../read.ts";
import { run, workspace } from "../testing/images.ts";
import { describeHost, describeNode, makeTree } from "../testing/trees.ts";
import { isIso9660, openIso9660 } from "./iso9660.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

suite("ISO 9660 by xorriso", [tool("xorriso", "xorriso")], () => {
  const work = workspace();
  afterAll(work.remove);
  const tree = work.path("tree");

  beforeAll(() => {
    makeTree(tree, 300);
    // More than the format holds, or the tools do.
    rmSync(join(tree, "sparse"));
    rmSync(join(tree, "links/to-1000"));
    rmSync(join(tree, "size-59"));
    mkdirSync(join(tree, "casper"));
    writeFileSync(join(tree, "casper/vmlinuz"), "kernel");
  });
  const make = (name: string, args: readonly string[]): FileSystem => {
    const path = work.path(name);
    run("xorriso", ["-report_about", "FAILURE", "-as", "mkisofs", "-V", "MY_ISO", ...args, "-o", path, tree]);
    const reader = work.reader(path);
    expect(isIso9660(reader)).toBe(true);
    return openIso9660(reader);
  };

  describe("with Rock Ridge", () => {
    it.each([
      ["in the usual form", ["-R"]],
      ["with Joliet beside it", ["-R", "-J"]],
    ])("shows the tree as it is, %s", (name, args) => {
      const fs = make(name.replaceAll(" ", "-"), args);
      expect(fs).toMatchObject({ type: "iso9660", label: "MY_ISO" });
      expect(fs.uuid).toMatch(/^\d{4}(-\d\d){6}$/);
      // -R keeps modes; times beyond the format's seven bytes are none of this tree.
      expect(describeNode(fs.root).filter((line) => !line.startsWith("/rr_moved"))).toEqual(
        describeHost(tree),
      );
    });
  });

  check("shows directories that were moved where they were", [tool("genisoimage", "genisoimage")], () => {
    const path = work.path("moved");
    run("genisoimage", ["-quiet", "-R", "-o", path, tree]);
    const lines = describeNode(openIso9660(work.reader(path)).root);
    const paths = (list: readonly string[]): string[] => list.map((line) => line.replace(/ mode .*/, ""));
    expect(paths(lines).filter((line) => !line.startsWith("/rr_moved"))).toEqual(paths(describeHost(tree)));
    expect(lines.filter((line) => line.startsWith("/rr_moved"))).toHaveLength(1);
  });

  it("with Joliet only: long names, in any case", () => {
    const fs = make("joliet", ["-J", "-joliet-long", "-U", "-no-pad", "--norock"]);
    const names = [...listDirectory(fs, "/names")].map(({ name }) => name);
    expect(names).toContain("ünïcode 名前");
    expect(resolvePath(fs, "/BOOT/vmlinuz-6.1").size).toBe(3_000_001);
  });

  it("without either: short names in lower case", () => {
    const fs = make("plain", ["--norock"]);
    expect(resolvePath(fs, "/casper/vmlinuz").size).toBe(6);
    expect(Buffer.concat([...readFile(fs, "/casper/vmlinuz")]).toString()).toBe("kernel");
    expect(readFileSync(join(tree, "casper/vmlinuz"), "utf8")).toBe("kernel");
  });
});
