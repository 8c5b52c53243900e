/** Something in a description that no machine can be made from. */
export interface DescriptionProblem {
  /** Keys and indices that lead to it. */
  readonly path: readonly (string | number)[];
  /** With the path in front. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}
