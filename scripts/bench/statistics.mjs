/** The middle value; of an even number of them the upper one. */
export function median(list) {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
}

/** One line of figures: the median of `list`, and how far it ranges. */
export function row(name, list, unit, digits = 1) {
  const [middle, low, high] = [median(list), Math.min(...list), Math.max(...list)].map((x) =>
    x.toFixed(digits),
  );
  console.log(`  ${name.padEnd(52)}${middle.padStart(10)} ${unit}   (${low} to ${high}, n=${list.length})`);
}
