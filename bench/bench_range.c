/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench range: what it costs to read some keys that follow each other.
 *
 * Lookups are walks over the pointers of src/chord, eight successors and no
 * cache, asked from one place as the node does: each hop is a request and an
 * answer that names the next arc. An arc that is read names the one that
 * follows it. */

#include "range.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "dlht/err.h"
#include "ring_world.h"
#include "table.h"

enum {
    ARCS_A_PEER = 16
};

const char *const range_names[RANGE_WAYS] = {
    "ours, arc by arc",
    "ours, parts by the model",
    "ours, whole map",
    "Chord#, arc by arc",
    "hashed Chord, keys at once",
    "hashed Chord, key by key",
    "hashed, whole map",
    "broadcast to all peers",
};

struct query {
    const struct range_setting *setting;
    const struct ring_world *world;
    const struct key_set *keys;
    const struct model *model;
    struct rng rng;
    size_t from;        /* the arc that asks */
    size_t begin;       /* of the keys */
    size_t first, last; /* arcs that have them */
};

static size_t hops_to(const struct query *q, struct span key)
{
    static const struct ring_world_view view = { true, NULL };
    return ring_world_walk(q->world, &view, q->from, key);
}

static struct range_result walk(const struct query *q)
{
    size_t hops = hops_to(q, q->keys->keys[q->begin]) + q->last - q->first;
    return (struct range_result){ (double)hops, (double)hops };
}

/* As many parts as the model says that arcs are touched, cut where it says
 * that keys are as many. */
static struct range_result parts(const struct query *q)
{
    struct span a = q->keys->keys[q->begin];
    struct span b = q->keys->keys[q->begin + q->setting->wanted - 1];
    uint64_t lo = model_position(q->model, a);
    uint64_t hi = model_position(q->model, b);
    double share = (double)(hi - lo) / 0x1.0p64;
    size_t count = (size_t)(share * (double)q->world->count + 0.5);
    count = count ? count : 1;
    struct range_result out = { 0 };
    struct buf key = { 0 };
    for (size_t i = 0; i < count; i++) {
        struct span begin = a;
        if (i > 0) {
            buf_reset(&key);
            uint64_t at = lo + (hi - lo) / count * i;
            if (model_key_at(q->model, at, &key) != DLHT_OK)
                bench_die("no memory");
            begin = span_of(key.data, key.len);
        }
        size_t first = ring_world_holder(q->world, begin);
        size_t hops = hops_to(q, begin);
        /* This part ends where the next begins: at most there. */
        size_t last = q->last;
        if (i + 1 < count) {
            buf_reset(&key);
            uint64_t at = lo + (hi - lo) / count * (i + 1);
            if (model_key_at(q->model, at, &key) != DLHT_OK)
                bench_die("no memory");
            last = ring_world_holder(q->world, span_of(key.data, key.len));
        }
        double requests = (double)(hops + last - first);
        out.requests += requests;
        out.rounds = requests > out.rounds ? requests : out.rounds;
    }
    buf_deinit(&key);
    return out;
}

static struct range_result by_map(const struct query *q)
{
    bool own = q->from >= q->first && q->from <= q->last;
    double arcs = (double)(q->last - q->first + 1 - own);
    return (struct range_result){ arcs, arcs > 0 };
}

/* Keys lie anywhere. */
static void hashed(struct query *q, struct range_result *at_once,
                   struct range_result *one_by_one)
{
    double sum = 0, most = 0;
    for (size_t i = 0; i < q->setting->wanted; i++) {
        size_t arc = (size_t)rng_below(&q->rng, q->world->count);
        double hops = (double)hops_to(q, q->world->arcs[arc].lo);
        sum += hops;
        most = hops > most ? hops : most;
    }
    *at_once = (struct range_result){ sum, most };
    *one_by_one = (struct range_result){ sum, sum };
}

static struct range_result hashed_map(struct query *q)
{
    size_t peers = q->setting->peers;
    bool *asked = bench_memory(peers, sizeof *asked);
    double count = 0;
    asked[0] = true; /* who asks */
    for (size_t i = 0; i < q->setting->wanted; i++) {
        size_t peer = (size_t)rng_below(&q->rng, peers);
        count += !asked[peer];
        asked[peer] = true;
    }
    free(asked);
    return (struct range_result){ count, count > 0 };
}

static void ask(struct query *q, struct range_result out[RANGE_WAYS])
{
    double others = (double)(q->setting->peers - 1);
    out[RANGE_WALK] = walk(q);
    out[RANGE_PARTS] = parts(q);
    out[RANGE_MAP] = by_map(q);
    out[RANGE_CHORD_SHARP] = walk(q);
    hashed(q, &out[RANGE_HASHED], &out[RANGE_HASHED_SLOW]);
    out[RANGE_HASHED_MAP] = hashed_map(q);
    out[RANGE_BROADCAST] = (struct range_result){ others, others > 0 };
}

double range_measure(const struct range_setting *setting,
                     struct range_result out[RANGE_WAYS])
{
    struct key_set keys =
        key_set_make(setting->shape, setting->keys, setting->seed);
    if (keys.count <= setting->wanted)
        bench_die("too few keys for such a range");
    struct model *model = bench_fit(&keys, 0);
    struct ring_world world;
    ring_world_init(&world, &keys, setting->arcs, RING_WORLD_LIST,
                    setting->seed);
    ring_world_settle(&world);
    struct query q = { setting, &world, &keys, model, { { 0 } }, 0, 0, 0, 0 };
    rng_init(&q.rng, setting->seed);
    memset(out, 0, RANGE_WAYS * sizeof *out);
    double arcs = 0, ranges = (double)setting->ranges;
    for (size_t i = 0; i < setting->ranges; i++) {
        q.from = (size_t)rng_below(&q.rng, world.count);
        q.begin = (size_t)rng_below(&q.rng, keys.count - setting->wanted + 1);
        q.first = ring_world_holder(&world, keys.keys[q.begin]);
        q.last =
            ring_world_holder(&world, keys.keys[q.begin + setting->wanted - 1]);
        arcs += (double)(q.last - q.first + 1) / ranges;
        struct range_result one[RANGE_WAYS];
        ask(&q, one);
        for (int way = 0; way < RANGE_WAYS; way++) {
            out[way].requests += one[way].requests / ranges;
            out[way].rounds += one[way].rounds / ranges;
        }
    }
    ring_world_deinit(&world);
    model_free(model);
    key_set_free(&keys);
    return arcs;
}

void bench_range(const struct bench_options *options)
{
    struct range_setting setting = {
        .shape = options->has_shape ? options->shape : KEYS_CLUSTERED,
        .keys = bench_size(options, options->keys, 1000000, 100000),
        .arcs = bench_size(options, options->arcs, 1024, 256),
        .wanted = bench_size(options, options->keys_wanted, 100, 100),
        .seed = options->seed,
    };
    /* Hashed Chord looks up each key. */
    size_t ranges = 400000 / setting.wanted;
    ranges = ranges < 100 ? 100 : ranges > 2000 ? 2000 : ranges;
    setting.ranges = bench_size(options, options->lookups, ranges, 300);
    setting.peers = setting.arcs / ARCS_A_PEER + 1;
    struct range_result results[RANGE_WAYS];
    double arcs = range_measure(&setting, results);
    struct table *table =
        table_begin(options, "range", "A range, mean; 1 ms a message");
    const struct range_result *sharp = &results[RANGE_CHORD_SHARP];
    const struct range_result *per_key = &results[RANGE_HASHED];
    for (int way = 0; way < RANGE_WAYS; way++) {
        const struct range_result *r = &results[way];
        table_text(table, "how", range_names[way]);
        table_number(table, "keys_wanted", (double)setting.wanted, 0);
        table_number(table, "arcs", (double)setting.arcs, 0);
        table_number(table, "peers", (double)setting.peers, 0);
        table_number(table, "arcs_touched", arcs, 2);
        table_number(table, "requests", r->requests, 2);
        table_number(table, "with_answers", 2 * r->requests, 2);
        table_number(table, "rounds", r->rounds, 2);
        table_number(table, "ms", 2 * r->rounds, 1);
        table_number(table, "percent_of_hashed",
                     100 * r->requests / per_key->requests, 1);
        table_number(table, "percent_of_chord_sharp",
                     100 * r->requests / sharp->requests, 1);
        table_end_row(table);
    }
    table_end(table, NULL);
    bench_promise(options, "requests of a range, arc by arc",
                  results[RANGE_WALK].requests,
                  0.5 * log2((double)setting.arcs) + arcs + 1);
    bench_promise(options, "share of the requests of hashed Chord",
                  results[RANGE_WALK].requests / per_key->requests, 0.2);
}
