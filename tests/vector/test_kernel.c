/* SPDX-License-Identifier: Apache-2.0 */

/* Every kernel that this processor can run says what the scalar one says, at
 * odd lengths and alignments; and vectors without a distance are refused. */

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "vector/half.h"
#include "vector/kernel.h"
#include "vector/metric.h"

enum {
    SEED = 20261122,
    ROWS = 11,
    DIM_MAX = 300,
    STRIDE = DIM_MAX * 4 + 7
};

static const char *const type_names[] = { "f32", "f16", "i8" };
static const char *const measure_names[] = { "l2", "ip" };

static void fill(struct rng *rng, enum kernel_type type, uint8_t *at,
                 size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = (float)(rng_real(rng) * 4 - 2);
        uint16_t half = half_from_float(value);
        int8_t code = (int8_t)(rng_range(rng, 0, 254) - 127);
        if (rng_chance(rng, 0.1))
            code = rng_chance(rng, 0.5) ? 127 : -127;
        if (type == KERNEL_F32)
            memcpy(at + i * 4, &value, 4);
        else if (type == KERNEL_F16)
            memcpy(at + i * 2, &half, 2);
        else
            at[i] = (uint8_t)code;
    }
}

struct data {
    uint8_t query[DIM_MAX * 4 + 64];
    uint8_t rows[ROWS * STRIDE + 64];
};

static void compare(const struct kernel *kernel, enum kernel_type type,
                    enum kernel_measure measure, size_t dim, size_t skew)
{
    struct data *d = calloc(1, sizeof *d);
    struct rng rng;
    rng_init(&rng, SEED + dim * 64 + skew);
    size_t bytes = kernel_type_bytes(type);
    size_t shift = skew * bytes; /* C wants elements aligned, not vectors */
    size_t stride = STRIDE / 4 * 4;
    uint8_t *query = d->query + shift;
    uint8_t *rows = d->rows + (64 - shift) % 64;
    fill(&rng, type, query, dim);
    uint32_t ids[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = (uint32_t)((i * 7 + 3) % ROWS);
        fill(&rng, type, rows + i * stride, dim);
    }
    struct kernel_rows set = { rows, stride, dim };
    const struct kernel *scalar = kernel_choose("scalar");
    for (size_t count = 0; count <= ROWS; count += 1 + count / 5) {
        float got[ROWS + 1];
        got[count] = 12345;
        bool by_id = count % 2;
        kernel->many[type][measure](query, &set, by_id ? ids : NULL, count,
                                    got);
        cr_assert_eq(got[count], 12345, "wrote too much");
        for (size_t i = 0; i < count; i++) {
            const uint8_t *row = rows + (by_id ? ids[i] : i) * stride;
            float want = scalar->one[type][measure](query, row, dim);
            float one = kernel->one[type][measure](query, row, dim);
            float bound = type == KERNEL_I8 ? 0 : (float)dim * 4e-6f;
            if (fabsf(got[i] - want) > bound || fabsf(one - want) > bound)
                cr_assert_fail(
                    "%s %s %s dim %zu skew %zu: %.9g, one %.9g, not %.9g",
                    kernel->name, type_names[type], measure_names[measure], dim,
                    skew, (double)got[i], (double)one, (double)want);
        }
    }
    free(d);
}

Test(kernel, says_what_the_scalar_one_says)
{
    const struct kernel *kernel;
    for (size_t i = 0; (kernel = kernel_at(i)); i++)
        for (int type = 0; type < KERNEL_TYPES; type++)
            for (int m = 0; m < KERNEL_MEASURES; m++)
                for (size_t dim = 1; dim <= DIM_MAX; dim += dim < 70 ? 1 : 47)
                    for (size_t skew = 0; skew < 2; skew++)
                        compare(kernel, (enum kernel_type)type,
                                (enum kernel_measure)m, dim, skew * 13);
}

/* The greatest sums still fit. */
Test(kernel, holds_the_longest_codes)
{
    int8_t *a = malloc(KERNEL_DIM_MAX);
    int8_t *b = malloc(KERNEL_DIM_MAX);
    memset(a, 127, KERNEL_DIM_MAX);
    memset(b, -127, KERNEL_DIM_MAX);
    const struct kernel *k;
    for (size_t i = 0; (k = kernel_at(i)); i++) {
        float far = k->one[KERNEL_I8][KERNEL_L2](a, b, KERNEL_DIM_MAX);
        float ip = k->one[KERNEL_I8][KERNEL_IP](a, b, KERNEL_DIM_MAX);
        cr_assert_eq(far, 254.0f * 254 * KERNEL_DIM_MAX, "%s", k->name);
        cr_assert_eq(ip, -127.0f * 127 * KERNEL_DIM_MAX, "%s", k->name);
    }
    free(a);
    free(b);
}

Test(kernel, is_chosen_by_name)
{
    const struct kernel *k;
    size_t count = 0;
    for (; (k = kernel_at(count)); count++)
        cr_assert_eq(kernel_choose(k->name), k);
    cr_assert_eq(kernel_choose(NULL), kernel_at(count - 1));
    cr_assert_eq(kernel_choose(""), kernel_at(count - 1));
    cr_assert_null(kernel_choose("abacus"));
}

/* Each half becomes a float and the same half again; between two halves the
 * nearer is chosen, of two as near the even one. */
Test(half, goes_there_and_back)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float a = half_to_float((uint16_t)h);
        float b = half_to_float((uint16_t)(h + 1));
        float middle = (a + b) / 2;
        bool right = b > a && half_from_float(a) == h &&
                     half_from_float(-a) == (h | 0x8000) &&
                     half_from_float(middle) == h + h % 2 &&
                     half_from_float(nextafterf(middle, b)) == h + 1 &&
                     half_from_float(nextafterf(middle, a)) == h;
        if (!right)
            cr_assert_fail("%x", h);
    }
    cr_assert_eq(half_from_float(1e30f), 0x7bff);
    cr_assert_eq(half_from_float(-65519), 0xfbff);
    cr_assert(isinf(half_to_float(0x7c00)));
}

Test(metric, refuses_what_has_no_distance)
{
    const struct {
        float at3;
        float all;
        enum metric metric;
        const char *why; /* NULL: accepted */
    } table[] = {
        { 1, 1, METRIC_L2, NULL },
        { 0, 0, METRIC_L2, NULL },
        { 0, 0, METRIC_IP, NULL },
        { 0, 0, METRIC_COSINE, "is zero and has no direction" },
        { 1e-40f, 0, METRIC_COSINE, NULL },
        { 1e30f, 0, METRIC_COSINE, "is too long for float32" },
        { NAN, 1, METRIC_L2, "holds NaN at position" },
        { NAN, 1, METRIC_COSINE, "holds NaN at position" },
        { INFINITY, 1, METRIC_IP, "holds infinity at position" },
        { -INFINITY, 1, METRIC_L2, "holds infinity at position" },
        { 1, 9e18f, METRIC_L2, "is too long for float32" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        float v[7];
        for (size_t j = 0; j < 7; j++)
            v[j] = j == 3 ? table[i].at3 : table[i].all;
        struct metric_fault fault = { NULL, false, 0 };
        int rc = metric_check(table[i].metric, v, 7, &fault);
        cr_assert_eq(rc, table[i].why ? DLHT_EINVAL : DLHT_OK, "case %zu", i);
        cr_assert_eq(metric_check(table[i].metric, v, 7, NULL), rc);
        if (!table[i].why)
            continue;
        cr_assert_str_eq(fault.what, table[i].why, "case %zu", i);
        cr_assert_eq(fault.has_at, strstr(fault.what, "position") != NULL);
        cr_assert(!fault.has_at || fault.at == 3);
    }
}

Test(metric, makes_length_one)
{
    float v[] = { 3, 0, -4, 1e-30f };
    float out[4];
    cr_assert_float_eq(metric_normalise(v, 4, out), 5, 1e-6);
    cr_assert_float_eq(out[0], 0.6, 1e-7);
    cr_assert_float_eq(out[2], -0.8, 1e-7);
    float tiny[] = { 1e-40f, 0 };
    metric_normalise(tiny, 2, tiny);
    cr_assert_float_eq(tiny[0], 1, 1e-7);
    for (int m = 0; m < METRICS; m++) {
        enum metric found = METRIC_L2;
        cr_assert(metric_from_name(metric_name((enum metric)m), &found));
        cr_assert_eq((int)found, m);
    }
    enum metric none = METRIC_IP;
    cr_assert(!metric_from_name("L2", &none));
    cr_assert_eq(none, METRIC_IP);
}
