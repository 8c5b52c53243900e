/** ms that a guest gets to shut down, where neither its definition nor its user says. */
export const DEFAULT_STOP_TIMEOUT_MS = 30_000;
