/* SPDX-License-Identifier: Apache-2.0 */

#include "dlht/err.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/id.h"
#include "base/rng.h"

Test(err, each_code_has_its_own_name_and_text)
{
    static const struct {
        const char *name, *text;
        int code;
    } rows[] = {
#define ROW(name, number, text) { #name, text, number },
        DLHT_ERRORS(ROW)
#undef ROW
    };
    size_t count = sizeof rows / sizeof *rows;
    for (size_t i = 0; i < count; i++) {
        cr_expect_str_eq(dlht_errname(rows[i].code), rows[i].name);
        cr_expect_str_eq(dlht_strerror(rows[i].code), rows[i].text);
        cr_expect_eq(rows[i].code, -(int)i, "%s moved", rows[i].name);
        for (size_t k = 0; k < i; k++)
            cr_expect_str_neq(rows[i].text, rows[k].text);
    }
    /* From a peer that knows more. */
    cr_expect_str_eq(dlht_errname(-(int)count), "E?");
    cr_expect_str_eq(dlht_strerror(1), "unknown error");
}

Test(id, is_read_from_digits_of_both_cases_and_from_nothing_else)
{
    static const struct {
        const char *text;
        bool good;
        const char *why;
    } rows[] = {
        { "00112233445566778899aabbccddeeff", true, "lower case" },
        { "00112233445566778899AABBCCDDEEFF", true, "upper case" },
        { "00112233445566778899aAbBcCdDeEfF", true, "both" },
        { "00112233445566778899aabbccddeefg", false, "behind f" },
        { "00112233445566778899aabbccddeeGf", false, "behind F" },
        { "0011223344556677889/aabbccddeeff", false, "before 0" },
        { "001122334455667788:9aabbccddeeff", false, "behind 9" },
        { "00112233445566778899`abbccddeeff", false, "before a" },
        { "00112233445566778899@abbccddeeff", false, "before A" },
        { "00112233445566778899aabbccddeef", false, "one short" },
        { "00112233445566778899aabbccddeefff", false, "one more" },
        { "", false, "nothing" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct id id = { { 7 } }, before = id;
        char text[ID_TEXT_BYTES];
        bool good = id_from_text(rows[i].text, &id);
        cr_expect_eq(good, rows[i].good, "%s", rows[i].why);
        if (!good)
            cr_expect(id_equal(&id, &before), "%s: changed", rows[i].why);
        id_to_text(&id, text);
        if (good)
            cr_expect_str_eq(text, rows[0].text, "%s", rows[i].why);
    }
}

Test(rng, the_whole_range_and_ranges_of_one)
{
    struct rng rng, again;
    rng_init(&rng, 5);
    rng_init(&again, 5);
    cr_expect_eq(rng_range(&rng, 0, UINT64_MAX), rng_next(&again));
    cr_expect_eq(rng_range(&rng, 9, 9), 9);
    cr_expect_eq(rng_below(&rng, 0), 0);
    cr_expect_eq(rng_below(&rng, 1), 0);
}

/* Half of what is drawn has to be drawn again, or the low half of such a
 * bound would be twice as likely. */
Test(rng, a_bound_that_does_not_divide_is_even)
{
    uint64_t bound = UINT64_C(3) << 62;
    int low = 0;
    struct rng rng;
    rng_init(&rng, 6);
    for (int i = 0; i < 9000; i++) {
        uint64_t x = rng_below(&rng, bound);
        cr_assert_lt(x, bound);
        low += x < (UINT64_C(1) << 62);
    }
    cr_expect(low > 2700 && low < 3300, "%d of 9000 in the lowest third", low);
}
