/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * insn: rows of instructions, host's processor against ours.  TAP on stdout.
 *
 *   --iterations N   tests a row (default 100)
 *   --seed N         another sequence; a failure prints the seed that repeats it
 *   --row TEXT       rows whose name or code contains TEXT only; may be repeated
 *   --failures N     failing tests printed for each row (default 2)
 *   --list           names and encodings
 */
#include "generate.h"

#include <cpuid.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    unsigned iterations, failures;
    uint64_t seed;
    const char *match[16];
    unsigned nr_match;
    bool list;
} options = { .iterations = 100, .failures = 2, .seed = 1 };

static const struct {
    const char *name;
    uint32_t leaf, bit;
    uint8_t reg;                /* a b c d */
} features[F_NR] = {
    [F_SSE3] = { "sse3", 1, 0, 2 },
    [F_SSSE3] = { "ssse3", 1, 9, 2 },
    [F_SSE41] = { "sse4.1", 1, 19, 2 },
    [F_SSE42] = { "sse4.2", 1, 20, 2 },
    [F_POPCNT] = { "popcnt", 1, 23, 2 },
    [F_AES] = { "aes", 1, 25, 2 },
    [F_PCLMUL] = { "pclmulqdq", 1, 1, 2 },
    [F_SHA] = { "sha", 7, 29, 1 },
    [F_MOVBE] = { "movbe", 1, 22, 2 },
    [F_BMI1] = { "bmi1", 7, 3, 1 },
    [F_BMI2] = { "bmi2", 7, 8, 1 },
    [F_LZCNT] = { "lzcnt", 0x80000001, 5, 2 },
    [F_ADX] = { "adx", 7, 19, 1 },
    [F_RDPID] = { "rdpid", 7, 22, 2 },
    [F_FSGSBASE] = { "fsgsbase", 7, 0, 1 },
    [F_XSAVE] = { "xsave", 1, 26, 2 },
};

static const struct {
    const char *name;
    const struct row *rows;
    const size_t *count;
} tables[] = {
    { "integer", rows_integer, &rows_integer_count },
    { "sse", rows_sse, &rows_sse_count },
    { "x87", rows_x87, &rows_x87_count },
};
enum { NR_TABLES = sizeof(tables) / sizeof(tables[0]) };

/* Both must have it: a row of a feature that ours doesn't announce is no promise. */
static const char *feature_missing(unsigned feature)
{
    uint32_t host[4], ours[4], bit = 1u << features[feature].bit;
    unsigned reg = features[feature].reg;

    if (feature == F_ANY)
        return NULL;
    __cpuid_count(features[feature].leaf, 0, host[0], host[1], host[2], host[3]);
    if (!(host[reg] & bit))
        return "the host";
    if (!ours_cpuid(features[feature].leaf, ours) || !(ours[reg] & bit))
        return "softkvm";
    return NULL;
}

static bool selected(const struct row *row)
{
    for (unsigned i = 0; i < options.nr_match; i++)
        if (strstr(row->name, options.match[i]) || strcmp(row->code, options.match[i]) == 0)
            return true;
    return options.nr_match == 0;
}

static void print_test(const struct test *t, uint64_t seed)
{
    printf("# --seed %" PRIu64 " --iterations 1 --row '%s':", seed, t->row->code);
    for (unsigned i = 0; i < t->length; i++)
        printf(" %02x", t->code[i]);
    if (t->has_mem)
        printf("  operand at 0x%" PRIx64, t->ea);
    printf("\n");
}

/* One iteration.  Each has a seed of its own, so that it can be repeated alone. */
static bool run_one(const struct row *row, uint64_t seed, bool print, bool *bad_row)
{
    struct test t = { .row = row };
    struct outcome host, ours;

    random_seed(seed);
    arena_reset();
    if (!generate(&t)) {
        *bad_row = true;
        return false;
    }
    host_run(&t.in, &host);
    ours_run(&t.in, &ours);
    if (compare(&t, &host, &ours, row->undef | ours_undefined_flags(t.code, t.length)))
        return true;
    if (print) {
        print_test(&t, seed);
        fputs(compare_report(), stdout);
    }
    return false;
}

static bool run_row(const struct row *row)
{
    unsigned failures = 0;
    bool bad_row = false;

    for (unsigned i = 0; i < options.iterations && !bad_row; i++)
        if (!run_one(row, options.seed + i, failures < options.failures, &bad_row))
            failures++;
    if (bad_row)
        printf("# the row can't be parsed\n");
    else if (failures)
        printf("# %u of %u failed\n", failures, options.iterations);
    return failures == 0;
}

static bool parse_options(int argc, char **argv)
{
    static const struct option longs[] = {
        { "iterations", required_argument, NULL, 'i' }, { "seed", required_argument, NULL, 's' },
        { "row", required_argument, NULL, 'r' }, { "failures", required_argument, NULL, 'f' },
        { "list", no_argument, NULL, 'l' }, { 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "i:s:r:f:l", longs, NULL)) != -1) {
        switch (c) {
        case 'i': options.iterations = strtoul(optarg, NULL, 0); break;
        case 's': options.seed = strtoull(optarg, NULL, 0); break;
        case 'f': options.failures = strtoul(optarg, NULL, 0); break;
        case 'l': options.list = true; break;
        case 'r':
            if (options.nr_match == sizeof(options.match) / sizeof(options.match[0]))
                return false;
            options.match[options.nr_match++] = optarg;
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    unsigned nr = 0, failed = 0, skipped = 0;
    int ret;

    if (!parse_options(argc, argv)) {
        fprintf(stderr, "usage: insn [--iterations N] [--seed N] [--row TEXT]... "
                        "[--failures N] [--list]\n");
        return 2;
    }
    if ((ret = arena_init()) < 0 || (ret = host_init()) < 0 || (ret = ours_init()) < 0) {
        fprintf(stderr, "insn: %s\n", strerror(-ret));
        return 1;
    }
    for (unsigned t = 0; t < NR_TABLES; t++) {
        for (size_t i = 0; i < *tables[t].count; i++) {
            const struct row *row = &tables[t].rows[i];
            const char *missing = feature_missing(row->feature);
            bool ok;

            if (!selected(row))
                continue;
            if (options.list) {
                printf("%-8s %-24s %s\n", tables[t].name, row->code, row->name);
                continue;
            }
            ok = missing || run_row(row);
            failed += !ok;
            skipped += missing != NULL;
            printf("%sok %u - %s: %s [%s]", ok ? "" : "not ", ++nr, tables[t].name, row->name,
                   row->code);
            if (missing)
                printf(" # SKIP %s lacks %s", missing, features[row->feature].name);
            printf("\n");
            fflush(stdout);
        }
    }
    printf("1..%u\n# %u passed, %u failed, %u skipped; seed %" PRIu64 ", %u iterations\n", nr,
           nr - failed - skipped, failed, skipped, options.seed, options.iterations);
    return failed ? 1 : 0;
}
