/** Finds the escape key in what is typed: Ctrl-A, then one key. */

const CTRL_A = 1;

export interface EscapeActions {
  data(bytes: Uint8Array): void;
  leave(): void;
  powerButton(): void;
  help(): void;
}

export class EscapeFilter {
  readonly #actions: EscapeActions;
  #escaped = false;

  constructor(actions: EscapeActions) {
    this.#actions = actions;
  }

  push(bytes: Uint8Array): void {
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (this.#escaped) {
        this.#escaped = false;
        start = at + 1;
        this.#command(byte);
      } else if (byte === CTRL_A) {
        this.#send(bytes.subarray(start, at));
        this.#escaped = true;
        start = at + 1;
      }
    }
    this.#send(bytes.subarray(start));
  }

  #command(byte: number): void {
    switch (String.fromCharCode(byte)) {
      case "x":
      case "X":
        this.#actions.leave();
        return;
      case "p":
      case "P":
        this.#actions.powerButton();
        return;
      case "h":
      case "H":
      case "?":
        this.#actions.help();
        return;
      default:
        // Ctrl-A twice is one Ctrl-A; Ctrl-A and any other key is that key.
        this.#send(Uint8Array.of(byte));
    }
  }

  #send(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#actions.data(bytes);
  }
}
