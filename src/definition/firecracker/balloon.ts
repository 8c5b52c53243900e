/** Firecracker's balloon: https://github.com/firecracker-microvm/firecracker/blob/main/docs/ballooning.md */
import type { BalloonDescription } from "../../machine/description.ts";
import type { Problems } from "../problems.ts";
import type { FirecrackerConfig } from "./schema.ts";

type FirecrackerBalloon = NonNullable<FirecrackerConfig["balloon"]>;

const MiB = 2 ** 20;

export function readBalloon(balloon: FirecrackerBalloon): BalloonDescription {
  const { amount_mib, deflate_on_oom, stats_polling_interval_s, free_page_reporting } = balloon;
  return {
    size: amount_mib * MiB,
    deflateOnOom: deflate_on_oom,
    ...(stats_polling_interval_s === undefined ? {} : { statsInterval: stats_polling_interval_s }),
    ...(free_page_reporting === undefined ? {} : { reporting: free_page_reporting }),
  };
}

export function writeBalloon(balloon: BalloonDescription, problems: Problems): FirecrackerBalloon {
  const { size = 0, deflateOnOom = true, statsInterval, reporting } = balloon;
  const element = "balloon";
  if (size % MiB !== 0)
    problems.lacking("balloon.size: Firecracker counts whole MiB", { element }, "rounds it down");
  if (statsInterval !== undefined && !Number.isInteger(statsInterval))
    problems.lacking("balloon.statsInterval: Firecracker counts whole seconds", { element }, "rounds it up");
  return {
    amount_mib: Math.floor(size / MiB),
    deflate_on_oom: deflateOnOom,
    ...(statsInterval === undefined ? {} : { stats_polling_interval_s: Math.ceil(statsInterval) }),
    // Older versions do not know it.
    ...(reporting === undefined ? {} : { free_page_reporting: reporting }),
  };
}
