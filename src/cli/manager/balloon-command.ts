/** `tsvm balloon`: how much memory a running VM is to give up. */
import { Manager } from "../../manager/manager.ts";
import { print } from "../output.ts";
import { parseSize } from "../values.ts";

export async function balloonCommand(name: string, size: string): Promise<void> {
  const bytes = parseSize("size", size);
  await new Manager().setBalloon(name, bytes);
  print(`${name}\n`);
}
