/**
 * A bounded cache of table slices: parts of L2 tables or of refcount blocks, as they are in the file (big-endian). Slices are
 * read on demand and written back when their owner says so; only the owner knows in which order that is safe.
 */
import type { NativeBuffer } from "../../ffi/native-buffer.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";

/** No slice there. */
export const NONE = -1;

export class SliceCache {
  readonly sliceBytes: number;
  readonly slots: number;
  /** All slots, one after the other: slot n begins at n * sliceBytes. */
  readonly view: DataView;
  readonly #file: ImageFile;
  readonly #native: NativeBuffer;
  readonly #slotByKey = new Map<number, number>();
  readonly #keys: Float64Array;
  readonly #offsets: Float64Array;
  readonly #dirty: Uint8Array;
  /** Second chance: set on use, cleared by the hand that looks for a victim. */
  readonly #recent: Uint8Array;
  #dirtySlots: number[] = [];
  #filled = 0;
  #hand = 0;

  /** Memory is taken only as slices come in, `slots * sliceBytes` at most. */
  constructor(file: ImageFile, sliceBytes: number, slots: number) {
    this.#file = file;
    this.sliceBytes = sliceBytes;
    this.slots = slots;
    this.#native = allocateNative(slots * sliceBytes);
    this.view = new DataView(this.#native.buffer);
    this.#keys = new Float64Array(slots).fill(NONE);
    this.#offsets = new Float64Array(slots);
    this.#dirty = new Uint8Array(slots);
    this.#recent = new Uint8Array(slots);
  }

  get dirtyCount(): number {
    return this.#dirtySlots.length;
  }

  /** The slot that holds slice `key`, or NONE. */
  find(key: number): number {
    const slot = this.#slotByKey.get(key);
    if (slot === undefined) return NONE;
    this.#recent[slot] = 1;
    return slot;
  }

  /** Reads slice `key` from the file. NONE if all slots are dirty: the owner writes back first. Throws an ImageIoError. */
  load(key: number, offset: number): number {
    const slot = this.#victim();
    if (slot === NONE) return NONE;
    this.#file.read(this.#native.address + slot * this.sliceBytes, this.sliceBytes, offset);
    this.#keys[slot] = key;
    this.#offsets[slot] = offset;
    this.#recent[slot] = 1;
    this.#slotByKey.set(key, slot);
    return slot;
  }

  markDirty(slot: number): void {
    if (this.#dirty[slot] === 1) return;
    this.#dirty[slot] = 1;
    this.#dirtySlots.push(slot);
  }

  /** Slice `key`, if it is here, belongs to another place of the file from now on. */
  move(key: number, offset: number): void {
    const slot = this.#slotByKey.get(key);
    if (slot !== undefined) this.#offsets[slot] = offset;
  }

  /** Writes all dirty slices. After an ImageIoError those not written are still dirty. */
  writeBack(): void {
    while (this.#dirtySlots.length > 0) {
      const slot = this.#dirtySlots.at(-1)!;
      this.#file.write(this.#native.address + slot * this.sliceBytes, this.sliceBytes, this.#offsets[slot]!);
      this.#dirty[slot] = 0;
      this.#dirtySlots.pop();
    }
  }

  #victim(): number {
    if (this.#filled < this.slots) return this.#filled++;
    for (let tries = 2 * this.slots; tries > 0; tries--) {
      const slot = this.#hand;
      this.#hand = (slot + 1) % this.slots;
      if (this.#dirty[slot] === 1) continue;
      if (this.#recent[slot] === 1) {
        this.#recent[slot] = 0;
        continue;
      }
      this.#slotByKey.delete(this.#keys[slot]!);
      this.#keys[slot] = NONE; // should reading the new one fail
      return slot;
    }
    return NONE;
  }
}
