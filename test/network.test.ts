/** Networks of the bundled Linux: user-mode networking through passt, and a tap device in a namespace of the test's own. */
import { execFile, execFileSync } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Machine } from "../src/machine/machine.ts";
import { KVM, ROOT_USER, SOFTWARE_KVM, suite, tool, type Need } from "./support/needs.ts";
import { CLI, ROOT } from "./support/paths.ts";
import { sha256 } from "./support/sha256.ts";
import { BOOT_LIMIT_MS, tsvm, until } from "./support/tsvm.ts";

const PASST = tool("passt", "passt");
const CURL = tool("curl", "curl");
const IP = tool("ip", "iproute2");
const DEFAULT_ROUTE: Need = () =>
  /^\S+\t00000000\t/m.test(readFileSync("/proc/net/route", "utf8"))
    ? undefined
    : "a default route (for passt)";
const NETWORK_NAMESPACE: Need = () => {
  const lacking = ROOT_USER() ?? tool("unshare", "util-linux")() ?? IP();
  if (lacking !== undefined) return lacking;
  try {
    execFileSync("unshare", ["--net", "ip", "tuntap", "add", "t0", "mode", "tap"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "permission for network namespaces and tap devices";
  }
};
const run = promisify(execFile);
/** On a software KVM a megabyte takes the guest's kernel seconds; the test bed gets a large one. */
const CONTENT_BYTES = SOFTWARE_KVM() === undefined ? 200_000 : 16 * 2 ** 20;
const content = randomBytes(CONTENT_BYTES);
/** A boot, and a few programs in the guest. */
const SESSION_LIMIT_MS = BOOT_LIMIT_MS * 1.8;

/** Processes of passt that this process has started. */
function passts(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
        return stat.includes("(passt") && !stat.includes(") Z ") && parent === process.pid;
      } catch {
        return false;
      }
    })
    .map(Number);
}

suite("user-mode networking", [KVM, PASST, CURL, DEFAULT_ROUTE], () => {
  let server: Server;
  beforeAll(async () => {
    server = createServer((_request, response) => response.end(content));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => void server.close());

  test("a server in the guest is reached through a forwarded port, and the guest reaches the host's loopback if it may", async () => {
    const { port } = server.address() as AddressInfo;
    const hostPort = await freePort();
    // Few programs: starting one takes a second or more on a software KVM.
    const script = `
      while read -r line; do echo "$line"; done </etc/resolv.conf
      wget -q -O /tmp/file http://10.0.2.2:${port}/ && sha256sum /tmp/file
      httpd -h /tmp -p 80; echo serving; read -r line; echo "over: $line"`;
    await using machine = await Machine.boot({
      cpus: 1,
      memory: 64 * 2 ** 20,
      command: { argv: ["sh", "-c", script] },
      networks: [
        {
          type: "user",
          hostLoopback: true,
          mac: "02:00:00:00:00:17",
          forwards: [{ address: "127.0.0.1", hostPort, guestPort: 80 }],
        },
      ],
    });
    let output = "";
    machine.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    await until("the guest's server", () => output.includes("serving\n"), { limit: SESSION_LIMIT_MS });
    expect(output).toContain("nameserver 10.0.2.3\n");
    expect(output).toContain(`${sha256(content)}  /tmp/file\n`);
    const { stdout: file } = await run("curl", ["-sS", "-m", "60", `http://127.0.0.1:${hostPort}/file`], {
      encoding: "buffer",
    });
    expect(file.equals(content)).toBe(true);
    expect(passts()).toHaveLength(1);
    const { networks } = machine.stats();
    expect(networks).toHaveLength(1);
    expect(networks[0]!.receivedBytes).toBeGreaterThan(content.length);
    expect(networks[0]!.sentBytes).toBeGreaterThan(content.length);

    // passt is killed: the guest goes on without a network, and the program is told.
    const warned = new Promise<string>((resolve) => machine.once("warning", resolve));
    process.kill(passts()[0]!, "SIGKILL");
    expect(await warned).toContain("passt has ended");
    machine.stdin.end("yes\n");
    expect((await machine.stopped).command).toEqual({ kind: "exited", status: 0 });
    expect(output).toContain("over: yes\n");
  });

  test("a port that is taken, and a host without passt, are told before anything boots", async () => {
    const { port } = server.address() as AddressInfo;
    const taken = await tsvm(["boot", "-p", `127.0.0.1:${port}:80`, "--", "true"]);
    expect(taken.status).toBe(125);
    expect(taken.stderr).toMatch(/^tsvm: network: passt gave up \(.*\)/);
    expect(taken.stderr).toContain(String(port));
    expect(taken.stderr).toContain("→ take another port");
    const without = await tsvm(["boot", "--net", "user", "--", "true"], { env: { PATH: "/nowhere" } });
    expect(without).toMatchObject({
      status: 125,
      stderr:
        "tsvm: network: the program passt, which user-mode networking needs, is not installed\n" +
        "  → sudo apt-get install passt\n",
    });
    expect(passts()).toEqual([]);
  });
});

suite("a tap device", [KVM, NETWORK_NAMESPACE], () => {
  test("carries downloads in both directions, unharmed", async () => {
    const { stdout } = await run(
      "unshare",
      ["--net", process.execPath, `${ROOT}test/support/tap-session.mjs`, CLI, String(CONTENT_BYTES)],
      { timeout: SESSION_LIMIT_MS },
    );
    const seen = JSON.parse(stdout) as {
      status: number;
      served: string;
      guestOutput: string;
      fetched: string;
      stderr: string;
    };
    expect(seen).toMatchObject({ status: 0, stderr: "" });
    expect(seen.guestOutput).toContain(`${seen.served}  /tmp/file\n`);
    expect(seen.fetched).toBe(seen.served);
    // The host's MTU is the guest's.
    expect(seen.guestOutput).toContain("mtu 4000\n");
  });

  test("is named in the error when it is not there, is no tap device or is in use", async () => {
    const script = `
      "$@" boot --net tap=absent -- true; echo "$?" >&2
      "$@" boot --net tap=lo -- true; echo "$?" >&2`;
    const { stderr } = await run("unshare", ["--net", "sh", "-c", script, "sh", process.execPath, CLI], {
      timeout: BOOT_LIMIT_MS,
    });
    expect(stderr).toContain(
      "tsvm: network: there is no interface absent\n  → as root: ip tuntap add absent",
    );
    expect(stderr).toMatch(/tsvm: network: tap lo: EINVAL: it is no tap device/);
    expect(stderr.match(/^125$/gm)).toHaveLength(2);
  });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
