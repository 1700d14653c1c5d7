/* SPDX-License-Identifier: Apache-2.0 */

/* fuzz/fuzz_in.h - an input as a row of choices.
 *
 * A target that needs more than bytes (requests, messages, times) draws them
 * from its input one after the other. After the end all choices are zero, so
 * every input means something and a shorter one means less. */

#ifndef TESTS_FUZZ_IN_H
#define TESTS_FUZZ_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct fuzz_in {
    struct span rest;
};

static inline bool fuzz_is_over(const struct fuzz_in *in)
{
    return in->rest.len == 0;
}

static inline uint8_t fuzz_byte(struct fuzz_in *in)
{
    if (in->rest.len == 0)
        return 0;
    uint8_t byte = in->rest.data[0];
    in->rest = span_tail(in->rest, 1);
    return byte;
}

/* len bytes, the first the highest. */
static inline uint64_t fuzz_bytes(struct fuzz_in *in, size_t len)
{
    uint64_t n = 0;
    while (len-- > 0)
        n = n << 8 | fuzz_byte(in);
    return n;
}

/* [0, bound), bound at most 65536; 0 if bound is 0. */
static inline size_t fuzz_below(struct fuzz_in *in, size_t bound)
{
    if (bound <= 1)
        return 0;
    return (size_t)(fuzz_bytes(in, bound > 256 ? 2 : 1) % bound);
}

/* Numbers as they hurt: small ones, near what is given, near an end. */
static inline uint64_t fuzz_number(struct fuzz_in *in, uint64_t near)
{
    uint8_t how = fuzz_byte(in);
    if (how < 96)
        return near + (uint64_t)how - 8;
    if (how < 192)
        return (uint64_t)(how - 96);
    switch (how & 7) {
    case 0:
        return UINT64_MAX - fuzz_byte(in);
    case 1:
        return UINT64_C(1) << (fuzz_byte(in) & 63);
    case 2:
        return fuzz_bytes(in, 2);
    case 3:
        return fuzz_bytes(in, 4);
    default:
        return fuzz_bytes(in, 8);
    }
}

/* Up to max bytes, with their number before them. */
static inline struct span fuzz_span(struct fuzz_in *in, size_t max)
{
    size_t len = fuzz_byte(in);
    if (len >= 0xf0)
        len = (len & 15) << 8 | fuzz_byte(in);
    if (len > max)
        len = max;
    if (len > in->rest.len)
        len = in->rest.len;
    struct span s = span_of(in->rest.data, len);
    in->rest = span_tail(in->rest, len);
    return s;
}

#endif
