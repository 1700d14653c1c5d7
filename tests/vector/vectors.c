/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors from a seed. */

#include "vector/vectors.h"

#include <math.h>
#include <stdlib.h>

enum {
    CLUSTERS = 40,
    FACTORS_MAX = 16
};

/* Nearly normal. */
static float normal(struct rng *rng)
{
    float sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (float)rng_real(rng);
    return sum;
}

float *vectors_new(uint64_t seed, size_t count, size_t dim)
{
    struct rng fixed; /* the same map and centres for every seed */
    struct rng rng;
    rng_init(&fixed, 4711);
    rng_init(&rng, seed);
    size_t factors = dim / 8 < FACTORS_MAX ? dim / 8 + 1 : FACTORS_MAX;
    float *map = malloc((factors + CLUSTERS) * dim * sizeof *map);
    float *centres = map + factors * dim;
    for (size_t i = 0; i < (factors + CLUSTERS) * dim; i++)
        map[i] = normal(&fixed);
    float *out = malloc((count ? count : 1) * dim * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        const float *centre = centres + rng_below(&rng, CLUSTERS) * dim;
        float *v = out + i * dim;
        for (size_t j = 0; j < dim; j++)
            v[j] = 0.5f * centre[j] + 0.2f * normal(&rng) + 0.7f;
        for (size_t f = 0; f < factors; f++) {
            float z = 0.3f * normal(&rng);
            for (size_t j = 0; j < dim; j++)
                v[j] += z * map[f * dim + j];
        }
    }
    free(map);
    return out;
}

double vectors_distance(enum metric metric, const float *a, const float *b,
                        size_t dim)
{
    double l2 = 0, ip = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dim; i++) {
        double x = (double)a[i];
        double y = (double)b[i];
        l2 += (x - y) * (x - y);
        ip += x * y;
        aa += x * x;
        bb += y * y;
    }
    if (metric == METRIC_L2)
        return l2;
    return metric == METRIC_IP ? -ip : 1 - ip / sqrt(aa * bb);
}
