/* SPDX-License-Identifier: Apache-2.0 */

/* vector/filter_state.h - a filter from inside, for filter*.c only.
 *
 * All arrays lie in one allocation behind the struct, as large as a text of so
 * many bytes could need. */

#ifndef VECTOR_FILTER_STATE_H
#define VECTOR_FILTER_STATE_H

#include "vector/filter.h"

enum {
    FILTER_NODES_MAX = 4 * FILTER_TESTS_MAX,
    FILTER_YES = 0xffff, /* ways out of a test that are answers */
    FILTER_NO = 0xfffe
};

struct filter {
    size_t node_cap, test_cap, value_cap, pool_cap;
    size_t node_count, test_count, value_count, pool_len;
    struct filter_node *nodes;
    struct filter_test *tests;
    struct meta_value *values;
    uint8_t *pool; /* names and strings */
};

/* Empty, with room for those counts of `like`'s caps; NULL: no memory. */
struct filter *filter_state_new(size_t node_cap, size_t test_cap,
                                size_t value_cap, size_t pool_cap);

/* Says where each subtree ends and which tests it holds, and gives each test
 * its ways out. Nodes, their kinds and child counts are there. */
void filter_state_link(struct filter *filter);

#endif
