/* SPDX-License-Identifier: Apache-2.0 */

/* Indexes of fields: random rows that come, change and go, and random filters,
 * against asking each row. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "vector/field_index.h"

enum {
    ROWS = 3000
};

struct table {
    struct rng rng;
    struct field_index *index;
    struct buf metas[ROWS];
    bool there[ROWS];
    size_t count;
};

static const struct span declared[] = {
    { (const uint8_t *)"color", 5 },
    { (const uint8_t *)"price", 5 },
    { (const uint8_t *)"tags", 4 },
    { (const uint8_t *)"any", 3 },
};

static const char *const colors[] = { "red",       "blue",
                                      "green",     "a long name of a color",
                                      "a long nb", "" };

static void add(struct buf *json, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct buf *json, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_append_span(json, span_str(text));
}

static void add_any(struct rng *rng, struct buf *json)
{
    static const char *const values[] = {
        "null",
        "true",
        "false",
        "0",
        "-0.0",
        "1",
        "1.0",
        "\"1\"",
        "9007199254740993",
        "9007199254740992.0",
        "-9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1e300",
        "[]",
        "[1, \"red\", true]",
    };
    add(json, "\"any\": %s",
        values[rng_below(rng, sizeof values / sizeof *values)]);
}

static void draw_meta(struct rng *rng, struct buf *out)
{
    struct buf json = { 0 };
    add(&json, "{\"n\": %u", (unsigned)rng_below(rng, 10));
    if (rng_chance(rng, 0.9))
        add(&json, ", \"color\": \"%s\"", colors[rng_below(rng, 6)]);
    if (rng_chance(rng, 0.9))
        add(&json, ", \"price\": %u", (unsigned)rng_below(rng, 1000));
    if (rng_chance(rng, 0.3))
        add(&json, ", \"tags\": [\"t%u\", \"t%u\", %u]",
            (unsigned)rng_below(rng, 20), (unsigned)rng_below(rng, 20),
            (unsigned)rng_below(rng, 20));
    if (rng_chance(rng, 0.5)) {
        add(&json, ", ");
        add_any(rng, &json);
    }
    add(&json, "}");
    buf_reset(out);
    cr_assert_eq(meta_parse(buf_span(&json), out, NULL), DLHT_OK);
    buf_deinit(&json);
}

static struct meta meta_of(struct table *t, size_t row)
{
    return meta_trust(buf_span(&t->metas[row]));
}

static void change_row(struct table *t, size_t row)
{
    struct buf next = { 0 };
    if (!t->there[row]) {
        draw_meta(&t->rng, &t->metas[row]);
        cr_assert_eq(
            field_index_insert(t->index, (uint32_t)row, meta_of(t, row)),
            DLHT_OK);
        t->there[row] = true;
        t->count++;
    } else if (rng_chance(&t->rng, 0.5)) {
        draw_meta(&t->rng, &next);
        cr_assert_eq(field_index_update(t->index, (uint32_t)row,
                                        meta_of(t, row),
                                        meta_trust(buf_span(&next))),
                     DLHT_OK);
        buf_deinit(&t->metas[row]);
        t->metas[row] = next;
    } else {
        field_index_remove(t->index, (uint32_t)row, meta_of(t, row));
        t->there[row] = false;
        t->count--;
    }
    cr_assert_eq(field_index_has_row(t->index, (uint32_t)row), t->there[row]);
}

static void draw_test(struct rng *rng, struct buf *text)
{
    static const char *const signs[] = { "=", "!=", "<", "<=", ">", ">=" };
    static const char *const anys[] = {
        "1",      "'red'",
        "true",   "null",
        "0.5",    "9007199254740993",
        "-0.0",   "9223372036854775807",
        "9.3e18", "-9007199254740993",
    };
    const char *sign = signs[rng_below(rng, 6)];
    switch (rng_below(rng, 8)) {
    case 0:
        add(text, "color %s '%s'", sign, colors[rng_below(rng, 6)]);
        return;
    case 1:
        add(text, "color %s ('red', 'none', '%s')",
            rng_chance(rng, 0.5) ? "in" : "not in", colors[rng_below(rng, 6)]);
        return;
    case 2:
    case 3:
        add(text, "price %s %u", sign, (unsigned)rng_below(rng, 1000));
        return;
    case 4:
        add(text, "tags %s 't%u'", sign, (unsigned)rng_below(rng, 20));
        return;
    case 5:
        sign = signs[rng_below(rng, 2)];
        add(text, "any %s %s", sign, anys[rng_below(rng, 10)]);
        return;
    case 6:
        add(text, "exists any or any < %u", (unsigned)rng_below(rng, 3));
        return;
    default:
        add(text, "n < %u", (unsigned)rng_below(rng, 10));
    }
}

static void draw_filter(struct rng *rng, struct buf *text, int depth)
{
    uint64_t parts = depth ? rng_range(rng, 1, 3) : 1;
    const char *word = rng_chance(rng, 0.6) ? " and " : " or ";
    for (uint64_t i = 0; i < parts; i++) {
        if (i > 0)
            add(text, "%s", word);
        if (rng_chance(rng, 0.2))
            add(text, "not ");
        add(text, "(");
        if (depth && rng_chance(rng, 0.4))
            draw_filter(rng, text, depth - 1);
        else
            draw_test(rng, text);
        add(text, ")");
    }
}

struct sampling {
    struct table *table;
    size_t asked;
};

/* The truth, of all rows. */
static double sample(void *context, const struct filter *filter, size_t node)
{
    struct sampling *s = context;
    size_t passed = 0;
    s->asked++;
    for (size_t row = 0; row < ROWS; row++)
        passed += s->table->there[row] &&
                  filter_match_node(filter, node, meta_of(s->table, row));
    return s->table->count ? (double)passed / (double)s->table->count : 0;
}

struct counts {
    size_t bounded, rests, exact;
    double error;
};

static void check_filter(struct table *t, const char *text,
                         struct counts *counts)
{
    struct filter *filter;
    struct field_index_rows rows;
    struct field_index_estimate e;
    struct sampling sampling = { t, 0 };
    size_t passing = 0, set = 0;
    cr_assert_eq(filter_compile(span_str(text), &filter, NULL), DLHT_OK, "%s",
                 text);
    field_index_rows_init(&rows);
    cr_assert_eq(field_index_select(t->index, filter, &rows), DLHT_OK);
    for (size_t row = 0; row < ROWS; row++) {
        bool is_set = row / 64 < rows.word_count &&
                      (rows.words[row / 64] >> row % 64 & 1);
        cr_assert(!is_set || t->there[row]);
        set += is_set;
        if (!t->there[row])
            continue;
        bool want = filter_match(filter, meta_of(t, row));
        passing += want;
        bool left = !rows.rest || filter_match(rows.rest, meta_of(t, row));
        cr_assert_eq(is_set && left, want, "%s: row %zu, set %d, left %d", text,
                     row, is_set, left);
    }
    cr_assert_eq(rows.count, set);
    field_index_estimate(t->index, filter, sample, &sampling, &e);
    cr_assert_eq(e.bounded, rows.bounded);
    cr_assert(e.row_count >= 0 && e.row_count <= (double)t->count + 1e-6);
    if (e.exact)
        cr_assert_float_eq(e.row_count, (double)passing, 1e-6, "%s", text);
    if (e.bounded)
        cr_assert_leq((double)set, e.candidate_count + 1e-6, "%s", text);
    counts->bounded += rows.bounded;
    counts->rests += rows.bounded && rows.rest;
    counts->exact += e.exact;
    counts->error += fabs(e.row_count - (double)passing) / (double)t->count;
    field_index_rows_deinit(&rows);
    filter_free(filter);
}

Test(field_index, agrees_with_asking_each_row)
{
    static struct table t;
    struct counts counts = { 0 };
    size_t filters = 0;
    rng_init(&t.rng, 20261122);
    cr_assert_eq(field_index_new(declared, 4, &t.index), DLHT_OK);
    for (int round = 0; round < 12; round++) {
        /* It fills, then is emptied. */
        for (int i = 0; i < ROWS; i++) {
            size_t row = rng_below(&t.rng, ROWS);
            if (round >= 9 && !t.there[row])
                continue;
            change_row(&t, row);
        }
        field_index_check(t.index);
        cr_assert_eq(field_index_row_count(t.index), t.count);
        for (int i = 0; i < 40; i++) {
            struct buf text = { 0 };
            draw_filter(&t.rng, &text, i % 3);
            buf_append_byte(&text, 0);
            check_filter(&t, (char *)text.data, &counts);
            filters++;
            buf_deinit(&text);
        }
    }
    cr_assert_gt(counts.bounded, filters / 3);
    cr_assert_gt(counts.rests, 20);
    cr_assert_gt(counts.exact, filters / 8);
    cr_assert_lt(counts.error / (double)filters, 0.05, "%g",
                 counts.error / (double)filters);
    for (size_t row = 0; row < ROWS; row++)
        if (t.there[row])
            field_index_remove(t.index, (uint32_t)row, meta_of(&t, row));
    field_index_check(t.index);
    cr_assert_lt(field_index_bytes(t.index), 30000, "memory is given back: %zu",
                 field_index_bytes(t.index));
    for (size_t row = 0; row < ROWS; row++)
        buf_deinit(&t.metas[row]);
    field_index_free(t.index);
}

static struct field_index *filled(size_t rows, struct buf *metas)
{
    struct field_index *index;
    struct rng rng;
    rng_init(&rng, 5);
    cr_assert_eq(field_index_new(declared, 4, &index), DLHT_OK);
    for (size_t row = 0; row < rows; row++) {
        draw_meta(&rng, &metas[row]);
        cr_assert_eq(field_index_insert(index, (uint32_t)row,
                                        meta_trust(buf_span(&metas[row]))),
                     DLHT_OK);
    }
    return index;
}

Test(field_index, lists_rows_piece_by_piece)
{
    static struct buf metas[ROWS];
    struct field_index *index = filled(ROWS, metas);
    struct filter *filter;
    struct field_index_rows rows;
    uint32_t list[100];
    size_t count = 0, n;
    uint64_t from = 0;
    cr_assert_eq(filter_compile(span_str("price < 500"), &filter, NULL), 0);
    field_index_rows_init(&rows);
    cr_assert_eq(field_index_select(index, filter, &rows), DLHT_OK);
    do {
        n = field_index_rows_list(&rows, from, list, 100);
        for (size_t i = 0; i < n; i++) {
            cr_assert(i == 0 || list[i] > list[i - 1]);
            cr_assert_geq(list[i], from);
            cr_assert(
                filter_match(filter, meta_trust(buf_span(&metas[list[i]]))));
        }
        count += n;
        from = n ? (uint64_t)list[n - 1] + 1 : 0;
    } while (n == 100);
    cr_assert_eq(count, rows.count);
    cr_assert_gt(count, ROWS / 4);
    cr_assert_null(rows.rest);
    field_index_rows_deinit(&rows);
    filter_free(filter);
    field_index_free(index);
    for (size_t row = 0; row < ROWS; row++)
        buf_deinit(&metas[row]);
}

Test(field_index, refuses_what_is_no_field)
{
    struct field_index *index;
    const struct span twice[] = { span_str("a"), span_str("b"), span_str("a") };
    const struct span empty[] = { span_str("a"), span_str("") };
    struct span many[FIELD_INDEX_FIELDS_MAX + 1];
    char names[FIELD_INDEX_FIELDS_MAX + 1][4];
    cr_assert_eq(field_index_new(twice, 3, &index), DLHT_EINVAL);
    cr_assert_null(index);
    cr_assert_eq(field_index_new(empty, 2, &index), DLHT_EINVAL);
    for (int i = 0; i <= FIELD_INDEX_FIELDS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "f%d", i);
        many[i] = span_str(names[i]);
    }
    cr_assert_eq(field_index_new(many, FIELD_INDEX_FIELDS_MAX + 1, &index),
                 DLHT_ETOOBIG);
    cr_assert_eq(field_index_new(many, FIELD_INDEX_FIELDS_MAX, &index),
                 DLHT_OK);
    cr_assert_eq(field_index_insert(index, FIELD_INDEX_ROW_MAX + 1u,
                                    meta_trust(span_empty())),
                 DLHT_ETOOBIG);
    field_index_free(index);
    cr_assert_eq(field_index_new(NULL, 0, &index), DLHT_OK);
    cr_assert_eq(field_index_insert(index, 7, meta_trust(span_empty())),
                 DLHT_OK);
    field_index_check(index);
    field_index_free(index);
    field_index_free(NULL);
}

/* Each allocation fails once; what is there stays as it was. */
Test(field_index, lacking_memory_leaves_all_as_it_was)
{
    if (!fail_alloc_works())
        return;
    static struct buf metas[600];
    struct field_index *index;
    struct rng rng;
    size_t failures = 0;
    rng_init(&rng, 9);
    cr_assert_eq(field_index_new(declared, 4, &index), DLHT_OK);
    for (uint32_t row = 0; row < 600; row++) {
        int rc = DLHT_ENOMEM;
        draw_meta(&rng, &metas[row]);
        struct meta meta = meta_trust(buf_span(&metas[row]));
        for (uint64_t n = 1; rc == DLHT_ENOMEM; n++) {
            fail_alloc_nth(n);
            rc = field_index_insert(index, row, meta);
            fail_alloc_nth(0);
            failures += rc == DLHT_ENOMEM;
            cr_assert_eq(field_index_row_count(index), row + (rc == DLHT_OK));
            if (rc == DLHT_ENOMEM)
                field_index_check(index);
        }
        cr_assert_eq(rc, DLHT_OK);
        uint32_t other = (uint32_t)rng_below(&rng, row + 1);
        struct buf next = { 0 };
        draw_meta(&rng, &next);
        for (uint64_t n = 1, again = 1; again; n++) {
            fail_alloc_nth(n);
            rc = field_index_update(index, other,
                                    meta_trust(buf_span(&metas[other])),
                                    meta_trust(buf_span(&next)));
            fail_alloc_nth(0);
            again = rc == DLHT_ENOMEM;
            failures += again;
            if (again)
                field_index_check(index);
        }
        buf_deinit(&metas[other]);
        metas[other] = next;
    }
    field_index_check(index);
    cr_assert_gt(failures, 50, "%zu", failures);
    struct filter *filter;
    struct field_index_rows rows;
    field_index_rows_init(&rows);
    cr_assert_eq(filter_compile(span_str("not (price < 500 and color != 'red') "
                                         "and any != 1 and n = 1"),
                                &filter, NULL),
                 DLHT_OK);
    int rc = DLHT_ENOMEM;
    uint64_t n = 0;
    while (rc == DLHT_ENOMEM) {
        fail_alloc_nth(++n);
        rc = field_index_select(index, filter, &rows);
        fail_alloc_nth(0);
        cr_assert(rc == DLHT_OK || (rows.count == 0 && rows.word_count == 0));
    }
    cr_assert_gt(n, 5);
    field_index_rows_deinit(&rows);
    filter_free(filter);
    for (uint32_t row = 0; row < 600; row++) {
        field_index_remove(index, row, meta_trust(buf_span(&metas[row])));
        buf_deinit(&metas[row]);
    }
    field_index_check(index);
    field_index_free(index);
}
