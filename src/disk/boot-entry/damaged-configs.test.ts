/** Boot configurations with random changes: a result or a TsvmError, in short time. */
import { expect, it } from "vitest";
import { TsvmError } from "../../errors.ts";
import { findKernel, listKernels } from "./find-kernel.ts";
import { fakeImage, INITRD, KERNEL } from "./testing/fake-image.ts";

const GRUB = `set default="\${saved_entry}"
if [ -s $prefix/grubenv ]; then load_env; elif [ x"\${a}" != xy -a -n "$b" ]; then set a='b c'; else true; fi
function f { for x in $@ "1 2" 3; do set y="$y$x"; done; while [ "$y" = "" ]; do break; done; }
f a "b c"; search --no-floppy --fs-uuid --set=root 1234
menuentry 'A' --class x --id 'a' { linux /vmlinuz root=UUID=1234 x="$y" \\
  quiet; initrd /initrd /initrd }
submenu "B>C" { menuentry "D" $menuentry_id_option d { linux ($root)/vmlinuz; } }
source $prefix/more.cfg; blscfg
`;
const ENTRY =
  "title T\nversion 1\nsort-key k\nlinux /vmlinuz\ninitrd /initrd $x\noptions root=UUID=1234 $kernelopts\n";
const SYSLINUX =
  "default a\nlabel a\n  kernel vmlinuz\n  append initrd=initrd root=/dev/sda1\ninclude more.cfg\nmenu label ^A\n";
const GRUBENV = "# GRUB Environment Block\nsaved_entry=B>>C>d\nkernelopts=a\\\nb\n######";
const SNIPPETS = [
  "{",
  "}",
  "'",
  '"',
  "$",
  "${",
  "\\",
  "\n",
  ";",
  " ",
  "#",
  "fi",
  "if ",
  "done",
  "while true; do ",
  ">",
  "$a$a",
  "(hd0)",
  "source $prefix/grub.cfg\n",
  "\0",
  "é",
];

function randomSource(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

function mutate(text: string, random: (below: number) => number): string {
  let result = text;
  for (let count = random(6); count > 0; count--) {
    const at = random(result.length + 1);
    const length = random(20);
    switch (random(4)) {
      case 0:
        result = result.slice(0, at) + result.slice(at + length);
        break;
      case 1:
        result = result.slice(0, at) + SNIPPETS[random(SNIPPETS.length)]! + result.slice(at);
        break;
      case 2: {
        const from = random(result.length + 1);
        result = result.slice(0, at) + result.slice(from, from + length * 3) + result.slice(at);
        break;
      }
      default:
        result = result.slice(0, at) + String.fromCharCode(random(128)) + result.slice(at + 1);
    }
  }
  return result;
}

it("end in a result or an error", () => {
  let found = 0;
  for (let seed = 1; seed <= 500; seed++) {
    const random = randomSource(seed);
    const image = fakeImage([
      {
        number: 1,
        uuid: "1234",
        files: {
          "/boot/grub/grub.cfg": mutate(GRUB, random),
          "/boot/grub/grubenv": mutate(GRUBENV, random),
          "/boot/grub/more.cfg": mutate(GRUB, random),
          "/loader/entries/a.conf": mutate(ENTRY, random),
          "/loader/loader.conf": mutate("default a*\ntimeout 3\n", random),
          "/extlinux.conf": mutate(SYSLINUX, random),
          "/more.cfg": mutate(SYSLINUX, random),
          "/vmlinuz": KERNEL,
          "/initrd": INITRD,
        },
      },
    ]);
    try {
      const { entry } = findKernel(image);
      expect(entry.kernel.path).toBe("/vmlinuz");
      listKernels(image);
      found++;
    } catch (error) {
      if (!(error instanceof TsvmError))
        throw new Error(`seed ${seed}: ${(error as Error).stack}`, { cause: error });
    }
  }
  // There is a kernel file in any case.
  expect(found).toBe(500);
}, 60_000);

it.each([
  ["blanks", " ".repeat(2_000_000)],
  ["new lines", "\n".repeat(2_000_000)],
  ["letters", "a".repeat(2_000_000)],
  ["stars", `default ${"*a".repeat(200_000)}\nlabel ${"*".repeat(100_000)}\n`],
  ["backslashes", "\\".repeat(2_000_000)],
  ["variables", "$a".repeat(1_000_000)],
  ["words", "a ".repeat(1_000_000)],
  ["opened blocks", "a {".repeat(600_000)],
  ["slashes", `linux ${"/".repeat(1_000_000)}\n`],
  ["root parameters", `label a\nlinux vmlinuz\nappend ${"root= ".repeat(300_000)}\n`],
])(
  "a file of nothing but %s takes no longer than it is long",
  (_, text) => {
    const names = [
      "/boot/grub/grub.cfg",
      "/boot/grub/grubenv",
      "/loader/loader.conf",
      "/loader/entries/a.conf",
      "/extlinux.conf",
    ];
    const files = Object.fromEntries(names.map((name) => [name, text]));
    const start = performance.now();
    const image = fakeImage([{ number: 1, files: { ...files, "/vmlinuz": KERNEL } }]);
    expect(findKernel(image).entry.kernel.path).toBe("/vmlinuz");
    expect(performance.now() - start).toBeLessThan(10_000);
  },
  60_000,
);
