/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Candidates are rows; what a row can do, its KVM says (kvm_vm_probe).  Nothing else
 * in the VMM knows which one was taken.
 */
#include "accel.h"

#include "error.h"

#include <errno.h>
#include <string.h>

static const struct candidate {
    const char *accel;          /* as -accel spells it */
    const char *title;          /* for people */
    const char *place;          /* what lacks a capability */
    const struct kvm_driver *driver;
} candidates[] = {
    { "kvm", "KVM", "/dev/kvm", &kvm_driver_kernel },
    { "soft", "softkvm", "softkvm", &kvm_driver_soft },
    { "soft", "softkvm", "softkvm with in-place conversion", &kvm_driver_soft_in_place },
};

/* What a capability is for, in words; NULL: its name says enough. */
static const char *capability_meaning(const char *name)
{
    static const struct {
        const char *name, *meaning;
    } meanings[] = {
        { "KVM_CAP_MEMORY_ATTRIBUTES", "private memory" },
        { "KVM_CAP_GUEST_MEMFD", "guest_memfd" },
        { "KVM_CAP_GUEST_MEMFD_FLAGS", "guest_memfd as ordinary memory" },
        { "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES", "private memory converted in place" },
        { "KVM_CAP_VM_TYPES", "this kvm-type" },
        { "KVM_CAP_USER_MEMORY2", "memory slots with a guest_memfd" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(meanings); i++) {
        size_t length = strlen(meanings[i].name);

        /* The driver may add the number: "KVM_CAP_GUEST_MEMFD (234)". */
        if (strncmp(meanings[i].name, name, length) == 0 &&
            (name[length] == ' ' || !name[length]))
            return meanings[i].meaning;
    }
    return NULL;
}

/* NULL: it can.  Else why not; caller frees. */
static char *try_candidate(const struct candidate *c, const struct kvm_needs *needs)
{
    const char *missing = NULL, *meaning;
    int ret = kvm_vm_probe(c->driver, needs, &missing);

    if (ret == 0)
        return NULL;
    if (ret != -ENOTSUP || !missing)
        return g_strdup_printf("%s can't be used (%s)", c->place, g_strerror(-ret));
    meaning = capability_meaning(missing);
    if (!meaning)
        return g_strdup_printf("%s lacks %s", c->place, missing);
    return g_strdup_printf("%s lacks %.*s (%s)", c->place, (int)strcspn(missing, " "), missing,
                           meaning);
}

static void add_reason(GString *reasons, const char *reason)
{
    g_string_append_printf(reasons, "%s%s", reasons->len ? "; " : "", reason);
}

/* Candidates of one -accel name (NULL: all) until one can. */
static const struct candidate *choose_among(const char *accel, const struct kvm_needs *needs,
                                            GString *reasons)
{
    for (size_t i = 0; i < G_N_ELEMENTS(candidates); i++) {
        const struct candidate *c = &candidates[i];
        g_autofree char *reason = NULL;

        if (accel && strcmp(c->accel, accel) != 0)
            continue;
        reason = try_candidate(c, needs);
        if (!reason)
            return c;
        /* The two kinds of softkvm are one to the user: that the first wasn't it is no news. */
        if (i + 1 == G_N_ELEMENTS(candidates) || c->driver != &kvm_driver_soft)
            add_reason(reasons, reason);
    }
    return NULL;
}

bool accel_choose(const struct machine_config *cfg, const struct kvm_needs *needs,
                  const struct kvm_driver **ret, char **ret_reason, GError **error)
{
    g_autoptr(GString) reasons = g_string_new(NULL);
    const struct candidate *chosen = NULL;
    bool kvm_only = cfg->accels->len != 0;

    if (!cfg->accels->len)
        chosen = choose_among(NULL, needs, reasons);
    for (guint i = 0; i < cfg->accels->len && !chosen; i++) {
        const char *accel = g_ptr_array_index(cfg->accels, i);

        kvm_only &= strcmp(accel, "kvm") == 0;
        chosen = choose_among(accel, needs, reasons);
    }
    if (!chosen) {
        error_set(error, "-accel: %s: %s", reasons->str,
                  kvm_only ? "-accel soft" : "another kvm-type or memory backend");
        return false;
    }
    *ret = chosen->driver;
    *ret_reason = g_strdup_printf("using %s: %s", chosen->title,
                                  reasons->len ? reasons->str
                                  : cfg->accels->len ? "as -accel asks"
                                                     : "it can do all that was asked");
    return true;
}
