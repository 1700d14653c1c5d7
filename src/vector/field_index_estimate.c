/* SPDX-License-Identifier: Apache-2.0 */

/* How many rows pass a filter, and which part of it the index knows. */

#include <assert.h>

#include "vector/field_index_state.h"

const struct field_index_column *
field_index_column_of(const struct field_index *index,
                      const struct filter_test *test)
{
    for (size_t i = 0; i < index->column_count; i++)
        if (index->columns[i].tag == test->tag &&
            span_equal(index->columns[i].name, test->name))
            return &index->columns[i];
    return NULL;
}

/* Of a test's field; NULL if the node is no test. */
static const struct field_index_column *
column_at(const struct field_index *index, const struct filter *filter,
          size_t node)
{
    const struct filter_node *n = filter_node(filter, node);
    return n->kind == FILTER_TEST
               ? field_index_column_of(index, filter_test(filter, n->test))
               : NULL;
}

bool field_index_covers(const struct field_index *index,
                        const struct filter *filter, size_t node)
{
    size_t end = filter_node(filter, node)->end;
    for (size_t i = node; i < end; i++)
        if (filter_node(filter, i)->kind == FILTER_TEST &&
            !column_at(index, filter, i))
            return false;
    return true;
}

/* True if no comparison under node is of a declared field. */
static bool knows_nothing(const struct field_index *index,
                          const struct filter *filter, size_t node)
{
    size_t end = filter_node(filter, node)->end;
    for (size_t i = node; i < end; i++)
        if (column_at(index, filter, i))
            return false;
    return true;
}

bool field_index_bounds(const struct field_index *index,
                        const struct filter *filter, size_t node)
{
    const struct filter_node *n = filter_node(filter, node);
    if (n->kind == FILTER_TEST || n->kind == FILTER_NOT)
        return field_index_covers(index, filter, node);
    bool any = n->kind == FILTER_AND;
    for (size_t i = node + 1; i < n->end; i = filter_node(filter, i)->end)
        if (field_index_bounds(index, filter, i) == any)
            return any;
    return !any;
}

/* Ranges of one test */

static void value_range(const struct field_index_column *column,
                        const struct meta_value *value,
                        field_index_range_fn range, void *context)
{
    const struct field_index_run *run =
        &column->runs[field_index_class_of(value->kind)];
    struct field_index_probe probe =
        field_index_probe_of(value, &column->texts);
    if (value->kind == META_TEXT && probe.lo == FIELD_INDEX_NO_TEXT)
        return;
    struct field_index_place from = field_index_run_find(run, &probe);
    probe.row = UINT64_C(1) << 32;
    range(context, run, from, field_index_run_find(run, &probe));
}

static void order_range(const struct field_index_column *column,
                        const struct filter_test *test,
                        field_index_range_fn range, void *context)
{
    const struct meta_value *value = &test->values[0];
    const struct field_index_run *run =
        &column->runs[field_index_class_of(value->kind)];
    struct field_index_probe probe =
        field_index_probe_of(value, &column->texts);
    struct field_index_place begin = { 0, 0 }, end = { run->block_count, 0 };
    bool with = test->op == FILTER_LE || test->op == FILTER_GT;
    probe.row = with ? UINT64_C(1) << 32 : 0;
    struct field_index_place cut = field_index_run_find(run, &probe);
    if (test->op == FILTER_LT || test->op == FILTER_LE)
        range(context, run, begin, cut);
    else
        range(context, run, cut, end);
}

void field_index_ranges(const struct field_index_column *column,
                        const struct filter_test *test,
                        field_index_range_fn range, void *context)
{
    static const struct meta_value null = { META_NULL, { 0 } };
    switch (test->op) {
    case FILTER_LT:
    case FILTER_LE:
    case FILTER_GT:
    case FILTER_GE:
        order_range(column, test, range, context);
        return;
    case FILTER_NE:
    case FILTER_NOT_IN:
        value_range(column, &null, range, context);
        break;
    case FILTER_EXISTS:
        return;
    case FILTER_EQ:
    case FILTER_IN:
        break;
    }
    bool turned = test->op == FILTER_NE || test->op == FILTER_NOT_IN;
    for (size_t i = 0; i < test->value_count; i++)
        if (!turned || test->values[i].kind != META_NULL)
            value_range(column, &test->values[i], range, context);
}

/* Counting */

static void add_count(void *context, const struct field_index_run *run,
                      struct field_index_place from,
                      struct field_index_place to)
{
    *(uint64_t *)context += field_index_run_between(run, from, to);
}

/* Rows that pass one comparison. A row with a list may stand in a range more
 * than once; of one value it never does. */
static double count_test(const struct field_index_column *column,
                         const struct filter_test *test, bool *exact)
{
    uint64_t count = 0, present = column->present_count;
    bool turned = test->op == FILTER_NE || test->op == FILTER_NOT_IN;
    *exact = column->many_count == 0 || test->op == FILTER_EXISTS ||
             test->op == FILTER_EQ || test->op == FILTER_NE;
    if (test->op == FILTER_EXISTS)
        return (double)present;
    field_index_ranges(column, test, add_count, &count);
    if (count > present)
        count = present;
    return (double)(turned ? present - count : count);
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

double field_index_candidates(const struct field_index *index,
                              const struct filter *filter, size_t node)
{
    const struct filter_node *n = filter_node(filter, node);
    const struct field_index_column *column = column_at(index, filter, node);
    double all = (double)index->live_count, sum = 0, least = all;
    bool exact;
    if (column) {
        const struct filter_test *test = filter_test(filter, n->test);
        bool turned = test->op == FILTER_NE || test->op == FILTER_NOT_IN;
        double count = count_test(column, test, &exact);
        return turned && !exact ? (double)column->present_count : count;
    }
    if (!field_index_bounds(index, filter, node))
        return all;
    if (n->kind == FILTER_NOT) {
        column = column_at(index, filter, node + 1);
        if (!column)
            return all;
        const struct filter_node *child = filter_node(filter, node + 1);
        double inside =
            count_test(column, filter_test(filter, child->test), &exact);
        return exact ? all - inside : all;
    }
    for (size_t i = node + 1; i < n->end; i = filter_node(filter, i)->end) {
        double count = field_index_candidates(index, filter, i);
        sum += count;
        least = smaller(least, count);
    }
    return n->kind == FILTER_AND ? least : smaller(sum, all);
}

/* Rules of thumb, when nobody is asked. */
static double guess(const struct filter *filter, size_t node)
{
    const struct filter_node *n = filter_node(filter, node);
    assert(n->kind == FILTER_TEST);
    switch (filter_test(filter, n->test)->op) {
    case FILTER_EQ:
    case FILTER_IN:
        return 0.1;
    case FILTER_LT:
    case FILTER_LE:
    case FILTER_GT:
    case FILTER_GE:
        return 1.0 / 3;
    case FILTER_NE:
    case FILTER_NOT_IN:
    case FILTER_EXISTS:
        break;
    }
    return 0.9;
}

struct estimate {
    const struct field_index *index;
    const struct filter *filter;
    field_index_sample_fn sample;
    void *context;
    bool exact;
};

static double share_of(struct estimate *e, size_t node);

/* AND: all pass; OR: not all fail. */
static double share_of_row(struct estimate *e, size_t node)
{
    const struct filter_node *n = filter_node(e->filter, node);
    bool both = n->kind == FILTER_AND;
    double product = 1;
    for (size_t i = node + 1; i < n->end; i = filter_node(e->filter, i)->end) {
        double share = share_of(e, i);
        product *= both ? share : 1 - share;
    }
    e->exact = false;
    return both ? product : 1 - product;
}

static double share_of(struct estimate *e, size_t node)
{
    const struct filter_node *n = filter_node(e->filter, node);
    const struct field_index_column *column =
        column_at(e->index, e->filter, node);
    bool exact;
    if (column) {
        double count =
            count_test(column, filter_test(e->filter, n->test), &exact);
        e->exact = e->exact && exact;
        return count / (double)e->index->live_count;
    }
    if (e->sample && knows_nothing(e->index, e->filter, node)) {
        double share = e->sample(e->context, e->filter, node);
        if (share >= 0) {
            e->exact = false;
            return smaller(share, 1);
        }
    }
    if (n->kind == FILTER_NOT)
        return 1 - share_of(e, node + 1);
    if (n->kind != FILTER_TEST)
        return share_of_row(e, node);
    e->exact = false;
    return guess(e->filter, node);
}

void field_index_estimate(const struct field_index *index,
                          const struct filter *filter,
                          field_index_sample_fn sample, void *context,
                          struct field_index_estimate *out)
{
    struct estimate e = { index, filter, sample, context, true };
    double all = (double)index->live_count;
    *out = (struct field_index_estimate){ .exact = true, .bounded = true };
    if (index->live_count == 0)
        return;
    out->row_count = share_of(&e, 0) * all;
    out->exact = e.exact;
    out->bounded = field_index_bounds(index, filter, 0);
    out->candidate_count = field_index_candidates(index, filter, 0);
    if (out->bounded)
        out->row_count = smaller(out->row_count, out->candidate_count);
}
