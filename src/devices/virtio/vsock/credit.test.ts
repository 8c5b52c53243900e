import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUF_ALLOC, Credit } from "./credit.ts";
import { Packet } from "./packet.ts";

const stamp = (credit: Credit): number => {
  const packet = new Packet();
  credit.stamp(packet);
  expect(packet.bufAlloc).toBe(BUF_ALLOC);
  return packet.fwdCnt;
};

describe("Credit", () => {
  it("grants what the guest knows of, not what has become free since", () => {
    const credit = new Credit();
    expect(credit.receive(BUF_ALLOC)).toBe(true);
    credit.forward(1000);
    expect(credit.granted).toBe(0);
    expect(credit.receive(1)).toBe(false);
    expect(stamp(credit)).toBe(1000);
    expect(credit.receive(1001)).toBe(false);
    expect(credit.receive(1000)).toBe(true);
  });

  it("counts on after 2^32 bytes, in both directions", () => {
    const credit = new Credit();
    const packet = new Packet();
    let forwarded = 0;
    for (let bytes = 0; bytes < 2 ** 33; bytes += BUF_ALLOC) {
      expect(credit.granted).toBe(BUF_ALLOC);
      credit.receive(BUF_ALLOC);
      expect(credit.updateDue).toBe(false);
      credit.forward(BUF_ALLOC - 1);
      expect(credit.updateDue).toBe(true);
      credit.forward(1);
      forwarded = (forwarded + BUF_ALLOC) >>> 0;
      credit.stamp(packet);
      expect(packet.fwdCnt).toBe(forwarded);
      credit.send(BUF_ALLOC);
      credit.hear(BUF_ALLOC + 5, forwarded - (forwarded > 0 ? 7 : 0));
      expect(credit.peerFree).toBe(forwarded > 0 ? BUF_ALLOC - 2 : BUF_ALLOC + 5);
    }
    // Tens of thousands of rounds, on a host that may be busy.
  }, 60_000);

  it("is never negative, whatever the guest says (property)", () => {
    const word = fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0, 1, BUF_ALLOC, 0xffff_ffff, 0x8000_0000));
    const step = fc.record({ bufAlloc: word, fwdCnt: word, send: word, receive: word });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const credit = new Credit();
        let kept = 0;
        for (const { bufAlloc, fwdCnt, send, receive } of steps) {
          credit.hear(bufAlloc, fwdCnt);
          expect(credit.peerFree).toBeGreaterThanOrEqual(0);
          expect(credit.peerFree).toBeLessThanOrEqual(bufAlloc);
          credit.send(Math.min(send, credit.peerFree));
          if (credit.receive(receive)) kept += receive;
          expect(kept).toBeLessThanOrEqual(BUF_ALLOC);
          const gone = Math.min(kept, send);
          credit.forward(gone);
          kept -= gone;
          if (send % 2 === 0) stamp(credit);
          expect(credit.granted).toBeGreaterThanOrEqual(0);
          expect(credit.granted + kept).toBeLessThanOrEqual(BUF_ALLOC);
        }
      }),
    );
  });
});
