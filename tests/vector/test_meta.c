/* SPDX-License-Identifier: Apache-2.0 */

/* Metadata: what is taken, what is refused and how it is said, and that the
 * form is the same however the text was written. */

#include <criterion/criterion.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "vector/meta.h"
#include "vector/meta_text.h"

static int parse(const char *json, struct buf *out, struct meta_error *error)
{
    buf_reset(out);
    return meta_parse(span_str(json), out, error);
}

/* Checks that text is printed as `want`, and that this has the same bytes. */
static void check_prints(const char *json, const char *want)
{
    struct buf a = { 0 }, b = { 0 }, text = { 0 };
    struct meta_error error = { 0, "" };
    struct meta meta;
    int rc = parse(json, &a, &error);
    cr_assert_eq(rc, DLHT_OK, "%s: %s", json, error.text);
    cr_assert_eq(meta_open(buf_span(&a), &meta), DLHT_OK, "%s", json);
    meta_print(meta, &text);
    buf_append_byte(&text, 0);
    cr_assert_str_eq((char *)text.data, want, "%s is printed as %s", json,
                     (char *)text.data);
    cr_assert_eq(parse((char *)text.data, &b, &error), DLHT_OK);
    cr_assert(span_equal(buf_span(&a), buf_span(&b)), "%s", json);
    buf_deinit(&a);
    buf_deinit(&b);
    buf_deinit(&text);
}

Test(meta, is_printed_as_it_was_given)
{
    static const struct {
        const char *json, *want;
    } table[] = {
        { "{}", "{}" },
        { " {\t\"a\" :\n1 } ", "{\"a\": 1}" },
        { "{\"b\":1,\"a\":2}", "{\"a\": 2, \"b\": 1}" },
        { "{\"a\":{\"b\":{\"c\":1}},\"d\":{}}",
          "{\"a\": {\"b\": {\"c\": 1}}}" },
        { "{\"a.c\":1,\"a.b\":2,\"a-b\":3}",
          "{\"a\": {\"b\": 2, \"c\": 1}, \"a-b\": 3}" },
        { "{\"a\":{\"b\":1},\"b\":2,\"a.c.d\":3}",
          "{\"a\": {\"b\": 1, \"c\": {\"d\": 3}}, \"b\": 2}" },
        { "{\"a\":[],\"b\":[1,\"x\",true,2.5]}",
          "{\"a\": [], \"b\": [1, \"x\", true, 2.5]}" },
        { "{\"a\":null,\"b\":true,\"c\":false}",
          "{\"a\": null, \"b\": true, \"c\": false}" },
        { "{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
          "{\"a\": 9223372036854775807, \"b\": -9223372036854775808}" },
        { "{\"a\":9223372036854775808}", "{\"a\": 9.223372036854776e+18}" },
        { "{\"a\":1.0,\"b\":1e3,\"c\":-0.0,\"d\":-0}",
          "{\"a\": 1.0, \"b\": 1000.0, \"c\": -0.0, \"d\": 0}" },
        { "{\"a\":0.1,\"b\":1.7976931348623157e308,\"c\":5e-324}",
          "{\"a\": 0.1, \"b\": 1.7976931348623157e+308, "
          "\"c\": 4.94065645841247e-324}" },
        { "{\"\\u0061\":\"\\u00e9\\ud83d\\ude00\\/\\n\\u0001\"}",
          "{\"a\": \"\303\251\360\237\230\200/\\n\\u0001\"}" },
        { "{\"a\":\"\\u0000\"}", "{\"a\": \"\\u0000\"}" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check_prints(table[i].json, table[i].want);
}

Test(meta, says_what_is_wrong)
{
    static const struct {
        const char *json;
        int rc;
        const char *text;
    } table[] = {
        { "", DLHT_EINVAL, "position 1: found the end, an object" },
        { "[1]", DLHT_EINVAL, "position 1: found '[', an object" },
        { "{", DLHT_EINVAL, "position 2: found the end, a name" },
        { "{\"a\":1,}", DLHT_EINVAL, "position 8: found '}', a name" },
        { "{\"a\" 1}", DLHT_EINVAL, "position 6: found '1', ':'" },
        { "{\"a\":1 \"b\":2}", DLHT_EINVAL, "position 8: found '\"', ','" },
        { "{\"a\":1} x", DLHT_EINVAL, "position 9: found 'x', nothing" },
        { "{\"a\":1,\"a\":2}", DLHT_EINVAL,
          "position 8: this name is there before, each name once" },
        { "{\"a\":{\"b\":1},\"a.b\":2}", DLHT_EINVAL,
          "position 14: this name is there before" },
        { "{\"a\":1,\"a.b\":2}", DLHT_EINVAL,
          "position 8: this name lies in a value before" },
        { "{\"a.b.c\":1,\"a\":2}", DLHT_EINVAL,
          "position 12: this name is an object before" },
        { "{\"\":1}", DLHT_EINVAL, "position 2: found '\"\"', a name that" },
        { "{\"a..b\":1}", DLHT_EINVAL, "position 2: found '\"a..b\"'" },
        { "{\"a\":{\".b\":1}}", DLHT_EINVAL, "position 7: found '\".b\"'" },
        { "{\"a\":[null]}", DLHT_EINVAL, "position 7: found 'null', a list" },
        { "{\"a\":[[1]]}", DLHT_EINVAL, "position 7: found '[', a list" },
        { "{\"a\":[1,]}", DLHT_EINVAL, "position 9: found ']', a list" },
        { "{\"a\":[{}]}", DLHT_EINVAL, "position 7: found '{', a list" },
        { "{\"a\":01}", DLHT_EINVAL, "position 6: found '01', a number" },
        { "{\"a\":1.}", DLHT_EINVAL, "position 6: found '1.', a number" },
        { "{\"a\":-}", DLHT_EINVAL, "position 6: found '-', a number" },
        { "{\"a\":+1}", DLHT_EINVAL, "position 6: found '+1', a value" },
        { "{\"a\":NaN}", DLHT_EINVAL, "position 6: found 'NaN', a value" },
        { "{\"a\":truE}", DLHT_EINVAL, "position 6: found 'truE', a value" },
        { "{\"a\":truex}", DLHT_EINVAL, "position 10: found 'x', ','" },
        { "{\"a\":1e999}", DLHT_ETOOBIG, "position 6: too large a number" },
        { "{\"a\":\"x}", DLHT_EINVAL, "position 9: found the end, '\"'" },
        { "{\"a\":\"\n\"}", DLHT_EINVAL, "position 7: found '?', an escape" },
        { "{\"a\":\"\\x\"}", DLHT_EINVAL, "position 7: found '\\x', \\\"" },
        { "{\"a\":\"\\u12g4\"}", DLHT_EINVAL, "position 7: found '\\u12g4'" },
        { "{\"a\":\"\\ud800\"}", DLHT_EINVAL, "position 7: found '\\ud800'" },
        { "{\"a\":\"\\ude00\"}", DLHT_EINVAL, "position 7: found '\\ude00'" },
        { "{\"a\":\"\300\200\"}", DLHT_EINVAL, "position 7: found bytes" },
        { "{\"a\":\"\355\240\200\"}", DLHT_EINVAL, "position 7: found bytes" },
        { "{\"a\":\"\364\220\200\200\"}", DLHT_EINVAL,
          "position 7: found bytes" },
        { "{\"a\":1}\377", DLHT_EINVAL, "position 8: found '?', nothing" },
        { "{\"a.b.c.d.e.f.g.h.i\":1}", DLHT_EINVAL,
          "position 2: found '\"a.b.c.d.e.f.g.h.i\"', a name of at most 8" },
        { "{\"a\":{\"b.c.d.e.f.g.h.i\":1}}", DLHT_EINVAL,
          "position 7: found 'a.b.c.d.e.f.g.h.i', a name of at most 8" },
        { "{'a':1}", DLHT_EINVAL, "position 2: found ''', a name" },
    };
    struct buf out = { 0 };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct meta_error error = { 0, "" };
        buf_reset(&out);
        buf_append(&out, "before", 6);
        int rc = meta_parse(span_str(table[i].json), &out, &error);
        cr_expect_eq(rc, table[i].rc, "%s: %d", table[i].json, rc);
        cr_expect(strncmp(error.text, table[i].text, strlen(table[i].text)) ==
                      0,
                  "%s: said '%s', '%s' is right", table[i].json, error.text,
                  table[i].text);
        cr_expect(strstr(error.text, "would be right"), "%s", error.text);
        cr_expect_eq(out.len, 6);
    }
    buf_deinit(&out);
}

/* A text made of many equal parts. */
static int parse_many(const char *head, size_t count, const char *part,
                      const char *tail, struct meta_error *error)
{
    struct buf text = { 0 }, out = { 0 };
    buf_append_span(&text, span_str(head));
    for (size_t i = 0; i < count; i++) {
        char piece[64];
        snprintf(piece, sizeof piece, part, i);
        buf_append_span(&text, span_str(piece));
    }
    buf_append_span(&text, span_str(tail));
    int rc = meta_parse(buf_span(&text), &out, error);
    struct meta meta;
    if (rc == DLHT_OK)
        cr_assert_eq(meta_open(buf_span(&out), &meta), DLHT_OK);
    buf_deinit(&text);
    buf_deinit(&out);
    return rc;
}

Test(meta, has_bounds)
{
    struct meta_error error;
    cr_assert_eq(parse_many("{\"z\":1", 255, ",\"f%zu\":1", "}", &error), 0);
    cr_assert_eq(parse_many("{\"z\":1", 256, ",\"f%zu\":1", "}", &error),
                 DLHT_ETOOBIG);
    cr_assert(strstr(error.text, "at most 256"), "%s", error.text);
    cr_assert_eq(parse_many("{\"z\":[0", 255, ",%zu", "]}", &error), 0);
    cr_assert_eq(parse_many("{\"z\":[0", 256, ",%zu", "]}", &error),
                 DLHT_ETOOBIG);
    cr_assert_eq(parse_many("{\"z\":\"", 65526, "a", "\"}", &error),
                 DLHT_ETOOBIG);
    cr_assert_eq(parse_many("{\"z\":\"", 65523, "a", "\"}", &error), 0);
    cr_assert_eq(parse_many("{\"", 255, "n", "\":1}", &error), 0);
    cr_assert_eq(parse_many("{\"", 256, "n", "\":1}", &error), DLHT_ETOOBIG);
    cr_assert_eq(parse_many("{\"a\":{\"", 254, "n", "\":1}}", &error),
                 DLHT_ETOOBIG);
    cr_assert_eq(parse_many("", 7, "{\"a\":", "{\"b\":1}}}}}}}}", &error), 0);
    cr_assert_eq(parse_many("", 8, "{\"a\":", "{\"b\":1}}}}}}}}}", &error),
                 DLHT_ETOOBIG);
    cr_assert_eq(parse_many("{\"z\":1", 128, "0", "}", &error), DLHT_ETOOBIG);
    cr_assert_eq(parse_many("{\"z\":1", 127, "0", "}", &error), 0);
    cr_assert_eq(parse_many("{}", META_JSON_MAX, " ", "", &error),
                 DLHT_ETOOBIG);
    cr_assert_eq(parse_many("{}", META_JSON_MAX - 2, " ", "", &error), 0);
}

Test(meta, finds_its_fields)
{
    struct buf out = { 0 };
    struct meta_field field;
    int rc =
        parse("{\"a\":{\"b\":7},\"t\":\"red\",\"l\":[1,\"x\"]}", &out, NULL);
    cr_assert_eq(rc, DLHT_OK);
    struct meta meta = meta_trust(buf_span(&out));
    struct span name = span_str("a.b");
    cr_assert(meta_find(meta, meta_tag(name), name, &field));
    cr_assert_eq(meta_value_of(&field).u.i, 7);
    name = span_str("l");
    cr_assert(meta_find(meta, meta_tag(name), name, &field));
    struct meta_items items = meta_items_of(&field);
    struct meta_value value;
    cr_assert(meta_items_next(&items, &value) && value.u.i == 1);
    cr_assert(meta_items_next(&items, &value) && value.kind == META_TEXT);
    cr_assert(!meta_items_next(&items, &value));
    name = span_str("a");
    cr_assert(!meta_find(meta, meta_tag(name), name, &field));
    cr_assert(!meta_find(meta_trust(span_empty()), 0, name, &field));
    buf_deinit(&out);
}

/* Golden: records on disk stay readable. */
Test(meta, has_these_bytes)
{
    struct buf out = { 0 };
    cr_assert_eq(parse("{\"b\":\"x\",\"a\":1,\"c\":[true,0.5]}", &out, NULL),
                 0);
    uint8_t want[] = { 1, 0, 3,  0,   0, 3,   16,  0, 0,   5,    26,  0,
                       0, 6, 31, 0,   1, 'a', 1,   0, 0,   0,    0,   0,
                       0, 0, 1,  'b', 1, 0,   'x', 1, 'c', 10,   0,   2,
                       0, 2, 4,  0,   0, 0,   0,   0, 0,   0xe0, 0x3f };
    want[4] = meta_tag(span_str("a"));
    want[8] = meta_tag(span_str("b"));
    want[12] = meta_tag(span_str("c"));
    cr_assert_eq(want[4], 0x1f, "xxh3 is as it was: %#x", want[4]);
    cr_assert_eq(out.len, sizeof want);
    cr_assert_arr_eq(out.data, want, sizeof want);
    buf_deinit(&out);
}

/* Bytes of a stranger: what is taken is what would be written. */
Test(meta, damaged_bytes_are_refused_or_mean_something)
{
    struct buf out = { 0 }, text = { 0 }, again = { 0 };
    struct meta meta;
    cr_assert_eq(parse("{\"ab\":\"x\xc3\xa9\",\"a\":{\"b\":1,\"c\":null},"
                       "\"l\":[true,0.5,\"yy\"]}",
                       &out, NULL),
                 0);
    for (size_t n = 1; n < out.len; n++)
        cr_expect_eq(meta_open(span_of(out.data, n), &meta), DLHT_ECORRUPT);
    size_t taken = 0;
    for (size_t i = 0; i < out.len; i++)
        for (unsigned x = 0; x < 256; x++) {
            uint8_t before = out.data[i];
            out.data[i] = (uint8_t)x;
            int rc = meta_open(buf_span(&out), &meta);
            if (rc == DLHT_OK) {
                buf_reset(&text);
                buf_reset(&again);
                meta_print(meta, &text);
                cr_assert_eq(meta_parse(buf_span(&text), &again, NULL), 0,
                             "byte %zu is %u", i, x);
                cr_assert(span_equal(buf_span(&again), buf_span(&out)));
                taken++;
            }
            out.data[i] = before;
        }
    cr_assert_gt(taken, 256);
    buf_deinit(&out);
    buf_deinit(&text);
    buf_deinit(&again);
}

Test(meta, lacking_memory_leaves_all_as_it_was)
{
    if (!fail_alloc_works())
        return;
    for (uint64_t n = 1;; n++) {
        struct buf out = { 0 };
        struct meta_error error;
        fail_alloc_nth(n);
        int rc = meta_parse(
            span_str("{\"a\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                     "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\","
                     "\"b\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]}"),
            &out, &error);
        fail_alloc_nth(0);
        bool failed = fail_alloc_count() > 0;
        cr_assert_eq(rc, failed ? DLHT_ENOMEM : DLHT_OK);
        cr_assert(!out.failed);
        if (failed)
            cr_assert_eq(out.len, 0);
        buf_deinit(&out);
        if (!failed) {
            cr_assert_gt(n, 2);
            break;
        }
    }
}

Test(meta, numbers_are_read_back_whatever_the_locale)
{
    struct rng rng;
    struct buf text = { 0 };
    bool comma = setlocale(LC_NUMERIC, "de_DE.UTF-8");
    rng_init(&rng, 20261122);
    for (int n = 0; n < 20000; n++) {
        uint64_t bits = rng_next(&rng);
        double d, back = 0;
        int64_t i;
        size_t len;
        memcpy(&d, &bits, sizeof d);
        if (d - d != 0)
            continue;
        if (n & 1)
            d = (double)(int64_t)bits / 1000;
        buf_reset(&text);
        meta_text_put_real(&text, d);
        cr_assert_eq(meta_text_number(buf_span(&text), &len, &i, &back),
                     META_NUMBER_REAL);
        cr_assert_eq(len, text.len);
        cr_assert_eq(memcmp(&d, &back, sizeof d), 0, "%a, comma %d", d, comma);
    }
    buf_deinit(&text);
}
