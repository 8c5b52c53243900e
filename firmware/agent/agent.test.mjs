// Drives the agent on this machine, over a unix socket in place of vsock. Run by `scripts/build-init --test`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { frame, hold, list, text, u32, u64 } from "../testing/conversation.mjs";

const program = fileURLToPath(new URL("../../build/init/agent-test", import.meta.url));
const root = process.getuid() === 0;
const needsRoot = { skip: root ? false : "needs root, to take another user's rights" };

let directory;
let agent;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "tsvm-agent-"));
  agent = spawn(program, [], { cwd: directory, stdio: ["ignore", "inherit", "inherit"] });
  while (!existsSync(join(directory, "agent.sock"))) await sleep(5);
});

after(() => {
  agent.kill();
  rmSync(directory, { recursive: true });
});

function exec(argv, { flags = 0, env = [], cwd = "", user = "", rows = 0, columns = 0 } = {}) {
  const fields = [...list(argv), ...list(env), text(cwd), text(user), u32(rows), u32(columns)];
  return frame("x", Buffer.concat([u32(flags), ...fields]));
}
const TERMINAL = 1;
const NO_STDIN = 2;

const put = (destination, { flags = 0, owner = "" } = {}) =>
  frame("p", Buffer.concat([u32(flags), text(destination), text(owner)]));
const get = (path, flags = 0) => frame("g", Buffer.concat([u32(flags), text(path)]));
const entry = (kind, name, { mode = 0o644, time = 1e9, nanoseconds = 0, size = 0, target = "" } = {}) =>
  frame(
    "N",
    Buffer.concat([u32(kind), u32(mode), u32(nanoseconds), u64(time), u64(size), text(name), text(target)]),
  );
const FILE = 1;
const DIRECTORY = 2;
const SYMLINK = 3;
const file = (name, content, options) =>
  Buffer.concat([entry(FILE, name, options), frame("D", Buffer.from(content)), frame("F", u32(0))]);
const leave = frame("L");
const treeEnd = frame("Z");

/** Connects, sends `input`, and collects the agent's frames until it closes the connection. */
async function converse(input, { chunk, onFrame = () => undefined } = {}) {
  const socket = connect(join(directory, "agent.sock"));
  const told = await hold(socket, input, {
    chunk,
    onFrame(received) {
      onFrame(received, socket);
      if (received.type === "X") socket.destroy();
    },
    onEnd: (end) => socket.on("close", () => end()),
    limit: 15_000,
    giveUp: () => socket.destroy(),
  });
  const { frames, bytes, usage } = told;
  return {
    ...told,
    types: frames.map((f) => f.type).join(""),
    stdout: bytes.toString(),
    usage: usage.length === 24 && [0, 8, 16].map((at) => Number(usage.readBigUInt64LE(at))),
    problems: frames
      .filter((f) => f.type === "P")
      .map(({ payload }) => [payload.readUInt32LE(0), payload.subarray(4).toString()]),
  };
}

const ok = { kind: 0, value: 0, message: "" };

async function until(condition, what) {
  for (let waited = 0; !condition(); waited += 20) {
    assert.ok(waited < 10_000, `not in time: ${what}`);
    await sleep(20);
  }
}

/** Processes of ours whose command line has this word. */
function running(word) {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(word);
    } catch {
      return false;
    }
  });
}

let names = 0;
function scratch() {
  const path = join(directory, `scratch-${names++}`);
  mkdirSync(path);
  return path;
}

// ---- commands -------------------------------------------------------------------------------------------------------

test("says hello with version and capabilities, runs a command, tells status and usage", async () => {
  const result = await converse(exec(["sh", "-c", "echo out; echo err >&2; exit 7"]));
  assert.equal(result.frames[0].type, "H");
  assert.deepEqual(result.frames[0].payload, Buffer.concat([u32(1), u32(15)]));
  assert.equal(result.stdout, "out\n");
  assert.equal(result.stderr, "err\n");
  assert.deepEqual(result.exit, { kind: 0, value: 7, message: "" });
  assert.ok(result.types.endsWith("UX"));
  assert.ok(result.usage[2] > 100, "KiB at its peak");
});

test("usage has the processor time of the command and its children", async () => {
  const { usage } = await converse(exec(["sh", "-c", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"]));
  assert.ok(usage[0] + usage[1] > 5_000, `${usage}`);
});

test("the request may come one byte at a time", async () => {
  const result = await converse(exec(["echo", "hello"]), { chunk: 1 });
  assert.equal(result.stdout, "hello\n");
});

test("environment, defaults, working directory", async () => {
  const script = 'echo "$A $HOME ${TERM-none} $PATH $(pwd)"';
  const given = await converse(
    exec(["sh", "-c", script], { env: ["A=b c", "PATH=/usr/bin:/bin"], cwd: "/usr" }),
  );
  assert.equal(given.stdout, "b c /root none /usr/bin:/bin /usr\n");
  const plain = await converse(exec(["sh", "-c", script]));
  assert.equal(plain.stdout, " /root none /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /\n");
});

test("users by name and number, with their groups", needsRoot, async () => {
  const command = ["sh", "-c", 'id -u; id -g; id -G; echo "$HOME $USER"'];
  const line = readFileSync("/etc/passwd", "utf8")
    .match(/^nobody:.*$/m)[0]
    .split(":");
  const named = await converse(exec(command, { user: "nobody" }));
  assert.equal(named.stdout, `${line[2]}\n${line[3]}\n${line[3]}\n${line[5]} nobody\n`);
  const withGroup = await converse(exec(command, { user: "nobody:root" }));
  assert.equal(withGroup.stdout, `${line[2]}\n0\n0\n${line[5]} nobody\n`);
  const numbers = await converse(exec(command, { user: "54321:12345" }));
  assert.equal(numbers.stdout, "54321\n12345\n12345\n/ \n");
  const number = await converse(exec(command, { user: "54321" }));
  assert.equal(number.stdout, "54321\n0\n0\n/ \n");
});

test("a user or group that does not exist is told", async () => {
  for (const user of ["no-such-user", "root:no-such-group", "4294967295", "99999999999", ":"]) {
    const { exit } = await converse(exec(["true"], { user }));
    assert.deepEqual([exit.kind, exit.value], [2, 2], user);
    assert.ok(exit.message.includes(user), exit.message);
  }
});

test("a command that cannot be started is told with its errno", async () => {
  const missing = await converse(exec(["no-such-command"]));
  assert.deepEqual(missing.exit, {
    kind: 2,
    value: 2,
    message: "no-such-command: no such file or directory",
  });
  const forbidden = await converse(exec(["/etc/passwd"]));
  assert.deepEqual(forbidden.exit, { kind: 2, value: 13, message: "/etc/passwd: permission denied" });
  const nowhere = await converse(exec(["true"], { cwd: "/no/such/place" }));
  assert.deepEqual(nowhere.exit, { kind: 2, value: 2, message: "/no/such/place: no such file or directory" });
});

test("death by signal, and signals from the host", async () => {
  const own = await converse(exec(["sh", "-c", "kill -9 $$"]));
  assert.deepEqual(own.exit, { kind: 1, value: 9, message: "" });
  const sent = await converse(exec(["sh", "-c", "echo ready; sleep 30"]), {
    onFrame: (received, socket) => received.type === "O" && socket.write(frame("S", u32(15))),
  });
  assert.deepEqual(sent.exit, { kind: 1, value: 15, message: "" });
});

test("a command starts with no signal blocked, and no descriptors but its three", async () => {
  const mask = await converse(exec(["grep", "SigBlk", "/proc/self/status"]));
  assert.match(mask.stdout, /^SigBlk:\s+0{16}$/m);
  const descriptors = await converse(exec(["sh", "-c", "ls /proc/$$/fd"]));
  assert.doesNotMatch(descriptors.stdout, /^[3-9]$/m);
});

test("without stdin there is nothing to read", async () => {
  const result = await converse(exec(["sh", "-c", "cat; readlink /proc/self/fd/0"], { flags: NO_STDIN }));
  assert.equal(result.stdout, "/dev/null\n");
});

/** Sends stdin as the host must: never more than 64 KiB ahead of what the agent says was taken. */
function sendWithin(data) {
  const WINDOW = 65536;
  let sent = 0;
  let taken = 0;
  const pump = (socket) => {
    while (sent < data.length && sent - taken < WINDOW) {
      const part = data.subarray(sent, Math.min(sent + 20_000, taken + WINDOW));
      socket.write(frame("I", part));
      sent += part.length;
      if (sent === data.length) socket.write(frame("C"));
    }
  };
  return (received, socket) => {
    if (received.type === "K") taken += received.payload.readUInt32LE(0);
    if ("HK".includes(received.type)) pump(socket);
  };
}

test("stdin reaches the command whole, with output flowing back meanwhile", async () => {
  const data = Buffer.alloc(3_000_000);
  for (let i = 0; i < data.length; i++) data[i] = (i * 31) ^ (i >> 8);
  const result = await converse(exec(["cat"]), { onFrame: sendWithin(data) });
  assert.deepEqual(result.exit, ok);
  assert.ok(result.bytes.equals(data));
});

test("signals are not held up by input that the command does not read", async () => {
  const input = Buffer.concat([
    exec(["sh", "-c", "echo ready; exec sleep 30"]),
    frame("I", Buffer.alloc(65536)),
  ]);
  const result = await converse(input, {
    onFrame: (received, socket) => received.type === "O" && socket.write(frame("S", u32(9))),
  });
  assert.deepEqual(result.exit, { kind: 1, value: 9, message: "" });
});

test("input beyond the window closes it, and nothing else", async () => {
  const input = Buffer.concat([
    exec(["sh", "-c", "sleep 0.3; wc -c"]),
    ...Array.from({ length: 8 }, () => frame("I", Buffer.alloc(65536))),
  ]);
  const result = await converse(input);
  assert.match(result.stderr, /more stdin than the host may send/);
  assert.equal(result.exit.kind, 0);
});

test("a command that closes its stdin loses the rest and nothing else", async () => {
  const result = await converse(exec(["sh", "-c", "head -c 3; exec <&-; echo; echo done"]), {
    onFrame: sendWithin(Buffer.alloc(500_000, "abc")),
  });
  assert.equal(result.stdout, "abc\ndone\n");
  assert.deepEqual(result.exit, ok);
});

test("large output is complete although the command has ended", async () => {
  const result = await converse(exec(["sh", "-c", "head -c 2000000 /dev/zero; printf end >&2"]));
  assert.equal(result.bytes.length, 2_000_000);
  assert.equal(result.stderr, "end");
});

test("children left behind that hold the pipes open are not waited for", async () => {
  const started = Date.now();
  const result = await converse(exec(["sh", "-c", "sleep 3 & echo first"]));
  assert.equal(result.stdout, "first\n");
  assert.ok(Date.now() - started < 2000);
});

// ---- terminals ------------------------------------------------------------------------------------------------------

test("a terminal of its own, with its size", async () => {
  const result = await converse(
    exec(["sh", "-c", "tty; stty size; echo $TERM; [ -t 0 ] && [ -t 2 ] && ps -o tty= -p $$"], {
      flags: TERMINAL,
      rows: 33,
      columns: 101,
    }),
  );
  assert.match(result.stdout, /^\/dev\/(pts\/\d+)\r\n33 101\r\nlinux\r\n\1\s*\r\n$/);
  assert.deepEqual(result.exit, ok);
});

test("keys, echo, end of input and interrupt on a terminal", async () => {
  const typed = await converse(
    exec(["sh", "-c", "read a; echo got $a; cat; echo end"], { flags: TERMINAL }),
    {
      onFrame: (received, socket) => {
        if (received.type === "H")
          socket.write(Buffer.concat([frame("I", Buffer.from("word\n")), frame("C")]));
      },
    },
  );
  assert.equal(typed.stdout, "word\r\ngot word\r\nend\r\n");
  const interrupted = await converse(exec(["sh", "-c", "echo ready; sleep 30"], { flags: TERMINAL }), {
    onFrame: (received, socket) => received.type === "O" && socket.write(frame("I", Buffer.of(3))),
  });
  assert.deepEqual(interrupted.exit, { kind: 1, value: 2, message: "" });
});

test("the size of a terminal changes", async () => {
  const script = "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done";
  const result = await converse(exec(["sh", "-c", script], { flags: TERMINAL, rows: 10, columns: 20 }), {
    onFrame: (received, socket) =>
      received.payload.includes("ready") && socket.write(frame("W", Buffer.concat([u32(44), u32(55)]))),
  });
  assert.match(result.stdout, /44 55/);
  assert.equal(result.exit.value, 3);
});

test("a terminal belongs to the user, and its output is complete", needsRoot, async () => {
  const owner = await converse(
    exec(["sh", "-c", "echo >$(tty) && stat -c '%u %a' $(tty)"], { flags: TERMINAL, user: "54321" }),
  );
  assert.equal(owner.stdout, "\r\n54321 620\r\n");
  const large = await converse(exec(["sh", "-c", "seq 1 20000"], { flags: TERMINAL }));
  assert.ok(large.stdout.endsWith("\r\n19999\r\n20000\r\n"));
});

// ---- connections ----------------------------------------------------------------------------------------------------

test("when the connection is lost the process group gets SIGHUP, and SIGKILL if that does not end it", async () => {
  const word = `tsvm-test-${process.pid}`;
  const script = "trap '' HUP; sleep 60 & echo $0; while :; do sleep 1; done";
  await converse(exec(["sh", "-c", script, word]), {
    onFrame: (received, socket) => received.type === "O" && socket.destroy(),
  });
  assert.equal(running(word).length > 0, true);
  await until(() => running(word).length === 0, "the end of the process");

  const note = join(scratch(), "note");
  const polite = `trap 'echo hung up >${note}; exit' HUP; echo ready; while :; do sleep 0.05; done`;
  await converse(exec(["sh", "-c", polite]), {
    onFrame: (received, socket) => received.type === "O" && socket.destroy(),
  });
  await until(() => existsSync(note), "the note of a command that heard SIGHUP");
});

test("a lost connection is noticed although the command takes no input and gives no output", async () => {
  const word = `tsvm-test-quiet-${process.pid}`;
  const socket = connect(join(directory, "agent.sock"));
  socket.on("error", () => undefined);
  socket.write(Buffer.concat([exec(["sh", "-c", "sleep 60; true", word]), frame("I", Buffer.alloc(65536))]));
  await until(() => running(word).length > 0, "the command");
  socket.destroy();
  await until(() => running(word).length === 0, "its end");
});

test("a hundred commands at once", async () => {
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, i) => converse(exec(["sh", "-c", `echo ${i}; exit ${i}`]))),
  );
  for (const [i, { stdout, exit }] of results.entries()) {
    assert.equal(stdout, `${i}\n`);
    assert.deepEqual(exit, { kind: 0, value: i, message: "" });
  }
});

/** Processes of connections. */
const children = () => readFileSync(`/proc/${agent.pid}/task/${agent.pid}/children`, "utf8").trim();

test("more connections than the agent serves are turned away; afterwards it goes on", async () => {
  await until(() => children() === "", "the end of earlier connections");
  const silent = [];
  for (let i = 0; i < 256; i++)
    silent.push(connect(join(directory, "agent.sock")).on("error", () => undefined));
  await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once("data", resolve))));
  const refused = await converse(exec(["true"]));
  assert.deepEqual([refused.exit.kind, refused.exit.value], [2, 11]);
  assert.match(refused.exit.message, /as many connections as it can/);
  for (const socket of silent) socket.destroy();
  let exit;
  for (let i = 0; i < 100 && exit?.kind !== 0; i++) {
    ({ exit } = await converse(exec(["true"])));
    await sleep(20);
  }
  assert.deepEqual(exit, ok);
});

test("nothing is left behind: processes, zombies, descriptors", async () => {
  await until(() => children() === "", "the end of all connections");
  assert.ok(readdirSync(`/proc/${agent.pid}/fd`).length <= 6);
});

// ---- other requests -------------------------------------------------------------------------------------------------

test("ping, and setting the time", async () => {
  assert.deepEqual((await converse(frame("i"))).exit, ok);
  assert.deepEqual((await converse(frame("t", Buffer.concat([u64(1e9), u32(0)])))).exit, ok);
  const bad = await converse(frame("t", Buffer.concat([u64(1e9), u32(1e9)])));
  assert.deepEqual(bad.exit, { kind: 2, value: 22, message: "bad time request" });
  assert.equal((await converse(frame("t", u32(0)))).exit.message, "bad time request");
});

test("shutdown runs poweroff or reboot, and tells what they said", async () => {
  assert.match((await converse(frame("d", u32(0)))).exit.message, /poweroff: no such file/);
  mkdirSync(join(directory, "sbin"));
  for (const [name, status] of [
    ["poweroff", 0],
    ["reboot", 5],
  ]) {
    writeFileSync(join(directory, "sbin", name), `#!/bin/sh\necho ${name} >&2; exit ${status}\n`);
    chmodSync(join(directory, "sbin", name), 0o755);
  }
  const off = await converse(frame("d", u32(0)));
  assert.deepEqual([off.stderr, off.exit], ["poweroff\n", ok]);
  const reboot = await converse(frame("d", u32(1)));
  assert.deepEqual([reboot.stderr, reboot.exit.value], ["reboot\n", 5]);
  assert.equal((await converse(frame("d", u32(2)))).exit.message, "bad shutdown request");
});

test("requests that make no sense are refused with a reason", async () => {
  const cases = [
    [frame("x", Buffer.concat([u32(0), u32(3), text("a")])), "exec request cut short"],
    [frame("x", Buffer.concat([u32(0), u32(0xffffffff)])), "exec request cut short"],
    [frame("x"), "exec request cut short"],
    [exec([]), "exec request without a command, or with a terminal of no size"],
    [exec(["true"], { rows: 70_000 }), "exec request without a command, or with a terminal of no size"],
    [
      exec(["true"], { flags: 1 << 20 }),
      "exec request with unknown flags: tsvm is newer than the guest's agent",
    ],
    [frame("?"), "a request that this agent does not know: tsvm is newer"],
    [Buffer.alloc(64, 0xff), "the host sent no request"],
    [frame("p"), "bad put request"],
    [put(""), "bad put request"],
    [put("/x", { flags: 8 }), "bad put request"],
    [get(""), "bad get request"],
    [get("/x", 2), "bad get request"],
    [frame("g", Buffer.from([0, 0, 0, 0, 65])), "bad get request"],
  ];
  for (const [input, message] of cases) {
    const { exit } = await converse(input);
    assert.deepEqual(exit, { kind: 2, value: 22, message });
  }
});

test("frames that make no sense are complained about and survived", async () => {
  const input = Buffer.concat([
    exec(["sh", "-c", "cat; echo end"]),
    frame("?", Buffer.alloc(100)),
    frame("S", Buffer.alloc(0)),
    frame("S", u32(9999)),
    frame("W", Buffer.alloc(3)),
    frame("I", Buffer.from("in\n")),
    frame("C", Buffer.from("with a payload")),
    frame("C"),
  ]);
  const result = await converse(input);
  assert.equal(result.stdout, "in\nend\n");
  assert.match(result.stderr, /unknown frame[^]*bad signal[^]*bad signal[^]*bad window/);
  const noise = await converse(Buffer.concat([exec(["sh", "-c", "cat; echo end"]), Buffer.alloc(50, 0xee)]));
  assert.equal(noise.stdout, "end\n");
  assert.match(noise.stderr, /no frame/);
});

// ---- files ----------------------------------------------------------------------------------------------------------

test("a file is put under a new name, into a directory, in the place of another", async () => {
  const base = scratch();
  const target = join(base, "new");
  const made = await converse(
    Buffer.concat([
      put(target),
      file("source", "content", { mode: 0o4751, time: 1234567890, nanoseconds: 500 }),
      treeEnd,
    ]),
  );
  assert.deepEqual([made.exit, made.problems], [ok, []]);
  assert.equal(readFileSync(target, "utf8"), "content");
  const status = statSync(target, { bigint: true });
  assert.equal(Number(status.mode & 0o7777n), 0o751, "no set-user-id");
  assert.equal(status.mtimeNs, 1234567890n * 1000000000n + 500n);

  await converse(Buffer.concat([put(base), file("inside", "1"), treeEnd]));
  assert.equal(readFileSync(join(base, "inside"), "utf8"), "1");
  await converse(Buffer.concat([put(`${base}/`), file("inside", "2"), treeEnd]));
  assert.equal(readFileSync(join(base, "inside"), "utf8"), "2");
  await converse(Buffer.concat([put(join(base, "inside")), file("other", "3"), treeEnd]));
  assert.equal(readFileSync(join(base, "inside"), "utf8"), "3");
  assert.deepEqual(readdirSync(base).sort(), ["inside", "new"]);
});

test("destinations that cannot be", async () => {
  const base = scratch();
  writeFileSync(join(base, "file"), "");
  const cases = [
    [join(base, "no", "such"), file("f", "x"), 2],
    [join(base, "missing/"), file("f", "x"), 2],
    [join(base, "file/"), file("f", "x"), 20],
    [join(base, "file"), Buffer.concat([entry(DIRECTORY, "d"), leave]), 20],
    [join(base, "n".repeat(300)), file("f", "x"), 36],
  ];
  for (const [destination, tree, errno] of cases) {
    const { exit } = await converse(Buffer.concat([put(destination), tree, treeEnd]));
    assert.deepEqual([exit.kind, exit.value], [2, errno], `${destination}: ${exit.message}`);
    assert.ok(exit.message.startsWith(destination.slice(0, 200)));
  }
  assert.deepEqual(readdirSync(base), ["file"]);
});

test("missing directories above are made when asked for", async () => {
  const base = scratch();
  const { exit } = await converse(
    Buffer.concat([put(join(base, "a/b/c"), { flags: 2 }), file("f", "x"), treeEnd]),
  );
  assert.deepEqual(exit, ok);
  assert.equal(readFileSync(join(base, "a/b/c"), "utf8"), "x");
});

const sampleTree = Buffer.concat([
  entry(DIRECTORY, "top", { mode: 0o500, time: 1000 }),
  file("empty", ""),
  entry(DIRECTORY, "sub", { mode: 0o750, time: 2000 }),
  file("big", Buffer.alloc(300_000, 7), { mode: 0o600 }),
  entry(SYMLINK, "link", { target: "../no/where", time: 3000 }),
  leave,
  file("after", "x"),
  leave,
]);

function checkSample(top) {
  assert.deepEqual(readdirSync(top).sort(), ["after", "empty", "sub"]);
  assert.deepEqual(readdirSync(join(top, "sub")).sort(), ["big", "link"]);
  assert.ok(readFileSync(join(top, "sub/big")).equals(Buffer.alloc(300_000, 7)));
  assert.equal(readlinkSync(join(top, "sub/link")), "../no/where");
  assert.equal(lstatSync(join(top, "sub/link")).mtimeMs, 3000_000);
  assert.equal(statSync(join(top, "sub")).mtimeMs, 2000_000);
  assert.equal(statSync(join(top, "sub")).mode & 0o777, 0o750);
}

test("a tree is put: under a new name, into a directory, into it without its own name", async () => {
  const base = scratch();
  const fresh = join(base, "fresh");
  const made = await converse(Buffer.concat([put(fresh), sampleTree, treeEnd]), { chunk: 7919 });
  assert.deepEqual([made.exit, made.problems], [ok, []]);
  checkSample(fresh);
  assert.equal(statSync(fresh).mode & 0o777, 0o500);
  assert.equal(statSync(fresh).mtimeMs, 1000_000);

  const existing = join(base, "existing");
  mkdirSync(existing, { mode: 0o755 });
  await converse(Buffer.concat([put(existing), sampleTree, treeEnd]));
  checkSample(join(existing, "top"));
  const other = join(base, "other");
  mkdirSync(other, { mode: 0o711 });
  await converse(Buffer.concat([put(other, { flags: 1 }), sampleTree, treeEnd]));
  checkSample(other);
  assert.equal(statSync(other).mode & 0o777, 0o711, "one that was there keeps its mode");
});

test("entries of a tree follow no symbolic links", async () => {
  const base = scratch();
  const outside = join(base, "outside");
  mkdirSync(outside);
  mkdirSync(join(base, "top"));
  symlinkSync(outside, join(base, "top", "sub"));
  writeFileSync(join(base, "precious"), "precious");
  symlinkSync(join(base, "precious"), join(base, "top", "after"));
  const result = await converse(Buffer.concat([put(base), sampleTree, treeEnd]));
  assert.deepEqual(result.exit, ok);
  // The directory's own name leads elsewhere: it is not entered, and the rest goes on. Linux: O_DIRECTORY | O_NOFOLLOW.
  assert.deepEqual(result.problems, [[20, join(base, "top/sub")]]);
  assert.deepEqual(readdirSync(outside), []);
  assert.equal(readFileSync(join(base, "precious"), "utf8"), "precious");
  assert.equal(readFileSync(join(base, "top/after"), "utf8"), "x");
  assert.equal(lstatSync(join(base, "top/after")).isFile(), true);
});

test("what cannot be written is told, and the others go on", async () => {
  const base = scratch();
  mkdirSync(join(base, "top/after"), { recursive: true });
  writeFileSync(join(base, "top/sub"), "in the way");
  const result = await converse(Buffer.concat([put(base), sampleTree, treeEnd]));
  assert.deepEqual(result.exit, ok);
  assert.deepEqual(result.problems, [
    [20, join(base, "top/sub")],
    [21, join(base, "top/after")],
  ]);
  assert.deepEqual(readdirSync(join(base, "top")).sort(), ["after", "empty", "sub"]);
});

test("a file that the host could not read to its end is dropped", async () => {
  const base = scratch();
  const half = Buffer.concat([entry(FILE, "half"), frame("D", Buffer.from("ha")), frame("F", u32(5))]);
  const { exit } = await converse(Buffer.concat([put(base), half, treeEnd]));
  assert.deepEqual(exit, ok);
  assert.deepEqual(readdirSync(base), []);
});

test("a connection lost in the middle of a file leaves nothing of it", async () => {
  const base = scratch();
  const socket = connect(join(directory, "agent.sock"));
  socket.on("error", () => undefined);
  socket.write(Buffer.concat([put(base), entry(FILE, "half"), frame("D", Buffer.alloc(100))]));
  await until(() => readdirSync(base).length > 0, "the temporary file");
  assert.match(readdirSync(base)[0], /^\.tsvm-agent\.\d+$/);
  socket.destroy();
  await until(() => readdirSync(base).length === 0, "its end");
});

test("owner of what is put", needsRoot, async () => {
  const base = scratch();
  await converse(Buffer.concat([put(base, { owner: "54321:12345" }), sampleTree, treeEnd]));
  for (const name of ["top", "top/empty", "top/sub", "top/sub/link"]) {
    const { uid, gid } = lstatSync(join(base, name));
    assert.deepEqual([uid, gid], [54321, 12345], name);
  }
  const { exit } = await converse(Buffer.concat([put(base, { owner: "nobody-here" }), sampleTree, treeEnd]));
  assert.equal(exit.kind, 2);
});

test("trees that make no sense are refused, and nothing is written elsewhere", async () => {
  const base = scratch();
  const top = entry(DIRECTORY, "top");
  const cases = [
    [file("../escape", "x"), "an entry with a bad name"],
    [file("/escape", "x"), "an entry with a bad name"],
    [file("..", "x"), "an entry with a bad name"],
    [file(".", "x"), "an entry with a bad name"],
    [file("", "x"), "an entry with a bad name"],
    [file("n".repeat(256), "x"), "an entry with a bad name"],
    [Buffer.concat([top, file("a/b", "x")]), "an entry with a bad name"],
    [entry(9, "odd"), "an entry that makes no sense"],
    [entry(FILE, "time", { nanoseconds: 1e9 }), "an entry that makes no sense"],
    [frame("N", Buffer.alloc(10)), "an entry that makes no sense"],
    [frame("N", Buffer.alloc(100_000)), "an entry that is too long"],
    [Buffer.concat([entry(FILE, "f"), entry(FILE, "g")]), "an entry inside a file"],
    [Buffer.concat([file("f", "x"), file("g", "x")]), "an entry after the last one"],
    [Buffer.concat([top, leave, leave]), "a directory is left that was not entered"],
    [leave, "a directory is left that was not entered"],
    [Buffer.concat([top, treeEnd]), "the end inside a directory or file"],
    [frame("D", Buffer.from("x")), "data without a file"],
    [frame("F", u32(0)), "the end of a file that was not begun"],
    [frame("?"), "a frame that makes no sense"],
  ];
  for (const [tree, message] of cases) {
    const { exit } = await converse(Buffer.concat([put(join(base, "into/")), tree, treeEnd]));
    if (tree.subarray(0, 1).toString() === "N" && exit.value === 2) continue; // the destination came first
    assert.deepEqual(exit, { kind: 2, value: 22, message });
  }
  assert.deepEqual(
    readdirSync(base).filter((name) => name !== "into"),
    [],
  );
  const deep = Buffer.concat([
    ...Array.from({ length: 130 }, () => top),
    ...Array.from({ length: 130 }, () => leave),
  ]);
  const { exit, problems } = await converse(Buffer.concat([put(base), deep, treeEnd]));
  assert.deepEqual(exit, ok);
  assert.equal(problems.length, 1);
  assert.equal(problems[0][0], 40);
});

/** Frames of a get as [kind, path, content or target], in order of path. */
function treeOf(frames) {
  const found = [];
  const path = [];
  for (const { type, payload } of frames) {
    if (type === "N") {
      const [name, target] = payload.subarray(28).toString().split("\0");
      const kind = payload.readUInt32LE(0);
      found.push([kind, [...path, name].join("/"), target, payload.readUInt32LE(4)]);
      if (kind === DIRECTORY) path.push(name);
    } else if (type === "D") found.at(-1)[2] += payload.toString("latin1");
    else if (type === "L") path.pop();
  }
  assert.deepEqual(path, []);
  return found.sort((a, b) => (a[1] < b[1] ? -1 : 1));
}

test("a tree is got as it is", async () => {
  const base = join(scratch(), "tree");
  mkdirSync(join(base, "a/b"), { recursive: true });
  mkdirSync(join(base, "c"));
  writeFileSync(join(base, "a/one"), "1", { mode: 0o640 });
  writeFileSync(join(base, "a/b/two"), Buffer.alloc(100_000, "x"));
  writeFileSync(join(base, "empty"), "");
  symlinkSync("../etc/passwd", join(base, "c/link"));
  const result = await converse(get(base));
  assert.deepEqual([result.exit, result.problems], [ok, []]);
  assert.deepEqual(treeOf(result.frames), [
    [DIRECTORY, "tree", "", 0o755],
    [DIRECTORY, "tree/a", "", 0o755],
    [DIRECTORY, "tree/a/b", "", 0o755],
    [FILE, "tree/a/b/two", "x".repeat(100_000), 0o644],
    [FILE, "tree/a/one", "1", 0o640],
    [DIRECTORY, "tree/c", "", 0o755],
    [SYMLINK, "tree/c/link", "../etc/passwd", 0o777],
    [FILE, "tree/empty", "", 0o644],
  ]);
});

test("a directory with many entries, in several pieces, and directories between them", async () => {
  const base = join(scratch(), "many");
  mkdirSync(base);
  const expected = [];
  for (let i = 0; i < 700; i++) {
    const name = `${"name".repeat(10)}-${i}`;
    if (i % 10 === 0) {
      mkdirSync(join(base, name));
      writeFileSync(join(base, name, "inside"), "");
      expected.push(`many/${name}`, `many/${name}/inside`);
    } else {
      writeFileSync(join(base, name), "");
      expected.push(`many/${name}`);
    }
  }
  const { frames, exit } = await converse(get(base));
  assert.deepEqual(exit, ok);
  assert.deepEqual(
    treeOf(frames).map(([, path]) => path),
    ["many", ...expected].sort(),
  );
});

test("files that do not say how long they are; links that are followed or not", async () => {
  const status = await converse(get("/proc/self/status"));
  assert.match(treeOf(status.frames)[0][2], /^Name:\ttsvm-agent/);
  const base = scratch();
  writeFileSync(join(base, "file"), "content");
  symlinkSync("file", join(base, "link"));
  assert.deepEqual(treeOf((await converse(get(join(base, "link")))).frames)[0].slice(0, 3), [
    SYMLINK,
    "link",
    "file",
  ]);
  assert.deepEqual(treeOf((await converse(get(join(base, "link"), 1))).frames)[0].slice(0, 3), [
    FILE,
    "link",
    "content",
  ]);
});

test("the top is named without slashes, or something where it has no name", async () => {
  const base = scratch();
  mkdirSync(join(base, "dir"));
  const topName = async (path) => treeOf((await converse(get(path))).frames)[0][1];
  assert.equal(await topName(`${base}/dir///`), "dir");
  assert.equal(await topName(`${base}/dir/.`), "unnamed");
  assert.equal(await topName(`${base}/dir/../dir/../dir/.`), "unnamed");
});

test("what cannot be got is told, and the others go on", async () => {
  const nothing = await converse(get("/no/such/file"));
  assert.deepEqual(nothing.exit, { kind: 2, value: 2, message: "/no/such/file: no such file or directory" });
  const device = await converse(get("/dev/null"));
  assert.deepEqual([device.exit.kind, device.exit.value], [2, 95]);
  const base = join(scratch(), "odd");
  mkdirSync(base);
  await new Promise((resolve) => spawn("mkfifo", [join(base, "pipe")]).on("close", resolve));
  writeFileSync(join(base, "file"), "x");
  const result = await converse(get(base));
  assert.deepEqual(result.exit, ok);
  assert.deepEqual(result.problems, [[95, join(base, "pipe")]]);
  assert.deepEqual(
    treeOf(result.frames).map(([, path]) => path),
    ["odd", "odd/file"],
  );
});

test("large files survive both ways", async () => {
  const base = scratch();
  const data = Buffer.alloc(5_000_000);
  for (let i = 0; i < data.length; i++) data[i] = (i * 17) ^ (i >> 9);
  const parts = [put(join(base, "large")), entry(FILE, "large")];
  for (let at = 0, size = 1; at < data.length; at += size, size = (size * 7) % 1_000_003)
    parts.push(frame("D", data.subarray(at, at + size)));
  await converse(Buffer.concat([...parts, frame("F", u32(0)), treeEnd]));
  const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(hash(readFileSync(join(base, "large"))), hash(data));
  utimesSync(join(base, "large"), 5, 5);
  const { frames } = await converse(get(join(base, "large")));
  const back = Buffer.concat(frames.filter(({ type }) => type === "D").map(({ payload }) => payload));
  assert.equal(hash(back), hash(data));
  assert.equal(frames.find(({ type }) => type === "N").payload.readBigUInt64LE(12), 5n);
});

test("the agent is still the one that was started", () => {
  assert.equal(agent.exitCode, null);
  assert.equal(agent.signalCode, null);
});
