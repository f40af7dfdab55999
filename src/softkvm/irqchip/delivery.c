/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which local APICs a message reaches: shorthands, physical and logical
 * destinations in xAPIC and x2APIC format, lowest priority.
 * Source: SDM vol. 3, 11.6.2 and 11.12.10; the meaning of destination 0xff from an
 * I/O APIC or MSI to an x2APIC as in KVM (KVM_CAP_X2APIC_API).
 */
#include "irqchip_internal.h"

#include <errno.h>
#include <linux/kvm_para.h>

#define XAPIC_BROADCAST 0xffu
#define X2APIC_BROADCAST 0xffffffffu

static bool match_physical(const struct lapic *lapic, uint32_t dest)
{
    if (lapic_is_x2apic(lapic))
        return dest == X2APIC_BROADCAST || dest == lapic->regs[REG_ID];
    /* An x2APIC id above 255 reaches an APIC that hasn't changed its mode yet. */
    if (lapic->vcpu_id > 0xff && dest == lapic->vcpu_id)
        return true;
    /*
     * Nor does it answer to what its 8-bit id register has of that id, where user
     * space knows of 32-bit ids: an INIT for processor 1 isn't for 257.
     */
    if (lapic->vcpu_id > 0xff && lapic->chip->x2apic_format)
        return dest == XAPIC_BROADCAST;
    return dest == XAPIC_BROADCAST || dest == lapic->regs[REG_ID] >> 24;
}

static bool match_logical(const struct lapic *lapic, uint32_t dest)
{
    uint32_t ldr = lapic->regs[REG_LDR];

    if (lapic_is_x2apic(lapic)) {
        if (dest == X2APIC_BROADCAST)
            return true;
        return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
    }
    if (dest == XAPIC_BROADCAST)
        return true;
    ldr >>= 24;
    if (lapic->regs[REG_DFR] >> 28 == 0xf)
        return ldr & dest;
    /* Cluster model: the cluster in the upper half, its members in the lower. */
    return ldr >> 4 == dest >> 4 && (ldr & dest & 0xf);
}

bool apic_matches(const struct lapic *lapic, const struct apic_message *message)
{
    uint32_t dest = message->dest;

    switch (message->shorthand) {
    case SHORT_SELF:
        return lapic == message->sender;
    case SHORT_ALL:
        return true;
    case SHORT_OTHERS:
        return lapic != message->sender;
    default:
        break;
    }
    if (!message->sender && dest == XAPIC_BROADCAST && lapic_is_x2apic(lapic) &&
        !lapic->chip->no_broadcast_quirk)
        dest = X2APIC_BROADCAST;
    return message->logical ? match_logical(lapic, dest) : match_physical(lapic, dest);
}

unsigned lapic_index(const struct irqchip *chip, uint32_t id)
{
    unsigned low = 0, high = chip->lapic_count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (chip->lapics[middle]->vcpu_id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void learn_ids(struct irqchip *chip)
{
    chip->ids = (struct apic_ids){ true, true, true };
    for (unsigned n = 0; n < chip->lapic_count; n++) {
        const struct lapic *lapic = chip->lapics[n];

        if (!lapic_hw_enabled(lapic) || lapic_is_x2apic(lapic))
            continue;
        chip->ids.all_x2apic = false;
        if (lapic->regs[REG_ID] >> 24 != lapic->vcpu_id)
            chip->ids.physical_plain = false;
    }
}

/*
 * The APICs among which those that match are, by index: with a thousand of them
 * not each message can be shown to all.  Ids are found directly while nobody has
 * changed his; logical x2APIC ids are given: 16 processors make a cluster.
 */
struct span {
    unsigned first, end;
};

static struct span span_of_ids(const struct irqchip *chip, uint32_t id, uint32_t count)
{
    struct span span = { .first = lapic_index(chip, id) };

    for (span.end = span.first; span.end < chip->lapic_count; span.end++) {
        if (chip->lapics[span.end]->vcpu_id - id >= count)
            break;
    }
    return span;
}

static struct span candidates(struct irqchip *chip, const struct apic_message *message)
{
    uint32_t dest = message->dest;

    if (!chip->ids.known)
        learn_ids(chip);
    if (message->shorthand == SHORT_SELF)
        return span_of_ids(chip, message->sender->vcpu_id, 1);
    if (message->shorthand == SHORT_NONE && dest != XAPIC_BROADCAST && dest != X2APIC_BROADCAST) {
        if (!message->logical && chip->ids.physical_plain)
            return span_of_ids(chip, dest, 1);
        if (message->logical && chip->ids.all_x2apic)
            return span_of_ids(chip, dest >> 16 << 4, 16);
    }
    return (struct span){ 0, chip->lapic_count };
}

/* The matching APIC whose processor does the least urgent work; equals take turns. */
static struct lapic *lowest_priority(struct irqchip *chip, const struct apic_message *message)
{
    struct span span = candidates(chip, message);
    unsigned count = span.end - span.first;
    struct lapic *best = NULL;

    for (unsigned n = 0; n < count; n++) {
        struct lapic *lapic = chip->lapics[span.first + (chip->lowest_turn + n) % count];

        if (!lapic_enabled(lapic) || !apic_matches(lapic, message))
            continue;
        if (!best || lapic->regs[REG_PPR] < best->regs[REG_PPR])
            best = lapic;
    }
    chip->lowest_turn++;
    return best;
}

int apic_deliver(struct irqchip *chip, const struct apic_message *message)
{
    struct span span;
    int reached = -1;

    if (message->mode == DELIVER_LOWEST) {
        struct lapic *lapic = lowest_priority(chip, message);

        return lapic ? lapic_accept(lapic, message) : -1;
    }
    span = candidates(chip, message);
    for (unsigned n = span.first; n < span.end; n++) {
        if (!lapic_hw_enabled(chip->lapics[n]) || !apic_matches(chip->lapics[n], message))
            continue;
        if (reached < 0)
            reached = 0;
        reached += lapic_accept(chip->lapics[n], message);
    }
    return reached;
}

static int send_to_bitmap(struct lapic *sender, uint64_t bitmap, uint64_t first, uint32_t icr)
{
    struct irqchip *chip = sender->chip;
    uint64_t last = chip->lapics[chip->lapic_count - 1]->vcpu_id;
    struct apic_message message = {
        .vector = icr & 0xff, .mode = icr >> 8 & 7, .sender = sender,
        .level = icr >> 15 & 1, .assert = icr >> 14 & 1,
    };
    int count = 0;

    for (; bitmap; bitmap &= bitmap - 1) {
        uint64_t id = first + __builtin_ctzll(bitmap);
        int reached;

        if (id > last)
            break;
        message.dest = (uint32_t)id;
        reached = apic_deliver(chip, &message);
        count += reached > 0 ? reached : 0;
    }
    return count;
}

int lapic_send_ipis(struct lapic *sender, uint64_t low, uint64_t high, uint32_t first,
                    unsigned width, uint32_t icr)
{
    int count;

    if (icr & (ICR_LOGICAL | ICR_SHORTHANDS))
        return -KVM_EINVAL;
    pthread_mutex_lock(&sender->chip->lock);
    count = send_to_bitmap(sender, low, first, icr);
    count += send_to_bitmap(sender, high, (uint64_t)first + width, icr);
    pthread_mutex_unlock(&sender->chip->lock);
    return count;
}
