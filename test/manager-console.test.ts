/** The console of a background VM: for people on a terminal, for several at once, and for clients that behave badly. */
import { createConnection, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { KVM, SCRIPT, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { CTRL_A, Terminal } from "./support/terminal.ts";
import { ECHO, IDLE, printAndReset, printThen } from "./support/tiny-guests.ts";
import { collect, finish, until } from "./support/tsvm.ts";
import { vms } from "./support/vms.ts";

const files = scratch();
const manager = vms(files);
const { run } = manager;

let terminal: Terminal | undefined;
afterEach(async () => {
  await terminal?.close();
  terminal = undefined;
  await manager.clear();
});

suite("the console of a background VM", [KVM], () => {
  test("shows what was there before, and takes what is typed, for several at once", async () => {
    await manager.define({
      web: { code: printThen("hello\n", ECHO) },
    });
    await run(["start", "web"]);
    const watching = manager.start(["console", "--read-only", "web"], { input: "nothing of this" });
    const watched = collect(watching.stdout);
    await until("the scrollback", () => watched.text === "hello\n");

    const typing = manager.start(["console", "--no-scrollback", "web"], { input: "abc\n" });
    const typed = collect(typing.stdout);
    await until("the echo", () => typed.text === "abc\n" && watched.text === "hello\nabc\n");
    await run(["kill", "web"]);
    for (const viewer of [watching, typing]) {
      const { status, stderr } = await finish(viewer);
      expect({ status, stderr }).toEqual({ status: 137, stderr: "tsvm: web: killed\n" });
    }
    expect(watched.text).toBe("hello\nabc\n");
  });

  test("comes with start --attach, and ends with the VM's exit status", async () => {
    await manager.define({ web: { code: printAndReset("bye\n") } });
    expect(await run(["start", "--attach", "web"])).toMatchObject({
      status: 0,
      stdout: "bye\n",
      stderr: "tsvm: web: ended by a reset\n",
    });
  });
});

suite("the console of a background VM", [KVM, SCRIPT], () => {
  test("on a terminal: Ctrl-A x detaches, the terminal is as it was, and the VM goes on", async () => {
    await manager.define({ web: { code: ECHO } });
    await run(["start", "web"]);
    terminal = new Terminal(["console", "web"], { env: manager.env });
    await terminal.see("[tsvm: console of web; Ctrl-A x detaches, Ctrl-A h helps]\n");
    terminal.type(`a${CTRL_A}${CTRL_A}b`);
    await terminal.see("a\x01b");
    terminal.type(`${CTRL_A}h`);
    await terminal.see("Ctrl-A x   detach: the VM goes on");
    terminal.type(`${CTRL_A}p`);
    await terminal.see("[tsvm: the guest knows of no power button (no ACPI, or not yet)]");
    terminal.type(`${CTRL_A}x`);
    await terminal.see("[tsvm: detached]");
    const { status, before, after } = await terminal.end();
    expect(status).toBe(0);
    expect(after).toBe(before);
    expect((await run(["ps", "-q"])).stdout).toBe("web\n");
  });
});

/** A client that speaks to the socket as it likes. */
class RawClient {
  text = "";
  closed = false;
  readonly socket: Socket;

  constructor(path: string) {
    this.socket = createConnection(path);
    this.socket.on("data", (bytes: Buffer) => (this.text += bytes.toString("latin1")));
    this.socket.on("error", () => undefined).on("close", () => (this.closed = true));
  }

  lines(): Record<string, unknown>[] {
    return this.text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

suite("a control socket", [KVM], () => {
  const clients: RawClient[] = [];
  const connect = (path: string): RawClient => {
    const client = new RawClient(path);
    clients.push(client);
    return client;
  };
  afterEach(() => {
    for (const { socket } of clients.splice(0)) socket.destroy();
  });
  const socketOf = async (name: string): Promise<string> =>
    (await run(["inspect", "--format", "{{.socket}}", name])).stdout.trim();

  test("answers what makes no sense, and goes on", async () => {
    await manager.define({ web: { code: IDLE } });
    await run(["start", "web"]);
    const client = connect(await socketOf("web"));
    const requests = [
      "hello",
      "[]",
      "{}",
      '{"id": 1}',
      '{"id": 2, "method": "explode"}',
      '{"id": 3, "method": "input", "params": {"data": "YQ=="}}',
      '{"id": 4, "method": "console", "params": {"input": true}}',
      '{"id": 5, "method": "input", "params": {"data": 7}}',
      '{"id": 6, "method": "resize", "params": {"rows": 1e9, "columns": -1}}',
      '{"id": 7, "method": "stop", "params": {"timeout": "soon"}}',
      '{"id": 8, "method": "__proto__"}',
      '{"id": 9, "method": "status"}',
    ];
    client.socket.write(`${requests.join("\n")}\n`);
    await until("the answers", () => client.lines().length === requests.length + 1);
    const [hello, ...answers] = client.lines();
    expect(hello).toMatchObject({ tsvm: { protocol: 1, name: "web" } });
    const byId = new Map(answers.map((answer) => [answer.id, answer]));
    const messages = answers.filter(({ error }) => error !== undefined);
    for (const { error } of messages) expect(error).toMatchObject({ code: "ERR_PROTOCOL" });
    expect(messages.filter(({ id }) => id === null)).toHaveLength(3);
    expect(messages.map(({ id }) => id).filter((id) => id !== null)).toEqual([1, 2, 3, 5, 6, 7, 8]);
    expect(byId.get(4)).toEqual({ id: 4, result: {} });
    expect(byId.get(9)).toMatchObject({ result: { state: "running" } });
    client.socket.write('{"id": 10, "method": "status"}\n');
    await until("one more answer", () => client.lines().length === requests.length + 2);
    expect(client.lines().at(-1)).toMatchObject({ id: 10, result: { viewers: 1 } });
  });

  test("outlives clients that send too much, read nothing, or come in crowds", async () => {
    await manager.define({ web: { code: ECHO } });
    await run(["start", "web"]);
    const path = await socketOf("web");

    const huge = connect(path);
    huge.socket.write(`{"id": 1, "method": "${"x".repeat(10_000_000)}`);
    await until("the end of the long line", () => huge.closed);
    expect(huge.lines()[1]).toMatchObject({ error: { message: "a line of more than 65536 bytes" } });

    // It asks and asks, and reads no answer.
    const deaf = connect(path);
    deaf.socket.pause();
    const question = '{"id": 1, "method": "status"}\n'.repeat(2000);
    while (deaf.socket.writable && deaf.socket.bytesWritten < 20_000_000) {
      if (!deaf.socket.write(question)) {
        const drained = new Promise((resolve) => deaf.socket.once("drain", resolve).once("close", resolve));
        if (
          (await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, 2000, "stuck"))])) ===
          "stuck"
        )
          break;
      }
    }

    // A crowd, of which the last ones are turned away.
    const crowd = Array.from({ length: 100 }, () => connect(path));
    await until("the crowd", () => crowd.filter(({ closed }) => closed).length >= 30);
    for (const { socket } of crowd) socket.destroy();
    deaf.socket.destroy();

    expect(await run(["stats", "--no-stream", "--format", "{{.name}}"])).toMatchObject({
      stdout: "web\n",
      stderr: "",
    });
    const { stdout } = await run(["stats", "--no-stream", "--format", "{{.resident}}"]);
    expect(Number(stdout)).toBeLessThan(160 * 2 ** 20);
    expect(await run(["stop", "-t", "0", "web"])).toMatchObject({ status: 0 });
  });
});
