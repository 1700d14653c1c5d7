/* SPDX-License-Identifier: Apache-2.0 */

/* Compiled filters: asking them, and what is left of one when a part is known
 * to pass. */

#include "vector/filter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "vector/filter_state.h"

_Static_assert(FILTER_NODES_MAX < FILTER_NO, "indices are no answers");

static size_t padded(size_t size)
{
    const size_t unit = sizeof(struct meta_value);
    return (size + unit - 1) / unit * unit;
}

struct filter *filter_state_new(size_t node_cap, size_t test_cap,
                                size_t value_cap, size_t pool_cap)
{
    size_t head = padded(sizeof(struct filter));
    size_t nodes = padded(node_cap * sizeof(struct filter_node));
    size_t tests = padded(test_cap * sizeof(struct filter_test));
    size_t values = value_cap * sizeof(struct meta_value);
    uint8_t *block = malloc(head + nodes + tests + values + pool_cap);
    if (!block)
        return NULL;
    struct filter *filter = (struct filter *)(void *)block;
    *filter = (struct filter){
        .node_cap = node_cap,
        .test_cap = test_cap,
        .value_cap = value_cap,
        .pool_cap = pool_cap,
        .nodes = (void *)(block + head),
        .tests = (void *)(block + head + nodes),
        .values = (void *)(block + head + nodes + tests),
        .pool = block + head + nodes + tests + values,
    };
    return filter;
}

void filter_free(struct filter *filter)
{
    free(filter);
}

size_t filter_bytes(const struct filter *filter)
{
    return padded(sizeof *filter) +
           padded(filter->node_cap * sizeof *filter->nodes) +
           padded(filter->test_cap * sizeof *filter->tests) +
           filter->value_cap * sizeof *filter->values + filter->pool_cap;
}

size_t filter_node_count(const struct filter *filter)
{
    return filter->node_count;
}

const struct filter_node *filter_node(const struct filter *filter, size_t i)
{
    assert(i < filter->node_count);
    return &filter->nodes[i];
}

size_t filter_test_count(const struct filter *filter)
{
    return filter->test_count;
}

const struct filter_test *filter_test(const struct filter *filter, size_t i)
{
    assert(i < filter->test_count);
    return &filter->tests[i];
}

/* Asking */

/* Short lists of an `in` are looked through, long ones halved. */
static bool is_among(const struct filter_test *test,
                     const struct meta_value *value)
{
    size_t lo = 0, hi = test->value_count;
    while (hi - lo > 8) {
        size_t mid = (lo + hi) / 2;
        if (meta_value_compare(&test->values[mid], value) <= 0)
            lo = mid;
        else
            hi = mid;
    }
    for (; lo < hi; lo++)
        if (meta_value_equal(&test->values[lo], value))
            return true;
    return false;
}

static bool has_order(const struct filter_test *test,
                      const struct meta_value *value)
{
    const struct meta_value *bound = &test->values[0];
    if (!meta_value_has_order(value->kind, bound->kind))
        return false;
    int order = meta_value_compare(value, bound);
    switch (test->op) {
    case FILTER_LT:
        return order < 0;
    case FILTER_LE:
        return order <= 0;
    case FILTER_GT:
        return order > 0;
    case FILTER_GE:
        return order >= 0;
    case FILTER_EQ:
    case FILTER_NE:
    case FILTER_IN:
    case FILTER_NOT_IN:
    case FILTER_EXISTS:
        break;
    }
    assert(test->op <= FILTER_GE);
    return false;
}

static bool value_passes(const struct filter_test *test,
                         const struct meta_value *value)
{
    if (test->op == FILTER_EQ || test->op == FILTER_NE)
        return meta_value_equal(value, &test->values[0]);
    if (test->op == FILTER_IN || test->op == FILTER_NOT_IN)
        return is_among(test, value);
    return has_order(test, value);
}

static bool any_passes(const struct filter_test *test,
                       const struct meta_field *field)
{
    struct meta_items items = meta_items_of(field);
    struct meta_value value;
    while (meta_items_next(&items, &value))
        if (value_passes(test, &value))
            return true;
    return false;
}

static bool test_passes(const struct filter_test *test, struct meta meta)
{
    struct meta_field field;
    if (!meta_find(meta, test->tag, test->name, &field))
        return false;
    if (test->op == FILTER_EXISTS)
        return true;
    bool turned = test->op == FILTER_NE || test->op == FILTER_NOT_IN;
    if (turned && field.kind == META_NULL)
        return false;
    if (field.kind == META_LIST)
        return any_passes(test, &field) != turned;
    struct meta_value value = meta_value_of(&field);
    return value_passes(test, &value) != turned;
}

bool filter_match(const struct filter *filter, struct meta meta)
{
    size_t at = 0;
    while (at < FILTER_NO) {
        const struct filter_test *test = &filter->tests[at];
        at = test_passes(test, meta) ? test->yes : test->no;
    }
    return at == FILTER_YES;
}

bool filter_match_node(const struct filter *filter, size_t node,
                       struct meta meta)
{
    const struct filter_node *n = filter_node(filter, node);
    bool any = n->kind == FILTER_OR;
    if (n->kind == FILTER_TEST)
        return test_passes(&filter->tests[n->test], meta);
    if (n->kind == FILTER_NOT)
        return !filter_match_node(filter, node + 1, meta);
    for (size_t i = node + 1; i < n->end; i = filter->nodes[i].end)
        if (filter_match_node(filter, i, meta) == any)
            return any;
    return !any;
}

/* Making */

static size_t link_node(struct filter *f, size_t i, size_t *test)
{
    struct filter_node *node = &f->nodes[i];
    size_t next = i + 1;
    node->test = (uint16_t)*test;
    if (node->kind == FILTER_TEST)
        ++*test;
    else
        for (size_t n = 0; n < node->child_count; n++)
            next = link_node(f, next, test);
    node->end = (uint16_t)next;
    return next;
}

/* Tests stand in the order of the text, so the next child begins where the
 * tests of this one end. */
static void link_tests(struct filter *f, size_t i, size_t yes, size_t no)
{
    const struct filter_node *node = &f->nodes[i];
    if (node->kind == FILTER_TEST) {
        f->tests[node->test].yes = (uint16_t)yes;
        f->tests[node->test].no = (uint16_t)no;
        return;
    }
    if (node->kind == FILTER_NOT) {
        link_tests(f, i + 1, no, yes);
        return;
    }
    for (size_t child = i + 1; child < node->end;) {
        size_t next = f->nodes[child].end;
        bool last = next == node->end;
        size_t on = last ? 0 : f->nodes[next].test;
        if (node->kind == FILTER_AND)
            link_tests(f, child, last ? yes : on, no);
        else
            link_tests(f, child, yes, last ? no : on);
        child = next;
    }
}

void filter_state_link(struct filter *filter)
{
    size_t test = 0;
    size_t end = link_node(filter, 0, &test);
    assert(end == filter->node_count);
    assert(test == filter->test_count);
    link_tests(filter, 0, FILTER_YES, FILTER_NO);
}

/* Leaving parts out */

static struct span copy_bytes(struct filter *to, struct span bytes)
{
    uint8_t *at = to->pool + to->pool_len;
    assert(to->pool_cap - to->pool_len >= bytes.len);
    if (bytes.len)
        memcpy(at, bytes.data, bytes.len);
    to->pool_len += bytes.len;
    return span_of(at, bytes.len);
}

static void copy_test(struct filter *to, const struct filter_test *test)
{
    struct filter_test *copy = &to->tests[to->test_count++];
    struct meta_value *values = to->values + to->value_count;
    *copy = *test;
    copy->name = copy_bytes(to, test->name);
    copy->values = values;
    for (size_t i = 0; i < test->value_count; i++) {
        values[i] = test->values[i];
        if (values[i].kind == META_TEXT)
            values[i].u.text = copy_bytes(to, values[i].u.text);
    }
    to->value_count += test->value_count;
}

static void copy_nodes(struct filter *to, const struct filter *from,
                       size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        to->nodes[to->node_count++] = from->nodes[i];
        if (from->nodes[i].kind == FILTER_TEST)
            copy_test(to, &from->tests[from->nodes[i].test]);
    }
}

/* Children of an AND that are not done; *only is the last of them. */
static size_t count_open(const struct filter *f, const bool *done, size_t *only)
{
    size_t count = 0;
    for (size_t i = 1; i < f->nodes[0].end; i = f->nodes[i].end) {
        if (done[i])
            continue;
        *only = i;
        count++;
    }
    return count;
}

int filter_rest(const struct filter *filter, const bool *done,
                struct filter **out)
{
    size_t only = 0, open = 1;
    bool split = filter->nodes[0].kind == FILTER_AND && !done[0];
    *out = NULL;
    if (split)
        open = count_open(filter, done, &only);
    if (done[0] || open == 0)
        return DLHT_OK;
    struct filter *to = filter_state_new(filter->node_count, filter->test_count,
                                         filter->value_count, filter->pool_len);
    if (!to)
        return DLHT_ENOMEM;
    if (open == 1) {
        copy_nodes(to, filter, only, filter->nodes[only].end);
    } else {
        copy_nodes(to, filter, 0, 1);
        to->nodes[0].child_count = (uint16_t)open;
        for (size_t i = 1; i < filter->node_count; i = filter->nodes[i].end)
            if (!done[i])
                copy_nodes(to, filter, i, filter->nodes[i].end);
    }
    filter_state_link(to);
    *out = to;
    return DLHT_OK;
}

/* Comparing */

static bool test_equal(const struct filter_test *a, const struct filter_test *b)
{
    if (a->op != b->op || a->value_count != b->value_count ||
        a->yes != b->yes || a->no != b->no || !span_equal(a->name, b->name))
        return false;
    for (size_t i = 0; i < a->value_count; i++)
        if (a->values[i].kind != b->values[i].kind ||
            !meta_value_equal(&a->values[i], &b->values[i]))
            return false;
    return true;
}

bool filter_equal(const struct filter *a, const struct filter *b)
{
    if (a->node_count != b->node_count || a->test_count != b->test_count)
        return false;
    for (size_t i = 0; i < a->node_count; i++)
        if (a->nodes[i].kind != b->nodes[i].kind ||
            a->nodes[i].child_count != b->nodes[i].child_count)
            return false;
    for (size_t i = 0; i < a->test_count; i++)
        if (!test_equal(&a->tests[i], &b->tests[i]))
            return false;
    return true;
}
