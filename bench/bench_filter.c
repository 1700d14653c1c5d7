/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench filter: how long it takes to ask a filter about the metadata of a
 * vector, to read metadata, and to use an index of fields. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "table.h"
#include "vector/field_index.h"
#include "vector/filter.h"

/* Rows and their metadata, one after the other. */
struct rows {
    size_t count;
    struct buf bytes;
    size_t *starts; /* count + 1 */
};

static void must(int rc)
{
    if (rc != DLHT_OK)
        bench_die(dlht_strerror(rc));
}

static struct filter *compile(const char *text)
{
    struct filter *filter;
    struct meta_error error;
    if (filter_compile(span_str(text), &filter, &error) != DLHT_OK)
        bench_die(error.text);
    return filter;
}

/* n is uniform in [0, 1000), price in [0, 1000000); 8 colors. */
static void json_of(struct rng *rng, char *json, size_t cap)
{
    static const char *const colors[] = { "red",   "blue",  "green", "white",
                                          "black", "brown", "grey",  "yellow" };
    snprintf(json, cap,
             "{\"n\": %u, \"color\": \"%s\", \"price\": %u.5, "
             "\"maker\": {\"name\": \"maker %u\", \"since\": %u}, "
             "\"tags\": [\"t%u\", \"new\"]}",
             (unsigned)rng_below(rng, 1000), colors[rng_below(rng, 8)],
             (unsigned)rng_below(rng, 1000000), (unsigned)rng_below(rng, 10000),
             (unsigned)rng_range(rng, 1900, 2020),
             (unsigned)rng_below(rng, 100));
}

static struct meta meta_at_row(const struct rows *rows, size_t row)
{
    return meta_trust(span_of(rows->bytes.data + rows->starts[row],
                              rows->starts[row + 1] - rows->starts[row]));
}

/* Time of reading each, in nanoseconds. */
static double rows_init(struct rows *rows, size_t count, uint64_t seed)
{
    struct rng rng;
    char json[256];
    double ns = 0;
    rng_init(&rng, seed);
    *rows = (struct rows){ .count = count };
    rows->starts = bench_memory(count + 1, sizeof *rows->starts);
    for (size_t i = 0; i < count; i++) {
        json_of(&rng, json, sizeof json);
        if (i % 64 == 0) {
            /* The clock is dear: of a few the time is taken by repeating. */
            double before = bench_cpu_ns();
            for (int n = 0; n < 64; n++) {
                rows->bytes.len = rows->starts[i];
                must(meta_parse(span_str(json), &rows->bytes, NULL));
            }
            ns += (bench_cpu_ns() - before) / 64;
        } else {
            must(meta_parse(span_str(json), &rows->bytes, NULL));
        }
        rows->starts[i + 1] = rows->bytes.len;
    }
    return ns / (double)((count + 63) / 64);
}

/* Rows asked one after another in the order of a permutation, or the same few
 * again and again. */
static double ask(const struct rows *rows, const struct filter *filter,
                  size_t times, size_t among, double *share)
{
    size_t passed = 0, at = 0;
    double before = bench_cpu_ns();
    for (size_t i = 0; i < times; i++) {
        at = (at + 7919) % among;
        passed += filter_match(filter, meta_at_row(rows, at));
    }
    *share = (double)passed / (double)times;
    return (bench_cpu_ns() - before) / (double)times;
}

static void show_asking(const struct bench_options *options,
                        const struct rows *rows)
{
    static const char *const texts[] = {
        "n = 7",
        "n < 100",
        "price >= 500000",
        "color = 'red'",
        "maker.since < 1950",
        "color in ('red', 'blue', 'white')",
        "n in (1,5,9,13,17,21,25,29,33,37,41,45,49,53,57,61)",
        "tags = 't7'",
        "nothing = 1",
        "n < 500 and price < 500000 and color != 'red'",
        "not (color = 'red' or maker.since < 1950) and exists tags",
    };
    size_t times = bench_size(options, options->lookups, 1000000, 20000);
    struct table *table =
        table_begin(options, "filter", "Asking a filter about one vector");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct filter *filter = compile(texts[i]);
        double share;
        double near = ask(rows, filter, times, 256, &share);
        double far = ask(rows, filter, times, rows->count, &share);
        table_text(table, "filter", texts[i]);
        table_number(table, "passes", share, 3);
        table_number(table, "ns, in cache", near, 1);
        table_number(table, "ns, anywhere", far, 1);
        table_end_row(table);
        filter_free(filter);
    }
    table_end(table, "anywhere: rows in an order that no cache foresees");
}

static void show_index(const struct bench_options *options,
                       const struct rows *rows, struct field_index *index)
{
    static const char *const texts[] = {
        "n = 7",
        "n < 10",
        "n < 100",
        "n < 500",
        "price < 10000",
        "color = 'red'",
        "color != 'red'",
        "n < 10 and color = 'red'",
        "n < 100 and maker.since < 1950",
        "not (n < 900 or color = 'red')",
    };
    struct table *table =
        table_begin(options, "filter-index", "The index of n, price and color");
    struct field_index_rows set;
    field_index_rows_init(&set);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct filter *filter = compile(texts[i]);
        struct field_index_estimate e;
        size_t times = options->quick ? 3 : 20;
        double before = bench_cpu_ns();
        for (size_t n = 0; n < times; n++)
            field_index_estimate(index, filter, NULL, NULL, &e);
        double estimate = (bench_cpu_ns() - before) / (double)times;
        before = bench_cpu_ns();
        for (size_t n = 0; n < times; n++)
            must(field_index_select(index, filter, &set));
        double select = (bench_cpu_ns() - before) / (double)times;
        size_t passed = 0;
        for (size_t row = 0; row < rows->count; row++)
            passed += filter_match(filter, meta_at_row(rows, row));
        table_text(table, "filter", texts[i]);
        table_number(table, "pass", (double)passed, 0);
        table_number(table, "estimated", e.row_count, 0);
        table_number(table, "set", (double)set.count, 0);
        table_number(table, "us, estimate", estimate / 1000, 2);
        table_number(table, "us, set", select / 1000, 1);
        table_end_row(table);
        filter_free(filter);
    }
    field_index_rows_deinit(&set);
    table_end(table, "maker.since has no index and is guessed");
}

static void show_writes(const struct bench_options *options,
                        const struct rows *rows, double parse_ns,
                        double insert_ns, double update_ns, size_t bytes)
{
    struct table *table =
        table_begin(options, "filter-writes", "Writing, a vector");
    table_number(table, "rows", (double)rows->count, 0);
    table_number(table, "ns, reading the JSON", parse_ns, 0);
    table_number(table, "bytes of metadata",
                 (double)rows->bytes.len / (double)rows->count, 0);
    table_number(table, "ns, into the index", insert_ns, 0);
    table_number(table, "ns, changed in it", update_ns, 0);
    table_number(table, "bytes of index", (double)bytes / (double)rows->count,
                 1);
    table_end_row(table);
    table_end(table, "the index has three fields of a row's six");
}

void bench_filter(const struct bench_options *options)
{
    const struct span names[] = { span_str("n"), span_str("price"),
                                  span_str("color") };
    struct rows rows;
    struct field_index *index;
    size_t count = bench_size(options, options->keys, 200000, 5000);
    double parse_ns = rows_init(&rows, count, options->seed);
    must(field_index_new(names, 3, &index));
    double before = bench_cpu_ns();
    for (size_t i = 0; i < count; i++)
        must(field_index_insert(index, (uint32_t)i, meta_at_row(&rows, i)));
    double insert_ns = (bench_cpu_ns() - before) / (double)count;
    size_t bytes = field_index_bytes(index);
    before = bench_cpu_ns();
    /* To another row's and back. */
    for (size_t i = 0; i + 1 < count; i += 16)
        for (int back = 0; back < 2; back++)
            must(field_index_update(index, (uint32_t)i,
                                    meta_at_row(&rows, i + (back ? 1 : 0)),
                                    meta_at_row(&rows, i + (back ? 0 : 1))));
    double update_ns =
        (bench_cpu_ns() - before) / (2 * (double)((count + 14) / 16));
    show_asking(options, &rows);
    show_index(options, &rows, index);
    show_writes(options, &rows, parse_ns, insert_ns, update_ns, bytes);
    field_index_free(index);
    buf_deinit(&rows.bytes);
    free(rows.starts);
}
