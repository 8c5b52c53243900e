import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import {
  ArgumentError,
  checkAbortSignal,
  checkBytes,
  checkListener,
  checkOneOf,
  checkOptions,
  checkPath,
  checkPattern,
  checkSignalNumber,
  checkTimeout,
  checkWindowSize,
  checkWorkerCount,
} from "./arguments.ts";

it.each<[check: (where: string, value: unknown) => void, good: unknown[], bad: unknown[]]>([
  [checkTimeout, [0, 1.5, 2 ** 31 - 1], [-1, NaN, Infinity, 2 ** 31, "1s", null, 5n]],
  [checkAbortSignal, [AbortSignal.timeout(1)], [null, {}, "SIGTERM", new AbortController()]],
  [checkPattern, ["#", /#/, runInNewContext("/#/")], ["", null, 3, {}]],
  [
    checkWindowSize,
    [{ rows: 1, columns: 65535 }],
    [null, {}, { rows: 0, columns: 80 }, { rows: 25.5, columns: 80 }],
  ],
  [checkBytes, [Buffer.from("a"), new Uint8Array(0)], ["text", [1, 2], new ArrayBuffer(1), null]],
  [checkListener, [() => undefined], [undefined, "end", {}]],
  [checkSignalNumber, [1, 64], [0, 65, "SIGTERM", -9, 2.5]],
  [checkWorkerCount, [0, 4], [-1, Infinity, NaN, "2"]],
  [checkPath, ["disk.img"], [undefined, 3, "a\0b"]],
])("%o takes what makes sense, and nothing else", (check, good, bad) => {
  for (const value of good) expect(() => check("here", value)).not.toThrow();
  for (const value of bad) expect(() => check("here: it", value)).toThrow(ArgumentError);
});

it("names what is wrong, and what was probably meant", () => {
  const checks = { timeout: checkTimeout, signal: checkAbortSignal };
  expect(() => checkOptions("wait", { timeout: undefined }, checks)).not.toThrow();
  const failure = (run: () => void): { code?: string; message?: string; hint?: string } => {
    try {
      run();
    } catch (error) {
      const { code, message, hint } = error as ArgumentError;
      return { code, message, ...(hint === undefined ? {} : { hint }) };
    }
    return {};
  };
  expect(failure(() => checkOptions("wait", { timeout: "1s" }, checks))).toEqual({
    code: "ERR_ARGUMENT",
    message: 'wait: timeout: "1s" is not a number of milliseconds from 0 to 2147483647',
  });
  expect(failure(() => checkOptions("wait", { timeOut: 1 }, checks))).toEqual({
    code: "ERR_ARGUMENT",
    message: 'wait: "timeOut" is not an option: they are timeout, signal',
    hint: "did you mean timeout?",
  });
  expect(failure(() => checkOptions("stop", { timeout: 1 }, {}, "shutdown has one"))).toEqual({
    code: "ERR_ARGUMENT",
    message: 'stop: "timeout" is not an option: there are none',
    hint: "shutdown has one",
  });
  expect(failure(() => checkOptions("wait", 5, checks)).message).toBe("wait: options: 5 is not an object");
  expect(failure(() => checkOneOf("format", "vmdk", ["raw", "qcow2"])).message).toBe(
    'format: "vmdk" is not one of raw, qcow2',
  );
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  expect(failure(() => checkTimeout("t", circle)).message).toContain("t: an object is not");
  expect(failure(() => checkTimeout("t", "x".repeat(1000))).message!.length).toBeLessThan(200);
});
