/* SPDX-License-Identifier: Apache-2.0 */

/* Boxes through the public door, on a node in this process, against a look at
 * every point. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/box.h"
#include "net/check.h"

enum {
    POINTS = 800,
    VALUE = 4000, /* so that a box takes several pages */
    BOXES = 40
};

struct world {
    struct dlht *d;
    struct rng rng;
    struct dlht_box_grid grid;
    double points[POINTS][DLHT_BOX_DIMS_MAX];
    struct dlht_box_key keys[POINTS];
    bool hidden[POINTS]; /* another point has the same cell */
};

static struct world world;

/* What a query gave, by the number in the value. */
struct seen {
    bool there[POINTS];
    size_t count;
    size_t stop_at; /* 0: never */
    struct dlht_box_key last;
};

static bool on_point(void *context, const double *point,
                     const struct dlht_record *record)
{
    struct seen *seen = context;
    struct dlht_box_key again;
    size_t i = record->value.len ? strtoul(record->value.data, NULL, 10) : 0;
    size_t n =
        seen->last.len < record->key.len ? seen->last.len : record->key.len;

    CHECK(seen->count == 0 || memcmp(seen->last.data, record->key.data, n) < 0);
    memcpy(seen->last.data, record->key.data, record->key.len);
    seen->last.len = record->key.len;
    CHECK_EQ(dlht_box_key(&world.grid, point, &again), DLHT_OK);
    CHECK(again.len == record->key.len &&
          memcmp(again.data, record->key.data, again.len) == 0);
    if (i < POINTS)
        seen->there[i] = true;
    return ++seen->count != seen->stop_at;
}

static void put_points(void)
{
    char value[VALUE];
    struct dlht_box_key key;

    memset(value, ' ', sizeof(value));
    for (size_t i = 0; i < POINTS; i++) {
        int n = snprintf(value, sizeof(value), "%zu", i);
        value[n] = ' ';
        CHECK_EQ(dlht_box_key(&world.grid, world.points[i], &key), DLHT_OK);
        world.keys[i] = key;
        world.hidden[i] = false;
        for (size_t j = 0; j < i; j++)
            if (memcmp(world.keys[j].data, key.data, key.len) == 0)
                world.hidden[j] = true;
        CHECK_EQ(dlht_put(world.d, NULL, key.data, key.len, value,
                          sizeof(value), NULL),
                 DLHT_OK);
        /* Somebody else's key in our midst. */
        if (i % 10 == 0)
            CHECK_EQ(
                dlht_put(world.d, NULL, key.data, key.len + 1, "x", 1, NULL),
                DLHT_OK);
    }
}

static bool is_inside(const double *point, const double *from, const double *to)
{
    uint32_t last = world.grid.dims - 1;

    for (uint32_t i = 0; i < world.grid.dims; i++) {
        bool above = point[i] >= from[i], below = point[i] <= to[i];
        if (world.grid.wraps && i == last && from[i] > to[i] ? !above && !below
                                                             : !above || !below)
            return false;
    }
    return true;
}

/* What is kept too, since it shares a cell with an edge. */
static bool is_at_edge(const double *point, const double *from,
                       const double *to)
{
    for (uint32_t i = 0; i < world.grid.dims; i++) {
        double cell = (world.grid.max[i] - world.grid.min[i]) /
                      (ldexp(1, (int)world.grid.bits) - 1);
        if (fabs(point[i] - from[i]) <= cell || fabs(point[i] - to[i]) <= cell)
            return true;
    }
    return false;
}

static double random_in(uint32_t i, bool integers)
{
    double low = world.grid.min[i], high = world.grid.max[i];
    double x = low + rng_real(&world.rng) * (high - low);

    switch (rng_below(&world.rng, 12)) {
    case 0:
        return low;
    case 1:
        return high;
    default:
        return integers ? floor(x) : x;
    }
}

static void ask_box(bool integers, uint64_t *wanted, uint64_t *parts)
{
    double from[DLHT_BOX_DIMS_MAX], to[DLHT_BOX_DIMS_MAX];
    struct dlht_box_query query = { .from = from, .to = to };
    struct dlht_box_stats stats;
    static struct seen seen;
    size_t want = 0;

    memset(&seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < world.grid.dims; i++) {
        bool wraps = world.grid.wraps && i == world.grid.dims - 1;
        double a = random_in(i, integers), b = random_in(i, integers);
        from[i] = wraps || a < b ? a : b;
        to[i] = wraps || a < b ? b : a;
    }
    query.range_max = (size_t)rng_below(&world.rng, 100);
    CHECK_EQ(dlht_box_query(world.d, NULL, &world.grid, &query, on_point, &seen,
                            &stats),
             DLHT_OK);
    for (size_t i = 0; i < POINTS; i++) {
        bool inside = is_inside(world.points[i], from, to);
        if (world.hidden[i])
            continue;
        want += seen.there[i];
        CHECK(dlht_box_has(&world.grid, from, to, world.keys[i].data,
                           world.keys[i].len) == seen.there[i]);
        if (inside != seen.there[i])
            CHECK(!integers && seen.there[i] &&
                  is_at_edge(world.points[i], from, to));
    }
    CHECK_EQ(stats.kept, want);
    CHECK_EQ(seen.count, want);
    CHECK(stats.read >= stats.kept);
    CHECK(stats.cover.covered >= stats.cover.wanted * 0.999);
    *wanted += want;
    *parts += stats.parts;
    query.keys_only = true;
    CHECK_EQ(
        dlht_box_query(world.d, NULL, &world.grid, &query, NULL, NULL, &stats),
        DLHT_OK);
    CHECK_EQ(stats.kept, want);
    if (want < 2)
        return;
    query.keys_only = false;
    query.limit = 1 + rng_below(&world.rng, want);
    memset(&seen, 0, sizeof(seen));
    CHECK_EQ(dlht_box_query(world.d, NULL, &world.grid, &query, on_point, &seen,
                            &stats),
             DLHT_OK);
    CHECK_EQ(seen.count, query.limit);
    query.limit = 0;
    memset(&seen, 0, sizeof(seen));
    seen.stop_at = want - 1;
    CHECK_EQ(dlht_box_query(world.d, NULL, &world.grid, &query, on_point, &seen,
                            NULL),
             DLHT_OK);
    CHECK_EQ(seen.count, want - 1);
}

/* A grid of its own prefix, filled and asked. */
static void boxes_are_exact(const char *what, bool integers)
{
    uint64_t wanted = 0, parts = 0;

    for (size_t n = 0; n < POINTS; n++) {
        for (uint32_t i = 0; i < world.grid.dims; i++)
            world.points[n][i] = random_in(i, integers);
    }
    put_points();
    for (int n = 0; n < BOXES; n++)
        ask_box(integers, &wanted, &parts);
    CHECK(wanted > 0);
    printf("%s: %d boxes, %.1f points and %.1f parts each\n", what, BOXES,
           (double)wanted / BOXES, (double)parts / BOXES);
}

static void grids_of_every_kind(void)
{
    char prefix[32], what[64];

    for (uint32_t dims = 2; dims <= 5; dims++) {
        uint32_t bits = (uint32_t)rng_range(&world.rng, 4, 32);
        snprintf(prefix, sizeof(prefix), "i%u/", dims);
        CHECK_EQ(dlht_box_integers(&world.grid, dims, bits, prefix), DLHT_OK);
        world.grid.curve = dims % 2 ? DLHT_BOX_Z : DLHT_BOX_HILBERT;
        snprintf(what, sizeof(what), "%u integers of %u bits", dims, bits);
        boxes_are_exact(what, true);
        snprintf(prefix, sizeof(prefix), "f%u/", dims);
        CHECK_EQ(dlht_box_integers(&world.grid, dims, bits, prefix), DLHT_OK);
        for (uint32_t i = 0; i < dims; i++) {
            world.grid.min[i] = -1.5 * i - 0.25;
            world.grid.max[i] = 1e-3 * (i + 1);
        }
        snprintf(what, sizeof(what), "%u reals of %u bits", dims, bits);
        boxes_are_exact(what, false);
    }
    CHECK_EQ(dlht_box_latlon(&world.grid, "g/"), DLHT_OK);
    boxes_are_exact("degrees", false);
    CHECK_EQ(dlht_box_latlon(&world.grid, NULL), DLHT_OK);
    memcpy(world.grid.prefix, "\xff\xff", 2);
    world.grid.prefix_len = 2;
    boxes_are_exact("degrees at the end of all keys", false);
}

static void what_is_wrong_is_refused(void)
{
    static const struct {
        const char *why;
        double from[2], to[2];
        size_t range_max;
        int rc;
    } rows[] = {
        { "the whole earth", { -90, -180 }, { 90, 180 }, 64, DLHT_OK },
        { "a pole", { 90, -180 }, { 90, 180 }, 64, DLHT_OK },
        { "one point", { 1, 2 }, { 1, 2 }, 1, DLHT_OK },
        { "over the date line", { 1, 170 }, { 2, -170 }, 1024, DLHT_OK },
        { "from 180 to -180", { 1, 180 }, { 2, -180 }, 64, DLHT_OK },
        { "latitudes upside down", { 2, 1 }, { 1, 2 }, 64, DLHT_EINVAL },
        { "past the pole", { 0, 0 }, { 90.001, 1 }, 64, DLHT_EINVAL },
        { "past 180", { 0, 0 }, { 1, 180.001 }, 64, DLHT_EINVAL },
        { "not a number", { NAN, 0 }, { 1, 1 }, 64, DLHT_EINVAL },
        { "not a number, too", { 0, 0 }, { 1, NAN }, 64, DLHT_EINVAL },
        { "infinity", { 0, 0 }, { INFINITY, 1 }, 64, DLHT_EINVAL },
        { "minus infinity", { 0, -INFINITY }, { 1, 1 }, 64, DLHT_EINVAL },
        { "no range", { 0, 0 }, { 1, 1 }, 0, DLHT_EINVAL },
        { "too many", { 0, 0 }, { 1, 1 }, 1025, DLHT_EINVAL },
    };
    static struct dlht_box_range ranges[DLHT_BOX_RANGES_MAX];
    struct dlht_box_cover cover;
    struct dlht_box_grid grid;
    struct dlht_box_key key;
    char long_prefix[DLHT_BOX_PREFIX_MAX + 2];
    double point[2] = { 7, 8 };

    CHECK_EQ(dlht_box_latlon(&grid, "p"), DLHT_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int rc = dlht_box_ranges(&grid, rows[i].from, rows[i].to, ranges,
                                 rows[i].range_max, &cover);
        if (rc != rows[i].rc)
            fprintf(stderr, "%s\n", rows[i].why);
        CHECK_EQ(rc, rows[i].rc);
        CHECK(rc == DLHT_OK
                  ? cover.count >= 1 && cover.count <= rows[i].range_max
                  : cover.count == 0);
    }
    CHECK_EQ(dlht_box_key(&grid, rows[8].from, &key), DLHT_EINVAL);
    CHECK_EQ(dlht_box_key(&grid, rows[2].from, &key), DLHT_OK);
    CHECK_EQ(dlht_box_point(&grid, key.data, key.len - 1, point),
             DLHT_ENOTFOUND);
    key.data[0] = 'q';
    CHECK_EQ(dlht_box_point(&grid, key.data, key.len, point), DLHT_ENOTFOUND);
    CHECK(point[0] == 7 && point[1] == 8);
    CHECK_EQ(dlht_box_integers(&grid, 1, 8, NULL), DLHT_EINVAL);
    CHECK_EQ(dlht_box_integers(&grid, 2, 33, NULL), DLHT_EINVAL);
    CHECK_EQ(dlht_box_integers(&grid, 9, 8, NULL), DLHT_EINVAL);
    memset(long_prefix, 'p', sizeof(long_prefix));
    long_prefix[DLHT_BOX_PREFIX_MAX + 1] = 0;
    CHECK_EQ(dlht_box_latlon(&grid, long_prefix), DLHT_ETOOBIG);
    CHECK_EQ(dlht_box_check(&grid), DLHT_EINVAL);
    CHECK_EQ(dlht_box_integers(&grid, 2, 8, long_prefix + 1), DLHT_OK);
    grid.max[1] = NAN;
    CHECK_EQ(dlht_box_check(&grid), DLHT_EINVAL);
}

/* A callback of the query may use the handle; one of a request may not. */
static bool on_asking(void *context, const double *point,
                      const struct dlht_record *record)
{
    int *asked = context;
    void *value;
    size_t len;

    (void)point;
    CHECK_EQ(dlht_get(world.d, NULL, record->key.data, record->key.len, &value,
                      &len, NULL),
             DLHT_OK);
    CHECK(len == record->value.len &&
          memcmp(value, record->value.data, len) == 0);
    free(value);
    return ++*asked < 20;
}

static const struct dlht_box_query all_degrees = {
    .from = (const double[]){ -90, -180 }, .to = (const double[]){ 90, 180 }
};

static void on_answer(void *context, const struct dlht_result *result)
{
    struct dlht_box_stats stats;

    (void)result;
    CHECK_EQ(dlht_box_query(world.d, NULL, &world.grid, &all_degrees, NULL,
                            NULL, &stats),
             DLHT_EINVAL);
    CHECK_EQ(stats.requests, 0);
    *(bool *)context = true;
}

static void callbacks_and_failures(void)
{
    struct dlht_options nowhere = { .keyspace = "nowhere" };
    struct dlht_box_query query = all_degrees;
    const double corner[] = { 45, 45 };
    struct dlht_request get = { .op = DLHT_OP_GET, .key = { "k", 1 } };
    struct dlht_box_stats stats;
    bool is_answered = false;
    int asked = 0;

    CHECK_EQ(dlht_box_query(world.d, NULL, &world.grid, &query, on_asking,
                            &asked, &stats),
             DLHT_OK);
    CHECK_EQ(asked, 20);
    CHECK_EQ(stats.kept, 20);
    CHECK_EQ(dlht_submit(world.d, &get, on_answer, &is_answered), DLHT_OK);
    while (!is_answered && dlht_poll(world.d, -1) >= 0)
        ;
    CHECK(is_answered);
    /* Many ranges fail at once, and none is left behind. */
    query.from = corner;
    CHECK_EQ(dlht_box_query(world.d, &nowhere, &world.grid, &query, on_asking,
                            &asked, &stats),
             DLHT_ENOKEYSPACE);
    CHECK_EQ(stats.kept, 0);
    CHECK(stats.cover.count > 0);
    CHECK_EQ(asked, 20);
}

int main(void)
{
    const uint64_t seed = 20040010;
    struct dlht_config config;
    struct dlht_error error;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&world.rng, seed);
    dlht_config_default(&config);
    config.listen = "inproc:box";
    config.replicas = 1;
    config.log_level = DLHT_LOG_ERROR;
    CHECK_EQ(dlht_open(&config, &world.d, &error), DLHT_OK);
    if (world.d) {
        grids_of_every_kind();
        callbacks_and_failures();
        what_is_wrong_is_refused();
    }
    dlht_close(world.d);
    return check_done();
}
