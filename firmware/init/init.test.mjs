// Drives the logic of the guest's init on this machine. Run by `scripts/build-init --test`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { frame, hold, list, text, u32 } from "../testing/conversation.mjs";

const program = fileURLToPath(new URL("../../build/init/init-test", import.meta.url));

function runRequest(argv, { flags = 0, env = [], cwd = "", device = "", type = "", hostname = "" } = {}) {
  return frame(
    "R",
    Buffer.concat([u32(flags), ...list(argv), ...list(env), ...[cwd, device, type, hostname].map(text)]),
  );
}

/** Starts init, sends `input`, and collects its frames until it ends. */
async function converse(input, { chunk, onFrame = () => undefined, cwd } = {}) {
  const init = spawn(program, [], { cwd, stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const { bytes: stdout, ...told } = await hold(init.stdio[3], input, {
    chunk,
    onFrame,
    onEnd: (end) => init.on("close", end),
    limit: 10_000,
    giveUp: () => init.kill("SIGKILL"),
  });
  return { ...told, stdout };
}

test("says hello first, runs a command found in PATH, carries its output and status", async () => {
  const result = await converse(runRequest(["sh", "-c", "echo out; echo err >&2; exit 7"]));
  assert.equal(result.frames[0].type, "H");
  assert.deepEqual(result.frames[0].payload, u32(1));
  assert.equal(result.stdout.toString(), "out\n");
  assert.equal(result.stderr, "err\n");
  assert.deepEqual(result.exit, { kind: 0, value: 7, message: "" });
  assert.equal(result.frames.at(-1).type, "X");
});

test("the request may come one byte at a time", async () => {
  const result = await converse(runRequest(["echo", "hello"]), { chunk: 1 });
  assert.equal(result.stdout.toString(), "hello\n");
});

test("environment, defaults and working directory", async () => {
  const result = await converse(
    runRequest(["sh", "-c", 'echo "$A $HOME $TERM $(pwd)"'], { env: ["A=b c", "TERM=vt100"], cwd: "/usr" }),
  );
  assert.equal(result.stdout.toString(), "b c /root vt100 /usr\n");
});

test("a PATH of the host's choosing is used", async () => {
  const result = await converse(runRequest(["sh", "-c", "true"], { env: ["PATH=/nonexistent:/bin"] }));
  assert.deepEqual(result.exit, { kind: 0, value: 0, message: "" });
});

test("a command that cannot be started is told with its errno", async () => {
  const missing = await converse(runRequest(["no-such-command"]));
  assert.deepEqual(missing.exit, {
    kind: 2,
    value: 2,
    message: "no-such-command: no such file or directory",
  });
  const forbidden = await converse(runRequest(["/etc/passwd"]));
  assert.deepEqual(forbidden.exit, { kind: 2, value: 13, message: "/etc/passwd: permission denied" });
  const nowhere = await converse(runRequest(["true"], { cwd: "/no/such/place" }));
  assert.deepEqual(nowhere.exit, { kind: 2, value: 2, message: "/no/such/place: no such file or directory" });
  const nothing = await converse(runRequest([""]));
  assert.equal(nothing.exit.kind, 2);
});

test("death by signal, and signals from the host", async () => {
  const own = await converse(runRequest(["sh", "-c", "kill -9 $$"]));
  assert.deepEqual(own.exit, { kind: 1, value: 9, message: "" });
  const sent = await converse(runRequest(["sh", "-c", "echo ready; sleep 30"]), {
    onFrame: (received, port) => received.type === "O" && port.write(frame("S", u32(15))),
  });
  assert.deepEqual(sent.exit, { kind: 1, value: 15, message: "" });
});

test("poweroff, halt and reboot, which signal PID 1, end the session", async () => {
  const result = await converse(runRequest(["sh", "-c", "echo bye; kill -USR2 $PPID; sleep 30"]));
  assert.equal(result.stdout.toString(), "bye\n");
  assert.deepEqual(result.exit, { kind: 0, value: 0, message: "" });
});

test("a command starts with no signal blocked", async () => {
  const result = await converse(runRequest(["grep", "SigBlk", "/proc/self/status"]));
  assert.match(result.stdout.toString(), /^SigBlk:\s+0{16}$/m);
});

test("a command starts with no descriptors but its three", async () => {
  const result = await converse(runRequest(["ls", "/proc/self/fd"]));
  // 3 is ls reading the directory; high numbers come from whoever runs this test.
  assert.doesNotMatch(result.stdout.toString(), /^[4-9]$/m);
});

test("stdin reaches the command whole, however it is cut, with output flowing back meanwhile", async () => {
  const data = Buffer.alloc(3_000_000);
  for (let i = 0; i < data.length; i++) data[i] = (i * 31) ^ (i >> 8);
  const parts = [runRequest(["cat"])];
  for (let at = 0, size = 1; at < data.length; at += size, size = (size * 7) % 200_003)
    parts.push(frame("I", data.subarray(at, at + size)));
  parts.push(frame("C"));
  const result = await converse(Buffer.concat(parts));
  assert.deepEqual(result.exit, { kind: 0, value: 0, message: "" });
  assert.ok(result.stdout.equals(data));
});

test("a command that closes its stdin loses the rest and nothing else", async () => {
  const input = Buffer.concat([
    runRequest(["sh", "-c", "head -c 3; exec <&-; echo; echo done"]),
    frame("I", Buffer.from("abc")),
    frame("I", Buffer.alloc(900_000)),
    frame("C"),
  ]);
  const result = await converse(input);
  assert.equal(result.stdout.toString(), "abc\ndone\n");
  assert.deepEqual(result.exit, { kind: 0, value: 0, message: "" });
});

test("large output is complete although the command has ended", async () => {
  const result = await converse(runRequest(["sh", "-c", "head -c 2000000 /dev/zero; printf end >&2"]));
  assert.equal(result.stdout.length, 2_000_000);
  assert.equal(result.stderr, "end");
});

test("children left behind that hold the pipes open are not waited for", async () => {
  const started = Date.now();
  const result = await converse(runRequest(["sh", "-c", "sleep 5 & echo first"]));
  assert.equal(result.stdout.toString(), "first\n");
  assert.ok(Date.now() - started < 2000);
});

test("broken requests are refused with a reason", async () => {
  const short = await converse(frame("R", Buffer.concat([u32(0), u32(3), text("a")])));
  assert.deepEqual(short.exit, { kind: 2, value: 22, message: "run request cut short" });
  const lying = await converse(frame("R", Buffer.concat([u32(0), u32(0xffffffff)])));
  assert.equal(lying.exit.message, "run request cut short");
  const unended = await converse(frame("R", Buffer.concat([u32(0), u32(1), Buffer.from("abc")])));
  assert.equal(unended.exit.message, "run request cut short");
  const empty = await converse(frame("R"));
  assert.equal(empty.exit.message, "run request cut short");
  const unknown = await converse(runRequest(["true"], { flags: 1 << 20 }));
  assert.match(unknown.exit.message, /unknown flags/);
  const noise = await converse(Buffer.alloc(64, 0xff));
  assert.equal(noise.exit.message, "the host sent no run request");
});

test("frames that make no sense are complained about and survived", async () => {
  const input = Buffer.concat([
    runRequest(["sh", "-c", "cat; echo end"]),
    frame("?", Buffer.alloc(100)),
    frame("S", Buffer.alloc(0)),
    frame("S", u32(9999)),
    frame("W", Buffer.alloc(3)),
    frame("I", Buffer.from("in\n")),
    frame("C", Buffer.from("with a payload")),
    frame("C"),
  ]);
  const result = await converse(input);
  assert.equal(result.stdout.toString(), "in\nend\n");
  assert.match(result.stderr, /unknown frame[^]*bad signal[^]*bad signal[^]*bad window/);
  assert.deepEqual(result.exit, { kind: 0, value: 0, message: "" });
});

test("bytes that are no frame close the input; the command runs on", async () => {
  const result = await converse(
    Buffer.concat([
      runRequest(["sh", "-c", "cat; echo end"]),
      frame("I", Buffer.from("a")),
      Buffer.alloc(50, 0xee),
    ]),
  );
  assert.equal(result.stdout.toString(), "aend\n");
  assert.match(result.stderr, /no frame/);
});

const RUN_AGENT = 16;
const RUN_AGENT_LATER = 32;

/** A working directory in which init finds the agent's program; what was started in it is ended afterwards. */
async function withAgent(body) {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-init-"));
  symlinkSync(
    fileURLToPath(new URL("../../build/init/agent-test", import.meta.url)),
    join(directory, "agent-test"),
  );
  try {
    return await body(directory);
  } finally {
    for (const pid of agentsIn(directory)) process.kill(pid);
    rmSync(directory, { recursive: true });
  }
}

/** Without the processes of their connections, whose parents they are. */
function agentsIn(directory) {
  const found = readdirSync("/proc").filter((pid) => {
    try {
      return (
        readlinkSync(`/proc/${pid}/cwd`) === directory &&
        readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("tsvm-agent\0")
      );
    } catch {
      return false;
    }
  });
  const children = found.flatMap((pid) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" "),
  );
  return found.filter((pid) => !children.includes(pid)).map(Number);
}

/** The first byte that the agent says: that of its hello. */
function greet(directory) {
  return new Promise((resolve, reject) => {
    const socket = connect(join(directory, "agent.sock"));
    socket.once("error", reject).once("data", (bytes) => {
      socket.destroy();
      resolve(String.fromCharCode(bytes[0]));
    });
  });
}

test("the agent is started with the command, and listens when the host hears of it", () =>
  withAgent(async (directory) => {
    let greeting;
    const result = await converse(runRequest(["cat"], { flags: RUN_AGENT }), {
      cwd: directory,
      onFrame: ({ type }, port) => {
        if (type === "A") greeting = greet(directory).finally(() => port.write(frame("C")));
      },
    });
    assert.deepEqual(result.frames[1], { type: "A", payload: u32(0) });
    assert.equal(await greeting, "H");
    assert.deepEqual(result.exit, { kind: 0, value: 0, message: "" });
    assert.equal(agentsIn(directory).length, 1);
  }));

test("the agent is started when the host asks, once", () =>
  withAgent(async (directory) => {
    const answers = [];
    let greeting;
    const input = Buffer.concat([runRequest(["cat"], { flags: RUN_AGENT_LATER }), frame("A")]);
    await converse(input, {
      cwd: directory,
      onFrame: ({ type, payload }, port) => {
        if (type !== "A") return;
        answers.push(payload.readUInt32LE(0));
        if (answers.length === 1) port.write(frame("A"));
        else greeting = greet(directory).finally(() => port.write(frame("C")));
      },
    });
    assert.deepEqual(answers, [0, 0]);
    assert.equal(await greeting, "H");
    assert.equal(agentsIn(directory).length, 1);
  }));

const RUN_WAIT = 64;

test("without a command it waits, with the agent if that is wanted, until it is told to end", () =>
  withAgent(async (directory) => {
    const result = await converse(runRequest([], { flags: RUN_WAIT | RUN_AGENT }), {
      cwd: directory,
      onFrame: ({ type }, port) => {
        if (type === "A") void greet(directory).finally(() => port.write(frame("S", u32(15))));
      },
    });
    assert.deepEqual(result.exit, { kind: 0, value: 0, message: "" });
    assert.equal(result.frames.map(({ type }) => type).join(""), "HAX");
  }));

test("an agent that cannot be started is told by its errno", () =>
  withAgent(async (directory) => {
    const unasked = await converse(Buffer.concat([runRequest(["true"]), frame("A")]), { cwd: directory });
    assert.ok(!unasked.frames.some(({ type, payload }) => type === "A" && payload.readUInt32LE(0) === 0));
    rmSync(join(directory, "agent-test"));
    const missing = await converse(runRequest(["true"], { flags: RUN_AGENT }), { cwd: directory });
    assert.deepEqual(missing.frames[1], { type: "A", payload: u32(2) });
    assert.deepEqual(missing.exit, { kind: 0, value: 0, message: "" });
  }));
