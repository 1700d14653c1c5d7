/* SPDX-License-Identifier: Apache-2.0 */

/* Requests of a stranger who says he is a Redis client.
 *
 * The first byte of an input is how many bytes come at once; the same bytes at
 * once must mean the same, and what is peeked at is what is taken. What is
 * taken as an array and written again must be taken as the same words.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "net/resp.h"

/* All requests of the input as arrays, then how it ended. */
static enum resp_result take(struct span input, size_t step, struct buf *out)
{
    struct resp_scan scan = { 0 };
    struct resp_args args = { 0 };
    size_t begin = 0, end = 0, used;
    enum resp_result rc;
    for (;;) {
        rc = resp_parse(&scan, span_of(input.data + begin, end - begin), &args,
                        &used);
        if (rc == RESP_BAD) {
            assert(memchr(args.error, 0, sizeof args.error));
            break;
        }
        assert(rc != RESP_NO_MEMORY);
        if (rc == RESP_MORE && end == input.len)
            break;
        if (rc == RESP_MORE) {
            end = input.len - end < step ? input.len : end + step;
            continue;
        }
        assert(used > 0 && used <= end - begin);
        assert(!scan.at && !scan.left && !scan.resumed);
        begin += used;
        if (args.count)
            resp_write_array(out, args.count);
        for (size_t i = 0; i < args.count; i++)
            resp_write_bulk(out, args.list[i]);
    }
    resp_args_deinit(&args);
    return rc;
}

/* What is peeked at is what is taken. */
static void peek(struct span input)
{
    struct resp_plain list[4];
    struct resp_args args = { 0 };
    size_t begin = 0, used;
    size_t count = resp_peek(input, list, 4);
    for (size_t i = 0; i < count; i++) {
        struct resp_scan scan = { 0 };
        enum resp_result rc =
            resp_parse(&scan, span_tail(input, begin), &args, &used);
        assert(rc == RESP_REQUEST && begin + used == list[i].end);
        assert(args.count == list[i].count);
        for (size_t w = 0; w < args.count && w < RESP_PLAIN_KEPT; w++)
            assert(args.list[w].data == list[i].words[w].data &&
                   args.list[w].len == list[i].words[w].len);
        begin += used;
    }
    resp_args_deinit(&args);
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
    struct buf pieces = { 0 }, whole = { 0 }, again = { 0 };
    size_t step = (size_t)fuzz_byte(&in) + 1;
    if (in.rest.len == 0)
        return 0;
    enum resp_result a = take(in.rest, step, &pieces);
    enum resp_result b = take(in.rest, in.rest.len, &whole);
    assert(a == b);
    assert(span_equal(buf_span(&pieces), buf_span(&whole)));
    if (whole.len) {
        assert(take(buf_span(&whole), whole.len, &again) == RESP_MORE);
        assert(span_equal(buf_span(&again), buf_span(&whole)));
    }
    peek(in.rest);
    peek(buf_span(&whole));
    size_t half = in.rest.len / 2;
    (void)resp_glob(span_of(in.rest.data, half), span_tail(in.rest, half));
    int64_t n;
    char text[RESP_INT_MAX];
    if (resp_to_int(in.rest, &n))
        assert(span_equal(span_of(text, resp_int_text(n, text)), in.rest));
    buf_deinit(&pieces);
    buf_deinit(&whole);
    buf_deinit(&again);
    return 0;
}

static const char *const words[] = { "GET", "key",  "",  "SET", "a b",
                                     "-1",  "\r\n", "'", "\"",  "\\x41" };

void fuzz_make(struct rng *rng, struct buf *out)
{
    buf_append_byte(out, (uint8_t)rng_below(rng, 8));
    for (uint64_t n = rng_below(rng, 4) + 1; n > 0; n--) {
        bool array = rng_chance(rng, 0.6);
        uint64_t count = rng_below(rng, 4);
        if (array)
            resp_write_array(out, count);
        for (; count > 0; count--) {
            const char *word =
                words[rng_below(rng, sizeof words / sizeof *words)];
            if (array)
                resp_write_bulk_text(out, word);
            else
                resp_write(out, word);
            if (!array)
                buf_append_byte(out, ' ');
        }
        if (!array)
            resp_write(out, "\r\n");
    }
    for (uint64_t n = rng_below(rng, 4); n > 0; n--)
        out->data[rng_below(rng, out->len)] = (uint8_t)rng_next(rng);
    assert(!out->failed);
}
