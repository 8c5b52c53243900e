/** Context IDs, virtio 1.2 section 5.10.4: the host's, and those that guests may have. */
export const HOST_CID = 2;
export const SMALLEST_GUEST_CID = 3;
/** The one after it is VMADDR_CID_ANY of linux/vm_sockets.h. */
export const LARGEST_GUEST_CID = 0xffff_fffe;
