/* SPDX-License-Identifier: Apache-2.0 */

/* Strings of one field: a table of numbers by hash, with linear probing. */

#include "vector/field_index_text.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"

struct field_index_text {
    uint32_t held;
    uint32_t hash;
    size_t len;
    uint8_t bytes[];
};

enum {
    CAP_MIN = 16
};

void field_index_texts_deinit(struct field_index_texts *texts)
{
    for (uint32_t i = 0; i < texts->cap; i++)
        free(texts->list[i]);
    free(texts->list);
    free(texts->slots);
    free(texts->unused);
    *texts = (struct field_index_texts){ 0 };
}

size_t field_index_texts_bytes(const struct field_index_texts *texts)
{
    return texts->bytes + texts->cap * (sizeof(void *) + sizeof(uint32_t)) +
           texts->slot_cap * sizeof(uint32_t);
}

static uint32_t hash_of(struct span text)
{
    return (uint32_t)(hash64(text) >> 32);
}

/* The slot that holds the string, or the free one where it would be. */
static uint32_t find_slot(const struct field_index_texts *texts,
                          struct span text, uint32_t hash)
{
    uint32_t mask = texts->slot_cap - 1, i = hash & mask;
    for (; texts->slots[i]; i = (i + 1) & mask) {
        const struct field_index_text *t = texts->list[texts->slots[i] - 1];
        if (t->hash == hash && span_equal(span_of(t->bytes, t->len), text))
            break;
    }
    return i;
}

uint32_t field_index_texts_find(const struct field_index_texts *texts,
                                struct span text)
{
    if (texts->count == 0)
        return FIELD_INDEX_NO_TEXT;
    uint32_t slot = texts->slots[find_slot(texts, text, hash_of(text))];
    return slot ? slot - 1 : FIELD_INDEX_NO_TEXT;
}

static void fill_slots(const struct field_index_texts *texts, uint32_t *slots,
                       uint32_t slot_cap)
{
    for (uint32_t n = 0; n < texts->cap; n++) {
        if (!texts->list[n])
            continue;
        uint32_t i = texts->list[n]->hash & (slot_cap - 1);
        while (slots[i])
            i = (i + 1) & (slot_cap - 1);
        slots[i] = n + 1;
    }
}

/* Room for one string more; twice as many slots as numbers. */
static int grow(struct field_index_texts *texts)
{
    if (texts->count < texts->cap)
        return DLHT_OK;
    if (texts->cap > UINT32_MAX / 4)
        return DLHT_ENOMEM;
    uint32_t cap = texts->cap ? texts->cap * 2 : CAP_MIN, slot_cap = cap * 2;
    uint32_t *slots = mem_zero(slot_cap, sizeof *slots);
    uint32_t *unused = mem_array(cap, sizeof *unused);
    struct field_index_text **list =
        slots && unused ? mem_resize(texts->list, cap, sizeof *list) : NULL;
    if (!list) {
        free(slots);
        free(unused);
        return DLHT_ENOMEM;
    }
    for (uint32_t n = texts->cap; n < cap; n++) {
        list[n] = NULL;
        unused[n - texts->cap] = cap - 1 - (n - texts->cap);
    }
    texts->list = list;
    fill_slots(texts, slots, slot_cap);
    free(texts->slots);
    free(texts->unused);
    texts->unused_count = cap - texts->cap;
    texts->slots = slots;
    texts->unused = unused;
    texts->slot_cap = slot_cap;
    texts->cap = cap;
    return DLHT_OK;
}

int field_index_texts_hold(struct field_index_texts *texts, struct span text,
                           uint32_t *number)
{
    *number = field_index_texts_find(texts, text);
    if (*number != FIELD_INDEX_NO_TEXT) {
        texts->list[*number]->held++;
        return DLHT_OK;
    }
    int rc = grow(texts);
    struct field_index_text *t =
        rc == DLHT_OK ? malloc(sizeof *t + text.len) : NULL;
    if (!t)
        return DLHT_ENOMEM;
    t->held = 1;
    t->hash = hash_of(text);
    t->len = text.len;
    if (text.len)
        memcpy(t->bytes, text.data, text.len);
    uint32_t slot = find_slot(texts, text, t->hash);
    *number = texts->unused[--texts->unused_count];
    texts->list[*number] = t;
    texts->slots[slot] = *number + 1;
    texts->count++;
    texts->bytes += sizeof *t + text.len;
    return DLHT_OK;
}

/* The hole is filled by what stood behind it for want of room. */
static void close_hole(struct field_index_texts *texts, uint32_t hole)
{
    uint32_t mask = texts->slot_cap - 1;
    texts->slots[hole] = 0;
    for (uint32_t i = (hole + 1) & mask; texts->slots[i]; i = (i + 1) & mask) {
        uint32_t home = texts->list[texts->slots[i] - 1]->hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        texts->slots[hole] = texts->slots[i];
        texts->slots[i] = 0;
        hole = i;
    }
}

void field_index_texts_release(struct field_index_texts *texts, uint32_t number)
{
    struct field_index_text *t = texts->list[number];
    assert(t && t->held > 0);
    if (--t->held > 0)
        return;
    uint32_t slot = find_slot(texts, span_of(t->bytes, t->len), t->hash);
    assert(texts->slots[slot] == number + 1);
    close_hole(texts, slot);
    texts->list[number] = NULL;
    texts->unused[texts->unused_count++] = number;
    texts->count--;
    texts->bytes -= sizeof *t + t->len;
    free(t);
}

struct span field_index_texts_at(const struct field_index_texts *texts,
                                 uint32_t number)
{
    const struct field_index_text *t = texts->list[number];
    return span_of(t->bytes, t->len);
}

uint32_t field_index_texts_held(const struct field_index_texts *texts,
                                uint32_t number)
{
    return texts->list[number] ? texts->list[number]->held : 0;
}
