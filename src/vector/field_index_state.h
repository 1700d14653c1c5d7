/* SPDX-License-Identifier: Apache-2.0 */

/* vector/field_index_state.h - an index from inside, for field_index*.c. */

#ifndef VECTOR_FIELD_INDEX_STATE_H
#define VECTOR_FIELD_INDEX_STATE_H

#include "vector/field_index.h"
#include "vector/field_index_run.h"

struct field_index_column {
    struct span name; /* owned */
    uint8_t tag;
    uint64_t *present; /* rows that have the field, null too */
    uint64_t present_count;
    uint64_t many_count; /* rows with a list of two items or more */
    struct field_index_run runs[FIELD_INDEX_CLASSES];
    struct field_index_texts texts;
};

struct field_index {
    size_t column_count;
    uint64_t *live; /* rows that are there */
    uint64_t live_count;
    size_t word_cap; /* of live and of each present */
    struct field_index_column columns[FIELD_INDEX_FIELDS_MAX];
};

/* The column of a test's field, NULL: not declared. */
const struct field_index_column *
field_index_column_of(const struct field_index *index,
                      const struct filter_test *test);

/* True if all comparisons under node are of declared fields. */
bool field_index_covers(const struct field_index *index,
                        const struct filter *filter, size_t node);

/* True if the index alone leaves out rows that the part under node does not
 * let pass. */
bool field_index_bounds(const struct field_index *index,
                        const struct filter *filter, size_t node);

/* Rows that the part under node lets pass at most, as far as the index knows;
 * all rows if it does not bound it. */
double field_index_candidates(const struct field_index *index,
                              const struct filter *filter, size_t node);

/* Calls back for each range of entries that a test asks for; of `!=` and
 * `not in` those of the values that do not pass; of `exists` none. */
typedef void (*field_index_range_fn)(void *context,
                                     const struct field_index_run *run,
                                     struct field_index_place from,
                                     struct field_index_place to);
void field_index_ranges(const struct field_index_column *column,
                        const struct filter_test *test,
                        field_index_range_fn range, void *context);

#endif
