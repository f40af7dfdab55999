/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gdb_registers.h"

#include "error.h"

#include <string.h>

enum { MSR_KERNEL_GS_BASE = 0xc0000102, CR0_PE = 1 };

enum register_part { PART_REGS, PART_SREGS, PART_FPU, PART_KERNEL_GS_BASE };

struct register_row {
    const char *name;
    const char *type;           /* gdb's, or one of the description's own */
    uint8_t size;               /* as gdb sees it */
    uint8_t held;               /* as KVM's structure has it; what is missing is 0 */
    uint8_t part;
    size_t offset;              /* in struct gdb_registers */
};

#define ROW(name_, type_, size_, part_, member_)                                               \
    { name_, type_, size_,                                                                     \
      MIN(size_, sizeof(((struct gdb_registers *)0)->member_)), part_,                         \
      offsetof(struct gdb_registers, member_) }
#define GENERAL(name_)      ROW(#name_, "int64", 8, PART_REGS, regs.name_)
#define SELECTOR(name_)     ROW(#name_, "int32", 4, PART_SREGS, sregs.name_.selector)
#define X87(n_)             ROW("st" #n_, "i387_ext", 10, PART_FPU, fpu.fpr[n_])
#define XMM(n_)             ROW("xmm" #n_, "vec128", 16, PART_FPU, fpu.xmm[n_])
#define SYSTEM(name_, type_, member_)   ROW(name_, type_, 8, PART_SREGS, sregs.member_)

/* The upper half of an x87 pointer is the selector where there is one (SDM vol. 1, 8.1.8). */
#define X87_POINTER(name_, member_, half_)                                                     \
    { name_, "int", 4, 4, PART_FPU, offsetof(struct gdb_registers, fpu.member_) + 4 * (half_) }

static const struct register_row core[] = {
    GENERAL(rax), GENERAL(rbx), GENERAL(rcx), GENERAL(rdx), GENERAL(rsi), GENERAL(rdi),
    ROW("rbp", "data_ptr", 8, PART_REGS, regs.rbp), ROW("rsp", "data_ptr", 8, PART_REGS, regs.rsp),
    GENERAL(r8), GENERAL(r9), GENERAL(r10), GENERAL(r11), GENERAL(r12), GENERAL(r13),
    GENERAL(r14), GENERAL(r15),
    ROW("rip", "code_ptr", 8, PART_REGS, regs.rip),
    ROW("eflags", "eflags", 4, PART_REGS, regs.rflags),
    SELECTOR(cs), SELECTOR(ss), SELECTOR(ds), SELECTOR(es), SELECTOR(fs), SELECTOR(gs),
    X87(0), X87(1), X87(2), X87(3), X87(4), X87(5), X87(6), X87(7),
    ROW("fctrl", "int", 4, PART_FPU, fpu.fcw), ROW("fstat", "int", 4, PART_FPU, fpu.fsw),
    ROW("ftag", "int", 4, PART_FPU, fpu.ftwx),
    X87_POINTER("fiseg", last_ip, 1), X87_POINTER("fioff", last_ip, 0),
    X87_POINTER("foseg", last_dp, 1), X87_POINTER("fooff", last_dp, 0),
    ROW("fop", "int", 4, PART_FPU, fpu.last_opcode),
};

static const struct register_row sse[] = {
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
    XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
    ROW("mxcsr", "mxcsr", 4, PART_FPU, fpu.mxcsr),
};

static const struct register_row segments[] = {
    ROW("fs_base", "int", 8, PART_SREGS, sregs.fs.base),
    ROW("gs_base", "int", 8, PART_SREGS, sregs.gs.base),
};

static const struct register_row system_registers[] = {
    ROW("k_gs_base", "int", 8, PART_KERNEL_GS_BASE, kernel_gs_base),
    SYSTEM("cr0", "cr0", cr0), SYSTEM("cr2", "int64", cr2), SYSTEM("cr3", "cr3", cr3),
    SYSTEM("cr4", "cr4", cr4), SYSTEM("cr8", "int64", cr8), SYSTEM("efer", "efer", efer),
};

static const struct feature {
    const char *name;
    const struct register_row *rows;
    size_t count;
} features[] = {
    { "org.gnu.gdb.i386.core", core, G_N_ELEMENTS(core) },
    { "org.gnu.gdb.i386.sse", sse, G_N_ELEMENTS(sse) },
    { "org.gnu.gdb.i386.segments", segments, G_N_ELEMENTS(segments) },
    { "org.cloister.i386.system", system_registers, G_N_ELEMENTS(system_registers) },
};

static const struct register_row *find_row(unsigned n)
{
    for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
        if (n < features[i].count)
            return &features[i].rows[n];
        n -= (unsigned)features[i].count;
    }
    return NULL;
}

/* --- The description --- */

/* Registers of named bits: "BIT:NAME" or "FIRST-LAST:NAME". */
static const struct flags_type {
    const char *id;
    unsigned size;
    const char *fields;
} flags_types[] = {
    { "eflags", 4, "0:CF 1:@ 2:PF 4:AF 6:ZF 7:SF 8:TF 9:IF 10:DF 11:OF 14:NT 16:RF "
      "17:VM 18:AC 19:VIF 20:VIP 21:ID" },
    { "mxcsr", 4, "0:IE 1:DE 2:ZE 3:OE 4:UE 5:PE 6:DAZ 7:IM 8:DM 9:ZM 10:OM 11:UM 12:PM "
      "13-14:RC 15:FZ" },
    { "cr0", 8, "0:PE 1:MP 2:EM 3:TS 4:ET 5:NE 16:WP 18:AM 29:NW 30:CD 31:PG" },
    { "cr3", 8, "0-11:PCID 12-63:PDBR" },
    { "cr4", 8, "0:VME 1:PVI 2:TSD 3:DE 4:PSE 5:PAE 6:MCE 7:PGE 8:PCE 9:OSFXSR 10:OSXMMEXCPT "
      "11:UMIP 12:LA57 13:VMXE 14:SMXE 16:FSGSBASE 17:PCIDE 18:OSXSAVE 20:SMEP 21:SMAP 22:PKE "
      "23:CET 24:PKS" },
    { "efer", 8, "0:SCE 8:LME 10:LMA 11:NXE 12:SVME 13:LMSLE 14:FFXSR 15:TCE" },
};

static void describe_flags(GString *xml, const struct flags_type *type)
{
    g_auto(GStrv) fields = g_strsplit(type->fields, " ", -1);

    g_string_append_printf(xml, "<flags id=\"%s\" size=\"%u\">", type->id, type->size);
    for (char **f = fields; *f; f++) {
        unsigned first = (unsigned)strtoul(*f, NULL, 10), last = first;
        const char *name = strchr(*f, ':') + 1, *dash = strchr(*f, '-');

        if (dash && dash < name)
            last = (unsigned)strtoul(dash + 1, NULL, 10);
        g_string_append_printf(xml, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>",
                               *name == '@' ? "" : name, first, last);
    }
    g_string_append(xml, "</flags>\n");
}

static void describe_vector(GString *xml)
{
    static const struct {
        const char *id, *type;
        unsigned count;
    } views[] = {
        { "v4f", "ieee_single", 4 }, { "v2d", "ieee_double", 2 }, { "v16i8", "int8", 16 },
        { "v8i16", "int16", 8 }, { "v4i32", "int32", 4 }, { "v2i64", "int64", 2 },
    };
    static const char *const names[] = {
        "v4_float", "v2_double", "v16_int8", "v8_int16", "v4_int32", "v2_int64",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(views); i++)
        g_string_append_printf(xml, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>", views[i].id,
                               views[i].type, views[i].count);
    g_string_append(xml, "<union id=\"vec128\">");
    for (size_t i = 0; i < G_N_ELEMENTS(views); i++)
        g_string_append_printf(xml, "<field name=\"%s\" type=\"%s\"/>", names[i], views[i].id);
    g_string_append(xml, "<field name=\"uint128\" type=\"uint128\"/></union>\n");
}

/* A feature's own types stand in it: those that its registers name. */
static void describe_types(GString *xml, const struct feature *feature)
{
    for (size_t i = 0; i < G_N_ELEMENTS(flags_types); i++) {
        for (size_t n = 0; n < feature->count; n++) {
            if (strcmp(feature->rows[n].type, flags_types[i].id) == 0)
                describe_flags(xml, &flags_types[i]);
        }
    }
    if (feature->rows == sse)
        describe_vector(xml);
}

static const char *register_group(const struct register_row *row)
{
    if (row->part != PART_FPU)
        return row->part == PART_REGS || strlen(row->name) == 2 ? "general" : "system";
    return row->size == 16 || strcmp(row->name, "mxcsr") == 0 ? "vector" : "float";
}

static GString *describe(void)
{
    GString *xml = g_string_new("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM "
                                "\"gdb-target.dtd\">\n<target version=\"1.0\">\n"
                                "<architecture>i386:x86-64</architecture>\n");
    unsigned number = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
        g_string_append_printf(xml, "<feature name=\"%s\">\n", features[i].name);
        describe_types(xml, &features[i]);
        for (size_t n = 0; n < features[i].count; n++) {
            const struct register_row *row = &features[i].rows[n];

            g_string_append_printf(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" "
                                   "group=\"%s\" regnum=\"%u\"/>\n", row->name, row->size * 8u,
                                   row->type, register_group(row), number++);
        }
        g_string_append(xml, "</feature>\n");
    }
    g_string_append(xml, "</target>\n");
    return xml;
}

const char *gdb_target_xml(void)
{
    static GString *xml;

    if (!xml)
        xml = describe();
    return xml->str;
}

/* --- The vCPU's --- */

static int msr_of(struct kvm_vcpu *vcpu, unsigned long request, uint64_t *value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = MSR_KERNEL_GS_BASE, .data = *value } };
    int ret = kvm_vcpu_ioctl(vcpu, request, &msrs);

    *value = msrs.entry.data;
    return ret < 0 ? ret : ret == 1 ? 0 : -EIO;
}

bool gdb_registers_load(struct kvm_vcpu *vcpu, struct gdb_registers *r, GError **error)
{
    int ret;

    memset(r, 0, sizeof(*r));
    ret = kvm_vcpu_ioctl(vcpu, KVM_GET_REGS, &r->regs);
    if (ret >= 0)
        ret = kvm_vcpu_ioctl(vcpu, KVM_GET_SREGS, &r->sregs);
    if (ret >= 0)
        ret = kvm_vcpu_ioctl(vcpu, KVM_GET_FPU, &r->fpu);
    if (ret >= 0)
        ret = msr_of(vcpu, KVM_GET_MSRS, &r->kernel_gs_base);
    if (ret < 0)
        error_set_errno(error, ret, "CPU %u: this KVM doesn't show the registers (those of a "
                        "guest with protected state are its own)", kvm_vcpu_index(vcpu));
    return ret >= 0;
}

bool gdb_registers_store(struct kvm_vcpu *vcpu, const struct gdb_registers *r, GError **error)
{
    uint64_t kernel_gs_base = r->kernel_gs_base;
    int ret = 0;

    if (r->sregs_changed)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_SREGS, (void *)&r->sregs);
    if (ret >= 0 && r->regs_changed)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_REGS, (void *)&r->regs);
    if (ret >= 0 && r->fpu_changed)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_FPU, (void *)&r->fpu);
    if (ret >= 0 && r->kernel_gs_base_changed)
        ret = msr_of(vcpu, KVM_SET_MSRS, &kernel_gs_base);
    if (ret < 0)
        error_set_errno(error, ret, "CPU %u: KVM doesn't take this register's value",
                        kvm_vcpu_index(vcpu));
    return ret >= 0;
}

/* --- One of them --- */

size_t gdb_register_size(unsigned n)
{
    const struct register_row *row = find_row(n);

    return row ? row->size : 0;
}

/* The tag word of FSAVE, two bits a register, of FXSAVE's one (SDM vol. 1, 8.1.7, 10.5.1.1). */
static uint16_t full_tags(const struct kvm_fpu *fpu)
{
    unsigned top = fpu->fsw >> 11 & 7;
    uint16_t tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *st = fpu->fpr[(i - top) & 7];
        unsigned exponent = (st[8] | st[9] << 8) & 0x7fff, tag = 3;
        uint64_t fraction;

        memcpy(&fraction, st, sizeof(fraction));
        if (fpu->ftwx >> i & 1)
            tag = exponent == 0 && fraction == 0 ? 1
                : exponent == 0x7fff || exponent == 0 || !(fraction >> 63) ? 2 : 0;
        tags |= (uint16_t)(tag << 2 * i);
    }
    return tags;
}

static uint8_t short_tags(uint16_t tags)
{
    uint8_t used = 0;

    for (unsigned i = 0; i < 8; i++)
        used |= (uint8_t)(((tags >> 2 * i & 3) != 3) << i);
    return used;
}

static bool is_tags(const struct register_row *row)
{
    return row->offset == offsetof(struct gdb_registers, fpu.ftwx);
}

void gdb_register_get(const struct gdb_registers *r, unsigned n, uint8_t *value)
{
    const struct register_row *row = find_row(n);
    uint16_t tags;

    memset(value, 0, row->size);
    if (!is_tags(row)) {
        memcpy(value, (const uint8_t *)r + row->offset, row->held);
        return;
    }
    tags = full_tags(&r->fpu);
    memcpy(value, &tags, sizeof(tags));
}

/* In real mode a selector is all there is to a segment; otherwise it goes with its descriptor. */
static bool set_selector(struct gdb_registers *r, const struct register_row *row,
                         uint16_t selector, GError **error)
{
    struct kvm_segment *seg = (struct kvm_segment *)((uint8_t *)r + row->offset -
                                                     offsetof(struct kvm_segment, selector));

    if ((r->sregs.cr0 & CR0_PE) && !(r->regs.rflags & 1 << 17)) {
        error_set(error, "%s can't be set from outside in protected mode: no descriptor would be "
                  "loaded", row->name);
        return false;
    }
    seg->selector = selector;
    seg->base = (uint64_t)selector << 4;
    return true;
}

static bool is_selector(const struct register_row *row)
{
    return row->part == PART_SREGS && row->size == 4;
}

bool gdb_register_set(struct gdb_registers *r, unsigned n, const uint8_t *value, GError **error)
{
    const struct register_row *row = find_row(n);
    bool *changed[] = {
        [PART_REGS] = &r->regs_changed, [PART_SREGS] = &r->sregs_changed,
        [PART_FPU] = &r->fpu_changed, [PART_KERNEL_GS_BASE] = &r->kernel_gs_base_changed,
    };
    uint8_t old[GDB_REGISTER_MAX];
    uint16_t half;

    gdb_register_get(r, n, old);
    if (memcmp(old, value, row->size) == 0)
        return true;
    memcpy(&half, value, sizeof(half));
    if (is_selector(row)) {
        if (!set_selector(r, row, half, error))
            return false;
    } else if (is_tags(row)) {
        r->fpu.ftwx = short_tags(half);
    } else {
        memcpy((uint8_t *)r + row->offset, value, row->held);
    }
    *changed[row->part] = true;
    return true;
}
