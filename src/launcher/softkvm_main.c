/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `softkvm PROGRAM`: run a program whose /dev/kvm is libsoftkvm. See docs/softkvm.1. */
#include "launcher_options.h"
#include "program.h"
#include "softkvm.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As of a shell: not started by us, not runnable, not found. */
enum { EXIT_OURS = 125, EXIT_NOT_RUNNABLE = 126, EXIT_NOT_FOUND = 127 };

static const char usage[] =
    "usage: softkvm [OPTION]... PROGRAM [ARGUMENT]...\n"
    "Run a program with a /dev/kvm that is served in its own process.\n"
    "\n"
    "  --in-place   convert guest_memfd pages in place (KVM_SET_MEMORY_ATTRIBUTES2);\n"
    "               also --gmem-in-place-conversion[=Y|N], as the kernel's parameter is called\n"
    "  --memory-attributes=vm|vm2|guest-memfd\n"
    "               which ioctl sets memory attributes: of the VM (default), its version 2\n"
    "               as in the drafts of spring 2026, of the guest_memfd (--in-place)\n"
    "  --no-gmem-flags\n"
    "               no guest_memfd can be mapped, as with Linux 6.8 to 6.17\n"
    "  --cpu=MODEL[,vendor=intel|amd][,+FEATURE][,-FEATURE]\n"
    "               the processor that programs find: max (all there is), amd (the same by\n"
    "               AMD's name), x86-64-v2, x86-64\n"
    "  --sev        AMD's SEV, by a firmware in software: VMs of type 2, and /dev/sev\n"
    "  --sev-platform=FILE\n"
    "               the same with keys derived from FILE, 32 bytes or more that nobody else\n"
    "               has, so that they stay the same\n"
    "  --cpuid-virtualization\n"
    "               the program's own CPUID instructions find VMX or SVM, as where there is KVM\n"
    "  --fail=WHAT:FIRST[-[LAST]][:ERRNO]\n"
    "               let calls fail, counted from 1: WHAT is an ioctl's name, or attributes,\n"
    "               page, slot, mapping; ENOMEM if no other error is named\n"
    "  --pin=OFFSET[+SIZE][:TRIES]\n"
    "               pin pages of every guest_memfd: so many conversions to private (all\n"
    "               without TRIES) fail with EAGAIN\n"
    "  --trace[=FILE]\n"
    "               a line for each call, on standard error or into FILE\n"
    "  --stats      what was called, how often and how long, at exit, to the same place\n"
    "  --help       this text\n"
    "  --version    the version\n";

static void __attribute__((noreturn, format(printf, 2, 3))) fail(int status, const char *format,
                                                                 ...)
{
    va_list args;

    fputs("softkvm: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

struct settings {
    bool in_place, vm2, no_gmem_flags, sev, cpuid_virtualization, trace, stats;
    const char *cpu;
    char hooks[4096];           /* LAUNCHER_HOOKS */
    char trace_file[PATH_MAX];  /* "": standard error */
    char sev_platform[PATH_MAX]; /* "": made anew */
};

static bool parse_bool(const char *text)
{
    if (!text || !strcmp(text, "Y") || !strcmp(text, "y") || !strcmp(text, "1"))
        return true;
    if (!strcmp(text, "N") || !strcmp(text, "n") || !strcmp(text, "0"))
        return false;
    fail(EXIT_OURS, "--gmem-in-place-conversion is Y or N, not '%s'", text);
}

static void set_attributes(struct settings *settings, const char *text)
{
    settings->in_place = !strcmp(text, "guest-memfd");
    settings->vm2 = !strcmp(text, "vm2");
    if (!settings->in_place && !settings->vm2 && strcmp(text, "vm"))
        fail(EXIT_OURS, "--memory-attributes is vm, vm2 or guest-memfd, not '%s'", text);
}

/* Tried here, where what is wrong with it can be said. */
static void add_hook(struct settings *settings, const char *option, const char *rule,
                     int (*set)(const char *text))
{
    size_t used = strlen(settings->hooks);

    if (strpbrk(rule, " \n") || set(rule))
        fail(EXIT_OURS, "--%s=%s: see softkvm(1)", option, rule);
    if ((size_t)snprintf(settings->hooks + used, sizeof(settings->hooks) - used, "%s=%s\n",
                         option, rule) >= sizeof(settings->hooks) - used)
        fail(EXIT_OURS, "too many --%s", option);
}

static void set_cpu(struct settings *settings, const char *text)
{
    const char *wrong = softkvm_cpu_error(text);

    if (wrong)
        fail(EXIT_OURS, "--cpu=%s: %s", text, wrong);
    if (strlen(text) >= LAUNCHER_CPU_SIZE)
        fail(EXIT_OURS, "--cpu is longer than %d characters", LAUNCHER_CPU_SIZE - 1);
    settings->cpu = text;
}

static void set_sev_platform(struct settings *settings, const char *path)
{
    struct stat st;

    if (!realpath(path, settings->sev_platform) || stat(path, &st) || access(path, R_OK))
        fail(EXIT_OURS, "--sev-platform=%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size < SEV_PLATFORM_MIN || st.st_size > SEV_PLATFORM_MAX)
        fail(EXIT_OURS, "--sev-platform=%s: it must be a file of %d to %d bytes", path,
             SEV_PLATFORM_MIN, SEV_PLATFORM_MAX);
    settings->sev = true;
}

/* Emptied here, then only appended to: by this program and those that it starts. */
static void set_trace(struct settings *settings, const char *path)
{
    int fd;

    settings->trace = true;
    settings->trace_file[0] = 0;
    if (!path)
        return;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        fail(EXIT_OURS, "--trace=%s: %s", path, strerror(errno));
    close(fd);
    if (!realpath(path, settings->trace_file))
        fail(EXIT_OURS, "--trace=%s: %s", path, strerror(errno));
}

static struct settings parse_options(int argc, char **argv)
{
    enum {
        IN_PLACE = 1, GMEM_IN_PLACE, ATTRIBUTES, NO_GMEM_FLAGS, CPU, SEV, SEV_PLATFORM,
        VIRTUALIZATION, FAIL, PIN, TRACE, STATS, HELP, VERSION,
    };
    static const struct option options[] = {
        { "in-place", no_argument, NULL, IN_PLACE },
        { "gmem-in-place-conversion", optional_argument, NULL, GMEM_IN_PLACE },
        { "gmem_in_place_conversion", optional_argument, NULL, GMEM_IN_PLACE },
        { "memory-attributes", required_argument, NULL, ATTRIBUTES },
        { "no-gmem-flags", no_argument, NULL, NO_GMEM_FLAGS },
        { "cpu", required_argument, NULL, CPU },
        { "sev", no_argument, NULL, SEV },
        { "sev-platform", required_argument, NULL, SEV_PLATFORM },
        { "cpuid-virtualization", no_argument, NULL, VIRTUALIZATION },
        { "fail", required_argument, NULL, FAIL },
        { "pin", required_argument, NULL, PIN },
        { "trace", optional_argument, NULL, TRACE },
        { "stats", no_argument, NULL, STATS },
        { "help", no_argument, NULL, HELP },
        { "version", no_argument, NULL, VERSION },
        { 0 },
    };
    struct settings settings = { 0 };
    int option;

    while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        switch (option) {
        case IN_PLACE: settings.in_place = true; break;
        case GMEM_IN_PLACE: settings.in_place = parse_bool(optarg); break;
        case ATTRIBUTES: set_attributes(&settings, optarg); break;
        case NO_GMEM_FLAGS: settings.no_gmem_flags = true; break;
        case CPU: set_cpu(&settings, optarg); break;
        case SEV: settings.sev = true; break;
        case SEV_PLATFORM: set_sev_platform(&settings, optarg); break;
        case VIRTUALIZATION: settings.cpuid_virtualization = true; break;
        case FAIL: add_hook(&settings, "fail", optarg, softkvm_fail); break;
        case PIN: add_hook(&settings, "pin", optarg, softkvm_pin_new); break;
        case TRACE: set_trace(&settings, optarg); break;
        case STATS: settings.stats = true; break;
        case VERSION: puts("softkvm " CLOISTER_VERSION); exit(EXIT_SUCCESS);
        case 'h':
        case HELP: fputs(usage, stdout); exit(EXIT_SUCCESS);
        default: fputs("Try 'softkvm --help'.\n", stderr); exit(EXIT_OURS);
        }
    }
    if (settings.in_place && settings.vm2)
        fail(EXIT_OURS, "--in-place and --memory-attributes=vm2 exclude each other");
    if (optind == argc)
        fail(EXIT_OURS, "which program? Try 'softkvm --help'");
    return settings;
}

static bool preload_is_in(const char *folder, const char *below, char *ret, size_t size)
{
    return (size_t)snprintf(ret, size, "%s/%s%s", folder, below, LAUNCHER_PRELOAD) < size &&
           !access(ret, R_OK);
}

/* Beside this program, as it is built; in its tree, as installed, wherever that was moved. */
static void find_preload(char *ret, size_t size)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (length > 0) {
        self[length] = 0;
        slash = strrchr(self, '/');
        if (slash) {
            *slash = 0;
            if (preload_is_in(self, "", ret, size) ||
                preload_is_in(self, LAUNCHER_LIBDIR_BELOW, ret, size))
                return;
        }
    }
    if (preload_is_in(LAUNCHER_LIBDIR, "", ret, size))
        return;
    fail(EXIT_OURS, "%s is neither beside this program nor in %s", LAUNCHER_PRELOAD,
         LAUNCHER_LIBDIR);
}

static void set_environment(const struct settings *settings, const char *preload)
{
    const char *before = getenv("LD_PRELOAD");
    char list[2 * PATH_MAX], words[160];

    /* ld.so(8) knows no way to quote them. */
    if (strpbrk(preload, ": \t"))
        fail(EXIT_OURS, "the loader can't take a path with spaces or colons: %s", preload);
    if ((size_t)snprintf(list, sizeof(list), "%s%s%s", preload, before && *before ? ":" : "",
                         before ? before : "") >= sizeof(list))
        fail(EXIT_OURS, "LD_PRELOAD is too long");
    snprintf(words, sizeof(words), "%s %s %s %s %s %s %s",
             settings->in_place ? LAUNCHER_IN_PLACE : "", settings->vm2 ? LAUNCHER_VM2 : "",
             settings->no_gmem_flags ? LAUNCHER_NO_FLAGS : "",
             settings->sev ? LAUNCHER_SEV : "",
             settings->cpuid_virtualization ? LAUNCHER_VIRTUALIZATION : "",
             settings->trace ? LAUNCHER_TRACE : "", settings->stats ? LAUNCHER_STATS : "");
    if (setenv("LD_PRELOAD", list, 1) || setenv(LAUNCHER_ENVIRONMENT, words, 1) ||
        setenv(LAUNCHER_HOOKS, settings->hooks, 1) ||
        setenv(LAUNCHER_TRACE_FILE, settings->trace_file, 1) ||
        setenv(LAUNCHER_SEV_PLATFORM, settings->sev_platform, 1) ||
        setenv(LAUNCHER_CPU, settings->cpu ? settings->cpu : "max", 1))
        fail(EXIT_OURS, "%s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct settings settings = parse_options(argc, argv);
    char program[PATH_MAX], preload[PATH_MAX];
    const char *why;

    if (!program_find(argv[optind], program, sizeof(program)))
        fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE, "%s: %s", argv[optind],
             strerror(errno));
    why = program_obstacle(program);
    if (why)
        fail(EXIT_NOT_RUNNABLE, "%s %s", program, why);
    find_preload(preload, sizeof(preload));
    set_environment(&settings, preload);
    execv(program, argv + optind);
    fail(EXIT_NOT_RUNNABLE, "%s: %s", program, strerror(errno));
}
