/** Checks of the balloon part of a description. */
import { DescriptionError } from "./description-error.ts";
import type { MachineDescription } from "./description.ts";

/** Longer timers of Node's, and of whoever reads the result, run out at once. */
const LONGEST_INTERVAL = 1_000_000;

/** Throws a {@link DescriptionError} for the first thing that is wrong. */
export function validateBalloon({ balloon, memory, hugePages }: MachineDescription): void {
  if (balloon === undefined || balloon === false) return;
  const { size = 0, statsInterval = 0 } = balloon;
  if (hugePages === "hugetlb") {
    throw new DescriptionError(
      "balloon: memory of reserved huge pages (hugetlb) cannot be given back and taken again",
      "leave the balloon out, or take transparent huge pages",
    );
  }
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new DescriptionError(`balloon.size: ${size} is not a number of bytes`);
  }
  if (size > memory) {
    throw new DescriptionError(`balloon.size: ${size} bytes are more than the ${memory} of the machine`);
  }
  if (!(statsInterval >= 0 && statsInterval <= LONGEST_INTERVAL)) {
    throw new DescriptionError(
      `balloon.statsInterval: ${statsInterval} is not a number of seconds from 0 to ${LONGEST_INTERVAL}`,
    );
  }
}
