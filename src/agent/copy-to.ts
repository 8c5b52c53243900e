/** Copies files into a guest. */
import { constants } from "node:os";
import { errnoName } from "../ffi/errno.ts";
import type { AgentConnection } from "./connection.ts";
import { encodeEntry } from "./entries.ts";
import { AgentError, protocolError } from "./errors.ts";
import { encodeFrame, u32 } from "./frames.ts";
import { Problems } from "./problems.ts";
import type { CommandExit } from "./exit-frame.ts";
import { decodeAgentExit, FrameType, printable } from "./protocol.ts";
import type { TreeItem } from "./tree-source.ts";

/** What was copied. */
export interface CopyResult {
  /** Files and symbolic links. */
  readonly files: number;
  /** Of their content. */
  readonly bytes: number;
}

/** Sends the tree and hears of what the guest could not write. Throws a CopyError where anything is missing. */
export async function sendTree(
  connection: AgentConnection,
  tree: AsyncIterable<TreeItem>,
): Promise<CopyResult> {
  const problems = new Problems();
  let ended = false;
  const answer = hear(connection, problems).finally(() => {
    ended = true;
  });
  // It is looked at when all is sent.
  answer.catch(() => undefined);
  const counts = { files: 0, bytes: 0 };
  for await (const item of tree) {
    if (ended) break;
    await sendItem(connection, item, counts, problems);
  }
  if (!ended) await connection.send(encodeFrame(FrameType.TreeEnd));
  const exit = await answer;
  if (exit.kind === "not-started")
    throw new AgentError("ERR_AGENT_REFUSED", `in the guest: ${exit.message}`, { errno: exit.errno });
  problems.throwIfAny();
  return counts;
}

async function hear(connection: AgentConnection, problems: Problems): Promise<CommandExit> {
  for (;;) {
    const { type, payload } = await connection.next();
    if (type === FrameType.Exit) return decodeAgentExit(payload);
    if (type !== FrameType.Problem || payload.length < 4) throw protocolError(`a frame of type ${type}`);
    problems.add({
      path: printable(payload.subarray(4)),
      side: "guest",
      code: errnoName(payload.readUInt32LE(0)),
    });
  }
}

async function sendItem(
  connection: AgentConnection,
  item: TreeItem,
  counts: { files: number; bytes: number },
  problems: Problems,
): Promise<void> {
  switch (item.type) {
    case "directory":
      return connection.send(encodeEntry({ ...item.entry, kind: "directory" }));
    case "leave":
      return connection.send(encodeFrame(FrameType.Leave));
    case "problem":
      problems.add({ path: item.path, side: "host", code: item.code });
      return;
    case "symlink":
      counts.files++;
      return connection.send(encodeEntry({ ...item.entry, kind: "symlink" }));
    case "file":
      counts.files++;
      return sendFile(connection, item, counts, problems);
  }
}

async function sendFile(
  connection: AgentConnection,
  { entry, path, content }: TreeItem & { type: "file" },
  counts: { bytes: number },
  problems: Problems,
): Promise<void> {
  let errno = 0;
  await connection.send(encodeEntry({ ...entry, kind: "file" }));
  try {
    for await (const piece of content) {
      await connection.send(encodeFrame(FrameType.Data, piece));
      counts.bytes += piece.length;
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === undefined || syscall === undefined) throw error;
    problems.add({ path, side: "host", code });
    errno = (constants.errno as Record<string, number>)[code] ?? constants.errno.EIO;
  }
  await connection.send(encodeFrame(FrameType.FileEnd, u32(errno)));
}
