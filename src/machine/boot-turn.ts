/**
 * Starting a machine blocks the event loop for some ms. Where a program starts many at a time, each gets a turn of the event loop
 * of its own, so that what else goes on (the machines that run already, say) has its turns in between.
 */
let taken = false;

export async function bootTurn(): Promise<void> {
  while (taken) await new Promise((resolve) => setImmediate(resolve));
  taken = true;
  setImmediate(() => {
    taken = false;
  });
}
