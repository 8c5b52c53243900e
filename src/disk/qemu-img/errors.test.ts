import { describe, expect, it } from "vitest";
import { explainFailure, type Subject } from "./errors.ts";

function explain(stderr: string, subject: Subject = { path: "disk.qcow2" }): [string, string | undefined] {
  const { message, hint } = explainFailure(subject, stderr);
  return [message, hint];
}

describe("what qemu-img complains of", () => {
  it.each(["write", 'shared "write'])("a lock (%s) names the image that is in use", (kind) => {
    const locked = (path: string): string =>
      `qemu-img: Could not open '${path}': Failed to get "${kind}" lock\nIs another process using the image [${path}]?\n`;
    const expected = "in use by another program (another tsvm or QEMU)";
    expect(explain(locked("./disk.qcow2"))).toEqual([`disk disk.qcow2: ${expected}`, "stop that one first"]);
    expect(explain(locked("/images/base.qcow2"))[0]).toBe(`disk /images/base.qcow2: ${expected}`);
    expect(explain(locked("./.new.tmp"), { path: "new", temporary: ".new.tmp" })[0]).toBe(
      `disk new: ${expected}`,
    );
  });

  it("space and size are about the new image, not about what it is made from", () => {
    const subject = { path: "new", temporary: ".new.tmp", source: "old" };
    expect(explain("qemu-img: error while writing at byte 0: No space left on device\n", subject)).toEqual([
      "disk new: no space left on the host's disk",
      "free some space, or put the image elsewhere",
    ]);
    expect(explain("qemu-img: error while writing at byte 0: File too large\n", subject)[0]).toBe(
      "disk new: its file system, or a limit (ulimit -f), allows no file of that size",
    );
  });

  it("what is said of the source is about the source", () => {
    const subject = { path: "new", temporary: ".new.tmp", source: "-o" };
    expect(explain("qemu-img: Could not open './-o': Unknown driver 'x'\n", subject)[0]).toBe(
      'disk -o: qemu-img knows no format "x"',
    );
    expect(explain("qemu-img: Could not open './-o': Not a vmdk\n", subject)[0]).toBe(
      "disk -o: qemu-img: Not a vmdk",
    );
  });

  it("other words are passed on, without warnings, and with the name that the user knows", () => {
    const subject = { path: "new", temporary: ".new.tmp" };
    expect(
      explain("qemu-img: warning: be careful\nqemu-img: ./.new.tmp: Cannot do that\nmore\n", subject)[0],
    ).toBe("disk new: qemu-img: Cannot do that");
    expect(explain("ERROR cluster 6\nqemu-img: Check failed: Input/output error\n")[0]).toBe(
      "disk disk.qcow2: qemu-img: Check failed: Input/output error",
    );
    expect(explain("\n")[0]).toBe("disk disk.qcow2: qemu-img: it failed, and did not say why");
  });
});
