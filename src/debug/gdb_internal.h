/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the gdb stub know of one another. */
#ifndef DEBUG_GDB_INTERNAL_H
#define DEBUG_GDB_INTERNAL_H

#include "gdb.h"
#include "gdb_packet.h"
#include "page_walk.h"

struct chardev;

/* Numbers of Z packets. */
enum gdb_breakpoint_kind {
    GDB_SOFTWARE, GDB_HARDWARE, GDB_WRITE_WATCH, GDB_READ_WATCH, GDB_ACCESS_WATCH, GDB_KINDS,
};

/* An INT3 in guest memory. */
struct gdb_soft_breakpoint {
    uint64_t addr;              /* virtual, as the debugger asked */
    uint64_t gpa;               /* where it is, whatever the guest maps there later */
    uint8_t original;
    bool inserted;              /* false: a reset guest hadn't the page yet */
};

enum { GDB_DEBUG_REGISTERS = 4 };

/* One of DR0 to DR3. */
struct gdb_hard_breakpoint {
    enum gdb_breakpoint_kind kind;      /* GDB_SOFTWARE: free */
    uint64_t addr;
    unsigned size;
};

/* Why a vCPU left the guest. */
enum gdb_hit_kind { GDB_HIT_NONE, GDB_HIT_SOFTWARE, GDB_HIT_HARDWARE, GDB_HIT_WATCH, GDB_HIT_STEP };

struct gdb_cpu {
    struct kvm_guest_debug control;     /* as KVM was told last */
    bool stepping;
    /* Written by the vCPU's thread before it parks. */
    int hit;                            /* atomic: enum gdb_hit_kind */
    unsigned hit_register;              /* which of DR0 to DR3 */
};

/* qqemu.sstep's bits. */
enum { GDB_STEP_ENABLE = 1, GDB_STEP_NO_IRQ = 2, GDB_STEP_NO_TIMER = 4, GDB_STEP_ALL = 7 };

/* What a client said that it understands. */
struct gdb_client {
    bool no_ack, multiprocess, swbreak, hwbreak, error_message, error_strings;
    bool waiting;               /* it has been promised a stop reply */
    bool physical;              /* qqemu.PhyMemMode */
    bool told;                  /* the console line about unreadable memory */
    unsigned step_flags;
    unsigned g_cpu;             /* Hg: whose registers and address space */
    int c_thread;               /* Hc: a thread, or GDB_THREAD_* */
    unsigned next_thread;       /* of qsThreadInfo */
};

struct gdb {
    struct gdb_host host;
    struct chardev *chr;        /* NULL: nobody is served */
    bool own_chr;               /* made here */
    bool connected;
    bool in_command;            /* a monitor command of the client's is being carried out */
    struct gdb_client client;
    struct gdb_reader reader;
    GByteArray *last;           /* the packet sent last, framed, for '-' */
    GString *console;           /* to be said when the guest runs on */
    GArray *soft;               /* of struct gdb_soft_breakpoint */
    struct gdb_hard_breakpoint hard[GDB_DEBUG_REGISTERS];
    struct gdb_cpu cpus[GDB_MAX_CPUS];
    unsigned stop_cpu;          /* the thread of the last stop */
};

/* --- gdb.c: the connection --- */

/* What a client sends. */
void gdb_receive(struct gdb *gdb, const uint8_t *data, size_t size);
void gdb_send(struct gdb *gdb, const char *packet, size_t size);
static inline void gdb_reply(struct gdb *gdb, const GString *packet)
{
    gdb_send(gdb, packet->str, packet->len);
}
void gdb_reply_text(struct gdb *gdb, const char *packet);
enum { GDB_E_OTHER = 0x01, GDB_E_FAULT = 0x0e, GDB_E_INVALID = 0x16 };
/* E, in the words that the client takes; reason (may be NULL) is said to the person. */
void gdb_reply_error(struct gdb *gdb, unsigned code, const char *reason);
/* Text for a person: O packets, in pieces. */
void gdb_send_console(struct gdb *gdb, const char *text);

/* --- gdb_commands.c: packets --- */

void gdb_handle_packet(struct gdb *gdb, struct gdb_text text);

/* --- gdb_query.c: q and Q --- */

/* False: there is no such packet. */
bool gdb_handle_query(struct gdb *gdb, struct gdb_text *text);

/* --- gdb_run.c: running, stopping, threads --- */

void gdb_append_thread(struct gdb *gdb, GString *out, unsigned cpu);
/* A thread that must exist; ANY and ALL are what any is: the first. */
bool gdb_take_cpu(struct gdb *gdb, struct gdb_text *text, unsigned *ret);
/* The stop reply for the state that the machine is in. */
void gdb_send_stop(struct gdb *gdb);
void gdb_cmd_continue(struct gdb *gdb, struct gdb_text *text);      /* c, C */
void gdb_cmd_step(struct gdb *gdb, struct gdb_text *text);          /* s, S */
void gdb_cmd_vcont(struct gdb *gdb, struct gdb_text *text);         /* vCont;... */

/* --- gdb_breakpoints.c --- */

/* All of these: every vCPU is parked. */
bool gdb_breakpoint_insert(struct gdb *gdb, enum gdb_breakpoint_kind kind, uint64_t addr,
                           uint64_t size, GError **error);
bool gdb_breakpoint_remove(struct gdb *gdb, enum gdb_breakpoint_kind kind, uint64_t addr,
                           uint64_t size, GError **error);
bool gdb_has_breakpoints(const struct gdb *gdb);
void gdb_remove_breakpoints(struct gdb *gdb);
/* After a reset: memory and with it the INT3s have been replaced. */
void gdb_reinsert_breakpoints(struct gdb *gdb);

#endif
