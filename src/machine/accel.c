/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Candidates are rows; what a row can do, its KVM says (kvm_vm_probe).  Nothing else
 * in the VMM knows which one was taken.
 */
#include "accel.h"

#include "boot.h"
#include "error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct candidate {
    const char *accel;          /* as -accel spells it */
    const char *title;          /* for people */
    const char *place;          /* what lacks a capability */
    const char *attributes;     /* memory-attributes= that asks for it; NULL: there is no choice */
    bool only_asked;            /* not taken without */
    bool sev;                   /* for SEV, and nothing else */
    const struct kvm_driver *driver;
} candidates[] = {
    { "kvm", "KVM", "/dev/kvm", NULL, false, false, &kvm_driver_kernel },
    { "soft", "softkvm", "softkvm", "vm", false, false, &kvm_driver_soft },
    { "soft", "softkvm", "softkvm with in-place conversion", "guest-memfd", false, false,
      &kvm_driver_soft_in_place },
    { "soft", "softkvm", "softkvm with attributes by version 2", "vm2", true, false,
      &kvm_driver_soft_vm2 },
    { "soft", "softkvm", "softkvm with SEV", NULL, false, true, &kvm_driver_soft_sev },
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
        { "KVM_CAP_EXIT_HYPERCALL", "what the guest tells of shared memory" },
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

/* Why a candidate wasn't taken. */
struct refusal {
    const struct candidate *candidate;
    char *reason;
};

static void refusal_clear(gpointer data)
{
    g_free(((struct refusal *)data)->reason);
}

/* Is it one of those that -accel and its properties leave? */
static bool is_asked_for(const struct candidate *c, const char *accel, const char *attributes,
                         bool encrypted)
{
    if ((accel && strcmp(c->accel, accel) != 0) ||
        (c->driver != &kvm_driver_kernel && c->sev != encrypted))
        return false;
    if (attributes && c->attributes)
        return strcmp(c->attributes, attributes) == 0;
    return !c->only_asked;
}

/* Candidates of one -accel name (NULL: all) until one can. */
static const struct candidate *choose_among(const char *accel, const struct machine_config *cfg,
                                            const struct kvm_needs *needs, GArray *refusals)
{
    for (size_t i = 0; i < G_N_ELEMENTS(candidates); i++) {
        struct refusal refusal = { .candidate = &candidates[i] };

        if (!is_asked_for(&candidates[i], accel, soft_attributes(cfg), needs->encrypted))
            continue;
        refusal.reason = try_candidate(&candidates[i], needs);
        if (!refusal.reason)
            return &candidates[i];
        g_array_append_val(refusals, refusal);
    }
    return NULL;
}

/* All reasons but those of the same accelerator's other variants: they are one to the user. */
static char *join_reasons(const GArray *refusals, const struct candidate *chosen)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < refusals->len; i++) {
        const struct refusal *r = &g_array_index(refusals, struct refusal, i);

        if (!chosen || strcmp(r->candidate->accel, chosen->accel) != 0)
            g_string_append_printf(text, "%s%s", text->len ? "; " : "", r->reason);
    }
    return g_string_free(text, FALSE);
}

static bool inject(const struct kvm_driver *driver, const char *what, const char *rule,
                   GError **error)
{
    if (driver->inject(what, rule) == 0)
        return true;
    error_set(error, "-accel: soft,%s=%s: it isn't understood: %s", what, rule,
              strcmp(what, "pin") ? "fail=WHAT:FIRST[-[LAST]][:ERRNO]"
                                  : "pin=OFFSET[+SIZE][:TRIES]");
    return false;
}

/* A platform that stays the same from one start to the next, for sessions of owners. */
static bool set_sev_platform(const struct machine_config *cfg, const struct kvm_driver *driver,
                             GError **error)
{
    enum { MAX_SECRET = 64 << 10 };
    const char *name = cfg->soft.sev_platform;
    g_autofree uint8_t *secret = NULL;
    uint64_t size;
    int ret = -EINVAL;

    if (!name || !driver->sev_platform)
        return true;
    if (!boot_read_file("-accel: soft,sev-platform", name, &secret, &size, error))
        return false;
    if (size <= MAX_SECRET)
        ret = driver->sev_platform(secret, size);
    explicit_bzero(secret, size);
    if (ret)
        error_set(error, "-accel: soft,sev-platform=%s: %" PRIu64 " bytes: 32 to %d that nobody else "
                  "has", name, size, MAX_SECRET);
    return ret == 0;
}

/* After the choice, whose probes aren't what the rules are for. */
static bool inject_all(const struct machine_config *cfg, const struct kvm_driver *driver,
                       GError **error)
{
    if (!driver->inject)
        return true;
    for (guint i = 0; i < cfg->soft.fails->len; i++) {
        if (!inject(driver, "fail", g_ptr_array_index(cfg->soft.fails, i), error))
            return false;
    }
    return !cfg->soft.pin || inject(driver, "pin", cfg->soft.pin, error);
}

bool accel_choose(const struct machine_config *cfg, const struct kvm_needs *needs,
                  const struct kvm_driver **ret, char **ret_reason, GError **error)
{
    g_autoptr(GArray) refusals = g_array_new(FALSE, FALSE, sizeof(struct refusal));
    const struct candidate *chosen = NULL;
    g_autofree char *reasons = NULL;
    bool kvm_only = cfg->accels->len != 0;

    g_array_set_clear_func(refusals, refusal_clear);
    if (!cfg->accels->len)
        chosen = choose_among(NULL, cfg, needs, refusals);
    for (guint i = 0; i < cfg->accels->len && !chosen; i++) {
        const char *accel = g_ptr_array_index(cfg->accels, i);

        kvm_only &= strcmp(accel, "kvm") == 0;
        chosen = choose_among(accel, cfg, needs, refusals);
    }
    reasons = join_reasons(refusals, chosen);
    if (!chosen) {
        error_set(error, "-accel: %s: %s", reasons,
                  kvm_only ? "-accel soft" : "another kvm-type or memory backend");
        return false;
    }
    if (!inject_all(cfg, chosen->driver, error) || !set_sev_platform(cfg, chosen->driver, error))
        return false;
    *ret = chosen->driver;
    *ret_reason = g_strdup_printf("using %s: %s", chosen->title,
                                  *reasons ? reasons : cfg->accels->len ? "as -accel asks"
                                                     : "it can do all that was asked");
    return true;
}
