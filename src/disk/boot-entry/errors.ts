import { TsvmError } from "../../errors.ts";
import type { LookedAt } from "./boot-entry.ts";

/** There is no kernel in an image, or none that can be read. Says where one was looked for. */
export class NoKernelError extends TsvmError {
  override name = "NoKernelError";
  readonly image: string;
  readonly lookedAt: readonly LookedAt[];

  constructor(image: string, lookedAt: readonly LookedAt[]) {
    const lines = lookedAt.flatMap(({ volume, description, findings }) => [
      `  ${volume}: ${description}`,
      ...findings.map((finding) => `    ${finding}`),
    ]);
    super("ERR_NO_KERNEL", [`${image}: no kernel was found in it. Looked at:`, ...lines].join("\n"), {
      hint: "give one with --kernel PATH, or boot the disk with the bundled one: --kernel bundled",
    });
    this.image = image;
    this.lookedAt = lookedAt;
  }
}

/** There are kernels in an image, but not the one that was asked for. */
export class NoBootEntryError extends TsvmError {
  override name = "NoBootEntryError";

  constructor(image: string, wanted: string, titles: readonly string[]) {
    super("ERR_NO_BOOT_ENTRY", `${image}: no boot entry is called "${wanted}"`, {
      hint: `there are: ${titles.map((title) => `"${title}"`).join(", ")}`,
    });
  }
}

/** A boot configuration that makes no sense, or more sense than anyone would write. Kept as a finding. */
export class BootConfigError extends TsvmError {
  override name = "BootConfigError";

  constructor(message: string) {
    super("ERR_BOOT_CONFIG", message);
  }
}
