/* SPDX-License-Identifier: Apache-2.0 */

#include "base/span.h"

#include <criterion/criterion.h>

static const struct {
    const char *a, *b;
    size_t a_len, b_len;
    int order;
    const char *why;
} orders[] = {
    { "", "", 0, 0, 0, "empty equals empty" },
    { "", "a", 0, 1, -1, "empty is before all" },
    { "a", "ab", 1, 2, -1, "a prefix is before what it begins" },
    { "a\0", "a", 2, 1, 1, "an embedded zero counts" },
    { "\xff", "a", 1, 1, 1, "bytes are unsigned" },
    { "abc", "abc", 3, 3, 0, "equal bytes" },
};

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

Test(span, compares_as_unsigned_bytes)
{
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        struct span a = span_of(orders[i].a, orders[i].a_len);
        struct span b = span_of(orders[i].b, orders[i].b_len);
        cr_expect_eq(sign(span_compare(a, b)), orders[i].order, "%s",
                     orders[i].why);
        cr_expect_eq(sign(span_compare(b, a)), -orders[i].order, "%s",
                     orders[i].why);
        cr_expect_eq(span_equal(a, b), orders[i].order == 0);
        if (orders[i].order < 0)
            cr_expect_leq(span_prefix8(a), span_prefix8(b));
    }
}

Test(span, a_prefix_is_found)
{
    cr_expect(span_has_prefix(span_str("under"), span_str("un")));
    cr_expect(span_has_prefix(span_str("under"), span_empty()));
    cr_expect_not(span_has_prefix(span_str("u"), span_str("un")));
}

/* Each length, with a difference at each place and none. */
Test(span, the_same_bytes)
{
    uint8_t a[40], b[40];
    for (size_t n = 0; n < sizeof a; n++) {
        memset(a, 0x5a, sizeof a);
        memcpy(b, a, sizeof b);
        b[n] = 0; /* behind the end */
        cr_expect(span_same(a, b, n), "%zu", n);
        b[n] = a[n];
        for (size_t i = 0; i < n; i++) {
            b[i] ^= 1;
            cr_expect_not(span_same(a, b, n), "%zu at %zu", n, i);
            b[i] ^= 1;
        }
    }
    cr_expect(span_same(NULL, NULL, 0));
}
