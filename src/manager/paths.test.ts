import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { checkCreatable, makePrivateDirectory, managerPaths } from "./paths.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-paths-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const uid = process.getuid!();

describe("the directories of the manager", () => {
  it("may be missing where they can be made, and nowhere else", () => {
    expect(() => checkCreatable(join(directory, "a", "b"))).not.toThrow();
    expect(() => checkCreatable("/proc/nope/vms")).toThrow("/proc/nope: cannot be made: not permitted");
    expect(() => checkCreatable("/sys/nope/vms")).toThrow("/sys/nope: cannot be made");
  });

  it("are root's own for root", () => {
    expect(managerPaths({ XDG_STATE_HOME: "/x" }, 0)).toEqual({
      state: "/var/lib/tsvm",
      runtime: "/run/tsvm",
    });
  });

  it("are those of the XDG specification for others", () => {
    const env = { XDG_STATE_HOME: "/x/state", XDG_RUNTIME_DIR: directory };
    // Somebody else's runtime directory is none of ours.
    expect(managerPaths(env, uid + 1)).toEqual({ state: "/x/state/tsvm", runtime: "/x/state/tsvm/run" });
    if (uid !== 0) expect(managerPaths(env, uid).runtime).toBe(join(directory, "tsvm"));
    const home = join(homedir(), ".local/state/tsvm");
    expect(managerPaths({}, 1000)).toEqual({ state: home, runtime: join(home, "run") });
    expect(managerPaths({ XDG_STATE_HOME: "relative", XDG_RUNTIME_DIR: "/none" }, 1000).state).toBe(home);
  });

  it("can be set, and stay together then", () => {
    expect(managerPaths({ TSVM_STATE_DIR: "/s" }, 0)).toEqual({ state: "/s", runtime: "/s/run" });
    expect(managerPaths({ TSVM_STATE_DIR: "/s", TSVM_RUNTIME_DIR: "/r" }, 0)).toEqual({
      state: "/s",
      runtime: "/r",
    });
  });

  it("are for their user alone", () => {
    const path = join(directory, "a/b");
    makePrivateDirectory(path);
    makePrivateDirectory(path);
    const open = join(directory, "open");
    mkdirSync(open);
    chmodSync(open, 0o777);
    expect(() => makePrivateDirectory(open)).toThrow(`${open}: others may write to it`);
  });
});
