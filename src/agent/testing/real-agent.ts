/** The agent's test build (firmware/agent) as a process of this machine, which listens on a unix socket in place of vsock. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll } from "vitest";
import type { Connector } from "../connection.ts";

const SCRIPT = fileURLToPath(new URL("../../../scripts/build-init", import.meta.url));

/** Builds and starts it for the tests of a file, in `directory`. */
export function realAgent(directory: string): { readonly connect: Connector } {
  const home = join(directory, "agent");
  const socket = join(home, "agent.sock");
  let agent: ChildProcess | undefined;
  beforeAll(async () => {
    mkdirSync(home);
    execFileSync(SCRIPT, ["--test", home], { stdio: ["ignore", "ignore", "inherit"] });
    agent = spawn(join(home, "agent-test"), [], { cwd: home, stdio: ["ignore", "inherit", "inherit"] });
    while (!existsSync(socket)) await sleep(5);
  }, 60_000);
  afterAll(() => void agent?.kill());
  return { connect: async () => connectTo(socket) };
}

async function connectTo(path: string): Promise<Duplex> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve).once("error", reject);
  });
  return socket;
}
