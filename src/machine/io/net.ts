import { RateLimiter } from "../../devices/rate-limiter.ts";
import { netCounters } from "../../devices/virtio/net/net-counters.ts";
import { RECEIVE_QUEUE, TRANSMIT_QUEUE, VirtioNet } from "../../devices/virtio/net/net.ts";
import { EPOLLIN, EPOLLOUT } from "../../ffi/constants.ts";
import { StreamLink } from "../../net/stream-link.ts";
import { TapLink } from "../../net/tap-link.ts";
import { monotonicNow } from "../clock.ts";
import { ring } from "../doorbell.ts";
import type { NetBackendPlan } from "../plan.ts";
import type { DeviceBuilder } from "./device.ts";

export const buildNet: DeviceBuilder<NetBackendPlan> = (
  { machine, memory, loop, warn },
  state,
  { notifyFds },
  { name, link, fd, rateLimits, counters },
) => {
  const backend = new VirtioNet(state, memory, link === "tap" ? new TapLink(fd) : new StreamLink(fd), {
    limiter: rateLimits === undefined ? undefined : limiterFor(rateLimits),
    counters: netCounters(machine.shared, counters.offset),
    now: monotonicNow,
    runLater: (queue, delay) =>
      loop.callLater(delay, () => {
        backend.waited(queue);
        ring(notifyFds[queue]!);
      }),
    lost: () => {
      loop.unwatch(fd);
      const gone = link === "tap" ? `the tap device ${name} is gone` : "passt has ended";
      warn(`network: ${gone}: the guest sees its cable unplugged`);
    },
  });
  return {
    backend,
    attach(runners) {
      loop.watch(fd, EPOLLIN | EPOLLOUT, (events) => {
        if ((events & EPOLLOUT) !== 0) {
          backend.flush();
          runners[TRANSMIT_QUEUE]!();
        }
        if ((events & ~EPOLLOUT) !== 0) runners[RECEIVE_QUEUE]!();
      });
    },
  };
};

function limiterFor({ total, receive, transmit }: NonNullable<NetBackendPlan["rateLimits"]>): RateLimiter {
  const limits = {
    ...(total === undefined ? {} : { total }),
    ...(receive === undefined ? {} : { read: receive }),
    ...(transmit === undefined ? {} : { write: transmit }),
  };
  return new RateLimiter(limits, monotonicNow());
}
