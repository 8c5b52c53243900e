/** tsvm on a terminal: what a user types, sees, and finds afterwards. */
import { afterEach, expect, test } from "vitest";
import { KVM, SCRIPT, suite } from "./support/needs.ts";
import { CTRL_A, CTRL_C, Terminal } from "./support/terminal.ts";
import { SLOWNESS } from "./support/tsvm.ts";

let terminal: Terminal | undefined;
afterEach(() => terminal?.close());

/** The shell asks the terminal where its cursor is (ESC [ 6 n) after it has printed the prompt. */
const PROMPT = /# (\x1b\[6n)?$/;
const BOOTING = "[tsvm: booting; Ctrl-A x leaves, Ctrl-A h helps]\n";

function boot(args: string[], size?: { rows: number; columns: number }): Terminal {
  terminal = new Terminal(["boot", "-m", "64M", ...args], size);
  return terminal;
}

suite("on a terminal", [KVM, SCRIPT], () => {
  test("the guest's shell is at the prompt, and Ctrl-A x leaves it", async () => {
    const session = boot([], { rows: 33, columns: 101 });
    await session.see(BOOTING);
    await session.see(PROMPT);

    session.type("echo $((6 * 7))\r");
    await session.see("echo $((6 * 7))\n42\n");
    await session.see(PROMPT);

    // A size that is no default can only have come from the terminal.
    session.type("stty size\r");
    expect(await session.see(/\d+ \d+\n/)).toContain("33 101\n");
    await session.see(PROMPT);
    session.resize(44, 99);
    await new Promise((resolve) => setTimeout(resolve, 500));
    session.type("stty size\r");
    expect(await session.see(/\d+ \d+\n/)).toContain("44 99\n");
    await session.see(PROMPT);

    session.type("sleep 100; echo status $?\r");
    await session.see("$?\n");
    await new Promise((resolve) => setTimeout(resolve, 2000));
    session.type(CTRL_C);
    await session.see("^C");
    await session.see(PROMPT, 60_000 * SLOWNESS);

    session.type(`${CTRL_A}h`);
    await session.see(/Ctrl-A x {3}leave: end the machine.*\nCtrl-A p {3}press .*\nCtrl-A h {3}this help\n/);
    // Ctrl-A twice is one: the shell goes to the beginning of the line.
    session.type(`cho again${CTRL_A}${CTRL_A}e\r`);
    await session.see("\nagain\n", 60_000 * SLOWNESS);

    session.resize(33, 101); // for the comparison below
    session.type(`${CTRL_A}x`);
    const { status, before, after } = await session.end(5000 * SLOWNESS);
    expect(status).toBe(0);
    expect(after).toBe(before);
  });

  test("shows what the guest prints byte by byte: a full-screen program's line feed only goes down", async () => {
    const session = boot(["--", "sh", "-c", "stty -opost; printf 'one\\ntwo\\r\\nthree'"]);
    await session.end();
    expect(session.bytes).toBe("one\ntwo\r\nthree");
  });

  test("the status of the guest's shell is tsvm's", async () => {
    const session = boot([]);
    await session.see(BOOTING);
    // Typed ahead: nothing that is typed while the guest boots is lost.
    session.type("exit 3\r");
    const { status, before, after } = await session.end();
    expect(status).toBe(3);
    expect(after).toBe(before);
  });

  test("a command runs on it, and its status is tsvm's", async () => {
    const session = boot(["--", "sh", "-c", 'stty size; echo $TERM; read -r line; echo "got $line"; exit 5']);
    expect(await session.see("24 80\nvt100\n")).not.toContain("booting");
    session.type("hello\r");
    await session.see("hello\ngot hello\n");
    const { status, before, after } = await session.end();
    expect(status).toBe(5);
    expect(after).toBe(before);
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ] as const)("%s ends it with %i, and the terminal is as it was", async (signal, expected) => {
    const session = boot([]);
    await session.see(BOOTING);
    await new Promise((resolve) => setTimeout(resolve, 300));
    session.kill(signal);
    const { status, before, after } = await session.end(5000 * SLOWNESS);
    expect(status).toBe(expected);
    expect(after).toBe(before);
  });

  test("Ctrl-A x also leaves while the guest boots, and Ctrl-C does not", async () => {
    const session = boot([]);
    await session.see(BOOTING);
    await new Promise((resolve) => setTimeout(resolve, 300));
    session.type(CTRL_C);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(() => session.kill("SIGCONT")).not.toThrow(); // it is still there
    session.type(`${CTRL_A}x`);
    const { status, before, after } = await session.end(5000 * SLOWNESS);
    expect(status).toBe(0);
    expect(session.screen).toMatch(/\ntsvm: ended by Ctrl-A x\n$/);
    expect(after).toBe(before);
  });

  test("an error leaves the terminal as it was", async () => {
    const session = boot(["/nonexistent"]);
    const { status, before, after } = await session.end(30_000);
    expect(session.screen).toBe("tsvm: /nonexistent: no such file\n  → check the path\n");
    expect(status).toBe(125);
    expect(after).toBe(before);
  });
});
