/**
 * Compares versions, such as those in the names of kernels: UAPI.10, Version Format Specification. Below zero if `a` is older.
 *
 * @example compareVersions("6.1.0-9-amd64", "6.1.0-10-amd64") < 0
 */
export function compareVersions(a: string, b: string): number {
  let left = a;
  let right = b;
  for (;;) {
    left = left.replace(SKIPPED, "");
    right = right.replace(SKIPPED, "");
    if (left === "" && right === "") return 0;
    // What ends is newer than what goes on with a tilde (6.2~rc1), and older than all else.
    const tilde = compareMark("~");
    if (tilde !== undefined) return tilde;
    if (left === "" || right === "") return left === "" ? -1 : 1;
    const mark = compareMark("-") ?? compareMark("^") ?? compareMark(".");
    if (mark !== undefined) return mark;
    const isNumber = /^\d/;
    if (isNumber.test(left) || isNumber.test(right)) {
      const leftNumber = /^\d*/.exec(left)![0];
      const rightNumber = /^\d*/.exec(right)![0];
      const order = compareNumbers(leftNumber, rightNumber);
      if (order !== 0) return order;
      left = left.slice(leftNumber.length);
      right = right.slice(rightNumber.length);
    } else {
      const leftWord = /^[A-Za-z]*/.exec(left)![0];
      const rightWord = /^[A-Za-z]*/.exec(right)![0];
      if (leftWord !== rightWord) return leftWord < rightWord ? -1 : 1;
      left = left.slice(leftWord.length);
      right = right.slice(rightWord.length);
    }
  }

  /** Whoever has the mark is older; where both have it, it is skipped. */
  function compareMark(mark: string): number | undefined {
    const inLeft = left.startsWith(mark);
    const inRight = right.startsWith(mark);
    if (inLeft !== inRight) return inLeft ? -1 : 1;
    if (inLeft) {
      left = left.slice(1);
      right = right.slice(1);
    }
    return undefined;
  }
}

const SKIPPED = /^[^A-Za-z0-9~^.-]+/;

/** Digits of any number; none is less than 0. */
function compareNumbers(a: string, b: string): number {
  if (a === "" || b === "") return a === b ? 0 : a === "" ? -1 : 1;
  const left = a.replace(/^0+/, "");
  const right = b.replace(/^0+/, "");
  if (left.length !== right.length) return left.length - right.length;
  return left === right ? 0 : left < right ? -1 : 1;
}
