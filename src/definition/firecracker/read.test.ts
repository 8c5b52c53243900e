import { describe, expect, it } from "vitest";
import { loadText } from "../testing/load-text.ts";

const MiB = 2 ** 20;

/** As in Firecracker's own example, with what it writes for things that are not there. */
const EXAMPLE = `{
  "boot-source": {
    "kernel_image_path": "vmlinux.bin",
    "boot_args": "console=ttyS0 reboot=k panic=1 pci=off",
    "initrd_path": null
  },
  "drives": [
    { "drive_id": "data", "path_on_host": "/srv/data.img", "is_root_device": false, "is_read_only": true },
    {
      "drive_id": "rootfs",
      "partuuid": null,
      "is_root_device": true,
      "cache_type": "Unsafe",
      "is_read_only": false,
      "path_on_host": "bionic.rootfs.ext4",
      "io_engine": "Sync",
      "rate_limiter": { "bandwidth": { "size": 2000, "one_time_burst": 0, "refill_time": 500 }, "ops": null },
      "socket": null
    }
  ],
  "machine-config": { "vcpu_count": 2, "mem_size_mib": 1024, "smt": false, "track_dirty_pages": false, "huge_pages": "None" },
  "cpu-config": null,
  "balloon": null,
  "network-interfaces": [],
  "vsock": null,
  "logger": null,
  "metrics": null,
  "mmds-config": null,
  "entropy": {}
}
`;

describe("a Firecracker configuration", () => {
  it("is recognised, with the root drive first", () => {
    expect(loadText(EXAMPLE, "vmconfig.json")).toEqual({
      definitions: [
        {
          kind: "vm",
          name: "vmconfig",
          machine: {
            name: "vmconfig",
            cpus: 2,
            memory: 1024 * MiB,
            kernel: "/srv/vmlinux.bin",
            append: "console=ttyS0 reboot=k panic=1 pci=off",
            rootDevice: "/dev/vda",
            disks: [
              {
                path: "/srv/bionic.rootfs.ext4",
                format: "raw",
                cache: "unsafe",
                rateLimits: { total: { bytesPerSecond: 4000, bytesBurst: 2000 } },
              },
              { path: "/srv/data.img", readOnly: true, format: "raw" },
            ],
          },
        },
      ],
      printed: "",
      errors: 0,
      elements: [],
    });
  });

  it("has Firecracker's defaults", () => {
    const { definitions } = loadText('{"boot-source": {"kernel_image_path": "/k"}}', "x y.json");
    expect(definitions).toEqual([
      { kind: "vm", name: "x-y", machine: { name: "x-y", cpus: 1, memory: 128 * MiB, kernel: "/k" } },
    ]);
  });

  it("has a vsock device", () => {
    const vsock = (text: string): ReturnType<typeof loadText> =>
      loadText(EXAMPLE.replace('"vsock": null', `"vsock": ${text}`), "vm.json");
    const { printed, definitions } = vsock('{"guest_cid": 5, "uds_path": "v.sock", "vsock_id": "v"}');
    expect(printed).toBe("");
    expect(definitions[0]?.machine.vsock).toEqual({ cid: 5, path: "/srv/v.sock" });
    for (const wrong of [
      '{"guest_cid": 2, "uds_path": "v"}',
      '{"guest_cid": 3}',
      '{"uds_path": "v"}',
      '{"guest_cid": 3, "uds_path": ""}',
    ])
      expect(vsock(wrong).errors, wrong).toBe(1);
  });

  it("asks for things that tsvm lacks: errors, unless lenient", () => {
    const text = EXAMPLE.replace('"mmds-config": null', '"mmds-config": {}')
      .replace("[],", '[{"iface_id": "a", "host_dev_name": "b",\n  "allow_mmds_requests": true}],')
      .replace(
        '"balloon": null',
        '"balloon": {"amount_mib": 0, "deflate_on_oom": true, "free_page_hinting": true}',
      );
    const strict = loadText(text, "vm.json");
    expect(strict.errors).toBe(2);
    expect(strict.printed).toBe(
      'vm.json:23:56: warning: free_page_hinting: tsvm does not ask for hints\n  23 | …lloon": {"amount_mib": 0, "deflate_on_oom": true, "free_page_hinting": true},\n     |                                                    ^^^^^^^^^^^^^^^^^^^\n' +
        'vm.json:25:3: allow_mmds_requests: tsvm has no metadata service yet\n  25 |   "allow_mmds_requests": true}],\n     |   ^^^^^^^^^^^^^^^^^^^^^\n  → --lenient goes on without it\n' +
        'vm.json:29:3: mmds-config: tsvm has no metadata service yet\n  29 |   "mmds-config": {},\n     |   ^^^^^^^^^^^^^\n  → --lenient goes on without it',
    );
    expect(loadText(text, "vm.json", { lenient: true })).toMatchObject({
      errors: 0,
      definitions: [{ name: "vm" }],
    });
  });

  it("reads the balloon", () => {
    const text = EXAMPLE.replace(
      '"balloon": null',
      '"balloon": {"amount_mib": 64, "deflate_on_oom": false, "stats_polling_interval_s": 5, "free_page_reporting": true}',
    );
    const { printed, definitions } = loadText(text, "vm.json");
    expect(printed).toBe("");
    expect(definitions[0]?.machine.balloon).toEqual({
      size: 64 * MiB,
      deflateOnOom: false,
      statsInterval: 5,
      reporting: true,
    });
    const tooMuch = loadText(text.replace('"amount_mib": 64', '"amount_mib": 9999'), "vm.json");
    expect(tooMuch.printed).toContain("balloon: 9999M are more than the");
  });

  it.each([
    ['"boot_arg": ""', 'vm.json:1:46: unknown key "boot_arg"'],
    ['"initrd_path": 5', "vm.json:1:61: initrd_path must be a text, and is the number 5"],
  ])("with %s", (more, message) => {
    const text = `{"boot-source": {"kernel_image_path": "/k",  ${more}}}`;
    expect(loadText(text, "vm.json").printed.split("\n")[0]).toBe(message);
  });

  it("has networks", () => {
    const limiter = (size: number): string =>
      `{"bandwidth": {"size": ${size}, "refill_time": 1000}, "ops": {"size": 50, "refill_time": 500}}`;
    const text = EXAMPLE.replace(
      "[],",
      `[{"iface_id": "a", "host_dev_name": "tap0", "guest_mac": "06:00:AC:10:00:02", "rx_rate_limiter": ${limiter(1000)}, "tx_rate_limiter": ${limiter(0)}, "allow_mmds_requests": false},
        {"iface_id": "b", "host_dev_name": "tap1", "guest_mac": null, "mtu": 9000}],`,
    );
    const { printed, definitions } = loadText(text, "vm.json");
    expect(printed).toBe("");
    expect(definitions[0]?.machine.networks).toEqual([
      {
        type: "tap",
        tap: "tap0",
        mac: "06:00:AC:10:00:02",
        rateLimits: {
          receive: { bytesPerSecond: 1000, operationsPerSecond: 100, operationsBurst: 50 },
          transmit: { operationsPerSecond: 100, operationsBurst: 50 },
        },
      },
      { type: "tap", tap: "tap1", mtu: 9000 },
    ]);
  });

  it.each([
    ['"host_dev_name": "t", "guest_mac": "x"', "guest_mac", '"x" is no Ethernet address'],
    [
      '"host_dev_name": "t", "guest_mac": "01:00:00:00:00:01"',
      "guest_mac",
      "is not the Ethernet address of one",
    ],
    ['"host_dev_name": "a/b"', "host_dev_name", '"a/b" is no name of an interface'],
    ['"host_dev_name": "t", "mtu": 5', "mtu", "5 is not a whole number from 68"],
    ['"host_dev_name": 5', "host_dev_name", "must be a text"],
  ])("with a network of %s", (properties, key, message) => {
    const text = EXAMPLE.replace("[],", `[{"iface_id": "a", ${properties}}],`);
    const { printed, elements } = loadText(text, "vm.json");
    expect(printed).toContain(message);
    expect(elements).toEqual([`network-interfaces[0].${key}`]);
  });

  it("has one root device", () => {
    const drive = (id: string): string =>
      `{"drive_id": "${id}", "path_on_host": "${id}", "is_root_device": true, "cache_type": "Writethrough"}`;
    const text = (drives: string): string =>
      `{"boot-source": {"kernel_image_path": "/k"}, "drives": [${drives}]}`;
    const { printed } = loadText(text(drive("a")), "vm.json");
    expect(printed).toContain('cache_type: "Writethrough" must be Unsafe or Writeback');
    expect(
      loadText(text(`${drive("a")}, ${drive("b")}`).replaceAll("Writethrough", "Writeback"), "vm.json")
        .printed,
    ).toContain("two drives have is_root_device: true");
  });
});
