/** The library's types. The compiler judges (`npm run typecheck`): at run time there is nothing to compare. */
import type { Duplex, Readable, Writable } from "node:stream";
import { expectTypeOf, test } from "vitest";
import type {
  BootOptions,
  CommandExit,
  Machine,
  MachineDescription,
  MachineEndedError,
  MachineEvents,
  MachineState,
  MachineStats,
  StopReport,
  TsvmError,
} from "../src/index.ts";

test("a machine is booted from a description", () => {
  expectTypeOf<typeof Machine.boot>().parameter(0).toEqualTypeOf<MachineDescription>();
  expectTypeOf<typeof Machine.boot>().parameter(1).toEqualTypeOf<BootOptions | undefined>();
  expectTypeOf<typeof Machine.boot>().returns.resolves.toEqualTypeOf<Machine>();
  expectTypeOf<{ cpus: number }>().not.toExtend<MachineDescription>();
  // @ts-expect-error: only Machine.boot makes machines.
  expectTypeOf<ConstructorParameters<typeof Machine>>();
});

test("its events have typed arguments", () => {
  type Listener<E extends keyof MachineEvents> = Parameters<typeof Machine.prototype.on<E>>[1];
  expectTypeOf<Listener<"console">>().parameters.toEqualTypeOf<
    [bytes: Buffer, source: "serial" | "virtio"]
  >();
  expectTypeOf<Listener<"stopped">>().parameters.toEqualTypeOf<[report: StopReport]>();
  expectTypeOf<Listener<"paused">>().parameters.toEqualTypeOf<[]>();
});

test("its streams are Node's", () => {
  expectTypeOf<Machine["stdout"]>().toEqualTypeOf<Readable>();
  expectTypeOf<Machine["stderr"]>().toEqualTypeOf<Readable>();
  expectTypeOf<Machine["stdin"]>().toEqualTypeOf<Writable>();
  expectTypeOf<Machine["console"]>().toEqualTypeOf<Duplex>();
});

test("its life is typed", () => {
  expectTypeOf<Machine>().toExtend<AsyncDisposable>();
  expectTypeOf<Machine["state"]>().toEqualTypeOf<MachineState>();
  expectTypeOf<MachineState>().toEqualTypeOf<"running" | "paused" | "stopping" | "stopped">();
  expectTypeOf<Machine["stopped"]>().resolves.toEqualTypeOf<StopReport>();
  expectTypeOf<Machine["stop"]>().returns.resolves.toEqualTypeOf<StopReport>();
  expectTypeOf<Machine["pause"]>().returns.toEqualTypeOf<Promise<void>>();
  expectTypeOf<Machine["stats"]>().returns.toEqualTypeOf<MachineStats>();
  expectTypeOf<MachineStats["cpuTime"]["vcpus"]>().toEqualTypeOf<readonly number[]>();
});

test("how it ended is told apart by kind", () => {
  expectTypeOf<Extract<CommandExit, { kind: "exited" }>["status"]>().toEqualTypeOf<number>();
  expectTypeOf<StopReport["command"]>().toEqualTypeOf<CommandExit | undefined>();
  expectTypeOf<StopReport["error"]>().toEqualTypeOf<TsvmError | undefined>();
  expectTypeOf<MachineEndedError["report"]>().toEqualTypeOf<StopReport>();
});
