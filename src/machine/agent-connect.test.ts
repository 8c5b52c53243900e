import { createServer, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { scratch } from "../../test/support/scratch.ts";
import { connectAgent } from "./agent-connect.ts";

const files = scratch();
let close: (() => void) | undefined;
afterEach(() => close?.());

/** What serves a vsock socket; `answer` gets each client. */
async function device(answer: (client: Socket) => void): Promise<string> {
  const path = files.path(`device-${Math.random()}`);
  const clients: Socket[] = [];
  const server = createServer((client) => {
    clients.push(client);
    client.on("error", () => undefined);
    answer(client);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  close = () => {
    for (const client of clients) client.destroy();
    server.close();
  };
  return path;
}

test("connects to the agent's port", async () => {
  let asked = "";
  const path = await device((client) =>
    client.on("data", (bytes) => {
      asked += String(bytes);
      client.write("OK 1024\nhello");
    }),
  );
  const socket = await connectAgent(path);
  expect(asked).toBe("CONNECT 29811\n");
  expect(String((await socket[Symbol.asyncIterator]().next()).value)).toBe("hello");
});

test("a guest without it, one that says nothing, and what is no such socket", async () => {
  const refuses = await device((client) => client.on("data", () => client.end()));
  await expect(connectAgent(refuses)).rejects.toMatchObject({ code: "ERR_AGENT_ABSENT" });
  close?.();
  const silent = await device(() => undefined);
  await expect(connectAgent(silent, { timeout: 100 })).rejects.toMatchObject({ code: "ERR_AGENT_TIMEOUT" });
  await expect(connectAgent(files.path("missing"))).rejects.toMatchObject({ code: "ERR_VSOCK_SOCKET" });
  const signal = AbortSignal.timeout(50);
  await expect(connectAgent(silent, { signal })).rejects.toMatchObject({ name: "TimeoutError" });
});
