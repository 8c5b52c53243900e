import { TsvmError } from "../../errors.ts";
import type { LookedAt } from "./boot-entry.ts";

/** There is no kernel in an image, or none that can be read. Says where one was looked for. */
export class NoKernelError extends TsvmError {
  override name = "NoKernelError";
  readonly image: string;
  readonly lookedAt: readonly LookedAt[];

  constructor(image: string, lookedAt: readonly LookedAt[], what = "no kernel was found in it") {
    const lines = lookedAt.flatMap(({ volume, description, findings }) => [
      `  ${volume}: ${description}`,
      ...findings.map((finding) => `    ${finding}`),
    ]);
    super("ERR_NO_KERNEL", [`${image}: ${what}. Looked at:`, ...lines].join("\n"), {
      hint: "give a kernel with --kernel",
    });
    this.image = image;
    this.lookedAt = lookedAt;
  }
}

/** A boot configuration that makes no sense, or more sense than anyone would write. Kept as a finding. */
export class BootConfigError extends TsvmError {
  override name = "BootConfigError";

  constructor(message: string) {
    super("ERR_BOOT_CONFIG", message);
  }
}
