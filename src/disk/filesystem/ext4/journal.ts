/**
 * The journal, jbd2: kernel document filesystems/ext4/journal.rst. Numbers are big-endian. A transaction is a series of
 * descriptor blocks, each followed by the blocks that it describes, and revoke blocks, which say what must not be replayed,
 * then a commit block. What has no commit block did not happen.
 */
import { viewOf } from "../../source/block-reader.ts";
import { crc32be, crc32c } from "../checksums.ts";
import { FilesystemError } from "../errors.ts";
import type { Replacement } from "./recovered-reader.ts";
import { damaged, readBlock, type ExtVolume } from "./volume.ts";

const MAGIC = 0xc03b_3998;
const DESCRIPTOR_BLOCK = 1;
const COMMIT_BLOCK = 2;
const SUPERBLOCK_V1 = 3;
const SUPERBLOCK_V2 = 4;
const REVOKE_BLOCK = 5;

const COMPAT_CHECKSUM = 0x1;
const INCOMPAT_REVOKE = 0x1;
const INCOMPAT_64BIT = 0x2;
const INCOMPAT_ASYNC_COMMIT = 0x4;
const INCOMPAT_CSUM_V2 = 0x8;
const INCOMPAT_CSUM_V3 = 0x10;
const INCOMPAT_FAST_COMMIT = 0x20;
const INCOMPAT_READABLE =
  INCOMPAT_REVOKE |
  INCOMPAT_64BIT |
  INCOMPAT_ASYNC_COMMIT |
  INCOMPAT_CSUM_V2 |
  INCOMPAT_CSUM_V3 |
  INCOMPAT_FAST_COMMIT;

const TAG_ESCAPED = 1;
const TAG_SAME_UUID = 2;
const TAG_LAST = 8;

const HEADER_SIZE = 12;
const REVOKE_HEADER_SIZE = 16;
const CHECKSUM_TAIL_SIZE = 4;
const SUPERBLOCK_SIZE = 1024;
const SUPERBLOCK_CHECKSUM_OFFSET = 252;
const COMMIT_CHECKSUM_TYPE_OFFSET = 12;
const COMMIT_CHECKSUM_OFFSET = 16;
const CRC32_TYPE = 1;
const UUID_SIZE = 16;
const DEFAULT_FAST_COMMIT_BLOCKS = 256;
/** Far beyond what file systems need: a bound for memory. */
const MAX_REVOKES = 4_000_000;
const FAST_COMMIT_HEAD_TAG = 9;

interface Tag {
  readonly target: number;
  readonly flags: number;
  readonly checksum: number;
}

interface LoggedBlock extends Tag {
  /** Block of the journal. */
  readonly journalBlock: number;
  readonly sequence: number;
}

export class Journal {
  readonly #volume: ExtVolume;
  readonly #physical: (block: number) => number | undefined;
  readonly #first: number;
  /** The end of the log: it goes on at `first`. */
  readonly #end: number;
  readonly #start: number;
  readonly #sequence: number;
  readonly #compat: number;
  readonly #incompat: number;
  readonly #seed: number;
  readonly #fastCommitBlocks: number;

  /**
   * @param blocks How many the journal has.
   * @param physical Where on the disk a block of the journal lies; undefined if nowhere.
   */
  constructor(volume: ExtVolume, blocks: number, physical: (block: number) => number | undefined) {
    this.#volume = volume;
    this.#physical = physical;
    const { superblock } = volume;
    const bytes = this.#block(0).subarray(0, SUPERBLOCK_SIZE);
    const view = viewOf(bytes);
    const type = view.getUint32(4);
    if (view.getUint32(0) !== MAGIC || (type !== SUPERBLOCK_V1 && type !== SUPERBLOCK_V2)) {
      throw this.#damaged("no magic number");
    }
    const v2 = type === SUPERBLOCK_V2;
    this.#compat = v2 ? view.getUint32(36) : 0;
    this.#incompat = v2 ? view.getUint32(40) : 0;
    if ((this.#incompat & ~INCOMPAT_READABLE) !== 0) {
      throw new FilesystemError(
        volume.reader.name,
        `its journal has features that tsvm does not know (0x${this.#incompat.toString(16)}), and must be replayed`,
        "mount it once, or run e2fsck on it",
      );
    }
    this.#seed = crc32c(0xffff_ffff, bytes.subarray(48, 64));
    if (this.#hasChecksums) {
      const cleared = bytes.slice();
      cleared.fill(0, SUPERBLOCK_CHECKSUM_OFFSET, SUPERBLOCK_CHECKSUM_OFFSET + 4);
      if (crc32c(0xffff_ffff, cleared) !== view.getUint32(SUPERBLOCK_CHECKSUM_OFFSET)) {
        throw this.#damaged("wrong checksum");
      }
    }
    const maxlen = view.getUint32(16);
    this.#first = view.getUint32(20);
    this.#sequence = view.getUint32(24);
    this.#start = view.getUint32(28);
    const fastCommit = (this.#incompat & INCOMPAT_FAST_COMMIT) !== 0;
    this.#fastCommitBlocks = fastCommit ? view.getUint32(84) || DEFAULT_FAST_COMMIT_BLOCKS : 0;
    this.#end = maxlen - this.#fastCommitBlocks;
    if (view.getUint32(12) !== superblock.blockSize)
      throw this.#damaged("its block size is not the file system's");
    if (maxlen > blocks || this.#first < 1 || this.#end <= this.#first)
      throw this.#damaged("impossible size");
    if (this.#start !== 0 && (this.#start < this.#first || this.#start >= this.#end)) {
      throw this.#damaged("it starts outside of itself");
    }
  }

  /** Which blocks of the file system the complete transactions replace. Reads the log once, and at most once around. */
  scan(): { replaced: ReadonlyMap<number, Replacement>; warnings: readonly string[] } {
    const replaced = new Map<number, Replacement>();
    const warnings: string[] = [];
    if (this.#start === 0) {
      // Nothing to replay: it was unmounted but for the mark, or only fast commits followed.
      this.#warnOfFastCommits(this.#sequence, warnings);
      return { replaced, warnings };
    }
    const logged: LoggedBlock[] = [];
    /** The last transaction that revoked a block. */
    const revoked = new Map<number, number>();
    let sequence = this.#sequence;
    let pendingBlocks: LoggedBlock[] = [];
    let pendingRevokes = new Set<number>();
    /** Of the simple checksums that came before version 2. */
    let crc = 0xffff_ffff;
    let at = this.#start;
    let left = this.#end - this.#first;
    /** Steps over `count` blocks; false when the log has been gone through. */
    const advance = (count: number): boolean => {
      left -= count;
      at += count;
      if (at >= this.#end) at -= this.#end - this.#first;
      return left > 0;
    };
    let going = true;
    while (going) {
      const bytes = this.#block(at);
      const view = viewOf(bytes);
      if (view.getUint32(0) !== MAGIC || view.getUint32(8) !== sequence) break;
      const type = view.getUint32(4);
      if (type === DESCRIPTOR_BLOCK) {
        if (!this.#hasIntactTail(bytes)) {
          warnings.push(
            `the journal has a damaged transaction (${sequence}), which is left out with all after it`,
          );
          break;
        }
        const tags = this.#tags(bytes);
        if (tags.length >= left) throw this.#damaged("a transaction is longer than the journal");
        crc = crc32be(crc, bytes);
        for (const tag of tags) {
          going = advance(1);
          pendingBlocks.push({ ...tag, journalBlock: at, sequence });
          if ((this.#compat & COMPAT_CHECKSUM) !== 0) crc = crc32be(crc, this.#block(at));
        }
        going = advance(1);
      } else if (type === REVOKE_BLOCK) {
        if (!this.#hasIntactTail(bytes)) {
          warnings.push(
            `the journal has a damaged transaction (${sequence}), which is left out with all after it`,
          );
          break;
        }
        for (const block of this.#revokes(bytes)) pendingRevokes.add(block);
        if (revoked.size + pendingRevokes.size > MAX_REVOKES)
          throw this.#damaged("it revokes more than it could hold");
        going = advance(1);
      } else if (type === COMMIT_BLOCK) {
        if (!this.#commitIsIntact(bytes, crc)) {
          warnings.push(`the journal's last transaction (${sequence}) is incomplete and left out`);
          break;
        }
        for (const block of pendingBlocks) logged.push(block);
        for (const block of pendingRevokes) revoked.set(block, sequence);
        pendingBlocks = [];
        pendingRevokes = new Set();
        crc = 0xffff_ffff;
        sequence = (sequence + 1) >>> 0;
        going = advance(1);
      } else {
        break;
      }
    }
    for (const block of logged) {
      const revokedIn = revoked.get(block.target);
      if (revokedIn !== undefined && !isLater(block.sequence, revokedIn)) continue;
      const physical = this.#verifiedBlock(block);
      replaced.set(block.target, { block: physical, escaped: (block.flags & TAG_ESCAPED) !== 0 });
    }
    this.#warnOfFastCommits(sequence, warnings);
    return { replaced, warnings };
  }

  get #hasChecksums(): boolean {
    return (this.#incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3)) !== 0;
  }

  #tags(bytes: Uint8Array): Tag[] {
    const view = viewOf(bytes);
    const v3 = (this.#incompat & INCOMPAT_CSUM_V3) !== 0;
    const is64 = (this.#incompat & INCOMPAT_64BIT) !== 0;
    // journal_block_tag_s; version 2 added two bytes without need.
    const size = v3 ? 16 : 8 + ((this.#incompat & INCOMPAT_CSUM_V2) !== 0 ? 2 : 0) + (is64 ? 4 : 0);
    const end = bytes.length - (this.#hasChecksums ? CHECKSUM_TAIL_SIZE : 0);
    const tags: Tag[] = [];
    for (let at = HEADER_SIZE; at + size <= end;) {
      const flags = v3 ? view.getUint32(at + 4) : view.getUint16(at + 6);
      const target = view.getUint32(at) + (is64 ? view.getUint32(at + 8) * 2 ** 32 : 0);
      const checksum = v3 ? view.getUint32(at + 12) : view.getUint16(at + 4);
      tags.push({ target, flags, checksum });
      at += size;
      if ((flags & TAG_SAME_UUID) === 0) at += UUID_SIZE;
      if ((flags & TAG_LAST) !== 0) break;
    }
    return tags;
  }

  #revokes(bytes: Uint8Array): number[] {
    const view = viewOf(bytes);
    const is64 = (this.#incompat & INCOMPAT_64BIT) !== 0;
    const size = is64 ? 8 : 4;
    const end = view.getUint32(HEADER_SIZE);
    if (end > bytes.length - (this.#hasChecksums ? CHECKSUM_TAIL_SIZE : 0)) {
      throw this.#damaged("a revoke block is longer than a block");
    }
    const blocks: number[] = [];
    for (let at = REVOKE_HEADER_SIZE; at + size <= end; at += size) {
      blocks.push(is64 ? view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4) : view.getUint32(at));
    }
    return blocks;
  }

  /** Descriptor and revoke blocks have a checksum in their last four bytes. */
  #hasIntactTail(bytes: Uint8Array): boolean {
    if (!this.#hasChecksums) return true;
    const cleared = bytes.slice();
    cleared.fill(0, bytes.length - CHECKSUM_TAIL_SIZE);
    return crc32c(this.#seed, cleared) === viewOf(bytes).getUint32(bytes.length - CHECKSUM_TAIL_SIZE);
  }

  #commitIsIntact(bytes: Uint8Array, crc: number): boolean {
    const view = viewOf(bytes);
    const stored = view.getUint32(COMMIT_CHECKSUM_OFFSET);
    if (this.#hasChecksums) {
      const cleared = bytes.slice();
      cleared.fill(0, COMMIT_CHECKSUM_OFFSET, COMMIT_CHECKSUM_OFFSET + 4);
      return crc32c(this.#seed, cleared) === stored;
    }
    if ((this.#compat & COMPAT_CHECKSUM) === 0) return true;
    const type = view.getUint8(COMMIT_CHECKSUM_TYPE_OFFSET);
    // Written before the feature was on.
    if (type === 0 && stored === 0) return true;
    return type === CRC32_TYPE && stored === crc;
  }

  #verifiedBlock({ journalBlock, sequence, target, checksum }: LoggedBlock): number {
    const physical = this.#physicalOrThrow(journalBlock);
    if (target >= this.#volume.superblock.blocks)
      throw this.#damaged(`it has a block ${target} of the file system`);
    if (this.#hasChecksums) {
      const number = Uint8Array.of(sequence >>> 24, sequence >>> 16, sequence >>> 8, sequence);
      const crc = crc32c(crc32c(this.#seed, number), this.#block(journalBlock));
      const expected = (this.#incompat & INCOMPAT_CSUM_V3) !== 0 ? crc : crc & 0xffff;
      if (expected !== checksum) throw this.#damaged(`wrong checksum of what it has for block ${target}`);
    }
    return physical;
  }

  /**
   * Fast commits are small records in an area of their own. They describe changes instead of having blocks, and are not
   * replayed here.
   */
  #warnOfFastCommits(sequence: number, warnings: string[]): void {
    if (this.#fastCommitBlocks === 0) return;
    const view = viewOf(this.#block(this.#end));
    // Tag, length, features, transaction; little-endian.
    if (view.getUint16(0, true) === FAST_COMMIT_HEAD_TAG && view.getUint32(8, true) === sequence) {
      warnings.push(
        "the journal has fast commits, which tsvm does not replay: what is read may be seconds out of date",
      );
    }
  }

  #block(journalBlock: number): Uint8Array {
    return readBlock(this.#volume, this.#physicalOrThrow(journalBlock), "the journal");
  }

  #physicalOrThrow(journalBlock: number): number {
    const physical = this.#physical(journalBlock);
    if (physical === undefined) throw this.#damaged("it has a hole");
    return physical;
  }

  #damaged(what: string): FilesystemError {
    return damaged(this.#volume.reader.name, `journal: ${what}`);
  }
}

/** Sequence numbers wrap around. */
function isLater(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}
