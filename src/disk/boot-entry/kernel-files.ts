/** Kernels without a configuration that names them: the newest first, each with the initrd that its name goes with. */
import type { Candidate } from "./candidate.ts";
import type { ReadableVolume, Search } from "./search.ts";
import { compareVersions } from "./version-compare.ts";

/** Where distributions, live systems and installers have their kernels. */
const DIRECTORIES = [
  "/boot",
  "/",
  "/casper",
  "/live",
  "/install.amd",
  "/images/pxeboot",
  "/isolinux",
  "/arch/boot/x86_64",
  "/boot/x86_64/loader",
];
const MODULE_DIRECTORIES = ["/usr/lib/modules", "/lib/modules"];
const KERNEL_NAME = /^(?:vmlinuz|bzImage|vmlinux|kernel|linux)(?:[-._](.*))?$/i;
/** What goes with a kernel but is none. */
const NOT_A_KERNEL = /\.(?:sig|hmac|efi\.signed|gz|xz|zst|img|map|txt|json|conf|cfg|p7s)$/i;
/** Those that are for emergencies, or were replaced, come last. */
const SECOND_CHOICE = /rescue|recovery|fallback|\.old$|\.bak$/i;

export function* kernelFileCandidates(search: Search): Generator<Candidate> {
  for (const directory of DIRECTORIES) {
    for (const place of search.volumes) yield* directoryCandidates(search, place, directory);
  }
  for (const directory of MODULE_DIRECTORIES) {
    for (const place of search.volumes) yield* moduleCandidates(search, place, directory);
  }
}

function* directoryCandidates(
  search: Search,
  place: ReadableVolume,
  directory: string,
): Generator<Candidate> {
  const names = search.names(place, directory);
  const kernels = names
    .filter((name) => KERNEL_NAME.test(name) && !NOT_A_KERNEL.test(name))
    .map((name) => ({ name, version: KERNEL_NAME.exec(name)![1] ?? "" }))
    .sort((a, b) => compareKernels(b, a));
  for (const { name, version } of kernels) {
    const path = join(directory, name);
    if (search.node(place, path)?.type !== "file") continue;
    const initrd = initrdNames(version).find((candidate) => names.includes(candidate));
    yield candidate(place, path, initrd === undefined ? undefined : join(directory, initrd));
  }
}

/** Kernels that lie with their modules; their initrd is in /boot or with them. */
function* moduleCandidates(search: Search, place: ReadableVolume, directory: string): Generator<Candidate> {
  const versions = search.names(place, directory).sort((a, b) => compareVersions(b, a));
  for (const version of versions) {
    const path = join(directory, `${version}/vmlinuz`);
    if (search.node(place, path)?.type !== "file") continue;
    const initrd = [
      ...initrdNames(version).map((name) => `/boot/${name}`),
      join(directory, `${version}/initrd`),
      join(directory, `${version}/initramfs.img`),
    ].find((name) => search.node(place, name)?.type === "file");
    yield candidate(place, path, initrd);
  }
}

function candidate(place: ReadableVolume, path: string, initrd: string | undefined): Candidate {
  return {
    title: path.replace(/^.*\//, ""),
    id: undefined,
    kind: "kernel-file",
    place,
    path,
    kernel: { place, path },
    initrds: initrd === undefined ? [] : [{ place, path: initrd }],
    commandLine: "",
  };
}

interface Kernel {
  readonly name: string;
  readonly version: string;
}

function compareKernels(a: Kernel, b: Kernel): number {
  const second = Number(SECOND_CHOICE.test(b.name)) - Number(SECOND_CHOICE.test(a.name));
  // A name without version is a link to one of the others, in most places.
  const plain = Number(a.version === "") - Number(b.version === "");
  return second || plain || compareVersions(a.version, b.version) || (a.name < b.name ? -1 : 1);
}

/** Debian, Fedora and Arch, openSUSE, Alpine, and others. */
function initrdNames(version: string): string[] {
  const bases = ["initrd.img", "initramfs", "initrd", "initramfs.img"];
  const suffix = version === "" ? "" : `-${version}`;
  return bases.flatMap((base) => [
    `${base}${suffix}`,
    `${base}${suffix}.img`,
    `${base}${suffix}.gz`,
    `${base}${suffix}.lz`,
  ]);
}

function join(directory: string, name: string): string {
  return `${directory === "/" ? "" : directory}/${name}`;
}
