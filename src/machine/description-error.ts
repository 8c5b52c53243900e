import { TsvmError } from "../errors.ts";

/** A description that no machine can be made from; names the property. */
export class DescriptionError extends TsvmError {
  override name = "DescriptionError";
  constructor(message: string, hint?: string) {
    super("ERR_DESCRIPTION", message, { hint });
  }
}
