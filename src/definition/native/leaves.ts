/**
 * The values in a native definition, each with what is said to one that does not fit. Sizes and times stay as written here; numbers
 * and booleans may come as text, because a variable is always text.
 */
import { LARGEST_GUEST_CID, SMALLEST_GUEST_CID } from "../../devices/virtio/vsock/cid.ts";
import * as z from "zod/mini";
import { PORT_FORWARD } from "../../net/port-forward.ts";
import { NAME, NAME_RULE, UUID } from "../names.ts";
import { DURATION, SIZE } from "../quantities.ts";

/** A mapping with these keys and no others. Its complaint about others is the list of its keys, for suggestions. */
export function object<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.ZodMiniObject<z.core.util.Writeable<Shape>, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? Object.keys(shape).join(" ") : undefined),
  });
}

/** Control characters have no business in a definition, and XML has no words for them, nor for half of a character. */
const FORBIDDEN = /[\x00-\x1f\x7f\p{Cs}\ufffe\uffff]/u;
const CONTROL = "has control characters";

// Checks of our own, not patterns: editors need not know of them, and not all read such patterns.
export const text = z.string().check(z.refine((value) => !FORBIDDEN.test(value), CONTROL));
/** With line breaks. */
export const longText = z
  .string()
  .check(z.refine((value) => !FORBIDDEN.test(value.replaceAll(/[\t\n]/g, " ")), CONTROL));
/** Of a command: whatever a program can be given. */
export const argument = z.string().check(z.refine((value) => !value.includes("\0"), "has a NUL character"));
export const variableName = z.string().check(z.regex(/^[^=\0]+$/, "is no name of a variable"));
export const path = z
  .string()
  .check(z.refine((value) => value !== "" && !FORBIDDEN.test(value), "is no path"));
export const name = z.string().check(z.regex(NAME, `is no name: ${NAME_RULE}`));
export const uuid = z
  .string()
  .check(z.regex(UUID, "is no UUID, such as 0b0e6a1c-8f5d-4c1e-9d5e-3b1f0c2a7d11"));
export const size = z
  .string("needs a unit: write 512M or 2G")
  .check(z.regex(SIZE, "is no size: write 512M or 2G"));
export const duration = z
  .string("needs a unit: write 30s or 5m")
  .check(z.regex(DURATION, "is no time: write 30s, 5m or 500ms"));
export const FLAG_RULE = "must be true or false";
export const flag = z.union([z.boolean(), z.enum(["true", "false"], FLAG_RULE)], FLAG_RULE);

const WHOLE = "must be a whole number of at least 1";
export const count = z.union(
  [z.int().check(z.minimum(1, WHOLE)), z.string().check(z.regex(/^[1-9]\d{0,14}$/, WHOLE))],
  WHOLE,
);

const PORT = "must be a port from 1 to 65535";
export const port = z.union(
  [
    z.int().check(z.minimum(1, PORT), z.maximum(65_535, PORT)),
    z.string().check(z.regex(/^[1-9]\d{0,4}$/, PORT)),
  ],
  PORT,
);
export const FORWARD_RULE = 'must be a text such as "8080:80" or "127.0.0.1:5353:53/udp"';
export const portForward = z.string().check(z.regex(PORT_FORWARD, FORWARD_RULE));
export const mac = z
  .string()
  .check(
    z.regex(/^[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}$/, "is no Ethernet address, such as 02:00:00:00:00:01"),
  );
const CID = `must be a whole number from ${SMALLEST_GUEST_CID} to ${LARGEST_GUEST_CID}`;
export const contextId = z.union(
  [
    z.int().check(z.minimum(SMALLEST_GUEST_CID, CID), z.maximum(LARGEST_GUEST_CID, CID)),
    z.string().check(z.regex(/^(?:[3-9]|[1-9]\d{1,9})$/, CID)),
  ],
  CID,
);

const BYTES = "must be a number of bytes, such as 10M";
/** A bare number counts bytes. */
export const rate = z.union(
  [
    z.int().check(z.minimum(1, BYTES)),
    z.string().check(z.regex(new RegExp(`${SIZE.source}|^[1-9]\\d{0,14}$`), BYTES)),
  ],
  BYTES,
);
