/* SPDX-License-Identifier: Apache-2.0 */

/* Histories as lines: good and bad ones are told apart, what is no line is
 * refused wherever it is broken. */

#include "sim/transcript.h"

#include <criterion/criterion.h>
#include <string.h>

#include "dlht/err.h"

enum {
    LINES_MAX = 8
};

#define LINE(client, op, value, call, end, outcome, more)                      \
    "{\"client\": " #client ", \"op\": \"" op "\", \"key\": \"k\", "           \
    "\"value\": \"" value "\", \"call\": " #call ", \"return\": " #end         \
    ", \"outcome\": \"" outcome "\"" more "}"
#define VERSION(n) ", \"version\": " #n
#define EXPECTS(n, v) ", \"expected\": " #n ", \"version\": " #v

struct known {
    const char *why;
    enum linear_verdict verdict;
    const char *lines[LINES_MAX];
};

static const struct known KNOWN[] = {
    { "no line", LINEAR_YES, { NULL } },
    { "a write and a read",
      LINEAR_YES,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(2, "get", "a", 3, 4, "done", VERSION(5)) } },
    { "what is unknown may be read late",
      LINEAR_YES,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "put", "b", 3, 4, "unknown", ""),
        LINE(2, "get", "a", 5, 6, "done", VERSION(5)),
        LINE(2, "get", "b", 7, 8, "done", VERSION(9)) } },
    { "two swaps of one version, one refused",
      LINEAR_YES,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "cas", "b", 3, 9, "done", EXPECTS(5, 6)),
        LINE(2, "cas", "c", 3, 9, "differs", EXPECTS(5, 6)),
        LINE(2, "get", "b", 10, 11, "done", "") } },
    { "a key that is deleted is away",
      LINEAR_YES,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "del", "", 3, 4, "done", ""),
        LINE(1, "get", "", 5, 6, "absent", ""),
        LINE(1, "del", "", 7, 8, "absent", "") } },
    { "a write that failed is not asked for",
      LINEAR_YES,
      { LINE(1, "put", "a", 1, 2, "failed", ""),
        LINE(1, "get", "", 3, 4, "absent", "") } },
    { "a stale read",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "put", "b", 3, 4, "done", VERSION(6)),
        LINE(2, "get", "a", 5, 6, "done", VERSION(5)) } },
    { "a stale read that tells no version, as ranges do",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "put", "b", 3, 4, "done", VERSION(6)),
        LINE(2, "get", "a", 5, 6, "done", "") } },
    { "a lost write",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(2, "get", "", 3, 4, "absent", "") } },
    { "a lost update",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "cas", "b", 3, 4, "done", EXPECTS(5, 6)),
        LINE(2, "cas", "c", 5, 6, "done", EXPECTS(5, 7)) } },
    { "a swap done twice",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "cas", "b", 3, 9, "done", EXPECTS(5, 6)),
        LINE(2, "put", "c", 4, 5, "done", VERSION(7)),
        LINE(2, "get", "b", 10, 11, "done", VERSION(8)) } },
    { "a swap that was refused and took effect",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "cas", "b", 3, 4, "differs", EXPECTS(4, 5)),
        LINE(2, "get", "b", 5, 6, "done", VERSION(6)) } },
    { "a write that failed and took effect",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "failed", ""),
        LINE(1, "get", "a", 3, 4, "done", VERSION(5)) } },
    { "a value that nobody wrote",
      LINEAR_NO,
      { LINE(1, "get", "x", 1, 2, "done", VERSION(5)) } },
    { "a deleted value that returns",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "del", "", 3, 4, "done", ""),
        LINE(1, "get", "a", 5, 6, "done", VERSION(5)) } },
    { "an unknown write that comes and goes",
      LINEAR_NO,
      { LINE(1, "put", "a", 1, 2, "done", VERSION(5)),
        LINE(1, "put", "b", 3, 4, "unknown", ""),
        LINE(2, "get", "b", 5, 6, "done", VERSION(6)),
        LINE(2, "get", "a", 7, 8, "done", VERSION(5)) } },
};

Test(transcript, good_and_bad_histories_are_told_apart)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        struct transcript *t = transcript_new();
        struct history_verdict verdict;
        size_t bad = 0;
        const char *why;
        for (size_t j = 0; j < LINES_MAX && KNOWN[i].lines[j]; j++)
            cr_assert(transcript_add(t, span_str(KNOWN[i].lines[j]), &why) ==
                          DLHT_OK,
                      "%s: line %zu: %s", KNOWN[i].why, j + 1, why);
        cr_assert(transcript_check(t, &verdict, &bad) == DLHT_OK, "%s",
                  KNOWN[i].why);
        cr_expect(verdict.verdict == KNOWN[i].verdict, "%s: %s", KNOWN[i].why,
                  verdict.text);
        transcript_free(t);
    }
}

static const char OTHER_KEY[] =
    "{\"client\": 2, \"op\": \"put\", \"key\": \"l\", \"value\": \"a\", "
    "\"call\": 1, \"return\": 2, \"outcome\": \"done\"}";

static const char NO_VALUE[] =
    "{\"client\": 1, \"op\": \"put\", \"key\": \"k\", \"call\": 1, "
    "\"return\": 2, \"outcome\": \"done\"}";

Test(transcript, keys_are_judged_each_by_itself_and_the_bad_one_is_named)
{
    struct transcript *t = transcript_new();
    struct history_verdict verdict;
    size_t bad = 0;
    const char *why;
    const char *const lines[] = { OTHER_KEY,
                                  LINE(1, "put", "a", 1, 2, "done", ""),
                                  LINE(1, "get", "", 3, 4, "absent", "") };
    for (size_t i = 0; i < 3; i++)
        cr_assert(transcript_add(t, span_str(lines[i]), &why) == DLHT_OK);
    cr_assert(transcript_check(t, &verdict, &bad) == DLHT_OK);
    cr_expect(verdict.verdict == LINEAR_NO && verdict.key == 0);
    cr_expect(strstr(verdict.text, "key k,") &&
                  strstr(verdict.text, "c1.3 get"),
              "%s", verdict.text);
    transcript_free(t);
}

Test(transcript, a_value_written_twice_is_refused)
{
    struct transcript *t = transcript_new();
    struct history_verdict verdict;
    size_t bad = 0;
    const char *why;
    cr_assert(transcript_add(t, span_str(OTHER_KEY), &why) == DLHT_OK);
    for (size_t i = 0; i < 2; i++)
        cr_assert(
            transcript_add(t, span_str(LINE(1, "put", "a", 1, 2, "done", "")),
                           &why) == DLHT_OK);
    cr_expect(transcript_check(t, &verdict, &bad) == DLHT_EINVAL);
    cr_expect(bad == 3);
    transcript_free(t);
}

Test(transcript, what_is_no_line_is_refused)
{
    static const char *const BAD[] = {
        "",
        "{}",
        "[]",
        "null",
        LINE(1, "put", "a", 1, 2, "done", "") "x",
        LINE(1, "put", "a", 2, 1, "done", ""),
        LINE(1, "put", "a", 1, 2, "differs", ""),
        LINE(1, "put", "a", 1, 2, "absent", ""),
        LINE(1, "cas", "a", 1, 2, "done", VERSION(2)),
        LINE(1, "get", "a", 1, 2, "differs", ""),
        LINE(1, "move", "a", 1, 2, "done", ""),
        LINE(-1, "put", "a", 1, 2, "done", ""),
        LINE(1048576, "put", "a", 1, 2, "done", ""),
        LINE(1, "put", "a", 1, 18446744073709551616, "done", ""),
        LINE(1, "put", "\\n", 1, 2, "done", ""),
        LINE(1, "put", "a", 1, 2, "done", ", \"value\": \"b\""),
        LINE(1, "put", "a", 1, 2, "done", ", \"other\": 1"),
        NO_VALUE,
    };
    struct transcript *t = transcript_new();
    const char *why;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        cr_expect(transcript_add(t, span_str(BAD[i]), &why) == DLHT_EINVAL &&
                      why,
                  "%s", BAD[i]);
    struct span whole =
        span_str(LINE(1, "cas", "a\\\"", 1, 2, "done", EXPECTS(5, 6)));
    for (size_t len = 0; len < whole.len; len++)
        cr_expect(transcript_add(t, span_of(whole.data, len), &why) ==
                      DLHT_EINVAL,
                  "cut at %zu", len);
    cr_expect(transcript_line_count(t) == 0);
    cr_expect(transcript_add(t, whole, &why) == DLHT_OK);
    transcript_free(t);
}
