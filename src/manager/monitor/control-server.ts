/** The control socket: who may connect is decided by the modes of the socket and of the directory that it lies in. */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { makePrivateDirectory } from "../paths.ts";
import type { Hello } from "../protocol.ts";
import { usableSocketPath, type UsablePath } from "../../socket-path.ts";
import { Connection } from "./connection.ts";
import type { Requests } from "./requests.ts";

const MOST_CLIENTS = 64;
const FAREWELL_MS = 1000;

export class ControlServer {
  readonly #hello: Hello;
  readonly #requests: Requests;
  readonly #connections = new Set<Connection>();
  #listening: { server: Server; usable: UsablePath } | undefined;

  constructor(hello: Hello, requests: Requests) {
    this.#hello = hello;
    this.#requests = requests;
  }

  /**
   * Listens in the first of these directories in which it can; the result is the socket's path. What lay there before is from a
   * monitor of the same VM that was killed. Connections that there are go on.
   */
  async listen(directories: readonly string[], id: string): Promise<string> {
    let failure: unknown;
    for (const directory of new Set(directories)) {
      const path = join(directory, `${id}.sock`);
      try {
        makePrivateDirectory(directory);
        await this.#bind(path);
        return path;
      } catch (error) {
        failure ??= error;
      }
    }
    throw failure;
  }

  /** No new clients; those that there are get what is still due to them. */
  async close(): Promise<void> {
    this.#unbind();
    await Promise.all([...this.#connections].map((connection) => connection.end(FAREWELL_MS)));
  }

  async #bind(path: string): Promise<void> {
    this.#unbind();
    rmSync(path, { force: true });
    const usable = usableSocketPath(path);
    const server = createServer((socket) => {
      const connection = new Connection(socket, this.#hello, this.#requests);
      this.#connections.add(connection);
      socket.once("close", () => this.#connections.delete(connection));
    });
    server.maxConnections = MOST_CLIENTS;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject).listen(usable.path, resolve);
      });
    } catch (error) {
      usable.close();
      throw error;
    }
    // For example no file descriptors left: that client must try again.
    server.on("error", () => undefined);
    chmodSync(path, 0o600);
    this.#listening = { server, usable };
  }

  #unbind(): void {
    // Removes the socket, too.
    this.#listening?.server.close();
    this.#listening?.usable.close();
    this.#listening = undefined;
  }
}
