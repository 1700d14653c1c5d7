/* SPDX-License-Identifier: Apache-2.0 */

/* Rows come and go. */

#include "vector/field_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "vector/field_index_state.h"

enum {
    WORDS_MIN = 16
};

static bool has_bit(const uint64_t *words, uint32_t row)
{
    return words[row / 64] >> row % 64 & 1;
}

static void set_bit(uint64_t *words, uint32_t row, bool on)
{
    uint64_t bit = UINT64_C(1) << row % 64;
    words[row / 64] = on ? words[row / 64] | bit : words[row / 64] & ~bit;
}

static int add_column(struct field_index *index, struct span name)
{
    struct field_index_column *column = &index->columns[index->column_count];
    if (meta_name_wrong(name))
        return DLHT_EINVAL;
    for (size_t i = 0; i < index->column_count; i++)
        if (span_equal(index->columns[i].name, name))
            return DLHT_EINVAL;
    uint8_t *copy = malloc(name.len);
    if (!copy)
        return DLHT_ENOMEM;
    memcpy(copy, name.data, name.len);
    column->name = span_of(copy, name.len);
    column->tag = meta_tag(name);
    index->column_count++;
    return DLHT_OK;
}

int field_index_new(const struct span *names, size_t count,
                    struct field_index **out)
{
    *out = NULL;
    if (count > FIELD_INDEX_FIELDS_MAX)
        return DLHT_ETOOBIG;
    struct field_index *index = mem_zero(1, sizeof *index);
    if (!index)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        int rc = add_column(index, names[i]);
        if (rc != DLHT_OK) {
            field_index_free(index);
            return rc;
        }
    }
    *out = index;
    return DLHT_OK;
}

void field_index_free(struct field_index *index)
{
    if (!index)
        return;
    for (size_t i = 0; i < index->column_count; i++) {
        struct field_index_column *column = &index->columns[i];
        for (size_t c = 0; c < FIELD_INDEX_CLASSES; c++)
            field_index_run_deinit(&column->runs[c]);
        field_index_texts_deinit(&column->texts);
        free(column->present);
        free((void *)(uintptr_t)column->name.data);
    }
    free(index->live);
    free(index);
}

/* Bitmaps with room for row. Some may be longer after a failure. */
static int reserve(struct field_index *index, uint32_t row)
{
    size_t cap = index->word_cap ? index->word_cap : WORDS_MIN;
    while (cap <= row / 64)
        cap *= 2;
    if (cap == index->word_cap)
        return DLHT_OK;
    size_t more = (cap - index->word_cap) * sizeof(uint64_t);
    for (size_t i = 0; i <= index->column_count; i++) {
        uint64_t **words = i ? &index->columns[i - 1].present : &index->live;
        uint64_t *grown = mem_resize(*words, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        memset(grown + index->word_cap, 0, more);
        *words = grown;
    }
    index->word_cap = cap;
    return DLHT_OK;
}

/* One value of one row. Nothing changes if it is there. */
static int add_item(struct field_index_column *column, uint32_t row,
                    const struct meta_value *value)
{
    struct field_index_probe probe =
        field_index_probe_of(value, &column->texts);
    bool text = value->kind == META_TEXT, news;
    probe.row = row;
    if (text) {
        int rc =
            field_index_texts_hold(&column->texts, value->u.text, &probe.lo);
        if (rc != DLHT_OK)
            return rc;
    }
    int rc = field_index_run_insert(
        &column->runs[field_index_class_of(value->kind)], &probe, &news);
    if (text && !news)
        field_index_texts_release(&column->texts, probe.lo);
    return rc;
}

static void remove_item(struct field_index_column *column, uint32_t row,
                        const struct meta_value *value)
{
    struct field_index_probe probe =
        field_index_probe_of(value, &column->texts);
    probe.row = row;
    bool there = field_index_run_remove(
        &column->runs[field_index_class_of(value->kind)], &probe);
    if (there && value->kind == META_TEXT)
        field_index_texts_release(&column->texts, probe.lo);
}

static bool has_item(const struct meta_field *field,
                     const struct meta_value *value)
{
    if (!field)
        return false;
    struct meta_items items = meta_items_of(field);
    struct meta_value item;
    while (meta_items_next(&items, &item))
        if (meta_value_equal(&item, value))
            return true;
    return false;
}

/* Items of field that `except` does not have. A row has an item once, so one
 * may be removed that is gone. */
static void remove_items(struct field_index_column *column, uint32_t row,
                         const struct meta_field *field,
                         const struct meta_field *except)
{
    if (!field)
        return;
    struct meta_items items = meta_items_of(field);
    struct meta_value item;
    while (meta_items_next(&items, &item))
        if (!has_item(except, &item))
            remove_item(column, row, &item);
}

static int add_items(struct field_index_column *column, uint32_t row,
                     const struct meta_field *field,
                     const struct meta_field *except)
{
    if (!field)
        return DLHT_OK;
    struct meta_items items = meta_items_of(field);
    struct meta_value item;
    while (meta_items_next(&items, &item)) {
        if (has_item(except, &item))
            continue;
        int rc = add_item(column, row, &item);
        if (rc != DLHT_OK) {
            remove_items(column, row, field, except);
            return rc;
        }
    }
    return DLHT_OK;
}

static const struct meta_field *find(const struct field_index_column *column,
                                     struct meta meta,
                                     struct meta_field *storage)
{
    return meta_find(meta, column->tag, column->name, storage) ? storage : NULL;
}

static bool is_many(const struct meta_field *field)
{
    return field && field->kind == META_LIST && meta_items_of(field).left > 1;
}

/* What is said of the row in the bitmap and the counts. */
static void note(struct field_index_column *column, uint32_t row,
                 const struct meta_field *before,
                 const struct meta_field *after)
{
    assert(has_bit(column->present, row) == (before != NULL));
    set_bit(column->present, row, after);
    column->present_count += after != NULL;
    column->present_count -= before != NULL;
    column->many_count += is_many(after);
    column->many_count -= is_many(before);
}

/* All columns add what is new, which may fail; then what is old goes. */
static int change(struct field_index *index, uint32_t row, struct meta before,
                  struct meta after)
{
    struct meta_field storage[2];
    for (size_t i = 0; i < index->column_count; i++) {
        struct field_index_column *column = &index->columns[i];
        const struct meta_field *old = find(column, before, &storage[0]);
        const struct meta_field *new = find(column, after, &storage[1]);
        int rc = add_items(column, row, new, old);
        while (rc != DLHT_OK && i-- > 0) {
            column = &index->columns[i];
            old = find(column, before, &storage[0]);
            new = find(column, after, &storage[1]);
            remove_items(column, row, new, old);
        }
        if (rc != DLHT_OK)
            return rc;
    }
    for (size_t i = 0; i < index->column_count; i++) {
        struct field_index_column *column = &index->columns[i];
        const struct meta_field *old = find(column, before, &storage[0]);
        const struct meta_field *new = find(column, after, &storage[1]);
        remove_items(column, row, old, new);
        note(column, row, old, new);
    }
    return DLHT_OK;
}

bool field_index_has_row(const struct field_index *index, uint32_t row)
{
    return row / 64 < index->word_cap && has_bit(index->live, row);
}

int field_index_insert(struct field_index *index, uint32_t row,
                       struct meta meta)
{
    assert(!field_index_has_row(index, row));
    if (row > FIELD_INDEX_ROW_MAX)
        return DLHT_ETOOBIG;
    int rc = reserve(index, row);
    if (rc == DLHT_OK)
        rc = change(index, row, meta_trust(span_empty()), meta);
    if (rc != DLHT_OK)
        return rc;
    set_bit(index->live, row, true);
    index->live_count++;
    return DLHT_OK;
}

int field_index_update(struct field_index *index, uint32_t row,
                       struct meta before, struct meta after)
{
    assert(field_index_has_row(index, row));
    return change(index, row, before, after);
}

void field_index_remove(struct field_index *index, uint32_t row,
                        struct meta meta)
{
    assert(field_index_has_row(index, row));
    /* Nothing is added, so nothing can fail. */
    int rc = change(index, row, meta, meta_trust(span_empty()));
    assert(rc == DLHT_OK);
    set_bit(index->live, row, false);
    index->live_count--;
}

uint64_t field_index_row_count(const struct field_index *index)
{
    return index->live_count;
}

size_t field_index_bytes(const struct field_index *index)
{
    size_t bytes = sizeof *index;
    bytes += (index->column_count + 1) * index->word_cap * sizeof(uint64_t);
    for (size_t i = 0; i < index->column_count; i++) {
        const struct field_index_column *column = &index->columns[i];
        bytes += column->name.len + field_index_texts_bytes(&column->texts);
        for (size_t c = 0; c < FIELD_INDEX_CLASSES; c++)
            bytes += field_index_run_bytes(&column->runs[c]);
    }
    return bytes;
}

static uint64_t count_bits(const uint64_t *words, size_t count)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++)
        for (uint64_t w = words[i]; w; w &= w - 1)
            bits++;
    return bits;
}

static void check_column(const struct field_index *index,
                         const struct field_index_column *column)
{
    const struct field_index_run *runs = column->runs;
    uint64_t held = 0;
    assert(count_bits(column->present, index->word_cap) ==
           column->present_count);
    for (size_t i = 0; i < index->word_cap; i++)
        assert((column->present[i] & ~index->live[i]) == 0);
    for (size_t c = 0; c < FIELD_INDEX_CLASSES; c++) {
        field_index_run_check(&runs[c],
                              c == FIELD_INDEX_TEXTS ? &column->texts : NULL);
        for (size_t b = 0; b < runs[c].block_count; b++)
            for (size_t n = 0; n < runs[c].counts[b]; n++)
                assert(has_bit(column->present,
                               runs[c].blocks[b]->entries[n].row));
    }
    for (uint32_t n = 0; n < column->texts.cap; n++)
        held += field_index_texts_held(&column->texts, n);
    assert(held == runs[FIELD_INDEX_TEXTS].count);
    assert(column->many_count <= column->present_count);
}

void field_index_check(const struct field_index *index)
{
    assert(count_bits(index->live, index->word_cap) == index->live_count);
    for (size_t i = 0; i < index->column_count; i++)
        check_column(index, &index->columns[i]);
}
