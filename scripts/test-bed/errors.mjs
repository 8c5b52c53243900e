/** Something went wrong with the test bed itself, not with the command in it: exit status 125. */
export class TestBedError extends Error {
  name = "TestBedError";
}

/** Wrong arguments. */
export class UsageError extends TestBedError {
  name = "UsageError";
}
