/** What is typed on the serial port: from its pipe into the receive FIFO. */
import type { Serial } from "../../devices/serial.ts";
import { EPOLLIN } from "../../ffi/constants.ts";
import { read } from "../../ffi/libc.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { SerialPlan } from "../plan.ts";
import type { EventLoop } from "./event-loop.ts";

export function watchSerialInput(loop: EventLoop, { inputFd, readyFd }: SerialPlan, serial: Serial): void {
  const buffer = allocateNative(16);
  const bytes = new Uint8Array(buffer.buffer);
  const pump = (): void => {
    for (let space = serial.receiveSpace(); space > 0; space = serial.receiveSpace()) {
      const got = read(inputFd, buffer.address, space);
      if (got <= 0) return;
      serial.receive(bytes.subarray(0, got));
    }
  };
  loop.watch(inputFd, EPOLLIN, pump);
  loop.watch(readyFd, EPOLLIN, pump);
}
