import { describe, expect, it } from "vitest";
import { loadText } from "../testing/load-text.ts";

const MiB = 2 ** 20;

describe("a native definition", () => {
  it("may be one VM, which has the file's name", () => {
    expect(loadText("version: 1\n")).toEqual({
      definitions: [{ kind: "vm", name: "web", machine: { name: "web", cpus: 1, memory: 128 * MiB } }],
      printed: "",
      errors: 0,
      elements: [],
    });
  });

  it("says all that a machine can be", () => {
    const text = `
version: 1
name: db
title: Database
description: |
  Two
  lines
uuid: 0B0E6A1C-8F5D-4C1E-9D5E-3B1F0C2A7D11
labels: { tier: data }
cpus: 2
memory: 1.5G
hugePages: transparent
kernel: vmlinuz
initrd: ../boot/initrd.img
append: [quiet, "loglevel=3"]
disks:
  - root.qcow2
  - path: /dev/sdb
    readOnly: true
    format: raw
    serial: DATA
    cache: none
    bootOrder: 2
    rateLimits:
      total: { bytesPerSecond: 10M, bytesBurst: 4096 }
      write: { operationsPerSecond: 100, operationsBurst: "200" }
rootDevice: /dev/vda2
console: virtio
acpi: no-thanks
restart: on-failure:3
stopTimeout: 1.5m
`;
    expect(loadText(text.replace("no-thanks", "false")).definitions).toEqual([
      {
        kind: "vm",
        name: "db",
        title: "Database",
        description: "Two\nlines\n",
        uuid: "0b0e6a1c-8f5d-4c1e-9d5e-3b1f0c2a7d11",
        labels: { tier: "data" },
        machine: {
          name: "db",
          cpus: 2,
          memory: 1536 * MiB,
          hugePages: "transparent",
          kernel: "/srv/vmlinuz",
          initrd: expect.stringMatching(/\/boot\/initrd\.img$/) as string,
          append: "quiet loglevel=3",
          disks: [
            { path: "/srv/root.qcow2" },
            {
              path: "/dev/sdb",
              readOnly: true,
              format: "raw",
              serial: "DATA",
              cache: "none",
              bootOrder: 2,
              rateLimits: {
                total: { bytesPerSecond: 10 * MiB, bytesBurst: 4096 },
                write: { operationsPerSecond: 100, operationsBurst: 200 },
              },
            },
          ],
          rootDevice: "/dev/vda2",
          console: "virtio",
          acpi: false,
        },
        restart: { policy: "on-failure", maxRetries: 3 },
        stopTimeout: 90_000,
      },
    ]);
    expect(loadText(text).printed).toContain('acpi: "no-thanks" must be true or false');
  });

  it("may be JSON", () => {
    const { definitions } = loadText(
      '{\n\t"version": 1,\n\t"vms": {"a": {"memory": "64M"}, "b": {"dependsOn": ["a"]}}}',
      "x.json",
    );
    expect(definitions.map(({ name, dependsOn }) => [name, dependsOn])).toEqual([
      ["a", undefined],
      ["b", ["a"]],
    ]);
  });

  it.each([
    ["uname -a", { argv: ["sh", "-c", "uname -a"] }],
    ["[uname, -a]", { argv: ["uname", "-a"] }],
    [
      "{ argv: [env], env: { A: b }, cwd: /tmp, terminal: true }",
      { argv: ["env"], env: { A: "b" }, cwd: "/tmp", terminal: true },
    ],
  ])("runs the command %s", (text, command) => {
    expect(loadText(`version: 1\ncommand: ${text}\n`).definitions[0]?.machine.command).toEqual(command);
  });

  it("takes the kernel from a file, from the disk, or the bundled one", () => {
    const machine = (kernel: string): object | undefined =>
      loadText(`version: 1\nkernel: ${kernel}\ndisks: [a]\n`).definitions[0]?.machine;
    expect(machine("bundled")).toMatchObject({ kernelSource: "bundled" });
    expect(machine("disk")).toMatchObject({ kernelSource: "disk" });
    expect(machine("./disk")).toMatchObject({ kernel: "/srv/disk" });
  });

  it("has networks", () => {
    const text = `
version: 1
networks:
  - type: user
    mac: 52:54:00:12:34:56
    mtu: "1500"
    hostLoopback: \${LOOPBACK}
    forwards:
      - \${PORT:-8080}:80
      - 127.0.0.1:5353:53/udp
      - { protocol: udp, address: "::1", hostPort: 69, guestPort: "6969" }
    rateLimits:
      receive: { bytesPerSecond: 1M, bytesBurst: 4096 }
      total: { operationsPerSecond: 100 }
  - { type: tap, tap: tap0, address: 192.168.7.2/24, gateway: 192.168.7.1, dns: [1.1.1.1] }
`;
    const loaded = loadText(text, "web.yaml", { variables: { LOOPBACK: "true" } });
    expect(loaded.printed).toBe("");
    expect(loaded.definitions[0]?.machine.networks).toEqual([
      {
        type: "user",
        mac: "52:54:00:12:34:56",
        mtu: 1500,
        hostLoopback: true,
        forwards: [
          { hostPort: 8080, guestPort: 80 },
          { protocol: "udp", address: "127.0.0.1", hostPort: 5353, guestPort: 53 },
          { protocol: "udp", address: "::1", hostPort: 69, guestPort: 6969 },
        ],
        rateLimits: {
          receive: { bytesPerSecond: MiB, bytesBurst: 4096 },
          total: { operationsPerSecond: 100 },
        },
      },
      { type: "tap", tap: "tap0", address: "192.168.7.2/24", gateway: "192.168.7.1", dns: ["1.1.1.1"] },
    ]);
  });

  it("has anchors, merges and x- keys", () => {
    const text = `
version: 1
x-base: &base
  memory: 64M
  labels: &labels { a: b }
vms:
  one: { <<: *base, cpus: 2 }
  two:
    <<: [*base]
    memory: 96M
    labels: *labels
`;
    expect(loadText(text).definitions).toMatchObject([
      { name: "one", labels: { a: "b" }, machine: { cpus: 2, memory: 64 * MiB } },
      { name: "two", labels: { a: "b" }, machine: { memory: 96 * MiB } },
    ]);
  });

  it("has variables, which may also be numbers and booleans", () => {
    const text =
      "version: 1\ncpus: ${CPUS}\nmemory: ${MEM:-96M}\nacpi: ${ACPI:-false}\nappend: a$$b ${X-} $c\ninitrd: i\nkernel: k\n";
    expect(loadText(text, "web.yaml", { variables: { CPUS: "3" } }).definitions[0]?.machine).toMatchObject({
      cpus: 3,
      memory: 96 * MiB,
      acpi: false,
      append: "a$b  $c",
    });
  });
});

describe("a bad native definition", () => {
  /** Each with all that is printed. */
  it.each([
    [
      "an unknown key",
      "version: 1\nmemroy: 1G\n",
      `web.yaml:2:1: unknown key "memroy"\n   2 | memroy: 1G\n     | ^^^^^^\n  → did you mean memory?`,
    ],
    [
      "a key in other capitals",
      "version: 1\nread-only: 1\ndisks: [{path: a, readonly: true}]\n",
      `web.yaml:2:1: unknown key "read-only"\n   2 | read-only: 1\n     | ^^^^^^^^^\n  → known here: version, name, title, description, uuid, labels, cpus, memory, hugePages, balloon, kernel, bootEntry, initrd, append, disks, networks, vsock, agent, root, rootDevice, console, acpi, command, restart, stopTimeout, dependsOn\nweb.yaml:3:19: unknown key "readonly"\n   3 | disks: [{path: a, readonly: true}]\n     |                   ^^^^^^^^\n  → did you mean readOnly?`,
    ],
    [
      "a context ID that is not the guest's",
      "version: 1\nvsock: {cid: 2}\n",
      `web.yaml:2:14: cid: 2 must be a whole number from 3 to 4294967294\n   2 | vsock: {cid: 2}\n     |              ^`,
    ],
    [
      "memory without a unit",
      "version: 1\nmemory: 512\n",
      `web.yaml:2:9: memory: 512 needs a unit: write 512M or 2G\n   2 | memory: 512\n     |         ^^^`,
    ],
    [
      "no size",
      "version: 1\nmemory: lots\n",
      `web.yaml:2:9: memory: "lots" is no size: write 512M or 2G\n   2 | memory: lots\n     |         ^^^^`,
    ],
    [
      "half a page",
      "version: 1\nmemory: 65537K\n",
      `web.yaml:2:9: memory: 67109888 bytes are no multiple of the 4096-byte page\n   2 | memory: 65537K\n     |         ^^^^^^`,
    ],
    [
      "half a processor",
      "version: 1\ncpus: 1.5\n",
      `web.yaml:2:7: cpus: 1.5 must be a whole number of at least 1\n   2 | cpus: 1.5\n     |       ^^^`,
    ],
    [
      "a number for a text",
      "version: 1\nlabels: {a: 1.10}\n",
      `web.yaml:2:13: a must be a text, and is the number 1.1\n   2 | labels: {a: 1.10}\n     |             ^^^^\n  → put it into quotes: "1.1"`,
    ],
    [
      "a text for a list",
      "version: 1\nvms: {a: {dependsOn: b}}\n",
      `web.yaml:2:22: dependsOn must be a list, and is a text\n   2 | vms: {a: {dependsOn: b}}\n     |                      ^\n  → make it a list: ["b"]`,
    ],
    [
      "an empty value",
      "version: 1\nkernel:\n",
      `web.yaml:2:1: kernel is empty\n   2 | kernel:\n     | ^^^^^^\n  → give it a value, or leave it out`,
    ],
    [
      "another word than is known",
      "version: 1\ndisks: [{path: a, cache: writebck}]\n",
      `web.yaml:2:26: cache: "writebck" must be writeback, none or unsafe\n   2 | disks: [{path: a, cache: writebck}]\n     |                          ^^^^^^^^\n  → did you mean writeback?`,
    ],
    [
      "a key twice",
      "version: 1\nmemory: 1G\nmemory: 2G\n",
      `web.yaml:3:1: the key "memory" is there twice, first in line 2\n   3 | memory: 2G\n     | ^^^^^^`,
    ],
    [
      "a VM twice",
      "version: 1\nvms:\n  a: {}\n  a: {}\n",
      `web.yaml:4:3: the key "a" is there twice, first in line 3\n   4 |   a: {}\n     |   ^`,
    ],
    [
      "a name with a slash",
      "version: 1\nvms: {a/b: {}}\n",
      `web.yaml:2:7: "a/b" is no name for a VM\n   2 | vms: {a/b: {}}\n     |       ^^^\n  → letters, digits, _, . and -, at most 63, the first one a letter or digit`,
    ],
    [
      "a name with a control character",
      'version: 1\nvms: {"a\\u001b[2J": {}}\n',
      `web.yaml:2:7: "a\\x1b[2J" is no name for a VM\n   2 | vms: {"a\\u001b[2J": {}}\n     |       ^^^^^^^^^^^^\n  → letters, digits, _, . and -, at most 63, the first one a letter or digit`,
    ],
    [
      "no version",
      "memory: 1G\n",
      `web.yaml:1:1: version is missing\n   1 | memory: 1G\n     | ^^^^^^^^^^\n  → begin with version: 1`,
    ],
    [
      "another version",
      "version: 2\nmachines: []\n",
      `web.yaml:1:10: version 2: this tsvm reads version 1\n   1 | version: 2\n     |          ^\n  → a newer tsvm wrote or reads it`,
    ],
    [
      "a version as text",
      'version: "1"\n',
      `web.yaml:1:10: version: must be the number 1, and is a text\n   1 | version: "1"\n     |          ^^^\n  → write version: 1, without quotes`,
    ],
    [
      "what tsvm has not yet",
      "version: 1\nvms: {a: {volumes: [x]}}\ncontainers: {}\n",
      `web.yaml:2:11: volumes: tsvm has no volumes yet\n   2 | vms: {a: {volumes: [x]}}\n     |           ^^^^^^^\nweb.yaml:3:1: containers: tsvm has no containers yet\n   3 | containers: {}\n     | ^^^^^^^^^^`,
    ],
    [
      "a circle",
      "version: 1\nvms:\n  a: {dependsOn: [b]}\n  b: {dependsOn: [c]}\n  c: {dependsOn: [a]}\n",
      `web.yaml:3:18: VMs that depend on each other in a circle: a → b → c → a\n   3 |   a: {dependsOn: [b]}\n     |                  ^^^\n  → take one of these out of dependsOn`,
    ],
    [
      "itself to depend on",
      "version: 1\nvms: {a: {dependsOn: [a]}}\n",
      `web.yaml:2:23: a depends on itself\n   2 | vms: {a: {dependsOn: [a]}}\n     |                       ^`,
    ],
    [
      "nothing to depend on",
      "version: 1\nvms: {web: {dependsOn: [bd]}, db: {}}\n",
      `web.yaml:2:25: web depends on bd, which this file does not have\n   2 | vms: {web: {dependsOn: [bd]}, db: {}}\n     |                         ^^\n  → did you mean db?`,
    ],
    ["no VM", "version: 1\nvms: {}\n", `web.yaml:2:6: vms has no VM\n   2 | vms: {}\n     |      ^^`],
    [
      "an unset variable",
      "version: 1\nkernel: ${KERNEL}\n",
      `web.yaml:2:9: the variable KERNEL is not set\n   2 | kernel: \${KERNEL}\n     |         ^^^^^^^^^\n  → set it (KERNEL=… tsvm …), or give a default: \${KERNEL:-…}`,
    ],
    [
      "memory as a list",
      "version: 1\nmemory: [1G]\n",
      `web.yaml:2:9: memory must be a single value, and is a list\n   2 | memory: [1G]\n     |         ^^^^\n  → leave out the brackets: memory: 1G`,
    ],
    [
      "memory as a mapping",
      "version: 1\nmemory: {a: b}\n",
      `web.yaml:2:9: memory must be a single value, and is a mapping\n   2 | memory: {a: b}\n     |         ^^^^^^\n  → write 512M or 2G`,
    ],
    [
      "more memory than any host has",
      "version: 1\nmemory: 999999T\n",
      `web.yaml:2:9: memory: 999999T are more than any host has\n   2 | memory: 999999T\n     |         ^^^^^^^\n  → write 512M or 2G`,
    ],
    [
      "a truth value of YAML 1.1",
      "version: 1\nacpi: yes\n",
      `web.yaml:2:7: acpi: "yes" must be true or false\n   2 | acpi: yes\n     |       ^^^\n  → write true or false: yes is a text in YAML 1.2`,
    ],
    [
      "an unknown anchor, and something that is no YAML",
      "version: 1\nkernel: *x\ndisks: [a\n",
      `web.yaml:2:9: *x: there is no &x above\n   2 | kernel: *x\n     |         ^^\nweb.yaml:3:9: flow sequence in block collection must be sufficiently indented and end with a ]\n   3 | disks: [a\n     |         ^`,
    ],
    [
      "an alias without a name",
      "version: 1\nkernel: *\n",
      `web.yaml:2:9: * begins an alias, and there is no name behind it\n   2 | kernel: *\n     |         ^\n  → put a text that begins with * into quotes: "*"`,
    ],
    [
      "a variable with a message",
      "version: 1\nkernel: ${KERNEL:?where is it}\n",
      `web.yaml:2:9: KERNEL: where is it\n   2 | kernel: \${KERNEL:?where is it}\n     |         ^^^^^^^^^^^^^^^^^^^^^^\n  → set it (KERNEL=… tsvm …), or give a default: \${KERNEL:-…}`,
    ],
    [
      "no variable",
      "version: 1\nkernel: ${a b}\n",
      `web.yaml:2:9: "\${a b}": this is no variable\n   2 | kernel: \${a b}\n     |         ^^^^^^\n  → write \${NAME} or \${NAME:-default}, and $$ for a $ of your own`,
    ],
    [
      "tabs",
      "version: 1\nvms:\n\ta: {}\n",
      `web.yaml:3:1: tabs are not allowed as indentation\n   3 |  a: {}\n     | ^`,
    ],
    [
      "an open bracket",
      "version: 1\ndisks: [a\n",
      `web.yaml:2:9: flow sequence in block collection must be sufficiently indented and end with a ]\n   2 | disks: [a\n     |         ^`,
    ],
    [
      "two documents",
      "version: 1\n---\nversion: 1\n",
      `web.yaml:2:1: the file has several YAML documents (---): put them into one, under vms:\n   2 | ---\n     | ^^^`,
    ],
    [
      "a list",
      "- a\n",
      `web.yaml:1:1: a definition is a mapping, with version and vms, or version and what one VM has\n   1 | - a\n     | ^^^`,
    ],
    [
      "an unknown anchor",
      "version: 1\nlabels: *x\n",
      `web.yaml:2:9: *x: there is no &x above\n   2 | labels: *x\n     |         ^^`,
    ],
    [
      "a tag",
      "version: 1\nname: !!python/object x\n",
      `web.yaml:2:7: unresolved tag: tag:yaml.org,2002:python/object\n   2 | name: !!python/object x\n     |       ^^^^^^^^^^^^^^^`,
    ],
    [
      "__proto__",
      "version: 1\nlabels: {__proto__: x}\n",
      `web.yaml:2:10: "__proto__" cannot be a key\n   2 | labels: {__proto__: x}\n     |          ^^^^^^^^^`,
    ],
    [
      "a disk twice",
      "version: 1\ndisks: [a, ./a]\n",
      `web.yaml:2:12: the disk a is there twice\n   2 | disks: [a, ./a]\n     |            ^^^\n  → a disk has one writer, or several readers (readOnly)`,
    ],
    [
      "a command with an initrd",
      "version: 1\ninitrd: i\ncommand: [a]\n",
      `web.yaml:3:10: command: a command needs tsvm's own init, which the initrd replaces\n   3 | command: [a]\n     |          ^^^\n  → leave out one of them`,
    ],
    [
      "ports as compose has them",
      "version: 1\nports: ['8080:80']\n",
      `web.yaml:2:1: unknown key "ports"\n   2 | ports: ['8080:80']\n     | ^^^^^\n  → write networks: [{ type: user, forwards: ["8080:80"] }]`,
    ],
    [
      "networks beside VMs",
      "version: 1\nvms: {a: {}}\nnetworks: {}\n",
      `web.yaml:3:1: unknown key "networks"\n   3 | networks: {}\n     | ^^^^^^^^\n  → it belongs to a VM: put it below vms: NAME:`,
    ],
    [
      "the kernel of no disk",
      "version: 1\nkernel: disk\n",
      `web.yaml:2:9: kernel: disk, and there is no disk\n   2 | kernel: disk\n     |         ^^^^`,
    ],
  ])("with %s", (_, text, printed) => {
    expect(loadText(text).printed).toBe(printed);
  });

  it.each([
    ["NAME", ["HOME"], undefined],
    ["X", ["_", "PS4"], undefined],
    ["HOM", ["PATH", "HOME"], "HOME"],
    ["KERENL", ["KERNEL", "TERM"], "KERNEL"],
    ["kernel_path", ["KERNEL_PATH"], "KERNEL_PATH"],
  ])("an unset variable %s, with %j at hand", (name, known, meant) => {
    const variables = Object.fromEntries(known.map((one) => [one, "x"]));
    const { printed } = loadText(`version: 1\nkernel: \${${name}}\n`, "web.yaml", { variables });
    expect(printed).toContain(meant === undefined ? "→ set it (" : `→ did you mean ${meant}?`);
  });

  /** The first line, and what is to be done. */
  it.each([
    ["{ type: user, forward: [] }", '2:26: unknown key "forward"', "did you mean forwards?"],
    ["{ type: user, ports: [] }", '2:26: unknown key "ports"', "did you mean forwards?"],
    ["{ type: taps }", '2:20: type: "taps" must be user or tap', "did you mean tap?"],
    ["{ mtu: 1500 }", "2:12: type is missing", undefined],
    ["{ type: tap }", "2:12: networks[0].tap: is missing", "name a tap device of the host"],
    ["{ type: user, tap: t }", "2:31: networks[0].tap: not for type user", "only for type tap"],
    [
      "{ type: user, mac: 2:0:0:0:0:1 }",
      '2:31: mac: "2:0:0:0:0:1" is no Ethernet address, such as 02:00:00:00:00:01',
      undefined,
    ],
    [
      "{ type: user, mac: ff:ff:ff:ff:ff:ff }",
      '2:31: networks[0].mac: "ff:ff:ff:ff:ff:ff" is not the Ethernet address of one interface',
      "write for example 02:00:00:00:00:01",
    ],
    ["{ type: user, mtu: 9 }", "2:31: networks[0].mtu: 9 is not a whole number from 68 to 65520", undefined],
    [
      "{ type: user, forwards: [http] }",
      '2:37: forwards[0]: "http" must be a text such as "8080:80" or "127.0.0.1:5353:53/udp"',
      undefined,
    ],
    [
      "{ type: user, forwards: ['80:99999'] }",
      "2:37: networks[0].forwards[0].guestPort: 99999 is not a port from 1 to 65535",
      undefined,
    ],
    [
      "{ type: user, forwards: [{ hostPort: 0, guestPort: 1 }] }",
      "2:49: hostPort: 0 must be a port from 1 to 65535",
      undefined,
    ],
    ["{ type: user, forwards: [{ hostPort: 5 }] }", "2:37: guestPort is missing", undefined],
    [
      "{ type: user, forwards: ['80', 80:8080/tcp] }",
      "2:43: networks: the host's port 80/tcp is forwarded twice",
      undefined,
    ],
    [
      "{ type: tap, tap: t, address: 10.0.0.1 }",
      '2:42: networks[0].address: "10.0.0.1" is not an IPv4 address with a prefix length',
      "write for example 192.168.7.2/24",
    ],
    [
      "{ type: user, rateLimits: { read: { bytesPerSecond: 1 } } }",
      '2:40: unknown key "read"',
      "known here: total, receive, transmit",
    ],
    [
      "{ type: user, rateLimits: { total: { bytesBurst: 1 } } }",
      "2:61: networks[0].rateLimits.total.bytesBurst without total.bytesPerSecond",
      "a burst is what a limit lets pass at once after a pause",
    ],
  ])("with the network %s", (network, message, hint) => {
    const { printed, errors } = loadText(`version: 1\nnetworks: [${network}]\n`);
    expect(printed.split("\n")[0]).toBe(`web.yaml:${message}`);
    expect(printed.split("\n")[3]).toBe(hint === undefined ? undefined : `  → ${hint}`);
    expect(errors).toBe(1);
  });

  it("with more devices than a machine takes", () => {
    const disks = Array.from({ length: 14 }, (_, index) => `d${index}`).join(", ");
    expect(loadText(`version: 1\ndisks: [${disks}]\nnetworks: [{ type: user }]\n`).printed).toContain(
      "web.yaml:3:11: 14 disks and 1 network are more than the 14 devices that a machine takes",
    );
  });

  it("tells everything at once, in the order of the file", () => {
    const text =
      "version: 1\nvms:\n  a/b:\n    memroy: 1G\n    cpus: two\n    disks: [{paht: x}, 5]\n    kernel: ${NOPE}\n";
    const { printed, errors } = loadText(text);
    expect(errors).toBe(7);
    const places = printed.split("\n").filter((line) => line.startsWith("web.yaml"));
    expect(places.map((line) => line.replace(/^web\.yaml:/, ""))).toEqual([
      '3:3: "a/b" is no name for a VM',
      '4:5: unknown key "memroy"',
      '5:11: cpus: "two" must be a whole number of at least 1',
      "6:13: path is missing",
      '6:14: unknown key "paht"',
      "6:24: disks[1]: 5 must be a path, or a mapping with path",
      "7:13: the variable NOPE is not set",
    ]);
  });

  it("with a file's name that makes no VM's name", () => {
    expect(loadText("version: 1\n", "my web.yaml").printed).toBe(
      'my web.yaml: the name of the file makes no name for the VM: "my web"\n  → add name: to the file; letters, digits, _, . and -, at most 63, the first one a letter or digit',
    );
  });
});

describe("texts", () => {
  it("of a command may have line breaks, those of the kernel command line become blanks", () => {
    const text = "version: 1\ncommand: |\n  echo a\n  echo b\nappend: |\n  quiet\n  loglevel=3\n";
    expect(loadText(text).definitions[0]?.machine).toMatchObject({
      command: { argv: ["sh", "-c", "echo a\necho b\n"] },
      append: "quiet loglevel=3",
    });
  });

  it("have no characters that no program could be given", () => {
    const text =
      'version: 1\nlabels: {"a\\e": x}\ntitle: "a\\x07"\ncommand: {argv: ["a\\0b"], env: {"A=B": c}}\n';
    expect(
      loadText(text)
        .printed.split("\n")
        .filter((line) => line.startsWith("web")),
    ).toEqual([
      'web.yaml:2:10: the key "a\\u001b" has control characters',
      'web.yaml:3:8: title: "a\\u0007" has control characters',
      'web.yaml:4:18: argv[0]: "a\\u0000b" has a NUL character',
      'web.yaml:4:33: the key "A=B" is no name of a variable',
    ]);
  });
});

describe("a hostile file", () => {
  it.each([
    [
      "aliases that expand without end",
      `version: 1\nx-a: &a [${"x,".repeat(9)}x]\n${[..."bcdefg"].map((name, i) => `x-${name}: &${name} [${`*${"abcdef"[i]!},`.repeat(10)}]\n`).join("")}`,
      "the file has more than 20000 values with its aliases (*) expanded",
    ],
    ["an alias within itself", "version: 1\nx-a: &a [*a, *a]\n", "*a is part of &a itself"],
    ["a merge within itself", "version: 1\nx-a: &a\n  <<: *a\n", "<<: merges a mapping into itself"],
    ["depth", `version: 1\nx-a: ${"[".repeat(40)}${"]".repeat(40)}\n`, "nested more than 32 levels deep"],
    ["great depth", `version: 1\nx-a: ${"[".repeat(100_000)}`, "the file is nested too deeply"],
  ])("with %s is refused", (_, text, message) => {
    expect(loadText(text).printed).toContain(message);
  });

  it("of many megabytes is not read", () => {
    expect(loadText(Buffer.alloc(10 << 20, "# comment\n")).printed).toBe(
      "web.yaml: the file has 10.0 MiB, and a definition has at most 1.0 MiB\n  → is this the right file?",
    );
  });

  it.each([
    ["nothing", new Uint8Array(0), "the file is empty", "a definition begins with version: 1"],
    [
      "a disk",
      Uint8Array.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]),
      "the file is no definition: it looks like a qcow2 disk image",
      "a definition is YAML, JSON or libvirt's XML",
    ],
    [
      "bytes",
      Uint8Array.from([0x61, 0xff, 0xfe]),
      "the file is no definition: it is not UTF-8 text",
      "a definition is YAML, JSON or libvirt's XML",
    ],
    [
      "a NUL",
      "version: 1\0\n",
      "the file is no definition: it is not UTF-8 text",
      "a definition is YAML, JSON or libvirt's XML",
    ],
  ])("with %s in it is named for what it is", (_, bytes, message, hint) => {
    expect(loadText(bytes).printed).toBe(`web.yaml: ${message}\n  → ${hint}`);
  });

  it("cannot send control characters to the terminal", () => {
    const { printed } = loadText("version: 1\n\u009bmemory: \u202e1G\n");
    expect(printed).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  });
});
