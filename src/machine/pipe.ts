import { Socket } from "node:net";
import { O_CLOEXEC, O_NONBLOCK } from "../ffi/constants.ts";
import { check, close, fcntl, pipe2 } from "../ffi/libc.ts";
import type { Cleanup } from "./cleanup.ts";

const F_SETFL = 4;
const O_RDONLY = 0;
const O_WRONLY = 1;

/** A pipe between a worker and the main thread: the worker's end as fd, the main thread's as a stream. */
export interface WorkerPipe {
  readonly fd: number;
  /** The stream, made when it is first asked for: starting the guest comes before that. */
  stream(): Socket;
  /** Closes the main thread's end under its stream; only for the end of the process. */
  breakMainEnd(): void;
  /** Closes the worker's end: the stream ends once it has been read empty. */
  closeWorkerEnd(): void;
}

/** From the guest to the main thread. `blocking`: a full pipe stops the writer instead of failing with EAGAIN. */
export function createOutputPipe(cleanup: Cleanup, blocking: boolean): WorkerPipe {
  const [readFd, writeFd] = createPipe();
  if (!blocking) fcntl(writeFd, F_SETFL, O_WRONLY | O_NONBLOCK);
  return workerPipe(cleanup, writeFd, readFd, () => {
    return new Socket({ fd: readFd, readable: true, writable: false });
  });
}

/** From the main thread to the guest. */
export function createInputPipe(cleanup: Cleanup): WorkerPipe {
  const [readFd, writeFd] = createPipe();
  fcntl(readFd, F_SETFL, O_RDONLY | O_NONBLOCK);
  return workerPipe(cleanup, readFd, writeFd, () => {
    const stream = new Socket({ fd: writeFd, readable: false, writable: true });
    // The guest may be gone before its input is.
    stream.on("error", () => undefined);
    stream.unref();
    return stream;
  });
}

function workerPipe(cleanup: Cleanup, workerFd: number, mainFd: number, open: () => Socket): WorkerPipe {
  let workerEndOpen = true;
  let stream: Socket | undefined;
  const closeWorkerEnd = (): void => {
    if (workerEndOpen) close(workerFd);
    workerEndOpen = false;
  };
  cleanup.add(() => {
    closeWorkerEnd();
    if (stream === undefined) close(mainFd);
    else stream.destroy();
  });
  const breakMainEnd = (): void => void close(mainFd);
  return { fd: workerFd, stream: () => (stream ??= open()), breakMainEnd, closeWorkerEnd };
}

function createPipe(): [number, number] {
  const fds = new Int32Array(2);
  check(pipe2(fds, O_CLOEXEC), "pipe2");
  return [fds[0]!, fds[1]!];
}
