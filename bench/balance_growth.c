/* SPDX-License-Identifier: Apache-2.0 */

/* A ring that grows by 2 % of what it first had, 150 times: everywhere, at its
 * end only, or at a place that
 * jumps every five turns. The keys are cells of some mass, so that
 * an arc is an interval of cells and may be cut at any quantile.
 *
 * Three policies. Nothing: arcs at random positions of the first keys, for ever.
 * LEAD's: at random positions, and the model of a sample decides who owns a key;
 * trained anew when 40 % of the keys are new to it. The planner's: arcs are
 * intervals, as many of equal mass at first; after each turn it plans until it
 * has nothing to do. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "balance.h"
#include "dlht/err.h"
#include "table.h"

enum {
    TURNS = 150,
    PEERS = 32,
    ARCS = PEERS * BALANCE_VNODES,
    SAMPLE = 100000, /* keys that a model is made of */
    ARC_BYTES = 1 << 20,
    KEY_BYTES = 100,
    IDS_MAX = 1 << 20,
    STAY = 5 /* turns of the hot spot at one place */
};
#define GROWTH 0.02 /* a turn, of the first bytes */
#define RETRAIN 0.4 /* share of new keys */
#define WIDTH 0.010 /* deviation of the hot spot, of the first cells */

enum workload {
    UNIFORM,
    APPEND,
    WANDERING,
    WORKLOADS
};

static const char *const workload_names[WORKLOADS] = { "uniform", "append-only",
                                                       "wandering" };

struct ground {
    double *mass;   /* bytes of each cell */
    double *before; /* sums of all cells before; one more */
    size_t first, cells;
    double centre; /* of the hot spot, in cells */
    size_t turn;
    struct rng rng;
};

struct result {
    double moved; /* bytes */
    double arcs, arcs_worst;
    double peers, peers_worst;
    size_t count; /* arcs at the end */
};

static void sum_up(struct ground *g)
{
    g->before[0] = 0;
    for (size_t i = 0; i < g->cells; i++)
        g->before[i + 1] = g->before[i] + g->mass[i];
}

static struct ground ground_make(const struct bench_options *options)
{
    struct ground g = { .first = options->quick ? 1 << 14 : 1 << 16 };
    size_t room = g.first * 5;
    g.mass = bench_memory(room, sizeof *g.mass);
    g.before = bench_memory(room + 1, sizeof *g.before);
    g.cells = g.first;
    for (size_t i = 0; i < g.cells; i++)
        g.mass[i] = (double)ARCS * ARC_BYTES / (double)g.cells;
    rng_init(&g.rng, options->seed);
    sum_up(&g);
    return g;
}

static void ground_free(struct ground *g)
{
    free(g->mass);
    free(g->before);
}

static void grow_hot_spot(struct ground *g, double bytes)
{
    double width = WIDTH * (double)g->first, sum = 0;
    if (g->turn++ % STAY == 0)
        g->centre = rng_real(&g->rng) * (double)g->cells;
    for (int pass = 0; pass < 2; pass++)
        for (double x = -4 * width; x <= 4 * width; x++) {
            double share = exp(-x * x / (2 * width * width));
            double at =
                fmod(g->centre + x + (double)g->cells, (double)g->cells);
            if (pass == 0)
                sum += share;
            else
                g->mass[(size_t)at] += bytes * share / sum;
        }
}

static void grow(struct ground *g, enum workload workload)
{
    double bytes = GROWTH * ARCS * ARC_BYTES;
    double all = g->before[g->cells];
    if (workload == WANDERING)
        grow_hot_spot(g, bytes);
    for (size_t i = 0; workload == UNIFORM && i < g->cells; i++)
        g->mass[i] *= (all + bytes) / all;
    if (workload == APPEND) {
        size_t cells = (size_t)(GROWTH * (double)g->first);
        for (size_t i = 0; i < cells; i++)
            g->mass[g->cells++] = bytes / (double)cells;
    }
    sum_up(g);
}

/* The first cell in [lo, hi] with so much before it. */
static size_t cell_at(const struct ground *g, size_t lo, size_t hi,
                      double before)
{
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (g->before[middle] < before)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static void note(struct result *out, double arcs, double peers)
{
    out->arcs += arcs / TURNS;
    out->peers += peers / TURNS;
    out->arcs_worst = arcs > out->arcs_worst ? arcs : out->arcs_worst;
    out->peers_worst = peers > out->peers_worst ? peers : out->peers_worst;
}

/* A sampled model: for each cell the share of keys before it. */
static void train(struct ground *g, double *model, bool exact)
{
    double all = g->before[g->cells];
    for (size_t i = 0; i < g->cells; i++)
        model[i] = exact ? g->before[i] / all : 0;
    for (size_t i = 0; !exact && i < SAMPLE; i++) {
        size_t cell =
            cell_at(g, 0, g->cells, rng_real(&g->rng) * all + 1e-9) - 1;
        model[cell] += 1.0 / SAMPLE;
    }
    double sum = 0;
    for (size_t i = 0; !exact && i < g->cells; i++) {
        double share = model[i];
        model[i] = sum;
        sum += share;
    }
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Who has each cell: the first position not before it; past the last, the
 * first. A cell that the model has never seen stands at its end. */
static void own(const struct ground *g, const double *model, size_t known,
                const double *positions, uint16_t *owner)
{
    size_t at = 0;
    for (size_t i = 0; i < g->cells; i++) {
        double x = i < known ? model[i] : 1;
        while (at < ARCS && positions[at] < x)
            at++;
        owner[i] = (uint16_t)(at % ARCS);
    }
}

static void measure_owners(const struct ground *g, const uint16_t *owner,
                           struct result *out)
{
    double arcs[ARCS] = { 0 }, peers[PEERS] = { 0 }, arc = 0, peer = 0;
    for (size_t i = 0; i < g->cells; i++) {
        arcs[owner[i]] += g->mass[i];
        peers[owner[i] * 7 % PEERS] += g->mass[i];
    }
    for (size_t i = 0; i < ARCS; i++)
        arc = arcs[i] > arc ? arcs[i] : arc;
    for (size_t i = 0; i < PEERS; i++)
        peer = peers[i] > peer ? peers[i] : peer;
    note(out, arc * ARCS / g->before[g->cells],
         peer * PEERS / g->before[g->cells]);
}

/* Ownership by position. */
static struct result by_position(const struct bench_options *options,
                                 enum workload workload, bool retrain)
{
    struct ground g = ground_make(options);
    size_t room = g.first * 5, known = g.cells;
    double *model = bench_memory(room, sizeof *model);
    uint16_t *owner = bench_memory(room, sizeof *owner);
    uint16_t *old = bench_memory(room, sizeof *old);
    double positions[ARCS], trained = g.before[g.cells];
    struct result out = { .count = ARCS };
    for (size_t i = 0; i < ARCS; i++)
        positions[i] = rng_real(&g.rng);
    qsort(positions, ARCS, sizeof *positions, by_number);
    train(&g, model, true);
    for (size_t turn = 0; turn < TURNS; turn++) {
        grow(&g, workload);
        own(&g, model, known, positions, owner);
        if (retrain && g.before[g.cells] > (1 + RETRAIN) * trained) {
            memcpy(old, owner, g.cells * sizeof *old);
            train(&g, model, false);
            known = g.cells;
            trained = g.before[g.cells];
            own(&g, model, known, positions, owner);
            for (size_t i = 0; i < g.cells; i++)
                out.moved += owner[i] != old[i] ? g.mass[i] : 0;
        }
        measure_owners(&g, owner, &out);
    }
    free(model);
    free(owner);
    free(old);
    ground_free(&g);
    return out;
}

/* Which cells an arc has. */
struct range {
    arc_id id;
    size_t lo, hi;
};

struct ranges {
    struct range *list, *next; /* in the order of keys */
    size_t count;
    uint8_t *is_old; /* by id */
};

static int by_lo(const void *a, const void *b)
{
    const struct plan_arc *const *x = a, *const *y = b;
    return span_compare((*x)->arc->lo, (*y)->arc->lo);
}

/* Follows what was cut and merged: arcs that are no more belong to the one
 * before, new ones are parts of it, of about the same mass. */
static void follow(const struct ground *g, struct ranges *r,
                   const struct plan_input *in)
{
    const struct plan_arc **arcs = bench_memory(in->arc_count, sizeof *arcs);
    for (size_t i = 0; i < in->arc_count; i++)
        arcs[i] = &in->arcs[i];
    qsort(arcs, in->arc_count, sizeof *arcs, by_lo);
    size_t old = 0;
    for (size_t i = 0; i < r->count; i++)
        r->is_old[r->list[i].id] = 1;
    for (size_t i = 0; i < in->arc_count;) {
        size_t parts = 1;
        while (i + parts < in->arc_count &&
               !r->is_old[arcs[i + parts]->arc->id])
            parts++;
        size_t lo = r->list[old].lo;
        for (old++;
             old < r->count && (i + parts >= in->arc_count ||
                                r->list[old].id != arcs[i + parts]->arc->id);)
            old++;
        size_t hi = r->list[old - 1].hi;
        double step = (g->before[hi] - g->before[lo]) / (double)parts;
        for (size_t k = 0; k < parts; k++) {
            size_t end = cell_at(g, lo, hi, g->before[lo] + step);
            end = k + 1 == parts ? hi : end;
            r->next[i + k] = (struct range){ arcs[i + k]->arc->id, lo, end };
            lo = end;
        }
        i += parts;
    }
    for (size_t i = 0; i < r->count; i++)
        r->is_old[r->list[i].id] = 0;
    struct range *list = r->list;
    r->list = r->next;
    r->next = list;
    r->count = in->arc_count;
    free(arcs);
}

/* Tells the ring what its arcs hold. */
static void weigh(const struct ground *g, const struct ranges *r,
                  const struct plan_input *in)
{
    uint64_t *bytes = bench_memory(IDS_MAX, sizeof *bytes);
    for (size_t i = 0; i < r->count; i++)
        bytes[r->list[i].id] =
            (uint64_t)(g->before[r->list[i].hi] - g->before[r->list[i].lo]);
    struct plan_arc *arcs = (struct plan_arc *)(uintptr_t)in->arcs;
    for (size_t i = 0; i < in->arc_count; i++) {
        arcs[i].bytes = bytes[arcs[i].arc->id];
        arcs[i].keys = arcs[i].bytes / KEY_BYTES;
    }
    free(bytes);
}

static void rebalance(const struct ground *g, struct ranges *ranges,
                      struct rehearsal *r)
{
    const struct plan_step *steps;
    size_t count = 1;
    ranges->list[ranges->count - 1].hi = g->cells;
    weigh(g, ranges, rehearsal_input(r));
    for (size_t turn = 0; count; turn++) {
        if (turn == 1000 || rehearsal_turn(r, &steps, &count) != DLHT_OK)
            bench_die("the ring does not come to rest");
        const struct plan_input *in = rehearsal_input(r);
        if (in->arc_count > 4 * ARCS)
            bench_die("too many arcs");
        follow(g, ranges, in);
        weigh(g, ranges, in);
    }
}

static void measure_arcs(const struct ground *g, const struct plan_input *in,
                         struct result *out)
{
    uint64_t most = 0;
    for (size_t i = 0; i < in->arc_count; i++)
        most = in->arcs[i].bytes > most ? in->arcs[i].bytes : most;
    struct plan_shares shares;
    planner_shares(in, &shares);
    note(out, (double)most * (double)in->arc_count / g->before[g->cells],
         shares.held_most);
    out->count = in->arc_count;
}

static struct result by_planner(const struct bench_options *options,
                                enum workload workload)
{
    struct ground g = ground_make(options);
    struct balance_layout layout = { PEERS, 1, 0, true };
    struct balance_ring ring = balance_ring_make(&layout, options->seed);
    struct ranges ranges = {
        .list = bench_memory(4 * ARCS, sizeof *ranges.list),
        .next = bench_memory(4 * ARCS, sizeof *ranges.next),
        .is_old = bench_memory(IDS_MAX, 1),
        .count = ARCS,
    };
    for (size_t i = 0; i < ARCS; i++)
        ranges.list[i] = (struct range){ i + 1, i * g.cells / ARCS,
                                         (i + 1) * g.cells / ARCS };
    struct rehearsal *r;
    if (rehearsal_new(&ring.in, &r) != DLHT_OK)
        bench_die("no memory");
    struct result out = { 0 };
    for (size_t turn = 0; turn < TURNS; turn++) {
        grow(&g, workload);
        rebalance(&g, &ranges, r);
        measure_arcs(&g, rehearsal_input(r), &out);
    }
    out.moved = (double)rehearsal_bytes_moved(r);
    rehearsal_free(r);
    free(ranges.list);
    free(ranges.next);
    free(ranges.is_old);
    balance_ring_free(&ring);
    ground_free(&g);
    return out;
}

static double tell(struct table *table, enum workload workload,
                   const char *policy, const struct result *result)
{
    double inserted = GROWTH * TURNS * ARCS * ARC_BYTES;
    table_text(table, "workload", workload_names[workload]);
    table_text(table, "policy", policy);
    table_number(table, "moved_per_inserted", result->moved / inserted, 2);
    table_number(table, "arcs_max_mean", result->arcs, 2);
    table_number(table, "arcs_worst", result->arcs_worst, 2);
    table_number(table, "peers_max_mean", result->peers, 2);
    table_number(table, "peers_worst", result->peers_worst, 2);
    table_number(table, "arcs", (double)result->count, 0);
    table_end_row(table);
    return result->moved / inserted;
}

void balance_growth(const struct bench_options *options)
{
    static const double moved_most[WORKLOADS] = { 0, 1.5, 0.8 };
    static const double arcs_most[WORKLOADS] = { 1.2, 2.0, 2.5 };
    struct table *table = table_begin(
        options, "balance_growth",
        "256 arcs, 32 peers, one copy, 150 turns of 2 % more bytes");
    double moved[WORKLOADS], arcs[WORKLOADS];
    for (int w = 0; w < WORKLOADS; w++) {
        struct result none = by_position(options, w, false);
        struct result lead = by_position(options, w, true);
        struct result ours = by_planner(options, w);
        tell(table, w, "nothing", &none);
        tell(table, w, "lead", &lead);
        moved[w] = tell(table, w, "planner", &ours);
        arcs[w] = ours.arcs;
    }
    table_end(table, "moved: bytes sent to another peer or arc; max_mean: "
                     "after each turn, on average and at worst.");
    for (int w = 0; w < WORKLOADS; w++) {
        char what[80];
        strcpy(what, workload_names[w]);
        strcat(what, ": bytes moved per byte inserted");
        bench_promise(options, what, moved[w], moved_most[w]);
        strcpy(what, workload_names[w]);
        strcat(what, ": bytes of the largest arc, over the mean");
        bench_promise(options, what, arcs[w], arcs_most[w]);
    }
}
