/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* guest_memfd files: creation, binding to slots, conversion in place, the last close. */
#include "guest_memfd.h"

#include "attr_map.h"
#include "code_words.h"
#include "descriptor.h"
#include "fd.h"
#include "fork_guard.h"
#include "gmem_mapping.h"
#include "gmem_pins.h"
#include "ioctl_table.h"
#include "range.h"
#include "soft_vm.h"
#include "test_hooks.h"
#include "usercopy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t guest_memfd_valid_flags(const struct softkvm_options *options, const struct vm *vm)
{
    uint64_t flags = GUEST_MEMFD_FLAG_MMAP;

    if (options->gmem_without_flags)
        return 0;
    /* With attributes per VM, a file that starts shared would say other than they do. */
    if (!vm || options->gmem_in_place_conversion || !vm_has_private_memory(vm))
        flags |= GUEST_MEMFD_FLAG_INIT_SHARED;
    return flags;
}

uint64_t guest_memfd_valid_attributes(const struct softkvm_options *options, const struct vm *vm)
{
    if (!options->gmem_in_place_conversion || (vm && !vm_has_private_memory(vm)))
        return 0;
    return KVM_MEMORY_ATTRIBUTE_PRIVATE;
}

/* Undoes guest_memfd_new(), and guest_memfd_bind() where that came. */
static void guest_memfd_free(struct guest_memfd *gmem)
{
    struct vm *vm = gmem->vm;

    pthread_mutex_lock(&vm->lock);
    code_words_put(&vm->code_words, gmem->code);
    pthread_mutex_unlock(&vm->lock);
    if (gmem->host)
        munmap(gmem->host, gmem->size);
    attr_map_free(gmem->private_pages);
    gmem_pins_free(&gmem->pins);
    fd_closep(&gmem->fd);
    free(gmem);
    vm_put(vm);
}

/* Slots that it was bound to stay, with nothing behind them. */
static void unbind(struct guest_memfd *gmem)
{
    struct vm *vm = gmem->vm;

    pthread_mutex_lock(&vm->lock);
    vm_pause(vm);
    for (size_t i = 0; i < vm->slots.count; i++) {
        struct memslot *slot = vm->slots.by_gpa[i];

        if (slot->gmem != gmem)
            continue;
        slot->gmem = NULL;
        vm_flush_gpa(vm, slot->gpa, slot->size);
    }
    vm_resume(vm);
    pthread_mutex_unlock(&vm->lock);
}

void guest_memfd_put(struct guest_memfd *gmem)
{
    if (__atomic_sub_fetch(&gmem->refs, 1, __ATOMIC_ACQ_REL))
        return;
    unbind(gmem);
    guest_memfd_free(gmem);
}

static void class_release(void *object)
{
    guest_memfd_put(object);
}

static int class_ioctl(void *object, unsigned long request, unsigned long arg)
{
    struct guest_memfd *gmem = object;
    const struct ioctl_row *row = ioctl_find(&guest_memfd_ioctls, request);

    if (!row || !gmem->vm->options.gmem_in_place_conversion)
        return -ENOTTY;
    return ioctl_call(row, gmem, arg);
}

static int class_mmap(void *object, void *addr, size_t length, int prot, int flags, int fd,
                      off_t offset, void **ret)
{
    struct guest_memfd *gmem = object;

    if (!(gmem->flags & GUEST_MEMFD_FLAG_MMAP))
        return -ENODEV;
    /* A file system of KVM's own, without execution. */
    if (prot & PROT_EXEC)
        return -EPERM;
    if ((flags & MAP_TYPE) == MAP_PRIVATE)
        return -EINVAL;
    return gmem_mapping_add(gmem, addr, length, prot, flags, offset, ret);
}

/* Every slot forgets what it has of the file's range; vCPUs are paused. */
static void flush_range(struct guest_memfd *gmem, uint64_t offset, uint64_t size)
{
    for (size_t i = 0; i < gmem->vm->slots.count; i++) {
        const struct memslot *slot = gmem->vm->slots.by_gpa[i];
        uint64_t start = offset, end = offset + size;

        if (slot->gmem != gmem || !ranges_overlap(offset, size, slot->gmem_offset, slot->size))
            continue;
        if (start < slot->gmem_offset)
            start = slot->gmem_offset;
        if (end > slot->gmem_offset + slot->size)
            end = slot->gmem_offset + slot->size;
        vm_flush_gpa(gmem->vm, slot->gpa + (start - slot->gmem_offset), end - start);
    }
}

/* Pages past the end are not there: that much less is punched. */
static int punch_hole(struct guest_memfd *gmem, uint64_t offset, uint64_t length, bool in_child)
{
    int ret = 0;

    if (offset >= gmem->size)
        return 0;
    if (length > gmem->size - offset)
        length = gmem->size - offset;
    if (!in_child) {
        pthread_mutex_lock(&gmem->vm->lock);
        vm_pause(gmem->vm);
    }
    if (fallocate(gmem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length))
        ret = -errno;
    if (!in_child) {
        flush_range(gmem, offset, length);
        vm_resume(gmem->vm);
        pthread_mutex_unlock(&gmem->vm->lock);
    }
    return ret;
}

static int class_fallocate(void *object, int mode, uint64_t offset, uint64_t length,
                           bool in_child)
{
    struct guest_memfd *gmem = object;
    int ret;

    if (!(mode & FALLOC_FL_KEEP_SIZE) || mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
        return -EOPNOTSUPP;
    if (!is_aligned(offset | length, GUEST_PAGE_SIZE))
        return -EINVAL;
    if (mode & FALLOC_FL_PUNCH_HOLE)
        return punch_hole(gmem, offset, length, in_child);
    if (!range_within(offset, length, gmem->size))
        return -EINVAL;
    ret = hook_fails(HOOK_PAGE);
    if (ret)
        return ret;
    return fallocate(gmem->fd, FALLOC_FL_KEEP_SIZE, offset, length) ? -errno : 0;
}

bool guest_memfd_has_page(const struct guest_memfd *gmem, uint64_t offset)
{
    return lseek(gmem->fd, offset, SEEK_DATA) == (off_t)offset;
}

int guest_memfd_pin(struct guest_memfd *gmem, uint64_t offset, uint64_t size, unsigned tries)
{
    int ret = -EINVAL;

    pthread_mutex_lock(&gmem->vm->lock);
    if (size && is_aligned(offset | size, GUEST_PAGE_SIZE) &&
        range_within(offset, size, gmem->size))
        ret = gmem_pins_add(&gmem->pins, offset, size, tries);
    pthread_mutex_unlock(&gmem->vm->lock);
    return ret;
}

int guest_memfd_unpin(struct guest_memfd *gmem, uint64_t offset, uint64_t size)
{
    int ret;

    pthread_mutex_lock(&gmem->vm->lock);
    ret = gmem_pins_remove(&gmem->pins, offset, size);
    pthread_mutex_unlock(&gmem->vm->lock);
    return ret;
}

static int class_private_run(void *object, uint64_t at, bool *ret_private, uint64_t *ret_end)
{
    struct guest_memfd *gmem = object;

    if (!gmem->vm->options.gmem_in_place_conversion || at >= gmem->size)
        return -EINVAL;
    pthread_mutex_lock(&gmem->vm->lock);
    *ret_private = attr_map_run(gmem->private_pages, at / GUEST_PAGE_SIZE, ret_end);
    pthread_mutex_unlock(&gmem->vm->lock);
    *ret_end *= GUEST_PAGE_SIZE;
    return 0;
}

static const struct descriptor_class guest_memfd_class = {
    .ioctl = class_ioctl,
    .mmap = class_mmap,
    .fallocate = class_fallocate,
    .private_run = class_private_run,
    .release = class_release,
    .name = "guest_memfd",
};

/* The file: 0 and its descriptor, or -errno. */
static int create_file(uint64_t size, int *ret)
{
    /* As on Linux, the descriptor is not close-on-exec. */
    AUTO_FD fd = memfd_create("kvm-gmem", MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, size) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return -errno;
    *ret = fd_take(&fd);
    return 0;
}

/* What softkvm_pin_new() wants of every file that is large enough. */
static int pin_new(struct guest_memfd *gmem)
{
    const struct hook_pin pin = hook_pin();

    if (!pin.size || !range_within(pin.offset, pin.size, gmem->size))
        return 0;
    return gmem_pins_add(&gmem->pins, pin.offset, pin.size, pin.tries);
}

/* Children count on from their parent's. */
static uint64_t new_id(void)
{
    static uint32_t counter;    /* atomic */

    return (uint64_t)fork_generation() << 32 | __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
}

/* With one reference, for the descriptor, and one of its own to the VM. */
static struct guest_memfd *guest_memfd_new(struct vm *vm, int fd, uint64_t size, uint64_t flags)
{
    struct guest_memfd *gmem = calloc(1, sizeof(*gmem));

    if (!gmem)
        return NULL;
    *gmem = (struct guest_memfd){ .vm = vm, .size = size, .flags = flags, .refs = 1 };
    vm_get(vm);
    gmem->id = new_id();
    gmem->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    gmem->inode = gmem_file_inode(gmem->fd);
    gmem->private_pages = attr_map_new(size / GUEST_PAGE_SIZE,
                                       !(flags & GUEST_MEMFD_FLAG_INIT_SHARED));
    if (gmem->fd < 0 || !gmem->private_pages || pin_new(gmem)) {
        guest_memfd_free(gmem);
        return NULL;
    }
    return gmem;
}

int guest_memfd_create(struct vm *vm, const struct kvm_create_guest_memfd *args)
{
    struct guest_memfd *gmem;
    AUTO_FD fd = -1;
    int ret;

    if (args->flags & ~guest_memfd_valid_flags(&vm->options, vm))
        return -EINVAL;
    if (!args->size || (int64_t)args->size < 0 || !is_aligned(args->size, GUEST_PAGE_SIZE))
        return -EINVAL;
    ret = create_file(args->size, &fd);
    if (ret)
        return ret;
    gmem = guest_memfd_new(vm, fd, args->size, args->flags);
    if (!gmem)
        return -ENOMEM;
    return descriptor_add(fd_take(&fd), &guest_memfd_class, gmem);
}

int guest_memfd_find(int fd, struct descriptor **holder, struct guest_memfd **ret)
{
    struct descriptor *descriptor = descriptor_get(fd);

    *holder = NULL;
    if (!descriptor)
        return fcntl(fd, F_GETFD) < 0 ? -EBADF : -EINVAL;
    if (descriptor_class(descriptor) != &guest_memfd_class) {
        descriptor_put(descriptor);
        return -EINVAL;
    }
    *holder = descriptor;
    *ret = descriptor_object(descriptor);
    return 0;
}

/* Our own mapping and the code words; made once, as late as possible. */
static int prepare_for_guest(struct guest_memfd *gmem)
{
    void *host;

    if (!gmem->code)
        gmem->code = code_words_get(&gmem->vm->code_words, gmem->size / GUEST_PAGE_SIZE);
    if (!gmem->code)
        return -ENOMEM;
    if (gmem->host)
        return 0;
    host = mmap(NULL, gmem->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, gmem->fd, 0);
    if (host == MAP_FAILED)
        return -ENOMEM;
    gmem->host = host;
    return 0;
}

int guest_memfd_bind(struct vm *vm, struct guest_memfd *gmem, uint64_t offset, uint64_t size)
{
    if (gmem->vm != vm || !range_within(offset, size, gmem->size))
        return -EINVAL;
    for (size_t i = 0; i < vm->slots.count; i++) {
        const struct memslot *slot = vm->slots.by_gpa[i];

        if (slot->gmem == gmem && ranges_overlap(offset, size, slot->gmem_offset, slot->size))
            return -EEXIST;
    }
    return prepare_for_guest(gmem);
}

/*
 * vm->lock held. 0, or with nothing changed -EAGAIN or -ENOMEM, and then
 * *error_offset the first page that is in the way.
 */
static int convert(struct guest_memfd *gmem, uint64_t offset, uint64_t size, bool to_private,
                   uint64_t *error_offset)
{
    uint64_t first = offset / GUEST_PAGE_SIZE, count = size / GUEST_PAGE_SIZE;
    int ret;

    if (attr_map_all(gmem->private_pages, first, count, to_private))
        return 0;
    *error_offset = offset;
    ret = hook_fails(HOOK_ATTRIBUTES);
    if (!ret && to_private)
        ret = gmem_pins_check(&gmem->pins, offset, size, error_offset);
    if (!ret)
        ret = attr_map_reserve(gmem->private_pages, 1, 1);
    if (ret)
        return ret;
    vm_pause(gmem->vm);
    ret = gmem_mapping_convert(gmem, offset, size, to_private);
    if (!ret) {
        flush_range(gmem, offset, size);
        __atomic_add_fetch(&gmem->vm->conversions, 1, __ATOMIC_RELAXED);
    }
    vm_resume(gmem->vm);
    return ret;
}

static int set_memory_attributes2(void *object, void *arg, unsigned long user)
{
    struct guest_memfd *gmem = object;
    const struct kvm_memory_attributes2 *attrs = arg;
    uint64_t error_offset;
    int ret;

    if (attrs->flags)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(attrs->reserved) / sizeof(attrs->reserved[0]); i++) {
        if (attrs->reserved[i])
            return -EINVAL;
    }
    if (attrs->attributes & ~guest_memfd_valid_attributes(&gmem->vm->options, gmem->vm) ||
        !vm_has_private_memory(gmem->vm))
        return -EINVAL;
    if (!attrs->size || range_wraps(attrs->offset, attrs->size) ||
        !is_aligned(attrs->offset | attrs->size, GUEST_PAGE_SIZE))
        return -EINVAL;
    if (!range_within(attrs->offset, attrs->size, gmem->size))
        return -EINVAL;
    pthread_mutex_lock(&gmem->vm->lock);
    ret = convert(gmem, attrs->offset, attrs->size, attrs->attributes, &error_offset);
    pthread_mutex_unlock(&gmem->vm->lock);
    if (ret && copy_to_user(user + offsetof(struct kvm_memory_attributes2, error_offset),
                            &error_offset, sizeof(error_offset)))
        return -EFAULT;
    return ret;
}

static const struct ioctl_row rows[] = {
    IOCTL_STRUCT(KVM_SET_MEMORY_ATTRIBUTES2, struct kvm_memory_attributes2, CAP_NONE,
                 set_memory_attributes2),
};

const struct ioctl_table guest_memfd_ioctls = { "guest_memfd", rows, 1 };
