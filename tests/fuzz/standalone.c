/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drives a fuzz target without libFuzzer: its seeds, then mutations of them from
 * a fixed random sequence, so that a failure repeats.  With arguments: those files
 * instead (a crash that libFuzzer wrote).  With --seeds FOLDER: the seeds are written
 * there, where libFuzzer's corpus begins.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A target whose runs wait for a thread has fewer. */
#ifndef ALL_ROUNDS
#define ALL_ROUNDS 12000
#endif

enum { ROUNDS = 3000, MAX_INPUT = 1 << 16 };

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random_next(void)       /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Flip, overwrite, cut or repeat: a few bytes at a time. */
static size_t mutate(uint8_t *data, size_t size)
{
    for (unsigned i = random_next() % 8 + 1; i && size; i--) {
        size_t at = random_next() % size;

        switch (random_next() % 4) {
        case 0:
            data[at] ^= 1 << random_next() % 8;
            break;
        case 1:
            data[at] = random_next();
            break;
        case 2:
            size = at + 1;
            break;
        default:
            if (size < MAX_INPUT / 2) {
                memmove(data + size, data + at, size - at);
                size += size - at;
            }
        }
    }
    return size;
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(MAX_INPUT);
    size_t size;

    if (!file || !data) {
        perror(path);
        return 1;
    }
    size = fread(data, 1, MAX_INPUT, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

/* Exactly as long as the input, so that the address sanitizer sees the first byte beyond. */
static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int write_seeds(const char *folder)
{
    const uint8_t *seed;
    size_t size;

    for (unsigned n = 0; (seed = fuzz_seed(n, &size)); n++) {
        char path[4096];
        FILE *file;
        bool written;

        snprintf(path, sizeof(path), "%s/seed-%03u", folder, n);
        file = fopen(path, "wb");
        written = file && fwrite(seed, 1, size, file) == size;
        if (!file || fclose(file) || !written) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    static uint8_t work[MAX_INPUT];
    const uint8_t *seed;
    unsigned seeds = 0, rounds;
    size_t size;

    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    if (argc > 1) {
        int failed = 0;

        for (int i = 1; i < argc; i++)
            failed |= run_file(argv[i]);
        return failed;
    }
    while (fuzz_seed(seeds, &size))
        seeds++;
    rounds = seeds * ROUNDS < ALL_ROUNDS ? ROUNDS : ALL_ROUNDS / seeds + 1;
    for (unsigned n = 0; (seed = fuzz_seed(n, &size)); n++) {
        run_copy(seed, size);
        for (unsigned round = 0; round < rounds; round++) {
            memcpy(work, seed, size);
            run_copy(work, mutate(work, size));
        }
    }
    return 0;
}
