/**
 * The configuration file of Firecracker (`--config-file`), in its own words.
 * https://github.com/firecracker-microvm/firecracker/blob/main/src/firecracker/swagger/firecracker.yaml
 */
import * as z from "zod/mini";
import { LARGEST_GUEST_CID, SMALLEST_GUEST_CID } from "../../devices/virtio/vsock/cid.ts";
import { mac, object, path, text } from "../native/leaves.ts";

const whole = z.int().check(z.minimum(0));
const anything = z.optional(z.unknown());

const tokenBucket = object({
  size: whole,
  one_time_burst: z.optional(whole),
  /** ms until an empty bucket is full. */
  refill_time: whole,
});

export const rateLimiter = object({ bandwidth: z.optional(tokenBucket), ops: z.optional(tokenBucket) });

const drive = object({
  drive_id: text,
  path_on_host: z.optional(path),
  is_root_device: z.boolean(),
  is_read_only: z.optional(z.boolean()),
  partuuid: z.optional(text),
  cache_type: z.optional(z.enum(["Unsafe", "Writeback"])),
  io_engine: z.optional(z.enum(["Sync", "Async"])),
  rate_limiter: z.optional(rateLimiter),
  socket: anything,
});

const networkInterface = object({
  iface_id: text,
  host_dev_name: text,
  guest_mac: z.optional(mac),
  /** Since version 1.16. */
  mtu: z.optional(whole),
  rx_rate_limiter: z.optional(rateLimiter),
  tx_rate_limiter: z.optional(rateLimiter),
  /** Before version 1.0; since then mmds-config has it. */
  allow_mmds_requests: z.optional(z.boolean()),
});

const vsock = object({
  guest_cid: whole.check(z.minimum(SMALLEST_GUEST_CID), z.maximum(LARGEST_GUEST_CID)),
  uds_path: path,
  /** Without a meaning since version 1.0. */
  vsock_id: z.optional(text),
});

const balloon = object({
  amount_mib: whole,
  deflate_on_oom: z.boolean(),
  stats_polling_interval_s: z.optional(whole),
  free_page_hinting: z.optional(z.boolean()),
  free_page_reporting: z.optional(z.boolean()),
});

export const configSchema = object({
  "boot-source": object({
    kernel_image_path: path,
    boot_args: z.optional(text),
    initrd_path: z.optional(path),
  }),
  drives: z.optional(z.array(drive)),
  "machine-config": z.optional(
    object({
      vcpu_count: whole.check(z.minimum(1)),
      mem_size_mib: whole.check(z.minimum(1)),
      smt: z.optional(z.boolean()),
      /** What `smt` was called before version 1.0. */
      ht_enabled: z.optional(z.boolean()),
      track_dirty_pages: z.optional(z.boolean()),
      cpu_template: z.optional(text),
      huge_pages: z.optional(z.enum(["None", "2M"])),
    }),
  ),
  "network-interfaces": z.optional(z.array(networkInterface)),
  vsock: z.optional(vsock),
  balloon: z.optional(balloon),
  "cpu-config": anything,
  "mmds-config": anything,
  "memory-hotplug": anything,
  pmem: anything,
  serial: anything,
  logger: anything,
  metrics: anything,
  entropy: anything,
});

export type FirecrackerConfig = z.infer<typeof configSchema>;
export type FirecrackerDrive = z.infer<typeof drive>;
export type FirecrackerInterface = z.infer<typeof networkInterface>;
export type TokenBucket = z.infer<typeof tokenBucket>;
