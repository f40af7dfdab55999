/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "placement.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MPOL_PREFERRED_MANY     /* Linux 5.15 */
#define MPOL_PREFERRED_MANY 5
#endif

enum { MAX_THREADS = 64 };

static unsigned count_nodes(const struct node_set *nodes)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MAX_HOST_NODES; i++)
        n += nodes->bits[i / 64] >> i % 64 & 1;
    return n;
}

int placement_bind(void *addr, uint64_t size, enum numa_policy policy,
                   const struct node_set *nodes)
{
    static const int modes[] = {
        [NUMA_PREFERRED] = MPOL_PREFERRED, [NUMA_BIND] = MPOL_BIND,
        [NUMA_INTERLEAVE] = MPOL_INTERLEAVE,
    };
    int mode = policy == NUMA_PREFERRED && count_nodes(nodes) > 1 ? MPOL_PREFERRED_MANY
                                                                  : modes[policy];

    /* The kernel counts one bit less than it is told. */
    if (policy != NUMA_DEFAULT &&
        syscall(SYS_mbind, addr, size, mode, nodes->bits, MAX_HOST_NODES + 1,
                MPOL_MF_STRICT | MPOL_MF_MOVE) < 0)
        return -errno;
    return 0;
}

struct piece {
    pthread_t thread;
    char *addr;                 /* NULL: of the file */
    int fd;
    uint64_t offset, size;
    int ret;
};

static void *prealloc_piece(void *opaque)
{
    struct piece *piece = opaque;
    int ret = piece->addr ? madvise(piece->addr, piece->size, MADV_POPULATE_WRITE)
                          : fallocate(piece->fd, FALLOC_FL_KEEP_SIZE, (off_t)piece->offset,
                                      (off_t)piece->size);

    piece->ret = ret < 0 ? -errno : 0;
    return NULL;
}

int placement_prealloc(void *addr, int fd, uint64_t size, uint64_t page_size, unsigned threads)
{
    uint64_t pages = size / page_size, n = MIN(MIN(threads, MAX_THREADS), pages), started = 1;
    g_autofree struct piece *pieces = g_new0(struct piece, n);
    int ret = 0;

    for (uint64_t i = 0; i < n; i++) {
        uint64_t first = pages * i / n, end = pages * (i + 1) / n;

        pieces[i] = (struct piece){
            .addr = addr ? (char *)addr + first * page_size : NULL, .fd = fd,
            .offset = first * page_size, .size = (end - first) * page_size,
        };
    }
    /* Where a thread can't be had, this one does its piece as well. */
    while (started < n && pthread_create(&pieces[started].thread, NULL, prealloc_piece,
                                         &pieces[started]) == 0)
        started++;
    prealloc_piece(&pieces[0]);
    for (uint64_t i = started; i < n; i++)
        prealloc_piece(&pieces[i]);
    for (uint64_t i = 0; i < n; i++) {
        if (i > 0 && i < started)
            pthread_join(pieces[i].thread, NULL);
        ret = ret ? ret : pieces[i].ret;
    }
    return ret;
}
