import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pvhGuest } from "../../firmware/tiny/pvh-guest.mjs";
import { bootFileKind } from "./boot-file.ts";
import { describe as describeMachine } from "./boot-command.ts";
import { UsageError } from "./errors.ts";

const FLAGS = {
  disk: [],
  net: [],
  publish: [],
  append: [],
  cpus: "1",
  memory: "64M",
  hugePages: "none",
  acpi: true,
  shutdownTimeout: "30s",
};
let directory: string;
let kernel: string;
let disk: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tsvm-test-"));
  kernel = join(directory, "kernel");
  disk = join(directory, "disk");
  writeFileSync(kernel, pvhGuest(Uint8Array.of(0xf4)));
  writeFileSync(disk, Buffer.alloc(4096));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("flags as a machine description", () => {
  it("is the bundled guest without any", () => {
    expect(describeMachine(undefined, FLAGS, undefined, false)).toEqual({
      cpus: 1,
      memory: 64 * 2 ** 20,
      hugePages: "none",
      root: "bundled",
    });
  });

  it("takes FILE for what it is", () => {
    expect(describeMachine(kernel, FLAGS, undefined, false)).toMatchObject({ kernel });
    expect(describeMachine(kernel, FLAGS, undefined, false).root).toBeUndefined();
    const booted = describeMachine(disk, { ...FLAGS, disk: ["other"] }, undefined, false);
    expect(booted.disks).toEqual([{ path: disk }, { path: "other" }]);
    expect(booted.root).toBeUndefined();
    expect(booted.kernel).toBeUndefined();
    const { kernel: path, kernelSource } = describeMachine(
      disk,
      { ...FLAGS, kernel: "bundled" },
      undefined,
      false,
    );
    expect({ path, kernelSource }).toEqual({ path: undefined, kernelSource: "bundled" });
  });

  it("knows a definition by its content or its name", () => {
    const kindOf = (name: string, content: string): string => {
      const path = join(directory, name);
      writeFileSync(path, content);
      return bootFileKind(path);
    };
    expect(kindOf("a", "version: 1\n")).toBe("definition");
    expect(kindOf("b", "<domain type='kvm'/>")).toBe("definition");
    expect(kindOf("c", '{"boot-source": {}}')).toBe("definition");
    expect(kindOf("d.yaml", "")).toBe("definition");
    expect(kindOf("e.yml", "what is this")).toBe("definition");
    expect(kindOf("f", "what is this")).toBe("kernel");
    expect(bootFileKind(kernel)).toBe("kernel");
    expect(bootFileKind(disk)).toBe("disk");
  });

  it("adds --disk behind the bundled root", () => {
    expect(describeMachine(undefined, { ...FLAGS, disk: ["data,ro"] }, ["true"], false)).toMatchObject({
      root: "bundled",
      disks: [{ path: "data", readOnly: true }],
      command: { argv: ["true"], terminal: false },
    });
  });

  it("makes every disk read-only with --read-only", () => {
    const { disks } = describeMachine(disk, { ...FLAGS, disk: ["b"], readOnly: true }, undefined, false);
    expect(disks?.map(({ readOnly }) => readOnly)).toEqual([true, true]);
  });

  it("joins several --append", () => {
    expect(describeMachine(undefined, { ...FLAGS, append: ["a=1", "b"] }, undefined, false).append).toBe(
      "a=1 b",
    );
  });

  it("refuses what contradicts itself", () => {
    expect(() => describeMachine(kernel, { ...FLAGS, kernel: "k" }, undefined, false)).toThrow("are kernels");
    expect(() => describeMachine(undefined, FLAGS, [], false)).toThrow("no command after --");
    expect(() => describeMachine(undefined, { ...FLAGS, initrd: "i" }, ["true"], false)).toThrow(
      "tsvm's own init",
    );
    expect(() => describeMachine(undefined, { ...FLAGS, hugePages: "big" }, undefined, false)).toThrow(
      UsageError,
    );
    expect(() => describeMachine(undefined, { ...FLAGS, console: "vga" }, undefined, false)).toThrow(
      UsageError,
    );
  });
});
