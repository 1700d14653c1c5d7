/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors from a seed. */

#include "vector_data.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "vector/exact.h"

enum {
    CLUSTERS = 1000,
    INTRINSIC = 16, /* dimensions of clustered vectors */
    FACTORS = 64    /* of lowrank ones */
};

const char *const vector_shape_names[VECTOR_SHAPES] = { "clustered", "gaussian",
                                                        "lowrank" };

static float normal(struct rng *rng)
{
    double u = 1 - rng_real(rng);
    double v = rng_real(rng);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static float *normals(struct rng *rng, size_t count, float scale)
{
    float *out = bench_memory(count, sizeof *out);
    for (size_t i = 0; i < count; i++)
        out[i] = scale * normal(rng);
    return out;
}

static const float spread = 0.8f; /* within a cluster; 1 is between them */
static const float noise = 0.05f;

struct maker {
    struct rng rng;
    enum vector_shape shape;
    size_t dim;
    size_t factors;
    float *maps;    /* factors x dim, one of each cluster */
    float *centres; /* CLUSTERS x dim */
};

/* The cluster of the vector made. */
static uint32_t make(struct maker *m, float *out)
{
    float z[FACTORS];
    uint32_t cluster = 0;
    if (m->shape == VECTORS_GAUSSIAN) {
        for (size_t j = 0; j < m->dim; j++)
            out[j] = normal(&m->rng);
        return 0;
    }
    if (m->shape == VECTORS_CLUSTERED) {
        cluster = (uint32_t)rng_below(&m->rng, CLUSTERS);
        for (size_t i = 0; i < INTRINSIC; i++)
            z[i] = spread * normal(&m->rng);
    } else {
        for (size_t i = 0; i < FACTORS; i++)
            z[i] = normal(&m->rng) / sqrtf(1 + (float)i);
    }
    for (size_t j = 0; j < m->dim; j++)
        out[j] = noise * normal(&m->rng) +
                 (m->centres ? m->centres[cluster * m->dim + j] : 0);
    const float *map = m->maps + cluster * m->factors * m->dim;
    for (size_t i = 0; i < m->factors; i++)
        for (size_t j = 0; j < m->dim; j++)
            out[j] += z[i] * map[i * m->dim + j];
    if (m->shape != VECTORS_LOWRANK)
        return cluster;
    double sum = 0;
    for (size_t j = 0; j < m->dim; j++)
        sum += (double)out[j] * (double)out[j];
    for (size_t j = 0; j < m->dim; j++)
        out[j] = (float)((double)out[j] / sqrt(sum));
    return cluster;
}

struct vector_data *vector_data_new(enum vector_shape shape, size_t count,
                                    size_t query_count, uint64_t seed)
{
    struct vector_data *d = bench_memory(1, sizeof *d);
    d->shape = shape;
    d->dim = shape == VECTORS_LOWRANK ? 768 : 128;
    d->count = count;
    d->query_count = query_count;
    d->vectors = bench_memory(count * d->dim, sizeof(float));
    d->queries = bench_memory(query_count * d->dim, sizeof(float));
    d->clusters = bench_memory(count, sizeof(uint32_t));
    d->truth = bench_memory(query_count * VECTOR_TRUTH, sizeof(uint32_t));
    struct maker m = { .shape = shape, .dim = d->dim };
    rng_init(&m.rng, seed + (uint64_t)shape);
    m.factors = shape == VECTORS_LOWRANK ? FACTORS : INTRINSIC;
    bool many = shape == VECTORS_CLUSTERED;
    m.maps = normals(&m.rng, (many ? CLUSTERS : 1) * m.factors * d->dim,
                     1 / sqrtf((float)m.factors));
    m.centres = many ? normals(&m.rng, CLUSTERS * d->dim, 1) : NULL;
    for (size_t i = 0; i < count; i++)
        d->clusters[i] = make(&m, d->vectors + i * d->dim);
    for (size_t i = 0; i < query_count; i++)
        make(&m, d->queries + i * d->dim);
    free(m.maps);
    free(m.centres);
    vector_data_find_truth(d, NULL);
    return d;
}

void vector_data_free(struct vector_data *d)
{
    if (!d)
        return;
    free(d->vectors);
    free(d->queries);
    free(d->clusters);
    free(d->truth);
    free(d);
}

void vector_data_find_truth(struct vector_data *d, const bool *alive)
{
    uint64_t *bits = bench_memory(d->count / 64 + 1, sizeof *bits);
    for (size_t i = 0; i < d->count; i++)
        if (!alive || alive[i])
            bits[i / 64] |= UINT64_C(1) << i % 64;
    struct admit admit = { bits, d->count, NULL, NULL };
    struct exact_set set = {
        .kernel = kernel_choose(NULL),
        .type = KERNEL_F32,
        .measure = KERNEL_L2,
        .rows = { d->vectors, d->dim * sizeof(float), d->dim },
        .row_count = (uint32_t)d->count,
    };
    struct hit *hits =
        bench_memory(d->query_count * VECTOR_TRUTH, sizeof *hits);
    size_t *counts = bench_memory(d->query_count, sizeof *counts);
    if (exact_many(&set, d->queries, d->dim, d->query_count, VECTOR_TRUTH,
                   &admit, hits, counts) != DLHT_OK)
        bench_die("no memory");
    for (size_t i = 0; i < d->query_count * VECTOR_TRUTH; i++)
        d->truth[i] = i % VECTOR_TRUTH < counts[i / VECTOR_TRUTH] ? hits[i].row
                                                                  : UINT32_MAX;
    free(counts);
    free(hits);
    free(bits);
}
