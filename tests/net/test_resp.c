/* SPDX-License-Identifier: Apache-2.0 */

/* The bytes of the Redis protocol: what is taken, what is refused and in which
 * words, however the bytes come. */

#include "net/resp.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Feeds input from piece to piece and tells what came of it as text: words in
 * brackets, a request a line; then what is wrong, or that more is awaited. */
static void run(struct span input, size_t step, struct buf *out)
{
    struct resp_scan scan = { 0 };
    struct resp_args args = { 0 };
    struct buf held = { 0 };
    size_t at = 0;
    enum resp_result rc = RESP_MORE;
    while (rc != RESP_BAD) {
        size_t used = 0;
        rc = resp_parse(&scan, buf_span(&held), &args, &used);
        if (rc == RESP_MORE && at == input.len)
            break;
        if (rc == RESP_MORE) {
            size_t n = input.len - at < step ? input.len - at : step;
            buf_append(&held, input.data + at, n);
            at += n;
        } else if (rc == RESP_REQUEST) {
            cr_assert(used > 0 && used <= held.len);
            for (size_t i = 0; i < args.count; i++) {
                buf_append_byte(out, '[');
                buf_append_span(out, args.list[i]);
                buf_append_byte(out, ']');
            }
            buf_append_byte(out, '\n');
            buf_drop(&held, used);
        }
    }
    buf_append_span(out,
                    rc == RESP_BAD ? span_str(args.error) : span_str("more"));
    buf_append_byte(out, 0);
    cr_assert(!out->failed);
    buf_deinit(&held);
    resp_args_deinit(&args);
}

Test(resp, requests_are_taken_and_refused_as_redis_does, .timeout = 60)
{
    static const struct {
        const char *bytes;
        const char *said;
        const char *why;
    } rows[] = {
        { "", "more", "nothing" },
        { "PING\r\n", "[PING]\nmore", "inline" },
        { "PING\n", "[PING]\nmore", "a line end alone" },
        { "\r\n", "\nmore", "an empty line" },
        { "  a   b \r\n", "[a][b]\nmore", "spaces" },
        { "a\tb\r\n", "[a][b]\nmore", "a tab" },
        { "a 'x y' \"z w\"\r\n", "[a][x y][z w]\nmore", "quotes" },
        { "a \"\\x41\\n\\\"\\q\"\r\n", "[a][A\n\"q]\nmore", "escapes" },
        { "a 'it\\'s\\n'\r\n", "[a][it's\\n]\nmore", "single quotes" },
        { "a x\"y\"\r\n", "[a][xy]\nmore", "a quote inside" },
        { "a \"\" b\r\n", "[a][][b]\nmore", "an empty word" },
        { "a \"x\r\n", "Protocol error: unbalanced quotes in request", "open" },
        { "a \"x\"y\r\n", "Protocol error: unbalanced quotes in request",
          "no space behind" },
        { "*1\r\n$4\r\nPING\r\n", "[PING]\nmore", "an array" },
        { "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "[GET][]\nmore", "empty bulk" },
        { "*2\r\n$1\r\na\r\n$2\r\n\r\n\r\n", "[a][\r\n]\nmore",
          "line ends inside" },
        { "*0\r\n*-1\r\nx\r\n", "\n\n[x]\nmore", "no words" },
        { "*2\r\n$1\r\na\r\n", "more", "half" },
        { "*1\r\n$4\r\nPI", "more", "half a word" },
        { "*1\r\n$4\r\nPING\r\nGET a\r\n", "[PING]\n[GET][a]\nmore", "mixed" },
        { "*x\r\n", "Protocol error: invalid multibulk length", "no number" },
        { "*1048577\r\n", "Protocol error: invalid multibulk length",
          "too many" },
        { "*99999999999999999999\r\n",
          "Protocol error: invalid multibulk length", "beyond 64 bits" },
        { "*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'",
          "no bulk" },
        { "*1\r\n$-1\r\n", "Protocol error: invalid bulk length", "negative" },
        { "*1\r\n$x\r\n", "Protocol error: invalid bulk length", "no number" },
        { "*1\r\n$16777217\r\n", "Protocol error: invalid bulk length",
          "a value too long" },
        { "*1\r\n$ 1\r\n", "Protocol error: invalid bulk length", "a space" },
        { "*1\r\n$01\r\n", "Protocol error: invalid bulk length", "a zero" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span input = span_str(rows[i].bytes);
        for (size_t step = 1; step <= input.len + 1; step++) {
            struct buf out = { 0 };
            run(input, step, &out);
            cr_expect_str_eq((char *)out.data, rows[i].said,
                             "%s, %zu bytes at once", rows[i].why, step);
            buf_deinit(&out);
        }
    }
}

/* What is usual is seen as it will be taken; all else ends the list. */
Test(resp, usual_requests_are_seen_ahead)
{
    static const char GET[] = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    static const struct {
        const char *behind;
        size_t count;
        const char *why;
    } rows[] = {
        { "", 1, "the end" },
        { "*2\r\n$3\r\nGET\r\n$1\r\nk\r", 1, "not whole" },
        { "*3\r\n$3\r\nset\r\n$2\r\nk2\r\n$0\r\n\r\n", 2, "an empty word" },
        { "*1\r\n$4\r\nPING\r\n", 1, "one word" },
        { "*17\r\n", 1, "many words" },
        { "PING\r\n", 1, "inline" },
        { "*2\r\n$03\r\nGET\r\n$1\r\nk\r\n", 1, "a leading zero" },
        { "*2\r\n$3\r\nGET\r\n$-1\r\n", 1, "a negative number" },
        { "*2\r\n$3\r\nGET\r\n$1000000\r\n", 1, "a long number" },
        { "*2\r\n$3\rxGET\r\n$1\r\nk\r\n", 1, "half a line end" },
        { "*2\n$3\nGET\n$1\nk\n", 1, "no line ends" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = { 0 };
        struct resp_plain list[3];
        buf_append(&b, GET, sizeof GET - 1);
        buf_append(&b, rows[i].behind, strlen(rows[i].behind));
        size_t count = resp_peek(buf_span(&b), list, 3);
        cr_expect_eq(count, rows[i].count, "%s: %zu", rows[i].why, count);
        cr_expect(span_equal(list[0].words[0], span_str("GET")));
        cr_expect(span_equal(list[0].words[1], span_str("k")));
        cr_expect_eq(list[0].count, 2);
        cr_expect_eq(list[0].end, sizeof GET - 1);
        cr_expect_eq(resp_peek(buf_span(&b), list, 1), 1);
        buf_deinit(&b);
    }
    cr_expect_eq(resp_peek(span_empty(), NULL, 1), 0);
}

Test(resp, what_never_ends_is_refused)
{
    static uint8_t bytes[RESP_LINE_MAX + 2];
    static const struct {
        uint8_t first;
        const char *said;
    } rows[] = { { 'x', "Protocol error: too big inline request" },
                 { '*', "Protocol error: too big mbulk count string" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = { 0 };
        memset(bytes, '1', sizeof bytes);
        bytes[0] = rows[i].first;
        run(span_of(bytes, sizeof bytes), sizeof bytes, &out);
        cr_expect_str_eq((char *)out.data, rows[i].said);
        buf_deinit(&out);
    }
}

/* Many words in small pieces: time is in proportion to the bytes. */
Test(resp, many_words_in_pieces_are_taken_once, .timeout = 20)
{
    struct buf input = { 0 }, out = { 0 };
    buf_append_span(&input, span_str("*100000\r\n"));
    for (int i = 0; i < 100000; i++)
        buf_append_span(&input, span_str("$1\r\nx\r\n"));
    run(buf_span(&input), 4000, &out);
    cr_expect_eq(out.len, 100000 * 3 + strlen("\nmore") + 1);
    buf_deinit(&input);
    buf_deinit(&out);
}

Test(resp, numbers_are_read_as_redis_reads_them)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "-1", true, -1 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "18446744073709551616", false, 0 },
        { "", false, 0 },
        { "-", false, 0 },
        { "+1", false, 0 },
        { "01", false, 0 },
        { "-0", false, 0 },
        { " 1", false, 0 },
        { "1 ", false, 0 },
        { "1x", false, 0 },
        { "111111111111111111111", false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t n = 0;
        bool good = resp_to_int(span_str(rows[i].text), &n);
        cr_expect(good == rows[i].good, "'%s'", rows[i].text);
        cr_expect(!good || n == rows[i].value, "'%s'", rows[i].text);
        char text[RESP_INT_MAX];
        if (good) {
            size_t len = resp_int_text(n, text);
            cr_expect(span_equal(span_of(text, len), span_str(rows[i].text)));
        }
    }
}

Test(resp, doubles_are_said_as_redis_says_them)
{
    static const struct {
        const char *text;
        const char *said; /* NULL: refused */
    } rows[] = {
        { "1.5", "1.5" },
        { "-0", "0" },
        { "3.0e3", "3000" },
        { "0.1", "0.1" },
        { "1e-17", "0.00000000000000001" },
        { "", NULL },
        { "x", NULL },
        { " 1", NULL },
        { "1 ", NULL },
        { "nan", NULL },
        { "1e5000", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static char text[RESP_DOUBLE_MAX];
        long double n = 0;
        bool good = resp_to_double(span_str(rows[i].text), &n);
        cr_expect(good == (rows[i].said != NULL), "'%s'", rows[i].text);
        if (good && rows[i].said)
            cr_expect(span_equal(span_of(text, resp_double_text(n, text)),
                                 span_str(rows[i].said)),
                      "'%s'", rows[i].text);
    }
}

Test(resp, patterns_match_as_those_of_redis)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        { "*", "", true },
        { "*", "abc", true },
        { "", "", true },
        { "", "a", false },
        { "a*c", "abbc", true },
        { "a*c", "abb", false },
        { "a**c", "ac", true },
        { "?", "a", true },
        { "?", "", false },
        { "h[ae]llo", "hello", true },
        { "h[ae]llo", "hillo", false },
        { "h[^e]llo", "hallo", true },
        { "h[^e]llo", "hello", false },
        { "h[a-c]llo", "hbllo", true },
        { "h[c-a]llo", "hbllo", true },
        { "h[a-c]llo", "hdllo", false },
        { "\\*", "*", true },
        { "\\*", "a", false },
        { "[\\]]", "]", true },
        { "a[", "ab", false },
        { "*a*b", "xxaxxbxxb", true },
        { "*.txt", "a.txt.b", false },
        { "a\\", "a\\", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect(resp_glob(span_str(rows[i].pattern),
                            span_str(rows[i].text)) == rows[i].matches,
                  "'%s' '%s'", rows[i].pattern, rows[i].text);
}

/* A pattern of many stars is asked in a bounded time. */
Test(resp, patterns_take_no_time, .timeout = 10)
{
    char pattern[2001], text[20001];
    for (int i = 0; i < 2000; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[1999] = 'b';
    pattern[2000] = 0;
    memset(text, 'a', 20000);
    text[20000] = 0;
    cr_expect(!resp_glob(span_str(pattern), span_str(text)));
}

Test(resp, answers_are_written)
{
    struct buf out = { 0 };
    resp_write_simple(&out, "OK");
    resp_write_error(&out, span_str("ERR a\r\nb"));
    resp_write_int(&out, INT64_MIN);
    resp_write_bulk(&out, span_str("hello"));
    resp_write_bulk(&out, span_empty());
    resp_write_null(&out, false);
    resp_write_null(&out, true);
    resp_write_null_array(&out, false);
    resp_write_array(&out, 12);
    resp_write_map(&out, 2, false);
    resp_write_map(&out, 2, true);
    resp_write_set(&out, 1, true);
    resp_write_bulk_uint(&out, UINT64_MAX);
    buf_append_byte(&out, 0);
    cr_expect_str_eq((char *)out.data,
                     "+OK\r\n-ERR a  b\r\n:-9223372036854775808\r\n"
                     "$5\r\nhello\r\n$0\r\n\r\n$-1\r\n_\r\n*-1\r\n*12\r\n"
                     "*4\r\n%2\r\n~1\r\n$20\r\n18446744073709551615\r\n");
    buf_deinit(&out);
}
