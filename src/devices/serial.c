/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 16550A UART (National Semiconductor PC16550D data sheet), with both FIFOs.
 *
 * Characters take no time on the line: the transmitter empties as fast as the
 * character device takes them, and received ones below the trigger level count
 * as timed out at once.  No parity or framing errors arise.  OUT2 does
 * not gate the interrupt, as small guests don't know that a PC wires it so.
 *
 * Locks: the machine lock covers everything; the chardev's callbacks come on the
 * main thread without it and take it.
 */
#include "serial.h"

#include <string.h>

enum { FIFO_SIZE = 16 };

/* Registers by offset; DLAB puts the divisor over the first two. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum {
    IER_RDI = 0x01, IER_THRI = 0x02, IER_RLSI = 0x04, IER_MSI = 0x08,
    IIR_NONE = 0x01, IIR_MSI = 0x00, IIR_THRI = 0x02, IIR_RDI = 0x04, IIR_RLSI = 0x06,
    IIR_TIMEOUT = 0x0c, IIR_FIFO = 0xc0,
    FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_CLEAR_TX = 0x04, FCR_TRIGGER = 0xc0,
    LCR_DLAB = 0x80,
    MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10,
    LSR_DR = 0x01, LSR_OE = 0x02, LSR_BI = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40,
    MSR_DELTAS = 0x0f, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80,
    MSR_TERI = 0x04,
};

struct fifo {
    uint8_t data[FIFO_SIZE];
    unsigned head, count;
};

struct serial {
    struct bus *bus;
    struct irq irq;
    struct chardev *chr;
    uint16_t divisor;
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint8_t lsr_errors;         /* the latched part of LSR; the rest follows from the FIFOs */
    bool thr_interrupt;         /* THR ran empty and nobody has been told */
    struct fifo rx, tx;
};

static void fifo_push(struct fifo *fifo, uint8_t byte)
{
    fifo->data[(fifo->head + fifo->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct fifo *fifo)
{
    uint8_t byte = fifo->data[fifo->head];

    fifo->head = (fifo->head + 1) % FIFO_SIZE;
    fifo->count--;
    return byte;
}

static void fifo_clear(struct fifo *fifo)
{
    fifo->head = fifo->count = 0;
}

static unsigned fifo_room(const struct serial *s, const struct fifo *fifo)
{
    unsigned size = s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;

    return fifo->count < size ? size - fifo->count : 0;
}

/* The highest of the pending interrupts that are enabled, in IIR's numbering. */
static uint8_t pending_interrupt(const struct serial *s)
{
    static const uint8_t triggers[] = { 1, 4, 8, 14 };
    unsigned trigger = s->fcr & FCR_ENABLE ? triggers[s->fcr >> 6] : 1;

    if ((s->ier & IER_RLSI) && s->lsr_errors)
        return IIR_RLSI;
    if ((s->ier & IER_RDI) && s->rx.count)
        return s->rx.count >= trigger ? IIR_RDI : IIR_TIMEOUT;
    if ((s->ier & IER_THRI) && s->thr_interrupt)
        return IIR_THRI;
    if ((s->ier & IER_MSI) && (s->msr & MSR_DELTAS))
        return IIR_MSI;
    return IIR_NONE;
}

static void update_irq(struct serial *s)
{
    irq_set(&s->irq, pending_interrupt(s) != IIR_NONE);
}

/* Give the character device what it takes; THR is empty when all of it went. */
static void transmit(struct serial *s)
{
    while (s->tx.count) {
        unsigned run = MIN(s->tx.count, FIFO_SIZE - s->tx.head);
        size_t taken = run;

        if (s->chr)
            taken = chardev_write(s->chr, s, s->tx.data + s->tx.head, run);
        s->tx.head = (s->tx.head + taken) % FIFO_SIZE;
        s->tx.count -= taken;
        if (taken < run)
            return;             /* drained() goes on */
    }
    s->thr_interrupt = true;
}

static void receive_byte(struct serial *s, uint8_t byte)
{
    if (fifo_room(s, &s->rx))
        fifo_push(&s->rx, byte);
    else
        s->lsr_errors |= LSR_OE;
}

static void write_thr(struct serial *s, uint8_t byte)
{
    s->thr_interrupt = false;
    if (s->mcr & MCR_LOOP) {
        receive_byte(s, byte);
        s->thr_interrupt = true;
        return;
    }
    /* Writing to a full transmitter loses the character, as on the chip. */
    if (fifo_room(s, &s->tx))
        fifo_push(&s->tx, byte);
    transmit(s);
}

static void write_fcr(struct serial *s, uint8_t value)
{
    if ((value ^ s->fcr) & FCR_ENABLE)
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (value & FCR_CLEAR_RX)
        fifo_clear(&s->rx);
    if (value & FCR_CLEAR_TX) {
        fifo_clear(&s->tx);
        s->thr_interrupt = true;
    }
    s->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
}

static void write_ier(struct serial *s, uint8_t value)
{
    uint8_t raised = value & ~s->ier;

    s->ier = value & 0x0f;
    /* Enabling the interrupt while THR is empty raises it: drivers start output so. */
    if ((raised & IER_THRI) && !s->tx.count)
        s->thr_interrupt = true;
}

/* In loopback the modem inputs are this chip's own outputs. */
static uint8_t modem_lines(const struct serial *s)
{
    if (!(s->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
           (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct serial *s, uint8_t value)
{
    uint8_t before = modem_lines(s), after, changed;

    s->mcr = value & 0x1f;
    after = modem_lines(s);
    changed = (before ^ after) >> 4;
    if (!(before & MSR_RI) || (after & MSR_RI))
        changed &= ~MSR_TERI;   /* RI's delta is its trailing edge alone */
    s->msr |= changed;
}

static void serial_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct serial *s = opaque;
    uint8_t byte = value;

    switch (offset) {
    case REG_DATA:
        if (s->lcr & LCR_DLAB)
            s->divisor = (s->divisor & 0xff00) | byte;
        else
            write_thr(s, byte);
        break;
    case REG_IER:
        if (s->lcr & LCR_DLAB)
            s->divisor = (s->divisor & 0x00ff) | byte << 8;
        else
            write_ier(s, byte);
        break;
    case REG_IIR_FCR:
        write_fcr(s, byte);
        break;
    case REG_LCR:
        s->lcr = byte;
        break;
    case REG_MCR:
        write_mcr(s, byte);
        break;
    case REG_SCR:
        s->scr = byte;
        break;
    default:                    /* LSR and MSR are read only */
        break;
    }
    update_irq(s);
}

static uint8_t read_rbr(struct serial *s)
{
    uint8_t byte = 0;

    if (s->rx.count)
        byte = fifo_pop(&s->rx);
    if (s->chr && !s->rx.count)
        chardev_accept_input(s->chr);
    return byte;
}

static uint8_t read_iir(struct serial *s)
{
    uint8_t iir = pending_interrupt(s);

    if (iir == IIR_THRI)
        s->thr_interrupt = false;
    return iir | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *s)
{
    uint8_t lsr = s->lsr_errors | (s->rx.count ? LSR_DR : 0) |
                  (s->tx.count ? 0 : LSR_THRE | LSR_TEMT);

    s->lsr_errors = 0;
    return lsr;
}

static uint8_t read_msr(struct serial *s)
{
    uint8_t msr = modem_lines(s) | s->msr;

    s->msr = 0;
    return msr;
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    struct serial *s = opaque;
    bool dlab = s->lcr & LCR_DLAB;
    uint8_t value = 0;

    switch (offset) {
    case REG_DATA:
        value = dlab ? s->divisor & 0xff : read_rbr(s);
        break;
    case REG_IER:
        value = dlab ? s->divisor >> 8 : s->ier;
        break;
    case REG_IIR_FCR:
        value = read_iir(s);
        break;
    case REG_LCR:
        value = s->lcr;
        break;
    case REG_MCR:
        value = s->mcr;
        break;
    case REG_LSR:
        value = read_lsr(s);
        break;
    case REG_MSR:
        value = read_msr(s);
        break;
    case REG_SCR:
        value = s->scr;
        break;
    }
    update_irq(s);
    return value;
}

static const struct io_ops serial_io = {
    .read = serial_read,
    .write = serial_write,
    .min_size = 1,
    .max_size = 1,
};

/* --- The character device's side: main thread, no lock held --- */

static size_t serial_can_receive(void *opaque)
{
    struct serial *s = opaque;
    size_t room;

    bus_lock(s->bus);
    room = s->mcr & MCR_LOOP ? 0 : fifo_room(s, &s->rx);
    bus_unlock(s->bus);
    return room;
}

static void serial_receive(void *opaque, const void *data, size_t size)
{
    struct serial *s = opaque;
    const uint8_t *bytes = data;

    bus_lock(s->bus);
    for (size_t i = 0; i < size; i++)
        receive_byte(s, bytes[i]);
    update_irq(s);
    bus_unlock(s->bus);
}

static void serial_drained(void *opaque)
{
    struct serial *s = opaque;

    bus_lock(s->bus);
    if (s->tx.count) {
        transmit(s);
        update_irq(s);
    }
    bus_unlock(s->bus);
}

/* A break is a zero character with its bit in LSR. */
static void serial_line_break(void *opaque)
{
    struct serial *s = opaque;

    bus_lock(s->bus);
    s->lsr_errors |= LSR_BI;
    receive_byte(s, 0);
    update_irq(s);
    bus_unlock(s->bus);
}

/* A serial line has no connection: who is there is not the guest's to know. */
static void serial_connection(void *opaque)
{
}

static const struct chardev_front serial_front = {
    .can_receive = serial_can_receive,
    .receive = serial_receive,
    .opened = serial_connection,
    .closed = serial_connection,
    .drained = serial_drained,
    .line_break = serial_line_break,
};

void serial_reset(struct serial *s)
{
    s->divisor = 12;            /* 9600 baud */
    s->ier = s->fcr = s->lcr = s->mcr = s->msr = s->scr = s->lsr_errors = 0;
    s->thr_interrupt = false;
    fifo_clear(&s->rx);
    fifo_clear(&s->tx);
    update_irq(s);
    if (s->chr)
        chardev_accept_input(s->chr);
}

struct serial *serial_new(struct bus *bus, uint16_t port, const struct irq *irq)
{
    struct serial *s = g_new0(struct serial, 1);

    s->bus = bus;
    s->irq = *irq;
    s->divisor = 12;
    if (bus_add_pio(bus, port, 8, "serial", &serial_io, s) < 0) {
        g_free(s);
        return NULL;
    }
    return s;
}

bool serial_connect(struct serial *s, struct chardev *chr, GError **error)
{
    /* Attaching may ask at once how much can be received, which needs no chardev here. */
    if (!chardev_attach(chr, &serial_front, s, error))
        return false;
    bus_lock(s->bus);
    s->chr = chr;
    bus_unlock(s->bus);
    return true;
}

void serial_free(struct serial *s)
{
    if (!s)
        return;
    if (s->chr)
        chardev_detach(s->chr, s);
    bus_remove(s->bus, s);
    g_free(s);
}
