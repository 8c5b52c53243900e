export declare function pvhGuest(code: Uint8Array): Buffer;
export declare const ONE_BYTE_AND_TRIPLE_FAULT: Uint8Array;
export declare const ONE_BYTE_AND_RESET: Uint8Array;
export declare const ONE_BYTE_AND_HALT: Uint8Array;
export declare const ENDLESS_LOOP: Uint8Array;
export declare function portReads(port: number, count: number): Uint8Array;
export declare function mmioReads(address: number, count: number): Uint8Array;
