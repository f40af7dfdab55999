/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which processor KVM_GET_SUPPORTED_CPUID announces: all that there is, or less.
 * It limits what a VMM is told, as a KVM on an older machine would; what the
 * guest's instructions do stays the same.
 */
#ifndef SOFTKVM_CPU_MODEL_H
#define SOFTKVM_CPU_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpuid_entry;

enum { CPU_MODEL_WORDS = 8 };

struct cpu_model {
    bool amd;
    bool sev;                   /* AMD's memory encryption; then amd too */
    uint32_t lacks[CPU_MODEL_WORDS];    /* bits of the feature words; cpu_model.c has their order */
};

/*
 * cpu_model_parse - "MODEL[,vendor=intel|amd][,+FEATURE|,-FEATURE]..."; NULL: "max".
 * Returns NULL, or what is wrong with it and what there is; *model is unspecified then.
 */
const char *cpu_model_parse(const char *text, struct cpu_model *model);

/* Take out of n entries what the model lacks, and add what is only its: how many there are. */
size_t cpu_model_apply(const struct cpu_model *model, struct cpuid_entry *entries, size_t n,
                       size_t max);

#endif
