import { kvm_regs } from "./structs.ts";

/** Where the registers stand among the 64-bit words of a kvm_regs. */
export const kvm_regs_words = kvm_regs.size / 8;
export const RBX = kvm_regs.offset.rbx / 8;
export const RSI = kvm_regs.offset.rsi / 8;
export const RSP = kvm_regs.offset.rsp / 8;
export const RIP = kvm_regs.offset.rip / 8;
export const RFLAGS = kvm_regs.offset.rflags / 8;
