/**
 * The conversation with tsvm's init in the machine, over its control port: frames of type (1 byte), 3 zero bytes, payload
 * length (u32, little endian), payload. docs/guest.md has the protocol.
 */
import { TestBedError } from "./errors.mjs";

const PROTOCOL_VERSION = 1;
const HEADER = 8;
const LARGEST_PAYLOAD = 2 ** 20;
/** What init reads at once. Longer frames would only wait in memory. */
const STDIN_CHUNK = 64 * 1024;

const RUN_TERMINAL = 1;
/** init finds its root mounted. */
const RUN_NO_DISK = 4;

/** The request to run a command. `environment`: NAME=value strings. */
export function encodeRun({ command, environment, directory, hostname, terminal }) {
  const payload = Buffer.concat([
    word(RUN_NO_DISK | (terminal ? RUN_TERMINAL : 0)),
    ...[command, environment].flatMap((texts) => [word(texts.length), ...texts.map(string)]),
    ...[directory, "", "", hostname].map(string),
  ]);
  if (payload.length > LARGEST_PAYLOAD) {
    throw new TestBedError("the command and its environment are longer than 1 MiB; use --in");
  }
  return frame("R", payload);
}

export function encodeStdin(bytes) {
  const chunks = [];
  for (let at = 0; at < bytes.length; at += STDIN_CHUNK) {
    chunks.push(frame("I", bytes.subarray(at, at + STDIN_CHUNK)));
  }
  return Buffer.concat(chunks);
}

export function encodeStdinEnd() {
  return frame("C", Buffer.alloc(0));
}

export function encodeWindow(rows, columns) {
  return frame("W", Buffer.concat([word(rows), word(columns)]));
}

/** Cuts what init sends into frames and calls `on.stdout(bytes)`, `on.stderr(bytes)` or `on.exit({kind, value, text})`. */
export function frameReader(on) {
  let rest = Buffer.alloc(0);
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    while (rest.length >= HEADER) {
      const type = String.fromCharCode(rest[0]);
      const end = HEADER + rest.readUInt32LE(4);
      if (end > HEADER + LARGEST_PAYLOAD || !"HOEX".includes(type)) {
        throw new TestBedError("init in the machine sent something that is no frame");
      }
      if (rest.length < end) return;
      const payload = rest.subarray(HEADER, end);
      rest = rest.subarray(end);
      if (type === "O") on.stdout(payload);
      else if (type === "E") on.stderr(payload);
      else if (type === "X") on.exit(exit(payload));
      else if (payload.readUInt32LE(0) !== PROTOCOL_VERSION) {
        throw new TestBedError(
          `images/init speaks version ${payload.readUInt32LE(0)}, not ${PROTOCOL_VERSION}`,
        );
      } else on.hello();
    }
  };
}

function exit(payload) {
  const kind = ["exited", "signaled", "not-started"][payload.readUInt32LE(0)];
  return { kind, value: payload.readUInt32LE(4), text: payload.toString("utf8", 8) };
}

function frame(type, payload) {
  const header = Buffer.alloc(HEADER);
  header.write(type);
  header.writeUInt32LE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

function word(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function string(text) {
  return Buffer.from(`${text}\0`);
}
