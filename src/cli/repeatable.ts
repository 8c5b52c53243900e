/** For commander: an option that may be repeated gives a list. */
export function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}
