import { expect, it } from "vitest";
import { inDefinition } from "./start-vm.ts";

it.each([
  ["check the path", "check the path"],
  ["give the guest at least 24 MiB (--memory)", "in its definition: give the guest at least 24 MiB (memory)"],
  [
    "give one with --kernel PATH, or boot the disk with the bundled one: --kernel bundled",
    "in its definition: give one with kernel: PATH, or boot the disk with the bundled one: kernel: bundled",
  ],
  [
    "say it with --root, for example --root /dev/vda2",
    "in its definition: say it with rootDevice, for example rootDevice: /dev/vda2",
  ],
  ["look at its console (--verbose)", "look at its console (tsvm logs web)"],
  ["please report it with the output of --debug", "please report it with the output of --debug"],
])("a hint about options of boot names what a definition has for them: %s", (hint, expected) => {
  expect(inDefinition(hint, "web")).toBe(expected);
});
