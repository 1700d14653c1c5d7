/* SPDX-License-Identifier: Apache-2.0 */

/* A sample of keys, and the keys that cut it into equal parts, which a model
 * trained from it knows. */

#include "quantiles.h"

#include <stdlib.h>
#include <string.h>

#include "dlht/rmi.h"

static int compare(const void *a, const void *b)
{
    const struct dlht_bytes *x = a;
    const struct dlht_bytes *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n ? memcmp(x->data, y->data, n) : 0;

    return order ? order : (x->len > y->len) - (x->len < y->len);
}

bool quantiles_init(struct quantiles *sample)
{
    memset(sample, 0, sizeof(*sample));
    sample->keys = calloc(QUANTILES_SAMPLE, sizeof(*sample->keys));
    sample->random = 0x9E3779B97F4A7C15u; /* any: the same input, same cuts */
    sample->in_order = true;
    return sample->keys != NULL;
}

void quantiles_deinit(struct quantiles *sample)
{
    for (size_t i = 0; i < sample->count; i++)
        free((void *)(uintptr_t)sample->keys[i].data);
    free(sample->keys);
    memset(sample, 0, sizeof(*sample));
}

/* SplitMix64 of Steele, Lea and Flood (2014). */
static uint64_t next_random(struct quantiles *sample)
{
    uint64_t z = sample->random += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void watch_order(struct quantiles *sample, struct dlht_bytes key)
{
    struct dlht_bytes last = { sample->last, sample->last_len };

    if (!sample->in_order)
        return;
    sample->in_order = compare(&last, &key) <= 0;
    memcpy(sample->last, key.data, key.len);
    sample->last_len = key.len;
}

bool quantiles_add(struct quantiles *sample, struct dlht_bytes key)
{
    size_t at = sample->count;
    char *copy;

    if (key.len > QUANTILES_KEY_MAX)
        key.len = QUANTILES_KEY_MAX;
    watch_order(sample, key);
    sample->seen++;
    if (at == QUANTILES_SAMPLE)
        at = (size_t)(next_random(sample) % sample->seen);
    if (at >= QUANTILES_SAMPLE)
        return true;
    copy = malloc(key.len + 1);
    if (!copy)
        return false;
    memcpy(copy, key.data, key.len);
    if (at < sample->count)
        free((void *)(uintptr_t)sample->keys[at].data);
    else
        sample->count++;
    sample->keys[at] = (struct dlht_bytes){ copy, key.len };
    return true;
}

/* The shortest key that is after `before` and not after `key`, which sorts
 * after it: the beginning of key up to the first byte that differs. */
static struct dlht_bytes shortest_between(struct dlht_bytes before,
                                          struct dlht_bytes key)
{
    const uint8_t *a = before.data;
    const uint8_t *b = key.data;
    size_t i = 0;

    while (i < before.len && i < key.len && a[i] == b[i])
        i++;
    return (struct dlht_bytes){ key.data, i + 1 };
}

/* The least index of a key not before `key`; count if there is none. */
static size_t seek(const struct quantiles *sample, struct dlht_bytes key)
{
    size_t low = 0;
    size_t high = sample->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare(&sample->keys[mid], &key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The first key of part i of parts: where the model has i/parts of all keys
 * before it. */
static size_t part_begin(const struct quantiles *sample,
                         const struct dlht_model *model, size_t i, size_t parts)
{
    uint64_t position = UINT64_MAX / parts * i;
    struct dlht_bytes key = sample->keys[i * sample->count / parts];
    void *own = NULL;
    size_t at;

    if (model && dlht_model_key_at(model, position, &own, &key.len) == DLHT_OK)
        key.data = own;
    at = seek(sample, key);
    free(own);
    return at;
}

/* A model of the sorted sample; NULL without memory, or if it would be a
 * quarter of a part off: keys that are alike for more bytes than a model
 * keeps. Then the sample itself is asked. */
static struct dlht_model *model_for(const struct quantiles *sample,
                                    size_t parts)
{
    struct dlht_model *model = NULL;
    struct dlht_model_stats stats;

    if (dlht_model_train(sample->keys, sample->count, NULL, &model) != DLHT_OK)
        return NULL;
    if (dlht_model_stats(model, sample->keys, sample->count, &stats) ==
            DLHT_OK &&
        stats.ks * (double)parts <= 0.25)
        return model;
    dlht_model_free(model);
    return NULL;
}

size_t quantiles_cut(struct quantiles *sample, size_t parts,
                     struct dlht_bytes *cuts)
{
    uint64_t most = sample->seen / QUANTILES_RECORDS_MIN;
    struct dlht_model *model;
    size_t last = 0;
    size_t count = 0;

    if (parts > most)
        parts = (size_t)most;
    if (parts < 2)
        return 0;
    qsort(sample->keys, sample->count, sizeof(*sample->keys), compare);
    model = model_for(sample, parts);
    for (size_t i = 1; i < parts; i++) {
        size_t at = part_begin(sample, model, i, parts);
        if (at <= last || at >= sample->count)
            continue; /* many records of one key, or a part of none */
        cuts[count++] =
            shortest_between(sample->keys[at - 1], sample->keys[at]);
        last = at;
    }
    dlht_model_free(model);
    return count;
}
