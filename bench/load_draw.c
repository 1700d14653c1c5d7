/* SPDX-License-Identifier: Apache-2.0 */

/* Which key comes next, and what is done with it. */

#include <math.h>
#include <stdlib.h>

#include "bench.h"
#include "load.h"

enum {
    DRAWN = 1 << 22, /* of zipf; they come again after so many */
    DIGITS = 10      /* LOAD_KEYS_MAX */
};

/* Gray et al., "Quickly generating billion-record synthetic databases", with
 * the constant of YCSB; ranks are spread over the keys by a multiplication,
 * so that hot ones are no neighbours. */
static void draw_zipf(struct load_draw *draw)
{
    double n = draw->keys, theta = 0.99, zeta = 0;
    double half = pow(0.5, theta);

    for (uint32_t i = 1; i <= draw->keys; i++)
        zeta += 1 / pow(i, theta);
    double alpha = 1 / (1 - theta);
    double eta = (1 - pow(2 / n, 1 - theta)) / (1 - (1 + half) / zeta);
    draw->drawn = bench_memory(DRAWN, sizeof *draw->drawn);
    for (size_t i = 0; i < DRAWN; i++) {
        double u = rng_real(&draw->rng), uz = u * zeta;
        double rank = uz < 1          ? 0
                      : uz < 1 + half ? 1
                                      : n * pow(eta * u - eta + 1, alpha);
        uint64_t at = (uint64_t)rank < draw->keys ? (uint64_t)rank : 0;
        draw->drawn[i] = (uint32_t)(at * 0x9E3779B97F4A7C15u % draw->keys);
    }
}

void load_draw_init(struct load_draw *draw, const struct load_options *options)
{
    *draw = (struct load_draw){ .distribution = options->distribution,
                                .keys = options->keys,
                                .gets = options->gets,
                                .all = options->gets + options->sets };
    rng_init(&draw->rng, options->seed);
    if (draw->distribution == LOAD_ZIPF)
        draw_zipf(draw);
}

void load_draw_deinit(struct load_draw *draw)
{
    free(draw->drawn);
}

uint32_t load_draw_key(struct load_draw *draw)
{
    switch (draw->distribution) {
    case LOAD_ZIPF:
        return draw->drawn[draw->drawn_at++ % DRAWN];
    case LOAD_SEQUENTIAL:
        draw->next = draw->next + 1 < draw->keys ? draw->next + 1 : 0;
        return draw->next;
    case LOAD_UNIFORM:
        break;
    }
    /* A product instead of a remainder: even enough, and quick. */
    return (uint32_t)((rng_next(&draw->rng) >> 32) * draw->keys >> 32);
}

enum load_kind load_draw_kind(struct load_draw *draw)
{
    if (draw->gets == draw->all)
        return LOAD_GET;
    if (draw->gets == 0)
        return LOAD_SET;
    uint64_t at = (rng_next(&draw->rng) >> 32) * draw->all >> 32;
    return at < draw->gets ? LOAD_GET : LOAD_SET;
}

void load_key_form(uint8_t *key, size_t size)
{
    static const char name[] = "key:";
    for (size_t i = 0; i < size; i++)
        key[i] = (uint8_t)(i < sizeof name - 1 ? name[i] : '0');
}

void load_key_write(uint8_t *key, size_t size, uint32_t number)
{
    static const char pairs[] = "00010203040506070809"
                                "10111213141516171819"
                                "20212223242526272829"
                                "30313233343536373839"
                                "40414243444546474849"
                                "50515253545556575859"
                                "60616263646566676869"
                                "70717273747576777879"
                                "80818283848586878889"
                                "90919293949596979899";
    uint8_t *at = key + size;
    for (int i = 0; i < DIGITS / 2; i++) {
        at -= 2;
        memcpy(at, pairs + (size_t)(number % 100) * 2, 2);
        number /= 100;
    }
}
