import { distance } from "fastest-levenshtein";

/** The one of `known` that `word` was most likely meant to be: at most `limit` mistakes away from it. */
export function nearest(
  word: string,
  known: readonly string[],
  limit = word.length < 5 ? 1 : Math.max(2, Math.floor(word.length / 3)),
): string | undefined {
  // Comparing long words costs their product, and no one misspells those.
  if (word.length > 64) return undefined;
  let best: string | undefined;
  let least = limit + 1;
  for (const candidate of known) {
    const far = difference(word, candidate);
    if (far < least) [best, least] = [candidate, far];
  }
  return best;
}

export function didYouMean(word: string, known: readonly string[]): string | undefined {
  const best = nearest(word, known);
  return best === undefined ? undefined : `did you mean ${best}?`;
}

/** The commonest mistakes count little: capitals, hyphens and underscores, and letters that changed places. */
function difference(a: string, b: string): number {
  if (plain(a) === plain(b)) return 0;
  const sameLetters = a.length === b.length && [...a].sort().join("") === [...b].sort().join("");
  return sameLetters ? 1 : distance(a, b);
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, "");
}
