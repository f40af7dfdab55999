/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The x86-64 processor in software: its state, what it asks of the machine
 * around it, and how it is run.  This is the one header of this folder that
 * the rest of softkvm uses.
 *
 * A struct cpu belongs to the thread that runs it.  Another thread may touch
 * cpu->request only (atomically), or, while the owner is outside cpu_run(),
 * everything.
 *
 * What is modelled: Intel SDM vol. 1-3 and AMD APM vol. 2 for x86-64-v2 less
 * what cpuid.c leaves out; docs/cpu.md lists the deviations.
 */
#ifndef SOFTKVM_CPU_H
#define SOFTKVM_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CPU_PAGE_SHIFT = 12,
    CPU_PAGE_SIZE = 1 << CPU_PAGE_SHIFT,
    CPU_PHYS_BITS = 46,         /* MAXPHYADDR unless cpu->phys_bits is set to another */
    CPU_MCE_BANKS = 32,         /* at most; cpu->mcg_cap says how many */
    CPU_PIO_RUN = 1024,
    CPU_XCR0_KNOWN = 3,         /* x87, SSE */
};

/* Hardware numbering; the two last let address computation go without branches. */
enum cpu_reg {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    REG_NONE,   /* always 0: the base or index that an address doesn't have */
    REG_RIP,    /* start of the instruction, or of the block while one runs */
    REG_4GIB,   /* always 1 << 32, for the RIP-relative displacement that leaves 32 bits */
    CPU_NR_REGS,
};

/* Hardware numbering of segment registers, then the two system segments. */
enum cpu_seg {
    SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR,
    CPU_NR_SEGS,
};

enum {
    FLAG_CF = 1 << 0, FLAG_ONE = 1 << 1, FLAG_PF = 1 << 2, FLAG_AF = 1 << 4,
    FLAG_ZF = 1 << 6, FLAG_SF = 1 << 7, FLAG_TF = 1 << 8, FLAG_IF = 1 << 9,
    FLAG_DF = 1 << 10, FLAG_OF = 1 << 11, FLAG_IOPL = 3 << 12, FLAG_NT = 1 << 14,
    FLAG_RF = 1 << 16, FLAG_VM = 1 << 17, FLAG_AC = 1 << 18, FLAG_VIF = 1 << 19,
    FLAG_VIP = 1 << 20, FLAG_ID = 1 << 21,
    FLAGS_ARITH = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

enum cpu_vector {
    VECTOR_DE = 0, VECTOR_DB = 1, VECTOR_NMI = 2, VECTOR_BP = 3, VECTOR_OF = 4,
    VECTOR_BR = 5, VECTOR_UD = 6, VECTOR_NM = 7, VECTOR_DF = 8, VECTOR_TS = 10,
    VECTOR_NP = 11, VECTOR_SS = 12, VECTOR_GP = 13, VECTOR_PF = 14, VECTOR_MF = 16,
    VECTOR_AC = 17, VECTOR_MC = 18, VECTOR_XM = 19,
};

/* Descriptor attributes as bits 8-23 of a descriptor's second word, shifted down. */
enum {
    SEG_AR_TYPE = 0xf, SEG_AR_S = 1 << 4, SEG_AR_DPL_SHIFT = 5, SEG_AR_DPL = 3 << 5,
    SEG_AR_P = 1 << 7, SEG_AR_AVL = 1 << 12, SEG_AR_L = 1 << 13, SEG_AR_DB = 1 << 14,
    SEG_AR_G = 1 << 15,
    SEG_AR_UNUSABLE = 1 << 16,  /* a null selector was loaded */
};

struct cpu_segment {
    uint64_t base;
    uint32_t limit;             /* in bytes, granularity applied, inclusive */
    uint32_t ar;                /* SEG_AR_* */
    uint16_t selector;
};

struct cpu_table {              /* GDTR, IDTR */
    uint64_t base;
    uint16_t limit;
};

/* One x87 register in its memory format; on x86 hosts .ld is the same bits. */
union cpu_st {
    struct {
        uint64_t mantissa;
        uint16_t sign_exponent;
    };
    long double ld;
    uint8_t bytes[16];
};

union cpu_xmm {
    uint8_t u8[16];
    uint16_t u16[8];
    uint32_t u32[4];
    uint64_t u64[2];
    int8_t s8[16];
    int16_t s16[8];
    int32_t s32[4];
    int64_t s64[2];
    float f32[4];
    double f64[2];
} __attribute__((aligned(16)));

struct cpu_fpu {
    union cpu_st st[8];         /* by physical number: ST(i) is st[(top + i) & 7] */
    uint16_t control;
    uint16_t status;            /* with TOP in bits 13:11 */
    uint8_t valid;              /* bit n: physical register n isn't empty */
    uint16_t opcode;
    uint64_t ip, dp;            /* last instruction and operand */
    uint16_t cs, ds;
    uint32_t mxcsr;
    union cpu_xmm xmm[16];
};

/*
 * What a step of execution comes to.  Everything from CPU_FAULT on leaves the
 * guest's registers as they were before the instruction, except where said.
 */
enum cpu_status {
    CPU_OK,             /* completed; the next instruction follows in the block */
    CPU_BREAK,          /* completed; rip was set, or what a block depends on changed */
    CPU_FAULT,          /* an exception is in cpu->fault */
    /* Only these come out of cpu_run(). */
    CPU_EXIT_REQUEST,   /* cpu->request has a bit that may be served now */
    CPU_EXIT_ACCESS,    /* an op returned this: it can't complete here and now */
    CPU_EXIT_HLT,       /* HLT completed */
    CPU_EXIT_HYPERCALL, /* VMCALL or VMMCALL; rip still on it */
    CPU_EXIT_SHUTDOWN,  /* triple fault */
    CPU_EXIT_DEBUG,     /* single step or breakpoint of cpu->guest_debug; cpu->debug says which */
    CPU_EXIT_UNKNOWN,   /* an instruction that this processor ought to have but hasn't: no #UD */
};

struct cpu_fault {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t address;           /* CR2 of a #PF, DR6 bits of a #DB */
};

/* Bits of cpu->request; cpu_run() returns at the next block boundary. */
enum {
    CPU_REQ_IRQ = 1 << 0,       /* an interrupt waits: honoured only while it can be taken */
    CPU_REQ_NMI = 1 << 1,
    CPU_REQ_EXIT = 1 << 2,      /* whatever else: always honoured */
};

/* After STI; and after MOV SS and POP SS, when debug traps wait too.  As in kvm_vcpu_events. */
enum { CPU_SHADOW_MOV_SS = 1, CPU_SHADOW_STI = 2 };

enum {
    ATTENTION_CODE = 1 << 0,    /* stored to a page with decoded code: the block ends here */
    ATTENTION_ACCESS = 1 << 1,  /* did MMIO or port I/O: ops->access_done() is due */
    ATTENTION_DEBUG = 1 << 2,   /* hit the breakpoints of cpu->debug_hits */
    ATTENTION_TRAP = 1 << 3,    /* SYSRET set TF: it traps before anything else is executed */
};

/* Kinds of memory access, also the index of a TLB entry's tags. */
enum cpu_access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC };

/*
 * One 4 KiB page of guest RAM as the CPU may use it directly.
 *
 * code: one word a page, owned by the memory side, touched atomically by all
 * vCPUs.  Bit 0: decoded blocks of this page exist somewhere.  The other bits
 * count invalidations.  Whoever stores to the page looks at it afterwards, and
 * with bit 0 set calls cpu_code_written(); a block is valid while the word is
 * what it was when the block was decoded.
 */
struct cpu_page {
    uint8_t *host;
    uint32_t *code;
    bool writable;
};

/*
 * What the CPU asks of the machine.  opaque is cpu->opaque.  All run on the
 * CPU's own thread, inside cpu_run().
 */
struct cpu_ops {
    /*
     * The RAM behind guest-physical page gpa (page aligned).  CPU_OK: *page is
     * filled and stays usable until cpu_flush_gpa().  CPU_BREAK: no RAM there
     * (or read-only RAM and access is a write), go through mmio().
     * CPU_EXIT_ACCESS: leave cpu_run(), the access is retried on re-entry.
     */
    enum cpu_status (*map_page)(void *opaque, uint64_t gpa, enum cpu_access access,
                                struct cpu_page *page);
    /*
     * Accesses that are not RAM; never cross a page.  CPU_OK: done, data filled
     * on reads.  CPU_EXIT_ACCESS: leave; on re-entry the instruction starts anew
     * and the op, asked again, answers from what user space supplied.
     */
    enum cpu_status (*mmio)(void *opaque, uint64_t gpa, void *data, unsigned size, bool write);
    enum cpu_status (*pio)(void *opaque, uint16_t port, void *data, unsigned size, bool write);
    /*
     * REP INS: *count elements of size bytes at once, CPU_PIO_RUN bytes at most.
     * *count becomes how many there are, at least one.  NULL: there is pio() only.
     */
    enum cpu_status (*pio_run)(void *opaque, uint16_t port, void *data, unsigned size,
                               unsigned *count);
    /*
     * An instruction completed (or one iteration of a string instruction) after
     * at least one mmio() or pio() returned CPU_OK: what was remembered for a
     * restart can be forgotten.
     */
    void (*access_done)(void *opaque);
    /*
     * RDMSR and WRMSR.  CPU_OK; CPU_FAULT: #GP is raised; CPU_BREAK: as
     * cpu_msr_read() and cpu_msr_write() say; CPU_EXIT_ACCESS as with mmio().
     */
    enum cpu_status (*rdmsr)(void *opaque, uint32_t index, uint64_t *value);
    enum cpu_status (*wrmsr)(void *opaque, uint32_t index, uint64_t value);
    void (*cpuid)(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]); /* a b c d */
    uint64_t (*read_tsc)(void *opaque);         /* guest TSC, offset applied */
    uint64_t (*read_tpr)(void *opaque);         /* CR8 */
    void (*write_tpr)(void *opaque, uint64_t value);
};

struct tlb;
struct block_cache;

struct cpu {
    uint64_t regs[CPU_NR_REGS];

    /*
     * Arithmetic flags are lazy: flags.h is the only reader and writer of
     * these; everybody else uses cpu_rflags() and cpu_set_rflags().
     */
    uint64_t flags;             /* the other flags, and the arithmetic ones where lazy.op is 0 */
    struct {
        uint64_t result, a, b;
        uint8_t op;
    } lazy;

    struct cpu_segment seg[CPU_NR_SEGS];
    struct cpu_table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, xcr0;
    uint64_t dr[8];             /* 4 and 5 unused */
    uint64_t pdptr[4];          /* PAE paging's four entries, loaded with CR3 */
    bool pdptr_stale;           /* cpu_state_replaced(): to be loaded when next needed */

    uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_aux, misc_enable;
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
    uint64_t spec_ctrl, debugctl, power_ctl;
    uint64_t mcg_cap, mcg_status, mcg_ctl;
    uint64_t mce_banks[CPU_MCE_BANKS][4];  /* CTL, STATUS, ADDR, MISC */
    uint8_t phys_bits;          /* MAXPHYADDR: bits above it are reserved in page tables */
    bool la57;                  /* CR4.LA57 can be set: 5-level paging */
    /*
     * SEV (AMD APM vol. 2, 15.34): the bit of page-table entries that says encrypted,
     * 0 for other guests.  Set in an address for ops->map_page(): an encrypted access.
     */
    uint64_t c_bit;

    struct cpu_fpu fpu;

    /* Derived by cpu_update_mode() from the above; see mode.h. */
    uint8_t code_size;          /* default operand size of CS: 2, 4, 8 (8: long mode) */
    uint8_t stack_size;         /* 2, 4, 8 */
    uint8_t cpl;
    uint8_t mmu_index;          /* which set of TLB entries data accesses use */
    bool long_mode;             /* EFER.LMA */

    uint8_t interrupt_shadow;   /* CPU_SHADOW_*: interrupts wait for one instruction */
    bool nmi_masked;            /* from NMI to IRET, and in SMM */
    bool in_smm;                /* system management mode: cpu_set_smm() */
    bool smm_inside_nmi;        /* NMIs were masked before */
    uint32_t smbase;
    struct cpu_fault fault;     /* of the last CPU_FAULT */

    /*
     * An event that cpu_run() is to deliver before the next instruction, or was
     * delivering when it had to leave (KVM_GET_VCPU_EVENTS shows it).
     */
    struct {
        bool pending;
        bool soft;              /* INT n, INT3, INTO: rip after it, privilege checked */
        bool external;          /* an interrupt, not an exception: for the EXT bit */
        uint8_t vector;
        uint8_t length;         /* of the soft instruction */
        bool has_error;
        uint32_t error;
        uint64_t address;       /* what it left in CR2, or in DR6 */
    } event;

    /* KVM_SET_GUEST_DEBUG's wishes, and what a CPU_EXIT_DEBUG found. */
    struct {
        bool enabled, single_step, sw_breakpoints, hw_breakpoints;
        uint64_t dr[8];
    } guest_debug;
    struct {
        uint8_t vector;
        uint64_t dr6, dr7, pc;
    } debug;

    /*
     * Breakpoints of DR0-DR7 (debug.h): which kinds are armed, and the DR6 bits
     * of data and I/O breakpoints that the instruction hit.  The engine turns
     * these into #DB, or CPU_EXIT_DEBUG, when the instruction has completed.
     */
    bool debug_code, debug_data, debug_io;
    uint8_t debug_hits;

    /*
     * What this processor is like; user space's to choose.  Foreign hypercall:
     * VMCALL where native_vmmcall is set, else VMMCALL.
     */
    bool native_vmmcall, no_foreign_hypercall;
    bool no_mwait;              /* MONITOR and MWAIT are #UD */
    bool x87_operand;           /* the x87 is at its memory operand: for ops->mmio() */

    uint32_t request;           /* CPU_REQ_*, atomic, set by anyone */

    /*
     * What the engine must see to when the instruction is over (ATTENTION_*).
     * Plain executors and what they call may set bits; who calls ops->mmio() or
     * ops->pio() sets ATTENTION_ACCESS when that returned CPU_OK.
     */
    uint8_t attention;
    uint32_t *code_hit;         /* code word of the page that a threaded executor stored to */
    int64_t budget;             /* instructions until the engine's loop is to look around */
    uint64_t fetch_key;         /* what links between blocks and the jump cache depend on */

    /*
     * Set before cpu_run() where it is to go on with the instruction that left with
     * CPU_EXIT_ACCESS: that one is completed as it was decoded.
     */
    bool restart;

    uint64_t instructions;      /* completed, counted block by block */
    uint64_t doubted_at;        /* what that was at the last cpu_doubt_code() */
    uint64_t blocks_decoded, tlb_fills;

    const struct cpu_ops *ops;
    void *opaque;
    struct tlb *tlb;
    struct block_cache *blocks;
};

/*
 * cpu_new - a processor in its reset state (SDM vol. 3, table 10-1).
 * NULL without memory.  cpu_free(NULL) is fine.
 */
struct cpu *cpu_new(const struct cpu_ops *ops, void *opaque);
void cpu_free(struct cpu *cpu);

/* Back to the reset state; cpu_init() is the INIT signal, which keeps FPU, MSRs and caches. */
void cpu_reset(struct cpu *cpu);
void cpu_init(struct cpu *cpu);

/*
 * cpu_run - execute until something that this processor can't settle alone.
 *
 * First delivers cpu->event if pending, then executes instructions until a
 * CPU_EXIT_*, which it returns.  cpu->request is looked at before the first
 * instruction and at every block boundary.
 */
enum cpu_status cpu_run(struct cpu *cpu);

/* True when a maskable interrupt would be taken now: IF, no shadow, no event pending. */
bool cpu_interrupt_allowed(const struct cpu *cpu);

/*
 * cpu_enter_smm - take a system management interrupt, between two instructions.
 * False, nothing changed: there is no memory for the state at SMBASE.
 */
bool cpu_enter_smm(struct cpu *cpu);

/*
 * Into system management mode or out of it, where user space restores a state.
 * ops->map_page() looks at cpu->in_smm: memory may be another there.
 */
void cpu_set_smm(struct cpu *cpu, bool in_smm);

uint64_t cpu_rflags(const struct cpu *cpu);
void cpu_set_rflags(struct cpu *cpu, uint64_t rflags);

/*
 * After user space replaced segments, control registers or EFER: recompute what
 * is derived and drop every translation.  PAE paging's entries are loaded anew
 * unless the caller, who has them, sets pdptr and clears pdptr_stale afterwards.
 */
void cpu_state_replaced(struct cpu *cpu);

/* Has this processor every feature whose bit of CR4 is set? */
bool cpu_cr4_known(const struct cpu *cpu, uint64_t value);

/* Can these be what the registers hold together? */
bool cpu_controls_valid(const struct cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4,
                        uint64_t efer);

/*
 * Guest-physical range changed its backing or state: forget translations of it
 * (and only of it).  Only from the owner thread, or while it is outside cpu_run().
 */
void cpu_flush_gpa(struct cpu *cpu, uint64_t gpa, uint64_t size);

/*
 * Whoever else writes guest memory may have changed code that ran: what runs from
 * here on is compared with memory first, once.  To be called where a guest may
 * learn of such a write: on entry, with an interrupt.  Costs as much as was
 * executed since the last time.  From the owner thread.
 */
void cpu_doubt_code(struct cpu *cpu);

/* A store hit a page with decoded code: blocks of that page end here and everywhere. */
void cpu_code_written(uint32_t *code);

/* PAE paging's four entries into cpu->pdptr if they aren't there yet. False: it isn't in use. */
bool cpu_load_pdptrs(struct cpu *cpu);

/*
 * cpu_translate - walk the guest's tables for linear address addr as a
 * supervisor read, without setting accessed or dirty bits (KVM_TRANSLATE).
 * False when it isn't mapped.
 */
bool cpu_translate(struct cpu *cpu, uint64_t addr, uint64_t *gpa, bool *writable, bool *user);

/* The CPUID leaves that describe what works here, as KVM_GET_SUPPORTED_CPUID reports them. */
struct cpuid_entry {
    uint32_t leaf, subleaf;
    bool indexed;               /* subleaf is significant */
    uint32_t eax, ebx, ecx, edx;
};
size_t cpu_supported_cpuid(struct cpuid_entry *entries, size_t max);

/* MSRs that live in struct cpu. False: not one of those, or a value that raises #GP. */
bool cpu_msr_known(uint32_t index);
bool cpu_msr_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool cpu_msr_write(struct cpu *cpu, uint32_t index, uint64_t value, bool host);

/* XSAVE image in the standard format, 576 bytes: legacy area and header (x87 and SSE). */
void cpu_xsave(const struct cpu *cpu, void *area);
bool cpu_xrstor(struct cpu *cpu, const void *area);     /* false: reserved bits set */

#endif
