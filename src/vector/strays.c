/* SPDX-License-Identifier: Apache-2.0 */

/* Who links to a node without being linked back. */

#include "vector/strays.h"

#include <assert.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    NO_ROW = 0 /* kept as row + 1, so that this one is none */
};

void strays_init(struct strays *s)
{
    *s = (struct strays){ .free = STRAYS_EMPTY };
}

void strays_deinit(struct strays *s)
{
    free(s->blocks);
    strays_init(s);
}

int strays_reserve(struct strays *s, size_t additions)
{
    size_t room = (size_t)s->cap - s->used + s->free_count;
    if (additions <= room)
        return DLHT_OK;
    size_t cap = s->cap + additions - room;
    size_t slack = s->cap / 16;
    if (cap < s->cap + slack)
        cap = s->cap + slack;
    if (cap >= STRAYS_EMPTY)
        return DLHT_ENOMEM;
    struct strays_block *blocks = mem_resize(s->blocks, cap, sizeof *blocks);
    if (!blocks)
        return DLHT_ENOMEM;
    s->blocks = blocks;
    s->cap = (uint32_t)cap;
    return DLHT_OK;
}

static uint32_t take_block(struct strays *s)
{
    if (s->free == STRAYS_EMPTY) {
        assert(s->used < s->cap);
        return s->used++;
    }
    uint32_t block = s->free;
    s->free = s->blocks[block].next;
    s->free_count--;
    return block;
}

static void give_block(struct strays *s, uint32_t block)
{
    s->blocks[block].next = s->free;
    s->free = block;
    s->free_count++;
}

/* Filled places of a block. */
static size_t filled(const struct strays_block *b)
{
    size_t count = 0;
    while (count < STRAYS_PER_BLOCK && b->rows[count] != NO_ROW)
        count++;
    return count;
}

void strays_add(struct strays *s, uint32_t *list, uint32_t row)
{
    size_t count =
        *list == STRAYS_EMPTY ? STRAYS_PER_BLOCK : filled(&s->blocks[*list]);
    if (count == STRAYS_PER_BLOCK) {
        uint32_t block = take_block(s);
        s->blocks[block] = (struct strays_block){ .next = *list };
        *list = block;
        count = 0;
    }
    s->blocks[*list].rows[count] = row + 1;
}

/* The place of a row; NULL: it is not there. */
static uint32_t *place_of(const struct strays *s, uint32_t list, uint32_t row)
{
    for (; list != STRAYS_EMPTY; list = s->blocks[list].next)
        for (size_t i = 0; i < STRAYS_PER_BLOCK; i++)
            if (s->blocks[list].rows[i] == row + 1)
                return &s->blocks[list].rows[i];
    return NULL;
}

void strays_remove(struct strays *s, uint32_t *list, uint32_t row)
{
    uint32_t *place = place_of(s, *list, row);
    assert(place);
    uint32_t first = *list;
    struct strays_block *b = &s->blocks[first];
    size_t last = filled(b) - 1;
    *place = b->rows[last];
    b->rows[last] = NO_ROW;
    if (last == 0) {
        *list = b->next;
        give_block(s, first);
    }
}

bool strays_has(const struct strays *s, uint32_t list, uint32_t row)
{
    return place_of(s, list, row);
}

size_t strays_count(const struct strays *s, uint32_t list)
{
    size_t count = 0;
    for (; list != STRAYS_EMPTY; list = s->blocks[list].next)
        count += filled(&s->blocks[list]);
    return count;
}

size_t strays_copy(const struct strays *s, uint32_t list, uint32_t *out)
{
    size_t count = 0;
    for (; list != STRAYS_EMPTY; list = s->blocks[list].next) {
        size_t here = filled(&s->blocks[list]);
        for (size_t i = 0; i < here; i++)
            out[count++] = s->blocks[list].rows[i] - 1;
    }
    return count;
}

void strays_clear(struct strays *s, uint32_t *list)
{
    while (*list != STRAYS_EMPTY) {
        uint32_t next = s->blocks[*list].next;
        give_block(s, *list);
        *list = next;
    }
}
