/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking at a program file as the kernel and the dynamic loader will: what
 * they leave LD_PRELOAD out of is told now, instead of a program that opens the
 * machine's own /dev/kvm.  Formats: elf(5), execve(2), ld.so(8) "secure-execution
 * mode".
 */
#include "program.h"

#include "fd.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 256, MAX_SCRIPTS = 4, MAX_HEADERS = 256 };

static bool runnable(const char *path)
{
    struct stat st;

    if (stat(path, &st))
        return false;
    if (!S_ISREG(st.st_mode)) {
        errno = EACCES;
        return false;
    }
    return access(path, X_OK) == 0;
}

bool program_find(const char *name, char *ret, size_t size)
{
    const char *path = getenv("PATH"), *end;
    int error = ENOENT;

    if (strchr(name, '/')) {
        if ((size_t)snprintf(ret, size, "%s", name) >= size) {
            errno = ENAMETOOLONG;
            return false;
        }
        return runnable(ret);
    }
    for (path = path ? path : "/bin:/usr/bin"; path; path = *end ? end + 1 : NULL) {
        int length;

        end = strchrnul(path, ':');
        length = end - path;
        if ((size_t)snprintf(ret, size, "%.*s/%s", length ? length : 1, length ? path : ".",
                             name) >= size)
            continue;
        if (runnable(ret))
            return true;
        if (errno == EACCES)
            error = EACCES;
    }
    errno = error;
    return false;
}

/* The shared object needs the libc that this loader loads. */
static const char *loader_obstacle(int fd, const Elf64_Phdr *segment)
{
    static const char glibc[] = "ld-linux-x86-64.so.2";
    char path[256] = "";

    if (segment->p_filesz >= sizeof(path) ||
        pread(fd, path, segment->p_filesz, segment->p_offset) != (ssize_t)segment->p_filesz)
        return "is a damaged ELF file";
    return strstr(path, glibc) ? NULL
                               : "is for another C library: softkvm can be put only into programs "
                                 "that use glibc; link it with that one";
}

static const char *elf_obstacle(int fd, const Elf64_Ehdr *header, size_t size)
{
    Elf64_Phdr segment;

    if (size < sizeof(*header) || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_machine != EM_X86_64)
        return "is a program for another kind of machine: softkvm is for 64-bit x86; build it for "
               "that";
    if (header->e_phentsize != sizeof(segment))
        return "is a damaged ELF file";
    for (unsigned i = 0; i < header->e_phnum && i < MAX_HEADERS; i++) {
        if (pread(fd, &segment, sizeof(segment), header->e_phoff + i * sizeof(segment)) !=
            sizeof(segment))
            return "is a damaged ELF file";
        if (segment.p_type == PT_INTERP)
            return loader_obstacle(fd, &segment);
    }
    return "is statically linked: there is no dynamic loader that could put softkvm into it; "
           "link it dynamically, or with libsoftkvm";
}

/* In these cases the loader heeds LD_PRELOAD for trusted libraries only. */
static const char *privilege_obstacle(int fd)
{
    struct stat st;

    if (fstat(fd, &st))
        return strerror(errno);
    if ((st.st_mode & S_ISUID && st.st_uid != getuid()) ||
        (st.st_mode & S_ISGID && st.st_mode & S_IXGRP && st.st_gid != getgid()))
        return "is set-user-ID or set-group-ID: the dynamic loader puts nothing into it; run a "
               "copy without that bit";
    if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return "has file capabilities: the dynamic loader puts nothing into it; run a copy "
               "without them";
    return NULL;
}

/* "#! /bin/sh -e": the interpreter's path, in place. NULL: there is none. */
static char *script_interpreter(char *line)
{
    char *start = line + 2 + strspn(line + 2, " \t");

    start[strcspn(start, " \t\n")] = 0;
    return *start ? start : NULL;
}

static const char *obstacle(const char *path, unsigned depth)
{
    union {
        Elf64_Ehdr elf;
        char text[LINE_MAX_BYTES];
    } head = { .text = "" };
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *why;
    ssize_t size;

    if (fd < 0)
        return strerror(errno);
    size = read(fd, &head, sizeof(head) - 1);
    if (size < 0)
        return strerror(errno);
    if (size >= 2 && !memcmp(head.text, "#!", 2)) {
        const char *interpreter = script_interpreter(head.text);

        if (!interpreter || depth == MAX_SCRIPTS)
            return "is a script without a usable interpreter";
        return obstacle(interpreter, depth + 1);
    }
    if (size < SELFMAG || memcmp(head.text, ELFMAG, SELFMAG))
        return "is neither an ELF program nor a script";
    why = privilege_obstacle(fd);
    return why ? why : elf_obstacle(fd, &head.elf, size);
}

const char *program_obstacle(const char *path)
{
    return obstacle(path, 0);
}
