/** Does something with VMs that depend on each other: those that others need first, what is independent at the same time. */
import { availableParallelism } from "node:os";
import { Turnstile } from "../turnstile.ts";
import { ManagerError } from "./errors.ts";

/** More starts at the same time only slow each other down. */
const MOST_AT_ONCE = Math.max(4, 2 * availableParallelism());

export interface Step {
  readonly name: string;
  /** Those that must be done before; others than the given steps do not count. */
  readonly after: readonly string[];
}

export type Outcome<T> =
  { readonly name: string; readonly value: T } | { readonly name: string; readonly error: unknown };

/**
 * Runs `act` for each step when those before it are done, in parallel where nothing forbids it. Where one fails, those that come
 * after it fail unattempted. Outcomes are in the order of `steps`; `done` hears of each as it comes.
 */
export async function inOrder<T>(
  steps: readonly Step[],
  act: (name: string) => Promise<T>,
  done: (outcome: Outcome<T>) => void = () => undefined,
): Promise<Outcome<T>[]> {
  const byName = new Map(steps.map((step) => [step.name, step]));
  refuseCycles(byName);
  const turnstile = new Turnstile(MOST_AT_ONCE);
  const running = new Map<string, Promise<Outcome<T>>>();
  const run = (step: Step): Promise<Outcome<T>> => {
    let outcome = running.get(step.name);
    if (outcome === undefined) {
      outcome = attempt(step);
      running.set(step.name, outcome);
    }
    return outcome;
  };
  const attempt = async ({ name, after }: Step): Promise<Outcome<T>> => {
    const before = await Promise.all(after.flatMap((other) => byName.get(other) ?? []).map(run));
    const outcome = await settle(name, before, () => turnstile.pass(() => act(name)));
    done(outcome);
    return outcome;
  };
  return Promise.all([...byName.values()].map(run));
}

async function settle<T>(
  name: string,
  before: readonly Outcome<T>[],
  act: () => Promise<T>,
): Promise<Outcome<T>> {
  const failed = before.find((outcome) => "error" in outcome);
  if (failed !== undefined) {
    const message = `${name}: left as it is, for ${failed.name} has failed`;
    return { name, error: new ManagerError("ERR_VM_DEPENDENCY", message) };
  }
  try {
    return { name, value: await act() };
  } catch (error) {
    return { name, error };
  }
}

/** Steps in the opposite direction: who needs others goes before them. */
export function reversed(steps: readonly Step[]): Step[] {
  return steps.map(({ name }) => ({
    name,
    after: steps.filter((other) => other.after.includes(name)).map((other) => other.name),
  }));
}

function refuseCycles(steps: ReadonlyMap<string, Step>): void {
  const finished = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (finished.has(name)) return;
    const at = path.indexOf(name);
    if (at >= 0) {
      const circle = [...path.slice(at), name].join(" → ");
      throw new ManagerError("ERR_VM_DEPENDENCY", `VMs that depend on each other in a circle: ${circle}`);
    }
    for (const other of steps.get(name)?.after ?? []) visit(other, [...path, name]);
    finished.add(name);
  };
  for (const name of steps.keys()) visit(name, []);
}
