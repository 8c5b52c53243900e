/**
 * One client of the control socket. Whatever it sends or does not read, it costs the monitor no more than a bounded piece of
 * memory, and never makes it wait.
 */
import type { Socket } from "node:net";
import { TsvmError } from "../../errors.ts";
import { LineDecoder } from "../line-decoder.ts";
import { LONGEST_REQUEST, type ErrorBody, type Hello, type Notice } from "../protocol.ts";
import type { Requests } from "./requests.ts";

/** Console output beyond this is left out for a client that does not read. */
const CONSOLE_BACKLOG = 256 * 1024;
/** A client that lets even answers pile up to this is gone. */
const LARGEST_BACKLOG = 2 * 2 ** 20;

export class Connection {
  /** Whether it may type on the console. */
  mayType = false;
  readonly #socket: Socket;
  readonly #requests: Requests;
  readonly #decoder = new LineDecoder(LONGEST_REQUEST);
  #lost = 0;

  constructor(socket: Socket, hello: Hello, requests: Requests) {
    this.#socket = socket;
    this.#requests = requests;
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.once("close", () => requests.gone(this));
    socket.on("drain", () => this.#tellLoss());
    this.#send(hello);
  }

  showConsole(bytes: Buffer): void {
    if (this.#socket.writableLength > CONSOLE_BACKLOG) {
      this.#lost += bytes.length;
      return;
    }
    this.#tellLoss();
    this.notify({ notice: "console", data: bytes.toString("base64") });
  }

  notify(notice: Notice): void {
    this.#send(notice);
  }

  /** No more is read until `resume`: what it has sent cannot be taken yet. */
  hold(): () => void {
    this.#socket.pause();
    return () => void this.#socket.resume();
  }

  /** Ends it when all has been sent, or when that takes too long. */
  end(patience: number): Promise<void> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      if (socket.destroyed) return resolve();
      const timer = setTimeout(() => socket.destroy(), patience);
      socket.once("close", () => {
        clearTimeout(timer);
        resolve();
      });
      socket.end(() => socket.destroy());
    });
  }

  #receive(bytes: Buffer): void {
    try {
      for (const line of this.#decoder.push(bytes)) if (line.trim() !== "") this.#answer(line);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#send({ id: null, error: protocolError(error.message) });
      this.#socket.end();
      this.#socket.removeAllListeners("data").resume();
    }
  }

  #answer(line: string): void {
    let request: { id?: unknown; method?: unknown; params?: unknown };
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value !== "object" || value === null || Array.isArray(value)) throw new SyntaxError();
      request = value;
    } catch {
      this.#send({ id: null, error: protocolError("not a JSON object") });
      return;
    }
    const id = typeof request.id === "number" ? request.id : null;
    if (id === null) {
      this.#send({ id, error: protocolError("a request without a number as its id") });
      return;
    }
    const { method, params } = request;
    if (typeof method !== "string") {
      this.#send({ id, error: protocolError("a request without a method") });
      return;
    }
    const given = typeof params === "object" && params !== null ? (params as Record<string, unknown>) : {};
    this.#requests.answer(this, method, given).then(
      (result) => this.#send({ id, result }),
      (error: unknown) => this.#send({ id, error: errorBody(error) }),
    );
  }

  #tellLoss(): void {
    if (this.#lost === 0) return;
    this.notify({ notice: "lost", bytes: this.#lost });
    this.#lost = 0;
  }

  #send(message: object): void {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    if (socket.writableLength > LARGEST_BACKLOG) socket.destroy();
    else socket.write(`${JSON.stringify(message)}\n`);
  }
}

export function protocolError(message: string): ErrorBody {
  return { code: "ERR_PROTOCOL", message };
}

export function errorBody(error: unknown): ErrorBody {
  if (error instanceof TsvmError) return { code: error.code, message: error.message, hint: error.hint };
  return { code: "ERR_INTERNAL", message: error instanceof Error ? error.message : String(error) };
}
