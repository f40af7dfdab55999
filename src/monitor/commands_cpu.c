/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands about vCPUs: which there are, their registers, NMI.  A vCPU that runs
 * is held outside the guest meanwhile; no event tells of that.
 */
#include "command.h"

#include "debug.h"
#include "error.h"

#include <inttypes.h>
#include <string.h>

static const struct schema_type type_cpu_props = SCHEMA_OBJECT_OF(
    { "socket-id", &schema_int }, { "core-id", &schema_int }, { "thread-id", &schema_int });
static const struct schema_type type_arch = SCHEMA_ENUM_OF("x86_64");
static const struct schema_type type_cpu = SCHEMA_OBJECT_OF(
    { "cpu-index", &schema_int }, { "qom-path", &schema_str }, { "thread-id", &schema_int },
    { "target", &type_arch }, { "props", &type_cpu_props });
static const struct schema_type type_cpus = SCHEMA_ARRAY_OF(&type_cpu);

static const struct schema_type args_cpu = SCHEMA_OBJECT_OF({ "index", &schema_int });
static const struct schema_type args_registers = SCHEMA_OBJECT_OF(
    { "all", &schema_bool, true, .flag = 'a' }, { "vcpu", &schema_int, true });

static struct kvm_vcpu *cpu_at(const struct monitor_ctx *ctx, unsigned index)
{
    return ctx->vm->cpu(ctx->vm->opaque, index);
}

static unsigned cpu_count(const struct monitor_ctx *ctx)
{
    return ctx->vm->cpu_count(ctx->vm->opaque);
}

static bool run_cpus(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    *ret = json_object_new_array();
    for (unsigned i = 0; i < cpu_count(ctx); i++) {
        struct json_object *cpu = json_object_new_object(), *props = json_object_new_object();
        g_autofree char *path = g_strdup_printf("/machine/unattached/device[%u]", i);

        json_set_uint(cpu, "cpu-index", i);
        json_set_text(cpu, "qom-path", path);
        json_set_uint(cpu, "thread-id", (unsigned)kvm_vcpu_thread_id(cpu_at(ctx, i)));
        json_set_text(cpu, "target", "x86_64");
        json_set_uint(props, "socket-id", i);
        json_set_uint(props, "core-id", 0);
        json_set_uint(props, "thread-id", 0);
        json_object_object_add(cpu, "props", props);
        json_object_array_add(*ret, cpu);
    }
    return true;
}

static void print_cpus(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *cpu = json_object_array_get_idx(ret, i);

        g_string_append_printf(out, "%c CPU #%zu: thread_id=%" PRId64 "\n",
                               i == *ctx->cpu ? '*' : ' ', i, json_int(cpu, "thread-id", 0));
    }
}

static bool run_cpu(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    int64_t index = json_int(args, "index", 0);

    if (index < 0 || index >= (int64_t)cpu_count(ctx)) {
        error_set(error, "invalid CPU index");
        return false;
    }
    *ctx->cpu = (unsigned)index;
    return true;
}

/* --- Registers --- */

static void print_general(const struct kvm_regs *r, const struct kvm_sregs *s, int halted,
                          GString *out)
{
    static const char letters[] = "DOSZAPC";
    static const unsigned bits[] = { 10, 11, 7, 6, 4, 2, 0 };
    const struct {
        const char *name;
        uint64_t value;
    } regs[] = {
        { "RAX", r->rax }, { "RBX", r->rbx }, { "RCX", r->rcx }, { "RDX", r->rdx },
        { "RSI", r->rsi }, { "RDI", r->rdi }, { "RBP", r->rbp }, { "RSP", r->rsp },
        { "R8 ", r->r8 },  { "R9 ", r->r9 },  { "R10", r->r10 }, { "R11", r->r11 },
        { "R12", r->r12 }, { "R13", r->r13 }, { "R14", r->r14 }, { "R15", r->r15 },
    };
    char flags[sizeof(letters)] = { 0 };

    for (size_t i = 0; i < G_N_ELEMENTS(regs); i++)
        g_string_append_printf(out, "%s=%016" PRIx64 "%c", regs[i].name, regs[i].value,
                               i % 4 == 3 ? '\n' : ' ');
    for (size_t i = 0; i < G_N_ELEMENTS(bits); i++)
        flags[i] = r->rflags >> bits[i] & 1 ? letters[i] : '-';
    g_string_append_printf(out, "RIP=%016" PRIx64 " RFL=%08" PRIx64 " [%s] CPL=%d II=0 A20=1 "
                           "SMM=0 HLT=%d\n", (uint64_t)r->rip, (uint64_t)r->rflags, flags,
                           s->ss.dpl, halted);
}

/* What a code or data segment may do, as the descriptor's type says (SDM vol. 3, 3.4.5.1). */
static void segment_rights(const struct kvm_segment *seg, GString *out)
{
    unsigned type = seg->type;

    if (type & 8)
        g_string_append_printf(out, "CS%s [%c%c%c]", seg->l ? "64" : seg->db ? "32" : "16",
                               type & 4 ? 'C' : '-', type & 2 ? 'R' : '-', type & 1 ? 'A' : '-');
    else
        g_string_append_printf(out, "DS%s [%c%c%c]", seg->db ? "  " : "16", type & 4 ? 'E' : '-',
                               type & 2 ? 'W' : '-', type & 1 ? 'A' : '-');
}

/* LDT and task register: SDM vol. 3, table 3-2. */
static const char *system_type(unsigned type, bool long_mode)
{
    static const char *const types[2][16] = {
        { [1] = "TSS16-avl", [2] = "LDT", [3] = "TSS16-busy", [9] = "TSS32-avl",
          [11] = "TSS32-busy" },
        { [2] = "LDT", [9] = "TSS64-avl", [11] = "TSS64-busy" },
    };
    const char *name = types[long_mode][type & 15];

    return name ? name : "Reserved";
}

static void print_segment(const char *name, const struct kvm_segment *seg,
                          const struct kvm_sregs *s, GString *out)
{
    bool protected_mode = s->cr0 & 1, long_mode = s->efer & 1 << 10;

    g_string_append_printf(out, "%-3s=%04x %016" PRIx64 " %08x %08x", name, seg->selector,
                           (uint64_t)seg->base, seg->limit, debug_segment_flags(seg));
    if (protected_mode && seg->present && !seg->unusable) {
        g_string_append_printf(out, " DPL=%d ", seg->dpl);
        if (seg->s)
            segment_rights(seg, out);
        else
            g_string_append(out, system_type(seg->type, long_mode));
    }
    g_string_append_c(out, '\n');
}

static void print_system(const struct kvm_sregs *s, GString *out)
{
    print_segment("ES", &s->es, s, out);
    print_segment("CS", &s->cs, s, out);
    print_segment("SS", &s->ss, s, out);
    print_segment("DS", &s->ds, s, out);
    print_segment("FS", &s->fs, s, out);
    print_segment("GS", &s->gs, s, out);
    print_segment("LDT", &s->ldt, s, out);
    print_segment("TR", &s->tr, s, out);
    g_string_append_printf(out, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n",
                           (uint64_t)s->gdt.base, s->gdt.limit, (uint64_t)s->idt.base,
                           s->idt.limit);
    g_string_append_printf(out, "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64
                           " CR4=%08" PRIx64 "\nEFER=%016" PRIx64 "\n", (uint64_t)s->cr0,
                           (uint64_t)s->cr2, (uint64_t)s->cr3, (uint64_t)s->cr4,
                           (uint64_t)s->efer);
}

static bool append_registers(const struct monitor_ctx *ctx, unsigned index, GString *out,
                             GError **error)
{
    struct debug_registers all;

    if (!debug_registers(ctx->vm->debug, index, &all, error))
        return false;
    g_string_append_printf(out, "\nCPU#%u\n", index);
    print_general(&all.regs, &all.sregs, all.halted, out);
    print_system(&all.sregs, out);
    return true;
}

static bool run_registers(const struct monitor_ctx *ctx, struct json_object *args,
                          struct json_object **ret, GError **error)
{
    bool all = json_flag(args, "all"), ok = true;
    int64_t index = json_int(args, "vcpu", *ctx->cpu);
    unsigned count = cpu_count(ctx), first = all ? 0 : (unsigned)index;
    GString *out;

    if (!all && (index < 0 || index >= count)) {
        error_set(error, "CPU#%" PRId64 " not available", index);
        return false;
    }
    out = g_string_new(NULL);
    for (unsigned i = first; ok && i < (all ? count : first + 1); i++)
        ok = append_registers(ctx, i, out, error);
    if (ok)
        *ret = text_result(out);
    else
        g_string_free(out, TRUE);
    return ok;
}

static bool run_nmi(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    if (!kvm_vm_check_extension(ctx->vm->kvm, KVM_CAP_USER_NMI)) {
        error_set(error, "this KVM lacks KVM_CAP_USER_NMI");
        return false;
    }
    for (unsigned i = 0; i < cpu_count(ctx); i++) {
        struct kvm_vcpu *vcpu = cpu_at(ctx, i);
        int err;

        kvm_vcpu_hold(vcpu);
        err = kvm_vcpu_ioctl(vcpu, KVM_NMI, NULL);
        kvm_vcpu_release(vcpu);
        if (err < 0) {
            error_set_errno(error, err, "CPU %u: KVM_NMI", i);
            return false;
        }
    }
    return true;
}

const struct command commands_cpu[] = {
    { .qmp = "query-cpus-fast", .hmp = "info cpus", .ret = &type_cpus,
      .help = "show infos for each CPU", .run = run_cpus, .print = print_cpus },
    { .hmp = "cpu", .args = &args_cpu, .params = "index", .help = "set the default CPU",
      .run = run_cpu },
    { .hmp = "info registers", .args = &args_registers, .params = "[-a|vcpu]",
      .ret = &type_text, .help = "show the cpu registers (-a: show register info for all cpus)",
      .run = run_registers },
    { .qmp = "inject-nmi", .hmp = "nmi", .help = "inject an NMI", .run = run_nmi },
    { NULL },
};
