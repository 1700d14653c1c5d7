/* SPDX-License-Identifier: Apache-2.0 */

/* Algorithm L: of the keys after the first keys_max, the gaps between those
 * that are taken are drawn from their distribution, geometric with a parameter
 * that falls; each one taken replaces a member chosen evenly. */

#include "training/sample.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"

enum {
    SAMPLE_SPOILED_PART = 5 /* of what was seen, one in so many removed */
};

struct sample {
    struct span *keys; /* each one's bytes are owned */
    size_t cap;
    size_t count;
    uint64_t seen;
    uint64_t removed;
    uint64_t skip; /* keys to pass over, once full */
    double log_w;  /* of the largest of cap uniform numbers, so to speak */
    struct rng rng;
};

int sample_new(size_t keys_max, uint64_t seed, struct sample **out)
{
    assert(keys_max > 0);
    *out = NULL;
    struct sample *sample = mem_zero(1, sizeof *sample);
    struct span *keys = mem_array(keys_max, sizeof *keys);
    if (!sample || !keys) {
        free(sample);
        free(keys);
        return DLHT_ENOMEM;
    }
    sample->keys = keys;
    sample->cap = keys_max;
    sample_reset(sample, seed);
    *out = sample;
    return DLHT_OK;
}

static void sample_drop(struct span key)
{
    free((void *)(uintptr_t)key.data);
}

void sample_reset(struct sample *sample, uint64_t seed)
{
    for (size_t i = 0; i < sample->count; i++)
        sample_drop(sample->keys[i]);
    sample->count = 0;
    sample->seen = 0;
    sample->removed = 0;
    sample->skip = 0;
    sample->log_w = 0;
    rng_init(&sample->rng, seed);
}

void sample_free(struct sample *sample)
{
    if (!sample)
        return;
    sample_reset(sample, 0);
    free(sample->keys);
    free(sample);
}

/* Logarithm of a number drawn from (0, 1]. */
static double sample_log(struct sample *sample)
{
    return log(1 - rng_real(&sample->rng));
}

/* The next gap. */
static void sample_draw(struct sample *sample)
{
    sample->log_w += sample_log(sample) / (double)sample->cap;
    double w = exp(sample->log_w);
    double gap = w < 1 ? floor(sample_log(sample) / log1p(-w)) : 0;
    /* What is no number or too far is never reached. */
    sample->skip = gap < 0x1p62 ? (uint64_t)gap : (uint64_t)1 << 62;
}

static int sample_copy(struct span key, struct span *out)
{
    uint8_t *bytes = malloc(key.len > 0 ? key.len : 1);
    if (!bytes)
        return DLHT_ENOMEM;
    if (key.len)
        memcpy(bytes, key.data, key.len);
    *out = span_of(bytes, key.len);
    return DLHT_OK;
}

static int sample_fill(struct sample *sample, struct span key)
{
    int rc = sample_copy(key, &sample->keys[sample->count]);
    if (rc != DLHT_OK)
        return rc;
    sample->count++;
    if (sample->count == sample->cap)
        sample_draw(sample);
    return DLHT_OK;
}

int sample_add(struct sample *sample, struct span key)
{
    sample->seen++;
    if (sample->count < sample->cap)
        return sample_fill(sample, key);
    if (sample->skip > 0) {
        sample->skip--;
        return DLHT_OK;
    }
    sample_draw(sample);
    struct span copy;
    int rc = sample_copy(key, &copy);
    if (rc != DLHT_OK)
        return rc;
    size_t i = (size_t)rng_below(&sample->rng, sample->cap);
    sample_drop(sample->keys[i]);
    sample->keys[i] = copy;
    return DLHT_OK;
}

void sample_note_removed(struct sample *sample)
{
    sample->removed++;
}

uint64_t sample_seen(const struct sample *sample)
{
    return sample->seen;
}

size_t sample_count(const struct sample *sample)
{
    return sample->count;
}

bool sample_is_spoiled(const struct sample *sample)
{
    return sample->removed > sample->seen / SAMPLE_SPOILED_PART;
}

static int sample_by_key(const void *a, const void *b)
{
    const struct span *left = a;
    const struct span *right = b;
    return span_compare(*left, *right);
}

/* Members may stand in any order: the one to replace is drawn evenly. */
const struct span *sample_sorted(struct sample *sample, size_t *count)
{
    *count = sample->count;
    if (sample->count == 0)
        return NULL;
    qsort(sample->keys, sample->count, sizeof *sample->keys, sample_by_key);
    return sample->keys;
}
