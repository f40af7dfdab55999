/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which kinds of debug objects there are. */
#include "debug_object.h"

#include "error.h"

static const struct debug_object_type *const kinds[] = {
    &sw_protected_debug_type, &sev_debug_type,
};

void debug_register_objects(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        object_type_register(&kinds[i]->object);
}

const struct debug_object_type *debug_object_kind(const struct kvm_vm *vm)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i]->fits(vm))
            return kinds[i];
    }
    return NULL;
}

static const struct debug_object_type *kind_of(const struct object *obj)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (obj->type == &kinds[i]->object)
            return kinds[i];
    }
    return NULL;
}

/* "; -object KIND,id=ID is for this one", or nothing. */
static char *suggestion(const struct debug_object_type *fitting, const char *id)
{
    return fitting ? g_strdup_printf(": -object %s,id=%s", fitting->object.name, id)
                   : g_strdup(": leave it out, this VM's memory needs none");
}

struct debug_object *debug_object_find(const char *id, struct kvm_vm *vm, GError **error)
{
    const struct debug_object_type *kind, *fitting = debug_object_kind(vm);
    struct object *obj = object_find(id);
    g_autofree char *help = suggestion(fitting, id);
    struct debug_object *found;

    if (!obj) {
        error_set(error, "debug=%s: there is no such object%s", id, help);
        return NULL;
    }
    kind = kind_of(obj);
    if (!kind) {
        error_set(error, "debug=%s: a %s isn't for debugging%s", id, obj->type->name, help);
        return NULL;
    }
    if (kind != fitting) {
        error_set(error, "debug=%s: a %s is for %s%s", id, obj->type->name, kind->vms, help);
        return NULL;
    }
    found = (struct debug_object *)obj;
    found->kind = kind;
    found->vm = vm;
    return found;
}
