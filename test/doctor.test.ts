/** `tsvm doctor` on a host where guests can be booted. bad-input.test.ts has it where they cannot. */
import { expect, test } from "vitest";
import { KVM, suite } from "./support/needs.ts";
import { tsvm } from "./support/tsvm.ts";

interface Finding {
  topic: string;
  verdict: "ok" | "note" | "missing";
  text: string;
  hint?: string;
}

suite("doctor", [KVM], () => {
  test("says that the host is ready, the same for people and for programs", async () => {
    const [people, programs] = await Promise.all([tsvm(["doctor"]), tsvm(["doctor", "--json"])]);
    expect(people).toMatchObject({ status: 0, stderr: "" });
    expect(programs).toMatchObject({ status: 0, stderr: "" });
    const { ready, findings } = JSON.parse(programs.stdout) as { ready: boolean; findings: Finding[] };
    expect(ready).toBe(true);
    expect([...new Set(findings.map(({ topic }) => topic))]).toEqual([
      "kvm",
      "host",
      "memory",
      "disk",
      "guest",
      "tool",
    ]);
    expect(people.stdout).toMatch(/^ok {4}kvm {5}\/dev\/kvm works, up to \d+ vCPUs in a machine$/m);
    expect(people.stdout).toMatch(/^ok {4}guest {3}the bundled Linux guest is complete$/m);
    for (const { topic, text, hint } of findings) {
      if (topic !== "memory") expect(people.stdout).toContain(text); // how much is free changes
      if (hint !== undefined) expect(people.stdout).toContain(`\n              → ${hint}\n`);
    }
    expect(people.stdout).toMatch(/\nThis host can boot guests\.\n$/);
  });

  test("tells of a tool that is missing, which keeps nobody from booting", async () => {
    const result = await tsvm(["doctor"], { env: { PATH: "/nonexistent" } });
    expect(result).toMatchObject({ status: 0, stderr: "" });
    expect(result.stdout).toContain("MISS  tool    qemu-img");
    expect(result.stdout).toContain("\n              → apt-get install qemu-utils\n");
  });
});
