/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which kinds of debug objects there are. */
#include "debug_object.h"

#include "error.h"

static const struct debug_object_type *const kinds[] = { &sw_protected_debug_type };

void debug_register_objects(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        object_type_register(&kinds[i]->object);
}

struct debug_object *debug_object_find(const char *id, GError **error)
{
    struct object *obj = object_find(id);

    for (size_t i = 0; obj && i < G_N_ELEMENTS(kinds); i++) {
        if (obj->type == &kinds[i]->object) {
            struct debug_object *found = (struct debug_object *)obj;

            found->kind = kinds[i];
            return found;
        }
    }
    if (obj)
        error_set(error, "debug=%s: a %s isn't for debugging: -object %s,id=%s", id,
                  obj->type->name, kinds[0]->object.name, id);
    else
        error_set(error, "debug=%s: there is no such object: -object %s,id=%s", id,
                  kinds[0]->object.name, id);
    return NULL;
}
