/* SPDX-License-Identifier: Apache-2.0 */

/* Which rows the index cannot leave out. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "vector/field_index_state.h"

enum {
    /* A further part of an AND is looked up if it has at most so many times
     * the rows of the smallest: to set a row's bit costs about a twentieth of
     * asking the filter for it. */
    WORTH = 16
};

void field_index_rows_init(struct field_index_rows *rows)
{
    *rows = (struct field_index_rows){ 0 };
}

static void clear(struct field_index_rows *rows)
{
    filter_free(rows->rest);
    rows->rest = NULL;
    rows->word_count = 0;
    rows->count = 0;
    rows->bounded = false;
}

void field_index_rows_deinit(struct field_index_rows *rows)
{
    clear(rows);
    free(rows->words);
    *rows = (struct field_index_rows){ 0 };
}

struct select {
    const struct field_index *index;
    const struct filter *filter;
    size_t word_count;
};

static void set_range(void *context, const struct field_index_run *run,
                      struct field_index_place from,
                      struct field_index_place to)
{
    field_index_run_set(run, from, to, context);
}

static uint64_t *new_words(const struct select *s)
{
    return mem_zero(s->word_count, sizeof(uint64_t));
}

static void or_words(const struct select *s, uint64_t *out, const uint64_t *in)
{
    for (size_t i = 0; i < s->word_count; i++)
        out[i] |= in[i];
}

/* Rows of `all` that are not in `except`, added to out. */
static void or_others(const struct select *s, uint64_t *out,
                      const uint64_t *all, const uint64_t *except)
{
    for (size_t i = 0; i < s->word_count; i++)
        out[i] |= all[i] & ~except[i];
}

static void and_words(const struct select *s, uint64_t *out, const uint64_t *in)
{
    for (size_t i = 0; i < s->word_count; i++)
        out[i] &= in[i];
}

static int set_test(const struct select *s, size_t node, uint64_t *out)
{
    const struct filter_test *test =
        filter_test(s->filter, filter_node(s->filter, node)->test);
    const struct field_index_column *column =
        field_index_column_of(s->index, test);
    if (test->op == FILTER_EXISTS) {
        or_words(s, out, column->present);
        return DLHT_OK;
    }
    if (test->op != FILTER_NE && test->op != FILTER_NOT_IN) {
        field_index_ranges(column, test, set_range, out);
        return DLHT_OK;
    }
    uint64_t *failing = new_words(s);
    if (!failing)
        return DLHT_ENOMEM;
    field_index_ranges(column, test, set_range, failing);
    or_others(s, out, column->present, failing);
    free(failing);
    return DLHT_OK;
}

static int set_exactly(const struct select *s, size_t node, uint64_t *out);

static int set_not(const struct select *s, size_t node, uint64_t *out)
{
    uint64_t *inside = new_words(s);
    int rc = inside ? set_exactly(s, node + 1, inside) : DLHT_ENOMEM;
    if (rc == DLHT_OK)
        or_others(s, out, s->index->live, inside);
    free(inside);
    return rc;
}

static int set_all_of(const struct select *s, size_t node, uint64_t *out)
{
    size_t end = filter_node(s->filter, node)->end;
    uint64_t *both = new_words(s), *one = new_words(s);
    int rc = both && one ? set_exactly(s, node + 1, both) : DLHT_ENOMEM;
    size_t i = filter_node(s->filter, node + 1)->end;
    for (; rc == DLHT_OK && i < end; i = filter_node(s->filter, i)->end) {
        memset(one, 0, s->word_count * sizeof *one);
        rc = set_exactly(s, i, one);
        if (rc == DLHT_OK)
            and_words(s, both, one);
    }
    if (rc == DLHT_OK)
        or_words(s, out, both);
    free(both);
    free(one);
    return rc;
}

/* Adds the rows that the part under node lets pass; the index covers it. */
static int set_exactly(const struct select *s, size_t node, uint64_t *out)
{
    const struct filter_node *n = filter_node(s->filter, node);
    int rc = DLHT_OK;
    if (n->kind == FILTER_TEST)
        return set_test(s, node, out);
    if (n->kind == FILTER_NOT)
        return set_not(s, node, out);
    if (n->kind == FILTER_AND)
        return set_all_of(s, node, out);
    for (size_t i = node + 1; rc == DLHT_OK && i < n->end;
         i = filter_node(s->filter, i)->end)
        rc = set_exactly(s, i, out);
    return rc;
}

/* The part of an AND that leaves the fewest rows. */
static size_t smallest_part(const struct select *s, size_t node, double *least)
{
    const struct filter_node *n = filter_node(s->filter, node);
    size_t best = 0;
    for (size_t i = node + 1; i < n->end; i = filter_node(s->filter, i)->end) {
        if (!field_index_bounds(s->index, s->filter, i))
            continue;
        double count = field_index_candidates(s->index, s->filter, i);
        if (best && count >= *least)
            continue;
        best = i;
        *least = count;
    }
    return best;
}

/* Adds rows among which are all that the part under node lets pass; the index
 * bounds it. */
static int set_at_least(const struct select *s, size_t node, uint64_t *out)
{
    const struct filter_node *n = filter_node(s->filter, node);
    double least;
    int rc = DLHT_OK;
    if (field_index_covers(s->index, s->filter, node))
        return set_exactly(s, node, out);
    if (n->kind == FILTER_AND)
        return set_at_least(s, smallest_part(s, node, &least), out);
    assert(n->kind == FILTER_OR);
    for (size_t i = node + 1; rc == DLHT_OK && i < n->end;
         i = filter_node(s->filter, i)->end)
        rc = set_at_least(s, i, out);
    return rc;
}

/* The root is an AND: its smallest part, then those that are worth it. */
static int set_root(const struct select *s, uint64_t *out, bool *done)
{
    double least = 0;
    size_t best = smallest_part(s, 0, &least);
    size_t end = filter_node(s->filter, 0)->end;
    int rc = set_at_least(s, best, out);
    done[best] = field_index_covers(s->index, s->filter, best);
    uint64_t *one = NULL;
    for (size_t i = 1; rc == DLHT_OK && i < end;
         i = filter_node(s->filter, i)->end) {
        if (i == best || !field_index_covers(s->index, s->filter, i) ||
            field_index_candidates(s->index, s->filter, i) > WORTH * least)
            continue;
        if (!one)
            one = new_words(s);
        else
            memset(one, 0, s->word_count * sizeof *one);
        rc = one ? set_exactly(s, i, one) : DLHT_ENOMEM;
        if (rc == DLHT_OK)
            and_words(s, out, one);
        done[i] = true;
    }
    free(one);
    return rc;
}

static int set_all(const struct select *s, uint64_t *out, bool *done)
{
    if (!field_index_bounds(s->index, s->filter, 0)) {
        or_words(s, out, s->index->live);
        return DLHT_OK;
    }
    if (filter_node(s->filter, 0)->kind == FILTER_AND)
        return set_root(s, out, done);
    done[0] = field_index_covers(s->index, s->filter, 0);
    return set_at_least(s, 0, out);
}

static unsigned bits_of(uint64_t w)
{
    w -= w >> 1 & UINT64_C(0x5555555555555555);
    w = (w & UINT64_C(0x3333333333333333)) +
        (w >> 2 & UINT64_C(0x3333333333333333));
    w = (w + (w >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(w * UINT64_C(0x0101010101010101) >> 56);
}

static int reserve(struct field_index_rows *rows, size_t words)
{
    if (rows->word_cap < words) {
        uint64_t *more = mem_resize(rows->words, words, sizeof *more);
        if (!more)
            return DLHT_ENOMEM;
        rows->words = more;
        rows->word_cap = words;
    }
    if (words)
        memset(rows->words, 0, words * sizeof *rows->words);
    return DLHT_OK;
}

int field_index_select(const struct field_index *index,
                       const struct filter *filter,
                       struct field_index_rows *rows)
{
    struct select s = { index, filter, index->word_cap };
    clear(rows);
    bool *done = mem_zero(filter_node_count(filter), sizeof *done);
    if (!done)
        return DLHT_ENOMEM;
    int rc = reserve(rows, s.word_count);
    if (rc == DLHT_OK)
        rc = set_all(&s, rows->words, done);
    if (rc == DLHT_OK)
        rc = filter_rest(filter, done, &rows->rest);
    free(done);
    if (rc != DLHT_OK)
        return rc;
    rows->bounded = field_index_bounds(index, filter, 0);
    rows->word_count = s.word_count;
    for (size_t i = 0; i < s.word_count; i++)
        rows->count += bits_of(rows->words[i]);
    return DLHT_OK;
}

size_t field_index_rows_list(const struct field_index_rows *rows, uint64_t from,
                             uint32_t *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = (size_t)(from / 64); i < rows->word_count; i++) {
        uint64_t w = rows->words[i];
        if (i == from / 64)
            w &= UINT64_MAX << from % 64;
        for (; w; w &= w - 1) {
            if (n == cap)
                return n;
            /* The lowest bit's place: ones below it are counted. */
            out[n++] = (uint32_t)(i * 64 + bits_of((w & (0 - w)) - 1));
        }
    }
    return n;
}
