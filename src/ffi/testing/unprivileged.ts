const NOBODY = 65534;

/** Runs `action` without root's right to open everything. Nothing to do for a user who is not root. */
export function unprivileged(action: () => void): void {
  if (process.geteuid?.() !== 0) {
    action();
    return;
  }
  process.seteuid!(NOBODY);
  try {
    action();
  } finally {
    process.seteuid!(0);
  }
}
