/* SPDX-License-Identifier: Apache-2.0 */

#include "fuzz/fuzz_mutate.h"

#include <string.h>

static void replace(struct buf *b, size_t at, size_t len, struct span by)
{
    struct buf next = { 0 };
    buf_append(&next, b->data, at);
    buf_append_span(&next, by);
    buf_append(&next, b->data + at + len, b->len - at - len);
    if (!next.failed && next.len <= FUZZ_INPUT_MAX) {
        struct buf old = *b;
        *b = next;
        next = old;
    }
    buf_deinit(&next);
}

static void change_number(struct rng *rng, struct buf *b, size_t at)
{
    static const uint8_t ends[] = { 0, 1, 0x7f, 0x80, 0xc0, 0xdc, 0xff };
    switch (rng_below(rng, 4)) {
    case 0:
        b->data[at] ^= (uint8_t)(1 << rng_below(rng, 8));
        break;
    case 1:
        b->data[at] = (uint8_t)(b->data[at] + rng_below(rng, 9) - 4);
        break;
    case 2:
        b->data[at] = ends[rng_below(rng, sizeof ends)];
        break;
    default:
        b->data[at] = (uint8_t)rng_next(rng);
    }
}

static void change_once(struct rng *rng, struct span other, struct buf *b)
{
    if (b->len == 0) {
        buf_append_byte(b, (uint8_t)rng_next(rng));
        return;
    }
    size_t at = (size_t)rng_below(rng, b->len);
    size_t len = (size_t)rng_below(rng, b->len - at < 32 ? b->len - at : 32);
    uint8_t noise[8];
    switch (rng_below(rng, 8)) {
    case 0:
        replace(b, at, len, span_empty());
        break;
    case 1:
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)rng_next(rng);
        replace(b, at, 0, span_of(noise, rng_range(rng, 1, sizeof noise)));
        break;
    case 2: /* again */
        replace(b, at, 0, span_of(b->data + at, len));
        break;
    case 3: /* of the other one */
        if (other.len > 0) {
            size_t from = (size_t)rng_below(rng, other.len);
            size_t most = other.len - from;
            replace(b, at, rng_chance(rng, 0.5) ? len : 0,
                    span_of(other.data + from, rng_range(rng, 1, most)));
        }
        break;
    default:
        change_number(rng, b, at);
    }
}

void fuzz_mutate(struct rng *rng, struct span other, struct buf *input)
{
    for (uint64_t n = rng_range(rng, 1, 8); n > 0; n--)
        change_once(rng, other, input);
}
