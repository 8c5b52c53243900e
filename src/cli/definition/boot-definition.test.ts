import { describe, expect, it } from "vitest";
import type { BootFlags } from "../boot-flags.ts";
import { UsageError } from "../errors.ts";
import { changeMachine } from "./boot-definition.ts";
import { selectVm } from "./select-vm.ts";

const FLAGS: BootFlags = { disk: [], net: [], publish: [], append: [], acpi: true };
const MACHINE = { name: "web", cpus: 2, memory: 2 ** 28, append: "quiet", disks: [{ path: "/a" }] };

describe("flags and a definition", () => {
  it("without flags it is as the file says", () => {
    expect(changeMachine(MACHINE, FLAGS, undefined, false)).toEqual(MACHINE);
  });

  it("a flag says more than the file; disks and parameters are added", () => {
    const flags = {
      ...FLAGS,
      cpus: "1",
      memory: "64M",
      disk: ["b,ro"],
      append: ["x"],
      overlay: true,
      kernel: "k",
      acpi: false,
    };
    expect(changeMachine({ ...MACHINE, kernelSource: "disk" }, flags, undefined, false)).toEqual({
      name: "web",
      cpus: 1,
      memory: 2 ** 26,
      append: "quiet x",
      disks: [
        { path: "/a", overlay: true },
        { path: "b", readOnly: true, overlay: true },
      ],
      kernel: "k",
      acpi: false,
    });
    expect(
      changeMachine({ ...MACHINE, kernel: "/k" }, { ...FLAGS, kernel: "bundled" }, undefined, false),
    ).toEqual({
      ...MACHINE,
      kernelSource: "bundled",
    });
  });

  it("the root of a machine without disks is the bundled one, also with --disk", () => {
    const bare = { name: "web", cpus: 2, memory: 2 ** 28 };
    expect(changeMachine(bare, { ...FLAGS, disk: ["data"] }, undefined, false)).toMatchObject({
      root: "bundled",
    });
    expect(changeMachine({ ...bare, kernel: "/k" }, FLAGS, undefined, false).root).toBeUndefined();
  });

  it("a command after -- keeps environment and directory of the file's", () => {
    const command = { argv: ["a"], env: { A: "b" }, cwd: "/x" };
    expect(changeMachine({ ...MACHINE, command }, FLAGS, ["c"], false).command).toEqual({
      argv: ["c"],
      env: { A: "b" },
      cwd: "/x",
      terminal: false,
    });
    expect(() => changeMachine({ ...MACHINE, initrd: "/i" }, FLAGS, ["c"], false)).toThrow("tsvm's own init");
  });
});

describe("one of several VMs", () => {
  const all = ["db", "web"].map((name) => ({ kind: "vm" as const, name, machine: MACHINE }));
  it("is named", () => {
    expect(selectVm("f", all, "web").name).toBe("web");
    expect(selectVm("f", all.slice(1), undefined).name).toBe("web");
    expect(() => selectVm("f", all, undefined)).toThrow("f has 2 VMs: db, web");
    expect(() => selectVm("f", all, "wbe")).toThrow(UsageError);
  });
});
