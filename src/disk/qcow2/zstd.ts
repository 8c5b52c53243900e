/** Zstandard through the C library, which is there wherever dpkg is. Node has none of its own before 22.15. */
import koffi from "koffi";

const LIBRARY = "libzstd.so.1";

export interface Zstd {
  /**
   * Unpacks frames from `length` bytes at `source` until `size` bytes are at `target`; what follows is ignored.
   * False if the data is damaged.
   */
  unpack(target: number, size: number, source: number, length: number): boolean;
}

let loaded: Zstd | undefined;

/** Undefined where the library is missing. */
export function loadZstd(): Zstd | undefined {
  loaded ??= bind();
  return loaded;
}

function bind(): Zstd | undefined {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load(LIBRARY);
  } catch {
    return undefined;
  }
  type Call = (...args: number[]) => number | bigint;
  const createContext = library.func("uintptr_t ZSTD_createDCtx()") as unknown as Call;
  const frameSize = library.func(
    "size_t ZSTD_findFrameCompressedSize(uintptr_t source, size_t length)",
  ) as unknown as Call;
  const decompress = library.func(
    "size_t ZSTD_decompressDCtx(uintptr_t context, uintptr_t target, size_t size, uintptr_t source, size_t length)",
  ) as unknown as Call;
  // One context per thread, for as long as that lives.
  const context = Number(createContext());
  if (context === 0) return undefined;
  return {
    unpack(target, size, source, length) {
      for (let done = 0, used = 0; done < size;) {
        // Error codes are the last values below 2^64, which arrive as BigInt.
        const frame = frameSize(source + used, length - used);
        if (typeof frame === "bigint" || frame === 0) return false;
        const got = decompress(context, target + done, size - done, source + used, frame);
        if (typeof got === "bigint" || got === 0) return false;
        done += got;
        used += frame;
      }
      return true;
    },
  };
}
