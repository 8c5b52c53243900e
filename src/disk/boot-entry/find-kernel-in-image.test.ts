/** From the bytes of a disk to kernel and command line, with nothing faked but the kernel. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { buildBzImage } from "../../boot/testing/build-bzimage.ts";
import { check, MKE2FS, suite, tool } from "../../../test/support/needs.ts";
import { DiskImage } from "../filesystem/disk-image.ts";
import { blank, memorySource, run, workspace } from "../filesystem/testing/images.ts";
import { findKernel, listKernels } from "./find-kernel.ts";
import { buildUki } from "./testing/build-uki.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const ROOT_UUID = "4578de0e-99ba-405f-ae19-907fb3976341";
const BOOT_UUID = "aab9c115-059a-4fd9-8e32-f937455e2541";
const MIB = 2 ** 20;
const NEEDS = [MKE2FS, tool("sfdisk", "fdisk"), tool("mkfs.vfat", "dosfstools"), tool("mcopy", "mtools")];

suite("a disk with EFI system partition, /boot and root", NEEDS, () => {
  const work = workspace();
  afterAll(work.remove);
  const write = (path: string, content: string | Uint8Array): void => {
    mkdirSync(join(work.directory, path, ".."), { recursive: true });
    writeFileSync(work.path(path), content);
  };
  let disk: Uint8Array;

  beforeAll(() => {
    write(
      "esp/EFI/debian/grub.cfg",
      `search.fs_uuid ${BOOT_UUID} root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n`,
    );
    write(
      "esp/EFI/Linux/image.efi",
      buildUki({ ".linux": buildBzImage(), ".cmdline": "quiet", ".initrd": "i" }),
    );
    write("boot/vmlinuz-6.1.0-9", buildBzImage({ version: "old" }));
    write("boot/vmlinuz-6.1.0-13", buildBzImage());
    write("boot/initrd.img-6.1.0-13", "initrd");
    write(
      "boot/grub/grub.cfg",
      `load_env
set default="\${saved_entry}"
menuentry 'Debian' --id debian {
  set root='hd0,gpt7'
  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 ${BOOT_UUID}
  linux /vmlinuz-6.1.0-13 root=UUID=${ROOT_UUID} ro quiet
  initrd /initrd.img-6.1.0-13
}
menuentry 'Old' { search --fs-uuid --set=root ${BOOT_UUID}; linux /vmlinuz-6.1.0-9 root=LABEL=root; }
`,
    );
    write("root/sbin/init", "init");
    const fat = blank(work.path("fat"), 2);
    run("mkfs.vfat", ["-n", "ESP", fat]);
    run("mcopy", ["-s", "-i", fat, work.path("esp/EFI"), "::"]);
    const ext4 = (name: string, uuid: string): string => {
      const path = blank(work.path(`${name}.img`), 4);
      run("mke2fs", ["-q", "-F", "-t", "ext4", "-U", uuid, "-L", name, "-d", work.path(name), path]);
      return path;
    };
    const path = blank(work.path("disk"), 16);
    run(
      "sfdisk",
      ["-q", path],
      "label: gpt\nstart=1MiB,size=2MiB,type=U\nstart=4MiB,size=4MiB\nstart=9MiB,size=4MiB\n",
    );
    disk = new Uint8Array(readFileSync(path));
    disk.set(readFileSync(fat), MIB);
    disk.set(readFileSync(ext4("boot", BOOT_UUID)), 4 * MIB);
    disk.set(readFileSync(ext4("root", ROOT_UUID)), 9 * MIB);
  });
  const image = (): DiskImage => new DiskImage("disk.img", memorySource(disk));

  it("boots what GRUB would", () => {
    expect(findKernel(image()).entry).toMatchObject({
      title: "Debian",
      id: "debian",
      source: { kind: "grub", partition: 2, path: "/grub/grub.cfg" },
      kernel: { partition: 2, path: "/vmlinuz-6.1.0-13" },
      initrds: [{ partition: 2, path: "/initrd.img-6.1.0-13", size: 6 }],
      commandLine: `root=UUID=${ROOT_UUID} ro quiet`,
      root: { partition: 3, filesystemUuid: ROOT_UUID },
      notes: [],
    });
  });

  it("has other entries too", () => {
    expect(
      listKernels(image()).map(({ source, kernel }) => [source.kind, kernel.partition, kernel.path]),
    ).toEqual([
      ["grub", 2, "/vmlinuz-6.1.0-13"],
      ["grub", 2, "/vmlinuz-6.1.0-9"],
      ["unified-kernel-image", 1, "/EFI/Linux/image.efi"],
    ]);
    expect(findKernel(image(), { entry: "image.efi" }).entry.commandLine).toBe(
      `root=UUID=${ROOT_UUID} quiet`,
    );
    expect(findKernel(image(), { entry: "Old" }).entry.root?.partition).toBe(3);
  });
});

suite("the image of a CD that starts from USB sticks too", [tool("xorriso", "xorriso")], () => {
  const work = workspace();
  afterAll(work.remove);

  check("is looked at as a whole", [], () => {
    mkdirSync(join(work.directory, "tree/isolinux"), { recursive: true });
    mkdirSync(join(work.directory, "tree/live"));
    writeFileSync(work.path("tree/live/vmlinuz-6.1"), buildBzImage());
    writeFileSync(work.path("tree/live/initrd.img-6.1"), "initrd");
    writeFileSync(
      work.path("tree/isolinux/isolinux.cfg"),
      "default live\nlabel live\n  linux /live/vmlinuz-6.1\n  append initrd=/live/initrd.img-6.1 boot=live components\n",
    );
    const path = work.path("live.iso");
    // --protective-msdos-label gives it a partition table like those of hybrid images.
    run("xorriso", [
      "-report_about",
      "FAILURE",
      "-as",
      "mkisofs",
      "-R",
      "--protective-msdos-label",
      "-o",
      path,
      work.path("tree"),
    ]);
    const image = new DiskImage("live.iso", work.source(path));
    expect(image.table.scheme).toBe("mbr");
    expect(findKernel(image).entry).toMatchObject({
      title: "live",
      kernel: { partition: undefined, path: "/live/vmlinuz-6.1" },
      initrds: [{ partition: undefined, path: "/live/initrd.img-6.1" }],
      commandLine: "boot=live components",
      root: undefined,
    });
  });
});
