/* SPDX-License-Identifier: Apache-2.0 */

/* The same request has one signature however it is written, and no two that
 * differ have the same. */

#include "dlht/cache.h"

#include <criterion/criterion.h>
#include <string.h>

/* Each row: texts of one signature, which no other row has. */
static const char *const same[][4] = {
    { "{\"b\":1,\"a\":[1.0,\"\\u00e9\"]}",
      "{\"a\" : [1, \"\xc3\xa9\"], \"b\":1.0}",
      " { \"a\":[10e-1,\"\\u00E9\"],\n\t\"b\":1 } ", NULL },
    { "{\"a\":[\"\xc3\xa9\",1],\"b\":1}", NULL },
    { "{\"a\":{\"x\":1,\"y\":{}},\"ab\":2}",
      "{\"ab\":2,\"a\":{\"y\":{},\"x\":1}}", NULL },
    { "0", "-0", "0.0", "0e5" },
    { "9007199254740991", "9007199254740991.0", NULL },
    { "9007199254740992", "9007199254740993", NULL },
    { "0.1", "1e-1", "0.10", "100e-3" },
    { "0.10000000000000001", NULL }, /* the same double: see below */
    { "1e300", "1E+300", "10e299", NULL },
    { "\"\\/\\b\\n\\\"\\\\\"", "\"/\\u0008\\u000a\\u0022\\u005C\"", NULL },
    { "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", NULL },
    { "true", NULL },
    { "null", NULL },
    { "\"true\"", NULL },
    { "[]", "[ ]", NULL },
    { "{}", "{ }", NULL },
    { "[[]]", NULL },
    { "\"\\u0000\"", NULL },
    { "\"\"", NULL },
};

enum {
    ROWS = sizeof same / sizeof *same
};

static void sign(const char *text, char out[DLHT_SIGNATURE_TEXT])
{
    struct dlht_error error;
    int rc = dlht_signature(text, strlen(text), out, &error);
    cr_assert_eq(rc, DLHT_OK, "%s: %s", text, error.text);
    cr_assert_eq(strspn(out, "0123456789abcdef"), 32);
}

Test(signature, is_of_what_is_meant_and_not_of_how_it_is_written)
{
    char first[ROWS][DLHT_SIGNATURE_TEXT], other[DLHT_SIGNATURE_TEXT];
    for (size_t i = 0; i < ROWS; i++) {
        sign(same[i][0], first[i]);
        for (size_t k = 1; k < 4 && same[i][k]; k++) {
            sign(same[i][k], other);
            cr_assert_str_eq(other, first[i], "%s", same[i][k]);
        }
        for (size_t k = 0; k < i; k++)
            cr_assert(strcmp(first[k], first[i]) != 0 ||
                          strcmp(same[i][0], "0.10000000000000001") == 0,
                      "%s and %s", same[k][0], same[i][0]);
    }
}

/* Golden: it is written into caches that outlive a version. */
Test(signature, stays)
{
    char out[DLHT_SIGNATURE_TEXT];
    sign("{\"b\":1,\"a\":[1.0,\"\\u00e9\"]}", out);
    cr_assert_str_eq(out, "47b1ec5f1a1cc6408248dddcc95288d0");
}

Test(signature, refuses_what_is_no_json)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1 2",
        "tru",
        "nul",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\n\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "1e999",
        "{\"a\":1,\"a\":2}",
        "\"\xff\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "[1]x",
        "NaN",
        "'a'",
        "{\"a\":1,\"\\u0061\":2}",
    };
    char out[DLHT_SIGNATURE_TEXT];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dlht_error error = { 0 };
        cr_assert_eq(dlht_signature(bad[i], strlen(bad[i]), out, &error),
                     DLHT_EINVAL, "%s", bad[i]);
        cr_assert_eq(strncmp(error.text, "not JSON at byte", 16), 0);
        cr_assert_eq(out[0], 0);
    }
    char deep[2 * DLHT_SIGNATURE_DEPTH_MAX + 8];
    for (size_t depth = DLHT_SIGNATURE_DEPTH_MAX;
         depth <= DLHT_SIGNATURE_DEPTH_MAX + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        cr_assert_eq(dlht_signature(deep, 2 * depth, out, NULL),
                     depth > DLHT_SIGNATURE_DEPTH_MAX ? DLHT_EINVAL : DLHT_OK);
    }
}
