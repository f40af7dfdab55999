/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules for failures, from their text to the counting of calls. */
#include "test_hooks.h"

#include "ioctl_table.h"
#include "range.h"
#include "softkvm.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RULES = 32 };

/* Written before nr_rules says that it is there; only calls changes later. */
struct rule {
    enum hook hook;
    const char *ioctl;          /* of a table; NULL: not HOOK_IOCTL */
    uint64_t first, last;       /* calls that fail, from 1 */
    int error;                  /* positive */
    uint64_t calls;             /* atomic */
};

static struct {
    pthread_mutex_t lock;       /* who adds or removes */
    struct rule rule[MAX_RULES];
    unsigned nr_rules;          /* atomic */
    struct hook_pin pin;        /* under lock */
} hooks = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const struct {
    const char *name;
    enum hook hook;
} kinds[] = {
    { "attributes", HOOK_ATTRIBUTES },
    { "page", HOOK_PAGE },
    { "slot", HOOK_SLOT },
    { "mapping", HOOK_MAPPING },
};

/* The table's own string; NULL: no such ioctl. */
static const char *find_ioctl(const char *name)
{
    static const struct ioctl_table *const tables[] = {
        &system_ioctls, &vm_ioctls, &vcpu_ioctls, &guest_memfd_ioctls,
    };

    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            if (!strcmp(tables[t]->rows[i].name, name))
                return tables[t]->rows[i].name;
        }
    }
    return NULL;
}

static bool parse_what(const char *text, struct rule *rule)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!strcmp(kinds[i].name, text)) {
            rule->hook = kinds[i].hook;
            return true;
        }
    }
    rule->hook = HOOK_IOCTL;
    rule->ioctl = find_ioctl(text);
    return rule->ioctl;
}

/* Digits, or 0x and such; *text moves behind them. */
static bool parse_number(const char **text, uint64_t *ret)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    *ret = strtoull(*text, &end, 0);
    *text = end;
    return !errno;
}

/* "3", "3-5", "3-": the calls that fail. */
static bool parse_calls(const char **text, struct rule *rule)
{
    if (!parse_number(text, &rule->first) || !rule->first)
        return false;
    rule->last = rule->first;
    if (**text != '-')
        return true;
    ++*text;
    rule->last = UINT64_MAX;
    if (**text >= '0' && **text <= '9' && !parse_number(text, &rule->last))
        return false;
    return rule->last >= rule->first;
}

/* "EAGAIN", "11". */
static bool parse_errno(const char *text, struct rule *rule)
{
    enum { LAST_ERRNO = 133 };
    uint64_t number = 0;

    for (int i = 1; i <= LAST_ERRNO; i++) {
        const char *name = strerrorname_np(i);

        if (name && !strcmp(name, text))
            number = i;
    }
    if (!number && (!parse_number(&text, &number) || *text))
        return false;
    rule->error = number <= LAST_ERRNO ? (int)number : 0;
    return rule->error;
}

/* WHAT:FIRST[-[LAST]][:ERRNO] */
static bool parse_rule(const char *text, struct rule *rule)
{
    const char *colon = strchr(text, ':');
    char what[64];

    if (!colon || (size_t)(colon - text) >= sizeof(what))
        return false;
    memcpy(what, text, colon - text);
    what[colon - text] = 0;
    *rule = (struct rule){ .error = ENOMEM };
    text = colon + 1;
    if (!parse_what(what, rule) || !parse_calls(&text, rule))
        return false;
    return !*text || (*text == ':' && parse_errno(text + 1, rule));
}

int softkvm_fail(const char *text)
{
    struct rule rule;
    unsigned n;
    int ret = 0;

    if (text && !parse_rule(text, &rule))
        return -EINVAL;
    pthread_mutex_lock(&hooks.lock);
    n = text ? hooks.nr_rules : 0;
    if (text && n < MAX_RULES)
        hooks.rule[n++] = rule;
    else if (text)
        ret = -ENOSPC;
    __atomic_store_n(&hooks.nr_rules, n, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&hooks.lock);
    return ret;
}

/* A rule for each call counts it; of several that would fail it, the first says how. */
static int count_call(enum hook hook, const char *ioctl)
{
    unsigned n = __atomic_load_n(&hooks.nr_rules, __ATOMIC_ACQUIRE);
    int ret = 0;

    for (unsigned i = 0; i < n; i++) {
        struct rule *rule = &hooks.rule[i];
        uint64_t call;

        if (rule->hook != hook || (ioctl && strcmp(rule->ioctl, ioctl)))
            continue;
        call = __atomic_add_fetch(&rule->calls, 1, __ATOMIC_RELAXED);
        if (!ret && call >= rule->first && call <= rule->last)
            ret = -rule->error;
    }
    return ret;
}

int hook_ioctl(const char *name)
{
    return count_call(HOOK_IOCTL, name);
}

int hook_fails(enum hook hook)
{
    return count_call(hook, NULL);
}

int hook_is_set(enum hook hook)
{
    unsigned n = __atomic_load_n(&hooks.nr_rules, __ATOMIC_ACQUIRE);

    for (unsigned i = 0; i < n; i++) {
        if (hooks.rule[i].hook == hook)
            return true;
    }
    return false;
}

/* OFFSET[+SIZE][:TRIES], one page unless said. */
static bool parse_pin(const char *text, struct hook_pin *pin)
{
    uint64_t tries = 0;

    *pin = (struct hook_pin){ .size = GUEST_PAGE_SIZE };
    if (!parse_number(&text, &pin->offset))
        return false;
    if (*text == '+' && (text++, !parse_number(&text, &pin->size)))
        return false;
    if (*text == ':' && (text++, !parse_number(&text, &tries)))
        return false;
    pin->tries = tries;
    return !*text && tries <= UINT_MAX && pin->size &&
           is_aligned(pin->offset | pin->size, GUEST_PAGE_SIZE) &&
           !range_wraps(pin->offset, pin->size);
}

int softkvm_pin_new(const char *text)
{
    struct hook_pin pin = { 0 };

    if (text && !parse_pin(text, &pin))
        return -EINVAL;
    pthread_mutex_lock(&hooks.lock);
    hooks.pin = pin;
    pthread_mutex_unlock(&hooks.lock);
    return 0;
}

struct hook_pin hook_pin(void)
{
    struct hook_pin pin;

    pthread_mutex_lock(&hooks.lock);
    pin = hooks.pin;
    pthread_mutex_unlock(&hooks.lock);
    return pin;
}
