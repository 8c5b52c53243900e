import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadDefinitions } from "./load.ts";
import { missingFiles } from "./missing-files.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-missing-"));
afterAll(() => rmSync(directory, { recursive: true }));

function places(name: string, text: string): unknown[] {
  const path = join(directory, name);
  writeFileSync(path, text);
  return missingFiles(loadDefinitions(path, { variables: {} })).map(
    ({ severity, message, line, column, element }) => [severity, message, line, column, element],
  );
}

it("tells where the file names what is missing", () => {
  writeFileSync(join(directory, "there"), "");
  const native =
    "version: 1\nvms:\n  a:\n    disks: [there, {path: /x/d}]\n    kernel: /x/k\n  b: {kernel: there, initrd: /x/i}\n";
  expect(places("a.yaml", native)).toEqual([
    ["warning", "disks[1]: there is no file /x/d", 4, 27, "vms.a.disks[1].path"],
    ["warning", "kernel: there is no file /x/k", 5, 13, "vms.a.kernel"],
    ["warning", "initrd: there is no file /x/i", 6, 30, "vms.b.initrd"],
  ]);
  const firecracker =
    '{"boot-source": {"kernel_image_path": "/x/k", "boot_args": "a"},\n"drives": [],\n"machine-config": {"vcpu_count": 1, "mem_size_mib": 64}}';
  expect(places("a.json", firecracker)).toEqual([
    ["warning", "kernel: there is no file /x/k", 1, 39, "boot-source.kernel_image_path"],
  ]);
  const libvirt =
    "<domain type='kvm'><name>a</name><memory>65536</memory><os><type>hvm</type>\n<kernel>/x/k</kernel></os><features><acpi/></features></domain>";
  expect(places("a.xml", libvirt)).toEqual([
    ["warning", "kernel: there is no file /x/k", 2, 1, "/domain/os/kernel"],
  ]);
});
