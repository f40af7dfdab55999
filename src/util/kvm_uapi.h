/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's uAPI as this project uses it: <linux/kvm.h> of the machine, and what
 * kernels newer than its headers (Debian 12: 6.1) added.  Numbers and layouts:
 * Linux 6.12 include/uapi/linux/kvm.h; in-place conversion: v8 of the
 * guest_memfd series on the kvm list (June 2026), and v4 (March 2026) where that
 * has a VM ioctl.  Every number that is not in the oldest supported header
 * stands here and nowhere else.
 */
#ifndef UTIL_KVM_UAPI_H
#define UTIL_KVM_UAPI_H

#include <linux/kvm.h>
#include <stddef.h>

/* VM types, the argument of KVM_CREATE_VM. */
#ifndef KVM_X86_DEFAULT_VM
#define KVM_X86_DEFAULT_VM 0
#endif
#ifndef KVM_X86_SW_PROTECTED_VM
#define KVM_X86_SW_PROTECTED_VM 1
#endif
#ifndef KVM_X86_SEV_VM
#define KVM_X86_SEV_VM 2
#define KVM_X86_SEV_ES_VM 3
/* Came with them; the old header's list of commands ends before it. */
enum { KVM_SEV_INIT2 = 22 };
struct kvm_sev_init {
    __u64 vmsa_features;
    __u32 flags;
    __u16 ghcb_version;
    __u16 pad1;
    __u32 pad2[8];
};
#endif
#ifndef KVM_X86_GRP_SEV
#define KVM_X86_GRP_SEV 1
#define KVM_X86_SEV_VMSA_FEATURES 0
#endif
#ifndef KVM_X86_SNP_VM
#define KVM_X86_SNP_VM 4
#endif
#ifndef KVM_X86_TDX_VM
#define KVM_X86_TDX_VM 5
#endif

/* Quirks. */
#ifndef KVM_X86_QUIRK_SLOT_ZAP_ALL
#define KVM_X86_QUIRK_SLOT_ZAP_ALL (1 << 7)
#endif

/* Capabilities: answer of KVM_CHECK_EXTENSION in docs/kvm-api.md. */
#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2 231
#define KVM_CAP_MEMORY_FAULT_INFO 232
#define KVM_CAP_MEMORY_ATTRIBUTES 233
#define KVM_CAP_GUEST_MEMFD 234
#define KVM_CAP_VM_TYPES 235
#endif
#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif
#ifndef KVM_CAP_X86_APIC_BUS_CYCLES_NS
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS 237
#endif
#ifndef KVM_CAP_GUEST_MEMFD_FLAGS
#define KVM_CAP_GUEST_MEMFD_FLAGS 244
#endif
/*
 * v3 and v4 of the series: KVM_SET_MEMORY_ATTRIBUTES2 as a VM ioctl.  Later the
 * number became one of s390's, which is 0 on x86.
 */
#ifndef KVM_CAP_MEMORY_ATTRIBUTES2
#define KVM_CAP_MEMORY_ATTRIBUTES2 248
#endif
/* v8 of the series; other series claim 250 too, so a client believes only the exact mask. */
#ifndef KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES
#define KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES 250
#endif

/* Memory slots with a guest_memfd. */
#ifndef KVM_SET_USER_MEMORY_REGION2
struct kvm_userspace_memory_region2 {
    __u32 slot;
    __u32 flags;
    __u64 guest_phys_addr;
    __u64 memory_size;
    __u64 userspace_addr;
    __u64 guest_memfd_offset;
    __u32 guest_memfd;
    __u32 pad1;
    __u64 pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#endif
#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD (1UL << 2)
#endif

#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
    __u64 size;
    __u64 flags;
    __u64 reserved[6];
};
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif
#ifndef GUEST_MEMFD_FLAG_MMAP
#define GUEST_MEMFD_FLAG_MMAP (1ULL << 0)
#define GUEST_MEMFD_FLAG_INIT_SHARED (1ULL << 1)
#endif

/* Private or shared: per VM, and per guest_memfd. */
#ifndef KVM_SET_MEMORY_ATTRIBUTES
struct kvm_memory_attributes {
    __u64 address;
    __u64 size;
    __u64 attributes;
    __u64 flags;
};
#define KVM_SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, struct kvm_memory_attributes)
#endif
#ifndef KVM_MEMORY_ATTRIBUTE_PRIVATE
#define KVM_MEMORY_ATTRIBUTE_PRIVATE (1ULL << 3)
#endif
#ifndef KVM_SET_MEMORY_ATTRIBUTES2
struct kvm_memory_attributes2 {
    union {
        __u64 address;
        __u64 offset;
    };
    __u64 size;
    __u64 attributes;
    __u64 flags;
    __u64 error_offset;         /* the VM ioctl of v3 and v4: reserved, too */
    __u64 reserved[11];
};
#define KVM_SET_MEMORY_ATTRIBUTES2 _IOWR(KVMIO, 0xd2, struct kvm_memory_attributes2)
#endif

/* Exits and hypercalls. */
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif
#ifndef KVM_MEMORY_EXIT_FLAG_PRIVATE
#define KVM_MEMORY_EXIT_FLAG_PRIVATE (1ULL << 3)
#endif
#ifndef KVM_HC_MAP_GPA_RANGE
#define KVM_HC_MAP_GPA_RANGE 12
#endif
#define KVM_MAP_GPA_RANGE_ENCRYPTED_BIT (1ULL << 4)

/* struct kvm_run's memory_fault member, which the old header's union lacks. */
struct kvm_exit_memory_fault {
    __u64 flags;
    __u64 gpa;
    __u64 size;
};

#ifndef KVM_PRE_FAULT_MEMORY
struct kvm_pre_fault_memory {
    __u64 gpa;
    __u64 size;
    __u64 flags;
    __u64 padding[5];
};
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif

_Static_assert(sizeof(struct kvm_userspace_memory_region2) == 160, "uAPI layout");
_Static_assert(sizeof(struct kvm_create_guest_memfd) == 64, "uAPI layout");
_Static_assert(sizeof(struct kvm_memory_attributes2) == 128, "uAPI layout");
/* Version 2 begins like version 1, so that one function may look at either. */
#define SAME_IN_BOTH(member_)                                                             \
    _Static_assert(offsetof(struct kvm_memory_attributes2, member_) ==                    \
                   offsetof(struct kvm_memory_attributes, member_) &&                     \
                   sizeof(((struct kvm_memory_attributes2 *)0)->member_) ==               \
                   sizeof(((struct kvm_memory_attributes *)0)->member_), "uAPI layout")
SAME_IN_BOTH(address);
SAME_IN_BOTH(size);
SAME_IN_BOTH(attributes);
SAME_IN_BOTH(flags);
#undef SAME_IN_BOTH
_Static_assert(offsetof(struct kvm_memory_attributes2, offset) ==
               offsetof(struct kvm_memory_attributes2, address), "uAPI layout");
_Static_assert(offsetof(struct kvm_memory_attributes2, error_offset) ==
               sizeof(struct kvm_memory_attributes), "uAPI layout");
_Static_assert(sizeof(struct kvm_pre_fault_memory) == 64, "uAPI layout");

/* The exit's data starts where every member of struct kvm_run's union does. */
static inline struct kvm_exit_memory_fault *kvm_run_memory_fault(struct kvm_run *run)
{
    return (struct kvm_exit_memory_fault *)((char *)run + offsetof(struct kvm_run, hw));
}

#endif
