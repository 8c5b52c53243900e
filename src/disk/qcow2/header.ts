/** The qcow2 header and its extensions: the first cluster of the file, checked before anything else is believed. */
import { DiskError } from "../errors.ts";
import {
  AUTOCLEAR_BITMAPS,
  COMPATIBLE_LAZY_REFCOUNTS,
  ENTRY_BYTES,
  EXTENSION_BACKING_FORMAT,
  EXTENSION_BITMAPS,
  EXTENSION_END,
  EXTENSION_FEATURE_NAMES,
  FEATURE_NAME_BYTES,
  HEADER,
  INCOMPATIBLE_COMPRESSION_TYPE,
  INCOMPATIBLE_CORRUPT,
  INCOMPATIBLE_DATA_FILE,
  INCOMPATIBLE_DIRTY,
  INCOMPATIBLE_EXTENDED_L2,
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MAX_REFCOUNT_ORDER,
  MAX_REFCOUNT_TABLE_BYTES,
  MAX_SNAPSHOTS,
  MIN_CLUSTER_BITS,
  QCOW2_MAGIC,
  V2_HEADER_BYTES,
  V2_REFCOUNT_ORDER,
  V3_HEADER_BYTES,
} from "./format.ts";

export type CompressionType = "zlib" | "zstd";

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes. */
  readonly clusterSize: number;
  /** What the guest sees, in bytes. */
  readonly size: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** A reference count is 2^refcountOrder bits wide. */
  readonly refcountOrder: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  /** Reference counts may be wrong. */
  readonly dirty: boolean;
  /** Anything may be wrong. */
  readonly corrupt: boolean;
  readonly lazyRefcounts: boolean;
  readonly compression: CompressionType;
  /** Whether any autoclear bit is set, and that of the bitmaps. */
  readonly autoclear: boolean;
  readonly bitmapsConsistent: boolean;
  /** How many persistent bitmaps the bitmap extension announces. */
  readonly bitmapCount: number;
  /** As the file has it. */
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
}

/** What a header says that tsvm cannot use, for people. */
const INCOMPATIBLE_NAMES: ReadonlyMap<number, string> = new Map([
  [INCOMPATIBLE_DATA_FILE, "external data file"],
  [INCOMPATIBLE_EXTENDED_L2, "extended L2 entries (subclusters)"],
]);
const KNOWN_INCOMPATIBLE = INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT | INCOMPATIBLE_COMPRESSION_TYPE;
const CRYPT_METHODS: readonly string[] = ["none", "AES", "LUKS"];

/** Whether these first bytes of a file are a qcow2 header's. */
export function isQcow2(head: Uint8Array): boolean {
  return head.length >= 4 && viewOf(head).getUint32(0) === QCOW2_MAGIC;
}

/** How much of the file {@link parseHeader} wants, given its first 512 bytes or less. */
export function headerBytes(path: string, head: Uint8Array): number {
  if (head.length < V2_HEADER_BYTES) throw damaged(path, "it ends within its header");
  return 2 ** readClusterBits(path, viewOf(head));
}

/**
 * @param bytes The first cluster, or less if the file ends within it.
 * @param fileSize Bytes.
 * Throws a DiskError for what is not well-formed and for what tsvm does not support.
 */
export function parseHeader(path: string, bytes: Uint8Array, fileSize: number): Qcow2Header {
  if (bytes.length < V2_HEADER_BYTES) throw damaged(path, "it ends within its header");
  const view = viewOf(bytes);
  if (view.getUint32(HEADER.magic) !== QCOW2_MAGIC) throw damaged(path, "it is not a qcow2 image");
  const version = view.getUint32(HEADER.version);
  if (version !== 2 && version !== 3) {
    throw new DiskError(path, `is a qcow image of version ${version}; tsvm knows 2 and 3`, convertHint(path));
  }
  const clusterBits = readClusterBits(path, view);
  const clusterSize = 2 ** clusterBits;
  const v3 = version === 3;
  const headerLength = v3 ? headerLengthOf(path, view, clusterSize) : V2_HEADER_BYTES;
  const incompatible = v3 ? view.getUint32(HEADER.incompatibleFeatures + 4) : 0;
  const incompatibleHigh = v3 ? view.getUint32(HEADER.incompatibleFeatures) : 0;
  const compatible = v3 ? view.getUint32(HEADER.compatibleFeatures + 4) : 0;
  const autoclear = v3 ? view.getUint32(HEADER.autoclearFeatures + 4) : 0;
  const autoclearHigh = v3 ? view.getUint32(HEADER.autoclearFeatures) : 0;
  const backingOffset = readOffset(path, view, HEADER.backingFileOffset, "backing file name");
  const extensions = readExtensions(path, bytes, headerLength, backingOffset);

  refuseFeatures(path, incompatible, incompatibleHigh, extensions.featureNames);
  refuseEncryption(path, view.getUint32(HEADER.cryptMethod));
  const refcountOrder = v3 ? view.getUint32(HEADER.refcountOrder) : V2_REFCOUNT_ORDER;
  if (refcountOrder > MAX_REFCOUNT_ORDER) throw damaged(path, `reference counts of 2^${refcountOrder} bits`);

  const size = readOffset(path, view, HEADER.size, "virtual size");
  const l1Entries = view.getUint32(HEADER.l1Size);
  const l1Offset = readOffset(path, view, HEADER.l1TableOffset, "L1 table");
  const within = { path, clusterSize, fileSize };
  checkTable(within, "L1 table", l1Offset, l1Entries * ENTRY_BYTES, MAX_L1_BYTES);
  const l1Needed = Math.ceil(size / (clusterSize * (clusterSize / ENTRY_BYTES)));
  if (l1Needed > MAX_L1_BYTES / ENTRY_BYTES) {
    throw damaged(path, `a virtual size of ${size} bytes is too large for its cluster size`);
  }
  if (l1Entries < l1Needed) {
    throw damaged(path, `its L1 table has ${l1Entries} entries and needs ${l1Needed}`);
  }
  const refcountTableOffset = readOffset(path, view, HEADER.refcountTableOffset, "refcount table");
  const refcountTableClusters = view.getUint32(HEADER.refcountTableClusters);
  if (refcountTableClusters === 0) throw damaged(path, "it has no refcount table");
  checkTable(
    within,
    "refcount table",
    refcountTableOffset,
    refcountTableClusters * clusterSize,
    Math.max(MAX_REFCOUNT_TABLE_BYTES, clusterSize),
  );
  const snapshotCount = view.getUint32(HEADER.snapshotCount);
  if (snapshotCount > MAX_SNAPSHOTS) throw damaged(path, `it claims ${snapshotCount} snapshots`);
  const snapshotsOffset = readOffset(path, view, HEADER.snapshotsOffset, "snapshot table");
  if (snapshotCount > 0) checkTable(within, "snapshot table", snapshotsOffset, snapshotCount * 40, Infinity);

  return {
    version,
    clusterBits,
    clusterSize,
    size,
    l1Entries,
    l1Offset,
    refcountTableOffset,
    refcountTableClusters,
    refcountOrder,
    snapshotCount,
    snapshotsOffset,
    dirty: (incompatible & INCOMPATIBLE_DIRTY) !== 0,
    corrupt: (incompatible & INCOMPATIBLE_CORRUPT) !== 0,
    lazyRefcounts: (compatible & COMPATIBLE_LAZY_REFCOUNTS) !== 0,
    compression: compressionOf(path, bytes, headerLength, incompatible),
    autoclear: autoclear !== 0 || autoclearHigh !== 0,
    bitmapsConsistent: (autoclear & AUTOCLEAR_BITMAPS) !== 0,
    bitmapCount: extensions.bitmapCount,
    backingFile: readBackingFile(path, bytes, clusterSize, backingOffset),
    backingFormat: extensions.backingFormat,
  };
}

function readClusterBits(path: string, view: DataView): number {
  const bits = view.getUint32(HEADER.clusterBits);
  if (bits < MIN_CLUSTER_BITS || bits > MAX_CLUSTER_BITS) {
    throw damaged(path, `clusters of 2^${bits} bytes; between 2^9 and 2^21 are possible`);
  }
  return bits;
}

function headerLengthOf(path: string, view: DataView, clusterSize: number): number {
  const length = view.byteLength >= V3_HEADER_BYTES ? view.getUint32(HEADER.headerLength) : 0;
  if (length < V3_HEADER_BYTES || length % 8 !== 0 || length > Math.min(clusterSize, view.byteLength)) {
    throw damaged(path, `its header claims to be ${length} bytes long`);
  }
  return length;
}

/** A 64-bit number that a file of this world can have. */
function readOffset(path: string, view: DataView, at: number, what: string): number {
  const value = view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
  if (value > Number.MAX_SAFE_INTEGER) throw damaged(path, `${what}: ${value} is out of range`);
  return value;
}

/** A table starts at a cluster boundary, behind the header, and in the file; it may end in the file's last, partial cluster. */
function checkTable(
  { path, clusterSize, fileSize }: { path: string; clusterSize: number; fileSize: number },
  what: string,
  offset: number,
  bytes: number,
  most: number,
): void {
  if (bytes > most) throw damaged(path, `its ${what} claims ${bytes} bytes`);
  if (bytes === 0) return;
  if (offset === 0 || offset % clusterSize !== 0) throw damaged(path, `its ${what} is at ${offset}`);
  if (offset + bytes > Math.ceil(fileSize / clusterSize) * clusterSize) {
    throw damaged(path, `its ${what} lies behind the end of the file`);
  }
}

interface Extensions {
  backingFormat: string | undefined;
  /** Names of incompatible features, by bit. */
  featureNames: Map<number, string>;
  bitmapCount: number;
}

function readExtensions(path: string, bytes: Uint8Array, start: number, backingOffset: number): Extensions {
  const found: Extensions = { backingFormat: undefined, featureNames: new Map(), bitmapCount: 0 };
  const view = viewOf(bytes);
  const end = backingOffset > start ? Math.min(backingOffset, bytes.length) : bytes.length;
  for (let at = start; at + 8 <= end;) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === EXTENSION_END) break;
    at += 8;
    if (length > end - at) throw damaged(path, `header extension 0x${type.toString(16)} is too long`);
    const data = bytes.subarray(at, at + length);
    if (type === EXTENSION_BACKING_FORMAT) found.backingFormat = text(data);
    else if (type === EXTENSION_FEATURE_NAMES) readFeatureNames(data, found.featureNames);
    else if (type === EXTENSION_BITMAPS && length >= 4) found.bitmapCount = view.getUint32(at);
    at += Math.ceil(length / 8) * 8;
  }
  return found;
}

function readFeatureNames(data: Uint8Array, names: Map<number, string>): void {
  for (let at = 0; at + FEATURE_NAME_BYTES <= data.length; at += FEATURE_NAME_BYTES) {
    const [kind, bit] = [data[at], data[at + 1]!];
    if (kind === 0) names.set(bit, text(data.subarray(at + 2, at + FEATURE_NAME_BYTES)));
  }
}

/** Up to the first NUL, without what would confuse a terminal. */
function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder()
    .decode(end < 0 ? bytes : bytes.subarray(0, end))
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}]/gu, "?");
}

function refuseFeatures(path: string, low: number, high: number, names: ReadonlyMap<number, string>): void {
  const unknown: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    const set = bit < 32 ? ((low >>> bit) & 1) !== 0 : ((high >>> (bit - 32)) & 1) !== 0;
    if (!set || (bit < 32 && ((KNOWN_INCOMPATIBLE >>> bit) & 1) !== 0)) continue;
    const ours = bit < 32 ? INCOMPATIBLE_NAMES.get(1 << bit) : undefined;
    unknown.push(ours ?? names.get(bit) ?? `incompatible feature bit ${bit}`);
  }
  if (unknown.length === 0) return;
  throw new DiskError(path, `uses what tsvm does not support: ${unknown.join(", ")}`, convertHint(path));
}

function refuseEncryption(path: string, method: number): void {
  if (method === 0) return;
  const name = CRYPT_METHODS[method] ?? `method ${method}`;
  throw new DiskError(
    path,
    `is encrypted (${name}), which tsvm does not support`,
    "decrypt it into a new image with qemu-img convert, or use encryption inside the guest",
  );
}

function compressionOf(
  path: string,
  bytes: Uint8Array,
  headerLength: number,
  incompatible: number,
): CompressionType {
  const type = headerLength > HEADER.compressionType ? bytes[HEADER.compressionType]! : 0;
  const flagged = (incompatible & INCOMPATIBLE_COMPRESSION_TYPE) !== 0;
  if (flagged !== (type !== 0)) throw damaged(path, "its compression type contradicts its feature bit");
  if (type > 1) {
    throw new DiskError(path, `uses compression type ${type}; tsvm knows zlib and zstd`, convertHint(path));
  }
  return type === 0 ? "zlib" : "zstd";
}

function readBackingFile(
  path: string,
  bytes: Uint8Array,
  clusterSize: number,
  offset: number,
): string | undefined {
  if (offset === 0) return undefined;
  const length = viewOf(bytes).getUint32(HEADER.backingFileSize);
  if (length === 0) return undefined;
  if (length > MAX_BACKING_NAME_BYTES || offset > clusterSize || length > clusterSize - offset) {
    throw damaged(path, "the name of its backing file is too long");
  }
  if (offset + length > bytes.length) throw damaged(path, "it ends within the name of its backing file");
  let name: string;
  try {
    name = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(offset, offset + length));
  } catch {
    throw damaged(path, "the name of its backing file is not UTF-8");
  }
  if (name.includes("\0")) throw damaged(path, "the name of its backing file has a NUL in it");
  return name;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function convertHint(path: string): string {
  return `convert it: tsvm image convert ${path} NEW.qcow2`;
}

function damaged(path: string, problem: string): DiskError {
  return new DiskError(path, `is a damaged qcow2 image: ${problem}`, `tsvm image check ${path} tells more`);
}
