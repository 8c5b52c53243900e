/** What names may look like, in every format. */

/** Letters, digits, `_`, `.` and `-`; safe as a file name and a host name. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
export const NAME_RULE = "letters, digits, _, . and -, at most 63, the first one a letter or digit";
export const UUID = /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;
