/** The button of a machine with ACPI, and what became of pressing it. */
import type { AcpiPower } from "../devices/acpi-power.ts";
import { acpiPowerOf } from "./devices.ts";
import type { MachinePlan } from "./plan.ts";
import type { PowerButton } from "./report.ts";

export class GuestPowerButton {
  readonly #acpiPower: AcpiPower | undefined;
  #pressed = false;

  constructor(plan: MachinePlan) {
    const guestOnly = (): void => undefined;
    this.#acpiPower = acpiPowerOf(plan, { powerOff: guestOnly, reset: guestOnly });
  }

  /** Whether the guest reads ACPI tables, which tell of the button. */
  get known(): boolean {
    return this.#acpiPower?.ospmPresent ?? false;
  }

  /** False if the guest does not know of it. */
  press(): boolean {
    this.#pressed = true;
    if (!this.known) return false;
    this.#acpiPower?.pressPowerButton();
    return true;
  }

  get outcome(): PowerButton {
    if (!this.#pressed) return "unused";
    if (!this.known) return "unknown";
    return this.#acpiPower?.powerButtonPending ? "ignored" : "noticed";
  }
}
