import { describe, expect, it } from "vitest";
import { formatPortForward, parsePortForward } from "./port-forward.ts";

describe("the text form of a forwarded port", () => {
  it.each([
    ["8080:80", { hostPort: 8080, guestPort: 80 }],
    ["5353:53/udp", { protocol: "udp", hostPort: 5353, guestPort: 53 }],
    ["127.0.0.1:8080:80", { address: "127.0.0.1", hostPort: 8080, guestPort: 80 }],
    ["[::1]:5353:53/udp", { protocol: "udp", address: "::1", hostPort: 5353, guestPort: 53 }],
  ] as const)("%s, there and back", (text, forward) => {
    expect(parsePortForward(text)).toEqual(forward);
    expect(formatPortForward(forward)).toBe(text);
  });

  it.each([
    ["53", { hostPort: 53, guestPort: 53 }],
    ["8080:80/tcp", { hostPort: 8080, guestPort: 80 }],
    ["53/UDP", { protocol: "udp", hostPort: 53, guestPort: 53 }],
  ])("%s", (text, forward) => {
    expect(parsePortForward(text)).toEqual(forward);
  });

  it.each(["", "http", "80:", ":80", "::1:80:80", "80:80/sctp", "80:80/uDp", "1:2:3", "123456:1", "80:80\n"])(
    "not %j",
    (text) => {
      expect(parsePortForward(text)).toBeUndefined();
    },
  );
});
