/** What ACPI tables say of a machine. */
export interface AcpiMachine {
  /** 1 to 255. */
  readonly cpus: number;
  readonly serialPort: { readonly port: number; readonly irq: number };
  readonly clock: { readonly port: number };
  /** The registers of src/devices/acpi-power.ts. */
  readonly power: { readonly port: number; readonly irq: number };
  readonly virtioMmio: readonly {
    /** Guest physical address of the register window, below 4 GiB. */
    readonly base: number;
    /** Bytes of the window. */
    readonly size: number;
    readonly irq: number;
  }[];
}
