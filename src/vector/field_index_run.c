/* SPDX-License-Identifier: Apache-2.0 */

/* Values and rows in order. */

#include "vector/field_index_run.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/ordered.h"
#include "dlht/err.h"

enum {
    LENT = FIELD_INDEX_BLOCK * 3 / 4 /* neighbours of no more become one */
};

enum field_index_class field_index_class_of(enum meta_kind kind)
{
    if (kind == META_TEXT)
        return FIELD_INDEX_TEXTS;
    return meta_value_is_number(kind) ? FIELD_INDEX_NUMBERS : FIELD_INDEX_MARKS;
}

/* Beyond 2^53 not every int64 is a double: the next one below, and the rest. */
static void split_int(int64_t i, struct field_index_probe *out)
{
    uint64_t size = i < 0 ? 0 - (uint64_t)i : (uint64_t)i, mask = 0;
    while (size >> 53 > mask)
        mask = mask << 1 | 1;
    uint64_t rest = (uint64_t)i & mask;
    out->hi = ordered_of_f64((double)(i - (int64_t)rest));
    out->lo = (uint32_t)rest;
}

struct field_index_probe
field_index_probe_of(const struct meta_value *value,
                     const struct field_index_texts *texts)
{
    struct field_index_probe probe = { .row = 0 };
    switch (value->kind) {
    case META_INT:
        split_int(value->u.i, &probe);
        break;
    case META_REAL:
        probe.hi = ordered_of_f64(value->u.d == 0 ? 0 : value->u.d);
        break;
    case META_TEXT:
        probe.hi = span_prefix8(value->u.text);
        probe.text = value->u.text;
        probe.texts = texts;
        probe.lo = field_index_texts_find(texts, value->u.text);
        break;
    case META_NULL:
    case META_FALSE:
    case META_TRUE:
        probe.hi = (uint64_t)value->kind;
        break;
    case META_LIST:
        assert(value->kind != META_LIST);
    }
    return probe;
}

static int compare(const struct field_index_probe *probe,
                   const struct field_index_entry *entry)
{
    if (probe->hi != entry->hi)
        return probe->hi < entry->hi ? -1 : 1;
    if (probe->lo != entry->lo) {
        if (!probe->texts)
            return probe->lo < entry->lo ? -1 : 1;
        return span_compare(probe->text,
                            field_index_texts_at(probe->texts, entry->lo));
    }
    return (probe->row > entry->row) - (probe->row < entry->row);
}

void field_index_run_deinit(struct field_index_run *run)
{
    for (size_t i = 0; i < run->block_count; i++)
        free(run->blocks[i]);
    free(run->blocks);
    free(run->firsts);
    free(run->counts);
    *run = (struct field_index_run){ 0 };
}

size_t field_index_run_bytes(const struct field_index_run *run)
{
    return run->block_count * sizeof **run->blocks +
           run->block_cap * (sizeof *run->firsts + sizeof *run->blocks +
                             sizeof *run->counts);
}

/* The last block whose first entry is not behind the probe, 0 if there is
 * none. */
static size_t find_block(const struct field_index_run *run,
                         const struct field_index_probe *probe)
{
    size_t lo = 0, hi = run->block_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (compare(probe, &run->firsts[mid]) >= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? lo - 1 : 0;
}

static size_t find_in(const struct field_index_run *run, size_t block,
                      const struct field_index_probe *probe)
{
    const struct field_index_entry *entries = run->blocks[block]->entries;
    size_t lo = 0, hi = run->counts[block];
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (compare(probe, &entries[mid]) > 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct field_index_place
field_index_run_find(const struct field_index_run *run,
                     const struct field_index_probe *probe)
{
    struct field_index_place place = { 0, 0 };
    if (run->block_count == 0)
        return place;
    place.block = find_block(run, probe);
    place.at = find_in(run, place.block, probe);
    if (place.at == run->counts[place.block]) {
        place.block++;
        place.at = 0;
    }
    return place;
}

uint64_t field_index_run_between(const struct field_index_run *run,
                                 struct field_index_place from,
                                 struct field_index_place to)
{
    uint64_t count = to.at;
    for (size_t i = from.block; i < to.block; i++)
        count += run->counts[i];
    return count >= from.at ? count - from.at : 0;
}

void field_index_run_set(const struct field_index_run *run,
                         struct field_index_place from,
                         struct field_index_place to, uint64_t *words)
{
    for (size_t b = from.block; b <= to.block && b < run->block_count; b++) {
        size_t at = b == from.block ? from.at : 0;
        size_t end = b == to.block ? to.at : run->counts[b];
        for (; at < end; at++) {
            uint32_t row = run->blocks[b]->entries[at].row;
            words[row / 64] |= UINT64_C(1) << row % 64;
        }
    }
}

/* Changing */

static int grow(struct field_index_run *run)
{
    if (run->block_count < run->block_cap)
        return DLHT_OK;
    size_t cap = run->block_cap ? run->block_cap * 2 : 4;
    struct field_index_entry *firsts = mem_array(cap, sizeof *firsts);
    struct field_index_block **blocks = mem_array(cap, sizeof *blocks);
    uint32_t *counts = mem_array(cap, sizeof *counts);
    if (!firsts || !blocks || !counts) {
        free(firsts);
        free(blocks);
        free(counts);
        return DLHT_ENOMEM;
    }
    if (run->block_count) {
        memcpy(firsts, run->firsts, run->block_count * sizeof *firsts);
        memcpy(blocks, run->blocks, run->block_count * sizeof *blocks);
        memcpy(counts, run->counts, run->block_count * sizeof *counts);
    }
    free(run->firsts);
    free(run->blocks);
    free(run->counts);
    run->firsts = firsts;
    run->blocks = blocks;
    run->counts = counts;
    run->block_cap = cap;
    return DLHT_OK;
}

/* An empty block before the i-th.
 *   DLHT_ENOMEM */
static int add_block(struct field_index_run *run, size_t i)
{
    int rc = grow(run);
    struct field_index_block *block =
        rc == DLHT_OK ? malloc(sizeof *block) : NULL;
    if (!block)
        return DLHT_ENOMEM;
    size_t behind = run->block_count - i;
    memmove(run->firsts + i + 1, run->firsts + i, behind * sizeof *run->firsts);
    memmove(run->blocks + i + 1, run->blocks + i, behind * sizeof *run->blocks);
    memmove(run->counts + i + 1, run->counts + i, behind * sizeof *run->counts);
    run->blocks[i] = block;
    run->counts[i] = 0;
    run->block_count++;
    return DLHT_OK;
}

static void drop_block(struct field_index_run *run, size_t i)
{
    size_t behind = --run->block_count - i;
    free(run->blocks[i]);
    memmove(run->firsts + i, run->firsts + i + 1, behind * sizeof *run->firsts);
    memmove(run->blocks + i, run->blocks + i + 1, behind * sizeof *run->blocks);
    memmove(run->counts + i, run->counts + i + 1, behind * sizeof *run->counts);
}

/* Entries of block i from `at` on, to the front of block i + 1. */
static void move_tail(struct field_index_run *run, size_t i, size_t at)
{
    struct field_index_entry *from = run->blocks[i]->entries + at;
    struct field_index_entry *to = run->blocks[i + 1]->entries;
    size_t count = run->counts[i] - at;
    memmove(to + count, to, run->counts[i + 1] * sizeof *to);
    memcpy(to, from, count * sizeof *to);
    run->counts[i] -= (uint32_t)count;
    run->counts[i + 1] += (uint32_t)count;
    if (run->counts[i + 1])
        run->firsts[i + 1] = to[0];
}

/* Room in the block for one more at *place. What is put behind a full block,
 * as rows that come in order are, goes to the front of the next one, or begins
 * a new one instead of halving it. */
static int make_room(struct field_index_run *run,
                     struct field_index_place *place)
{
    size_t b = place->block;
    if (run->counts[b] < FIELD_INDEX_BLOCK)
        return DLHT_OK;
    if (place->at == FIELD_INDEX_BLOCK && b + 1 < run->block_count &&
        run->counts[b + 1] < FIELD_INDEX_BLOCK) {
        place->block++;
        place->at = 0;
        return DLHT_OK;
    }
    int rc = add_block(run, b + 1);
    if (rc != DLHT_OK)
        return rc;
    if (place->at < FIELD_INDEX_BLOCK)
        move_tail(run, b, FIELD_INDEX_BLOCK / 2);
    if (place->at >= run->counts[b] && place->at > FIELD_INDEX_BLOCK / 2) {
        place->at -= run->counts[b];
        place->block++;
    }
    return DLHT_OK;
}

int field_index_run_insert(struct field_index_run *run,
                           const struct field_index_probe *probe, bool *news)
{
    struct field_index_place place = { 0, 0 };
    *news = false;
    if (run->block_count == 0) {
        int rc = add_block(run, 0);
        if (rc != DLHT_OK)
            return rc;
    } else {
        place.block = find_block(run, probe);
        place.at = find_in(run, place.block, probe);
        const struct field_index_entry *there =
            &run->blocks[place.block]->entries[place.at];
        if (place.at < run->counts[place.block] && compare(probe, there) == 0)
            return DLHT_OK;
    }
    int rc = make_room(run, &place);
    if (rc != DLHT_OK)
        return rc;
    struct field_index_entry *entries = run->blocks[place.block]->entries;
    struct field_index_entry *at = entries + place.at;
    memmove(at + 1, at, (run->counts[place.block] - place.at) * sizeof *at);
    at->hi = probe->hi;
    at->lo = probe->lo;
    at->row = (uint32_t)probe->row;
    run->counts[place.block]++;
    run->firsts[place.block] = entries[0];
    run->count++;
    *news = true;
    return DLHT_OK;
}

/* Gives memory back: a block that fits into a neighbour goes there. */
static void mend(struct field_index_run *run, size_t b)
{
    if (run->counts[b] == 0) {
        drop_block(run, b);
        return;
    }
    if (b > 0 && run->counts[b - 1] + run->counts[b] <= LENT)
        b--;
    else if (b + 1 == run->block_count ||
             run->counts[b] + run->counts[b + 1] > LENT)
        return;
    move_tail(run, b, 0);
    drop_block(run, b);
}

bool field_index_run_remove(struct field_index_run *run,
                            const struct field_index_probe *probe)
{
    struct field_index_place place = field_index_run_find(run, probe);
    if (place.block == run->block_count)
        return false;
    struct field_index_entry *entries = run->blocks[place.block]->entries;
    struct field_index_entry *at = entries + place.at;
    if (compare(probe, at) != 0)
        return false;
    run->counts[place.block]--;
    memmove(at, at + 1, (run->counts[place.block] - place.at) * sizeof *at);
    run->firsts[place.block] = entries[0];
    run->count--;
    mend(run, place.block);
    return true;
}

void field_index_run_check(const struct field_index_run *run,
                           const struct field_index_texts *texts)
{
    const struct field_index_entry *before = NULL;
    uint64_t count = 0;
    for (size_t b = 0; b < run->block_count; b++) {
        assert(run->counts[b] > 0);
        assert(run->counts[b] <= FIELD_INDEX_BLOCK);
        for (size_t i = 0; i < run->counts[b]; i++) {
            const struct field_index_entry *e = &run->blocks[b]->entries[i];
            struct field_index_probe probe = { e->hi, e->row, e->lo,
                                               span_empty(), texts };
            if (texts) {
                probe.text = field_index_texts_at(texts, e->lo);
                assert(e->hi == span_prefix8(probe.text));
            }
            assert(!before || compare(&probe, before) > 0);
            assert(i > 0 || compare(&probe, &run->firsts[b]) == 0);
            before = e;
            count++;
        }
    }
    assert(count == run->count);
}
