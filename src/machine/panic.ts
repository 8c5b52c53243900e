/** Watches a console for the line with which a Linux kernel gives up. */

const PANIC = /(?:^|\] )Kernel panic - not syncing(?:: (.*))?$/;
/** A console line that is longer than this is cut: it is no panic line. */
const LONGEST_LINE = 4096;

export class PanicWatcher {
  #line = "";
  #panic: string | undefined;

  /** The panic line as the kernel printed it, without time stamp. */
  get panic(): string | undefined {
    return this.#panic;
  }

  push(bytes: Uint8Array): void {
    if (this.#panic !== undefined) return;
    const pieces = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      .toString("latin1")
      .split("\n");
    for (const [index, piece] of pieces.entries()) {
      if (index > 0) this.#endLine();
      if (this.#line.length < LONGEST_LINE) this.#line += piece;
    }
  }

  #endLine(): void {
    const line = this.#line.replace(/\r+$/, "");
    this.#line = "";
    const match = PANIC.exec(line);
    if (match !== null) this.#panic ??= match[0].replace(/^\] /, "");
  }
}
