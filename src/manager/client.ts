/** The other end of a monitor's control socket. */
import { createConnection, type Socket } from "node:net";
import { ManagerError, RemoteError } from "./errors.ts";
import { LineDecoder } from "./line-decoder.ts";
import {
  LONGEST_NOTICE,
  PROTOCOL,
  type ErrorBody,
  type Hello,
  type Method,
  type Methods,
  type Notice,
} from "./protocol.ts";
import { usableSocketPath } from "../socket-path.ts";

/** A monitor that lives answers in a few ms; one on a busy host in a second. */
const PATIENCE_MS = 10_000;

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export class MonitorClient {
  readonly hello: Hello["tsvm"];
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  /** Hears what a console tells; to be set before it is asked for. */
  onNotice: (notice: Notice) => void = () => undefined;
  readonly #name: string;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;

  private constructor(name: string, socket: Socket, hello: Hello["tsvm"]) {
    this.#name = name;
    this.#socket = socket;
    this.hello = hello;
    this.closed = new Promise((resolve) => {
      if (socket.destroyed) resolve();
      socket.once("close", () => {
        for (const { reject } of this.#pending.values()) reject(new ManagerError("ERR_MONITOR", gone(name)));
        this.#pending.clear();
        resolve();
      });
    });
  }

  /**
   * Connects and waits for the greeting. Throws the system's error where nobody listens at `path`, a ManagerError for what does not
   * speak our protocol, or not within `patience` ms.
   */
  static async connect(name: string, path: string, patience = PATIENCE_MS): Promise<MonitorClient> {
    const usable = usableSocketPath(path);
    const socket = createConnection(usable.path);
    try {
      return await greet(name, socket, patience, (hello) => new MonitorClient(name, socket, hello));
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      usable.close();
    }
  }

  /** Throws a RemoteError with what the monitor says, a ManagerError where it says nothing. */
  async request<M extends Method>(
    method: M,
    params?: Methods[M]["params"],
    patience = PATIENCE_MS,
  ): Promise<Methods[M]["result"]> {
    const id = this.#nextId++;
    let timer: NodeJS.Timeout | undefined;
    try {
      return (await new Promise<unknown>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        timer = setTimeout(() => reject(silent(this.#name, patience)), patience);
        if (this.#socket.destroyed) reject(new ManagerError("ERR_MONITOR", gone(this.#name)));
        else this.send(method, params, id);
      })) as Methods[M]["result"];
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  /** Without waiting for an answer. False when the monitor takes it slower than it comes: see {@link onceDrained}. */
  send<M extends Method>(method: M, params?: Methods[M]["params"], id = this.#nextId++): boolean {
    if (this.#socket.destroyed) return true;
    return this.#socket.write(
      `${JSON.stringify({ id, method, ...(params === undefined ? {} : { params }) })}\n`,
    );
  }

  onceDrained(listener: () => void): void {
    this.#socket.once("drain", listener);
  }

  /** No notices for a while: the monitor then leaves out what is too much. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  /** A line from the monitor behind its greeting. */
  receive(line: string): void {
    const message = parse(line) as Partial<Notice> & { id?: number; result?: unknown; error?: ErrorBody };
    if (message.notice !== undefined) return this.onNotice(message as Notice);
    const pending = this.#pending.get(message.id ?? -1);
    if (message.error !== undefined) pending?.reject(new RemoteError(message.error));
    else pending?.resolve(message.result);
  }
}

function greet(
  name: string,
  socket: Socket,
  patience: number,
  make: (hello: Hello["tsvm"]) => MonitorClient,
): Promise<MonitorClient> {
  const decoder = new LineDecoder(LONGEST_NOTICE);
  return new Promise((resolve, reject) => {
    let client: MonitorClient | undefined;
    const timer = setTimeout(() => reject(silent(name, patience)), patience);
    socket.on("error", reject);
    socket.once("close", () => {
      clearTimeout(timer);
      reject(new ManagerError("ERR_MONITOR", gone(name)));
    });
    socket.on("data", (bytes: Buffer) => {
      try {
        for (const line of decoder.push(bytes)) {
          if (client !== undefined) client.receive(line);
          else {
            client = make(checkHello(name, parse(line)));
            clearTimeout(timer);
            resolve(client);
          }
        }
      } catch (error) {
        reject(error instanceof ManagerError ? error : nonsense(name));
        socket.destroy();
      }
    });
  });
}

function checkHello(name: string, message: object): Hello["tsvm"] {
  const { tsvm } = message as Partial<Hello>;
  if (typeof tsvm?.protocol !== "number") throw nonsense(name);
  if (tsvm.protocol > PROTOCOL) {
    throw new ManagerError(
      "ERR_STATE_VERSION",
      `${name}: its monitor is of a newer tsvm (${tsvm.version}, protocol ${tsvm.protocol}; this one knows ${PROTOCOL})`,
      "use that tsvm, or restart the VM with this one",
    );
  }
  return tsvm;
}

function parse(line: string): object {
  const value: unknown = JSON.parse(line);
  if (typeof value !== "object" || value === null) throw new SyntaxError("not an object");
  return value;
}

const gone = (name: string): string => `${name}: its monitor has ended`;

function silent(name: string, patience: number): ManagerError {
  return new ManagerError(
    "ERR_MONITOR",
    `${name}: its monitor does not answer (${patience / 1000} s)`,
    `tsvm kill ${name} ends it`,
  );
}

function nonsense(name: string): ManagerError {
  return new ManagerError("ERR_MONITOR", `${name}: what answers at its socket is no monitor of tsvm`);
}
