/** The machines of this process, for its end: Node joins its threads at exit, and one inside KVM_RUN would keep it for ever. */
interface Abandonable {
  abandon(): void;
}

const live = new Set<Abandonable>();

export function addLiveMachine(machine: Abandonable): void {
  if (live.size === 0) process.on("exit", abandonAll);
  live.add(machine);
}

export function removeLiveMachine(machine: Abandonable): void {
  live.delete(machine);
  if (live.size === 0) process.off("exit", abandonAll);
}

function abandonAll(): void {
  for (const machine of live) machine.abandon();
}
