/** The library: `import { Machine } from "tsvm"`. */
export { ArgumentError } from "./arguments.ts";
export { TsvmError } from "./errors.ts";
export { Machine } from "./machine/machine.ts";
export type {
  BootOptions,
  MachineEvents,
  MachineState,
  ShutdownOptions,
  WaitOptions,
} from "./machine/machine-types.ts";
export type { ConsoleSource } from "./machine/guest-output.ts";
export {
  MachineError,
  type PowerButton,
  type StopReason,
  type StopReport,
  type Timeline,
} from "./machine/report.ts";
export { BalloonError, type BalloonStats, type GuestMemoryStats } from "./machine/balloon.ts";
export type { ActivityCounts, ConsoleCounts, EntropyCounts } from "./devices/virtio/device-counters.ts";
export type { LatencyCounts } from "./devices/histogram.ts";
export type {
  CpuTime,
  DeviceStats,
  DiskStats,
  MachineStats,
  MemoryUse,
  NetworkStats,
} from "./machine/stats.ts";
export { MachineEndedError, MachineStateError, MachineTimeoutError } from "./machine/errors.ts";
export type { WindowSize } from "./devices/virtio/console.ts";
export { DescriptionError } from "./machine/description.ts";
export type {
  BalloonDescription,
  CommandDescription,
  DiskDescription,
  MachineDescription,
  NetworkDescription,
  NetworkRateLimits,
  PortForward,
  VsockDescription,
} from "./machine/description.ts";
export {
  connectVsock,
  VsockConnectError,
  type VsockConnectOptions,
  type VsockConnectReason,
} from "./machine/vsock-connect.ts";
export type { VsockCounts } from "./devices/virtio/vsock/vsock-counters.ts";
export { VsockListenError } from "./devices/virtio/vsock/listen.ts";
export { AgentError, CopyError, type AgentErrorCode, type CopyProblem } from "./agent/errors.ts";
export type { AgentOptions, CopyFromOptions, CopyToOptions, ExecOptions } from "./agent/client.ts";
export type { CopyLimits } from "./agent/copy-from.ts";
export type { CopyResult } from "./agent/copy-to.ts";
export { GuestProcess, type ExecExit, type ExecOutput, type OutputOptions } from "./agent/process.ts";
export type { CommandUsage } from "./agent/protocol.ts";
export type { FilesInMemory } from "./agent/tree-source.ts";
export { sandbox, type SandboxOptions, type SandboxResult } from "./sandbox/sandbox.ts";
export { GuestProtocolError, type CommandExit } from "./machine/guest-init.ts";
export {
  BootFileError,
  CommandLineError,
  GuestTooSmallError,
  KernelFormatError,
  KernelTruncatedError,
} from "./boot/errors.ts";
export type { ExitCounts } from "./machine/control.ts";
export { warmUpWorkers } from "./machine/warm-up.ts";
export { releaseIdleWorkers } from "./machine/worker-pool.ts";
export { KvmUnavailableError, GuestMemoryError } from "./kvm/errors.ts";
export { NetError } from "./net/errors.ts";
export { DiskError } from "./disk/errors.ts";
export { imageInfo } from "./disk/info.ts";
export type { ImageInfo, ImageInfoResult, Qcow2Info } from "./disk/info.ts";
export type { ImageFormat } from "./disk/plan.ts";
export { ImageIoError } from "./disk/io-error.ts";
export { SystemCallError } from "./ffi/errno.ts";
