import { describe, expect, it } from "vitest";
import { UsageError } from "../errors.ts";
import { durationText, parseMoment, sizeText } from "./quantities.ts";
import { table } from "./table.ts";
import { Template } from "./template.ts";

const FIELDS = ["name", "state", "exit", "startedAt"];
const ROWS = [
  { name: "web", state: "running", exit: null, startedAt: "now" },
  { name: "database", state: "stopped", exit: { status: 7, message: "a\x1b[2Jb" }, startedAt: null },
];
const render = (text: string): string => new Template(text, FIELDS).render(ROWS);

describe("--format", () => {
  it("fills in fields", () => {
    expect(render("{{.name}}")).toBe("web\ndatabase\n");
    expect(render("{{ .name }}:{{.exit.status}}\\t{{.startedAt}}")).toBe("web:\tnow\ndatabase:7\t\n");
    expect(render("no field")).toBe("no field\nno field\n");
    expect(render("{{json .exit}}")).toBe('null\n{"status":7,"message":"a\\u001b[2Jb"}\n');
    expect(render("{{json .}}").split("\n")[0]).toBe(JSON.stringify(ROWS[0]));
  });

  it("lets nothing through that a terminal obeys", () => {
    expect(render("{{.exit.message}}")).toBe("\na\\x1b[2Jb\n");
  });

  it("aligns columns", () => {
    expect(render("table {{.name}}\\t{{.state}}\\t{{.startedAt}}")).toBe(
      "NAME      STATE    STARTED AT\nweb       running  now\ndatabase  stopped\n",
    );
  });

  it.each([
    ["{{.nmae}}", 'there is no field "nmae"'],
    ["{{name}}", "{{name}} makes no sense"],
    ["{{.name", "{{ without }}"],
    ["{{}}", "makes no sense"],
    ["{{range .}}", "makes no sense"],
  ])("refuses %s", (text, message) => {
    expect(() => render(text)).toThrow(UsageError);
    expect(() => render(text)).toThrow(message);
  });

  it("does not reach what is not a field", () => {
    expect(render("{{.exit.constructor}}")).toBe("\n\n");
  });
});

describe("tables", () => {
  it("are as wide as their content", () => {
    const columns = [
      { header: "N", text: ({ name }: { name: string }) => name },
      { header: "LENGTH", right: true, text: ({ name }: { name: string }) => `${name.length}` },
    ];
    expect(table(columns, [{ name: "a" }, { name: "ünï\n" }])).toBe(
      "N        LENGTH\na             1\nünï\\x0a       4\n",
    );
    expect(table(columns, [])).toBe("N  LENGTH\n");
  });

  it("have rare columns only where they say something", () => {
    const columns = [
      { header: "N", text: ({ name }: { name: string }) => name },
      { header: "B", rare: true, text: ({ name }: { name: string }) => (name === "b" ? "yes" : "") },
    ];
    expect(table(columns, [{ name: "a" }])).toBe("N\na\n");
    expect(table(columns, [{ name: "a" }, { name: "b" }])).toBe("N  B\na\nb  yes\n");
  });
});

describe("quantities", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [128 * 2 ** 20, "128 MiB"],
    [2 ** 50, "1024 TiB"],
  ])("%i bytes are %s", (bytes, text) => expect(sizeText(bytes)).toBe(text));

  it.each([
    [0, "0s"],
    [12_300, "12s"],
    [60_000, "1m"],
    [3_725_000, "1h 2m"],
    [200_000_000, "2d 7h"],
  ])("%i ms are %s", (ms, text) => expect(durationText(ms)).toBe(text));

  it("moments", () => {
    expect(parseMoment("--since", "10m", 1_000_000)).toBe(400_000);
    expect(parseMoment("--since", "2026-01-31T12:00:00Z")).toBe(Date.UTC(2026, 0, 31, 12));
    expect(() => parseMoment("--since", "noon")).toThrow('--since: "noon" is not a time');
  });
});
