/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A debugger that sends anything, to a stub whose machine is 64 KiB of RAM, two vCPUs
 * without paging, and a breakpoint that is hit whenever it runs.  What is written is
 * checked: when the client has gone, no INT3 of the stub's is left.
 */
#include "fuzz.h"

#include "chardev.h"
#include "debug_memory.h"
#include "gdb_internal.h"
#include "sev_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RAM_SIZE = 0x10000 };

static uint8_t ram[RAM_SIZE];
static struct kvm_vm vm;
static struct gdb *gdb;
static const char *status;
static unsigned resumes;

struct kvm_vcpu {
    unsigned index;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
};
static struct kvm_vcpu cpus[2];

/* --- In place of KVM and memory --- */

unsigned kvm_vcpu_index(const struct kvm_vcpu *vcpu)
{
    return vcpu->index;
}

void kvm_vcpu_hold(struct kvm_vcpu *vcpu)
{
}

void kvm_vcpu_release(struct kvm_vcpu *vcpu)
{
}

int kvm_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned long request, void *arg)
{
    switch (request) {
    case KVM_GET_REGS: memcpy(arg, &vcpu->regs, sizeof(vcpu->regs)); return 0;
    case KVM_SET_REGS: memcpy(&vcpu->regs, arg, sizeof(vcpu->regs)); return 0;
    case KVM_GET_SREGS: memcpy(arg, &vcpu->sregs, sizeof(vcpu->sregs)); return 0;
    case KVM_SET_SREGS: return -EINVAL;
    case KVM_GET_FPU: memcpy(arg, &vcpu->fpu, sizeof(vcpu->fpu)); return 0;
    case KVM_SET_FPU: memcpy(&vcpu->fpu, arg, sizeof(vcpu->fpu)); return 0;
    case KVM_GET_MSRS: case KVM_SET_MSRS: return 1;
    case KVM_SET_GUEST_DEBUG: return 0;
    default: return -EINVAL;
    }
}

int kvm_vm_check_extension(struct kvm_vm *v, unsigned cap)
{
    return 1;
}

struct kvm_vm *memory_vm(struct memory *mem)
{
    return &vm;
}

struct memory_piece memory_look(struct memory *mem, uint64_t gpa, uint64_t size)
{
    if (gpa < RAM_SIZE)
        return (struct memory_piece){ MEMORY_SHARED, MIN(size, RAM_SIZE - gpa) };
    return (struct memory_piece){ MEMORY_NOTHING, size };
}

uint64_t memory_copy_shared(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    if (gpa >= RAM_SIZE || size > RAM_SIZE - gpa)
        abort();
    memcpy(write ? ram + gpa : buf, write ? buf : ram + gpa, size);
    return size;
}

uint64_t memory_copy_host(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    return memory_copy_shared(mem, gpa, buf, size, write);
}

int memory_with_host(struct memory *mem, uint64_t gpa, uint64_t size, bool private_only,
                     memory_host_fn fn, void *opaque)
{
    return -EIO;
}

int memory_copy_private(struct memory *mem, struct kvm_vcpu *vcpu0, uint64_t gpa, void *buf,
                        uint64_t size, bool write, const char **ret_what)
{
    return -EIO;
}

/* The firmware of SEV. */
int kvm_sev_debug_decrypt(struct kvm_vm *v, const void *guest, void *to, uint32_t size,
                          uint32_t *fw)
{
    return -ENOTTY;
}

int kvm_sev_debug_encrypt(struct kvm_vm *v, void *guest, const void *from, uint32_t size,
                          uint32_t *fw)
{
    return -ENOTTY;
}

const char *kvm_sev_error_text(uint32_t fw)
{
    return "a fake";
}

/* --- In place of the machine --- */

static unsigned host_cpu_count(void *opaque)
{
    return G_N_ELEMENTS(cpus);
}

static struct kvm_vcpu *host_cpu(void *opaque, unsigned index)
{
    return &cpus[index];
}

static const char *host_status(void *opaque)
{
    return status;
}

static bool host_running(void *opaque)
{
    return strcmp(status, "running") == 0;
}

static uint64_t no_devices(void *opaque, uint64_t gpa, uint64_t size, bool *ret_claimed)
{
    *ret_claimed = false;
    return size;
}

static void stop_as(const char *how)
{
    gdb_disarm(gdb);
    status = how;
    gdb_stopped(gdb);
}

static void host_stop(void *opaque)
{
    stop_as("paused");
}

/* Every other time it runs into the first breakpoint, every third into a debug register. */
static bool host_resume(void *opaque, uint64_t mask, GError **error)
{
    struct kvm_debug_exit_arch exit = { .exception = 3, .dr6 = 1u << resumes % 4 };

    if (!gdb_arm(gdb, error))
        return false;
    status = "running";
    if (gdb->soft->len)
        exit.pc = g_array_index(gdb->soft, struct gdb_soft_breakpoint, 0).addr;
    if (++resumes % 3 == 0)
        exit.exception = 1;
    if (resumes % 2 == 0 && gdb_debug_exit(gdb, resumes / 2 % 2, &exit))
        stop_as("debug");
    return true;
}

static void host_kill(void *opaque)
{
    host_stop(opaque);
}

static char *host_command(void *opaque, const char *line)
{
    return g_strdup_printf("%s?\n", line);
}

static void say_nothing(const char *text)
{
}

static void start(void)
{
    const struct debug_machine machine = {
        .cpu_count = host_cpu_count, .cpu = host_cpu, .running = host_running,
        .mmio_look = no_devices,
    };
    static struct debug *dbg;
    struct gdb_host host = {
        .kvm = &vm, .cpu_count = host_cpu_count, .cpu = host_cpu, .status = host_status,
        .stop = host_stop, .resume = host_resume, .kill = host_kill, .command = host_command,
    };

    g_set_printerr_handler(say_nothing);
    if (!dbg)
        dbg = debug_new(&machine, NULL, NULL);
    host.debug = dbg;
    memset(ram, 0x90, sizeof(ram));
    memset(cpus, 0, sizeof(cpus));
    cpus[1].index = 1;
    resumes = 0;
    status = "prelaunch";
    gdb = gdb_new(&host);
}

/* A client wrote an INT3 itself: then one that stays isn't the stub's. */
static bool wrote(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == 'M' || data[i] == 'X')
            return true;
    }
    return false;
}

/* After a '|' the input is packets that get their right checksums here: |g|m0,40|... */
static void receive_framed(const uint8_t *data, size_t size)
{
    while (size) {
        const uint8_t *end = memchr(data, '|', size);
        size_t length = end ? (size_t)(end - data) : size;
        g_autoptr(GByteArray) framed = g_byte_array_new();

        gdb_frame(framed, (const char *)data, length);
        gdb_receive(gdb, framed->data, framed->len);
        length += end != NULL;
        data += length;
        size -= length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    if (!gdb_listen(gdb, "null", NULL))
        abort();
    gdb->connected = true;
    gdb->client.step_flags = GDB_STEP_ALL;
    if (size && data[0] == '|')
        receive_framed(data + 1, size - 1);
    else
        gdb_receive(gdb, data, size);
    if (!gdb_listen(gdb, "none", NULL) || gdb_has_breakpoints(gdb))
        abort();
    if (!wrote(data, size) && memchr(ram, 0xcc, sizeof(ram)))
        abort();
    gdb_free(gdb);
    return 0;
}

/* Sessions of packets; one of them with checksums of its own. */
static const char *const sessions[] = {
    "|qSupported:multiprocess+;swbreak+;hwbreak+;error-message+|vMustReplyEmpty|Hgp0.0|"
    "qXfer:features:read:target.xml:0,ffb|?|qfThreadInfo|qsThreadInfo|g|m0,40|vCont?|"
    "Z0,1000,1|vCont;s:p1.1;c:p1.-1|p10|z0,1000,1|vCont;c|D;1",
    "|QStartNoAckMode|QEnableErrorStrings|x0,0|x100,200|X100,4:abcd|M100,2:1234|P0=0102030405060708|"
    "Z1,2000,1|Z2,3000,4|Z4,4000,8|c|C05|s|S05;100|c200|z2,3000,4|qRcmd,68656c70|"
    "Qqemu.PhyMemMode:1|Qqemu.sstep=7|T2|Hc-1|k",
    "|Z0,1000,1|Z0,1000,1|Z0,11000,1|c|c|m1000,1|Gff|vAttach;1|vKill;1|qThreadExtraInfo,p1.2",
    "+$qC#b4+$m0,4#fd+$g#67-\x03$X100,2:}\x03*\"#54",
};

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    if (n >= G_N_ELEMENTS(sessions))
        return NULL;
    *size = strlen(sessions[n]);
    return (const uint8_t *)sessions[n];
}
