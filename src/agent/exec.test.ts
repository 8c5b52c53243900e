import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { scratch } from "../../test/support/scratch.ts";
import { check, ROOT_USER, suite, tool } from "../../test/support/needs.ts";
import { AgentClient } from "./client.ts";
import { encodeFrame, u32, u64 } from "./frames.ts";
import { FrameType, STDIN_WINDOW } from "./protocol.ts";
import { realAgent } from "./testing/real-agent.ts";
import { exitFrame, HELLO, ScriptedAgent } from "./testing/scripted-agent.ts";

const USAGE = encodeFrame(FrameType.Usage, u64(1500n), u64(2500n), u64(4n));

suite("commands of the real agent", [tool("gcc", "gcc")], () => {
  const client = new AgentClient(realAgent(scratch().directory).connect);

  test("output, status and usage", async () => {
    const process = await client.exec(["sh", "-c", "echo out; echo err >&2; exit 7"]);
    const { stdout, stderr, status, signal, timedOut, usage } = await process.output();
    expect([stdout.toString(), stderr.toString()]).toEqual(["out\n", "err\n"]);
    expect([status, signal, timedOut]).toEqual([7, undefined, false]);
    expect(usage.memory).toBeGreaterThan(100_000);
  });

  test("environment, working directory, and stdin in one piece", async () => {
    const process = await client.exec(["sh", "-c", 'echo "$A $(pwd)"; cat'], {
      env: { A: "ä b" },
      cwd: "/usr",
      stdin: Buffer.from("given"),
    });
    expect((await process.output()).stdout.toString()).toBe("ä b /usr\ngiven");
    const none = await client.exec(["cat"], { stdin: "none" });
    expect((await none.output()).stdout.length).toBe(0);
    expect(none.stdin.destroyed).toBe(true);
  });

  test("large input comes back whole, through a reader that is slow at first", async () => {
    const data = Buffer.alloc(3_000_000);
    for (let i = 0; i < data.length; i++) data[i] = (i * 31) ^ (i >> 8);
    const process = await client.exec(["cat"]);
    process.stdin.end(data);
    await sleep(100);
    expect(process.stdout.readableLength).toBeLessThan(STDIN_WINDOW * 4);
    expect((await process.output()).stdout.equals(data)).toBe(true);
  });

  test("output that nobody reads makes the command wait", async () => {
    const process = await client.exec(["sh", "-c", "head -c 5000000 /dev/zero; echo end >&2"]);
    let ended = false;
    void process.exit.then(() => (ended = true));
    await sleep(200);
    expect([ended, process.stderr.readableLength]).toEqual([false, 0]);
    let bytes = 0;
    for await (const piece of process.stdout as AsyncIterable<Buffer>) bytes += piece.length;
    expect(bytes).toBe(5_000_000);
    expect((await process.exit).status).toBe(0);
    expect(String(process.stderr.read())).toBe("end\n");
  });

  test("signals by name and number", async () => {
    const process = await client.exec(["sleep", "30"]);
    process.kill();
    expect(await process.exit).toMatchObject({ status: undefined, signal: 15 });
    const other = await client.exec(["sleep", "30"]);
    other.kill(9);
    expect((await other.exit).signal).toBe(9);
    expect(() => other.kill("SIGNONE" as NodeJS.Signals)).toThrow('"SIGNONE" is not a signal');
  });

  test("a time limit kills; what was written before is there", async () => {
    const process = await client.exec(["sh", "-c", "echo begun; sleep 30"], { timeout: 300 });
    const { stdout, signal, timedOut } = await process.output();
    expect([stdout.toString(), signal, timedOut]).toEqual(["begun\n", 9, true]);
  });

  test("aborting breaks off, also while nobody reads the output", async () => {
    const controller = new AbortController();
    const process = await client.exec(["cat", "/dev/zero"], { signal: controller.signal });
    await sleep(100);
    controller.abort(new Error("enough"));
    await expect(process.exit).rejects.toThrow("enough");
    await expect(client.exec(["true"], { signal: controller.signal })).rejects.toThrow("enough");
  });

  test("what cannot be started says why", async () => {
    const process = await client.exec(["/no/such/program"]);
    await expect(process.exit).rejects.toMatchObject({
      code: "ERR_AGENT_REFUSED",
      errno: 2,
      message: "in the guest: /no/such/program: no such file or directory",
    });
    await expect(async () => {
      for await (const piece of process.stdout) void piece;
    }).rejects.toThrow("no such file");
  });

  test("output beyond a limit ends the command", async () => {
    const process = await client.exec(["cat", "/dev/zero"]);
    await expect(process.output({ maxBytes: 100_000 })).rejects.toMatchObject({ code: "ERR_AGENT_LIMIT" });
    await expect(process.exit).rejects.toMatchObject({ code: "ERR_AGENT_LOST" });
  });

  test("await using ends a command that still runs", async () => {
    const process = await client.exec(["sh", "-c", "echo $$; exec sleep 60"]);
    const pid = Number(String((await process.stdout[Symbol.asyncIterator]().next()).value));
    await process[Symbol.asyncDispose]();
    for (let waited = 0; waited < 5000 && alive(pid); waited += 50) await sleep(50);
    expect(alive(pid)).toBe(false);
  });

  test("a terminal, its size, and keys", async () => {
    const process = await client.exec(["sh", "-c", "stty size; read line; stty size; echo got $line"], {
      terminal: { rows: 12, columns: 34 },
    });
    process.resize({ rows: 56, columns: 78 });
    process.stdin.write("key\n");
    const { stdout, status } = await process.output();
    expect(stdout.toString()).toMatch(/(12 34|56 78)\r\n(key\r\n)?56 78\r\ngot key\r\n$/);
    expect(status).toBe(0);
    expect(() => process.resize({ rows: 0, columns: 1 })).toThrow("from 1 to 65535");
  });

  check("another user", [ROOT_USER], async () => {
    const process = await client.exec(["id", "-u"], { user: "nobody" });
    expect((await process.output()).stdout.toString()).toBe("65534\n");
  });

  test("many at once", async () => {
    const outputs = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => (await client.exec(["echo", String(i)])).output()),
    );
    expect(outputs.map(({ stdout }) => stdout.toString())).toEqual(
      Array.from({ length: 30 }, (_, i) => `${i}\n`),
    );
  });

  test("ping and time", async () => {
    await client.ping();
    await client.setTime();
    await client.setTime(1_234_567_890_123.25);
    await expect(client.setTime(-1)).rejects.toThrow("the clock cannot be set: invalid argument");
    await expect(client.setTime(NaN)).rejects.toThrow("setTime: time: NaN");
    await expect(client.shutdown()).rejects.toMatchObject({ code: "ERR_AGENT_REFUSED", errno: 2 });
  });
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("an agent that is not as it should be", () => {
  test("what it says is taken apart", async () => {
    const agent = new ScriptedAgent(HELLO, ({ type }, self) => {
      if (type === FrameType.Exec)
        self.say(encodeFrame(FrameType.Stdout, Buffer.from("x")), USAGE, exitFrame(0, 3));
    });
    const process = await new AgentClient(agent.connect).exec(["true"]);
    expect(await process.output()).toEqual({
      stdout: Buffer.from("x"),
      stderr: Buffer.alloc(0),
      status: 3,
      signal: undefined,
      timedOut: false,
      usage: { user: 1.5, system: 2.5, memory: 4096 },
    });
    expect(agent.closed).toBe(true);
  });

  test.each([
    ["another version", encodeFrame(FrameType.Hello, u32(9), u32(15)), "speaks version 9", "newer tsvm"],
    ["an older version", encodeFrame(FrameType.Hello, u32(0), u32(15)), "speaks version 0", "add-agent"],
    [
      "without the capability",
      encodeFrame(FrameType.Hello, u32(1), u32(2)),
      "cannot run commands",
      "add-agent",
    ],
  ])("%s", async (_, hello, message, hint) => {
    const agent = new ScriptedAgent(hello);
    const error: unknown = await new AgentClient(agent.connect).exec(["true"]).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "ERR_AGENT_VERSION" });
    expect((error as Error).message).toContain(message);
    expect((error as { hint: string }).hint).toContain(hint);
    expect(agent.closed).toBe(true);
  });

  test.each([
    ["no hello", exitFrame(0, 0)],
    ["a short hello", encodeFrame(FrameType.Hello, u32(1))],
    ["noise", Buffer.alloc(100, 0xff)],
  ])("%s", async (_, hello) => {
    const agent = new ScriptedAgent(hello);
    await expect(new AgentClient(agent.connect).exec(["true"])).rejects.toMatchObject({
      code: "ERR_AGENT_PROTOCOL",
    });
    expect(agent.closed).toBe(true);
  });

  test.each([
    ["an unknown frame", encodeFrame(0x7a)],
    ["a frame that is too long", Buffer.from([FrameType.Stdout, 0, 0, 0, 0, 0, 0, 0x7f])],
    ["a short exit frame", encodeFrame(FrameType.Exit, u32(0))],
    ["an exit of an unknown kind", exitFrame(7, 0)],
    ["a usage frame of the wrong length", encodeFrame(FrameType.Usage, u32(0))],
    ["an acknowledgement of the wrong length", encodeFrame(FrameType.StdinTaken)],
    ["more input taken than was sent", encodeFrame(FrameType.StdinTaken, u32(1))],
  ])("%s ends it with an error", async (_, frame) => {
    const agent = new ScriptedAgent(Buffer.concat([HELLO, frame]));
    const process = await new AgentClient(agent.connect).exec(["true"]);
    await expect(process.exit).rejects.toMatchObject({ code: "ERR_AGENT_PROTOCOL" });
    expect(agent.closed).toBe(true);
  });

  test("one that leaves", async () => {
    const agent = new ScriptedAgent(HELLO);
    const process = await new AgentClient(agent.connect).exec(["true"]);
    agent.leave();
    await expect(process.output()).rejects.toMatchObject({ code: "ERR_AGENT_LOST" });
    const silent = new ScriptedAgent(Buffer.alloc(0));
    silent.leave();
    await expect(new AgentClient(silent.connect).exec(["true"])).rejects.toMatchObject({
      code: "ERR_AGENT_LOST",
    });
  });

  test("its messages bring no control characters along", async () => {
    const agent = new ScriptedAgent(Buffer.concat([HELLO, exitFrame(2, 5, "\x1b[31mred\x07\n")]));
    const process = await new AgentClient(agent.connect).exec(["true"]);
    await expect(process.exit).rejects.toThrow("in the guest: ?[31mred??");
  });

  test("stdin waits for it after 64 KiB", async () => {
    const agent = new ScriptedAgent(HELLO);
    const received = (): number =>
      agent.heard
        .filter(({ type }) => type === FrameType.Stdin)
        .reduce((sum, { payload }) => sum + payload.length, 0);
    const process = await new AgentClient(agent.connect).exec(["cat"]);
    process.stdin.end(Buffer.alloc(200_000));
    await sleep(50);
    expect(received()).toBe(STDIN_WINDOW);
    process.kill("SIGUSR1");
    await sleep(10);
    expect(agent.heard.at(-1)!.type).toBe(FrameType.Signal);
    agent.say(encodeFrame(FrameType.StdinTaken, u32(40_000)));
    await sleep(50);
    expect(received()).toBe(STDIN_WINDOW + 40_000);
    agent.say(exitFrame(0, 0));
    await process.exit;
  });
});

test("commands that cannot be sent", async () => {
  const client = new AgentClient(() => Promise.reject(new Error("not reached")));
  const cases: [readonly string[], object, string][] = [
    [[], {}, "exec: argv: a list is not a list of a program and its arguments"],
    [["a\0b"], {}, "without NUL"],
    [["true"], { env: { "A=B": "c" } }, "the name of a variable"],
    [["true"], { env: { A: 5 } }, "exec: env.A: 5"],
    [["true"], { cwd: "\0" }, "exec: cwd:"],
    [["true"], { user: 0 }, "exec: user: 0"],
    [["true"], { timeout: "1s" }, 'exec: timeout: "1s"'],
    [["true"], { stdin: "text" }, 'exec: stdin: "text"'],
    [["true"], { tty: true }, 'exec: "tty"'],
    [["true"], { terminal: { rows: 1, columns: 1e6 } }, "from 1 to 65535"],
    [Array(3).fill("x".repeat(200_000)), {}, "600006 bytes"],
    [["x".repeat(600_000)], {}, "of at most 524288 bytes"],
    [[5 as unknown as string], {}, "exec: argv: 5"],
  ];
  for (const [argv, options, message] of cases)
    await expect(client.exec(argv, options)).rejects.toThrow(message);
});
