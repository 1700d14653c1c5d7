/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench routing: hops of a lookup in finger mode, over the pointers and
 * the greedy step of src/chord.
 *
 * The ring is cut at equal depth of the keys as they are now. In each of ten
 * epochs before, 2 % of all keys went, at random, and as many came in one
 * hundredth of the key space, a hot spot that wanders. */

#include "routing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "chord/map.h"
#include "dlht/err.h"
#include "ring_world.h"
#include "table.h"

enum {
    EPOCHS = 10,
    CACHE_ARCS = 128, /* FINGERS_CACHE_MAX of node/fingers.h */
    HOPS_MAX = 4096
};
#define DRIFT 0.02
#define WARM_NS UINT64_C(3000000000)

const char *const routing_names[ROUTING_WAYS] = {
    "doubling",
    "doubling, cache of 128 arcs",
    "model's fingers, fresh",
    "model's fingers, 1 epoch old",
    "model's fingers, 10 epochs old",
    "doubling and model's, fresh",
    "doubling and model's, 10 epochs old",
    "fingers by key distance",
    "doubling, 3 s after start",
    "so, and model's fingers"
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* One epoch more. */
static void drift(uint64_t *numbers, size_t count, struct rng *rng)
{
    size_t part = count / 100;
    size_t spot = (size_t)rng_below(rng, count - part);
    uint64_t from = numbers[spot];
    uint64_t to = numbers[spot + part];
    size_t moved = (size_t)((double)count * DRIFT);
    for (size_t i = 0; i < moved; i++)
        numbers[rng_below(rng, count)] = rng_range(rng, from, to);
    qsort(numbers, count, sizeof *numbers, by_value);
}

static struct span key_of(uint64_t number, uint8_t key[8])
{
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(number >> (56 - 8 * i));
    return span_of(key, 8);
}

/* The keys as they are now; models of ten, one and no epochs ago. */
struct history {
    struct key_set now;
    struct model *fresh, *one, *ten;
};

static struct model *fit(const uint64_t *numbers, size_t count)
{
    struct model *model;
    struct fit_config config = fit_config_default();
    if (fit_u64(numbers, count, &config, &model) != DLHT_OK)
        bench_die("no model");
    return model;
}

static void history_init(struct history *h,
                         const struct routing_setting *setting)
{
    struct rng rng;
    rng_init(&rng, setting->seed);
    h->now = key_set_make(setting->shape, setting->keys, setting->seed);
    h->ten = fit(h->now.numbers, h->now.count);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        if (epoch == EPOCHS - 1)
            h->one = fit(h->now.numbers, h->now.count);
        drift(h->now.numbers, h->now.count, &rng);
    }
    h->fresh = fit(h->now.numbers, h->now.count);
    for (size_t i = 0; i < h->now.count; i++)
        key_of(h->now.numbers[i], h->now.bytes + 8 * i);
}

static void history_deinit(struct history *h)
{
    model_free(h->fresh);
    model_free(h->one);
    model_free(h->ten);
    key_set_free(&h->now);
}

/* What arcs know besides their rings: a map of each. */

static struct map **maps_new(const struct ring_world *world)
{
    struct map **maps = bench_memory(world->count, sizeof *maps);
    for (size_t i = 0; i < world->count; i++) {
        maps[i] = map_new(CACHE_ARCS * 2);
        if (!maps[i])
            bench_die("no memory");
    }
    return maps;
}

static void maps_free(struct map **maps, size_t count)
{
    for (size_t i = 0; i < count; i++)
        map_free(maps[i]);
    free(maps);
}

static void know(struct map *map, const struct ring_world *world, size_t index)
{
    bool news;
    if (map_notice(map, &world->arcs[index % world->count], &news) != DLHT_OK)
        bench_die("no memory");
}

static void know_some(struct map **maps, const struct ring_world *world,
                      uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < world->count; i++)
        while (map_count(maps[i]) < CACHE_ARCS &&
               map_count(maps[i]) < world->count / 2)
            know(maps[i], world, (size_t)rng_below(&rng, world->count));
}

static void know_successors(struct map **maps, const struct ring_world *world,
                            size_t list_len)
{
    for (size_t i = 0; i < world->count; i++)
        for (size_t s = 1; s <= list_len; s++)
            know(maps[i], world, i + s);
}

/* Fingers at F(lo) + 2^-j, as many as there are levels of doubling. */
static void know_by_model(struct map **maps, const struct ring_world *world,
                          const struct model *model)
{
    struct buf key = { 0 };
    for (size_t i = 0; i < world->count; i++) {
        uint64_t lo = i ? model_position(model, world->arcs[i].lo) : 0;
        for (int j = 1; (size_t)1 << j <= world->count; j++) {
            buf_reset(&key);
            uint64_t position = lo + (UINT64_C(1) << (64 - j));
            if (model_key_at(model, position, &key) != DLHT_OK)
                bench_die("no memory");
            know(maps[i], world,
                 ring_world_holder(world, span_of(key.data, key.len)));
        }
    }
    buf_deinit(&key);
}

static void know_by_distance(struct map **maps, const struct ring_world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        uint64_t lo = span_prefix8(world->arcs[i].lo);
        for (int j = 0; j < 64; j++) {
            uint8_t key[8];
            know(
                maps[i], world,
                ring_world_holder(world, key_of(lo + (UINT64_C(1) << j), key)));
        }
    }
}

/* Random keys from random arcs. */
static struct routing_result look_up(const struct routing_setting *setting,
                                     const struct ring_world *world,
                                     const struct key_set *keys, bool rings,
                                     struct map *const *maps)
{
    static size_t of_hops[HOPS_MAX];
    struct ring_world_view view = { rings, maps };
    struct routing_result out = { 0 };
    struct rng rng;
    rng_init(&rng, setting->seed + 1);
    memset(of_hops, 0, sizeof of_hops);
    for (size_t i = 0; i < setting->lookups; i++) {
        size_t from = (size_t)rng_below(&rng, world->count);
        struct span key = keys->keys[rng_below(&rng, keys->count)];
        size_t hops = ring_world_walk(world, &view, from, key);
        if (hops >= HOPS_MAX)
            bench_die("a very long lookup");
        of_hops[hops]++;
        out.mean += (double)hops / (double)setting->lookups;
        out.max = hops > out.max ? hops : out.max;
    }
    size_t sum = 0;
    for (size_t hops = 0; hops < HOPS_MAX; hops++) {
        if (sum * 2 < setting->lookups)
            out.p50 = hops;
        if (sum * 100 < setting->lookups * 99)
            out.p99 = hops;
        sum += of_hops[hops];
    }
    return out;
}

/* By maps that hold what the model says, and successors or rings. */
static struct routing_result by_model(const struct routing_setting *setting,
                                      const struct ring_world *world,
                                      const struct key_set *keys, bool rings,
                                      const struct model *model)
{
    struct map **maps = maps_new(world);
    know_by_model(maps, world, model);
    if (!rings)
        know_successors(maps, world, setting->list_len);
    struct routing_result out = look_up(setting, world, keys, rings, maps);
    out.ks = bench_ks(model, keys);
    maps_free(maps, world->count);
    return out;
}

void routing_measure(const struct routing_setting *setting,
                     struct routing_result out[ROUTING_WAYS])
{
    struct history h;
    struct ring_world world;
    history_init(&h, setting);
    const struct key_set *keys = &h.now;
    ring_world_init(&world, keys, setting->arcs, setting->list_len,
                    setting->seed);
    ring_world_run_for(&world, WARM_NS);
    out[ROUTING_SUCCESSORS] = look_up(setting, &world, keys, true, NULL);
    out[ROUTING_WARM] = by_model(setting, &world, keys, true, h.fresh);
    ring_world_settle(&world);
    out[ROUTING_DOUBLING] = look_up(setting, &world, keys, true, NULL);
    out[ROUTING_MODEL] = by_model(setting, &world, keys, false, h.fresh);
    out[ROUTING_MODEL_1] = by_model(setting, &world, keys, false, h.one);
    out[ROUTING_MODEL_10] = by_model(setting, &world, keys, false, h.ten);
    out[ROUTING_BOTH] = by_model(setting, &world, keys, true, h.fresh);
    out[ROUTING_BOTH_10] = by_model(setting, &world, keys, true, h.ten);
    struct map **maps = maps_new(&world);
    know_some(maps, &world, setting->seed);
    out[ROUTING_CACHE] = look_up(setting, &world, keys, true, maps);
    maps_free(maps, world.count);
    maps = maps_new(&world);
    know_by_distance(maps, &world);
    know_successors(maps, &world, setting->list_len);
    out[ROUTING_KEYS] = look_up(setting, &world, keys, false, maps);
    maps_free(maps, world.count);
    ring_world_deinit(&world);
    history_deinit(&h);
}

static void tell(struct table *table, const struct routing_setting *setting,
                 const struct routing_result *results)
{
    for (int way = 0; way < ROUTING_WAYS; way++) {
        const struct routing_result *r = &results[way];
        table_text(table, "keys", key_shape_names[setting->shape]);
        table_number(table, "arcs", (double)setting->arcs, 0);
        table_number(table, "successors", (double)setting->list_len, 0);
        table_text(table, "pointers", routing_names[way]);
        if (r->ks > 0)
            table_number(table, "model_ks", r->ks, 4);
        table_number(table, "mean", r->mean, 2);
        table_number(table, "p50", (double)r->p50, 0);
        table_number(table, "p99", (double)r->p99, 0);
        table_number(table, "max", (double)r->max, 0);
        table_end_row(table);
    }
}

/* plain: with one successor; node: with as many as the node keeps, which are
 * what the model's fingers are meant to stand beside. */
static void promise(const struct bench_options *options, size_t arcs,
                    const struct routing_result *plain,
                    const struct routing_result *node)
{
    double levels = log2((double)arcs);
    const struct routing_result *both[] = { plain, node };
    for (int i = 0; i < 2; i++) {
        bench_promise(options, "doubling: mean hops",
                      both[i][ROUTING_DOUBLING].mean, levels / 2 + 0.2);
        bench_promise(options, "doubling: p99 of hops",
                      (double)both[i][ROUTING_DOUBLING].p99, levels + 1);
    }
    bench_promise(options, "doubling and model's fingers: mean hops",
                  node[ROUTING_BOTH].mean, levels / 2 + 0.2);
    double fresh = node[ROUTING_MODEL].mean;
    bench_promise(options, "model 1 epoch old: hops more than fresh",
                  node[ROUTING_MODEL_1].mean - fresh, 0.5);
    bench_promise(options, "model 10 epochs old: hops more than fresh",
                  node[ROUTING_MODEL_10].mean - fresh, 0.5);
}

void bench_routing(const struct bench_options *options)
{
    if (options->map) {
        bench_map(options);
        return;
    }
    struct routing_setting setting = {
        .shape = options->has_shape ? options->shape : KEYS_CLUSTERED,
        .keys = bench_size(options, options->keys, 1000000, 100000),
        .arcs = bench_size(options, options->arcs, 1024, 256),
        .lookups = bench_size(options, options->lookups, 100000, 10000),
        .seed = options->seed,
    };
    if (setting.shape >= KEYS_NUMBER_SHAPES)
        bench_die("routing takes keys that are numbers");
    if (setting.arcs < 2 || setting.keys < 8 * setting.arcs)
        bench_die("routing takes 2 arcs or more, and 8 keys an arc");
    static const size_t list_lens[] = { 1, RING_WORLD_LIST };
    struct routing_result results[2][ROUTING_WAYS];
    struct table *table =
        table_begin(options, "routing", "Hops of a lookup, by what arcs know");
    for (int i = 0; i < 2; i++) {
        setting.list_len = list_lens[i];
        routing_measure(&setting, results[i]);
        tell(table, &setting, results[i]);
    }
    table_end(table, "The node keeps 8 successors; one is plain Chord.");
    promise(options, setting.arcs, results[0], results[1]);
}
