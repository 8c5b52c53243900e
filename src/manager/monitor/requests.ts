/** What clients may ask of a monitor, with everything checked that they send. */
import { TsvmError } from "../../errors.ts";
import type { MonitorStats, MonitorStatus } from "../protocol.ts";
import type { Connection } from "./connection.ts";
import type { ConsoleHub } from "./console-hub.ts";

/** The monitor, as its clients see it. Throws TsvmErrors for what is impossible in its state. */
export interface Controlled {
  status(): MonitorStatus;
  stop(options: { timeout?: number | undefined; force: boolean }): void;
  pause(): Promise<void>;
  resume(): Promise<void>;
  pressPowerButton(): boolean;
  stats(): MonitorStats;
  setBalloon(bytes: number): void;
  /** False when the guest takes it slower than it comes; then `drained` is called once it goes on. */
  type(bytes: Buffer, drained: () => void): boolean;
  resize(rows: number, columns: number): void;
}

type Params = Readonly<Record<string, unknown>>;

class RequestError extends TsvmError {
  override name = "RequestError";
  constructor(message: string) {
    super("ERR_PROTOCOL", message);
  }
}

const LARGEST_WINDOW = 0xffff;

export class Requests {
  readonly #vm: Controlled;
  readonly #console: ConsoleHub;

  constructor(vm: Controlled, hub: ConsoleHub) {
    this.#vm = vm;
    this.#console = hub;
  }

  async answer(from: Connection, method: string, params: Params): Promise<object> {
    switch (method) {
      case "status":
        return this.#vm.status();
      case "stop":
        this.#vm.stop({ timeout: time(params, "timeout"), force: params.force === true });
        return {};
      case "pause":
        await this.#vm.pause();
        return {};
      case "resume":
        await this.#vm.resume();
        return {};
      case "powerButton":
        return { known: this.#vm.pressPowerButton() };
      case "stats":
        return this.#vm.stats();
      case "balloon":
        this.#setBalloon(params);
        return {};
      case "console":
        from.mayType = params.input === true;
        // Behind the answer.
        setImmediate(() => this.#console.attach(from, params.scrollback === true));
        return {};
      case "input":
        this.#type(from, params);
        return {};
      case "resize":
        this.#resize(from, params);
        return {};
      default:
        throw new RequestError(`no method ${JSON.stringify(method.slice(0, 80))}`);
    }
  }

  gone(from: Connection): void {
    this.#console.detach(from);
  }

  #setBalloon({ bytes }: Params): void {
    if (!Number.isSafeInteger(bytes) || (bytes as number) < 0)
      throw new RequestError("bytes: not a number of bytes");
    this.#vm.setBalloon(bytes as number);
  }

  #type(from: Connection, { data }: Params): void {
    if (!from.mayType) throw new RequestError("this connection may not type: ask for the console with input");
    if (typeof data !== "string") throw new RequestError("data: not a text in base64");
    const bytes = Buffer.from(data, "base64");
    if (bytes.length === 0) return;
    let resume: (() => void) | undefined;
    if (!this.#vm.type(bytes, () => resume?.())) resume = from.hold();
  }

  #resize(from: Connection, { rows, columns }: Params): void {
    if (!from.mayType) throw new RequestError("this connection may not set the window's size");
    if (!isWindow(rows) || !isWindow(columns)) throw new RequestError("rows, columns: not from 1 to 65535");
    this.#vm.resize(rows, columns);
  }
}

function isWindow(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= LARGEST_WINDOW;
}

function time(params: Params, key: string): number | undefined {
  const value = params[key];
  if (value === undefined) return undefined;
  const LONGEST = 2 ** 31 - 1;
  if (typeof value !== "number" || !(value >= 0 && value <= LONGEST)) {
    throw new RequestError(`${key}: not a number of milliseconds`);
  }
  return value;
}
