/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Models, vendors and features by the names that QEMU and Linux use.
 * Levels: x86-64 psABI 1.0, 3.1.1.  AMD's leaves: APM vol. 3, appendix E.
 */
#include "cpu_model.h"

#include "cpu.h"
#include "sev.h"

#include <string.h>

enum { REG_A, REG_B, REG_C, REG_D };

/* The words that hold the features below. */
enum { F_1C, F_1D, F_7B, F_7C, F_7D, F_81C, F_81D, F_87D, F_WORDS };
_Static_assert((int)F_WORDS == (int)CPU_MODEL_WORDS, "cpu_model.h");

static const struct {
    uint32_t leaf;
    uint8_t reg;
} words[F_WORDS] = {
    [F_1C] = { 0x1, REG_C }, [F_1D] = { 0x1, REG_D }, [F_7B] = { 0x7, REG_B },
    [F_7C] = { 0x7, REG_C }, [F_7D] = { 0x7, REG_D }, [F_81C] = { 0x80000001, REG_C },
    [F_81D] = { 0x80000001, REG_D }, [F_87D] = { 0x80000007, REG_D },
};

/* LEVEL_ASKED: only where it is asked for, as kernels then use what costs them. */
enum { LEVEL_1 = 1, LEVEL_2, LEVEL_MAX, LEVEL_ASKED };

/* What can be switched, and from which level on it is there. */
static const struct feature {
    const char *name;
    uint8_t word, bit, level;
} features[] = {
    { "pni", F_1C, 0, LEVEL_2 },        { "sse3", F_1C, 0, LEVEL_2 },
    { "ssse3", F_1C, 9, LEVEL_2 },      { "cx16", F_1C, 13, LEVEL_2 },
    { "sse4.1", F_1C, 19, LEVEL_2 },    { "sse4.2", F_1C, 20, LEVEL_2 },
    { "x2apic", F_1C, 21, LEVEL_1 },    { "movbe", F_1C, 22, LEVEL_MAX },
    { "popcnt", F_1C, 23, LEVEL_2 },    { "xsave", F_1C, 26, LEVEL_MAX },
    { "rdrand", F_1C, 30, LEVEL_MAX },  { "hypervisor", F_1C, 31, LEVEL_1 },
    { "vme", F_1D, 1, LEVEL_1 },        { "pse36", F_1D, 17, LEVEL_1 },
    { "fsgsbase", F_7B, 0, LEVEL_MAX }, { "tsc_adjust", F_7B, 1, LEVEL_MAX },
    { "smep", F_7B, 7, LEVEL_MAX },     { "erms", F_7B, 9, LEVEL_MAX },
    { "rdseed", F_7B, 18, LEVEL_MAX },  { "smap", F_7B, 20, LEVEL_MAX },
    { "umip", F_7C, 2, LEVEL_MAX },     { "la57", F_7C, 16, LEVEL_ASKED },
    { "rdpid", F_7C, 22, LEVEL_MAX },
    { "fsrm", F_7D, 4, LEVEL_MAX },     { "lahf_lm", F_81C, 0, LEVEL_2 },
    { "3dnowprefetch", F_81C, 8, LEVEL_MAX }, { "pdpe1gb", F_81D, 26, LEVEL_MAX },
    { "rdtscp", F_81D, 27, LEVEL_MAX }, { "invtsc", F_87D, 8, LEVEL_MAX },
};

static const struct {
    const char *name;
    bool amd;
    uint8_t level;
} models[] = {
    { "max", false, LEVEL_MAX },
    { "amd", true, LEVEL_MAX },
    { "x86-64", false, LEVEL_1 },
    { "x86-64-v2", false, LEVEL_2 },
};

static const struct {
    const char *name;
    bool amd;
} vendors[] = {
    { "intel", false }, { "GenuineIntel", false }, { "amd", true }, { "AuthenticAMD", true },
};

#define NR(table_) (sizeof(table_) / sizeof((table_)[0]))

/* The first length bytes of text are name. */
static bool is(const char *text, size_t length, const char *name)
{
    return strlen(name) == length && !memcmp(text, name, length);
}

static const char *set_model(struct cpu_model *model, const char *text, size_t length)
{
    for (size_t i = 0; i < NR(models); i++) {
        if (!is(text, length, models[i].name))
            continue;
        model->amd = models[i].amd;
        for (size_t n = 0; n < NR(features); n++) {
            if (features[n].level > models[i].level)
                model->lacks[features[n].word] |= 1u << features[n].bit;
        }
        return NULL;
    }
    return "no such model; there are max, amd, x86-64, x86-64-v2";
}

static const char *set_vendor(struct cpu_model *model, const char *text, size_t length)
{
    for (size_t i = 0; i < NR(vendors); i++) {
        if (!is(text, length, vendors[i].name))
            continue;
        model->amd = vendors[i].amd;
        return NULL;
    }
    return "the vendor is intel or amd";
}

static const char *set_feature(struct cpu_model *model, const char *text, size_t length, bool on)
{
    for (size_t i = 0; i < NR(features); i++) {
        if (!is(text, length, features[i].name))
            continue;
        model->lacks[features[i].word] &= ~(1u << features[i].bit);
        if (!on)
            model->lacks[features[i].word] |= 1u << features[i].bit;
        return NULL;
    }
    return "no feature of that name can be switched; there are sse3, ssse3, cx16, sse4.1, sse4.2, "
           "x2apic, movbe, popcnt, xsave, rdrand, hypervisor, vme, pse36, fsgsbase, tsc_adjust, "
           "smep, erms, rdseed, smap, umip, la57, rdpid, fsrm, lahf_lm, 3dnowprefetch, pdpe1gb, rdtscp, "
           "invtsc";
}

static const char *set_item(struct cpu_model *model, const char *text, size_t length)
{
    static const char vendor[] = "vendor=";
    size_t prefix = sizeof(vendor) - 1;

    if (length > prefix && !strncmp(text, vendor, prefix))
        return set_vendor(model, text + prefix, length - prefix);
    if (length && (*text == '+' || *text == '-'))
        return set_feature(model, text + 1, length - 1, *text == '+');
    return "after the model come vendor=, +FEATURE and -FEATURE";
}

const char *cpu_model_parse(const char *text, struct cpu_model *model)
{
    size_t length;
    const char *wrong;

    memset(model, 0, sizeof(*model));
    if (!text)
        text = "max";
    length = strcspn(text, ",");
    wrong = set_model(model, text, length);
    while (!wrong && text[length]) {
        text += length + 1;
        length = strcspn(text, ",");
        wrong = set_item(model, text, length);
    }
    return wrong;
}

static uint32_t *register_of(struct cpuid_entry *entry, unsigned reg)
{
    uint32_t *registers[] = { &entry->eax, &entry->ebx, &entry->ecx, &entry->edx };

    return registers[reg];
}

/* Family 15, model 107, stepping 1: what QEMU's qemu64 is. */
enum { AMD_FAMILY_MODEL_STEPPING = 0x00060fb1 };

/* Bits of leaf 1's EDX that AMD repeats in leaf 80000001. */
#define AMD_REPEATED 0x0183f3ffu

/* Caches are described by leaves 80000005 and 80000006 alone. */
static bool is_intels_own(uint32_t leaf)
{
    return leaf == 0x2 || leaf == 0x4;
}

static void to_amd(struct cpuid_entry *entry, uint32_t leaf_1_edx)
{
    if (entry->leaf == 0x0 || entry->leaf == 0x80000000) {
        entry->ebx = 0x68747541;        /* "AuthenticAMD": ebx, edx, ecx */
        entry->edx = 0x69746e65;
        entry->ecx = 0x444d4163;
    } else if (entry->leaf == 0x1) {
        entry->eax = AMD_FAMILY_MODEL_STEPPING;
    } else if (entry->leaf == 0x80000001) {
        entry->eax = AMD_FAMILY_MODEL_STEPPING;
        entry->edx |= leaf_1_edx & AMD_REPEATED;
    }
}

size_t cpu_model_apply(const struct cpu_model *model, struct cpuid_entry *entries, size_t n,
                       size_t max)
{
    uint32_t leaf_1_edx = 0;
    bool xsave = !(model->lacks[F_1C] & 1u << 26);
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        struct cpuid_entry entry = entries[i];

        if ((model->amd && is_intels_own(entry.leaf)) || (!xsave && entry.leaf == 0xd))
            continue;
        for (unsigned word = 0; word < F_WORDS; word++) {
            if (words[word].leaf == entry.leaf && entry.subleaf == 0)
                *register_of(&entry, words[word].reg) &= ~model->lacks[word];
        }
        if (entry.leaf == 0x80000008 && model->lacks[F_7C] & 1u << 16)
            entry.eax = (entry.eax & ~0xff00u) | 48 << 8;       /* bits of a linear address */
        if (entry.leaf == 0x1)
            leaf_1_edx = entry.edx;
        if (model->amd)
            to_amd(&entry, leaf_1_edx);
        if (model->sev && entry.leaf == 0x80000000)
            entry.eax = SEV_CPUID_LEAF;
        entries[kept++] = entry;
    }
    if (model->sev && kept < max)
        entries[kept++] = (struct cpuid_entry){ SEV_CPUID_LEAF, 0, false, SEV_CPUID_EAX, SEV_C_BIT,
                                                SEV_GUESTS, 1 };
    return kept;
}
