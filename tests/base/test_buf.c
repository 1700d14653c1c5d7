/* SPDX-License-Identifier: Apache-2.0 */

#include "base/buf.h"

#include <criterion/criterion.h>

Test(buf, grows_and_drops)
{
    struct buf b = { 0 };
    for (int i = 0; i < 1000; i++)
        buf_append(&b, "0123456789", 10);
    cr_assert_eq(b.len, 10000);
    cr_expect_not(b.failed);
    buf_drop(&b, 9995);
    cr_expect(span_equal(buf_span(&b), span_str("56789")));
    buf_deinit(&b);
}

Test(buf, refuses_what_cannot_fit_and_keeps_its_content)
{
    struct buf b = { 0 };
    buf_append(&b, "abc", 3);
    cr_expect_neq(buf_reserve(&b, SIZE_MAX - 1), 0);
    cr_expect(span_equal(buf_span(&b), span_str("abc")));
    buf_deinit(&b);
}
