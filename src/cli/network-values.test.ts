import { describe, expect, it } from "vitest";
import { addForwards, networksOf, parseForward, parseNetwork } from "./network-values.ts";

describe("--net", () => {
  it.each([
    ["user", { type: "user" }],
    ["none", undefined],
    ["tap=tap0", { type: "tap", tap: "tap0" }],
    ["user,host-loopback,mtu=1500", { type: "user", hostLoopback: true, mtu: 1500 }],
    [
      "tap=t,mac=02:00:00:00:00:01,address=10.1.1.2/24,gateway=10.1.1.1,dns=1.1.1.1,dns=9.9.9.9",
      {
        type: "tap",
        tap: "t",
        mac: "02:00:00:00:00:01",
        address: "10.1.1.2/24",
        gateway: "10.1.1.1",
        dns: ["1.1.1.1", "9.9.9.9"],
      },
    ],
    [
      "user,bps=1M,bps-receive=500,pps-transmit=10",
      {
        type: "user",
        rateLimits: {
          total: { bytesPerSecond: 2 ** 20 },
          receive: { bytesPerSecond: 500 },
          transmit: { operationsPerSecond: 10 },
        },
      },
    ],
  ])("%s", (text, network) => {
    expect(parseNetwork(text)).toEqual(network);
  });

  it.each([
    ["bridge", '--net: "bridge" is not one of user, tap=NAME, none'],
    ["tap", "--net: tap names no device"],
    ["tap=", "--net: tap names no device"],
    ["none,mtu=5", '--net: "none,mtu=5": none takes no properties'],
    ["user,colour=red", '--net: unknown property "colour=red"'],
    ["user,mtu=1,mtu=2", '--net: "mtu" is given twice'],
    ["user,mtu=big", '--net mtu: "big" is not a whole number'],
    ["user,host-loopback=1", "--net: host-loopback takes no value"],
  ])("%s is refused", (text, message) => {
    expect(() => parseNetwork(text)).toThrow(message);
  });
});

describe("--publish", () => {
  it.each([
    ["8080:80", { hostPort: 8080, guestPort: 80 }],
    ["53", { hostPort: 53, guestPort: 53 }],
    ["5353:53/udp", { protocol: "udp", hostPort: 5353, guestPort: 53 }],
    ["8080:80/tcp", { hostPort: 8080, guestPort: 80 }],
    ["127.0.0.1:8080:80", { address: "127.0.0.1", hostPort: 8080, guestPort: 80 }],
    ["[::1]:8080:80", { address: "::1", hostPort: 8080, guestPort: 80 }],
  ])("%s", (text, forward) => {
    expect(parseForward(text)).toEqual(forward);
  });

  it.each(["", "http", "80:", ":80", "::1:80:80", "80:80/sctp", "1:2:3", "123456:1"])(
    "%s is refused",
    (text) => {
      expect(() => parseForward(text)).toThrow("is not [ADDRESS:]HOST_PORT:GUEST_PORT[/udp]");
    },
  );

  it("alone means user-mode networking, and goes to that network otherwise", () => {
    const forwards = [{ hostPort: 8080, guestPort: 80 }];
    expect(networksOf([], ["8080:80"])).toEqual([{ type: "user", forwards }]);
    expect(networksOf(["tap=a", "user"], ["8080:80"])).toEqual([
      { type: "tap", tap: "a" },
      { type: "user", forwards },
    ]);
    expect(networksOf(["none"], [])).toEqual([]);
    expect(addForwards([{ type: "user", forwards: [{ hostPort: 1, guestPort: 2 }] }], ["8080:80"])).toEqual([
      { type: "user", forwards: [{ hostPort: 1, guestPort: 2 }, ...forwards] },
    ]);
    expect(() => networksOf(["tap=a"], ["8080:80"])).toThrow("--publish needs user-mode networking");
    expect(() => networksOf(["none"], ["8080:80"])).toThrow("--publish needs user-mode networking");
    expect(() => networksOf(["none", "user"], [])).toThrow("--net none stands beside another");
  });
});
