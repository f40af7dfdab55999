/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the launcher tells the shared object: words in one environment variable. */
#ifndef LAUNCHER_OPTIONS_H
#define LAUNCHER_OPTIONS_H

#define LAUNCHER_ENVIRONMENT "SOFTKVM_OPTIONS"
#define LAUNCHER_IN_PLACE "in-place"
#define LAUNCHER_VM2 "vm-attributes2"
#define LAUNCHER_NO_FLAGS "no-gmem-flags"
#define LAUNCHER_SEV "sev"
#define LAUNCHER_VIRTUALIZATION "cpuid-virtualization"
#define LAUNCHER_TRACE "trace"
#define LAUNCHER_STATS "stats"
/* "fail=RULE", "pin=RULE", a line each. */
#define LAUNCHER_HOOKS "SOFTKVM_HOOKS"
/* struct softkvm_options.cpu. */
#define LAUNCHER_CPU "SOFTKVM_CPU"
enum { LAUNCHER_CPU_SIZE = 512 };
/* Of its own too: the file of --sev-platform, "" for none. */
#define LAUNCHER_SEV_PLATFORM "SOFTKVM_SEV_PLATFORM"
enum { SEV_PLATFORM_MIN = 32, SEV_PLATFORM_MAX = 64 << 10 };
/* Of its own: a file for --trace and --stats, by its absolute path. */
#define LAUNCHER_TRACE_FILE "SOFTKVM_TRACE"
#define LAUNCHER_PRELOAD "libsoftkvm-preload.so"

#endif
