import { struct, u16, u32, u64 } from "./struct.ts";

/** What fcntl(2) takes for record locks; `l_len` 0 means up to the end of the file, however long it becomes. */
export const flock = struct("flock", { l_type: u16, l_whence: u16, l_start: u64, l_len: u64, l_pid: u32 });
