/* SPDX-License-Identifier: Apache-2.0 */

/* Weights, and the dead. */

#include "sim/balance_story.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/inspect.h"
#include "wire/mp.h"

enum {
    DEAD_MAX = 8,
    CALM_LOOKS = 8 /* without a move */
};
static const uint64_t LOOK_NS = 400 * WORLD_MS;
static const uint64_t ANSWER_NS = 10 * WORLD_S;

/* What a ring says of itself. */
struct picture {
    bool whole;
    uint64_t moves;
    uint64_t held[WORLD_PEERS_MAX]; /* bytes */
    char fate[WORLD_PEERS_MAX];     /* first letter; 0: not waited for */
};

struct balance_story {
    struct world *world;
    struct rng rng;
    bool waits;
    int status; /* of the last answer */
    struct picture now;
};

struct balance_story *balance_story_new(struct world *world, uint64_t seed)
{
    struct balance_story *s = mem_zero(1, sizeof *s);
    if (!s)
        abort();
    s->world = world;
    rng_init(&s->rng, seed);
    return s;
}

void balance_story_free(struct balance_story *s)
{
    free(s);
}

static size_t peer_at(const struct balance_story *s, struct span addr)
{
    for (size_t i = 0; i < world_peer_count(s->world); i++)
        if (span_equal(addr, span_str(world_addr(s->world, i))))
            return i;
    return SIZE_MAX;
}

/* A map of a list: the peer it is about, and one field of it. */
static size_t read_row(struct balance_story *s, struct mp_reader *r,
                       const char *name, struct span *raw)
{
    size_t peer = SIZE_MAX;
    for (size_t pairs = mp_read_map(r); pairs > 0 && !r->bad; pairs--) {
        struct span field = mp_read_bytes(r);
        if (span_equal(field, span_str("peer")))
            peer = peer_at(s, mp_read_bytes(r));
        else if (span_equal(field, span_str(name)))
            *raw = mp_read_raw(r);
        else
            mp_skip(r);
    }
    return peer;
}

static void read_peers(struct balance_story *s, struct mp_reader *r)
{
    for (size_t n = mp_read_array(r); n > 0 && !r->bad; n--) {
        struct span raw = span_empty();
        struct mp_reader value;
        size_t peer = read_row(s, r, "held_bytes", &raw);
        mp_reader_init(&value, raw);
        if (peer != SIZE_MAX)
            s->now.held[peer] = mp_read_uint(&value);
    }
}

static void read_waiting(struct balance_story *s, struct mp_reader *r)
{
    for (size_t n = mp_read_array(r); n > 0 && !r->bad; n--) {
        struct span raw = span_empty();
        struct mp_reader value;
        size_t peer = read_row(s, r, "state", &raw);
        mp_reader_init(&value, raw);
        struct span state = mp_read_bytes(&value);
        if (peer != SIZE_MAX && state.len)
            s->now.fate[peer] = (char)state.data[0];
    }
}

static void on_answer(void *context, uint64_t argument,
                      const struct response *response)
{
    struct balance_story *s = context;
    (void)argument;
    s->waits = false;
    s->status = response ? response->status : DLHT_ECLOSED;
    if (s->status != DLHT_OK || response->value.len == 0)
        return;
    struct mp_reader r;
    memset(&s->now, 0, sizeof s->now);
    mp_reader_init(&r, response->value);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("whole_picture")))
            s->now.whole = mp_read_bool(&r);
        else if (span_equal(field, span_str("moves_count")))
            s->now.moves = mp_read_uint(&r);
        else if (span_equal(field, span_str("peers")))
            read_peers(s, &r);
        else if (span_equal(field, span_str("waiting")))
            read_waiting(s, &r);
        else
            mp_skip(&r);
    }
    if (r.bad)
        world_fail(s->world, "balance", "its status is not understood");
}

/* Asks any peer that is ready until one answers well. */
static bool ask(struct balance_story *s, const struct request *q)
{
    uint64_t end = world_now_ns(s->world) + ANSWER_NS;
    s->status = DLHT_EUNAVAILABLE;
    while (s->status != DLHT_OK || s->waits) {
        size_t by = (size_t)rng_below(&s->rng, world_peer_count(s->world));
        if (!s->waits && world_is_ready(s->world, by)) {
            s->waits = true;
            if (world_request(s->world, by, q, on_answer, s, 0) != DLHT_OK)
                world_fail(s->world, "codec", "a request does not pack");
        }
        if (world_now_ns(s->world) > end)
            world_fail(s->world, "balance", "op %d is not answered: %s", q->op,
                       dlht_errname(s->status));
        if (!world_run(s->world, world_now_ns(s->world) + 20 * WORLD_MS))
            return false;
    }
    return true;
}

static bool look(struct balance_story *s)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, "action");
    mp_write_cstr(&doc, "status");
    struct request q = { .op = OP_BALANCE,
                         .value = buf_span(&doc),
                         .timeout_ms = 2000 };
    bool sound = ask(s, &q);
    buf_deinit(&doc);
    return sound;
}

bool balance_story_set(struct balance_story *s, size_t peer, const char *option,
                       const char *value)
{
    struct buf doc = { 0 };
    world_trace(s->world, "n%zu is set %s=%s", peer, option, value);
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "peer");
    mp_write_cstr(&doc, world_addr(s->world, peer));
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, option);
    mp_write_cstr(&doc, value);
    struct request q = { .op = OP_PEER_SET,
                         .value = buf_span(&doc),
                         .timeout_ms = 2000 };
    bool sound = ask(s, &q);
    buf_deinit(&doc);
    return sound;
}

/* What the peer holds over what others hold on average. */
static double ratio_of(const struct balance_story *s, size_t peer)
{
    double others = 0;
    size_t count = world_peer_count(s->world);
    for (size_t i = 0; i < count; i++)
        others += i == peer ? 0 : (double)s->now.held[i];
    return others > 0 ? (double)s->now.held[peer] * (double)(count - 1) / others
                      : 0;
}

static bool pause(struct balance_story *s)
{
    return world_run(s->world, world_now_ns(s->world) + LOOK_NS);
}

bool balance_story_weigh(struct balance_story *s, size_t peer, double weight,
                         uint64_t bound_ns, double *out)
{
    uint64_t end = world_now_ns(s->world) + bound_ns;
    for (int calm = 0; calm < CALM_LOOKS;) {
        if (!look(s))
            return false;
        *out = ratio_of(s, peer);
        bool fits = *out >= 0.9 * weight && *out <= 1.1 * weight;
        calm = fits && s->now.moves == 0 && s->now.whole ? calm + 1 : 0;
        if (world_now_ns(s->world) > end)
            world_fail(s->world, "A12_weights",
                       "n%zu holds %.2f times what others do, of weight %.2f; "
                       "%llu moves are under way",
                       peer, *out, weight, (unsigned long long)s->now.moves);
        if (!pause(s))
            return false;
    }
    return true;
}

bool balance_story_rest(struct balance_story *s, uint64_t bound_ns)
{
    uint64_t end = world_now_ns(s->world) + bound_ns;
    for (int calm = 0; calm < CALM_LOOKS;) {
        if (!look(s))
            return false;
        calm = s->now.moves == 0 && s->now.whole ? calm + 1 : 0;
        if (world_now_ns(s->world) > end)
            world_fail(s->world, "A12_rest", "%llu moves are under way",
                       (unsigned long long)s->now.moves);
        if (!pause(s))
            return false;
    }
    return true;
}

/* Voters of the system arc among the peers. */
static size_t system_voters(struct balance_story *s, const size_t *peers,
                            size_t count, size_t *all)
{
    struct keyspace_record record;
    size_t by = 0, found = 0;
    while (!world_is_ready(s->world, by))
        by++;
    const struct map *map = inspect_map(world_node(s->world, by), 0, &record);
    const struct arc *arc = map_count(map) ? map_at(map, 0) : NULL;
    *all = 0;
    for (size_t m = 0; arc && m < arc->member_count; m++) {
        size_t peer = world_peer_of(s->world, &arc->members[m].peer);
        *all += arc->members[m].voter;
        for (size_t i = 0; i < count; i++)
            found += arc->members[m].voter && peers[i] == peer;
    }
    return found;
}

void balance_story_choose(struct balance_story *s, size_t *peers, size_t count)
{
    size_t all;
    do {
        for (size_t i = 0; i < count;) {
            peers[i] = (size_t)rng_below(&s->rng, world_peer_count(s->world));
            bool twice = false;
            for (size_t k = 0; k < i; k++)
                twice = twice || peers[k] == peers[i];
            i += !twice;
        }
    } while (2 * system_voters(s, peers, count, &all) >= all && all > 0);
}

/* Copies that the newest descriptors of all living peers give to one; of these
 * those of arcs that cannot change, for most voters are dead. */
struct grave {
    struct id id;
    size_t last, now, stuck;
    char fate; /* when last looked */
};

static const struct grave *grave_of(const struct grave *graves, size_t count,
                                    const struct id *id)
{
    for (size_t i = 0; i < count; i++)
        if (id_equal(&graves[i].id, id))
            return &graves[i];
    return NULL;
}

static void count_arc(const struct arc *arc, struct grave *graves, size_t count)
{
    size_t voters = 0, dead = 0;
    for (size_t m = 0; m < arc->member_count; m++) {
        voters += arc->members[m].voter;
        dead += arc->members[m].voter &&
                grave_of(graves, count, &arc->members[m].peer);
    }
    for (size_t i = 0; i < count; i++) {
        if (!arc_member_of(arc, &graves[i].id))
            continue;
        graves[i].now++;
        graves[i].stuck += voters - dead < voters / 2 + 1;
    }
}

/* By the map of a peer that is up, which is seldom late. */
static void count_copies(struct balance_story *s, struct grave *graves,
                         size_t count)
{
    size_t by = 0;
    while (by + 1 < world_peer_count(s->world) && !world_is_ready(s->world, by))
        by++;
    const struct node *node = world_node(s->world, by);
    for (size_t i = 0; i < count; i++)
        graves[i].now = graves[i].stuck = 0;
    for (size_t k = 0; node && k < inspect_keyspace_count(node); k++) {
        struct keyspace_record record;
        const struct map *map = inspect_map(node, k, &record);
        for (size_t i = 0; i < map_count(map); i++)
            count_arc(map_at(map, i), graves, count);
    }
}

/* The ring's word: one at a time, and no living peer. And what it does: of a
 * peer that waits for its turn no copy goes. */
static void check_dead(struct balance_story *s, const size_t *dead,
                       struct grave *graves, size_t count)
{
    size_t said = 0;
    for (size_t i = 0; i < world_peer_count(s->world); i++) {
        bool is_dead = false;
        for (size_t k = 0; k < count; k++)
            is_dead = is_dead || dead[k] == i;
        said += s->now.fate[i] == 'r';
        if (s->now.fate[i] && !is_dead)
            world_fail(s->world, "A12_living",
                       "n%zu lives, and its copies are waited for or made anew",
                       i);
    }
    if (said > 1)
        world_fail(s->world, "A12_one_at_a_time",
                   "%zu peers are said to be replaced", said);
    count_copies(s, graves, count);
    for (size_t i = 0; i < count; i++) {
        struct grave *g = &graves[i];
        char fate = s->now.fate[dead[i]];
        if (g->now < g->last && (g->fate == 'q' || g->fate == 'a') &&
            fate == g->fate)
            world_fail(s->world, "A12_one_at_a_time",
                       "n%zu loses copies out of its turn", dead[i]);
        g->fate = fate;
        g->last = g->now;
    }
}

bool balance_story_bury(struct balance_story *s, const size_t *dead,
                        size_t count, uint64_t for_ns, size_t *replaced)
{
    struct grave graves[DEAD_MAX] = { 0 };
    uint64_t end = world_now_ns(s->world) + for_ns;
    assert(count <= DEAD_MAX);
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < world_peer_count(s->world); k++) {
            const struct node *node = world_node(s->world, k);
            const struct swim *swim = node ? inspect_swim(node) : NULL;
            for (size_t p = 0; swim && p < swim_count(swim); p++)
                if (strcmp(swim_at(swim, p)->addr,
                           world_addr(s->world, dead[i])) == 0 &&
                    found == i)
                    graves[found++].id = swim_at(swim, p)->id;
        }
    count_copies(s, graves, count);
    for (size_t i = 0; i < count; i++)
        graves[i].last = graves[i].now;
    while (world_now_ns(s->world) < end) {
        if (!look(s))
            return false;
        check_dead(s, dead, graves, count);
        if (!pause(s))
            return false;
    }
    *replaced = 0;
    for (size_t i = 0; i < count; i++)
        *replaced += graves[i].now == graves[i].stuck;
    return true;
}
