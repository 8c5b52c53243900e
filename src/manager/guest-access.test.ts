import { expect, test } from "vitest";
import type { MachineDescription } from "../machine/description.ts";
import { vsockPath, withAgent } from "./guest-access.ts";

const machine: MachineDescription = { cpus: 1, memory: 2 ** 27 };
const PATH = "/state/run/id.vsock";

test("a machine gets the agent and a vsock device at the path", () => {
  expect(vsockPath("/state", "id")).toBe(PATH);
  expect(withAgent(machine, PATH)).toEqual({ ...machine, agent: true, vsock: { path: PATH } });
  expect(withAgent({ ...machine, agent: "only" }, PATH)).toMatchObject({
    agent: "only",
    vsock: { path: PATH },
  });
});

test("what the definition says of its vsock device counts", () => {
  expect(withAgent({ ...machine, vsock: { path: "/mine", cid: 7 } }, PATH).vsock).toEqual({
    path: "/mine",
    cid: 7,
  });
  expect(withAgent({ ...machine, agent: false, vsock: { cid: 7 } }, PATH)).toMatchObject({
    agent: false,
    vsock: { path: PATH, cid: 7 },
  });
  expect(withAgent({ ...machine, agent: false }, PATH)).toEqual({ ...machine, agent: false });
});

test("a machine without a free place stays as it is", () => {
  const full = { ...machine, disks: Array.from({ length: 12 }, (_, i) => ({ path: `/d${i}` })), balloon: {} };
  expect(withAgent(full, PATH)).toEqual(full);
  expect(withAgent({ ...full, balloon: false }, PATH).vsock).toEqual({ path: PATH });
});
