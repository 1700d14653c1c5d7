/* SPDX-License-Identifier: Apache-2.0 */

/* Borrowed bytes: what is not worth inlining. */

#include "base/span.h"

uint64_t span_prefix8(struct span s)
{
    uint8_t bytes[8] = { 0 };
    if (s.len >= 8)
        memcpy(bytes, s.data, 8);
    else if (s.len)
        memcpy(bytes, s.data, s.len);
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

struct span span_tail(struct span s, size_t skip)
{
    if (skip >= s.len)
        return span_empty();
    return span_of(s.data + skip, s.len - skip);
}
