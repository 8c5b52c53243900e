/**
 * The register block through which a guest with ACPI powers off, resets and hears of its power button. Shared by the device and
 * the ACPI tables that tell of it.
 */

/** Offsets in the block. */
export const REGISTER = {
  /** Byte: SLEEP_CONTROL_REG, ACPI 6.5, section 4.8.3.7. */
  SLEEP_CONTROL: 0,
  /** Byte: SLEEP_STATUS_REG. */
  SLEEP_STATUS: 1,
  /** Byte: RESET_REG; {@link RESET_VALUE} resets. */
  RESET: 2,
  /** Byte: the tables' \_SB._INI writes {@link OSPM_PRESENT} here, so that we know of a guest that reads them. */
  OSPM: 3,
  /** 32 bits: events since it was last read; reading takes them back. */
  EVENT: 4,
} as const;
export const PORTS = 8;

/** SLP_EN and SLP_TYPx of the sleep control register. */
export const SLP_EN = 0x20;
export const SLP_TYP_SHIFT = 2;
export const SLP_TYP_MASK = 7;
/** What the DSDT's \_S5 names: soft off. */
export const SLEEP_TYPE_S5 = 5;

export const RESET_VALUE = 1;

export const OSPM_PRESENT = 1;

export const POWER_BUTTON_EVENT = 1;
