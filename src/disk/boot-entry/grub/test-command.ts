/** GRUB's `test` and `[`. GRUB manual, "test". */

export interface FileTests {
  /** Whether there is such a file or directory; size 0 for directories. */
  stat(path: string): { readonly directory: boolean; readonly size: number } | undefined;
}

/** Whether the expression holds. What cannot be understood does not. */
export function evaluateTest(args: readonly string[], files: FileTests): boolean {
  let at = 0;
  let depth = 0;

  function or(): boolean {
    let value = and();
    while (args[at] === "-o") {
      at++;
      const right = and();
      value = value || right;
    }
    return value;
  }

  function and(): boolean {
    let value = not();
    while (at < args.length && args[at] !== "-o" && args[at] !== ")") {
      if (args[at] === "-a") at++;
      const before = at;
      const right = not();
      value = value && right;
      if (at === before) break;
    }
    return value;
  }

  function not(): boolean {
    let negated = false;
    while (args[at] === "!") {
      negated = !negated;
      at++;
    }
    return primary() !== negated;
  }

  function primary(): boolean {
    const first = args[at];
    if (first === undefined) return false;
    if (first === "(" && depth < 20) {
      at++;
      depth++;
      const value = or();
      depth--;
      if (args[at] === ")") at++;
      return value;
    }
    const operator = args[at + 1];
    const second = args[at + 2];
    const compare = operator === undefined || second === undefined ? undefined : BINARY[operator];
    if (compare !== undefined) {
      at += 3;
      return compare(first, second!);
    }
    const unary = UNARY[first];
    if (unary !== undefined && operator !== undefined) {
      at += 2;
      return unary(operator, files);
    }
    at++;
    return first !== "";
  }

  return or();
}

const number = (text: string): number => Number.parseInt(text, 10) || 0;

const BINARY: Readonly<Partial<Record<string, (a: string, b: string) => boolean>>> = {
  "=": (a, b) => a === b,
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
  "-eq": (a, b) => number(a) === number(b),
  "-ne": (a, b) => number(a) !== number(b),
  "-lt": (a, b) => number(a) < number(b),
  "-le": (a, b) => number(a) <= number(b),
  "-gt": (a, b) => number(a) > number(b),
  "-ge": (a, b) => number(a) >= number(b),
};

const UNARY: Readonly<Partial<Record<string, (text: string, files: FileTests) => boolean>>> = {
  "-n": (text) => text !== "",
  "-z": (text) => text === "",
  "-e": (path, files) => files.stat(path) !== undefined,
  "-f": (path, files) => files.stat(path)?.directory === false,
  "-d": (path, files) => files.stat(path)?.directory === true,
  "-s": (path, files) => (files.stat(path)?.size ?? 0) > 0,
};
