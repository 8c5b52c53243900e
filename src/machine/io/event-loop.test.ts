import { describe, expect, test } from "vitest";
import { EPOLLIN, EPOLLOUT } from "../../ffi/constants.ts";
import { close } from "../../ffi/libc.ts";
import { createEventFd, ring } from "../doorbell.ts";
import { EventLoop } from "./event-loop.ts";

describe("EventLoop", () => {
  test("calls the handler of what is ready, and no handler of what is not watched any more, even in the same round", () => {
    const loop = new EventLoop();
    const [one, other, end] = [createEventFd(), createEventFd(), createEventFd()];
    const calls: string[] = [];
    // Whichever comes first takes the other away.
    loop.watch(one, EPOLLIN, (events) => {
      calls.push(`one ${events}`);
      loop.unwatch(other);
      ring(end);
    });
    loop.watch(other, EPOLLIN, (events) => {
      calls.push(`other ${events}`);
      loop.unwatch(one);
      ring(end);
    });
    loop.watch(end, EPOLLIN, () => loop.stop());
    ring(one);
    ring(other);
    loop.run();
    expect(calls).toHaveLength(1);
    expect(calls[0]).toMatch(/^(one|other) 1$/);
    loop.close();
    for (const fd of [one, other, end]) close(fd);
  });

  test("a place that becomes free is used again in the next round, not in this one", () => {
    const loop = new EventLoop();
    const fds = [createEventFd(), createEventFd(), createEventFd()];
    const calls: string[] = [];
    const late = (): void => void calls.push("late");
    loop.watch(fds[0]!, EPOLLIN, () => {
      if (calls.length > 0) return;
      calls.push("first");
      loop.unwatch(fds[1]!);
      // Not ready: would be called only by mistake, for the event of the descriptor whose place it took.
      loop.watch(fds[2]!, EPOLLIN, late);
      loop.callLater(0, () => loop.stop());
    });
    loop.watch(fds[1]!, EPOLLIN, () => undefined);
    ring(fds[0]!);
    ring(fds[1]!);
    loop.run();
    expect(calls).toEqual(["first"]);
    loop.close();
    for (const fd of fds) close(fd);
  });

  test("events that are asked for later are reported although they were there before", () => {
    const loop = new EventLoop();
    const fd = createEventFd();
    const calls: number[] = [];
    loop.watch(fd, EPOLLIN, (events) => {
      calls.push(events);
      loop.stop();
    });
    loop.callLater(0, () => loop.rewatch(fd, EPOLLIN | EPOLLOUT));
    loop.run();
    expect(calls).toEqual([EPOLLOUT]);
    loop.close();
    close(fd);
  });
});
