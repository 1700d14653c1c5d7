/* SPDX-License-Identifier: Apache-2.0 */

/* The parts of dlht-cli that take in what people and files say: words of a
 * line, lines of JSON, base64; and its histogram. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cmd/cli/base64.h"
#include "../cmd/cli/histogram.h"
#include "../cmd/cli/jsonl.h"
#include "../cmd/cli/output.h"
#include "../cmd/cli/words.h"
#include "base/rng.h"

/* A heap copy of exactly len bytes, so that a sanitizer sees a step too far. */
static char *exact(const void *data, size_t len)
{
    char *bytes = malloc(len ? len : 1);

    cr_assert_not_null(bytes);
    memcpy(bytes, data, len);
    return bytes;
}

/* Words between '|', quoted ones behind '"'; or why there are none. */
static void describe(const char *line, size_t len, char *out, size_t size)
{
    struct words words;
    const char *why = NULL;
    size_t used = 0;
    char *copy = exact(line, len);

    out[0] = 0;
    if (!words_split(copy, len, &words, &why))
        snprintf(out, size, "!%s", why);
    for (size_t i = 0; i < words.count; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s|",
                                 words.list[i].quoted ? "\"" : "",
                                 words.list[i].data);
    words_deinit(&words);
    free(copy);
}

Test(words, are_cut_as_a_shell_does)
{
    static const struct {
        const char *why;
        const char *line;
        const char *want;
    } rows[] = {
        { "nothing", "", "" },
        { "only blanks", " \t\r\n", "" },
        { "blanks around", "  a  b\n", "a|b|" },
        { "single quotes keep all", "'a \\x41 \"b'", "\"a \\x41 \"b|" },
        { "double quotes escape quotes", "\"a\\\"b\"", "\"a\"b|" },
        { "and bytes", "\"\\x41\\x42\"", "\"AB|" },
        { "and nothing else", "\"\\n\"", "\"\\n|" },
        { "outside, anything", "a\\ b\\n", "\"a bn|" },
        { "quotes join", "a'b'\"c\"d", "\"abcd|" },
        { "empty words", "'' \"\"", "\"|\"|" },
        { "open quote", "'a", "!a quote is not closed" },
        { "half a byte", "\\x4",
          "!\\x needs two hexadecimal digits, as in "
          "\\x0a" },
        { "nothing to escape", "a\\",
          "!a backslash at the end of the line escapes nothing" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char got[256];
        describe(rows[i].line, strlen(rows[i].line), got, sizeof(got));
        cr_expect_str_eq(got, rows[i].want, "%s: %s", rows[i].why, got);
    }
}

/* Writes bytes so that words_split reads them back. */
static size_t escape(const uint8_t *bytes, size_t len, char *out)
{
    size_t used = 0;

    out[used++] = '"';
    for (size_t i = 0; i < len; i++)
        used += (size_t)sprintf(out + used, "\\x%02x", bytes[i]);
    out[used++] = '"';
    return used;
}

Test(words, any_bytes_can_be_written)
{
    enum {
        SEED = 7
    };
    struct rng rng;

    rng_init(&rng, SEED);
    for (int round = 0; round < 500; round++) {
        uint8_t bytes[40];
        char line[200];
        size_t len = rng_below(&rng, sizeof(bytes) + 1);
        struct words words;
        const char *why;
        char *copy;
        size_t n;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rng_next(&rng);
        n = escape(bytes, len, line);
        copy = exact(line, n);
        cr_assert(words_split(copy, n, &words, &why), "seed %d", SEED);
        cr_assert_eq(words.count, 1);
        cr_assert_eq(words.list[0].len, len);
        cr_assert_eq(memcmp(words.list[0].data, bytes, len), 0);
        words_deinit(&words);
        free(copy);
    }
}

Test(words, nonsense_does_no_harm)
{
    enum {
        SEED = 8
    };
    static const char letters[] = "ab \\\\''\"\"x41\n\t";
    struct rng rng;

    rng_init(&rng, SEED);
    for (int round = 0; round < 20000; round++) {
        char line[24];
        char got[256];
        size_t len = rng_below(&rng, sizeof(line) + 1);
        for (size_t i = 0; i < len; i++)
            line[i] = letters[rng_below(&rng, sizeof(letters))];
        describe(line, len, got, sizeof(got));
    }
}

Test(jsonl, is_wrong_when_cut_anywhere)
{
    static const char whole[] =
        "{\"x\": [1, {\"y\": null}, \"z\"], \"key\": \"a\\u00e9\\ud83d\\ude00"
        "\\n\", \"value\": {\"base64\": \"AP8=\"}}";
    struct dlht_bytes key;
    struct dlht_bytes value;
    const char *why;

    for (size_t len = 0; len <= sizeof(whole) - 1; len++) {
        char *line = exact(whole, len);
        bool read = jsonl_read(line, len, &key, &value, &why);
        cr_expect_eq(read, len == sizeof(whole) - 1, "cut at %zu", len);
        cr_expect(read || why, "cut at %zu says no reason", len);
        if (read) {
            cr_expect_eq(key.len, 8);
            cr_expect_eq(memcmp(key.data, "a\xc3\xa9\xf0\x9f\x98\x80\n", 8), 0);
            cr_expect_eq(value.len, 2);
        }
        free(line);
    }
}

Test(jsonl, nonsense_does_no_harm)
{
    enum {
        SEED = 9
    };
    static const char whole[] = "{\"key\": \"\\ud83d\\ude00\", \"value\": "
                                "{\"base64\": \"AAAA\"}, \"n\": [[1.5]]}";
    struct rng rng;

    rng_init(&rng, SEED);
    for (int round = 0; round < 50000; round++) {
        struct dlht_bytes key;
        struct dlht_bytes value;
        const char *why;
        char *line = exact(whole, sizeof(whole) - 1);
        for (uint64_t i = 1 + rng_below(&rng, 3); i > 0; i--)
            line[rng_below(&rng, sizeof(whole) - 1)] =
                whole[rng_below(&rng, sizeof(whole) - 1)];
        jsonl_read(line, sizeof(whole) - 1, &key, &value, &why);
        free(line);
    }
}

Test(base64, comes_back)
{
    uint8_t bytes[64];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 200);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        char *text = base64_encode(bytes, len);
        size_t n = strlen(text);
        cr_assert_eq(n % 4, 0);
        cr_assert(base64_decode(text, &n));
        cr_assert_eq(n, len);
        cr_assert_eq(memcmp(text, bytes, len), 0);
        free(text);
    }
}

Test(base64, refuses_what_is_none)
{
    static const char *const wrong[] = { "A",    "AA",   "AAA",   "AA=A",
                                         "A===", "====", "AA\nA", "AA-_" };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        size_t n = strlen(wrong[i]);
        char *text = exact(wrong[i], n);
        cr_expect_not(base64_decode(text, &n), "%s", wrong[i]);
        free(text);
    }
}

Test(output, shows_bytes_within_a_width)
{
    static const struct {
        const char *bytes;
        size_t width;
        const char *want;
    } rows[] = {
        { "abc", 8, "abc" },
        { "abcdefgh", 8, "abcdefgh" },
        { "abcdefghi", 8, "abcde..." },
        { "\xff"
          "a",
          8, "\\xffa" },
        { "\xc3\xa9\xc3\xa9", 4, "\xc3\xa9\xc3\xa9" },
        { "\n\n\n", 8, "\\x0a..." },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[40];
        struct dlht_bytes bytes = { rows[i].bytes, strlen(rows[i].bytes) };
        output_printable(bytes, rows[i].width, text, sizeof(text));
        cr_expect_str_eq(text, rows[i].want);
    }
}

Test(histogram, quantiles_are_within_two_percent)
{
    enum {
        SEED = 10,
        COUNT = 100000
    };
    static struct histogram one;
    static struct histogram two;
    struct rng rng;

    rng_init(&rng, SEED);
    for (uint64_t i = 1; i <= COUNT; i++)
        histogram_add(rng_below(&rng, 2) ? &one : &two, i * 1000);
    histogram_merge(&one, &two);
    cr_assert_eq(one.total, COUNT);
    for (int q = 1; q < 1000; q++) {
        double got = (double)histogram_quantile(&one, q / 1000.0);
        double want = q * (COUNT / 1000.0) * 1000;
        cr_assert(got >= want && got <= want * 1.016 + 1001, "%d: %f %f", q,
                  got, want);
    }
    cr_assert_eq(histogram_quantile(&one, 1), COUNT * 1000);
}

Test(histogram, takes_every_duration)
{
    static struct histogram h;

    for (unsigned shift = 0; shift < 64; shift++) {
        histogram_add(&h, (uint64_t)1 << shift);
        histogram_add(&h, ((uint64_t)1 << shift) - 1);
    }
    histogram_add(&h, UINT64_MAX);
    cr_assert_eq(histogram_quantile(&h, 1), UINT64_MAX);
    cr_assert_eq(histogram_quantile(&(struct histogram){ .total = 0 }, 0.5), 0);
}
