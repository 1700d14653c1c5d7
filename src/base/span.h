/* SPDX-License-Identifier: Apache-2.0 */

/* base/span.h - borrowed bytes.
 *
 * A span points at bytes that somebody else owns; who, and until when, is said
 * where the span is handed over. Keys are spans compared as unsigned bytes, a
 * prefix before what it begins. data may be NULL when len is 0. */

#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data;
    size_t len;
};

static inline struct span span_of(const void *data, size_t len)
{
    struct span s = { (const uint8_t *)data, len };
    return s;
}

static inline struct span span_empty(void)
{
    struct span s = { NULL, 0 };
    return s;
}

/* The characters of a C string without its end. */
static inline struct span span_str(const char *text)
{
    return span_of(text, strlen(text));
}

/* Less than, equal to or greater than zero, as a sorts to b. */
static inline int span_compare(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Whether n bytes are the same; without a call for those of usual keys. */
static inline bool span_same(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (n >= 8 && n <= 16) {
        uint64_t x[2], y[2]; /* the first eight and the last */
        memcpy(&x[0], a, 8);
        memcpy(&x[1], a + n - 8, 8);
        memcpy(&y[0], b, 8);
        memcpy(&y[1], b + n - 8, 8);
        return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
    }
    return n == 0 || memcmp(a, b, n) == 0;
}

static inline bool span_has_prefix(struct span s, struct span prefix)
{
    return s.len >= prefix.len &&
           (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

/* Bytes 0..8 as a big-endian number, zeros after the end: for spans a and b,
 * a <= b implies span_prefix8(a) <= span_prefix8(b). */
uint64_t span_prefix8(struct span s);

/* Bytes from skip on; empty if skip is past the end. */
struct span span_tail(struct span s, size_t skip);

#endif
