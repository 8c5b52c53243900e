import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { connectVsock, type VsockConnectReason } from "./vsock-connect.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-vsock-"));
afterAll(() => rmSync(directory, { recursive: true }));

let count = 0;
const servers: Server[] = [];
const accepted: Socket[] = [];
afterEach(() => {
  for (const socket of accepted.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function serve(onConnection: (socket: Socket) => void): Promise<string> {
  const path = join(directory, `s${count++}`);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

async function refusal(promise: Promise<unknown>): Promise<{ reason: VsockConnectReason; message: string }> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const { name, code, reason, message, hint } = error as Record<string, string>;
  expect(name).toBe("VsockConnectError");
  expect(code).toBe(`ERR_VSOCK_${reason!.toUpperCase()}`);
  expect(hint).toBeTruthy();
  return { reason: reason as VsockConnectReason, message: message! };
}

describe("connectVsock", () => {
  it("asks for the port, and hands over the stream with what came with the answer", async () => {
    const asked: string[] = [];
    const path = await serve((socket) => {
      socket.once("data", (line) => {
        asked.push(line.toString());
        socket.write("OK 1073741824\nfirst");
        socket.on("data", (data) => asked.push(data.toString()));
        // Half-open: the answer to the last word still comes.
        socket.on("end", () => socket.end(" last"));
      });
    });
    const socket = await connectVsock(path, 29811);
    socket.end("question");
    expect(await text(socket)).toBe("first last");
    expect(asked.join("|")).toBe("CONNECT 29811\n|question");
  });

  it("takes an answer that comes byte by byte", async () => {
    const path = await serve((socket) => {
      void (async () => {
        for (const byte of "OK 7\nx") {
          socket.write(byte);
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        socket.end();
      })();
    });
    expect(await text(await connectVsock(path, 1))).toBe("x");
  });

  it("says that nothing serves the socket", async () => {
    const nowhere = join(directory, "nowhere");
    expect(await refusal(connectVsock(nowhere, 1))).toEqual({
      reason: "socket",
      message: `vsock socket ${nowhere}: ENOENT`,
    });
    writeFileSync(join(directory, "file"), "");
    chmodSync(join(directory, "file"), 0o600);
    expect((await refusal(connectVsock(join(directory, "file"), 1))).message).toMatch(/ECONNREFUSED$/);
    const deep = join(directory, "x".repeat(200), "y");
    expect((await refusal(connectVsock(deep, 1))).reason).toBe("socket");
  });

  it("says that the guest refuses", async () => {
    for (const refuse of [
      (socket: Socket) => socket.once("data", () => socket.end()),
      (socket: Socket) => socket.destroy(),
    ]) {
      const path = await serve(refuse);
      expect((await refusal(connectVsock(path, 7))).message).toMatch(/^vsock port 7: the guest takes no/);
    }
  });

  it.each(["NO 1\n", "OK\n", "OK 1x\n", "x".repeat(100), "OK 99999999999\n", "\n"])(
    "does not take %j for an answer",
    async (answer) => {
      const path = await serve((socket) => socket.write(answer));
      expect((await refusal(connectVsock(path, 7))).reason).toBe("protocol");
    },
  );

  it("waits for as long as it is told, or until it is told otherwise", async () => {
    const path = await serve(() => undefined);
    expect(await refusal(connectVsock(path, 7, { timeout: 20 }))).toEqual({
      reason: "timeout",
      message: "vsock port 7: no connection within 20 ms",
    });
    const why = new Error("enough");
    const abort = new AbortController();
    const connecting = connectVsock(path, 7, { signal: abort.signal });
    setTimeout(() => abort.abort(why), 20);
    await expect(connecting).rejects.toBe(why);
    await expect(connectVsock(path, 7, { signal: abort.signal })).rejects.toBe(why);
  });

  it.each([-1, 1.5, 2 ** 32 - 1, Number.NaN])("knows that there is no port %s", async (port) => {
    expect((await refusal(connectVsock(directory, port))).reason).toBe("port");
  });

  it("reaches sockets deeper than the kernel's limit for their names", async () => {
    const deep = join(directory, "d".repeat(120));
    mkdirSync(deep);
    const path = await serve((socket) => socket.end("OK 1\ndeep"));
    renameSync(path, join(deep, "s"));
    expect(await text(await connectVsock(join(deep, "s"), 1))).toBe("deep");
  });
});
