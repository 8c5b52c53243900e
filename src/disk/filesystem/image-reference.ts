/** `IMAGE[:PARTITION]`, as commands take it. */
export interface ImageReference {
  readonly path: string;
  /** Undefined: none was given. */
  readonly partition: number | undefined;
}

/**
 * Splits a partition number off. A file that really has such a name wins.
 *
 * @param exists Whether there is a file of this name.
 * @example parseImageReference("disk.img:2", existsSync); // { path: "disk.img", partition: 2 }
 */
export function parseImageReference(text: string, exists: (path: string) => boolean): ImageReference {
  const match = /^(.+):(\d{1,4})$/s.exec(text);
  if (match === null || exists(text)) return { path: text, partition: undefined };
  return { path: match[1]!, partition: Number(match[2]) };
}
