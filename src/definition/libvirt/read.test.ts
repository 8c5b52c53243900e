import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadText, type Loaded } from "../testing/load-text.ts";

const MiB = 2 ** 20;

/** What virt-install 4.1 and virsh 9.0 printed. */
function fixture(name: string, lenient = false): Loaded {
  const text = readFileSync(new URL(`testing/${name}.xml`, import.meta.url), "utf8");
  return loadText(text, "vm.xml", { lenient });
}

/** `line: message` of errors, or of warnings. */
function said({ printed }: Loaded, severity: "error" | "warning"): string[] {
  return printed.split("\n").flatMap((line) => {
    const match = /^vm\.xml:(\d+):\d+: (warning: )?(.*)$/.exec(line);
    if (match === null || (match[2] === undefined) !== (severity === "error")) return [];
    return [`${match[1]!}: ${match[3]!}`];
  });
}

/** A domain around these devices, in line 2. */
function domain(devices: string, before = ""): string {
  return `<domain type='kvm'><name>a</name><memory>65536</memory><os><type>hvm</type><kernel>/k</kernel></os><features><acpi/></features>${before}<devices>
${devices}</devices></domain>`;
}

describe("domains as virt-install and virsh write them", () => {
  it("a disk image", () => {
    const strict = fixture("virt-install-import");
    expect(said(strict, "error")).toEqual([
      "53: <interface>: tsvm makes no tap devices, which the type network (default) needs",
    ]);
    const { definitions, printed } = fixture("virt-install-import", true);
    expect(definitions).toEqual([
      {
        kind: "vm",
        name: "debian",
        uuid: "00000000-1111-2222-3333-444444444444",
        machine: {
          name: "debian",
          cpus: 2,
          memory: 2048 * MiB,
          balloon: {},
          disks: [{ path: "/var/lib/libvirt/images/d.qcow2", format: "qcow2" }],
          networks: [{ type: "user", mac: "00:11:22:33:44:55" }],
        },
      },
    ]);
    // Each cosmetic kind once, with its first line.
    expect(said({ printed } as Loaded, "warning")).toEqual([
      "5: <libosinfo:libosinfo>: notes of another program, which tsvm does not keep",
      '37: <controller type="usb">: left out, as virtio devices of tsvm need none',
      '38: <controller type="pci">, 15 times: left out, as virtio devices of tsvm need none',
      "53: <interface>: tsvm makes no tap devices, which the type network (default) needs",
      "59: <channel>: left out, as tsvm has no channels (org.qemu.guest_agent.0)",
      '63: <input type="tablet">: left out, as tsvm has no keyboard, mouse or tablet; there is the console',
      '64: <graphics type="vnc">: left out, as tsvm has no screen',
      "65: <video>: left out, as tsvm has no screen",
    ]);
  });

  it("the same domain as virsh dumpxml prints it", () => {
    const dumped = fixture("virsh-dumpxml", true);
    expect(dumped.definitions).toEqual(fixture("virt-install-import", true).definitions);
    expect(said(dumped, "warning").filter((text) => text.includes("on_reboot"))).toEqual([]);
  });

  it("a kernel with disks, limits and huge pages", () => {
    const loaded = fixture("virt-install-kernel");
    expect(loaded.definitions[0]?.machine).toEqual({
      name: "kernel",
      cpus: 2,
      memory: 512 * MiB,
      hugePages: "hugetlb",
      balloon: false,
      kernel: "/var/lib/libvirt/images/k",
      initrd: "/var/lib/libvirt/images/i",
      append: "console=ttyS0 quiet",
      rootDevice: "/dev/vda1",
      disks: [
        {
          path: "/var/lib/libvirt/images/d.qcow2",
          format: "qcow2",
          serial: "ROOT",
          cache: "none",
          rateLimits: { total: { bytesPerSecond: 10 * MiB }, read: { operationsPerSecond: 500 } },
        },
        { path: "/var/lib/libvirt/images/boot.iso", readOnly: true, format: "raw" },
      ],
      console: "virtio",
    });
    expect(said(loaded, "warning")).toEqual([
      "5: <currentMemory>: huge pages cannot be given up, so the guest has all of <memory>",
      "9: <vcpu>: the guest has 2 processors and cannot get more while it runs",
      '33: <driver>: tsvm has its own way in place of io="native"',
    ]);
  });

  it("UEFI and a CD-ROM", () => {
    expect(said(fixture("virt-install-uefi"), "error")).toEqual([
      "12: <os>: tsvm has no firmware, so no UEFI",
      "42: <target>: tsvm has no sata bus, only virtio, and no CD-ROM drives",
      "61: <interface>: tsvm makes no tap devices, which the type network (default) needs",
      '72: <tpm model="tpm-crb">: tsvm has no TPM',
    ]);
    expect(fixture("virt-install-uefi", true).definitions[0]?.machine.disks).toEqual([
      { path: "/var/lib/libvirt/images/d.qcow2", format: "qcow2" },
      { path: "/var/lib/libvirt/images/boot.iso", readOnly: true, format: "raw" },
    ]);
  });

  it("all that tsvm lacks", () => {
    expect(said(fixture("virt-install-windows"), "error")).toEqual([
      "19: <hyperv>: tsvm's machine has no such feature",
      "26: <clock>: the clock of tsvm's machine shows UTC, not localtime",
      "30: <timer>: tsvm's machine has no hypervclock",
      "41: <target>: tsvm has no sata bus, only virtio",
      '59: <filesystem type="mount">: tsvm has no shared directories yet',
      "63: <interface>: tsvm makes no tap devices, which the type network (default) needs",
      "66: <model>: tsvm has no e1000e, only virtio",
      "68: <serial>: tsvm shows and keeps the console itself, it does not go to file /var/log/win.log",
      '72: <tpm model="tpm-crb">: tsvm has no TPM',
      '79: <watchdog model="i6300esb">: tsvm has no watchdog yet',
      '84: <hostdev type="pci">: tsvm has no passthrough of the host\'s devices',
      "90: <qemu:commandline>: tsvm is not QEMU",
    ]);
    const lenient = fixture("virt-install-windows", true);
    expect(lenient.errors).toBe(0);
    expect(said(lenient, "warning")).toEqual(
      expect.arrayContaining(said(fixture("virt-install-windows"), "error")),
    );
  });

  it("one for each step of an installation", () => {
    expect(fixture("virt-install-two-steps").printed).toBe(
      'vm.xml:82:1: there is a second document in the file: keep one (virt-install --print-step 2 prints the last one alone)\n  82 | <domain type="kvm">\n     | ^',
    );
  });
});

describe("elements of a domain", () => {
  it.each([
    ["<memory unit='b'>67108864</memory>", 64 * MiB],
    ["<memory unit='KB'>100000</memory>", Math.ceil(1e8 / 1024) * 1024],
    ["<memory unit='GiB'>1</memory>", 1024 * MiB],
    ["<memory>65536</memory>", 64 * MiB],
  ])("%s", (memory, bytes) => {
    const text = domain("").replace("<memory>65536</memory>", memory);
    // A whole number of KiB may be no whole number of pages.
    if (bytes % 4096 === 0) expect(loadText(text, "a.xml").definitions[0]?.machine.memory).toBe(bytes);
    else expect(loadText(text, "a.xml").printed).toContain(`memory: ${bytes} bytes are no multiple`);
  });

  it("orders disks by their target, as libvirt does", () => {
    const disk = (name: string, more = ""): string =>
      `<disk type='file'><driver type='raw'/><source file='${name}'/><target dev='${name}'/>${more}</disk>`;
    const { definitions } = loadText(
      domain(disk("vdaa") + disk("vdb", "<transient/>") + disk("vda", "<boot order='1'/>")),
      "a.xml",
    );
    expect(definitions[0]?.machine.disks).toEqual([
      { path: "/srv/vda", format: "raw", bootOrder: 1 },
      { path: "/srv/vdb", format: "raw", overlay: true },
      { path: "/srv/vdaa", format: "raw" },
    ]);
  });

  it.each([
    ["<vsock model='virtio'><cid auto='yes'/></vsock>", {}],
    ["<vsock><cid auto='no' address='42'/><alias name='vsock0'/></vsock>", { cid: 42 }],
    ["<vsock><cid auto='yes' address='5'/></vsock>", {}],
    ["<vsock/>", {}],
  ])("%s", (element, vsock) => {
    const { printed, definitions } = loadText(domain(element), "a.xml");
    expect(printed).toBe("");
    expect(definitions[0]?.machine.vsock).toEqual(vsock);
  });

  it.each([
    ["<vsock><cid address='2'/></vsock>", "<cid>: 2 is not a whole number from 3 to 4294967294"],
    ["<vsock><cid address='x'/></vsock>", "<cid>: x is not a whole number"],
    ["<vsock model='other'/>", "<vsock>: the model other is not virtio"],
    ["<vsock/><vsock/>", "<vsock>: a machine has one"],
  ])("wrong: %s", (element, message) => {
    const { errors, printed } = loadText(domain(element), "a.xml");
    expect(errors).toBe(1);
    expect(printed).toContain(message);
  });

  it("reads bursts", () => {
    const tune =
      "<iotune><total_bytes_sec>100</total_bytes_sec><total_bytes_sec_max>300</total_bytes_sec_max><total_bytes_sec_max_length>2</total_bytes_sec_max_length><write_iops_sec>0</write_iops_sec></iotune>";
    const disk = `<disk type='block'><driver type='raw' cache='unsafe'/><source dev='/dev/x'/><target dev='vda'/>${tune}</disk>`;
    expect(loadText(domain(disk), "a.xml").definitions[0]?.machine.disks).toEqual([
      {
        path: "/dev/x",
        format: "raw",
        cache: "unsafe",
        rateLimits: { total: { bytesPerSecond: 100, bytesBurst: 600 } },
      },
    ]);
  });

  it("reads networks, in the order of the file", () => {
    const text = domain(`
<interface type='user'>
  <mac address='52:54:00:12:34:56'/><backend type='passt'/><model type='virtio'/><mtu size='9000'/>
  <portForward proto='tcp' address='127.0.0.1'><range start='8000' end='8003' to='80'/><range start='8002' exclude='yes'/></portForward>
  <portForward proto='udp'><range start='53'/></portForward>
  <bandwidth><inbound average='1000' burst='128'/><outbound average='500'/></bandwidth>
  <link state='up'/><alias name='net0'/><address type='pci' slot='3'/>
</interface>
<interface type='ethernet'><target dev='tap0' managed='no'/><model type='virtio-non-transitional'/><script path=''/></interface>`);
    const { printed, definitions } = loadText(text, "a.xml");
    expect(printed).toBe("");
    expect(definitions[0]?.machine.networks).toEqual([
      {
        type: "user",
        mac: "52:54:00:12:34:56",
        mtu: 9000,
        forwards: [
          { address: "127.0.0.1", hostPort: 8000, guestPort: 80 },
          { address: "127.0.0.1", hostPort: 8001, guestPort: 81 },
          { address: "127.0.0.1", hostPort: 8003, guestPort: 83 },
          { protocol: "udp", hostPort: 53, guestPort: 53 },
        ],
        rateLimits: {
          receive: { bytesPerSecond: 1_000_000, bytesBurst: 131_072 },
          transmit: { bytesPerSecond: 500_000 },
        },
      },
      { type: "tap", tap: "tap0" },
    ]);
  });

  const USER = "<interface type='user'><backend type='passt'/><model type='virtio'/>";
  const TAP = "<interface type='ethernet'><target dev='t' managed='no'/><model type='virtio'/>";
  const VIRTIO = "<model type='virtio'/></interface>";
  const DEFAULT_USER = { type: "user" };
  it.each([
    [
      `<interface type='bridge'><source bridge='br0'/><target dev='vnet3'/>${VIRTIO}`,
      "<interface>: tsvm makes no tap devices, which the type bridge (br0) needs",
      "makes it user-mode networking",
      DEFAULT_USER,
    ],
    [
      `<interface type='direct'><source dev='eno1' mode='bridge'/>${VIRTIO}`,
      "<interface>: tsvm makes no macvtap devices, which the type direct (eno1) needs",
      "makes it user-mode networking",
      DEFAULT_USER,
    ],
    [
      `<interface type='ethernet'>${VIRTIO}`,
      "<interface>: tsvm makes no tap devices, and there is no <target dev=…> with the name of one",
      "makes it user-mode networking",
      DEFAULT_USER,
    ],
    [
      `<interface type='hostdev' managed='yes'><source><address type='pci' bus='0x05'/></source><vlan><tag id='42'/></vlan></interface>`,
      "<interface>: tsvm has no interfaces of the type hostdev, only user and ethernet",
      "goes on without it",
      undefined,
    ],
    [
      `${TAP}<mac address='52:54:00:00:00:01'/><filterref filter='clean-traffic'/></interface>`,
      "<filterref>: tsvm's networks have no such thing",
      "goes on without it",
      { type: "tap", tap: "t", mac: "52:54:00:00:00:01" },
    ],
    [
      `${TAP}<vlan><tag id='42'/></vlan></interface>`,
      "<vlan>: tsvm's networks have no such thing",
      "goes on without it",
      { type: "tap", tap: "t" },
    ],
    [
      `${TAP}<virtualport type='openvswitch'/></interface>`,
      "<virtualport>: tsvm's networks have no such thing",
      "goes on without it",
      { type: "tap", tap: "t" },
    ],
    [
      `${TAP}<script path='/etc/qemu-ifup'/></interface>`,
      "<script>: tsvm runs no scripts",
      "goes on without it",
      { type: "tap", tap: "t" },
    ],
    [
      `${TAP}<ip address='192.168.7.2' prefix='24'/></interface>`,
      "<ip>: with a tap device the guest sets its own addresses",
      "goes on without it",
      { type: "tap", tap: "t" },
    ],
    [
      `${TAP}<portForward proto='tcp'><range start='22'/></portForward></interface>`,
      "<portForward>: a tap device leads in what the host sends there",
      "goes on without it",
      { type: "tap", tap: "t" },
    ],
    [
      "<interface type='user'><backend type='passt'/><model type='rtl8139'/></interface>",
      "<model>: tsvm has no rtl8139, only virtio",
      "makes it virtio",
      DEFAULT_USER,
    ],
    [
      `${USER}<link state='down'/></interface>`,
      "<link>: the guest's cable is always plugged in",
      "plugs it in",
      DEFAULT_USER,
    ],
    [
      `${USER}<ip family='ipv4' address='172.17.2.4' prefix='24'/></interface>`,
      "<ip>: the guest is 10.0.2.15, not 172.17.2.4",
      "gives it that",
      DEFAULT_USER,
    ],
    [
      `${USER}<source dev='eno1'/></interface>`,
      "<source>: connections leave by the host's routes, not by eno1 alone",
      "lets them",
      DEFAULT_USER,
    ],
    [
      `${USER}<portForward proto='udp'/></interface>`,
      "<portForward>: tsvm leads in ports that are named, not all of them",
      "goes on without it",
      DEFAULT_USER,
    ],
    [
      `${USER}<portForward proto='tcp' dev='eth0'><range start='22'/></portForward></interface>`,
      '<portForward>: tsvm listens on addresses, not on interfaces (dev="eth0")',
      "listens on all addresses",
      { type: "user", forwards: [{ hostPort: 22, guestPort: 22 }] },
    ],
    [
      `${USER}<bandwidth><inbound floor='10'/></bandwidth></interface>`,
      "<inbound>: tsvm guarantees no bandwidth (floor)",
      "goes on without it",
      DEFAULT_USER,
    ],
    [
      `${USER}<boot order='1'/></interface>`,
      "<boot>: tsvm boots from disks only, not from network",
      "boots from the first disk",
      DEFAULT_USER,
    ],
    [
      `${USER}<driver name='vhost' iommu='on'/></interface>`,
      "<driver>: tsvm has no iommu",
      "goes on without it",
      DEFAULT_USER,
    ],
    [
      `${USER}<hologram/></interface>`,
      "<hologram> in <interface>: tsvm does not know this element",
      "goes on without it",
      DEFAULT_USER,
    ],
  ])("%s is an error, unless lenient", (devices, message, instead, network) => {
    const strict = loadText(domain(devices), "a.xml");
    expect(strict.printed.split("\n")[0]).toMatch(/^a\.xml:2:\d+: </);
    expect(strict.printed.split("\n")[0]).toContain(`: ${message}`);
    expect(strict.printed).toContain(`→ --lenient ${instead}`);
    expect(strict.errors).toBe(1);
    const lenient = loadText(domain(devices), "a.xml", { lenient: true });
    expect(lenient.printed).toContain(`: warning: ${message}\n`);
    expect(lenient.definitions[0]?.machine.networks).toEqual(network === undefined ? undefined : [network]);
  });

  it.each([
    [
      `${TAP.replace(" managed='no'", "")}</interface>`,
      "<target>: tsvm makes no tap devices: t must be there already",
    ],
    [
      `<interface type='user'>${VIRTIO}`,
      "<interface>: the guest does not reach the host's loopback at 10.0.2.2, as it does with SLIRP",
    ],
    [
      "<interface type='user'><backend type='passt'/></interface>",
      "<interface>: without <model type=…> it is virtio",
    ],
    [`${USER}<driver queues='4'/></interface>`, '<driver>: tsvm has its own way in place of queues="4"'],
    [
      `${USER}<driver><host csum='off'/></driver></interface>`,
      "<host>: tsvm itself decides which offloads there are",
    ],
    [`${USER}<rom bar='off'/></interface>`, "<rom>: left out, as there is no firmware that would run it"],
    [
      `${USER}<bandwidth><inbound average='5' peak='9'/></bandwidth></interface>`,
      "<inbound>: what the guest has saved up passes at once, not at a peak",
    ],
    [
      `<disk type='file'><driver type='raw'/><source file='a'/><target dev='vda'/><boot order='1'/></disk>${USER}<boot order='2'/></interface>`,
      "<boot>: tsvm boots from disks only, not from network",
    ],
  ])("%s is a warning", (devices, message) => {
    const { printed, errors } = loadText(domain(devices), "a.xml");
    expect(errors).toBe(0);
    expect(printed.split("\n").filter((line) => line.startsWith("a.xml"))).toEqual([
      expect.stringMatching(/^a\.xml:2:\d+: warning: /) as string,
    ]);
    expect(printed).toContain(message);
  });

  it.each([
    [
      `${USER}<mac address='ff:ff:ff:ff:ff:ff'/></interface>`,
      "networks[0].mac:",
      "/domain/devices/interface/mac",
    ],
    [`${USER}<mtu size='9'/></interface>`, "networks[0].mtu:", "/domain/devices/interface/mtu"],
    [
      `${USER}<mtu size='big'/></interface>`,
      '<mtu>: size="big" is no whole number',
      "/domain/devices/interface/mtu",
    ],
    [
      `${TAP}</interface>${TAP}</interface>`,
      "networks: two use the tap device t",
      "/domain/devices/interface[2]/target",
    ],
    [
      `${USER}<portForward><range start='80'/><range start='80'/></portForward></interface>`,
      "networks: the host's port 80/tcp is forwarded twice",
      "/domain/devices/interface/portForward/range[2]",
    ],
    [
      `${USER}<portForward address='here'><range start='80'/></portForward></interface>`,
      'networks[0].forwards[0].address: "here" is not an IP address',
      "/domain/devices/interface/portForward/range",
    ],
    [
      `${USER}<portForward><range start='1' end='60000'/></portForward></interface>`,
      "<portForward>: tsvm leads in 1024 ports at most",
      "/domain/devices/interface/portForward",
    ],
    [
      `${USER}<portForward><range start='90' end='80'/></portForward></interface>`,
      "<range>: 90 to 80 are no range of ports",
      "/domain/devices/interface/portForward/range",
    ],
    [
      `${USER}<portForward><range start='99999'/></portForward></interface>`,
      '<range>: start="99999" is no port from 1 to 65535',
      "/domain/devices/interface/portForward/range",
    ],
    [
      `${USER}<portForward><range/></portForward></interface>`,
      "<range> has no start",
      "/domain/devices/interface/portForward/range",
    ],
    [
      `${USER}<portForward proto='sctp'/></interface>`,
      '<portForward>: "sctp" is not tcp or udp',
      "/domain/devices/interface/portForward",
    ],
    [
      `${USER}<bandwidth><inbound burst='5'/></bandwidth></interface>`,
      "<inbound> has no average",
      "/domain/devices/interface/bandwidth/inbound",
    ],
    ["<interface/>", "<interface> has no type", "/domain/devices/interface"],
  ])("%s is an error", (devices, message, element) => {
    const { printed, errors, elements } = loadText(domain(devices), "a.xml", { lenient: true });
    expect(errors).toBe(1);
    expect(printed).toContain(message);
    expect(elements).toEqual([element]);
  });

  it.each([
    ["<on_poweroff>restart</on_poweroff>", { policy: "always" }],
    ["<on_crash>restart</on_crash>", { policy: "on-failure" }],
    ["<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>", undefined],
    [
      "<metadata><t:vm xmlns:t='urn:x-tsvm:definition:1' restart='on-failure:2'/></metadata>",
      { policy: "on-failure", maxRetries: 2 },
    ],
  ])("%s", (text, restart) => {
    const loaded = loadText(domain("", text), "a.xml");
    expect(loaded.printed).toBe("");
    expect(loaded.definitions[0]?.restart).toEqual(restart);
  });

  it("a domain that is not to boot again", () => {
    const loaded = loadText(domain("", "<on_reboot>destroy</on_reboot>"), "a.xml");
    expect(loaded.printed).toContain(
      "<on_reboot>: a background VM of tsvm boots again when its guest reboots",
    );
  });

  it.each([
    [
      "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>",
      "<disk>: the cdrom has nothing in it, and is left out",
    ],
    [
      "<memballoon model='none'/><controller type='usb' model='none'/><console type='pty'/><serial type='stdio'/>",
      undefined,
    ],
    [
      "<rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng><emulator>/usr/bin/qemu</emulator>",
      undefined,
    ],
    ["<watchdog model='itco' action='none'/>", '<watchdog model="itco">: tsvm has no watchdog yet'],
  ])("%s is no error", (devices, warning) => {
    const { printed, errors } = loadText(domain(devices), "a.xml");
    expect(errors).toBe(0);
    expect(printed.split("\n")[0]).toBe(warning === undefined ? "" : `a.xml:2:1: warning: ${warning}`);
  });

  const MEMORY = "<memory unit='MiB'>512</memory>";
  it.each([
    ["", "", undefined],
    ["<memballoon model='none'/>", "", false],
    ["<memballoon model='virtio'><alias name='b'/></memballoon>", "", {}],
    ["<memballoon model='virtio-non-transitional'/>", "", {}],
    [
      "<memballoon model='virtio' autodeflate='off' freePageReporting='on'><stats period='10'/></memballoon>",
      "",
      { deflateOnOom: false, reporting: true, statsInterval: 10 },
    ],
    ["<memballoon model='virtio'/>", "<currentMemory unit='MiB'>384</currentMemory>", { size: 128 * MiB }],
    ["", "<currentMemory unit='MiB'>512</currentMemory>", undefined],
    ["", "<currentMemory unit='MiB'>500</currentMemory>", { size: 12 * MiB }],
  ])("the balloon %s %s", (devices, memory, balloon) => {
    const text = domain(devices).replace(/<memory.*?<\/memory>/, `${MEMORY}${memory}`);
    expect(text).toContain(MEMORY);
    const { definitions, printed } = loadText(text, "a.xml");
    expect(printed).toBe("");
    expect(definitions[0]?.machine.balloon).toEqual(balloon);
  });

  it.each([
    ["<memballoon model='xen'/>", "<memballoon>: the model xen is not virtio"],
    [
      "<memballoon model='virtio' autodeflate='yes'/>",
      '<memballoon>: autodeflate="yes" is neither on nor off',
    ],
    [
      "<memballoon model='virtio'><stats period='often'/></memballoon>",
      '<stats>: the period "often" is no number of seconds',
    ],
  ])("%s is refused", (devices, message) => {
    const { printed, errors } = loadText(domain(devices), "a.xml");
    expect(errors).toBe(1);
    expect(printed).toContain(message);
  });

  const DISK = "<disk type='file'><driver type='raw'/><source file='a'/><target dev='vda'/>";
  it.each([
    [
      "an unknown device",
      "<flux-capacitor/>",
      "<flux-capacitor> in <devices>: tsvm does not know this element",
    ],
    [
      "an unknown attribute",
      "<memballoon model='none'/><disk type='file' warp='9'><driver type='raw'/><source file='a'/><target dev='vda'/></disk>",
      '<disk>: tsvm does not know the attribute warp="9"',
    ],
    [
      "an unknown child",
      `${DISK}<hologram/></disk>`,
      "<hologram> in <disk>: tsvm does not know this element",
    ],
    ["text where none belongs", `${DISK}what</disk>`, '<disk>: tsvm knows no text here ("what")'],
    [
      "a network disk",
      "<disk type='network'><source protocol='rbd' name='x'/></disk>",
      "<disk>: tsvm has no disks of the type network, only file and block",
    ],
    [
      "a SCSI LUN",
      "<disk type='block' device='lun'><source dev='/dev/x'/><target dev='sda' bus='scsi'/></disk>",
      "<disk>: tsvm has no lun, only virtio disks",
    ],
    [
      "a shared disk",
      `${DISK}<shareable/></disk>`,
      "<shareable>: a disk of tsvm has one writer, or several readers",
    ],
    [
      "an encrypted disk",
      `${DISK}<encryption format='luks'/></disk>`,
      "<encryption>: tsvm's disks have no such thing",
    ],
    [
      "another cache",
      "<disk type='file'><driver type='raw' cache='writethrough'/><source file='a'/><target dev='vda'/></disk>",
      '<driver>: tsvm has no cache="writethrough"',
    ],
    [
      "a second serial port",
      "<serial type='pty'/><serial type='pty'/>",
      "<serial>: tsvm's machine has one serial port",
    ],
    [
      "a console log",
      "<serial type='pty'><log file='/var/log/x'/></serial>",
      "<log>: tsvm does not write the console to a file of your choice",
    ],
    [
      "a channel of one's own",
      "<channel type='unix'><target type='virtio' name='my.agent'/></channel>",
      "<channel>: left out, as tsvm has no channels (my.agent)",
    ],
    [
      "another source of randomness",
      "<rng model='virtio'><backend model='egd' type='tcp'/></rng>",
      "<backend>: random numbers come from the host's kernel, not from egd",
    ],
  ])("%s is an error, unless lenient", (_, devices, message) => {
    const strict = loadText(domain(devices), "a.xml");
    expect(strict.errors).toBe(1);
    expect(strict.printed).toMatch(/^a\.xml:2:\d+: /);
    expect(strict.printed).toContain(`: ${message}\n`);
    expect(loadText(domain(devices), "a.xml", { lenient: true })).toMatchObject({ errors: 0 });
  });

  it.each([
    [
      "<cpu mode='custom'><model>core2duo</model></cpu>",
      "<cpu>: tsvm shows the guest the host's processor, not the model core2duo",
    ],
    [
      "<cpu mode='host-passthrough'><feature policy='disable' name='vmx'/></cpu>",
      "<feature>: tsvm does not change single features of the processor (disable vmx)",
    ],
    [
      "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>",
      "<cputune>: tsvm does not limit or bind what a VM uses of its host",
    ],
    ["<on_crash>coredump-destroy</on_crash>", "<on_crash>: tsvm cannot coredump-destroy"],
    ["<sysinfo type='smbios'/>", "<sysinfo>: tsvm's machine has no such thing"],
    [
      "<clock offset='utc'><timer name='kvmclock' present='no'/></clock>",
      "<timer>: tsvm's machine always has its kvmclock",
    ],
  ])("%s is an error, unless lenient", (text, message) => {
    expect(loadText(domain("", text), "a.xml").printed).toContain(`: ${message}\n`);
    expect(loadText(domain("", text), "a.xml", { lenient: true })).toMatchObject({ errors: 0 });
  });

  it("gives every problem its XPath", () => {
    const text = domain(
      `${DISK}</disk>${DISK.replaceAll("vda", "vdb").replace("'a'", "'b'")}<encryption/></disk>`,
    );
    expect(loadText(text, "a.xml").printed).toContain("<encryption>");
    expect(loadText(text, "a.xml").elements).toEqual(["/domain/devices/disk[2]/encryption"]);
  });

  it("without memory is told once", () => {
    const text = domain("").replace("<memory>65536</memory>", "");
    const { printed, errors } = loadText(text, "a.xml");
    expect(errors).toBe(1);
    expect(printed).toContain("the domain has no <memory>");
    const unknown = domain("").replace("<memory>", "<memory unit='parsec'>");
    expect(loadText(unknown, "a.xml").errors).toBe(1);
  });

  it.each([
    ["<network><name>default</name></network>", "a.xml:1:1: <network> is no domain of libvirt"],
    ["<domain type='kvm'/>", "a.xml:1:1: the domain has no <name>"],
    [
      "<domain><name>a</name><memory>65536</memory><os><type>hvm</type></os></domain>",
      "a.xml:1:1: <domain> has no type",
    ],
    ["<domain type='xen'><name>a</name></domain>", "a.xml:1:1: <domain>: the type xen is not kvm or qemu"],
    ["<domain type='kvm'><name>a/b</name></domain>", 'a.xml:1:20: <name>: "a/b" is no name for a VM'],
    [
      "<domain type='kvm'><name>Windows 10</name></domain>",
      'a.xml:1:20: <name>: "Windows 10" is no name for a VM of tsvm',
    ],
    ["<domain type='kvm'><uuid>x</uuid></domain>", 'a.xml:1:20: <uuid>: "x" is no UUID'],
    [
      "<domain type='kvm'><memory unit='parsec'>1</memory></domain>",
      'a.xml:1:20: <memory>: "parsec" is no unit',
    ],
    ["<domain type='kvm'><vcpu>0</vcpu></domain>", 'a.xml:1:20: <vcpu>: "0" is no number of processors'],
    [
      "<domain type='kvm'><os><type arch='aarch64'>hvm</type></os></domain>",
      "a.xml:1:24: <type>: tsvm has no machine of the architecture aarch64",
    ],
    [
      "<domain type='kvm'><os><type>hvm</type><boot dev='network'/></os></domain>",
      "a.xml:1:40: <boot>: tsvm boots from disks only, not from network",
    ],
    [
      "<domain type='kvm'><os><type>hvm</type></os></domain>",
      "a.xml:1:1: the domain has neither a kernel nor a disk to boot from",
    ],
  ])("%s", (text, line) => {
    expect(
      loadText(text, "a.xml")
        .printed.split("\n")
        .some((said) => said.startsWith(line)),
    ).toBe(true);
  });
});

describe("hostile XML", () => {
  const ENTITIES = `<!DOCTYPE domain [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`;
  it.each([
    [
      "an entity bomb",
      `${ENTITIES}<domain><name>&b;</name></domain>`,
      "a document type (<!DOCTYPE>) is not read, as it may define entities: take it out",
    ],
    [
      "an external entity",
      `<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>`,
      "a document type (<!DOCTYPE>) is not read, as it may define entities: take it out",
    ],
    ["an unknown entity", "<domain>&x;</domain>", "this is no XML: invalid character entity"],
    ["depth", "<a>".repeat(100_000), "elements are nested more than 32 levels deep"],
    ["many elements", `<a>${"<b/>".repeat(100_000)}</a>`, "there are more than 5000 elements"],
    [
      "many attributes",
      `<a ${Array.from({ length: 60 }, (_, i) => `a${i}='1'`).join(" ")}/>`,
      "an element has more than 50 attributes",
    ],
    ["an attribute twice", "<a x='1' x='2'/>", "this is no XML: the attribute x is there twice"],
    ["control characters", "<a>\x1b[2J</a>", "this is no XML: there is a control character"],
    ["control characters in an attribute", "<a b='\x07'/>", "this is no XML: there is a control character"],
    ["an unclosed element", "<a><b></a>", "this is no XML: unexpected close tag"],
    ["no end", "<a><b>", "this is no XML: unclosed root tag"],
    ["more after the end", "<a/>\nfoo", "this is no XML: text data outside of root node"],
    [
      "names of JavaScript",
      "<domain><__proto__ a='b'/><constructor/></domain>",
      "<constructor> in <domain>: tsvm does not know this element",
    ],
  ])("with %s", (_, text, message) => {
    const { printed, errors } = loadText(text, "a.xml");
    expect(errors).toBeGreaterThan(0);
    expect(printed).toMatch(/^a\.xml:\d+:\d+: /);
    expect(printed).toContain(message);
  });
});
