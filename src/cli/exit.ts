import { constants } from "node:os";
import { _exit } from "../ffi/libc.ts";
import { ExitCode, signalStatus } from "./exit-codes.ts";
import { outputFailure } from "./output.ts";

/**
 * Ends the process when all output has left it. Node would first take its threads down one by one, which takes as long as a
 * tiny guest runs, and aborts if one of them is still loading koffi; the kernel does it at once. With Node options (a
 * profiler, say) Node gets its way.
 */
export async function exitAtOnce(wanted: number): Promise<void> {
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  const status = outputStatus() ?? wanted;
  await flushed(process.stderr);
  process.exitCode = status;
  const { NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
  if (process.execArgv.length === 0 && NODE_OPTIONS === undefined && NODE_V8_COVERAGE === undefined)
    _exit(status);
}

/** The exit status of a failed standard output; undefined if it has not failed. */
function outputStatus(): number | undefined {
  const failure = outputFailure();
  if (failure === undefined) return undefined;
  // Nobody reads any more: what a shell calls a death by SIGPIPE, and nobody wants to be told.
  if (failure.code === "EPIPE") return signalStatus(constants.signals.SIGPIPE);
  // "ENOSPC: no space left on device, write"
  const reason = failure.message.replace(/^E[A-Z0-9]+: /, "").replace(/, write$/, "");
  process.stderr.write(`tsvm: cannot write to standard output: ${reason}\n`);
  return ExitCode.Failure;
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    // One turn of the event loop: an error of the last write is told in the next one.
    const done = (): void => void setImmediate(resolve);
    if (stream.destroyed || stream.errored !== null || stream.writableLength === 0) done();
    else stream.write("", done);
  });
}
