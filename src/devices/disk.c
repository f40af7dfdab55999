/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The nodes: a file, and raw on a file, which for us is the same bytes.  -drive and
 * -blockdev in text become the JSON form, so that there is one reader.
 */
#include "disk_internal.h"

#include "error.h"
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static GPtrArray *nodes;        /* struct disk *, oldest first */

struct disk *disk_find(const char *name)
{
    for (guint i = 0; nodes && i < nodes->len; i++) {
        struct disk *node = g_ptr_array_index(nodes, i);

        if (g_strcmp0(node->name, name) == 0)
            return node;
    }
    return NULL;
}

GPtrArray *disk_list(void)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; nodes && i < nodes->len; i++) {
        struct disk *node = g_ptr_array_index(nodes, i);

        if (node->name)
            g_ptr_array_add(list, node);
    }
    return list;
}

const char *disk_name(const struct disk *node)
{
    return node->name;
}

const char *disk_filename(const struct disk *node)
{
    return node->filename;
}

const char *disk_driver(const struct disk *node)
{
    return node->driver;
}

bool disk_readonly(const struct disk *node)
{
    return node->readonly;
}

uint64_t disk_size(const struct disk *node)
{
    return node->size;
}

const char *disk_user(const struct disk *node)
{
    return node->user;
}

bool disk_claim(struct disk *node, const char *user, GError **error)
{
    if (node->user) {
        error_set(error, "Drive '%s' is already in use by another device", node->name);
        return false;
    }
    if (node->above) {
        error_set(error, "Node '%s' is in use by the node above it", node->name);
        return false;
    }
    node->user = g_strdup(user);
    return true;
}

void disk_release(struct disk *node)
{
    g_clear_pointer(&node->user, g_free);
}

static void node_free(struct disk *node)
{
    if (node->below && --node->below->above == 0 && !node->below->name)
        node_free(node->below);
    if (node->fd >= 0)
        close(node->fd);
    if (nodes)
        g_ptr_array_remove(nodes, node);
    g_free(node->name);
    g_free(node->filename);
    g_free(node->user);
    g_free(node);
}

void disk_free_all(void)
{
    for (guint i = nodes ? nodes->len : 0; i-- > 0;) {
        if (i < nodes->len)
            node_free(g_ptr_array_index(nodes, i));
    }
    g_clear_pointer(&nodes, g_ptr_array_unref);
}

/* --- Opening a file --- */

/* Others may read while we read, and nobody may touch it while we write. */
static bool lock_image(const struct disk *node, GError **error)
{
    struct flock lock = { .l_type = node->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

    if (fcntl(node->fd, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES))
        return true;
    error_set(error, "Failed to get \"%s\" lock: Is another process using the image [%s]?",
              node->readonly ? "shared" : "write", node->filename);
    return false;
}

static bool measure(struct disk *node, GError **error)
{
    struct stat info;
    off_t end;

    if (fstat(node->fd, &info) < 0 || !(S_ISREG(info.st_mode) || S_ISBLK(info.st_mode))) {
        error_set(error, "Could not open '%s': it is neither a file nor a block device",
                  node->filename);
        return false;
    }
    end = lseek(node->fd, 0, SEEK_END);
    if (end < 0) {
        error_set_errno(error, errno, "Could not refresh total sector count of '%s'",
                        node->filename);
        return false;
    }
    if (end % DISK_SECTOR) {
        error_set(error, "Could not open '%s': its size, %lld bytes, is not a multiple of 512: "
                  "truncate -s %%512 makes it one", node->filename, (long long)end);
        return false;
    }
    node->size = (uint64_t)end;
    return true;
}

static bool open_file(struct disk *node, GError **error)
{
    node->fd = open(node->filename, (node->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (node->fd < 0) {
        error_set_errno(error, errno, "Could not open '%s'", node->filename);
        return false;
    }
    return measure(node, error) && lock_image(node, error);
}

/* --- From JSON --- */

static const char *text_of(struct json_object *args, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(args, key, &value) ? json_object_get_string(value) : NULL;
}

/* true, or "on" from the command line. */
static bool flag_of(struct json_object *args, const char *key, bool *ret, GError **error)
{
    struct json_object *value;
    const char *text;

    if (!json_object_object_get_ex(args, key, &value))
        return true;
    text = json_object_get_string(value);
    *ret = g_strcmp0(text, "on") == 0 || g_strcmp0(text, "true") == 0;
    if (*ret || g_strcmp0(text, "off") == 0 || g_strcmp0(text, "false") == 0)
        return true;
    error_set(error, "Invalid parameter type for '%s', expected: boolean", key);
    return false;
}

static bool check_members(struct json_object *args, const char *const *known, GError **error)
{
    json_object_object_foreach(args, key, value) {
        /* Only raw's file may be an object. */
        bool object = json_object_is_type(value, json_type_object) && strcmp(key, "file") == 0;

        if (!g_strv_contains(known, key)) {
            error_set(error, "Parameter '%s' is unexpected", key);
            return false;
        }
        if (!object && !json_object_is_type(value, json_type_string) &&
            !json_object_is_type(value, json_type_boolean)) {
            error_set(error, "Invalid parameter type for '%s', expected: string", key);
            return false;
        }
    }
    return true;
}

static struct disk *node_from_json(struct json_object *args, bool need_name, GError **error);

static bool complete_file(struct disk *node, struct json_object *args, GError **error)
{
    static const char *const known[] = { "driver", "node-name", "filename", "read-only", NULL };

    if (!check_members(args, known, error))
        return false;
    node->filename = g_strdup(text_of(args, "filename"));
    if (!node->filename) {
        error_set(error, "Parameter 'filename' is missing");
        return false;
    }
    return open_file(node, error);
}

static bool complete_raw(struct disk *node, struct json_object *args, GError **error)
{
    static const char *const known[] = { "driver", "node-name", "file", "read-only", NULL };
    struct json_object *file;

    if (!check_members(args, known, error))
        return false;
    if (!json_object_object_get_ex(args, "file", &file)) {
        error_set(error, "Parameter 'file' is missing");
        return false;
    }
    if (json_object_is_type(file, json_type_object)) {
        json_object_get(file);
        if (node->readonly && !json_object_object_get_ex(file, "read-only", NULL))
            json_object_object_add(file, "read-only", json_object_new_boolean(1));
        node->below = node_from_json(file, false, error);
        json_object_put(file);
        if (!node->below)
            return false;
    } else {
        node->below = disk_find(json_object_get_string(file));
        if (!node->below) {
            error_set(error, "Cannot find device='' nor node-name='%s'",
                      json_object_get_string(file));
            return false;
        }
    }
    node->below->above++;
    if (node->below->above > 1 || node->below->user) {
        error_set(error, "Node '%s' is in use", node->below->name ? node->below->name : "");
        return false;
    }
    node->readonly |= node->below->readonly;
    node->size = node->below->size;
    node->filename = g_strdup(node->below->filename);
    node->fd = fcntl(node->below->fd, F_DUPFD_CLOEXEC, 0);
    if (node->fd < 0)
        error_set_errno(error, errno, "Could not open '%s'", node->filename);
    return node->fd >= 0;
}

static const struct {
    const char *name;
    bool (*complete)(struct disk *node, struct json_object *args, GError **error);
} drivers[] = {
    { "file", complete_file }, { "host_device", complete_file }, { "raw", complete_raw },
};

static bool name_acceptable(const char *name, bool needed, GError **error)
{
    if (!name && !needed)
        return true;
    if (!name) {
        error_set(error, "'node-name' must be specified for the root node");
        return false;
    }
    if (!g_ascii_isalpha(name[0]) || strlen(name) > 31 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") !=
        strlen(name)) {
        error_set(error, "Invalid node-name: '%s'", name);
        return false;
    }
    if (disk_find(name)) {
        error_set(error, "Duplicate nodes with node-name='%s'", name);
        return false;
    }
    return true;
}

static struct disk *node_from_json(struct json_object *args, bool need_name, GError **error)
{
    const char *driver = text_of(args, "driver"), *name = text_of(args, "node-name");
    struct disk *node;

    if (!driver) {
        error_set(error, "Parameter 'driver' is missing");
        return NULL;
    }
    if (!name_acceptable(name, need_name, error))
        return NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (strcmp(drivers[i].name, driver) != 0)
            continue;
        node = g_new0(struct disk, 1);
        node->fd = -1;
        node->driver = drivers[i].name;
        node->name = g_strdup(name);
        if (flag_of(args, "read-only", &node->readonly, error) &&
            drivers[i].complete(node, args, error)) {
            if (!nodes)
                nodes = g_ptr_array_new();
            if (node->name)
                g_ptr_array_add(nodes, node);
            return node;
        }
        node_free(node);
        return NULL;
    }
    error_set(error, "Parameter 'driver' does not accept value '%s'", driver);
    return NULL;
}

bool disk_add_json(struct json_object *args, GError **error)
{
    return node_from_json(args, true, error) != NULL;
}

bool disk_del(const char *name, GError **error)
{
    struct disk *node = disk_find(name);

    if (!node) {
        error_set(error, "Failed to find node with node-name='%s'", name);
        return false;
    }
    if (node->user || node->above) {
        error_set(error, "Node %s is in use", name);
        return false;
    }
    if (node->drive) {
        error_set(error, "Node %s is not owned by the monitor", name);
        return false;
    }
    node_free(node);
    return true;
}

/* --- From option strings --- */

/* key=value, or part.key=value, which goes into the object "part". */
static void add_option(struct json_object *args, const struct option *opt)
{
    const char *dot = strchr(opt->key, '.');
    struct json_object *value = json_object_new_string(opt->value);

    if (dot && dot > opt->key && dot[1]) {
        g_autofree char *part = g_strndup(opt->key, (gsize)(dot - opt->key));
        struct json_object *inner;

        if (!json_object_object_get_ex(args, part, &inner) ||
            !json_object_is_type(inner, json_type_object)) {
            inner = json_object_new_object();
            json_object_object_add(args, part, inner);
        }
        json_object_object_add(inner, dot + 1, value);
    } else {
        json_object_object_add(args, opt->key, value);
    }
}

bool disk_add_option(const char *option, GError **error)
{
    g_autoptr(GPtrArray) list = NULL;
    struct json_object *args;
    bool ok;

    if (option[0] == '{') {
        args = json_parse_text(option, error);
        if (args && !json_object_is_type(args, json_type_object)) {
            error_set(error, "Invalid parameter type for 'blockdev', expected: object");
            g_clear_pointer(&args, json_object_put);
        }
    } else {
        list = option_parse(option, "driver", error);
        args = list ? json_object_new_object() : NULL;
        for (guint i = 0; args && i < list->len; i++)
            add_option(args, g_ptr_array_index(list, i));
    }
    ok = args && disk_add_json(args, error);
    json_object_put(args);
    return ok;
}

/* What -drive takes; NULL values: not given. */
struct drive {
    const char *file, *interface, *id, *format, *readonly, *media, *unit;
};

static bool parse_drive(GPtrArray *list, struct drive *drive, GError **error)
{
    const struct {
        const char *key;
        const char **value;
    } keys[] = {
        { "file", &drive->file }, { "if", &drive->interface }, { "id", &drive->id },
        { "format", &drive->format }, { "driver", &drive->format },
        { "readonly", &drive->readonly }, { "read-only", &drive->readonly },
        { "media", &drive->media }, { "index", &drive->unit }, { "unit", &drive->unit },
    };

    for (guint i = 0; i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);
        bool found = false;

        for (size_t k = 0; k < G_N_ELEMENTS(keys); k++) {
            if (strcmp(keys[k].key, opt->key) == 0) {
                *keys[k].value = opt->value;
                found = true;
            }
        }
        if (!found) {
            error_set(error, "Block format 'raw' does not support the option '%s'", opt->key);
            return false;
        }
    }
    return true;
}

static bool check_drive(const struct drive *drive, bool used, GError **error)
{
    const char *interface = drive->interface ? drive->interface : "ide";

    if (strcmp(interface, "none") != 0 && strcmp(interface, "virtio") != 0 &&
        strcmp(interface, "pflash") != 0)
        error_set(error, "machine type does not support if=%s: if=virtio, or if=none,id=ID with "
                  "-device virtio-blk-pci,drive=ID", interface);
    else if (strcmp(interface, "pflash") == 0 && !used)
        error_set(error, "if=pflash: flash memory is there from the start or not at all");
    else if (!drive->file)
        error_set(error, "Device needs media, but drive is empty: file=PATH");
    else if (!drive->format)
        error_set(error, "the image's format has to be said: format=raw");
    else if (strcmp(drive->format, "raw") != 0)
        error_set(error, "Unknown driver '%s': format=raw", drive->format);
    else if (drive->media && strcmp(drive->media, "disk") != 0)
        error_set(error, "'%s' invalid media: media=disk", drive->media);
    else if (drive->unit && strcmp(interface, "pflash") == 0 && strcmp(drive->unit, "0") != 0 &&
             strcmp(drive->unit, "1") != 0)
        error_set(error, "unit '%s': there are two flash memories, 0 and 1", drive->unit);
    else if (strcmp(interface, "none") == 0 && !drive->id)
        error_set(error, "a drive with if=none needs a name: id=ID");
    else if (drive->id && disk_find(drive->id))
        error_set(error, "Duplicate ID '%s' for drive", drive->id);
    else
        return true;
    return false;
}

bool disk_add_drive(const char *option, struct drive_use *ret, GError **error)
{
    g_autoptr(GPtrArray) list = option_parse(option, "file", error);
    static unsigned number;
    g_autofree char *name = NULL;
    struct drive drive = { 0 };
    struct disk *node;
    struct json_object *args;

    if (!list || !parse_drive(list, &drive, error) || !check_drive(&drive, ret, error))
        return false;
    name = drive.id ? g_strdup(drive.id) : g_strdup_printf("%s%u", drive.interface, number++);
    args = json_object_new_object();
    json_object_object_add(args, "driver", json_object_new_string("file"));
    json_object_object_add(args, "node-name", json_object_new_string(name));
    json_object_object_add(args, "filename", json_object_new_string(drive.file));
    if (drive.readonly)
        json_object_object_add(args, "read-only", json_object_new_string(drive.readonly));
    node = node_from_json(args, true, error);
    json_object_put(args);
    if (!node)
        return false;
    node->drive = true;
    node->driver = "raw";
    if (ret)
        *ret = (struct drive_use){
            .node = node->name, .virtio = g_strcmp0(drive.interface, "virtio") == 0,
            .flash = g_strcmp0(drive.interface, "pflash") == 0,
            .unit = drive.unit ? drive.unit[0] - '0' : -1,
        };
    return true;
}
