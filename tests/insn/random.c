/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random operands that like the places where instructions go wrong. */
#include "insn_test.h"

#include <string.h>

static uint64_t random_state;

void random_seed(uint64_t seed)
{
    random_state = seed;
}

/* splitmix64: any seed is good, and the state is one word to print. */
uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

unsigned random_below(unsigned n)
{
    return (random_u64() >> 32) % n;
}

bool random_chance(unsigned percent)
{
    return random_below(100) < percent;
}

uint64_t random_int(void)
{
    static const uint64_t edges[] = {
        0, 1, 2, UINT64_MAX, UINT64_MAX - 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
        INT32_MAX, 0x80000000, UINT32_MAX, INT64_MAX, 1ull << 63, 0x100000000, 10, 0x99,
    };

    switch (random_below(8)) {
    case 0: case 1: case 2:
        return edges[random_below(sizeof(edges) / sizeof(edges[0]))];
    case 3:
        return random_below(256);
    case 4:
        return random_u64() >> random_below(64);
    case 5:
        return 1ull << random_below(64);
    default:
        return random_u64();
    }
}

/*
 * Floating point by its fields: sign, exponent, fraction.  shared makes operands
 * of one test close to one another, so that sums cancel and quotients are small.
 */
static uint64_t random_float(unsigned exponent_bits, unsigned fraction_bits)
{
    uint64_t max = (1ull << exponent_bits) - 1, bias = max >> 1;
    uint64_t fraction_mask = (1ull << fraction_bits) - 1;
    uint64_t sign = random_u64() >> 63, exponent, fraction = random_u64() & fraction_mask;

    switch (random_below(16)) {
    case 0:                                         /* zero */
        exponent = fraction = 0;
        break;
    case 1:                                         /* denormal */
        exponent = 0;
        fraction >>= random_below(fraction_bits);
        break;
    case 2:                                         /* infinity */
        exponent = max, fraction = 0;
        break;
    case 3:                                         /* NaN of either kind */
        exponent = max, fraction |= 1;
        break;
    case 4:                                         /* the largest */
        exponent = max - 1 - random_below(3);
        fraction = random_chance(50) ? fraction_mask : fraction;
        break;
    case 5:                                         /* the smallest normal ones */
        exponent = 1 + random_below(3);
        fraction = random_chance(50) ? 0 : fraction;
        break;
    case 6: case 7:                                 /* integers and halves, to 2^66 */
        exponent = bias - 2 + random_below(68);
        if (random_chance(70))
            fraction &= ~(fraction_mask >> random_below(fraction_bits));
        break;
    case 8:                                         /* few bits: exact results */
        exponent = bias - 4 + random_below(8);
        fraction &= 7ull << (fraction_bits - 3);
        break;
    case 9:                                         /* exponents whose product is on the edge */
        exponent = bias / 2 - 2 + random_below(6) + (random_chance(50) ? bias : 0);
        break;
    case 10: case 11: case 12: case 13:
        exponent = bias - 3 + random_below(7);
        break;
    default:
        exponent = random_u64() & max;
        break;
    }
    return sign << (exponent_bits + fraction_bits) | exponent << fraction_bits | fraction;
}

void random_f80(void *ten_bytes)
{
    uint64_t mantissa;
    uint16_t sign_exponent;

    if (random_chance(5)) {                         /* any bits: unnormals, pseudo-denormals... */
        mantissa = random_int();
        sign_exponent = random_chance(50) ? random_u64() : (random_u64() & 0x8003);
    } else {
        /* 15 bits of exponent and 48 of fraction, spread over the 63. */
        uint64_t f = random_float(15, 48), fraction = f & 0xffffffffffff;

        mantissa = fraction << 15;
        if (fraction && random_chance(60))
            mantissa |= random_u64() & 0x7fff;
        sign_exponent = f >> 48;
        if (sign_exponent & 0x7fff)
            mantissa |= 1ull << 63;
    }
    memcpy(ten_bytes, &mantissa, 8);
    memcpy((uint8_t *)ten_bytes + 8, &sign_exponent, 2);
}

static void random_text(uint8_t *data, size_t size)
{
    unsigned base = "a0\0\x80"[random_below(4)], range = 1 + random_below(6);

    for (size_t i = 0; i < size; i++)
        data[i] = random_chance(5) ? 0 : base + random_below(range);
}

/* Fill with lanes of one kind; a lane size per call keeps neighbours alike. */
void random_lanes(enum kind kind, void *data, size_t size)
{
    static const uint8_t int_sizes[] = { 1, 2, 4, 8 };
    uint8_t *out = data;
    unsigned lane = int_sizes[random_below(4)];

    if (kind == K_TEXT) {
        random_text(out, size);
        return;
    }
    if (kind == K_F32)
        lane = 4;
    else if (kind == K_F64 || kind == K_F80)
        lane = 8;
    for (size_t i = 0; i < size; i += lane) {
        uint64_t value = 0;

        switch (kind) {
        case K_F32:
            value = random_float(8, 23);
            break;
        case K_F64:
            value = random_float(11, 52);
            break;
        case K_BCD:
            for (unsigned j = 0; j < 16; j++)
                value = value << 4 | random_below(random_chance(2) ? 16 : 10);
            break;
        default:
            value = random_int();
            if (lane < 8 && random_chance(30))      /* the edges of this lane */
                value = random_chance(50) ? ~0ull >> 1 : 1ull << (lane * 8 - 1);
            break;
        }
        memcpy(out + i, &value, size - i < lane ? size - i : lane);
    }
}
