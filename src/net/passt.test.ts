import { describe, expect, it } from "vitest";
import { formatMac, parseMac } from "./mac.ts";
import { macFor } from "./mac-for.ts";
import { passtArguments } from "./passt.ts";

describe("passt's command line", () => {
  const options = { mac: Uint8Array.of(2, 0, 0, 0, 0, 1), mtu: 1500, forwards: [], hostLoopback: false };

  it("keeps the host's loopback to the host, unless it is asked not to", () => {
    expect(passtArguments(options)).toContain("--no-map-gw");
    expect(passtArguments({ ...options, hostLoopback: true })).not.toContain("--no-map-gw");
  });

  it("forwards ports", () => {
    const forwards = [
      { hostPort: 8080, guestPort: 80 },
      { protocol: "udp" as const, address: "127.0.0.1", hostPort: 5353, guestPort: 53 },
    ];
    expect(passtArguments({ ...options, forwards }).slice(-4)).toEqual([
      "--tcp-ports",
      "8080:80",
      "--udp-ports",
      "127.0.0.1/5353:53",
    ]);
  });
});

describe("Ethernet addresses", () => {
  it("are read and written", () => {
    expect(parseMac("02:00:0A:ff:00:01")).toEqual(Uint8Array.of(2, 0, 10, 255, 0, 1));
    expect(formatMac(Uint8Array.of(2, 0, 10, 255, 0, 1))).toBe("02:00:0a:ff:00:01");
  });

  it.each([
    "",
    "02:00:00:00:00",
    "02-00-00-00-00-01",
    "02:00:00:00:00:0g",
    "01:00:00:00:00:01",
    "00:00:00:00:00:00",
  ])("%s is none for an interface", (text) => expect(parseMac(text)).toBeUndefined());

  it("follow from the machine's name, so that a guest finds the interface that it knows", () => {
    expect(macFor("web", 0)).toEqual(macFor("web", 0));
    expect(macFor("web", 0)).not.toEqual(macFor("web", 1));
    expect(macFor("web", 0)).not.toEqual(macFor("db", 0));
    for (const mac of [macFor("web", 0), macFor(undefined, 0)]) {
      expect(mac).toHaveLength(6);
      expect(mac[0]).toBe(2);
    }
  });
});
