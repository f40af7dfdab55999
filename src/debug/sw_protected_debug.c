/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The debug object of KVM's software-protected VMs.  Nothing is encrypted there
 * and no firmware guards it: whether private memory may be looked at is this
 * object's property, which whoever starts the VM sets.
 *
 * The guest has to be stopped: in place its pages are shared for the moment of a
 * copy, and a guest that ran would see them so; with two backings its vCPU copies.
 */
#include "debug_object.h"

#include "debug_memory.h"
#include "error.h"

#include <inttypes.h>

enum { ALLOW_NONE, ALLOW_READ, ALLOW_READ_WRITE };

static const char *const allow_names[] = { "none", "read", "read-write", NULL };

struct sw_protected_debug {
    struct debug_object base;
    int allow;
};

static const struct property properties[] = {
    { "allow", PROP_ENUM, offsetof(struct sw_protected_debug, allow), .names = allow_names,
      .help = "what debuggers may do with private memory (none)" },
    { NULL },
};

static bool fits(const struct kvm_vm *vm)
{
    return vm->type == KVM_X86_SW_PROTECTED_VM;
}

static const char *offer(const struct kvm_vm *vm, bool write)
{
    return write ? "-object sw-protected-vm-debug,id=d0,allow=read-write -machine debug=d0"
                 : "-object sw-protected-vm-debug,id=d0,allow=read -machine debug=d0";
}

static void policy(struct debug_object *obj, struct debug_policy *ret)
{
    int allow = ((struct sw_protected_debug *)obj)->allow;

    *ret = (struct debug_policy){
        .read = allow >= ALLOW_READ, .write = allow >= ALLOW_READ_WRITE,
    };
    g_snprintf(ret->text, sizeof(ret->text), "allow=%s", allow_names[allow]);
}

static const char *remedy(struct debug_object *obj, bool write)
{
    return write ? "start it with allow=read-write" : "start it with allow=read";
}

static bool copy_private(struct debug_object *obj, struct debug *dbg, enum debug_view view,
                         uint64_t gpa, void *buf, uint64_t size, bool write, GError **error)
{
    const struct debug_machine *machine = debug_machine(dbg);
    const char *what;
    int ret = memory_copy_private(machine->memory, machine->cpu(machine->opaque, 0), gpa, buf,
                                  size, write, &what);

    if (ret)
        error_set_errno(error, ret, "%s", what);
    return ret == 0;
}

const struct debug_object_type sw_protected_debug_type = {
    .object = {
        .name = "sw-protected-vm-debug",
        .help = "lets debuggers at the private memory of a stopped kvm-type=sw-protected-vm",
        .size = sizeof(struct sw_protected_debug),
        .properties = (const struct property *const[]){ properties, NULL },
    },
    .vms = "kvm-type=sw-protected-vm", .fits = fits, .offer = offer, .policy = policy,
    .remedy = remedy, .copy = copy_private,
};
