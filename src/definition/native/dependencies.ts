/** `dependsOn`: names that are there, and no circles. */
import type { Problems } from "../problems.ts";
import { didYouMean } from "../../suggestion.ts";
import type { ReadVm } from "./read.ts";

export function checkDependencies(vms: readonly ReadVm[], problems: Problems): void {
  const names = vms.map(({ name }) => name);
  for (const { name, vm, path, tree } of vms) {
    for (const [index, other] of (vm.dependsOn ?? []).entries()) {
      const place = tree.at([...path, "dependsOn", index]);
      if (other === name) problems.error(`${name} depends on itself`, place);
      else if (!names.includes(other)) {
        const hint = didYouMean(other, names) ?? `this file has ${names.join(", ")}`;
        problems.error(`${name} depends on ${other}, which this file does not have`, place, hint);
      } else if (vm.dependsOn!.indexOf(other) !== index) problems.error(`${other} is there twice`, place);
    }
  }
  const circle = findCircle(vms);
  if (circle === undefined) return;
  const [first] = circle;
  const { path, tree } = vms.find(({ name }) => name === first)!;
  problems.error(
    `VMs that depend on each other in a circle: ${[...circle, first].join(" → ")}`,
    tree.at([...path, "dependsOn"]),
    "take one of these out of dependsOn",
  );
}

/** The names along a circle of more than one VM, if there is any. */
function findCircle(vms: readonly ReadVm[]): string[] | undefined {
  const next = new Map(vms.map(({ name, vm }) => [name, vm.dependsOn ?? []]));
  const done = new Set<string>();
  for (const { name: start } of vms) {
    // Without recursion: a chain may be as long as the file.
    const trail: string[] = [start];
    const onTrail = new Set(trail);
    const position = [0];
    while (trail.length > 0) {
      const name = trail.at(-1)!;
      const index = position[position.length - 1]!++;
      const other = done.has(name) ? undefined : (next.get(name) ?? [])[index];
      if (other === undefined) {
        done.add(name);
        onTrail.delete(name);
        trail.pop();
        position.pop();
      } else if (onTrail.has(other) && other !== name) {
        return trail.slice(trail.indexOf(other));
      } else if (other !== name) {
        trail.push(other);
        onTrail.add(other);
        position.push(0);
      }
    }
  }
  return undefined;
}
