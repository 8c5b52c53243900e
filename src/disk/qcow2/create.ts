/** An empty qcow2 image: what an overlay begins as. */
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";
import { ENTRY_BYTES, HEADER, QCOW2_MAGIC, V3_HEADER_BYTES } from "./format.ts";

const CLUSTER_BITS = 16;
const CLUSTER = 2 ** CLUSTER_BITS;
const REFCOUNT_ORDER = 4;

/**
 * Writes an image of version 3 that shows `size` bytes and holds none of them into an empty file. It names no backing file:
 * whoever opens it says what lies below. Throws an ImageIoError.
 */
export function createQcow2(file: ImageFile, size: number): void {
  const l1Entries = Math.ceil(size / (CLUSTER * (CLUSTER / ENTRY_BYTES)));
  const l1Clusters = Math.max(1, Math.ceil((l1Entries * ENTRY_BYTES) / CLUSTER));
  const clusters = 3 + l1Clusters; // header, refcount table, refcount block, L1 table
  const native = allocateNative(3 * CLUSTER);
  const view = new DataView(native.buffer);
  view.setUint32(HEADER.magic, QCOW2_MAGIC);
  view.setUint32(HEADER.version, 3);
  view.setUint32(HEADER.clusterBits, CLUSTER_BITS);
  setUint64(view, HEADER.size, size);
  view.setUint32(HEADER.l1Size, l1Entries);
  setUint64(view, HEADER.l1TableOffset, 3 * CLUSTER);
  setUint64(view, HEADER.refcountTableOffset, CLUSTER);
  view.setUint32(HEADER.refcountTableClusters, 1);
  view.setUint32(HEADER.refcountOrder, REFCOUNT_ORDER);
  view.setUint32(HEADER.headerLength, V3_HEADER_BYTES);
  setUint64(view, CLUSTER, 2 * CLUSTER);
  for (let cluster = 0; cluster < clusters; cluster++) view.setUint16(2 * CLUSTER + 2 * cluster, 1);
  file.write(native.address, 3 * CLUSTER, 0);
  file.grow(clusters * CLUSTER);
}

function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value % 2 ** 32);
}
