/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory backends (-object memory-backend-*): what the user asks of guest RAM,
 * checked as a whole.  Names, defaults and messages are those of QEMU 10.2 where
 * it has them; private=on and memory-backend-guest-memfd are
 * from proposals to it.
 */
#include "backing_file.h"
#include "error.h"
#include "memory_internal.h"
#include "placement.h"
#include "property.h"
#include "range.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define FIELD(name) offsetof(struct memory_backend, name)

static const char *const policy_names[] = {
    [NUMA_DEFAULT] = "default", [NUMA_PREFERRED] = "preferred", [NUMA_BIND] = "bind",
    [NUMA_INTERLEAVE] = "interleave", NULL
};

static const struct property size_properties[] = {
    { "size", PROP_SIZE, FIELD(size), .required = true, .help = "size of the memory" },
    { "share", PROP_BOOL, FIELD(share), .help = "map it so that other processes can share it" },
    { "prealloc", PROP_BOOL, FIELD(prealloc), .help = "allocate all of it at once" },
    { "reserve", PROP_BOOL, FIELD(reserve), .help = "reserve swap space for it" },
    { "merge", PROP_BOOL, FIELD(merge), .given = FIELD(merge_given),
      .help = "let the host merge equal pages (KSM)" },
    { "dump", PROP_BOOL, FIELD(dump), .help = "include it in core dumps of this program" },
    { "prealloc-threads", PROP_UINT32, FIELD(prealloc_threads),
      .help = "how many threads allocate it with prealloc=on" },
    { "host-nodes", PROP_NODES, FIELD(host_nodes),
      .help = "NUMA nodes of the host to which policy applies" },
    { "policy", PROP_ENUM, FIELD(policy), .names = policy_names,
      .help = "how the host's nodes are used: default, preferred, bind, interleave" },
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

static const struct property file_properties[] = {
    { "mem-path", PROP_STRING, FIELD(mem_path), .required = true,
      .help = "the file; a directory: a file in it without a name" },
    { "offset", PROP_SIZE, FIELD(offset), .help = "where in the file it begins" },
    { "align", PROP_SIZE, FIELD(align), .help = "alignment of its address in this program" },
    { "discard-data", PROP_BOOL, FIELD(discard_data), .help = "drop the content at exit" },
    { "pmem", PROP_BOOL, FIELD(pmem), .help = "the file is in persistent memory (DAX)" },
    { "readonly", PROP_BOOL, FIELD(readonly), .help = "open the file for reading only" },
    { "rom", PROP_ON_OFF_AUTO, FIELD(rom),
      .help = "the guest can't write it (auto: with readonly=on,share=on)" },
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
    backend->prealloc_threads = 1;
    backend->seal = true;
}

static void init_memfd(struct object *obj)
{
    init_ram(obj);
    of(obj)->share = true;
    of(obj)->guest_memfd = OOA_AUTO;
}

static void init_shm(struct object *obj)
{
    init_ram(obj);
    of(obj)->share = true;
}

static void init_guest_memfd(struct object *obj)
{
    init_ram(obj);
    of(obj)->share = true;
    of(obj)->guest_memfd = OOA_ON;
}

static bool is_type(const struct memory_backend *backend, const char *type)
{
    return strcmp(backend->obj.type->name + strlen("memory-backend-"), type) == 0;
}

bool memory_backend_is_rom(const struct memory_backend *backend)
{
    return backend->rom == OOA_ON ||
           (backend->rom == OOA_AUTO && backend->readonly && backend->share);
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
    if (backend->prealloc_threads == 0) {
        error_set(error, "property 'prealloc-threads' of %s doesn't take value '0'", type);
        return false;
    }
    return true;
}

/* A combination that can't work. */
struct bad_row {
    bool bad;
    const char *message;
};

static bool check_rows(const struct bad_row *rows, size_t n, GError **error)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].bad) {
            error_set(error, "%s", rows[i].message);
            return false;
        }
    }
    return true;
}

/* What the memory is decides what may stand beside it. */
static bool check_combinations(const struct memory_backend *backend, GError **error)
{
    bool in_place = backend->kind == BACKEND_IN_PLACE;
    const struct bad_row rows[] = {
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
        { in_place && backend->merge && backend->merge_given,
          "'merge=on' can't work: pages of a guest_memfd are never merged" },
        { in_place && !backend->seal,
          "'seal=off' can't work: a guest_memfd can't change its size" },
    };

    return check_rows(rows, G_N_ELEMENTS(rows), error);
}

static bool check_policy(const struct memory_backend *backend, GError **error)
{
    const struct node_set none = { { 0 } };
    bool nodes = memcmp(&backend->host_nodes, &none, sizeof(none)) != 0;
    const struct bad_row rows[] = {
        { !nodes && backend->policy == NUMA_PREFERRED,
          "host-nodes must be set for policy preferred" },
        { !nodes && backend->policy == NUMA_BIND, "host-nodes must be set for policy bind" },
        { !nodes && backend->policy == NUMA_INTERLEAVE,
          "host-nodes must be set for policy interleave" },
        { nodes && backend->policy == NUMA_DEFAULT,
          "host-nodes must be empty for policy default: choose policy=preferred, bind or interleave" },
        { nodes && backend->kind == BACKEND_IN_PLACE,
          "'policy' can't work: pages of a guest_memfd follow no NUMA policy" },
        { nodes && backend->kind == BACKEND_TWO_BACKINGS,
          "'policy' and 'private=on' are incompatible: private pages lie in a guest_memfd, which "
          "follows no NUMA policy" },
    };

    return check_rows(rows, G_N_ELEMENTS(rows), error);
}

static bool check_file(const struct memory_backend *backend, GError **error)
{
    bool read_shared = backend->readonly && backend->share;
    const struct bad_row rows[] = {
        { is_type(backend, "shm") && !backend->share,
          "cannot create a shm backend with 'share=off'" },
        { backend->align & (backend->align - 1), "'align' must be a power of two" },
        { !is_aligned(backend->offset, GUEST_PAGE_SIZE), "'offset' must be a multiple of 4 KiB" },
        { backend->rom == OOA_ON && !backend->readonly, "'rom=on' needs 'readonly=on'" },
        { backend->rom == OOA_OFF && read_shared,
          "'rom=off' is incompatible with 'readonly=on' and 'share=on': nobody can write it" },
        { backend->prealloc && read_shared, "'prealloc=on' and 'readonly=on' are incompatible" },
        { backend->pmem && !backend->share, "'pmem=on' needs 'share=on'" },
        { backend->discard_data && backend->readonly,
          "'discard-data=on' and 'readonly=on' are incompatible" },
        { backend->private_ && backend->readonly,
          "'private=on' and 'readonly=on' are incompatible: the copy of a page that becomes private "
          "is removed from the file" },
        { backend->private_ && is_type(backend, "file") && !backend->share,
          "'private=on' needs 'share=on': what is under a private mapping of a file would come to "
          "light when a page becomes private" },
        { backend->private_ && backend->pmem,
          "'private=on' and 'pmem=on' are incompatible: private pages are never persistent" },
    };

    return check_rows(rows, G_N_ELEMENTS(rows), error);
}

static enum backend_kind settle_kind(const struct memory_backend *backend)
{
    if (backend->guest_memfd == OOA_ON)
        return BACKEND_IN_PLACE;
    return backend->private_ ? BACKEND_TWO_BACKINGS : BACKEND_PLAIN;
}

/* -1 without an error: this memory is no file. */
static int open_file(const struct memory_backend *backend, GError **error)
{
    if (is_type(backend, "shm"))
        return backing_shm_open(backend->size, error);
    if (!is_type(backend, "file"))
        return -1;
    if (range_wraps(backend->offset, backend->size)) {
        error_set(error, "'offset' and 'size' are larger than any file");
        return -1;
    }
    return backing_file_open(backend->mem_path, backend->offset + backend->size, backend->readonly,
                             error);
}

static bool map_host(struct memory_backend *backend, int fd, GError **error)
{
    struct host_memory_options opt = {
        .memfd = is_type(backend, "memfd"), .share = backend->share, .reserve = backend->reserve,
        .merge = backend->merge, .dump = backend->dump, .seal = backend->seal,
        .hugetlb = backend->hugetlb, .hugetlbsize = backend->hugetlbsize,
        .name = backend->obj.id, .file = fd >= 0, .fd = fd, .offset = backend->offset,
        .align = backend->align, .readonly = backend->readonly, .pmem = backend->pmem,
    };
    int ret = host_memory_new(&backend->host, backend->size, &opt);

    if (ret == -EINVAL && (backend->hugetlb || fd >= 0))
        error_set(error, "memory size of '%s' must be a multiple of the huge page size",
                  backend->obj.id);
    else if (ret == -EOPNOTSUPP && backend->pmem)
        error_set(error, "'pmem=on' can't work: '%s' is not on a DAX file system",
                  backend->mem_path);
    else if (ret == -ENOMEM)
        error_set(error, "cannot set up guest memory '%s': %s: the host has less to give",
                  backend->obj.id, g_strerror(ENOMEM));
    else if (ret)
        error_set_errno(error, ret, "cannot set up guest memory '%s'", backend->obj.id);
    return ret == 0;
}

/*
 * Where pages come from is said before they come.  With two backings it is the
 * private one that prealloc is about: see ram_block_new().
 */
static bool allocate_host(struct memory_backend *backend, GError **error)
{
    struct host_memory *host = &backend->host;
    GError *failed = NULL;
    int fd = open_file(backend, &failed), ret;

    if (failed) {
        g_propagate_error(error, failed);
        return false;
    }
    if (!map_host(backend, fd, error))
        return false;
    /* Reading ahead would hold copies of pages that are private. */
    if (backend->private_ && host->fd >= 0)
        madvise(host->addr, host->size, MADV_RANDOM);
    ret = placement_bind(host->addr, host->size, (enum numa_policy)backend->policy,
                         &backend->host_nodes);
    if (ret) {
        error_set_errno(error, ret, "cannot bind memory '%s' to host NUMA nodes", backend->obj.id);
        return false;
    }
    if (backend->prealloc && backend->kind == BACKEND_PLAIN)
        ret = placement_prealloc(host->addr, -1, host->size, host->page_size,
                                 backend->prealloc_threads);
    if (ret)
        error_set_errno(error, ret, "cannot allocate all of memory '%s'", backend->obj.id);
    return ret == 0;
}

static bool backend_complete(struct object *obj, GError **error)
{
    struct memory_backend *backend = of(obj);

    backend->kind = settle_kind(backend);
    if (backend->kind == BACKEND_IN_PLACE && !backend->merge_given)
        backend->merge = false;         /* KSM works on private mappings */
    return check_size(backend, error) && check_combinations(backend, error) &&
           check_policy(backend, error) && check_file(backend, error) &&
           (backend->kind == BACKEND_IN_PLACE || allocate_host(backend, error));
}

static void backend_finalize(struct object *obj)
{
    if (of(obj)->discard_data && of(obj)->host.addr)
        host_memory_discard(&of(obj)->host, 0, of(obj)->host.size);
    host_memory_clear(&of(obj)->host);
}

#define PROPERTY_LIST(name_, ...)                                                              \
    static const struct property *const name_[] = { __VA_ARGS__, NULL }

PROPERTY_LIST(ram_lists, size_properties, private_properties);
PROPERTY_LIST(memfd_lists, size_properties, private_properties, memfd_properties);
PROPERTY_LIST(file_lists, size_properties, private_properties, file_properties);
PROPERTY_LIST(guest_memfd_lists, size_properties);

static const struct object_type types[] = {
    { "memory-backend-ram",
      "anonymous memory, for ordinary guests; private=on: for protected guests on any KVM",
      sizeof(struct memory_backend), ram_lists, init_ram, backend_complete, backend_finalize },
    { "memory-backend-memfd",
      "a memfd, to share with other processes; guest-memfd=on: a guest_memfd, converted in place",
      sizeof(struct memory_backend), memfd_lists, init_memfd, backend_complete, backend_finalize },
    { "memory-backend-file",
      "a file, to keep the content, to use hugetlbfs or to share by name",
      sizeof(struct memory_backend), file_lists, init_ram, backend_complete, backend_finalize },
    { "memory-backend-shm",
      "POSIX shared memory, to share with other processes where there is no memfd",
      sizeof(struct memory_backend), ram_lists, init_shm, backend_complete, backend_finalize },
    { "memory-backend-guest-memfd",
      "a guest_memfd for private and shared pages, converted in place: best for protected guests",
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

struct memory_backend *memory_backend_new_internal(const char *name, uint64_t size,
                                                   enum backend_kind kind, GError **error)
{
    struct memory_backend *backend = g_new0(struct memory_backend, 1);

    backend->obj.type = &types[0];
    backend->obj.id = g_strdup(name);
    backend->anonymous = true;
    if (kind == BACKEND_IN_PLACE)
        init_guest_memfd(&backend->obj);
    else
        init_ram(&backend->obj);
    backend->size = size;
    backend->private_ = kind == BACKEND_TWO_BACKINGS;
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

bool memory_backend_reads_free(const struct memory_backend *backend)
{
    return backend->kind == BACKEND_PLAIN && backend->host.fd < 0 && !backend->host.shared &&
           !backend->hugetlb;
}

bool memory_backend_preallocates(const struct memory_backend *backend)
{
    return backend->prealloc;
}

uint64_t memory_backend_page_size(const struct memory_backend *backend)
{
    return backend->kind == BACKEND_IN_PLACE ? GUEST_PAGE_SIZE : backend->host.page_size;
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
    for (const struct property *prop = size_properties; prop->name; prop++) {
        if (prop->kind == PROP_NODES || prop->kind == PROP_ENUM)
            json_object_object_add(memdev, prop->name, property_get_json(prop, backend));
    }
    return memdev;
}
