/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench lead: what if the model decided who owns a key?
 *
 * In LEAD's way arcs stand at fixed random positions and the model's position
 * of a key says which has it. Two models of the same keys, each from a reservoir
 * of its own, then disagree, and the keys between must move; until they have, a
 * request by the new model misses. Beside it ownership by intervals of keys, cut
 * once by the first model: a key is found through the map with either model's
 * guess, and stays. */

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "bench.h"
#include "chord/map.h"
#include "dlht/err.h"
#include "table.h"
#include "training/sample.h"

enum {
    EVERY = 16 /* keys from one that is looked up in the map to the next */
};

static struct model *from_reservoir(const struct key_set *set, size_t size,
                                    uint64_t seed)
{
    struct sample *sample;
    if (sample_new(size, seed, &sample) != DLHT_OK)
        bench_die("no memory");
    for (size_t i = 0; i < set->count; i++)
        if (sample_add(sample, set->keys[i]) != DLHT_OK)
            bench_die("no memory");
    size_t count;
    const struct span *keys = sample_sorted(sample, &count);
    struct fit_config config = fit_config_default();
    struct model *model;
    if (!keys || fit_keys(keys, count, &config, &model) != DLHT_OK)
        bench_die("no model");
    sample_free(sample);
    return model;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t *random_positions(size_t count, uint64_t seed)
{
    uint64_t *positions = bench_memory(count, sizeof *positions);
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < count; i++)
        positions[i] = rng_next(&rng);
    qsort(positions, count, sizeof *positions, by_value);
    return positions;
}

struct result {
    double moved; /* share of keys */
    double missed;
    double max_mean; /* keys of the fullest arc by those of the mean */
};

static double max_mean(const size_t *keys_of, size_t arcs, size_t count)
{
    size_t most = 0;
    for (size_t i = 0; i < arcs; i++)
        most = keys_of[i] > most ? keys_of[i] : most;
    return (double)most * (double)arcs / (double)count;
}

/* Keys and their positions rise together, so each owner is a step on. */
static struct result by_position(const struct key_set *set, size_t arcs,
                                 const struct model *const models[2],
                                 uint64_t seed)
{
    uint64_t *positions = random_positions(arcs, seed);
    size_t *keys_of = bench_memory(arcs, sizeof *keys_of);
    size_t owner[2] = { 0, 0 };
    size_t moved = 0;
    for (size_t i = 0; i < set->count; i++) {
        for (int m = 0; m < 2; m++) {
            uint64_t p = model_position(models[m], set->keys[i]);
            while (owner[m] < arcs && positions[owner[m]] < p)
                owner[m]++;
        }
        /* Past the last stands the first. */
        moved += owner[0] % arcs != owner[1] % arcs;
        keys_of[owner[1] % arcs]++;
    }
    struct result out = { .moved = (double)moved / (double)set->count };
    out.missed = out.moved;
    out.max_mean = max_mean(keys_of, arcs, set->count);
    free(keys_of);
    free(positions);
    return out;
}

/* Arcs from one of the model's quantiles to the next. */
static struct map *cut(size_t arcs, const struct model *model)
{
    struct map *map = map_new(arcs);
    struct buf lo = { 0 }, hi = { 0 };
    bool news;
    for (size_t i = 0; map && i < arcs; i++) {
        struct arc arc = { .id = i + 1, .generation = 1 };
        arc.has_hi = i + 1 < arcs;
        buf_reset(&hi);
        double share = (double)(i + 1) / (double)arcs;
        if (arc.has_hi &&
            model_key_at(model, (uint64_t)(share * 0x1.0p64), &hi) != DLHT_OK)
            bench_die("no memory");
        arc.lo = buf_span(&lo);
        arc.hi = buf_span(&hi);
        /* A model may jump over a quantile: then there is no such arc. */
        if (arc.has_hi && span_compare(arc.lo, arc.hi) >= 0)
            continue;
        if (map_notice(map, &arc, &news) != DLHT_OK)
            bench_die("no memory");
        buf_reset(&lo);
        buf_append_span(&lo, arc.hi);
    }
    if (!map || lo.failed || !map_is_whole(map))
        bench_die("no map");
    buf_deinit(&lo);
    buf_deinit(&hi);
    return map;
}

static arc_id found(const struct map *map, const struct model *model,
                    struct span key)
{
    double share = (double)model_position(model, key) / 0x1.0p64;
    size_t guess = (size_t)(share * (double)map_count(map));
    return map_find(map, key, guess)->id;
}

static struct result by_interval(const struct key_set *set, size_t arcs,
                                 const struct model *const models[2])
{
    struct map *map = cut(arcs, models[0]);
    size_t *keys_of = bench_memory(arcs, sizeof *keys_of);
    size_t moved = 0, missed = 0, asked = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct arc *holder = map_find(map, set->keys[i], SIZE_MAX);
        keys_of[holder->id - 1]++;
        if (i % EVERY)
            continue;
        arc_id before = found(map, models[0], set->keys[i]);
        arc_id after = found(map, models[1], set->keys[i]);
        asked++;
        moved += before != after;
        missed += after != holder->id;
    }
    struct result out = { .moved = (double)moved / (double)asked,
                          .missed = (double)missed / (double)asked };
    out.max_mean = max_mean(keys_of, arcs, set->count);
    free(keys_of);
    map_free(map);
    return out;
}

struct shares {
    struct result lead, ours;
};

static void measure(const struct bench_options *options,
                    const struct key_set *set, size_t reservoir,
                    const size_t *arcs, struct shares *out, size_t count)
{
    double pairs = (double)bench_size(options, options->rounds, 8, 2);
    for (size_t p = 0; p < (size_t)pairs; p++) {
        uint64_t seed = options->seed + 1000 * p;
        struct model *two[2] = { from_reservoir(set, reservoir, seed + 1),
                                 from_reservoir(set, reservoir, seed + 2) };
        const struct model *const models[2] = { two[0], two[1] };
        for (size_t a = 0; a < count; a++) {
            struct result lead = by_position(set, arcs[a], models, seed);
            struct result ours = by_interval(set, arcs[a], models);
            out[a].lead.moved += lead.moved / pairs;
            out[a].lead.missed += lead.missed / pairs;
            out[a].lead.max_mean += lead.max_mean / pairs;
            out[a].ours.moved += ours.moved / pairs;
            out[a].ours.missed += ours.missed / pairs;
            out[a].ours.max_mean += ours.max_mean / pairs;
        }
        model_free(two[0]);
        model_free(two[1]);
    }
}

static void tell(struct table *table, size_t reservoir, size_t arcs,
                 const struct shares *s)
{
    table_number(table, "reservoir", (double)reservoir, 0);
    table_number(table, "arcs", (double)arcs, 0);
    table_number(table, "lead_moved_percent", 100 * s->lead.moved, 1);
    table_number(table, "lead_missed_percent", 100 * s->lead.missed, 1);
    table_number(table, "lead_max_mean", s->lead.max_mean, 2);
    table_number(table, "ours_moved_percent", 100 * s->ours.moved, 1);
    table_number(table, "ours_missed_percent", 100 * s->ours.missed, 1);
    table_number(table, "ours_max_mean", s->ours.max_mean, 2);
    table_end_row(table);
}

void bench_lead(const struct bench_options *options)
{
    enum {
        SIZES = 3
    };
    static const size_t reservoirs[] = { 1000, 10000, 100000 };
    static const size_t arcs[SIZES] = { 64, 256, 1024 };
    size_t keys = bench_size(options, options->keys, 1000000, 50000);
    enum key_shape shape = options->has_shape ? options->shape : KEYS_CLUSTERED;
    struct key_set set = key_set_make(shape, keys, options->seed);
    struct table *table = table_begin(
        options, "lead", "A new model of unchanged keys, by who owns a key");
    double moved = 0, missed = 0;
    for (size_t r = 0; r < 3; r++) {
        struct shares shares[SIZES] = { 0 };
        if (reservoirs[r] * 2 > set.count)
            continue;
        measure(options, &set, reservoirs[r], arcs, shares, SIZES);
        for (size_t a = 0; a < SIZES; a++) {
            tell(table, reservoirs[r], arcs[a], &shares[a]);
            moved += shares[a].ours.moved;
            missed += shares[a].ours.missed;
        }
    }
    table_end(table, "lead: random positions, model decides; ours: intervals "
                     "cut at the first model's quantiles.");
    bench_promise(options, "keys that move by a new model, ours", moved, 0);
    bench_promise(options, "requests that miss in the switch, ours", missed, 0);
    key_set_free(&set);
}
