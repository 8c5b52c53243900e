import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { check, tool } from "../../test/support/needs.ts";
import type {
  BalloonDescription,
  DiskDescription,
  MachineDescription,
  NetworkDescription,
  PortForward,
  RateLimit,
  VsockDescription,
} from "../machine/description.ts";
import { convertDefinitions, type TargetFormat } from "./convert.ts";
import type { VmDefinition } from "./definition.ts";
import { formatProblems } from "./problem.ts";
import { Problems } from "./problems.ts";
import { Source } from "./source.ts";
import { loadText } from "./testing/load-text.ts";

async function convert(
  definitions: readonly VmDefinition[],
  target: TargetFormat,
  lenient = false,
): Promise<{ text: string; said: string }> {
  const problems = new Problems(new Source("from.yaml", ""), lenient);
  const text = await convertDefinitions(definitions, target, "/srv", problems);
  return { text, said: formatProblems(problems.all) };
}

async function thereAndBack(
  definitions: readonly VmDefinition[],
  target: TargetFormat,
): Promise<readonly VmDefinition[]> {
  const { text, said } = await convert(definitions, target);
  expect(said).toBe("");
  const ending = { yaml: "yaml", json: "json", libvirt: "xml", firecracker: "json" }[target];
  const back = loadText(text, `vm.${ending}`);
  expect(back.printed).toBe("");
  return back.definitions;
}

/** Properties that are there or not, never undefined. */
const some = <T extends object>(model: { [K in keyof T]-?: fc.Arbitrary<NonNullable<T[K]>> }): fc.Arbitrary<
  Partial<T>
> => fc.record(model, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,20}$/);
/** Also such as YAML, XML and variables give a meaning. */
const text = fc.oneof(
  fc.constantFrom(
    "yes",
    "1.10",
    "~",
    "null",
    "a: b",
    "# x",
    "${HOME}",
    "$$",
    "$${x}",
    "<&>\"'",
    "- a",
    "*x",
    "&x",
    "!t",
    "0x10",
    "{a}",
  ),
  fc
    .string({ unit: "grapheme", maxLength: 20 })
    .filter((value) => !/[\x00-\x1f\x7f\p{Cs}\ufffe\uffff]/u.test(value)),
);
const word = fc
  .stringMatching(/^[a-z][a-z0-9=.,${}"'<&>-]{0,12}$/)
  .filter((value) => !value.startsWith("root="));
const path = fc.oneof(
  fc.stringMatching(/^[a-z][a-z $#&<-]{0,10}[a-z]$/).map((file) => `/srv/images/${file}`),
  fc.constantFrom("/dev/sdx", "/srv/disk", "/srv/bundled"),
);
const whole = fc.integer({ min: 1, max: 2 ** 40 });
const rateLimit = fc
  .tuple(
    some<RateLimit>({
      bytesPerSecond: whole,
      bytesBurst: whole,
      operationsPerSecond: whole,
      operationsBurst: whole,
    }),
  )
  .map(([limit]) => {
    const { bytesBurst, operationsBurst, ...rates } = limit;
    return {
      ...rates,
      ...(rates.bytesPerSecond === undefined || bytesBurst === undefined ? {} : { bytesBurst }),
      ...(rates.operationsPerSecond === undefined || operationsBurst === undefined
        ? {}
        : { operationsBurst }),
    };
  })
  .filter((limit) => Object.keys(limit).length > 0);
const isNotEmpty = (value: object): boolean => Object.keys(value).length > 0;
const contextId = fc.integer({ min: 3, max: 2 ** 32 - 2 });
const octet = fc.integer({ min: 0, max: 255 }).map((byte) => byte.toString(16).padStart(2, "0"));
const mac = fc.array(octet, { minLength: 5, maxLength: 5 }).map((octets) => ["02", ...octets].join(":"));
const mtu = fc.integer({ min: 68, max: 65_520 });
const port = fc.integer({ min: 1, max: 65_535 });
const forward = fc
  .tuple(
    fc.record({ hostPort: port, guestPort: port }),
    some<PortForward>({
      protocol: fc.constant("udp"),
      address: fc.oneof(fc.ipV4(), fc.ipV6()),
    } as never),
  )
  .map(([ports, more]) => ({ ...more, ...ports }));
/** With some in a row, as a range has them. */
const forwards = fc
  .array(fc.tuple(forward, fc.integer({ min: 1, max: 4 })), { minLength: 1, maxLength: 4 })
  .map((starts) =>
    starts.flatMap(([{ hostPort, guestPort, ...more }, count]) =>
      Array.from({ length: count }, (_, index) => ({
        ...more,
        hostPort: hostPort + index,
        guestPort: guestPort + index,
      })).filter(({ hostPort: on, guestPort: to }) => on <= 65_535 && to <= 65_535),
    ),
  );
const tap = fc.stringMatching(/^[a-z][a-z0-9_.-]{0,14}$/);

/** @param both What either type may have. */
function networks(both: object, user: object, taps: object): fc.Arbitrary<NetworkDescription[]> {
  const userNetwork = fc
    .tuple(some(both as never), some(user as never))
    .map((parts) => Object.assign({ type: "user" }, ...parts) as NetworkDescription);
  const tapNetwork = fc
    .tuple(fc.record({ tap }), some(both as never), some(taps as never))
    .map((parts) => Object.assign({ type: "tap" }, ...parts) as NetworkDescription);
  return fc.array(fc.oneof(userNetwork, tapNetwork), { minLength: 1, maxLength: 3 }).filter(areApart);
}

/** Whether no two have an address, a device or a port of the host in common. */
function areApart(all: readonly NetworkDescription[]): boolean {
  const ports = all
    .flatMap((network) => network.forwards ?? [])
    .map(({ address = "", hostPort, protocol = "tcp" }) => `${address} ${hostPort} ${protocol}`);
  return [all.map((one) => one.mac), all.map((one) => one.tap), ports].every((values) => {
    const given = values.filter((value) => value !== undefined);
    return new Set(given).size === given.length;
  });
}

const serial = fc.stringMatching(/^[A-Za-z0-9]([ -~]{0,18}[A-Za-z0-9])?$/);

const disk = (more: object): fc.Arbitrary<DiskDescription> =>
  fc
    .tuple(
      path,
      some<DiskDescription>({
        readOnly: fc.constant(true),
        format: fc.constantFrom("raw", "qcow2"),
        serial,
        cache: fc.constantFrom("writeback", "none", "unsafe"),
        rateLimits: some({ total: rateLimit, read: rateLimit, write: rateLimit }).filter(
          (limits) => Object.keys(limits).length > 0,
        ),
        bootOrder: fc.integer({ min: 1, max: 100 }),
      } as never),
      some(more as never),
    )
    .map(([file, disk, others]) => ({ ...disk, ...(others as object), path: file }));

const disks = (more: object): fc.Arbitrary<DiskDescription[]> =>
  fc.uniqueArray(disk(more), { selector: (made) => made.path, minLength: 1, maxLength: 4 });

const management = some<VmDefinition>({
  title: text.filter((value) => value.trim() === value && value !== ""),
  description: text.filter((value) => value.trim() === value && value !== ""),
  uuid: fc.uuid(),
  labels: fc.dictionary(
    name.filter((key) => key !== "__proto__"),
    text,
    { minKeys: 1, maxKeys: 3 },
  ),
  restart: fc.oneof(
    fc.constantFrom("always", "unless-stopped", "on-failure", "no").map((policy) => ({ policy })),
    fc.integer({ min: 1, max: 99 }).map((maxRetries) => ({ policy: "on-failure" as const, maxRetries })),
  ),
  stopTimeout: fc.integer({ min: 1, max: 10 ** 7 }),
} as never);

const size = {
  cpus: fc.integer({ min: 1, max: 254 }),
  memory: fc.integer({ min: 256, max: 2 ** 24 }).map((pages) => pages * 4096),
};
/** Of memory that is not reserved. */
const balloon = fc.oneof(
  fc.constant(false as const),
  some<BalloonDescription>({
    size: fc.integer({ min: 1, max: 256 }).map((pages) => pages * 4096),
    reporting: fc.boolean(),
    deflateOnOom: fc.boolean(),
    statsInterval: fc.integer({ min: 0, max: 10_000 }),
  }),
);
const ownKernel = {
  kernel: path,
  initrd: path,
  append: fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join(" ")),
  hugePages: fc.constantFrom("none", "hugetlb"),
  console: fc.constantFrom("serial", "virtio"),
  acpi: fc.constant(false),
};

/** Reserved huge pages are not given up. */
function ballooned({ balloon: made, ...machine }: MachineDescription): MachineDescription {
  if (made === undefined || (made !== false && machine.hugePages === "hugetlb")) return machine;
  return { ...machine, balloon: made };
}

function vm(
  machine: fc.Arbitrary<MachineDescription>,
  others: fc.Arbitrary<Partial<VmDefinition>>,
): fc.Arbitrary<VmDefinition> {
  return fc
    .tuple(name, machine, others)
    .map(
      ([called, made, more]) =>
        ({ kind: "vm", name: called, ...more, machine: { ...made, name: called } }) as VmDefinition,
    );
}

describe("definitions in another format and back", () => {
  it.each(["yaml", "json"] as const)("stay the same in %s", async (format) => {
    const machine = fc
      .tuple(
        fc.record({ ...size, disks: disks({ overlay: fc.boolean(), ephemeral: fc.boolean() }) }),
        some<MachineDescription>({
          ...ownKernel,
          hugePages: fc.constantFrom("none", "transparent", "hugetlb"),
          acpi: fc.boolean(),
          rootDevice: fc.constant("/dev/vda1"),
          networks: networks(
            {
              mac,
              mtu,
              rateLimits: some({ total: rateLimit, receive: rateLimit, transmit: rateLimit }),
            },
            { forwards, hostLoopback: fc.boolean() },
            { address: fc.constant("10.1.2.3/8") },
          ),
          vsock: some<VsockDescription>({ cid: contextId, path } as never),
          balloon,
        } as never),
      )
      .map(([required, more]) => ballooned({ ...required, ...more }));
    const command = fc.record({
      ...size,
      command: fc.record({
        argv: fc.array(text, { minLength: 1, maxLength: 3 }),
        env: fc.dictionary(name, text, { maxKeys: 2 }),
        terminal: fc.boolean(),
      }),
    }) as fc.Arbitrary<MachineDescription>;
    const several = fc.uniqueArray(vm(fc.oneof(machine, command), management), {
      selector: ({ name: called }) => called,
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(several, async (definitions) => {
        const linked = definitions.map((definition, index) =>
          index === 0 ? definition : { ...definition, dependsOn: [definitions[index - 1]!.name] },
        );
        const back = await thereAndBack(linked, format);
        // Numbers as keys come first in JavaScript.
        const sorted = (all: readonly VmDefinition[]): VmDefinition[] =>
          all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
        expect(sorted(back)).toEqual(sorted(linked));
      }),
      { numRuns: 100 },
    );
  });

  it("stay the same in libvirt's XML", async () => {
    const kilobytes = fc
      .tuple(fc.integer({ min: 1, max: 10 ** 6 }), fc.option(fc.integer({ min: 1, max: 10 ** 6 })))
      .map(([rate, burst]) => ({
        bytesPerSecond: rate * 1000,
        ...(burst === null ? {} : { bytesBurst: burst * 1024 }),
      }));
    const kernel = fc
      .tuple(
        fc.record({
          ...size,
          kernel: path,
          disks: disks({ overlay: fc.constant(true) }),
          rootDevice: fc.constantFrom("/dev/vda1", "LABEL=root"),
        }),
        some<MachineDescription>({
          ...ownKernel,
          hugePages: fc.constant("hugetlb"),
          console: fc.constant("virtio"),
          networks: networks(
            { mac, mtu, rateLimits: some({ receive: kilobytes, transmit: kilobytes }).filter(isNotEmpty) },
            { forwards },
            {},
          ),
          vsock: some<VsockDescription>({ cid: contextId } as never),
          balloon,
        } as never),
      )
      .map(([required, more]) => ballooned({ ...required, ...more }));
    await fc.assert(
      fc.asyncProperty(vm(kernel, management), async (definition) => {
        const [back] = await thereAndBack([explicit(definition)], "libvirt");
        // With a kernel of its own there is no order in which disks are looked at.
        expect(back).toEqual(explicit(definition));
      }),
      { numRuns: 200 },
    );
  });

  it("stay the same in Firecracker's configuration", async () => {
    const drive = fc
      .tuple(
        path,
        some<DiskDescription>({
          readOnly: fc.constant(true),
          cache: fc.constantFrom("writeback", "unsafe"),
        } as never),
        fc.option(fc.integer({ min: 1, max: 2 ** 40 })),
      )
      .map(([file, more, rate]) => ({
        ...more,
        path: file,
        format: "raw" as const,
        ...(rate === null
          ? {}
          : { rateLimits: { total: { bytesPerSecond: rate, operationsPerSecond: rate } } }),
      }));
    const bucket = some<RateLimit>({ bytesPerSecond: whole, operationsPerSecond: whole } as never).filter(
      isNotEmpty,
    );
    const machine: fc.Arbitrary<MachineDescription> = fc.record({
      cpus: fc.integer({ min: 1, max: 32 }),
      memory: fc.integer({ min: 1, max: 4096 }).map((mebibytes) => mebibytes * 2 ** 20),
      kernel: path,
      append: fc.constantFrom("quiet", 'a="b  c" d'),
      rootDevice: fc.constantFrom("/dev/vda", "PARTUUID=1234", "/dev/vda3"),
      disks: fc.uniqueArray(drive, { selector: (made) => made.path, minLength: 1, maxLength: 3 }),
      vsock: fc.record({ cid: contextId, path }),
      networks: fc
        .array(
          fc
            .tuple(
              fc.record({ tap }),
              some<NetworkDescription>({
                mac,
                mtu,
                rateLimits: some({ receive: bucket, transmit: bucket }).filter(isNotEmpty),
              } as never),
            )
            .map(([device, more]) => ({ type: "tap" as const, ...device, ...more })),
          { minLength: 1, maxLength: 3 },
        )
        .filter(areApart),
      balloon: fc
        .tuple(
          fc.record({ size: fc.constantFrom(0, 2 ** 20), deflateOnOom: fc.boolean() }),
          some<Pick<BalloonDescription, "reporting" | "statsInterval">>({
            reporting: fc.boolean(),
            statsInterval: fc.integer({ min: 0, max: 100 }),
          }),
        )
        .map(([required, more]) => ({ ...required, ...more })),
    });
    await fc.assert(
      fc.asyncProperty(vm(machine, fc.constant({})), async (definition) => {
        fc.pre(!(definition.machine.append!.includes('"') && definition.machine.rootDevice === "/dev/vda3"));
        const [back] = await thereAndBack([definition], "firecracker");
        expect(back?.machine).toEqual({ ...definition.machine, name: "vm" });
      }),
    );
  });
});

/** As far as libvirt's XML can say it: formats are written out, `no` is what it does without a word. */
function explicit(definition: VmDefinition): VmDefinition {
  const disks = definition.machine.disks!.map((disk) => {
    const known: DiskDescription = { format: "raw", ...disk };
    delete known.bootOrder;
    return known;
  });
  const { append, rootDevice, ...machine } = definition.machine;
  // A quote keeps the command line as it is.
  const plain = append?.replaceAll('"', "");
  return {
    ...definition,
    machine: {
      ...machine,
      ...(plain === undefined ? {} : { append: plain }),
      rootDevice: rootDevice!,
      disks,
    },
  };
}

describe("libvirt's own tools", () => {
  const needs = [tool("virt-xml-validate", "libvirt-clients"), tool("xmllint", "libxml2-utils")];
  check("accept what we write", needs, async () => {
    const definition: VmDefinition = {
      kind: "vm",
      name: "all",
      uuid: "0b0e6a1c-8f5d-4c1e-9d5e-3b1f0c2a7d11",
      title: "All",
      description: "a\n<b>",
      labels: { "a.b": "c&d" },
      restart: { policy: "on-failure", maxRetries: 3 },
      stopTimeout: 1500,
      dependsOn: ["other"],
      machine: {
        cpus: 3,
        memory: 2 ** 28,
        hugePages: "hugetlb",
        kernel: "/srv/k",
        initrd: "/srv/i",
        append: "quiet",
        rootDevice: "/dev/vda1",
        console: "virtio",
        disks: [
          {
            path: "/srv/a",
            format: "qcow2",
            readOnly: true,
            overlay: true,
            serial: "S",
            cache: "none",
            rateLimits: {
              total: { bytesPerSecond: 100, bytesBurst: 200 },
              read: { operationsPerSecond: 1, operationsBurst: 2 },
            },
          },
          { path: "/dev/sdb", format: "raw" },
        ],
        networks: [
          {
            type: "user",
            mac: "02:00:00:00:00:01",
            mtu: 1500,
            forwards: [
              { hostPort: 8080, guestPort: 80 },
              { protocol: "udp", address: "::1", hostPort: 53, guestPort: 53 },
              { protocol: "udp", address: "::1", hostPort: 54, guestPort: 54 },
            ],
            rateLimits: { receive: { bytesPerSecond: 10_000, bytesBurst: 2048 } },
          },
          { type: "tap", tap: "tap0" },
        ],
      },
    };
    const fromDisk: VmDefinition = {
      kind: "vm",
      name: "disk",
      machine: {
        cpus: 1,
        memory: 2 ** 27,
        disks: [{ path: "/srv/a", format: "raw", bootOrder: 2 }],
        acpi: false,
      },
    };
    const directory = mkdtempSync(join(tmpdir(), "tsvm-test-"));
    try {
      for (const each of [definition, fromDisk]) {
        const file = join(directory, "domain.xml");
        writeFileSync(file, (await convert([each], "libvirt")).text);
        // Fails with what is wrong.
        execFileSync("virt-xml-validate", [file, "domain"], { stdio: ["ignore", "ignore", "pipe"] });
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("what another format cannot say", () => {
  const definition: VmDefinition = {
    kind: "vm",
    name: "a",
    labels: { a: "b" },
    machine: { cpus: 1, memory: 2 ** 27, command: { argv: ["true"] } },
  };

  it("is an error", async () => {
    expect((await convert([definition], "libvirt")).said).toBe(
      "from.yaml: command: libvirt's XML has no words for it\n  → --lenient goes on without it\n" +
        "from.yaml: libvirt's XML cannot name the bundled kernel\n  → give the VM a kernel, or boot the one of a disk",
    );
    expect((await convert([definition], "firecracker")).said).toBe(
      "from.yaml: command: Firecracker's configuration has no words for it\n  → --lenient goes on without it\n" +
        "from.yaml: labels: Firecracker's configuration has no words for it\n  → --lenient goes on without it\n" +
        "from.yaml: Firecracker's configuration needs a kernel, and cannot name the bundled one or that of a disk",
    );
  });

  it("is told of networks", async () => {
    const networks: NetworkDescription[] = [
      { type: "user", hostLoopback: true, rateLimits: { total: { bytesPerSecond: 1000 } } },
      {
        type: "tap",
        tap: "tap0",
        address: "10.0.0.2/8",
        rateLimits: { receive: { bytesPerSecond: 10_485_760, operationsPerSecond: 5 } },
      },
    ];
    const machine = { cpus: 1, memory: 2 ** 27, kernel: "/k", networks };
    const connected: VmDefinition = { kind: "vm", name: "a", machine };
    const told = async (target: TargetFormat): Promise<string[]> => {
      const { said } = await convert([connected], target, true);
      return said.split("\n").filter((line) => line.startsWith("from"));
    };
    expect(await told("libvirt")).toEqual([
      "from.yaml: warning: networks[0]: hostLoopback: libvirt's XML has no words for it",
      "from.yaml: warning: networks[0]: libvirt's XML limits each direction by itself only",
      "from.yaml: warning: networks[1]: address: libvirt's XML has no words for it",
      "from.yaml: warning: networks[1]: libvirt's XML has no limits for frames",
      "from.yaml: warning: networks[1]: libvirt counts limits in units of 1000 bytes: 10486000 in place of 10485760",
    ]);
    expect(await told("firecracker")).toEqual([
      "from.yaml: warning: networks[0]: Firecracker's configuration has tap devices only",
      "from.yaml: warning: networks[1]: address: Firecracker's configuration has no words for it",
    ]);
    expect(await told("yaml")).toEqual([]);
  });

  it("is a warning where a guest remains", async () => {
    const withKernel = { ...definition, machine: { cpus: 1, memory: 2 ** 27 + 4096, kernel: "/k" } };
    expect((await convert([withKernel], "firecracker", true)).said).toBe(
      "from.yaml: warning: labels: Firecracker's configuration has no words for it\n  → tsvm goes on without it\n" +
        "from.yaml: warning: memory: Firecracker counts whole MiB\n  → tsvm rounds it up",
    );
  });
});
