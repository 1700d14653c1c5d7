/* SPDX-License-Identifier: Apache-2.0 */

/* A sample of keys, and the keys that cut it into equal parts. */

#include "quantiles.h"

#include <stdlib.h>
#include <string.h>

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

/* The least index of a key equal to the one at i. */
static size_t first_equal(const struct quantiles *sample, size_t i)
{
    while (i > 0 && compare(&sample->keys[i - 1], &sample->keys[i]) == 0)
        i--;
    return i;
}

size_t quantiles_cut(struct quantiles *sample, size_t parts,
                     struct dlht_bytes *cuts)
{
    uint64_t most = sample->seen / QUANTILES_RECORDS_MIN;
    size_t last = 0;
    size_t count = 0;

    if (parts > most)
        parts = (size_t)most;
    if (sample->count > 1)
        qsort(sample->keys, sample->count, sizeof(*sample->keys), compare);
    for (size_t i = 1; i < parts; i++) {
        size_t at = first_equal(sample, i * sample->count / parts);
        if (at <= last)
            continue; /* many records of one key, or before all */
        cuts[count++] =
            shortest_between(sample->keys[at - 1], sample->keys[at]);
        last = at;
    }
    return count;
}
