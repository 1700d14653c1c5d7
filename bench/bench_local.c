/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench local: would a learned index help a node find records?
 *
 * Two ways to use one inside a node beside what is there. Beside the tree: the
 * model says a key's rank, records_nth goes there by the counts in inner nodes,
 * a few steps correct it. Instead of the tree: records stand in one sorted
 * array that the index searches; nothing could be put into it, so this is the
 * best that any scheme of runs and merges could come near. Times are of the
 * processor, methods take turns. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "rmi/model.h"
#include "rmi/rank_index.h"
#include "store/records.h"
#include "table.h"

enum {
    BURST = 50000,
    ROUNDS_MAX = 100,
    KEY_BYTES = 8,
    VALUE_BYTES = 32,
    SCAN = 100
};

enum method {
    GET_HASH,  /* a point, as the node: the hash index */
    GET_ARRAY, /* a point, from the sorted array by the index */
    SEEK_TREE, /* the first record at or after a key, as the node */
    SEEK_RANK, /* the same by the model's rank and the tree's counts */
    SEEK_ARRAY,
    SCAN_TREE, /* seek and a hundred records */
    SCAN_ARRAY,
    METHODS
};

static const char *const names[METHODS] = { "get_hash_ns",   "get_array_ns",
                                            "seek_tree_ns",  "seek_rank_ns",
                                            "seek_array_ns", "scan_tree_ns",
                                            "scan_array_ns" };

static volatile uint64_t sink;

struct local {
    uint64_t *numbers; /* ascending, each once */
    size_t count;
    struct records *records;
    struct rank_index *index;
    struct model *model;
    struct record *array; /* as they stand in the records */
};

static struct span key_of(uint64_t number, uint8_t room[KEY_BYTES])
{
    for (int i = 0; i < KEY_BYTES; i++)
        room[i] = (uint8_t)(number >> (56 - 8 * i));
    return span_of(room, KEY_BYTES);
}

static size_t drop_repeats(uint64_t *numbers, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || numbers[kept - 1] != numbers[i])
            numbers[kept++] = numbers[i];
    return kept;
}

/* Put in random order, as a node would be given them. */
static struct records *fill(const struct local *l, struct rng *rng)
{
    struct records *records = records_new(1);
    size_t *order = bench_memory(l->count, sizeof *order);
    for (size_t i = 0; i < l->count; i++) {
        size_t k = (size_t)rng_below(rng, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    static const uint8_t value[VALUE_BYTES];
    for (size_t i = 0; records && i < l->count; i++) {
        uint8_t room[KEY_BYTES];
        struct record record = { .key = key_of(l->numbers[order[i]], room),
                                 .value = span_of(value, sizeof value),
                                 .version = i + 1 };
        if (records_put(records, &record) != DLHT_OK)
            bench_die("no memory");
    }
    free(order);
    return records;
}

static struct local make(const struct bench_options *options,
                         enum key_shape shape)
{
    size_t count = bench_size(options, options->keys, 4000000, 50000);
    struct local l = { .numbers =
                           key_set_numbers(shape, count, options->seed) };
    struct rng rng;
    rng_init(&rng, options->seed);
    l.count = drop_repeats(l.numbers, count);
    l.records = fill(&l, &rng);
    struct fit_config config = fit_config_default();
    config.leaf_count = options->quick ? 1024 : 16384;
    if (!l.records ||
        rank_index_new(l.numbers, l.count, 0, &l.index) != DLHT_OK ||
        fit_u64(l.numbers, l.count, &config, &l.model) != DLHT_OK)
        bench_die("no memory");
    l.array = bench_memory(l.count, sizeof *l.array);
    struct records_cursor at;
    bool there = records_seek(l.records, span_empty(), &at);
    for (size_t i = 0; there && i < l.count; i++) {
        l.array[i] = records_at(&at);
        there = records_next(&at);
    }
    return l;
}

static void local_free(struct local *l)
{
    free(l->array);
    model_free(l->model);
    rank_index_free(l->index);
    records_free(l->records);
    free(l->numbers);
}

/* The version of the first record at or after number. */
static uint64_t seek_by_rank(const struct local *l, uint64_t number)
{
    uint8_t room[KEY_BYTES];
    struct span key = key_of(number, room);
    size_t rank = (size_t)model_rank(l->model, key);
    struct record record;
    if (rank >= l->count)
        rank = l->count - 1;
    /* Corrected by steps of a rank: in a tree they would be steps of a cursor,
     * so what a step costs is not counted but for the first. */
    if (!records_nth(l->records, rank, &record))
        return 0;
    return record.version;
}

static uint64_t run_one(const struct local *l, enum method method,
                        uint64_t number)
{
    uint8_t room[KEY_BYTES];
    struct record record = { .version = 0 };
    struct records_cursor at;
    uint64_t sum = 0;
    size_t i;
    switch (method) {
    case GET_HASH:
        (void)records_get(l->records, key_of(number, room), &record);
        return record.version;
    case GET_ARRAY:
    case SEEK_ARRAY:
        i = rank_index_find(l->index, number);
        return l->array[i].version;
    case SEEK_TREE:
        if (records_seek(l->records, key_of(number, room), &at))
            record = records_at(&at);
        return record.version;
    case SEEK_RANK:
        return seek_by_rank(l, number);
    case SCAN_TREE: {
        bool there = records_seek(l->records, key_of(number, room), &at);
        for (i = 0; there && i < SCAN; i++) {
            record = records_at(&at);
            sum += record.version + record.value.data[0];
            there = records_next(&at);
        }
        return sum;
    }
    case SCAN_ARRAY: {
        size_t from = rank_index_find(l->index, number);
        for (i = from; i < l->count && i < from + SCAN; i++)
            sum += l->array[i].version + l->array[i].value.data[0];
        return sum;
    }
    case METHODS:
    default:
        return 0;
    }
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Medians of bursts, in turns; how many answers differ from the tree's. */
static size_t time_methods(const struct bench_options *options,
                           const struct local *l, double ns[METHODS])
{
    static double times[METHODS][ROUNDS_MAX];
    size_t rounds = bench_size(options, options->rounds, 9, 1);
    rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
    struct rng rng;
    rng_init(&rng, options->seed + 1);
    for (size_t round = 0; round < rounds; round++)
        for (int m = 0; m < METHODS; m++) {
            size_t n = m >= SCAN_TREE ? BURST / 10 : BURST;
            uint64_t sum = 0;
            double before = bench_cpu_ns();
            for (size_t i = 0; i < n; i++)
                sum += run_one(l, (enum method)m,
                               l->numbers[rng_below(&rng, l->count)]);
            times[m][round] = (bench_cpu_ns() - before) / (double)n;
            sink = sum;
        }
    for (int m = 0; m < METHODS; m++) {
        qsort(times[m], rounds, sizeof *times[m], by_number);
        ns[m] = times[m][rounds / 2];
    }
    size_t wrong = 0;
    for (size_t i = 0; i < BURST; i++) {
        uint64_t number = l->numbers[rng_below(&rng, l->count)];
        uint64_t truth = run_one(l, SEEK_TREE, number);
        wrong += run_one(l, GET_HASH, number) != truth;
        wrong += run_one(l, SEEK_ARRAY, number) != truth;
        wrong +=
            run_one(l, SCAN_TREE, number) != run_one(l, SCAN_ARRAY, number);
    }
    return wrong;
}

void bench_local(const struct bench_options *options)
{
    static const enum key_shape shapes[] = { KEYS_UNIFORM, KEYS_CLUSTERED };
    struct table *table = table_begin(
        options, "local", "Finding records inside a node, ns of the processor");
    size_t wrong = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        struct local l = make(options, shapes[s]);
        double ns[METHODS];
        wrong += time_methods(options, &l, ns);
        table_text(table, "keys", key_shape_names[shapes[s]]);
        table_number(table, "key_count", (double)l.count, 0);
        for (int m = 0; m < METHODS; m++)
            table_number(table, names[m], ns[m], 0);
        table_end_row(table);
        local_free(&l);
    }
    table_end(table, "hash, tree: the node's. rank: the model's guess and "
                     "records_nth, not corrected.\narray: sorted once, never "
                     "written to again");
    bench_promise(options, "answers that differ", (double)wrong, 0);
}
