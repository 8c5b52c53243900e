/** Bytes of a name, its NUL included (linux/if.h). */
export const IFNAMSIZ = 16;

/** Whether `name` can be that of a network interface. */
export function isInterfaceName(name: string): boolean {
  return name.length > 0 && name.length < IFNAMSIZ && !/[/\s\0]/.test(name) && name !== "." && name !== "..";
}
