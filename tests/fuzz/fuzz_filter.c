/* SPDX-License-Identifier: Apache-2.0 */

/* Metadata and filters of a stranger.
 *
 * The first byte of an input chooses: 'j' a JSON object, 'm' the form of one as
 * its bytes, 'f' a filter, else a filter with its length before it and then an
 * object that it is asked about, with and without an index. What is taken must
 * be printed as what is taken again, and all ways of asking must agree. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "vector/field_index.h"
#include "vector/filter.h"
#include "vector/meta.h"

static void check_error(int rc, const struct meta_error *error, size_t len)
{
    assert(rc == DLHT_EINVAL || rc == DLHT_ETOOBIG);
    assert(error->at <= len);
    assert(memchr(error->text, 0, sizeof error->text));
    assert(strstr(error->text, "position "));
    assert(strstr(error->text, "would be right"));
}

/* What is printed is read again, to the same bytes. */
static void print_again(struct meta meta)
{
    struct buf text = { 0 }, again = { 0 };
    meta_print(meta, &text);
    int rc = meta_parse(buf_span(&text), &again, NULL);
    assert(rc == DLHT_OK);
    assert(span_equal(buf_span(&again), meta.bytes));
    buf_deinit(&text);
    buf_deinit(&again);
}

static bool try_json(struct span json, struct buf *out)
{
    struct meta_error error;
    struct meta meta;
    int rc = meta_parse(json, out, &error);
    if (rc != DLHT_OK) {
        check_error(rc, &error, json.len);
        assert(out->len == 0);
        return false;
    }
    rc = meta_open(buf_span(out), &meta);
    assert(rc == DLHT_OK);
    print_again(meta);
    return true;
}

static void try_form(struct span bytes)
{
    struct meta meta;
    int rc = meta_open(bytes, &meta);
    if (rc == DLHT_OK)
        print_again(meta);
    else
        assert(rc == DLHT_ECORRUPT || rc == DLHT_EVERSION);
}

static struct filter *try_filter(struct span text)
{
    struct meta_error error;
    struct filter *filter, *again;
    struct buf printed = { 0 };
    int rc = filter_compile(text, &filter, &error);
    if (rc != DLHT_OK) {
        check_error(rc, &error, text.len);
        assert(!filter);
        return NULL;
    }
    filter_print(filter, &printed);
    if (printed.len <= FILTER_TEXT_MAX) {
        rc = filter_compile(buf_span(&printed), &again, &error);
        assert(rc == DLHT_OK);
        assert(filter_equal(filter, again));
        filter_free(again);
    }
    buf_deinit(&printed);
    return filter;
}

static void ask_index(const struct filter *filter, struct meta meta, bool want)
{
    static const struct span names[] = { { (const uint8_t *)"a", 1 },
                                         { (const uint8_t *)"b.c", 3 } };
    struct field_index *index;
    struct field_index_rows rows;
    struct field_index_estimate estimate;
    int rc = field_index_new(names, 2, &index);
    assert(rc == DLHT_OK);
    rc = field_index_insert(index, 70, meta);
    assert(rc == DLHT_OK);
    field_index_check(index);
    field_index_rows_init(&rows);
    rc = field_index_select(index, filter, &rows);
    assert(rc == DLHT_OK);
    bool set = rows.words[1] >> 6 & 1;
    assert((set && (!rows.rest || filter_match(rows.rest, meta))) == want);
    field_index_estimate(index, filter, NULL, NULL, &estimate);
    assert(estimate.row_count >= 0 && estimate.row_count <= 1.001);
    assert(!estimate.exact || (estimate.row_count > 0.5) == want);
    field_index_rows_deinit(&rows);
    field_index_remove(index, 70, meta);
    field_index_check(index);
    field_index_free(index);
}

static void try_both(struct fuzz_in *in)
{
    struct buf form = { 0 };
    struct filter *filter = try_filter(fuzz_span(in, FILTER_TEXT_MAX));
    if (filter && try_json(in->rest, &form)) {
        struct meta meta = meta_trust(buf_span(&form));
        bool yes = filter_match(filter, meta);
        assert(filter_match_node(filter, 0, meta) == yes);
        ask_index(filter, meta, yes);
    }
    filter_free(filter);
    buf_deinit(&form);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = { span_of(data, size) };
    struct buf form = { 0 };
    switch (fuzz_byte(&in)) {
    case 'j':
        (void)try_json(in.rest, &form);
        break;
    case 'm':
        try_form(in.rest);
        break;
    case 'f':
        filter_free(try_filter(in.rest));
        break;
    default:
        try_both(&in);
    }
    buf_deinit(&form);
    return 0;
}

static const char *const objects[] = {
    "{\"a\": 1, \"b\": {\"c\": \"red\"}}",
    "{\"a\": [1, 2.5, \"x\", true], \"b.c\": null}",
    "{\"a\": -9007199254740993, \"d e\": false}",
    "{ \"a\":\"\\u00e9\\ud83d\\ude00\\n\" , \"b\":{} }",
    "{}",
};

static const char *const tests[] = {
    "a = 1",
    "b.c != 'red'",
    "a in (1, 2.5, 'x', null)",
    "\"d e\" = false",
    "exists b.c",
    "a >= -9007199254740992.0",
    "b.c not in (\"r\\u0065d\")",
    "a < 'x'",
};

void fuzz_make(struct rng *rng, struct buf *out)
{
    const char *object =
        objects[rng_below(rng, sizeof objects / sizeof *objects)];
    struct buf text = { 0 };
    for (uint64_t n = rng_below(rng, 3) + 1; n > 0; n--) {
        const char *test = tests[rng_below(rng, sizeof tests / sizeof *tests)];
        if (text.len > 0)
            buf_append_span(&text,
                            span_str(rng_chance(rng, 0.5) ? " and " : " or "));
        if (rng_chance(rng, 0.3))
            buf_append_span(&text, span_str("not "));
        buf_append_span(&text, span_str(test));
    }
    switch (rng_below(rng, 5)) {
    case 0:
        buf_append_byte(out, 'j');
        buf_append_span(out, span_str(object));
        break;
    case 1:
        buf_append_byte(out, 'm');
        (void)!meta_parse(span_str(object), out, NULL);
        break;
    case 2:
        buf_append_byte(out, 'f');
        buf_append_span(out, buf_span(&text));
        break;
    default:
        buf_append_byte(out, 'b');
        buf_append_byte(out, (uint8_t)text.len);
        buf_append_span(out, buf_span(&text));
        buf_append_span(out, span_str(object));
    }
    buf_deinit(&text);
    for (uint64_t n = rng_below(rng, 4); n > 0; n--)
        out->data[rng_below(rng, out->len)] = (uint8_t)rng_next(rng);
    assert(!out->failed);
}
