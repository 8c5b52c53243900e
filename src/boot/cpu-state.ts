/** The processor state a boot protocol prescribes, as plain data: the KVM layer applies it to the first vCPU. */

/** A segment register with its hidden part. Field names and meanings as in `struct kvm_segment`. */
export interface InitialSegment {
  selector: number;
  base: number;
  /** Highest offset in bytes, whatever `g` says. */
  limit: number;
  type: number;
  present: 0 | 1;
  dpl: number;
  db: 0 | 1;
  s: 0 | 1;
  l: 0 | 1;
  g: 0 | 1;
}

export type BootProtocol = "linux64" | "pvh";

export interface InitialCpuState {
  protocol: BootProtocol;
  rip: number;
  rsp: number;
  rbx: number;
  rsi: number;
  rflags: number;
  cr0: number;
  cr3: number;
  cr4: number;
  efer: number;
  gdt: { base: number; limit: number };
  idt: { base: number; limit: number };
  cs: InitialSegment;
  /** For ds, es, ss, fs and gs. */
  data: InitialSegment;
  tr: InitialSegment;
}
