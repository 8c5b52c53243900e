/**
 * What the I/O thread waits with: epoll over file descriptors, and times. Descriptors are registered edge-triggered: an eventfd
 * need not be read, and a pipe whose data the guest cannot take yet does not make the loop spin.
 */
import {
  EINTR,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
} from "../../ffi/constants.ts";
import { SystemCallError } from "../../ffi/errno.ts";
import { check, close, epoll_create1, epoll_ctl, epoll_wait, errno } from "../../ffi/libc.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import { monotonicNow } from "../clock.ts";

/** struct epoll_event is packed on x86-64: u32 events, u64 data. */
const EPOLL_EVENT_SIZE = 12;
const MAX_EVENTS = 64;

/** Is given the EPOLL* bits that are set. */
export type EventHandler = (events: number) => void;

export class EventLoop {
  readonly #epollFd = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  readonly #handlers: (EventHandler | undefined)[] = [];
  /** Which entry of {@link #handlers} a descriptor has. */
  readonly #places = new Map<number, number>();
  #freePlaces: number[] = [];
  /** Free only after this round: events for whoever was there may still be waiting to be handed out. */
  #leftPlaces: number[] = [];
  readonly #alarms: { at: number; handler: () => void }[] = [];
  /** Called after each round of handlers, before the loop waits again. */
  afterRound: () => void = () => undefined;
  #stopped = false;

  /** Has `handler` called when `fd` becomes ready for `events` (EPOLLIN, EPOLLOUT; errors and hang-ups always count). */
  watch(fd: number, events: number, handler: EventHandler): void {
    const place = this.#freePlaces.pop() ?? this.#handlers.length;
    this.#control(EPOLL_CTL_ADD, fd, events, place);
    this.#handlers[place] = handler;
    this.#places.set(fd, place);
  }

  /** Has the handler of `fd` called for other events; if they are there already, then for those. */
  rewatch(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events, this.#places.get(fd)!);
  }

  /** Before `fd` is closed: its handler is not called any more. */
  unwatch(fd: number): void {
    const place = this.#places.get(fd);
    if (place === undefined) return;
    this.#places.delete(fd);
    this.#handlers[place] = undefined;
    this.#leftPlaces.push(place);
    epoll_ctl(this.#epollFd, EPOLL_CTL_DEL, fd, new Uint32Array(3));
  }

  /** Has `handler` called once, in `delay` ms or a little later. */
  callLater(delay: number, handler: () => void): void {
    this.#alarms.push({ at: monotonicNow() + delay, handler });
  }

  stop(): void {
    this.#stopped = true;
  }

  run(): void {
    const { address, buffer } = allocateNative(MAX_EVENTS * EPOLL_EVENT_SIZE);
    const words = new Uint32Array(buffer);
    this.afterRound();
    while (!this.#stopped) {
      const count = epoll_wait(this.#epollFd, address, MAX_EVENTS, this.#timeout());
      if (count < 0) {
        const error = errno();
        if (error === EINTR) continue;
        throw new SystemCallError("epoll_wait", error);
      }
      for (let index = 0; index < count; index++) {
        const at = (index * EPOLL_EVENT_SIZE) / 4;
        this.#handlers[words[at + 1]!]?.(words[at]!);
      }
      if (this.#alarms.length > 0) this.#ringAlarms();
      if (this.#leftPlaces.length > 0) {
        this.#freePlaces.push(...this.#leftPlaces);
        this.#leftPlaces = [];
      }
      this.afterRound();
    }
  }

  close(): void {
    close(this.#epollFd);
  }

  #control(operation: number, fd: number, events: number, place: number): void {
    const event = new Uint32Array([(events | EPOLLET) >>> 0, place, 0]);
    check(epoll_ctl(this.#epollFd, operation, fd, event), "epoll_ctl");
  }

  /** ms until the next alarm, rounded up; -1 without one. */
  #timeout(): number {
    if (this.#alarms.length === 0) return -1;
    const next = Math.min(...this.#alarms.map(({ at }) => at));
    return Math.max(0, Math.ceil(next - monotonicNow()));
  }

  #ringAlarms(): void {
    const now = monotonicNow();
    for (const alarm of this.#alarms.splice(0)) {
      if (alarm.at <= now) alarm.handler();
      else this.#alarms.push(alarm);
    }
  }
}
