/* SPDX-License-Identifier: Apache-2.0 */

/* How long a search takes where peers are far from each other. Those that hold
 * all copies are asked at once, whatever their number, and owners how far copies
 * must have come: one way there and back. Where a copy had not come so far its
 * owner is asked: another one. What each takes to search is no part of it:
 * virtual time stands still there. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "sim/world.h"
#include "vector/vector_record.h"
#include "wire/mp.h"

enum {
    PEERS = 8,
    DIM = 8,
    ROWS = 600,
    SEARCHES = 40,
    CHANGES = 60,
    K = 3, /* after a change */
    HITS_MAX = 10,
    BACK_MS = 20, /* after so long a peer's answer is back */
    SLACK_MS = 1
};

struct asked {
    bool done;
    int status;
    uint64_t at_ns;
    uint64_t peers, arcs;
    bool partial;
    uint32_t hits;
    unsigned rows[HITS_MAX]; /* the nearest first */
};

static void read_summary(struct asked *asked, struct span doc)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("peers")))
            asked->peers = mp_read_uint(&r);
        else if (span_equal(field, span_str("arcs")))
            asked->arcs = mp_read_uint(&r);
        else if (span_equal(field, span_str("partial")))
            asked->partial = mp_read_bool(&r);
        else
            mp_skip(&r);
    }
    cr_assert(!r.bad);
}

static void read_hits(struct asked *asked, struct span list)
{
    struct mp_reader r;
    mp_reader_init(&r, list);
    for (uint32_t i = 0; i < asked->hits && i < HITS_MAX; i++) {
        char id[16] = "";
        struct span key = mp_read_bytes(&r);
        cr_assert_lt(key.len, sizeof id);
        memcpy(id, key.data, key.len);
        asked->rows[i] = (unsigned)strtoul(id, NULL, 10);
        mp_read_bytes(&r);
        mp_read_uint(&r);
    }
    cr_assert(!r.bad);
}

static struct world *w;
static float vectors[ROWS][DIM]; /* as they are now */
static bool there[ROWS];

static void on_reply(void *context, uint64_t argument,
                     const struct response *response)
{
    struct asked *asked = context;
    (void)argument;
    asked->done = true;
    asked->at_ns = world_now_ns(w);
    asked->status = response ? response->status : DLHT_EUNAVAILABLE;
    if (asked->status != DLHT_OK || response->value.len == 0)
        return;
    asked->hits = response->list_count;
    read_summary(asked, response->value);
    read_hits(asked, response->list);
}

/* The answer, and how long it took. */
static struct asked ask(size_t peer, const struct request *q, double *ms)
{
    struct asked asked = { 0 };
    uint64_t before = world_now_ns(w);
    cr_assert_eq(world_request(w, peer, q, on_reply, &asked, 0), DLHT_OK);
    while (!asked.done)
        cr_assert(world_step(w));
    *ms = (double)(asked.at_ns - before) / (double)WORLD_MS;
    return asked;
}

static void must_ask(const struct request *q)
{
    double ms;
    for (int i = 0; i < 60; i++) {
        if (ask(0, q, &ms).status == DLHT_OK)
            return;
        world_run(w, world_now_ns(w) + WORLD_S / 2);
    }
    cr_assert_fail("it is not done after half a minute");
}

/* The entry node is asked in no time, so that what is left is between peers. */
static void make_world(uint64_t seed)
{
    struct world_config config;
    world_config_default(&config);
    config.seed = seed;
    config.peer_count = PEERS;
    config.node.floor_keys = 16;
    config.net = (struct world_net){ .delay_min_ns = BACK_MS * WORLD_MS / 2,
                                     .delay_max_ns = BACK_MS * WORLD_MS / 2 };
    cr_assert_eq(world_new(&config, &w), DLHT_OK);
    for (size_t i = 0; i < PEERS; i++) {
        size_t first = 0;
        world_set_bootstrap(w, i, &first, i > 0);
        world_start(w, i);
    }
    world_run(w, 20 * WORLD_S);
}

static void create(void)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, "v");
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "vector-dim");
    mp_write_cstr(&doc, "8");
    mp_write_cstr(&doc, "vector-metric");
    mp_write_cstr(&doc, "l2");
    struct request q = { .op = OP_KEYSPACE_CREATE, .value = buf_span(&doc) };
    must_ask(&q);
    buf_deinit(&doc);
}

static void draw(struct rng *rng, float vector[DIM])
{
    for (size_t i = 0; i < DIM; i++)
        vector[i] = (float)rng_real(rng);
}

static void write_vector(struct buf *doc, const float vector[DIM])
{
    uint8_t bytes[DIM * sizeof(float)];
    vector_record_bytes(vector, DIM, bytes);
    mp_write_cstr(doc, "vector");
    mp_write_bin(doc, span_of(bytes, sizeof bytes));
}

static void put(unsigned row)
{
    char id[16];
    struct buf doc = { 0 };
    snprintf(id, sizeof id, "%06u", row);
    mp_write_map(&doc, 1);
    write_vector(&doc, vectors[row]);
    struct request q = { .op = OP_VECTOR_PUT,
                         .keyspace_name = span_str("v"),
                         .key = span_str(id),
                         .value = buf_span(&doc) };
    must_ask(&q);
    there[row] = true;
    buf_deinit(&doc);
}

static void load(struct rng *rng)
{
    for (unsigned row = 0; row < ROWS; row++) {
        draw(rng, vectors[row]);
        put(row);
    }
}

struct times {
    double first, least, most, sum; /* the rest but for the first */
    uint64_t peers_least, arcs;
};

static struct times search(struct rng *rng, uint16_t flags)
{
    struct times t = { .least = 1e9, .peers_least = PEERS };
    for (size_t i = 0; i < SEARCHES; i++) {
        float vector[DIM];
        struct buf doc = { 0 };
        double ms;
        draw(rng, vector);
        mp_write_map(&doc, 1);
        write_vector(&doc, vector);
        struct request q = { .op = OP_SEARCH,
                             .flags = flags,
                             .keyspace_name = span_str("v"),
                             .value = buf_span(&doc) };
        struct asked asked = ask(i % PEERS, &q, &ms);
        buf_deinit(&doc);
        cr_assert_eq(asked.status, DLHT_OK);
        cr_assert(!asked.partial);
        cr_assert_eq(asked.hits, 10);
        if (i == 0) {
            t.first = ms;
        } else {
            t.least = ms < t.least ? ms : t.least;
            t.most = ms > t.most ? ms : t.most;
            t.sum += ms;
        }
        t.arcs = asked.arcs;
        if (asked.peers < t.peers_least)
            t.peers_least = asked.peers;
        world_run(w, world_now_ns(w) + 137 * WORLD_MS);
    }
    return t;
}

static void tell(const char *what, const struct times *t)
{
    printf("%s: the first %.1f ms, then %.1f to %.1f, on average %.1f; %llu "
           "arcs, %llu peers or more\n",
           what, t->first, t->least, t->most, t->sum / (SEARCHES - 1),
           (unsigned long long)t->arcs, (unsigned long long)t->peers_least);
}

static void end_world(void)
{
    const char *text;
    const char *failure = world_failure(w, &text);
    cr_expect_null(failure, "%s: %s", failure, text);
    world_free(w);
}

Test(search_delay, peers_are_asked_at_once, .timeout = 120)
{
    struct rng rng;
    uint64_t seed = 5;
    printf("seed %llu: %d peers, each answers after %d ms\n",
           (unsigned long long)seed, PEERS, BACK_MS);
    rng_init(&rng, seed);
    make_world(seed);
    create();
    load(&rng);
    world_run(w, world_now_ns(w) + 60 * WORLD_S); /* arcs are spread */
    struct times strict = search(&rng, 0);
    struct times stale = search(&rng, REQUEST_STALE);
    tell("all that was acknowledged", &strict);
    tell("stale", &stale);
    cr_expect_lt(stale.first, BACK_MS + SLACK_MS);
    cr_expect_lt(stale.most, BACK_MS + SLACK_MS);
    cr_expect_lt(strict.most, BACK_MS + SLACK_MS);
    /* After a silence owners make sure first that they still are. */
    cr_expect_lt(strict.first, 3 * BACK_MS + SLACK_MS);
    end_world();
}

/* The nearest of what is there. */
static void find(const float vector[DIM], unsigned rows[K])
{
    double near[K];
    size_t count = 0;
    for (unsigned row = 0; row < ROWS; row++) {
        double d = 0;
        for (size_t i = 0; i < DIM; i++)
            d += ((double)vectors[row][i] - vector[i]) *
                 ((double)vectors[row][i] - vector[i]);
        if (!there[row] || (count == K && d >= near[K - 1]))
            continue;
        size_t at = count < K ? count++ : K - 1;
        for (; at > 0 && near[at - 1] > d; at--) {
            near[at] = near[at - 1];
            rows[at] = rows[at - 1];
        }
        near[at] = d;
        rows[at] = row;
    }
    cr_assert_eq(count, K);
}

static void del(unsigned row)
{
    char id[16];
    snprintf(id, sizeof id, "%06u", row);
    struct request q = { .op = OP_DEL,
                         .keyspace_name = span_str("v"),
                         .key = span_str(id) };
    must_ask(&q);
    there[row] = false;
}

/* Copies hear of what is acknowledged only later. */
Test(search_delay, what_was_just_acknowledged_is_known, .timeout = 120)
{
    struct rng rng;
    uint64_t seed = 6;
    double sum = 0, most = 0;
    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    make_world(seed);
    create();
    load(&rng);
    world_run(w, world_now_ns(w) + 60 * WORLD_S);
    for (size_t i = 0; i < CHANGES; i++) {
        float vector[DIM];
        unsigned rows[K];
        struct buf doc = { 0 };
        double ms;
        draw(&rng, vector);
        find(vector, rows);
        if (i % 3 == 0)
            del(rows[0]);
        if (i % 3 == 1) { /* another becomes the nearest */
            memcpy(vectors[rows[K - 1]], vector, sizeof vector);
            put(rows[K - 1]);
        }
        if (i % 3 == 2) { /* the nearest goes far away */
            vectors[rows[0]][0] = 100;
            put(rows[0]);
        }
        find(vector, rows);
        mp_write_map(&doc, 3);
        write_vector(&doc, vector);
        mp_write_cstr(&doc, "k");
        mp_write_uint(&doc, K);
        mp_write_cstr(&doc, "exact");
        mp_write_bool(&doc, true);
        struct request q = { .op = OP_SEARCH,
                             .keyspace_name = span_str("v"),
                             .value = buf_span(&doc) };
        struct asked asked = ask(i % PEERS, &q, &ms);
        buf_deinit(&doc);
        cr_assert_eq(asked.status, DLHT_OK);
        cr_assert(!asked.partial);
        cr_assert_eq(asked.hits, K);
        for (size_t k = 0; k < K; k++)
            cr_expect_eq(asked.rows[k], rows[k], "change %zu, hit %zu", i, k);
        sum += ms;
        if (i > 0) /* after the silence */
            most = ms > most ? ms : most;
    }
    printf("after a change: on average %.1f ms, %.1f at most\n", sum / CHANGES,
           most);
    /* Peers at once; owners of what fell short; where hits lack then, all. */
    cr_expect_lt(most, 3 * BACK_MS + 2 * SLACK_MS);
    end_world();
}
