/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory backends (-object memory-backend-*): what the user asks of guest RAM,
 * checked as a whole.  Names, defaults and messages are those of QEMU 10.2 where
 * it has them; private=on and memory-backend-guest-memfd are
 * from proposals to it.
 */
#include "error.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <string.h>

#define FIELD(name) offsetof(struct memory_backend, name)

static const struct property size_properties[] = {
    { "size", PROP_SIZE, FIELD(size), .required = true, .help = "size of the memory" },
    { "share", PROP_BOOL, FIELD(share), .help = "map it so that other processes can share it" },
    { "prealloc", PROP_BOOL, FIELD(prealloc), .help = "allocate all of it at once" },
    { "reserve", PROP_BOOL, FIELD(reserve), .help = "reserve swap space for it" },
    { "merge", PROP_BOOL, FIELD(merge), .help = "let the host merge equal pages (KSM)" },
    { "dump", PROP_BOOL, FIELD(dump), .help = "include it in core dumps of this program" },
    { NULL }
};

static const struct property private_properties[] = {
    { "private", PROP_BOOL, FIELD(private_),
      .help = "give the guest a guest_memfd for its private pages, beside this memory" },
    { NULL }
};

static const struct property memfd_properties[] = {
    { "guest-memfd", PROP_ON_OFF_AUTO, FIELD(guest_memfd),
      .help = "the memory itself is a guest_memfd, converted in place (auto: off)" },
    { "hugetlb", PROP_BOOL, FIELD(hugetlb), .help = "use huge pages" },
    { "hugetlbsize", PROP_SIZE, FIELD(hugetlbsize), .help = "size of a huge page" },
    { "seal", PROP_BOOL, FIELD(seal), .help = "the file can't grow or shrink any more" },
    { NULL }
};

static struct memory_backend *of(struct object *obj)
{
    return (struct memory_backend *)obj;
}

static void init_ram(struct object *obj)
{
    struct memory_backend *backend = of(obj);

    backend->reserve = backend->merge = backend->dump = true;
    backend->guest_memfd = OOA_OFF;
}

static void init_memfd(struct object *obj)
{
    init_ram(obj);
    of(obj)->share = of(obj)->seal = true;
    of(obj)->guest_memfd = OOA_AUTO;
}

/* Equal pages of a guest_memfd are never merged: KSM works on private mappings. */
static void init_guest_memfd(struct object *obj)
{
    init_ram(obj);
    of(obj)->share = true;
    of(obj)->merge = false;
    of(obj)->guest_memfd = OOA_ON;
}

static bool is_memfd(const struct memory_backend *backend)
{
    return strcmp(backend->obj.type->name, "memory-backend-memfd") == 0;
}

static bool check_size(const struct memory_backend *backend, GError **error)
{
    const char *type = backend->obj.type->name;

    if (backend->size == 0) {
        error_set(error, "property 'size' of %s doesn't take value '0'", type);
        return false;
    }
    if (!is_aligned(backend->size, GUEST_PAGE_SIZE)) {
        error_set(error, "backend '%s' memory size must be multiple of 4 KiB", type);
        return false;
    }
    return true;
}

/* What the memory is decides what may stand beside it: each row a combination that can't work. */
static bool check_combinations(const struct memory_backend *backend, GError **error)
{
    bool in_place = backend->kind == BACKEND_IN_PLACE;
    const struct {
        bool bad;
        const char *message;
    } rows[] = {
        { backend->prealloc && !backend->reserve,
          "'prealloc=on' and 'reserve=off' are incompatible" },
        { in_place && !backend->share, "a guest_memfd needs 'share=on'" },
        { in_place && backend->private_,
          "'private=on' and 'guest-memfd=on' are incompatible: a guest_memfd that is converted in "
          "place needs no second one" },
        { in_place && backend->hugetlb,
          "'hugetlb=on' and 'guest-memfd=on' are incompatible: a guest_memfd has 4 KiB pages" },
        { backend->hugetlbsize && !backend->hugetlb, "'hugetlbsize' needs 'hugetlb=on'" },
        { backend->hugetlbsize & (backend->hugetlbsize - 1),
          "'hugetlbsize' must be a power of two" },
        { in_place && backend->merge && !is_memfd(backend),
          "'merge=on' can't work: pages of a guest_memfd are never merged" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].bad) {
            error_set(error, "%s", rows[i].message);
            return false;
        }
    }
    return true;
}

static enum backend_kind settle_kind(const struct memory_backend *backend)
{
    if (backend->guest_memfd == OOA_ON)
        return BACKEND_IN_PLACE;
    return backend->private_ ? BACKEND_TWO_BACKINGS : BACKEND_PLAIN;
}

/* With two backings it is the private one that prealloc is about: see ram_block_new(). */
static bool allocate_host(struct memory_backend *backend, GError **error)
{
    struct host_memory_options opt = {
        .memfd = is_memfd(backend), .share = backend->share, .reserve = backend->reserve,
        .merge = backend->merge, .dump = backend->dump, .seal = backend->seal,
        .prealloc = backend->prealloc && backend->kind == BACKEND_PLAIN,
        .hugetlb = backend->hugetlb, .hugetlbsize = backend->hugetlbsize,
        .name = backend->obj.id,
    };
    int ret = host_memory_new(&backend->host, backend->size, &opt);

    if (ret == -EINVAL && backend->hugetlb)
        error_set(error, "memory size of '%s' must be a multiple of the huge page size",
                  backend->obj.id);
    else if (ret == -ENOMEM)
        error_set(error, "cannot set up guest memory '%s': %s: the host has less to give",
                  backend->obj.id, g_strerror(ENOMEM));
    else if (ret)
        error_set_errno(error, ret, "cannot set up guest memory '%s'", backend->obj.id);
    return ret == 0;
}

static bool backend_complete(struct object *obj, GError **error)
{
    struct memory_backend *backend = of(obj);

    backend->kind = settle_kind(backend);
    return check_size(backend, error) && check_combinations(backend, error) &&
           (backend->kind == BACKEND_IN_PLACE || allocate_host(backend, error));
}

static void backend_finalize(struct object *obj)
{
    host_memory_clear(&of(obj)->host);
}

#define PROPERTY_LIST(name_, ...)                                                              \
    static const struct property *const name_[] = { __VA_ARGS__, NULL }

PROPERTY_LIST(ram_lists, size_properties, private_properties);
PROPERTY_LIST(memfd_lists, size_properties, private_properties, memfd_properties);
PROPERTY_LIST(guest_memfd_lists, size_properties);

static const struct object_type types[] = {
    { "memory-backend-ram",
      "anonymous memory; private=on: guests whose private pages lie in a guest_memfd of their own",
      sizeof(struct memory_backend), ram_lists, init_ram, backend_complete, backend_finalize },
    { "memory-backend-memfd",
      "a memfd, for sharing with other processes; guest-memfd=on: a guest_memfd instead of it",
      sizeof(struct memory_backend), memfd_lists, init_memfd, backend_complete, backend_finalize },
    { "memory-backend-guest-memfd",
      "a guest_memfd that serves private and shared pages, converted in place",
      sizeof(struct memory_backend), guest_memfd_lists, init_guest_memfd, backend_complete,
      backend_finalize },
};

void memory_register_backends(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        object_type_register(&types[i]);
}

struct memory_backend *memory_backend_from_object(struct object *obj)
{
    return obj && g_str_has_prefix(obj->type->name, "memory-backend-") ? of(obj) : NULL;
}

struct memory_backend *memory_backend_find(const char *id)
{
    return memory_backend_from_object(object_find(id));
}

struct memory_backend *memory_backend_new_default(uint64_t size, bool private_, GError **error)
{
    struct memory_backend *backend = g_new0(struct memory_backend, 1);

    backend->obj.type = &types[0];
    backend->obj.id = g_strdup("pc.ram");
    backend->anonymous = true;
    init_ram(&backend->obj);
    backend->size = size;
    backend->private_ = private_;
    if (backend_complete(&backend->obj, error))
        return backend;
    memory_backend_free_anonymous(backend);
    return NULL;
}

void memory_backend_free_anonymous(struct memory_backend *backend)
{
    if (!backend || !backend->anonymous)
        return;
    backend_finalize(&backend->obj);
    g_free(backend->obj.id);
    g_free(backend);
}

uint64_t memory_backend_size(const struct memory_backend *backend)
{
    return backend->size;
}

enum backend_kind memory_backend_kind(const struct memory_backend *backend)
{
    return backend->kind;
}

const char *memory_backend_id(const struct memory_backend *backend)
{
    return backend->obj.id;
}

struct json_object *memory_backend_describe(const struct memory_backend *backend)
{
    const struct {
        const char *name;
        bool value;
    } flags[] = {
        { "merge", backend->merge }, { "dump", backend->dump }, { "prealloc", backend->prealloc },
        { "share", backend->share }, { "reserve", backend->reserve },
    };
    struct json_object *memdev = json_object_new_object();

    if (!backend->anonymous)
        json_object_object_add(memdev, "id", json_object_new_string(backend->obj.id));
    json_object_object_add(memdev, "size", json_object_new_uint64(backend->size));
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++)
        json_object_object_add(memdev, flags[i].name, json_object_new_boolean(flags[i].value));
    json_object_object_add(memdev, "host-nodes", json_object_new_array());
    json_object_object_add(memdev, "policy", json_object_new_string("default"));
    return memdev;
}
