/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The console on the first serial port, the verdict, and the ways to end the machine. */
#include "guest.h"

enum {
    COM1 = 0x3f8, LSR = COM1 + 5, LSR_DATA = 1, LSR_EMPTY = 0x20,
    PM1A_CONTROL = 0x604, PM1_SLEEP_S5 = 0x2000,        /* SLP_EN; S5 is sleep type 0 */
    RESET_CONTROL = 0xcf9,
};

static bool failed;

void console_init(void)
{
    out8(COM1 + 1, 0);          /* no interrupts */
    out8(COM1 + 3, 0x80);
    out8(COM1 + 0, 1);          /* 115200 baud */
    out8(COM1 + 1, 0);
    out8(COM1 + 3, 3);          /* 8 bits, no parity */
    out8(COM1 + 2, 7);          /* FIFOs on and empty */
    out8(COM1 + 4, 0x0b);       /* DTR, RTS, OUT2 */
}

static void put(char c)
{
    while (!(in8(LSR) & LSR_EMPTY))
        cpu_pause();
    out8(COM1, (uint8_t)c);
}

int console_wait(void)
{
    while (!(in8(LSR) & LSR_DATA))
        cpu_pause();
    return in8(COM1);
}

static void put_number(uint64_t value, unsigned base, unsigned width, char pad)
{
    char digits[24];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    for (; width > n; width--)
        put(pad);
    while (n)
        put(digits[--n]);
}

/* d, i, u, x with l or ll and a width; s, c, %. */
static void put_format(const char *format, va_list args)
{
    for (; *format; format++) {
        unsigned width = 0, longs = 0;
        char pad = ' ';
        int64_t value;

        if (*format == '\n')
            put('\r');
        if (*format != '%') {
            put(*format);
            continue;
        }
        if (*++format == '0')
            pad = *format++;
        for (; *format >= '0' && *format <= '9'; format++)
            width = 10 * width + (unsigned)(*format - '0');
        for (; *format == 'l'; format++)
            longs++;
        if (*format == 's') {
            for (const char *s = va_arg(args, const char *); *s; s++)
                put(*s);
            continue;
        }
        if (*format == '%') {
            put('%');
            continue;
        }
        value = longs ? va_arg(args, int64_t) : va_arg(args, int);
        if (*format == 'c') {
            put((char)value);
        } else if (*format == 'd' || *format == 'i') {
            if (value < 0)
                put('-');
            put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width, pad);
        } else {
            put_number(longs ? (uint64_t)value : (uint32_t)value, *format == 'x' ? 16 : 10, width,
                       pad);
        }
    }
}

void print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    put_format(format, args);
    va_end(args);
}

void check(bool ok, const char *what, ...)
{
    va_list args;

    va_start(args, what);
    put_format(what, args);
    va_end(args);
    print(": %s\n", ok ? "ok" : "FAILED");
    failed |= !ok;
}

void power_off(void)
{
    out16(PM1A_CONTROL, PM1_SLEEP_S5);
    for (;;)
        cpu_pause();
}

void finish(void)
{
    print("%s\n", failed ? "FAIL" : "PASS");
    power_off();
}

void reset_machine(void)
{
    out8(RESET_CONTROL, 0x02);
    out8(RESET_CONTROL, 0x06);
}
