import { STATS_QUEUE, VirtioBalloon } from "../../devices/virtio/balloon/balloon.ts";
import { balloonCounters } from "../../devices/virtio/balloon/balloon-counters.ts";
import { GuestStatistics } from "../../devices/virtio/balloon/guest-statistics.ts";
import { monotonicNow } from "../clock.ts";
import type { BalloonBackendPlan } from "../plan.ts";
import type { DeviceBuilder } from "./device.ts";

export const buildBalloon: DeviceBuilder<BalloonBackendPlan> = (
  { machine, memory, loop },
  state,
  _plan,
  { statsInterval = 0, counters, statistics },
) => {
  const figures = new GuestStatistics(machine.shared, statistics.offset);
  const backend = new VirtioBalloon(state, memory, {
    counters: balloonCounters(machine.shared, counters.offset),
    statistics: figures,
    now: monotonicNow,
  });
  return {
    backend,
    attach(runners) {
      if (statsInterval === 0) return;
      const ask = (): void => {
        figures.request();
        runners[STATS_QUEUE]!();
        loop.callLater(statsInterval, ask);
      };
      loop.callLater(statsInterval, ask);
    },
  };
};
