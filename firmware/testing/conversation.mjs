// The frames that the host and the programs of firmware/ exchange (docs/guest.md), for tests that talk with those.

export const u32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
export const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
export const frame = (type, payload = Buffer.alloc(0)) =>
  Buffer.concat([Buffer.from([type.charCodeAt(0), 0, 0, 0]), u32(payload.length), payload]);
export const text = (value) => Buffer.concat([Buffer.from(value), Buffer.of(0)]);
export const list = (values) => [u32(values.length), ...values.map(text)];

/**
 * Sends `input` over `stream`, in pieces of `chunk` bytes, and hears the frames that come back; `onFrame` is given each, and the
 * stream. What `onEnd` registers is called at the end of the conversation, whose result is {@link told}, with what it is called with
 * as `code`. After `limit` ms `giveUp` is called, and the result is an error.
 */
export function hold(stream, input, { chunk = Infinity, onFrame, onEnd, limit, giveUp }) {
  return new Promise((resolve, reject) => {
    const frames = [];
    let pending = Buffer.alloc(0);
    const timer = setTimeout(() => {
      giveUp();
      reject(new Error(`no end; frames so far: ${frames.map((f) => f.type).join("")}`));
    }, limit);
    stream.on("data", (bytes) => {
      pending = Buffer.concat([pending, bytes]);
      while (pending.length >= 8 && pending.length >= 8 + pending.readUInt32LE(4)) {
        const length = pending.readUInt32LE(4);
        const received = { type: String.fromCharCode(pending[0]), payload: pending.subarray(8, 8 + length) };
        frames.push(received);
        onFrame(received, stream);
        pending = pending.subarray(8 + length);
      }
    });
    stream.on("error", () => undefined);
    onEnd((code) => {
      clearTimeout(timer);
      resolve({ code, ...told(frames) });
    });
    if (chunk === Infinity) stream.write(input);
    else for (let at = 0; at < input.length; at += chunk) stream.write(input.subarray(at, at + chunk));
  });
}

/** What frames say. */
function told(frames) {
  const of = (kind) => Buffer.concat(frames.filter((f) => f.type === kind).map((f) => f.payload));
  const exit = of("X");
  return {
    frames,
    bytes: of("O"),
    stderr: of("E").toString(),
    usage: of("U"),
    exit: exit.length >= 8 && {
      kind: exit.readUInt32LE(0),
      value: exit.readUInt32LE(4),
      message: exit.subarray(8).toString(),
    },
  };
}
