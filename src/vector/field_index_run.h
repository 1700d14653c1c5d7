/* SPDX-License-Identifier: Apache-2.0 */

/* vector/field_index_run.h - values and rows in order, for field_index*.c.
 *
 * Entries lie in blocks of up to 256; the first entry and the length of each
 * block stand in arrays of their own, where the block of an entry is searched.
 * An insertion moves half a block on average; a range is counted by adding the
 * lengths of its blocks. Numbers and strings have a run each. */

#ifndef VECTOR_FIELD_INDEX_RUN_H
#define VECTOR_FIELD_INDEX_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "vector/field_index_text.h"
#include "vector/meta_value.h"

enum {
    FIELD_INDEX_BLOCK = 256 /* entries; 4 KiB */
};

/* A value is hi, then lo: of a number its double rounded down, and what is
 * missing; of a string its first 8 bytes, and its number among the texts (then
 * the whole string decides); of null, false and true the kind. */
struct field_index_entry {
    uint64_t hi;
    uint32_t lo;
    uint32_t row;
};

struct field_index_block {
    struct field_index_entry entries[FIELD_INDEX_BLOCK];
};

/* All zeros is an empty one. */
struct field_index_run {
    struct field_index_entry *firsts;
    struct field_index_block **blocks;
    uint32_t *counts;
    size_t block_count, block_cap;
    uint64_t count;
};

/* What is searched. */
struct field_index_probe {
    uint64_t hi;
    uint64_t row; /* 1 << 32: behind all rows of the value */
    uint32_t lo;  /* FIELD_INDEX_NO_TEXT: a string that is not kept */
    struct span text;
    const struct field_index_texts *texts; /* NULL: no strings */
};

enum field_index_class {
    FIELD_INDEX_MARKS,
    FIELD_INDEX_NUMBERS,
    FIELD_INDEX_TEXTS,
    FIELD_INDEX_CLASSES
};

enum field_index_class field_index_class_of(enum meta_kind kind);

/* The value, before all its rows; of a string lo is its number if it is kept.
 * Borrows from both. */
struct field_index_probe
field_index_probe_of(const struct meta_value *value,
                     const struct field_index_texts *texts);

/* Of an entry: which block, which in it. The end is (block_count, 0). */
struct field_index_place {
    size_t block, at;
};

void field_index_run_deinit(struct field_index_run *run);

/* The first entry that is not before the probe. */
struct field_index_place
field_index_run_find(const struct field_index_run *run,
                     const struct field_index_probe *probe);

/* Entries of [from, to). */
uint64_t field_index_run_between(const struct field_index_run *run,
                                 struct field_index_place from,
                                 struct field_index_place to);

/* Sets the bits of the rows of [from, to). */
void field_index_run_set(const struct field_index_run *run,
                         struct field_index_place from,
                         struct field_index_place to, uint64_t *words);

/* *news is false if the entry was there.
 *   DLHT_ENOMEM  nothing changed */
MUST_USE int field_index_run_insert(struct field_index_run *run,
                                    const struct field_index_probe *probe,
                                    bool *news);

/* False: it was not there. */
bool field_index_run_remove(struct field_index_run *run,
                            const struct field_index_probe *probe);

size_t field_index_run_bytes(const struct field_index_run *run);

void field_index_run_check(const struct field_index_run *run,
                           const struct field_index_texts *texts);

#endif
