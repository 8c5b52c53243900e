/**
 * Runs in a network namespace of its own: makes a tap device, serves a file to the guest over it, fetches one from the guest, and
 * prints what came of it as JSON. Usage: tap-session.mjs CLI BYTES
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";

const [, , cli, size] = process.argv;
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const ip = (...args) => execFileSync("ip", args);

ip("link", "set", "lo", "up");
ip("tuntap", "add", "tap0", "mode", "tap", "vnet_hdr");
ip("link", "set", "tap0", "mtu", "4000");
ip("addr", "add", "192.168.77.1/24", "dev", "tap0");
ip("link", "set", "tap0", "up");

const content = randomBytes(Number(size));
const server = createServer((_request, response) => response.end(content));
await new Promise((resolve) => server.listen(8000, "192.168.77.1", resolve));

const script = `
  read -r mtu </sys/class/net/eth0/mtu; echo "mtu $mtu"
  wget -q -O /tmp/file http://192.168.77.1:8000/ && sha256sum /tmp/file
  httpd -h /tmp -p 80; echo serving; read -r line`;
const network = "tap=tap0,address=192.168.77.2/24,gateway=192.168.77.1";
const guest = spawn(process.execPath, [cli, "boot", "-m", "64M", "--net", network, "--", "sh", "-c", script]);
let guestOutput = "";
let stderr = "";
let fetched = "";
guest.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
guest.stdout.setEncoding("utf8").on("data", (text) => {
  const before = guestOutput.includes("serving\n");
  guestOutput += text;
  if (!before && guestOutput.includes("serving\n")) void fetchFile();
});

async function fetchFile() {
  const response = await fetch("http://192.168.77.2/file");
  fetched = sha256(Buffer.from(await response.arrayBuffer()));
  guest.stdin.end("\n");
}

guest.on("close", (status) => {
  server.close();
  server.closeAllConnections();
  process.stdout.write(JSON.stringify({ status, served: sha256(content), guestOutput, fetched, stderr }));
});
