/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables of properties, beyond what object.h offers to everybody. */
#ifndef OBJECT_PROPERTY_H
#define OBJECT_PROPERTY_H

#include "object.h"

/* NULL: the table has none of that name. */
const struct property *property_find(const struct property *table, const char *name);
/* Like property_set_text(), from JSON. */
bool property_set_json(const struct property *table, void *base, const char *name,
                       struct json_object *value, bool *found, GError **error);
/* New reference. */
struct json_object *property_get_json(const struct property *prop, const void *base);
/* Of the first of the tables (a NULL-terminated list) that has the name; NULL: none. */
struct json_object *property_tables_get_json(const struct property *const *tables,
                                             const void *base, const char *name);
const char *property_kind_name(enum property_kind kind);
/* Free what the values own, and leave them NULL. */
void property_free_all(const struct property *table, void *base);

#endif
