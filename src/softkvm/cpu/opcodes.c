/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The opcode table and the search in it.  Rows of one opcode are searched in
 * order through an index built on first use; decoded blocks are cached, so that
 * the search needn't be faster.
 */
#include "opcodes.h"

#include <pthread.h>

#define BODY(body_) .body = body_
#define HOT(pick_, body_) .pick = pick_, .body = body_
#define OP(map_, opcode_, prefix_, digit_, rm_, name_, operands_, attrs_, undef_, exec_)        \
    { .name = #name_, .operands = operands_, .attrs = (attrs_), .undefined = (undef_),          \
      .rm = RM_##rm_, .map = MAP_##map_, .opcode = (opcode_), .prefix = PFX_##prefix_,          \
      .digit = DIGIT_##digit_, exec_ },
const struct opcode opcodes[] = {
#include "opcodes.def"
    { 0 }
};
#undef OP
#undef HOT
#undef BODY

const size_t nr_opcodes = sizeof(opcodes) / sizeof(opcodes[0]) - 1;

/* Rows of one (map, opcode) as a linked list of row numbers + 1, in the table's order. */
enum { MAX_LINKS = 4096 };
static struct {
    uint16_t head[NR_MAPS][256];
    struct {
        uint16_t row, next;
    } link[MAX_LINKS];
    unsigned used;
} table_index;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

/* How many opcodes the row stands for. */
static unsigned opcode_span(const struct opcode *op)
{
    return op->attrs & LOW3 ? 8 : op->attrs & LOW4 ? 16 : 1;
}

static void index_build(void)
{
    table_index.used = 1;
    for (size_t row = nr_opcodes; row-- > 0;) {
        const struct opcode *op = &opcodes[row];

        for (unsigned i = 0; i < opcode_span(op) && table_index.used < MAX_LINKS; i++) {
            uint16_t *head = &table_index.head[op->map][op->opcode + i];

            table_index.link[table_index.used].row = row;
            table_index.link[table_index.used].next = *head;
            *head = table_index.used++;
        }
    }
}

static unsigned index_first(enum opcode_map map, uint8_t opcode)
{
    pthread_once(&table_once, index_build);
    return table_index.head[map][opcode];
}

const struct opcode *opcode_find(enum opcode_map map, uint8_t opcode, unsigned prefix,
                                 uint8_t modrm, bool long_mode)
{
    unsigned rm = modrm >= 0xc0 ? 1u << (modrm & 7) : RM_MEM;
    unsigned digit = 1u << (modrm >> 3 & 7);
    unsigned mode = long_mode ? 2 : 1;

    for (unsigned i = index_first(map, opcode); i; i = table_index.link[i].next) {
        const struct opcode *op = &opcodes[table_index.link[i].row];

        if (!(op->prefix & prefix) || !(opcode_modes(op->attrs) & mode))
            continue;
        if (!(op->attrs & MODRM))
            return op;
        if ((op->digit & digit) && ((op->rm & rm) || (op->attrs & RM_REG_ONLY)))
            return op;
    }
    return NULL;
}

bool opcode_has_modrm(enum opcode_map map, uint8_t opcode, bool long_mode)
{
    unsigned mode = long_mode ? 2 : 1;

    for (unsigned i = index_first(map, opcode); i; i = table_index.link[i].next) {
        const struct opcode *op = &opcodes[table_index.link[i].row];

        if ((op->attrs & MODRM) && (opcode_modes(op->attrs) & mode))
            return true;
    }
    return false;
}

bool opcode_conflict(const struct opcode *a, const struct opcode *b)
{
    bool spans_overlap = a->opcode < b->opcode + opcode_span(b) &&
                         b->opcode < a->opcode + opcode_span(a);

    if (a->map != b->map || !spans_overlap || !(a->prefix & b->prefix) ||
        !(opcode_modes(a->attrs) & opcode_modes(b->attrs)))
        return false;
    if (!(a->attrs & b->attrs & MODRM))
        return true;
    return (a->digit & b->digit) && (a->rm & b->rm);
}
