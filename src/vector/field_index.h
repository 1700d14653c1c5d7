/* SPDX-License-Identifier: Apache-2.0 */

/* vector/field_index.h - which rows have which values of declared fields.
 *
 * For each declared field, the values of all rows in order; so rows of one
 * value, or of a range, lie side by side, and are counted without looking at
 * each. A list of a row counts as each of its items. From that follow, for a
 * filter, how many rows pass, and a set of rows that holds all that pass, with
 * what remains to be asked of each.
 *
 * A row is any number the caller gives a record; sets are bitmaps of rows, so
 * small numbers are right. The index keeps no metadata: whoever removes or
 * changes a row brings what the row had.
 *
 * Reads do not change anything, so many threads may read at once, but none
 * beside one that writes. */

#ifndef VECTOR_FIELD_INDEX_H
#define VECTOR_FIELD_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "vector/filter.h"
#include "vector/meta.h"

enum {
    FIELD_INDEX_FIELDS_MAX = 16,      /* each write looks for all of them */
    FIELD_INDEX_ROW_MAX = 0x7fffffff, /* a set of rows stays below 256 MiB */
};

struct field_index;

/* An empty index of those fields. On failure *out is NULL.
 *   DLHT_EINVAL   not the name of a field, or one twice
 *   DLHT_ETOOBIG  more than FIELD_INDEX_FIELDS_MAX
 *   DLHT_ENOMEM */
MUST_USE int field_index_new(const struct span *names, size_t count,
                             struct field_index **out);

/* NULL is allowed. */
void field_index_free(struct field_index *index);

bool field_index_has_row(const struct field_index *index, uint32_t row);

/* A row that is not there yet. On failure the index is as before.
 *   DLHT_ETOOBIG  row is above FIELD_INDEX_ROW_MAX
 *   DLHT_ENOMEM */
MUST_USE int field_index_insert(struct field_index *index, uint32_t row,
                                struct meta meta);

/* A row that is there, with what it was inserted or last updated with. */
void field_index_remove(struct field_index *index, uint32_t row,
                        struct meta meta);

/* A row that is there has `after` instead of `before`. On failure the index is
 * as before.
 *   DLHT_ENOMEM */
MUST_USE int field_index_update(struct field_index *index, uint32_t row,
                                struct meta before, struct meta after);

uint64_t field_index_row_count(const struct field_index *index);

/* Bytes of memory, without the allocator's own. */
size_t field_index_bytes(const struct field_index *index);

/* Asserts all that must hold; reads everything. For tests. */
void field_index_check(const struct field_index *index);

/* Estimates */

/* The share of rows, 0 to 1, that pass the part of filter under node, none of
 * whose fields is indexed; as by filter_match_node on some rows. Below zero:
 * not known. */
typedef double (*field_index_sample_fn)(void *context,
                                        const struct filter *filter,
                                        size_t node);

struct field_index_estimate {
    double row_count;       /* that pass */
    bool exact;             /* so many it are */
    bool bounded;           /* the index alone leaves rows out */
    double candidate_count; /* about so many field_index_select would give;
                             * without bounded: all rows */
};

/* How many rows pass. One comparison of an indexed field is counted exactly
 * (of lists perhaps too many); `and` and `or` assume that their parts have
 * nothing to do with each other; for parts without any indexed field sample is
 * asked (NULL: rules of thumb). Costs some microseconds a million rows. */
void field_index_estimate(const struct field_index *index,
                          const struct filter *filter,
                          field_index_sample_fn sample, void *context,
                          struct field_index_estimate *out);

/* Selection */

struct field_index_rows {
    uint64_t *words; /* owned; bit r % 64 of word r / 64 */
    size_t word_count;
    size_t word_cap;
    uint64_t count;      /* rows set */
    bool bounded;        /* by the index; else all rows are set */
    struct filter *rest; /* owned; still to be asked; NULL: all set rows pass */
};

void field_index_rows_init(struct field_index_rows *rows);
void field_index_rows_deinit(struct field_index_rows *rows);

/* The rows that the index cannot leave out, and what remains to be asked of
 * them: filter passes a row if it is set and rest passes it. rows was
 * initialised; what it held before is forgotten, its memory used again. On
 * failure rows is empty.
 *   DLHT_ENOMEM */
MUST_USE int field_index_select(const struct field_index *index,
                                const struct filter *filter,
                                struct field_index_rows *rows);

/* Writes up to cap rows from `from` on, ascending; returns how many. Fewer than
 * cap: these were the last. */
size_t field_index_rows_list(const struct field_index_rows *rows, uint64_t from,
                             uint32_t *out, size_t cap);

#endif
