import { expect, it } from "vitest";
import { joinCommandLine, splitCommandLine } from "./kernel-parameters.ts";

const DISK = { path: "/a" };

it.each([
  ["", {}],
  ["console=ttyS0 reboot=k panic=-1", {}],
  ["console=ttyS0 reboot=k panic=-1 quiet", { append: "quiet" }],
  ["console=ttyS0 reboot=k panic=-10", { append: "console=ttyS0 reboot=k panic=-10" }],
  ["root=/dev/vda1", { rootDevice: "/dev/vda1" }],
  ["quiet root=/dev/vda1 rw splash", { append: "quiet splash", rootDevice: "/dev/vda1" }],
  ["root=/dev/vda1 ro", { append: "ro", rootDevice: "/dev/vda1" }],
])("splits %j", (text, parts) => {
  expect(splitCommandLine(text, DISK)).toEqual(parts);
});

it("leaves a command line with quotes as it is", () => {
  const text = 'a="b  c" root=/dev/vda1';
  expect(splitCommandLine(text, DISK)).toEqual({ append: text, rootDevice: "/dev/vda1" });
});

it("leaves the root alone where there is no disk", () => {
  expect(splitCommandLine("root=/dev/nfs", undefined)).toEqual({ append: "root=/dev/nfs" });
});

it("joins", () => {
  const machine = {
    cpus: 1,
    memory: 1,
    append: "quiet",
    rootDevice: "/dev/vda1",
    disks: [{ path: "/a", readOnly: true }],
  };
  expect(joinCommandLine(machine)).toBe("console=ttyS0 reboot=k panic=-1 root=/dev/vda1 ro quiet");
  expect(joinCommandLine(machine, false)).toBe("console=ttyS0 reboot=k panic=-1 quiet");
});
