import { describe, expect, it } from "vitest";
import { networkProblems, validateNetworks } from "./description-network.ts";
import type { NetworkDescription } from "./description.ts";

describe("networks", () => {
  it("that can be", () => {
    const networks: NetworkDescription[] = [
      {
        type: "user",
        mac: "02:00:00:00:00:01",
        forwards: [
          { hostPort: 53, guestPort: 53 },
          { protocol: "udp", hostPort: 53, guestPort: 53 },
          { address: "::1", hostPort: 80, guestPort: 80 },
        ],
      },
      {
        type: "tap",
        tap: "tap0",
        mtu: 9000,
        address: "10.0.0.2/8",
        gateway: "10.0.0.1",
        dns: ["1.1.1.1"],
        rateLimits: { receive: { bytesPerSecond: 1, bytesBurst: 5 } },
      },
    ];
    expect([...networkProblems(networks)]).toEqual([]);
  });

  it.each<[NetworkDescription[], string, string]>([
    [[{ type: "tap" }], "networks[0].tap: is missing", "networks 0 tap"],
    [[{ type: "tap", tap: "a/b" }], 'networks[0].tap: "a/b" is no name of an interface', "networks 0 tap"],
    [[{ type: "user", tap: "t" }], "networks[0].tap: not for type user", "networks 0 tap"],
    [
      [{ type: "tap", tap: "t", forwards: [] }],
      "networks[0].forwards: not for type tap",
      "networks 0 forwards",
    ],
    [
      [{ type: "user", mac: "01:00:00:00:00:00" }],
      'networks[0].mac: "01:00:00:00:00:00" is not the Ethernet address of one interface',
      "networks 0 mac",
    ],
    [
      [{ type: "user", mtu: 67 }],
      "networks[0].mtu: 67 is not a whole number from 68 to 65520",
      "networks 0 mtu",
    ],
    [
      [{ type: "user", rateLimits: { receive: { bytesPerSecond: 0 } } }],
      "networks[0].rateLimits.receive.bytesPerSecond: 0 is not at least 1",
      "networks 0 rateLimits receive bytesPerSecond",
    ],
    [
      [{ type: "user" }, { type: "user", forwards: [{ hostPort: 1, guestPort: 70_000 }] }],
      "networks[1].forwards[0].guestPort: 70000 is not a port from 1 to 65535",
      "networks 1 forwards 0 guestPort",
    ],
    [
      [{ type: "user", forwards: [{ address: "here", hostPort: 1, guestPort: 1 }] }],
      'networks[0].forwards[0].address: "here" is not an IP address',
      "networks 0 forwards 0 address",
    ],
    [
      [{ type: "tap", tap: "t", dns: ["1.1.1.1"] }],
      "networks[0]: gateway and dns without address",
      "networks 0 dns",
    ],
    [
      [{ type: "tap", tap: "t", address: "10.0.0.2" }],
      'networks[0].address: "10.0.0.2" is not an IPv4 address with a prefix length',
      "networks 0 address",
    ],
    [
      [{ type: "tap", tap: "t", address: "10.0.0.2/8", gateway: "::1" }],
      'networks[0].gateway: "::1" is not an IPv4 address',
      "networks 0 gateway",
    ],
    [
      [{ type: "tap", tap: "t", address: "10.0.0.2/8", dns: ["a"] }],
      'networks[0].dns[0]: "a" is not an IPv4 address',
      "networks 0 dns 0",
    ],
    [
      [
        { type: "user", mac: "02:00:00:00:00:0a" },
        { type: "user", mac: "02:00:00:00:00:0A" },
      ],
      "networks: two have the Ethernet address 02:00:00:00:00:0a",
      "networks 1 mac",
    ],
    [
      [
        { type: "tap", tap: "t" },
        { type: "tap", tap: "t" },
      ],
      "networks: two use the tap device t",
      "networks 1 tap",
    ],
    [
      [
        { type: "user", forwards: [{ hostPort: 1, guestPort: 1 }] },
        { type: "user", forwards: [{ protocol: "tcp", hostPort: 1, guestPort: 2 }] },
      ],
      "networks: the host's port 1/tcp is forwarded twice",
      "networks 1 forwards 0",
    ],
  ])("%j", (networks, message, path) => {
    const problems = [...networkProblems(networks)];
    expect(problems.map((problem) => [problem.message, problem.path.join(" ")])).toEqual([[message, path]]);
    expect(() => validateNetworks(networks)).toThrow(message);
  });
});
