/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that change mappings: the library follows what becomes of a guest_memfd's. */
#include "preload.h"

#include "softkvm.h"

#include <stdarg.h>
#include <sys/mman.h>

INTERPOSED void *mremap(void *old, size_t old_length, size_t new_length, int flags, ...)
{
    void *new = NULL, *at = MAP_FAILED;
    va_list args;
    int ret;

    va_start(args, flags);
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
        new = va_arg(args, void *);
    va_end(args);
    if (!softkvm_maps())
        return NEXT(mremap)(old, old_length, new_length, flags, new);
    ret = softkvm_mremap(old, old_length, new_length, flags, new, &at);
    if (!ret)
        return at;
    errno = -ret;
    return MAP_FAILED;
}

INTERPOSED int mprotect(void *addr, size_t length, int prot)
{
    if (!softkvm_maps())
        return NEXT(mprotect)(addr, length, prot);
    return libc_result(softkvm_mprotect(addr, length, prot));
}

INTERPOSED int madvise(void *addr, size_t length, int advice)
{
    if (softkvm_maps() && softkvm_madvise(addr, length, advice))
        return libc_result(-EINVAL);
    return NEXT(madvise)(addr, length, advice);
}
