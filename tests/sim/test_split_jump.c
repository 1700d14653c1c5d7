/* SPDX-License-Identifier: Apache-2.0 */

/* A split that two of three copies of an arc do not see: one was away for long
 * and needs a snapshot of the parent, the other goes away before it hears that
 * the split is committed. What the right child holds must not be left on one
 * disk, and its keys must be served as soon as two of the three are there. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "node/inspect.h"
#include "sim/world.h"
#include "wire/mp.h"

enum {
    PEERS = 3,
    KEYS = 100,
    LONG_VALUE = 60 << 10,
    LONG_KEYS = 400 /* of these: more than a leader keeps of its log */
};

static struct world *new_world(uint64_t seed, bool fingers)
{
    struct world_config config;
    struct world *w;
    world_config_default(&config);
    config.seed = seed;
    config.peer_count = PEERS;
    config.node.floor_keys = 1 << 20; /* no splits but the one that is told */
    config.node.map_fingers = fingers;
    cr_assert_eq(world_new(&config, &w), DLHT_OK);
    world_start(w, 0);
    static const size_t FIRST[] = { 0, 1 };
    for (size_t i = 1; i < PEERS; i++) {
        world_set_bootstrap(w, i, FIRST, i > 1 ? 2 : 1);
        world_start(w, i);
    }
    return w;
}

/* What a peer has of the keyspace: how many arcs, and one that it leads. */
struct view {
    size_t copies, led, voters;
    struct inspect_replica leader;
};

static struct view view_of(const struct world *w, size_t peer)
{
    struct view v = { 0 };
    const struct node *node = world_node(w, peer);
    for (size_t i = 0; node && i < inspect_replica_count(node); i++) {
        struct inspect_replica r;
        inspect_replica_at(node, i, &r);
        if (r.keyspace == 0 || r.empty)
            continue;
        v.copies++;
        if (raft_role(r.raft) != RAFT_LEADER)
            continue;
        v.led++;
        v.leader = r;
        for (size_t k = 0; k < r.arc->member_count; k++)
            v.voters += r.arc->members[k].voter;
    }
    return v;
}

/* The peer that leads the one arc, once all are members; PEERS: nobody. */
static size_t leader_of_all(const struct world *w)
{
    for (size_t i = 0; i < PEERS; i++) {
        struct view v = view_of(w, i);
        if (v.led == 1 && v.voters == PEERS)
            return i;
    }
    return PEERS;
}

struct asked {
    bool done;
    int status;
};

static void on_reply(void *context, uint64_t argument,
                     const struct response *response)
{
    struct asked *asked = context;
    (void)argument;
    asked->done = true;
    asked->status = response ? response->status : DLHT_EUNAVAILABLE;
}

/* Until it is answered; asked again for a while if the answer says so. */
static int ask(struct world *w, size_t peer, const struct request *q)
{
    struct asked asked = { 0 };
    for (int i = 0; i < 60; i++) {
        asked = (struct asked){ 0 };
        cr_assert_eq(world_request(w, peer, q, on_reply, &asked, 0), DLHT_OK);
        while (!asked.done && world_step(w))
            ;
        if (asked.status == DLHT_OK)
            break;
        world_run(w, world_now_ns(w) + WORLD_S / 2);
    }
    return asked.status;
}

static int put(struct world *w, size_t peer, const char *prefix, int number,
               size_t len)
{
    static const char VALUE[LONG_VALUE];
    char key[16];
    snprintf(key, sizeof key, "%s%03d", prefix, number);
    struct request q = { .op = OP_PUT,
                         .key = span_str(key),
                         .value = span_of(VALUE, len) };
    return ask(w, peer, &q);
}

static int count_found(struct world *w, size_t peer)
{
    int found = 0;
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%03d", i);
        struct request q = { .op = OP_GET, .key = span_str(key) };
        found += ask(w, peer, &q) == DLHT_OK;
    }
    return found;
}

static void cut_off(struct world *w, size_t peer, bool cut)
{
    for (size_t i = 0; i < PEERS; i++) {
        if (i == peer)
            continue;
        world_cut(w, i, peer, cut);
        world_cut(w, peer, i, cut);
    }
}

/* The leader is told to split, and does; who stored the entry and has not
 * heard that it is committed loses power. */
static void split_unheard(struct world *w, size_t leader, size_t other)
{
    struct view v = view_of(w, leader);
    struct buf keys = { 0 };
    mp_write_bin(&keys, span_str("k050"));
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = (struct step){ .kind = STEP_SPLIT,
                              .keyspace = v.leader.keyspace,
                              .arc = v.leader.id,
                              .generation = v.leader.arc->generation,
                              .keys = buf_span(&keys) };
    cr_assert_eq(world_tell(w, leader, &m), DLHT_OK);
    buf_deinit(&keys);
    uint64_t until = world_now_ns(w) + 10 * WORLD_S;
    while (view_of(w, leader).copies < 2 && world_now_ns(w) < until)
        cr_assert(world_step(w));
    cr_assert_eq(view_of(w, leader).copies, 2);
    cr_assert_eq(view_of(w, other).copies, 1);
    world_crash(w, other, true);
}

struct cast {
    size_t a; /* has split, and leads */
    size_t b; /* has stored the entry and is down */
    size_t c; /* was away for long, and is back */
};

static struct cast begin(struct world *w, uint64_t seed)
{
    struct cast p = { .a = PEERS };
    for (int i = 0; i < 60 && p.a == PEERS; i++) {
        world_run(w, world_now_ns(w) + WORLD_S);
        p.a = leader_of_all(w);
    }
    cr_assert_lt(p.a, PEERS, "seed %llu", (unsigned long long)seed);
    for (int i = 0; i < KEYS; i++)
        cr_assert_eq(put(w, p.a, "k", i, 100), DLHT_OK);
    p.b = (p.a + 1) % PEERS;
    p.c = (p.a + 2) % PEERS;
    cut_off(w, p.c, true);
    for (int i = 0; i < LONG_KEYS; i++)
        cr_assert_eq(put(w, p.a, "a", i, LONG_VALUE), DLHT_OK);
    if (leader_of_all(w) == p.b) {
        size_t was = p.a;
        p.a = p.b;
        p.b = was;
    }
    split_unheard(w, p.a, p.b);
    cut_off(w, p.c, false);
    return p;
}

static void run(uint64_t seed, bool fingers)
{
    struct world *w = new_world(seed, fingers);
    struct cast p = begin(w, seed);
    size_t a = p.a, b = p.b, c = p.c;

    /* Two of three are there. */
    world_run(w, world_now_ns(w) + 20 * WORLD_S);
    cr_expect_eq(count_found(w, a), KEYS, "seed %llu: two are there",
                 (unsigned long long)seed);
    cr_expect_eq(put(w, c, "k", KEYS, 100), DLHT_OK);

    /* And any one of three may go. */
    world_crash(w, a, true);
    world_start(w, b);
    world_run(w, world_now_ns(w) + 20 * WORLD_S);
    cr_expect_eq(count_found(w, b), KEYS, "seed %llu: the leader is gone",
                 (unsigned long long)seed);
    cr_expect_eq(put(w, b, "k", KEYS + 1, 100), DLHT_OK);
    const char *text;
    const char *failure = world_failure(w, &text);
    cr_expect_null(failure, "seed %llu: %s: %s", (unsigned long long)seed,
                   failure, text);
    world_free(w);
}

Test(split_jump, a_snapshot_does_not_jump_over_a_split, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run(seed, false);
}

Test(split_jump, nor_where_nobody_has_the_whole_map, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run(seed, true);
}
