/* SPDX-License-Identifier: Apache-2.0 */

/* Keys and reports. */

#include "training/rounds.h"

#include <string.h>

#include "dlht/err.h"

struct key_set rounds_keys(enum key_shape shape, size_t count)
{
    struct key_set set = key_set_make(shape, count, rounds_seed);
    size_t n = 0;
    for (size_t i = 0; i < set.count; i++)
        if (n == 0 || !span_equal(set.keys[n - 1], set.keys[i]))
            set.keys[n++] = set.keys[i];
    set.count = n;
    return set;
}

struct model_stats rounds_measure(const struct model *model,
                                  const struct key_set *set)
{
    struct model_stats stats;
    model_measure(model, set->keys, set->count, &stats);
    return stats;
}

struct report rounds_part(const char *lo, const char *hi)
{
    return (struct report){ .lo = span_str(lo),
                            .hi = hi ? span_str(hi) : span_empty(),
                            .has_hi = hi != NULL };
}

void rounds_fill(struct report *report, struct fit_quantile *quantiles,
                 uint8_t (*bytes)[8], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memset(bytes[i], 0, sizeof bytes[i]);
        bytes[i][0] = report->lo.len > 0 ? report->lo.data[0] : 'A';
        bytes[i][6] = (uint8_t)((i + 1) >> 8);
        bytes[i][7] = (uint8_t)(i + 1);
        quantiles[i] = (struct fit_quantile){ span_of(bytes[i], 8), 1 };
    }
    report->keys = count;
    report->quantiles = quantiles;
    report->quantile_count = count;
    report->end = span_of(bytes[count - 1], 8);
}

int rounds_small_begin(struct rounds_small *small, uint32_t leaf_count)
{
    struct fit_config config = { leaf_count, MODEL_CUBIC, MODEL_CUBIC };
    struct report reports[3] = { rounds_part("", "f"), rounds_part("f", "k"),
                                 rounds_part("k", NULL) };
    rounds_fill(&reports[0], small->quantiles[0], small->bytes[0], 500);
    rounds_fill(&reports[2], small->quantiles[1], small->bytes[1], 300);
    for (size_t i = 0; i < 800; i++)
        small->keys[i] = small->quantiles[i >= 500][i % 500].key;
    int rc = round_new(&config, NULL, &small->round);
    for (size_t i = 0; i < 3 && rc == DLHT_OK; i++)
        rc = round_add(small->round, &reports[i]);
    return rc;
}
