/* SPDX-License-Identifier: Apache-2.0 */

/* The parts of dlht-cli that take in what people and files say: words of a
 * line, lines of JSON, base64, lines that are read twice; and its histogram
 * and quantiles. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cmd/cli/base64.h"
#include "../cmd/cli/histogram.h"
#include "../cmd/cli/jsonl.h"
#include "../cmd/cli/lines.h"
#include "../cmd/cli/output.h"
#include "../cmd/cli/quantiles.h"
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

static int compare(struct dlht_bytes a, struct dlht_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* What the keys of a row are like. */
enum key_set {
    KEYS_NUMBERS,     /* 8 bytes, evenly */
    KEYS_HALVES,      /* the small half first */
    KEYS_CUBED,       /* most of them small */
    KEYS_LONG_PREFIX, /* they differ within QUANTILES_KEY_MAX */
    KEYS_TOO_LONG,    /* they differ beyond it */
    KEYS_FEW,         /* three, one of which is two thirds */
    KEYS_NESTED       /* each begins with those before it */
};

struct key_row {
    const char *why;
    enum key_set set;
    size_t keys;
    size_t parts;
    size_t cuts;
};

/* The k-th key of a row; valid until the next. */
static struct dlht_bytes make_key(const struct key_row *row, size_t k,
                                  struct rng *rng)
{
    static uint8_t key[2048];
    uint64_t n = rng_below(rng, 1000000);
    size_t before = row->set == KEYS_LONG_PREFIX ? 900
                    : row->set == KEYS_TOO_LONG  ? 2000
                                                 : 0;

    memset(key, row->set == KEYS_NESTED ? 0 : 'p', sizeof(key));
    if (row->set == KEYS_NESTED)
        return (struct dlht_bytes){ key, 1 + (size_t)(n % 100) };
    if (row->set == KEYS_HALVES)
        n = n / 2 + (k < row->keys / 2 ? 0 : 500000);
    if (row->set == KEYS_CUBED)
        n = n * n / 1000000 * n / 1000000;
    if (row->set == KEYS_FEW)
        n = n % 6 < 4 ? 1 : n % 6;
    for (size_t i = 0; i < 8; i++)
        key[before + i] = (uint8_t)(n >> (56 - 8 * i));
    return (struct dlht_bytes){ key, before + 8 };
}

/* Each part has as many keys as any other, but for a tenth and five times the
 * noise of the sample. */
static void judge_parts(const struct key_row *row,
                        const struct dlht_bytes *cuts, size_t count,
                        uint64_t seed)
{
    static size_t fell[4097];
    double share = 1.0 / (double)(count + 1);
    double part = (double)row->keys * share;
    double off = 1 + part / 10;
    struct rng rng;

    memset(fell, 0, sizeof(fell));
    rng_init(&rng, seed);
    for (size_t k = 0; k < row->keys; k++) {
        struct dlht_bytes key = make_key(row, k, &rng);
        size_t i = 0;
        while (i < count && compare(cuts[i], key) <= 0)
            i++;
        fell[i]++;
    }
    if (row->keys > QUANTILES_SAMPLE)
        off += 5 * (double)row->keys * sqrt(share / QUANTILES_SAMPLE);
    for (size_t i = 0; i <= count; i++)
        cr_expect(fabs((double)fell[i] - part) <= off,
                  "%s: part %zu of %zu has %zu", row->why, i, count, fell[i]);
}

static void judge_cuts(const struct key_row *row, uint64_t seed)
{
    static struct dlht_bytes cuts[4096];
    struct quantiles sample;
    struct rng rng;
    size_t count;

    rng_init(&rng, seed);
    cr_assert(quantiles_init(&sample));
    for (size_t k = 0; k < row->keys; k++)
        cr_assert(quantiles_add(&sample, make_key(row, k, &rng)));
    count = quantiles_cut(&sample, row->parts, cuts);
    cr_expect_eq(count, row->cuts, "%s: %zu cuts", row->why, count);
    for (size_t i = 0; i < count; i++) {
        cr_expect_gt(cuts[i].len, 0, "%s", row->why);
        cr_expect(i == 0 || compare(cuts[i - 1], cuts[i]) < 0, "%s", row->why);
    }
    if (row->set != KEYS_FEW && count)
        judge_parts(row, cuts, count, seed);
    quantiles_deinit(&sample);
}

Test(quantiles, cut_into_equal_parts)
{
    static const struct key_row rows[] = {
        { "no keys", KEYS_NUMBERS, 0, 16, 0 },
        { "one key", KEYS_NUMBERS, 1, 16, 0 },
        { "too few for two parts", KEYS_NUMBERS, 1999, 16, 0 },
        { "just enough", KEYS_NUMBERS, 2000, 16, 1 },
        { "one part", KEYS_NUMBERS, 50000, 1, 0 },
        { "no part", KEYS_NUMBERS, 50000, 0, 0 },
        { "all are the sample", KEYS_NUMBERS, 9000, 8, 7 },
        { "many", KEYS_NUMBERS, 200000, 24, 23 },
        { "small ones first", KEYS_HALVES, 200000, 8, 7 },
        { "as many parts as keys allow", KEYS_NUMBERS, 50000, 4096, 49 },
        { "crowded at one end", KEYS_CUBED, 50000, 16, 15 },
        { "a long prefix", KEYS_LONG_PREFIX, 20000, 16, 15 },
        { "a longer one than is looked at", KEYS_TOO_LONG, 20000, 16, 0 },
        { "few keys, often", KEYS_FEW, 50000, 16, 2 },
        { "prefixes of each other", KEYS_NESTED, 50000, 10, 9 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        judge_cuts(&rows[i], 7 + i);
}

Test(quantiles, see_order)
{
    static const struct {
        const char *keys;
        bool in_order;
    } rows[] = { { "", true },      { "a", true },   { "abc", true },
                 { "abb", true },   { "ba", false }, { "abcb", false },
                 { "abca", false }, { "cba", false } };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct quantiles sample;
        cr_assert(quantiles_init(&sample));
        for (const char *k = rows[i].keys; *k; k++)
            cr_assert(quantiles_add(&sample, (struct dlht_bytes){ k, 1 }));
        cr_expect_eq(sample.in_order, rows[i].in_order, "%s", rows[i].keys);
        quantiles_deinit(&sample);
    }
}

/* Reads `first` lines, goes back, and writes all with '|' behind each. */
static void read_twice(FILE *file, size_t first, char *out, size_t size)
{
    struct lines lines;
    char *line;
    size_t len;
    size_t used = 0;

    lines_begin(&lines, file);
    for (size_t i = 0; i < first && lines_next(&lines, &line, &len); i++)
        memset(line, '!', len); /* it is ours to spoil */
    cr_assert(lines_again(&lines));
    out[0] = 0;
    while (lines_next(&lines, &line, &len)) {
        used +=
            (size_t)snprintf(out + used, size - used, "%.*s|", (int)len, line);
        memset(line, '!', len);
    }
    cr_assert(!lines.failed);
    lines_deinit(&lines);
}

Test(lines, are_read_twice)
{
    static const struct {
        const char *text;
        const char *want;
    } rows[] = { { "", "" },
                 { "a", "a|" },
                 { "a\n", "a|" },
                 { "\n\n", "||" },
                 { "a\nbb\n\nc\n", "a|bb||c|" },
                 { "a\nbb\n\nc", "a|bb||c|" } };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        for (size_t first = 0; first < 6; first++) {
            char got[64];
            int ends[2];
            FILE *file = tmpfile();
            cr_assert_not_null(file);
            fputs("before\n", file);
            fputs(rows[i].text, file);
            rewind(file);
            cr_assert_not_null(fgets(got, sizeof(got), file));
            read_twice(file, first, got, sizeof(got));
            cr_expect_str_eq(got, rows[i].want, "a file, %zu lines", first);
            fclose(file);

            cr_assert_eq(pipe(ends), 0);
            cr_assert_eq(write(ends[1], rows[i].text, strlen(rows[i].text)),
                         (ssize_t)strlen(rows[i].text));
            close(ends[1]);
            file = fdopen(ends[0], "r");
            cr_assert_not_null(file);
            read_twice(file, first, got, sizeof(got));
            cr_expect_str_eq(got, rows[i].want, "a pipe, %zu lines", first);
            fclose(file);
        }
    }
}
