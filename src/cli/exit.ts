import { _exit } from "../ffi/libc.ts";

/**
 * Ends the process when all output has left it. Node would first take its threads down one by one, which takes as long as a
 * tiny guest runs; the kernel does it at once. With Node options (a profiler, say) Node gets its way.
 */
export async function exitAtOnce(status: number): Promise<void> {
  process.exitCode = status;
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  const { NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
  if (process.execArgv.length === 0 && NODE_OPTIONS === undefined && NODE_V8_COVERAGE === undefined)
    _exit(status);
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableLength === 0) resolve();
    else stream.write("", () => resolve());
  });
}
