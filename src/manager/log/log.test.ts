import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { followLines } from "./follow-lines.ts";
import { LineCollector } from "./line-collector.ts";
import { decodeRecord, encodeRecord, LONGEST_RECORD } from "./log-record.ts";
import { LogWriter } from "./log-writer.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsvm-log-"));
  path = join(directory, "log.jsonl");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function lines(): Promise<string[]> {
  const found: string[] = [];
  for await (const line of followLines(path)) found.push(line);
  return found;
}

const texts = async (): Promise<string[]> =>
  (await lines()).map((line) => decodeRecord(line)?.bytes.toString("latin1") ?? `? ${line}`);

describe("a log record", () => {
  it("brings every byte back", () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
    const line = encodeRecord({ time: 7, stream: "stderr", bytes });
    expect(line.split("\n")).toHaveLength(2);
    expect(decodeRecord(line)).toEqual({ time: 7, stream: "stderr", bytes });
  });

  it.each(["", "{", "[]", '[1,"x","y"]', '["1","c","y"]', '[1,"c",2]', "null"])("is not %j", (line) => {
    expect(decodeRecord(line)).toBeUndefined();
  });
});

describe("lines of a console", () => {
  it("are put together, cut when they get too long, and not kept waiting", () => {
    vi.useFakeTimers();
    const found: string[] = [];
    const collector = new LineCollector((bytes) => found.push(bytes.toString()));
    collector.push(Buffer.from("on"));
    collector.push(Buffer.from("e\ntwo\nlogin: "));
    expect(found.splice(0)).toEqual(["one\n", "two\n"]);
    vi.advanceTimersByTime(1000);
    expect(found.splice(0)).toEqual(["login: "]);
    collector.push(Buffer.from("x".repeat(2 * LONGEST_RECORD + 1)));
    expect(found.splice(0).map((text) => text.length)).toEqual([LONGEST_RECORD, LONGEST_RECORD]);
    collector.flush();
    expect(found).toEqual(["x"]);
    vi.useRealTimers();
  });
});

describe("a log", () => {
  it("is written in order, and events behind what came before them", async () => {
    const log = new LogWriter(path);
    log.event("start");
    log.push("console", Buffer.from("one\npro"));
    log.push("stdout", Buffer.from("out"));
    log.event("exit");
    await log.close();
    expect(await texts()).toEqual(["start\n", "one\n", "pro", "out", "exit\n"]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("is bounded: it goes on in a new file, beside one old one", async () => {
    const log = new LogWriter(path, 2000);
    for (let count = 0; count < 100; count++) {
      log.push("console", Buffer.from(`line ${count} ${"x".repeat(50)}\n`));
      if (count % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await log.close();
    expect(statSync(path).size + statSync(`${path}.1`).size).toBeLessThan(6000);
    const kept = await texts();
    expect(kept.at(-1)).toContain("line 99 ");
    const numbers = kept.map((text) => Number(text.split(" ")[1]));
    expect(numbers).toEqual(numbers.map((_, at) => numbers[0]! + at));
  });

  it("says how much was lost while it could not be written, and goes on", async () => {
    const missing = join(directory, "later/log.jsonl");
    const log = new LogWriter(missing);
    log.push("console", Buffer.from("lost\n"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { mkdirSync } = await import("node:fs");
    mkdirSync(join(directory, "later"));
    log.push("console", Buffer.from("kept\n"));
    await log.close();
    path = missing;
    expect(await texts()).toEqual([expect.stringMatching(/^\d+ bytes of output were lost/), "kept\n"]);
  });

  it("begins a new line behind one that a full disk has cut", async () => {
    writeFileSync(path, '[1,"c","cut');
    const log = new LogWriter(path);
    log.event("start");
    await log.close();
    expect(await texts()).toEqual(['? [1,"c","cut', "start\n"]);
  });

  it("takes no more than it can hold while the disk is slow", async () => {
    const log = new LogWriter(path);
    const line = Buffer.from(`${"y".repeat(4000)}\n`);
    for (let count = 0; count < 3000; count++) log.push("console", line);
    await log.close();
    const total = statSync(path).size + (existsSync(`${path}.1`) ? statSync(`${path}.1`).size : 0);
    expect(total).toBeLessThan(3 * 2 ** 20);
    expect((await texts()).at(-1)).toMatch(/bytes of output were lost/);
  });
});

describe("following a file", () => {
  it("sees what is added, over rotations, until it is told that this was all", async () => {
    writeFileSync(path, "one\n");
    let done = false;
    const found: string[] = [];
    const following = (async () => {
      for await (const line of followLines(path, { follow: true, ended: () => done })) found.push(line);
    })();
    await vi.waitFor(() => expect(found).toEqual(["one"]));
    appendFileSync(path, "two\nthr");
    appendFileSync(path, "ee\n");
    await vi.waitFor(() => expect(found).toHaveLength(3));
    appendFileSync(path, "four\n");
    renameSync(path, `${path}.1`);
    writeFileSync(path, "five\n");
    await vi.waitFor(() => expect(found).toHaveLength(5));
    done = true;
    appendFileSync(path, "six\n");
    await following;
    expect(found).toEqual(["one", "two", "three", "four", "five", "six"]);
  });

  it("waits for a file that is not there yet, and gives up when it is told to", async () => {
    const controller = new AbortController();
    const found: string[] = [];
    const following = (async () => {
      for await (const line of followLines(path, { follow: true, signal: controller.signal }))
        found.push(line);
    })();
    writeFileSync(path, "one\n");
    await vi.waitFor(() => expect(found).toEqual(["one"]));
    controller.abort();
    await following;
  });
});
