/** When a program with machines ends: a forgotten machine does not keep it, one that is waited for does. */
import { expect, test } from "vitest";
import { runProgram } from "./support/library.ts";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import * as guests from "./support/tiny-guests.ts";

const files = scratch();
const guest = (name: string, code: Uint8Array): string =>
  JSON.stringify(files.path(`${name}.elf`, guests.pvhGuest(code)));
const spin = guest("spin", guests.ENDLESS_LOOP);
const idle = guest("idle", guests.IDLE);
const printer = guest("printer", guests.PRINT_FOREVER);
const hello = guest("hello", guests.printAndReset("hello\n"));

/** What the programs have to hand. */
const PROLOGUE = `
  const boot = (kernel, cpus = 1, options = {}) =>
    tsvm.Machine.boot({ cpus, memory: 33554432, kernel }, options);
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
`;
const run = (source: string, nodeOptions: string[] = []): ReturnType<typeof runProgram> =>
  runProgram(`${PROLOGUE}${source}`, { nodeOptions });

suite("a program that forgets to stop its machine ends", [KVM], () => {
  test.each([
    ["at once", `await boot(${spin});`],
    ["later", `await boot(${spin}, 2); await sleep(300);`],
    ["while processors wait to be started", `await boot(${idle}, 4); await sleep(300);`],
    ["after it has waited for something", `await (await boot(${printer})).ready;`],
    ["after it has looked for something", `await (await boot(${printer})).waitForConsole("....");`],
    ["after it has read some of a stream", `for await (const _ of (await boot(${printer})).console) break;`],
    [
      "with a reader of lines that it has closed",
      `import { createInterface } from "node:readline";
       const machine = await boot(${hello});
       const lines = createInterface({ input: machine.console });
       for await (const line of lines) { console.log(line); break; }`,
    ],
    ["that prints, to nobody", `await boot(${printer}); await sleep(300);`],
    ["with listeners", `(await boot(${idle})).on("console", () => {}).on("stopped", () => {});`],
    ["that is paused", `await (await boot(${spin}, 2)).pause();`],
    ["that is being paused", `(await boot(${spin}, 2)).pause();`],
    [
      "that it waits for, but not that much",
      `const m = await boot(${spin}); m.stopped.then(() => {}); m.unref();`,
    ],
    ["twenty times", `await Promise.all(Array.from({ length: 20 }, () => boot(${idle}))); await sleep(100);`],
    ["but for a timer that stops it", `const m = await boot(${spin}, 2); setTimeout(() => m.stop(), 300);`],
    ["with idle threads", `tsvm.warmUpWorkers(3);`],
  ])("%s", async (_, source) => {
    const result = await run(source);
    expect(result).toMatchObject({ status: 0, stderr: "" });
  });

  test.each([
    ["process.exit()", `await boot(${spin}, 2); await sleep(200); process.exit(5);`, 5],
    ["process.exit() in a pause", `await (await boot(${spin}, 2)).pause(); process.exit(6);`, 6],
    ["process.exit() in a boot", `boot(${spin}); setImmediate(() => process.exit(7));`, 7],
  ])("by %s", async (_, source, status) => {
    expect(await run(source)).toMatchObject({ status, stderr: "" });
  });

  test.each([
    ["an exception", `await boot(${spin}, 2); setTimeout(() => { throw new Error("thrown"); }, 200);`],
    ["a rejection", `await boot(${spin}, 2); setTimeout(() => Promise.reject(new Error("thrown")), 200);`],
    [
      "a listener that throws",
      `(await boot(${printer})).on("console", () => { throw new Error("thrown"); }); await sleep(20_000);`,
    ],
  ])("by %s that nobody catches", async (_, source) => {
    const { status, stderr } = await run(source);
    expect(status).toBe(1);
    expect(stderr).toContain("Error: thrown");
  });
});

suite("a program that waits for a machine does not end before", [KVM], () => {
  test.each([
    ["stopped", `console.log((await (await boot(${hello})).stopped).reason);`, "reset"],
    ["ready", `await (await boot(${hello})).ready; console.log("ready");`, "ready"],
    ["waitForConsole", `console.log((await (await boot(${hello})).waitForConsole(/l+o/))[0]);`, "llo"],
    [
      "a stream",
      `for await (const bytes of (await boot(${hello})).console) process.stdout.write(bytes);`,
      "hello",
    ],
    ["a pipe", `(await boot(${hello})).console.pipe(process.stdout);`, "hello"],
    ["pause", `const m = await boot(${spin}, 3); await m.pause(); console.log(m.state);`, "paused"],
    ["stop", `console.log((await (await boot(${spin}, 3)).stop()).reason);`, "stopped"],
    [
      "a time limit",
      `const { stopped } = await boot(${spin}, 1, { signal: AbortSignal.timeout(300) });
       console.log((await stopped).reason);`,
      "stopped",
    ],
    [
      "a listener, with ref()",
      `(await boot(${hello})).ref().on("stopped", ({ reason }) => console.log(reason));`,
      "reset",
    ],
  ])("%s", async (_, source, output) => {
    expect(await run(source)).toEqual({ status: 0, stdout: `${output}\n`, stderr: "" });
  });
});

suite("a program goes on", [KVM], () => {
  test("with its machine after a listener has thrown, if it catches that", async () => {
    const { status, stdout } = await run(`
      process.on("uncaughtException", (error) => console.log(error.message));
      const machine = await boot(${hello});
      let console_ = "";
      machine.on("console", (bytes) => { console_ += bytes; throw new Error("from a listener"); });
      machine.on("stopped", () => { throw new Error("from another"); });
      const { reason } = await machine.stopped;
      console.log(reason, JSON.stringify(console_));
    `);
    expect(status).toBe(0);
    expect(stdout).toContain("from a listener\n");
    expect(stdout).toContain("from another\n");
    expect(stdout).toContain('reset "hello\\n"\n');
  });

  test("when one of its threads runs out of memory", async () => {
    // Every thread with 2 MB of old space dies as it loads.
    const { status, stdout } = await run(
      `
      const machine = await boot(${hello});
      const report = await machine.stopped;
      console.log(report.reason, report.error?.code, /died/.test(report.error?.message));
    `,
      ["--import", `data:text/javascript,${encodeURIComponent(OUT_OF_MEMORY)}`],
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: "crash ERR_INTERNAL true\n" });
  });
});

/** Gives every thread of the program less memory than it needs. */
const OUT_OF_MEMORY = `
  import threads from "node:worker_threads";
  import { syncBuiltinESMExports } from "node:module";
  const { Worker } = threads;
  threads.Worker = class extends Worker {
    constructor(entry, options) {
      super(entry, { ...options, resourceLimits: { maxOldGenerationSizeMb: 2, maxYoungGenerationSizeMb: 1 } });
    }
  };
  syncBuiltinESMExports();
`;
