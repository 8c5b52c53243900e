/** vsock between the host and a program in the bundled Linux. */
import { once } from "node:events";
import { existsSync, readdirSync, statSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Machine } from "../src/machine/machine.ts";
import { connectVsock } from "../src/machine/vsock-connect.ts";
import { runProgram } from "./support/library.ts";
import { KVM, SOFTWARE_KVM, suite, tool } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { IDLE, pvhGuest } from "./support/tiny-guests.ts";
import { BOOT_LIMIT_MS, SLOWNESS, tsvm } from "./support/tsvm.ts";
import {
  BREAK_OFF,
  checksum,
  ECHO,
  HOLD,
  LET_GO,
  numbers,
  pattern,
  SOURCE,
  SUM,
  VISIT,
  vsockPeer,
} from "./support/vsock-peer.ts";

const GCC = tool("gcc", "gcc libc6-dev");
/** On a software KVM a megabyte takes the guest's kernel seconds. */
const BYTES = SOFTWARE_KVM() === undefined ? 2 * 2 ** 20 : 32 * 2 ** 20;
const CONNECT = { timeout: 60_000 * SLOWNESS };
const files = scratch();
const idle = files.path("idle.elf", pvhGuest(IDLE));

suite("vsock with Linux", [KVM, GCC], () => {
  const path = files.path("v.sock");
  let machine: Machine;
  /** What the program in the guest says of its failures. */
  let complaints = "";
  beforeAll(async () => {
    const description = vsockPeer(files.path("peer.img"));
    machine = await Machine.boot({ ...description, vsock: { path, cid: 77 } });
    await new Promise<void>((resolve, reject) => {
      let said = "";
      machine.on("stdout", (bytes) => {
        if ((said += bytes.toString()).includes("ready")) resolve();
      });
      machine.on("stderr", (bytes) => (complaints += bytes.toString()));
      void machine.stopped.then(() => reject(new Error("the machine has ended")));
    });
  }, 2 * BOOT_LIMIT_MS);
  afterAll(async () => {
    await machine.stop();
  });

  const ask = async (port: number, request: Uint8Array = Buffer.alloc(0)): Promise<Buffer> => {
    const stream = await machine.vsock(port, CONNECT);
    stream.end(request);
    return buffer(stream);
  };

  test("what the guest echoes is what was sent, megabytes of it", async () => {
    const bytes = pattern(BYTES);
    expect((await ask(ECHO, bytes)).equals(bytes)).toBe(true);
  });

  test("the guest gets all that is sent, and its answer arrives after the end of that", async () => {
    const bytes = pattern(BYTES);
    expect((await ask(SUM, bytes)).toString()).toBe(`${BYTES} ${checksum(bytes)}\n`);
  });

  test("the host gets all that the guest sends", async () => {
    const bytes = await ask(SOURCE, numbers(BYTES + 12_345));
    expect(bytes.equals(pattern(BYTES + 12_345))).toBe(true);
  });

  test("many streams at once keep apart", async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const bytes = pattern(BYTES / 16 + 1000 * index).map((byte) => byte ^ index);
        return (await ask(ECHO, bytes)).equals(bytes);
      }),
    );
    expect(results).toEqual(results.map(() => true));
  });

  test("a stream that nobody reads is held back, and holds up no other", async () => {
    const stream = await machine.vsock(HOLD, CONNECT);
    let written = 0;
    // Until half a second passes without a byte having gone.
    for (;;) {
      const piece = Buffer.alloc(64 * 1024);
      if (!stream.write(piece)) {
        const drained = once(stream, "drain").then(() => true);
        if (!(await Promise.race([drained, sleep(3000).then(() => false)]))) break;
      }
      written += piece.length;
      if (written > 8 * 2 ** 20) throw new Error("nothing holds it back");
    }
    expect((await ask(ECHO, Buffer.from("others"))).toString()).toBe("others");
    // Its end in the guest, with bytes unread there.
    const ended = failure(stream);
    await ask(LET_GO);
    expect(await ended).toBe("EPIPE");
  });

  test("a stream that the guest breaks off ends", async () => {
    const stream = await machine.vsock(BREAK_OFF, CONNECT);
    const ended = failure(stream);
    stream.end(pattern(2 ** 20));
    expect(await ended).toBe("EPIPE");
    expect((await ask(ECHO, Buffer.from("after"))).toString()).toBe("after");
  });

  test("clients that vanish in the middle leave nothing behind", async () => {
    for (let count = 0; count < 6; count++) {
      const stream = await machine.vsock(ECHO, CONNECT);
      stream.write(pattern(20_000));
      if (count % 2 === 0) await once(stream, "data");
      stream.destroy();
    }
    expect((await ask(ECHO, Buffer.from("still"))).toString()).toBe("still");
    await expect.poll(() => machine.stats().vsock!.open, { timeout: 20_000 * SLOWNESS }).toBe(0);
    expect(machine.stats().vsock).toMatchObject({ errors: 0 });
  });

  test("ports at which nobody listens", async () => {
    await expect(machine.vsock(4242, CONNECT)).rejects.toMatchObject({ reason: "refused" });
    expect((await ask(VISIT, numbers(4242, 0))).toString()).toBe("ECONNRESET");
  });

  describe("from the guest", () => {
    test("to a server of the host, with the end of each direction by itself", async () => {
      complaints = "";
      let served = 0;
      // Not buffer(), which destroys a stream when it has read it.
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        const pieces: Buffer[] = [];
        socket.on("data", (piece: Buffer) => pieces.push(piece));
        socket.on("end", () => {
          const bytes = Buffer.concat(pieces);
          served++;
          socket.end(`${bytes.length} ${checksum(bytes)}`);
        });
      });
      await listen(server, `${path}_5000`);
      try {
        const bytes = pattern(BYTES);
        const expected = `${BYTES} ${checksum(bytes)}`;
        expect((await ask(VISIT, numbers(5000, BYTES))).toString()).toBe(expected);
        const sizes = [1, 2, 3, 4].map((factor) => 10_000 * factor);
        const answers = await Promise.all(sizes.map((size) => ask(VISIT, numbers(5000, size))));
        expect(answers.map(String)).toEqual(sizes.map((size) => `${size} ${checksum(pattern(size))}`));
        expect(served).toBe(1 + sizes.length);
        expect(complaints).toBe("");
      } finally {
        server.close();
      }
    });

    test("to a server that hangs up at once", async () => {
      complaints = "";
      const server = createServer((socket) => socket.destroy());
      await listen(server, `${path}_5001`);
      try {
        // The program ends at its failure to send: no answer, and no harm.
        expect((await ask(VISIT, numbers(5001, 10 ** 7))).length).toBe(0);
        expect(complaints).toMatch(/^vsockpeer: send: (EPIPE|ECONNRESET)\n$/);
      } finally {
        server.close();
      }
      expect((await ask(ECHO, Buffer.from("alive"))).toString()).toBe("alive");
    });
  });

  test("the socket is the owner's only, and goes with the machine, as do the streams", async () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(machine.vsockPath).toBe(path);
    const stream: Duplex = await connectVsock(path, ECHO, CONNECT);
    stream.on("error", () => undefined);
    const closed = once(stream.resume(), "end");
    await machine.stop();
    await closed;
    expect(existsSync(path)).toBe(false);
    await expect(machine.vsock(ECHO)).rejects.toMatchObject({ code: "ERR_MACHINE_STATE" });
    await expect(connectVsock(path, ECHO)).rejects.toMatchObject({ reason: "socket" });
  });
});

suite("the socket of a vsock device", [KVM], () => {
  const vsock = (): string[] => readdirSync(files.directory).filter((name) => name.startsWith("own"));

  test("is in a directory of its own by default, which goes with the machine", async () => {
    const machine = await Machine.boot({ cpus: 1, memory: 2 ** 24, kernel: idle, vsock: {} });
    const path = machine.vsockPath!;
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    // A guest without a driver: it might still come.
    await expect(machine.vsock(1, { timeout: 200 })).rejects.toMatchObject({ reason: "timeout" });
    await machine.stop();
    expect(existsSync(dirname(path))).toBe(false);
  });

  test("goes with the program that ends without a word", async () => {
    const source = `
      const machine = await tsvm.Machine.boot({ cpus: 1, memory: 2 ** 24, kernel: ${JSON.stringify(idle)}, vsock: {} });
      process.stdout.write(machine.vsockPath, () => process.exit(3));`;
    const result = await runProgram(source);
    expect(result).toMatchObject({ status: 3, stderr: "" });
    expect(result.stdout).toMatch(/tsvm-vsock-/);
    expect(existsSync(dirname(result.stdout))).toBe(false);
  });

  test("is told of where it cannot be made, and nothing is left behind", async () => {
    const taken = files.path("file", "not yours");
    const machine = { cpus: 1, memory: 2 ** 24, kernel: idle };
    await expect(Machine.boot({ ...machine, vsock: { path: taken } })).rejects.toMatchObject({
      code: "ERR_VSOCK_LISTEN",
    });
    await expect(Machine.boot({ ...machine, vsock: { cid: 2 } })).rejects.toMatchObject({
      code: "ERR_DESCRIPTION",
    });
    // A failure after the socket was made.
    const broken = Machine.boot({ ...machine, kernel: taken, vsock: { path: files.path("own.sock") } });
    await expect(broken).rejects.toThrow();
    expect(vsock()).toEqual([]);
  });

  test("serves one machine, and that of a killed one is taken over", async () => {
    const path = files.path("own.sock");
    const description = { cpus: 1, memory: 2 ** 24, kernel: idle, vsock: { path } };
    const first = await Machine.boot(description);
    await expect(Machine.boot(description)).rejects.toThrow("another program listens there");
    await first.stop();
    const left = await runProgram(`
      await tsvm.Machine.boot(${JSON.stringify(description)});
      process.kill(process.pid, "SIGKILL");`);
    expect(left.status).toBe(null);
    expect(vsock()).toEqual(["own.sock"]);
    const second = await Machine.boot(description);
    await second.stop();
    expect(vsock()).toEqual([]);
  });

  test("of the command line: bad values are usage errors, a bad place is a failure", async () => {
    const boot = async (vsock: string): Promise<[number | undefined, string]> => {
      const { status, stderr } = await tsvm(["boot", idle, "--vsock", vsock], { limit: 20_000 * SLOWNESS });
      return [status, stderr];
    };
    expect(await boot("v,cid=2")).toEqual([2, expect.stringContaining("--vsock: cid") as string]);
    expect(await boot("v,cid=4294967295")).toEqual([2, expect.stringContaining("vsock.cid") as string]);
    const [status, stderr] = await boot("/nowhere/v");
    expect([status, stderr]).toEqual([
      125,
      expect.stringMatching(/^tsvm: vsock socket .*ENOENT\n  → /) as string,
    ]);
  });
});

/** The code of the error in which the stream ends. */
async function failure(stream: Duplex): Promise<string | undefined> {
  let code: string | undefined;
  stream.on("error", (error: NodeJS.ErrnoException) => (code = error.code));
  stream.resume();
  await new Promise((resolve) => stream.once("close", resolve));
  return code;
}

async function listen(server: ReturnType<typeof createServer>, path: string): Promise<void> {
  server.on("connection", (socket: Socket) => socket.on("error", () => undefined));
  await new Promise<void>((resolve) => server.listen(path, resolve));
}
