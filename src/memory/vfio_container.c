/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mappings of a container, by address: each is one call to the IOMMU, and can only
 * be undone as a whole (type 1 v2).  So a hole in one is made by undoing it and
 * mapping what is left on both sides; neighbours are joined only when the limit is
 * reached, since that too undoes what a device may be using.
 *
 * Letting go can't fail.  When the limit leaves no room for both sides of a hole,
 * the smaller one stays wanted but unmapped, is counted as missing, and is mapped as
 * soon as there is room.
 */
#include "vfio_container.h"

#include "discard.h"
#include "error.h"
#include "vfio_type1.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

struct dma {
    uint64_t gpa, size;
    char *host;
    bool readonly;
    bool mapped;
};

struct vfio_container {
    struct object obj;
    uint32_t max_mappings;
    uint64_t max_locked;
    char *group;
    struct memory_listener listener;
    struct vfio_type1 iommu;
    pthread_mutex_t lock;
    GArray *dmas;               /* struct dma, ascending, not overlapping */
    struct vfio_container_info info;
    bool attached;
};

/* Linux's default of the parameter dma_entry_limit. */
enum { DEFAULT_MAX_MAPPINGS = 65535 };

static struct memory *attached_to;      /* main thread */

static struct vfio_container *of(struct object *obj)
{
    return (struct vfio_container *)obj;
}

static struct dma *dma_at(struct vfio_container *c, guint i)
{
    return &g_array_index(c->dmas, struct dma, i);
}

/* --- One mapping: the IOMMU's call and the books --- */

static int dma_map(struct vfio_container *c, struct dma *dma)
{
    int ret = 0;

    if (c->info.mappings >= c->max_mappings)
        return -ENOSPC;
    if (c->max_locked && dma->size > c->max_locked - c->info.locked)
        return -ENOMEM;
    if (c->group)
        ret = vfio_type1_map(&c->iommu, dma->gpa, dma->host, dma->size, dma->readonly);
    if (ret)
        return ret;
    dma->mapped = true;
    c->info.mappings++;
    c->info.locked += dma->size;
    return 0;
}

static void dma_unmap(struct vfio_container *c, struct dma *dma)
{
    if (!dma->mapped)
        return;
    if (c->group)
        vfio_type1_unmap(&c->iommu, dma->gpa, dma->size);
    dma->mapped = false;
    c->info.mappings--;
    c->info.locked -= dma->size;
}

/* --- All of them --- */

/* Index of the first one that ends after gpa. */
static guint dma_find(struct vfio_container *c, uint64_t gpa)
{
    guint low = 0, high = c->dmas->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        const struct dma *dma = dma_at(c, middle);

        if (dma->gpa + dma->size > gpa)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool are_neighbours(const struct dma *a, const struct dma *b)
{
    return a->gpa + a->size == b->gpa && a->host + a->size == b->host &&
           a->readonly == b->readonly;
}

/* Join all neighbours; for a moment a device can't reach what is joined. */
static void merge_neighbours(struct vfio_container *c)
{
    guint kept = 0;

    if (!c->dmas->len)
        return;
    for (guint i = 1, n = c->dmas->len; i < n; i++) {
        struct dma *last = dma_at(c, kept), *next = dma_at(c, i);

        if (!are_neighbours(last, next)) {
            *dma_at(c, ++kept) = *next;
            continue;
        }
        dma_unmap(c, last);
        dma_unmap(c, next);
        last->size += next->size;
        c->info.merges++;
    }
    g_array_set_size(c->dmas, kept + 1);
}

/* Map what was left out, as far as it can be. */
static void map_missing(struct vfio_container *c)
{
    c->info.missing = 0;
    for (guint i = 0; i < c->dmas->len; i++) {
        struct dma *dma = dma_at(c, i);

        if (!dma->mapped && dma_map(c, dma) != 0)
            c->info.missing += dma->size;
    }
}

/* Room for one more mapping, by joining if need be. */
static void make_room(struct vfio_container *c)
{
    if (c->info.mappings < c->max_mappings)
        return;
    merge_neighbours(c);
    map_missing(c);
}

static void map_or_miss(struct vfio_container *c, struct dma *dma)
{
    if (dma_map(c, dma) != 0)
        c->info.missing += dma->size;
}

/* What is left of mapping i without [start, end): nothing, one or both sides of it. */
static void cut(struct vfio_container *c, guint i, uint64_t start, uint64_t end)
{
    struct dma old = *dma_at(c, i), left = old, right = old;

    if (!old.mapped)
        c->info.missing -= old.size;
    dma_unmap(c, dma_at(c, i));
    g_array_remove_index(c->dmas, i);
    old.mapped = left.mapped = right.mapped = false;
    if (old.gpa + old.size > end) {
        right.host += end - right.gpa;
        right.size -= end - right.gpa;
        right.gpa = end;
        g_array_insert_val(c->dmas, i, right);
    }
    if (old.gpa < start) {
        left.size = start - left.gpa;
        g_array_insert_val(c->dmas, i, left);
    }
    if (old.gpa < start && old.gpa + old.size > end) {
        guint larger = left.size >= right.size ? i : i + 1;

        c->info.splits++;
        map_or_miss(c, dma_at(c, larger));
        map_or_miss(c, dma_at(c, larger == i ? i + 1 : i));
        if (c->info.missing)
            make_room(c);
    } else if (old.gpa < start || old.gpa + old.size > end) {
        map_or_miss(c, dma_at(c, i));
    } else if (c->info.missing) {
        map_missing(c);
    }
}

static struct vfio_container *listening(struct memory_listener *listener)
{
    return (struct vfio_container *)((char *)listener -
                                     offsetof(struct vfio_container, listener));
}

/* Map what is wanted from gpa on; joined with its neighbours, if there is no room else. */
static int map_wanted(struct vfio_container *c, uint64_t gpa)
{
    struct dma *dma = dma_at(c, dma_find(c, gpa));
    int ret = dma_map(c, dma);

    if (!ret)
        c->info.missing -= dma->size;
    if (ret != -ENOSPC)
        return ret;
    make_room(c);
    return dma_at(c, dma_find(c, gpa))->mapped ? 0 : ret;
}

static int on_populate(struct memory_listener *listener, const struct memory_section *section)
{
    struct vfio_container *c = listening(listener);
    struct dma dma = {
        .gpa = section->gpa, .size = section->size, .host = section->host,
        .readonly = section->readonly,
    };
    int ret;

    pthread_mutex_lock(&c->lock);
    g_array_insert_val(c->dmas, dma_find(c, dma.gpa), dma);
    c->info.missing += dma.size;
    ret = map_wanted(c, dma.gpa);
    if (ret && section->again) {
        ret = 0;                /* missing until there is room */
    } else if (ret) {
        c->info.refused++;
        cut(c, dma_find(c, dma.gpa), dma.gpa, dma.gpa + dma.size);
    }
    pthread_mutex_unlock(&c->lock);
    return ret;
}

static void on_discard(struct memory_listener *listener, const struct memory_section *section)
{
    struct vfio_container *c = listening(listener);
    uint64_t end = section->gpa + section->size;
    guint i;

    pthread_mutex_lock(&c->lock);
    while ((i = dma_find(c, section->gpa)) < c->dmas->len && dma_at(c, i)->gpa < end)
        cut(c, i, section->gpa, end);
    pthread_mutex_unlock(&c->lock);
}

/* Mapped or missing makes no difference here: it is known to be there, at that address. */
static bool on_check(struct memory_listener *listener, const struct memory_section *section,
                     bool populated)
{
    struct vfio_container *c = listening(listener);
    uint64_t at = section->gpa, end = section->gpa + section->size;
    bool held = true, any;
    guint i;

    pthread_mutex_lock(&c->lock);
    i = dma_find(c, at);
    any = i < c->dmas->len && dma_at(c, i)->gpa < end;
    for (; at < end && held; i++) {
        const struct dma *dma = i < c->dmas->len ? dma_at(c, i) : NULL;

        held = dma && dma->gpa <= at &&
               dma->host + (at - dma->gpa) == (char *)section->host + (at - section->gpa);
        if (held)
            at = dma->gpa + dma->size;
    }
    pthread_mutex_unlock(&c->lock);
    return populated ? held : !any;
}

/* --- Attaching --- */

static bool attach(struct vfio_container *c, struct memory *mem, GError **error)
{
    int ret;

    if (c->attached)
        return true;
    ret = memory_listener_add(mem, &c->listener);
    c->attached = ret == 0;
    if (ret == -ENOSPC)
        error_set(error, "vfio-container '%s' can't map the guest's memory: more than "
                  "max-mappings=%u", c->obj.id, c->max_mappings);
    else if (ret == -ENOMEM && c->max_locked)
        error_set(error, "vfio-container '%s' can't map the guest's memory: more than "
                  "max-locked=%" PRIu64 " bytes, or than the host lets be locked", c->obj.id,
                  c->max_locked);
    else if (ret)
        error_set_errno(error, ret, "vfio-container '%s' can't map the guest's memory", c->obj.id);
    return ret == 0;
}

static void detach(struct vfio_container *c)
{
    if (c->attached)
        memory_listener_remove(attached_to, &c->listener);
    c->attached = false;
}

static bool is_container(struct object *obj)
{
    return obj && strcmp(obj->type->name, "vfio-container") == 0;
}

bool vfio_containers_attach(struct memory *mem, GError **error)
{
    g_autoptr(GPtrArray) objects = object_list();
    bool ok = true;

    attached_to = mem;
    for (guint i = 0; i < objects->len && ok; i++) {
        if (is_container(g_ptr_array_index(objects, i)))
            ok = attach(of(g_ptr_array_index(objects, i)), mem, error);
    }
    return ok;
}

void vfio_containers_detach(void)
{
    g_autoptr(GPtrArray) objects = object_list();

    for (guint i = 0; i < objects->len; i++) {
        if (is_container(g_ptr_array_index(objects, i)))
            detach(of(g_ptr_array_index(objects, i)));
    }
    attached_to = NULL;
}

bool vfio_container_get_info(struct object *obj, struct vfio_container_info *ret)
{
    struct vfio_container *c = of(obj);

    if (!is_container(obj))
        return false;
    pthread_mutex_lock(&c->lock);
    *ret = c->info;
    pthread_mutex_unlock(&c->lock);
    ret->id = obj->id;
    ret->group = c->group;
    ret->max_mappings = c->max_mappings;
    ret->max_locked = c->max_locked;
    return true;
}

/* --- The object --- */

static const struct property properties[] = {
    { "max-mappings", PROP_UINT32, offsetof(struct vfio_container, max_mappings),
      .help = "how many mappings there may be at once (65535, as in Linux)" },
    { "max-locked", PROP_SIZE, offsetof(struct vfio_container, max_locked),
      .help = "how much memory may be locked by mappings (0: no limit)" },
    { "group", PROP_STRING, offsetof(struct vfio_container, group),
      .help = "program the IOMMU of this VFIO group (/dev/vfio/N); without it: keep the books only" },
    { NULL }
};

static void container_init(struct object *obj)
{
    struct vfio_container *c = of(obj);

    c->max_mappings = DEFAULT_MAX_MAPPINGS;
    c->iommu.container = c->iommu.group = -1;
    c->listener.populate = on_populate;
    c->listener.discard = on_discard;
    c->listener.agrees = on_check;
    c->dmas = g_array_new(FALSE, FALSE, sizeof(struct dma));
    pthread_mutex_init(&c->lock, NULL);
}

static bool container_complete(struct object *obj, GError **error)
{
    struct vfio_container *c = of(obj);

    if (!c->max_mappings) {
        error_set(error, "property 'max-mappings' of vfio-container doesn't take value '0'");
        return false;
    }
    if (c->group && !vfio_type1_open(&c->iommu, c->group, error)) {
        g_prefix_error(error, "vfio-container '%s': ", obj->id);
        return false;
    }
    return !attached_to || attach(c, attached_to, error);
}

static void container_finalize(struct object *obj)
{
    struct vfio_container *c = of(obj);

    detach(c);
    vfio_type1_close(&c->iommu);
    g_array_free(c->dmas, TRUE);
    pthread_mutex_destroy(&c->lock);
}

static const struct property *const lists[] = { properties, NULL };

static const struct object_type type = {
    "vfio-container",
    "holds DMA mappings of guest memory as for an assigned device: its limits meet conversions",
    sizeof(struct vfio_container), lists, container_init, container_complete, container_finalize,
};

void memory_register_vfio_container(void)
{
    object_type_register(&type);
}
