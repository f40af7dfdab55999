/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which counter, its frequency, and reading it.
 *
 * Source: SDM vol. 3, 18.17 (TSC) and CPUID leaves 0x15, 0x80000007; leaf
 * 0x40000010 as hypervisors agreed on it.
 */
#include "host_ticks.h"

#include <cpuid.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum {
    CLOCK_KHZ = 1000 * 1000, NSEC_PER_SEC = 1000 * 1000 * 1000,
    INVARIANT_TSC = 1 << 8, HYPERVISOR = 1 << 31,
    CALIBRATION_NS = 10 * 1000 * 1000, SAMPLES = 32,
    PPM = 1000 * 1000, PLAUSIBLE_PPM = 200,
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool wants_clock;
static uint32_t found_khz;
static bool is_tsc;
/* Atomic: what a TSC that began anew lacks; and a reading at most a second old, or the last. */
static uint64_t adjust, recent;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * (uint64_t)NSEC_PER_SEC + now.tv_nsec;
}

/* Not before what the program text has before it. */
static uint64_t read_tsc(void)
{
    _mm_lfence();
    return __rdtsc();
}

static bool kernel_uses_tsc(void)
{
    int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                  O_RDONLY | O_CLOEXEC);
    char name[8] = "";
    bool uses = fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && !strcmp(name, "tsc\n");

    if (fd >= 0)
        close(fd);
    return uses;
}

static bool tsc_is_invariant(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) && edx & INVARIANT_TSC;
}

/* What the processor or the hypervisor says that it is; 0: nothing. */
static uint32_t announced_khz(void)
{
    unsigned eax, ebx, ecx, edx;

    if (__get_cpuid(0x15, &eax, &ebx, &ecx, &edx) && eax && ebx && ecx)
        return (uint64_t)ecx * ebx / eax / 1000;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & HYPERVISOR))
        return 0;
    __cpuid(0x40000000, eax, ebx, ecx, edx);
    if (eax < 0x40000010)
        return 0;
    __cpuid(0x40000010, eax, ebx, ecx, edx);
    return eax;
}

struct moment {
    uint64_t tsc, ns;
};

/* The TSC and the kernel's clock at one moment: of several tries the least disturbed. */
static struct moment take_moment(void)
{
    struct moment best = { 0 };
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < SAMPLES; i++) {
        uint64_t before = read_tsc(), ns = clock_ns(CLOCK_MONOTONIC_RAW), after = read_tsc();

        if (after - before < least) {
            least = after - before;
            best = (struct moment){ .tsc = before + least / 2, .ns = ns };
        }
    }
    return best;
}

static uint32_t measured_khz(void)
{
    struct timespec pause = { .tv_nsec = CALIBRATION_NS };
    struct moment first = take_moment(), last;

    do {
        nanosleep(&pause, NULL);
        last = take_moment();
    } while (last.ns - first.ns < CALIBRATION_NS);
    return ((unsigned __int128)(last.tsc - first.tsc) * PPM + (last.ns - first.ns) / 2) /
           (last.ns - first.ns);
}

/* What is announced is exact, if it is true. */
static uint32_t find_khz(void)
{
    uint32_t measured = measured_khz(), announced = announced_khz();
    uint64_t apart = measured > announced ? measured - announced : announced - measured;

    return apart * PPM <= (uint64_t)measured * PLAUSIBLE_PPM ? announced : measured;
}

static void choose(void)
{
    found_khz = CLOCK_KHZ;
    is_tsc = !wants_clock && tsc_is_invariant() && kernel_uses_tsc();
    if (is_tsc)
        found_khz = find_khz();
    __atomic_store_n(&recent, read_tsc(), __ATOMIC_RELAXED);
}

uint32_t host_ticks_khz(void)
{
    pthread_once(&once, choose);
    return found_khz;
}

bool host_ticks_are_tsc(void)
{
    pthread_once(&once, choose);
    return is_tsc;
}

void host_ticks_use_clock(void)
{
    wants_clock = true;
}

/*
 * A second or more away from the recent reading: time has passed, or the TSC
 * began anew.  Then it goes on after all that can have been read.
 */
static uint64_t look_again(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    uint64_t second = found_khz * 1000ULL, now;
    int64_t ahead;

    pthread_mutex_lock(&lock);
    now = read_tsc() + adjust;
    ahead = now - recent;
    if (ahead < -(int64_t)second) {
        __atomic_store_n(&adjust, adjust + second - ahead, __ATOMIC_RELAXED);
        now += second - ahead;
    }
    if (ahead > 0 || ahead < -(int64_t)second)
        __atomic_store_n(&recent, now, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock);
    return now;
}

uint64_t host_ticks(void)
{
    uint64_t now;

    if (!host_ticks_are_tsc())
        return clock_ns(CLOCK_MONOTONIC);
    now = read_tsc() + __atomic_load_n(&adjust, __ATOMIC_RELAXED);
    return now - __atomic_load_n(&recent, __ATOMIC_RELAXED) < found_khz * 1000ULL ? now
                                                                                   : look_again();
}

uint64_t host_ticks_scale(uint64_t ticks, uint32_t khz)
{
    uint32_t own = host_ticks_khz();

    return khz == own ? ticks : (uint64_t)((unsigned __int128)ticks * khz / own);
}
