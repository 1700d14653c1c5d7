/* SPDX-License-Identifier: Apache-2.0 */

/* The dead, the operator, and what is forgiven. */

#include "sim/recover_story.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "node/inspect.h"
#include "sim/history.h"
#include "store/records.h"
#include "wire/mp.h"

enum {
    ARCS_MAX = 4096,     /* looked after in one world */
    RECOVERED_SHIFT = 32 /* of a generation: how often it was recovered */
};
#define BOUND_NS (120 * WORLD_S)

/* What a copy held at its last turn: which only grows, or is cut. */
struct copy {
    arc_id arc;
    size_t peer;
    uint64_t times; /* recovered */
    uint64_t counter;
    uint64_t last_term, last_index; /* of its log */
};

struct recover_story {
    struct world *world;
    struct workload *workload;
    struct checker *checker;
    struct rng rng;
    struct copy *copies;
    size_t copy_count;
    size_t recovered, emptied, refused, returned, asked, gaps;
    size_t keys; /* whose history was cut */
    bool waits;
    int status;
};

struct recover_story *recover_story_new(struct world *world,
                                        struct workload *workload,
                                        struct checker *checker, uint64_t seed)
{
    struct recover_story *s = mem_zero(1, sizeof *s);
    if (s)
        s->copies = mem_zero(ARCS_MAX, sizeof *s->copies);
    if (!s || !s->copies) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    s->world = world;
    s->workload = workload;
    s->checker = checker;
    rng_init(&s->rng, seed);
    return s;
}

void recover_story_free(struct recover_story *s)
{
    if (s)
        free(s->copies);
    free(s);
}

static struct copy *copy_of(struct recover_story *s, arc_id arc, size_t peer)
{
    for (size_t i = 0; i < s->copy_count; i++)
        if (s->copies[i].arc == arc && s->copies[i].peer == peer)
            return &s->copies[i];
    if (s->copy_count == ARCS_MAX)
        return NULL;
    s->copies[s->copy_count] = (struct copy){ .arc = arc, .peer = peer };
    return &s->copies[s->copy_count++];
}

/* From now on the keys of this arc are what the copy holds. */
static void cut(struct recover_story *s, const struct inspect_replica *r)
{
    struct history *h = workload_history(s->workload);
    uint64_t now = world_now_ns(s->world);
    for (size_t key = history_place_at(h, r->arc->lo);
         key < history_key_count(h); key++) {
        struct span name = history_key(h, key);
        struct record record;
        if (!arc_has(r->arc, name))
            break;
        bool there = records_get(r->records, name, &record);
        uint64_t id = there ? history_value_id(record.value, key) : 0;
        if (there && id == 0)
            world_fail(s->world, "value_whole",
                       "key %zu is recovered with a damaged value", key);
        history_cut(h, key, now, id, there ? record.version : 0);
        s->keys++;
    }
}

/* It is still there, and not of a recovered group. */
static bool holds(const struct recover_story *s, const struct copy *c)
{
    const struct node *node = world_node(s->world, c->peer);
    for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
        struct inspect_replica r;
        inspect_replica_at(node, k, &r);
        if (r.id == c->arc)
            return !r.empty && r.arc->generation >> RECOVERED_SHIFT == c->times;
    }
    return false;
}

/* Nobody who is up has a longer log. */
static void check_choice(struct recover_story *s, size_t peer,
                         const struct inspect_replica *r, const struct copy *c)
{
    for (size_t i = 0; i < s->copy_count; i++) {
        const struct copy *other = &s->copies[i];
        if (other->arc != c->arc || other == c || other->times != c->times ||
            !world_is_ready(s->world, other->peer) || !holds(s, other))
            continue;
        if (other->last_term > c->last_term ||
            (other->last_term == c->last_term &&
             other->last_index > c->last_index))
            world_fail(s->world, "recovered_best",
                       "arc %llx goes on on n%zu from entry %llu of term "
                       "%llu, but n%zu has entry %llu of term %llu",
                       (unsigned long long)r->id, peer,
                       (unsigned long long)c->last_index,
                       (unsigned long long)c->last_term, other->peer,
                       (unsigned long long)other->last_index,
                       (unsigned long long)other->last_term);
    }
}

/* Keys that the copy had applied must still be there, or have been cut off. */
static void on_recovered(struct recover_story *s, size_t peer,
                         const struct inspect_replica *r, const struct copy *c)
{
    bool had_copy = r->applied > 1; /* begun anew: from its first entry */
    world_trace(s->world,
                "n%zu goes on alone with arc %llx: generation %llu, %zu keys, "
                "counter %llu, before %llu",
                peer, (unsigned long long)r->id,
                (unsigned long long)r->arc->generation,
                records_count(r->records), (unsigned long long)r->counter,
                (unsigned long long)c->counter);
    s->recovered += had_copy;
    s->emptied += !had_copy;
    uint64_t step = had_copy ? UINT64_C(1) << RECOVERED_SHIFT : 1;
    if (r->counter < c->counter + step)
        world_fail(s->world, "recovered_versions",
                   "arc %llx: versions go on at %llu, after %llu",
                   (unsigned long long)r->id, (unsigned long long)r->counter,
                   (unsigned long long)c->counter);
    if (had_copy)
        check_choice(s, peer, r, c);
    if (r->keyspace != 0)
        cut(s, r);
}

void recover_story_turn(struct recover_story *s, size_t peer)
{
    const struct node *node = world_node(s->world, peer);
    size_t count = node ? inspect_replica_count(node) : 0;
    for (size_t i = 0; i < count; i++) {
        struct inspect_replica r;
        inspect_replica_at(node, i, &r);
        struct copy *c = r.empty ? NULL : copy_of(s, r.id, peer);
        if (!c)
            continue;
        uint64_t times = r.arc->generation >> RECOVERED_SHIFT;
        /* Who hears of a recovered group gets a snapshot of it; who made it is
         * its only member. */
        if (times > c->times && r.arc->member_count == 1 &&
            r.arc->members[0].replica == r.self)
            on_recovered(s, peer, &r, c);
        c->times = times;
        c->counter = r.counter;
        c->last_index = raft_last_index(r.raft);
        c->last_term = raft_term_at(r.raft, c->last_index);
    }
}

/* The operator. */

static bool run_for(struct recover_story *s, uint64_t ns)
{
    return world_run(s->world, world_now_ns(s->world) + ns);
}

static void on_answer(void *context, uint64_t argument,
                      const struct response *response)
{
    struct recover_story *s = context;
    (void)argument;
    s->waits = false;
    s->status = response ? response->status : DLHT_ECLOSED;
    if (response && response->status != DLHT_OK)
        world_trace(s->world, "recover: %s: %.*s",
                    dlht_errname(response->status), (int)response->text.len,
                    response->text.len ? (const char *)response->text.data
                                       : "");
}

static size_t any_peer(struct recover_story *s)
{
    size_t count = world_peer_count(s->world);
    for (;;) {
        size_t peer = (size_t)rng_below(&s->rng, count);
        if (world_is_ready(s->world, peer))
            return peer;
    }
}

static bool ask(struct recover_story *s, size_t peer, arc_id arc, bool accept,
                bool empty)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "arc");
    mp_write_uint(&doc, arc);
    mp_write_cstr(&doc, "accept_loss");
    mp_write_bool(&doc, accept);
    mp_write_cstr(&doc, "empty");
    mp_write_bool(&doc, empty);
    struct request q = { .op = OP_RECOVER,
                         .value = buf_span(&doc),
                         .timeout_ms = 5000 };
    s->waits = true;
    s->asked++;
    if (world_request(s->world, peer, &q, on_answer, s, 0) != DLHT_OK)
        world_fail(s->world, "codec", "OP_RECOVER does not pack");
    bool sound = true;
    while (sound && s->waits)
        sound = run_for(s, 50 * WORLD_MS);
    buf_deinit(&doc);
    s->refused += s->status == DLHT_EREFUSED;
    return sound;
}

static bool is_led(const struct recover_story *s, arc_id arc)
{
    for (size_t i = 0; i < world_peer_count(s->world); i++) {
        const struct node *node = world_node(s->world, i);
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (r.id == arc && !r.empty && raft_role(r.raft) == RAFT_LEADER)
                return true;
        }
    }
    return false;
}

/* An arc that somebody who is up knows and nobody leads, drawn at random; 0:
 * there is none. */
static arc_id draw_lost(struct recover_story *s)
{
    arc_id drawn = 0;
    uint64_t fit = 0;
    for (size_t i = 0; i < world_peer_count(s->world); i++) {
        const struct node *node = world_node(s->world, i);
        for (size_t k = 0; node && k < inspect_keyspace_count(node); k++) {
            const struct map *map = inspect_map(node, k, NULL);
            for (size_t n = 0; n < map_count(map); n++)
                if (!is_led(s, map_at(map, n)->id) &&
                    rng_below(&s->rng, ++fit) == 0)
                    drawn = map_at(map, n)->id;
        }
    }
    return drawn;
}

/* Nothing is known there of an arc from that key on. */
static bool lacks_arc(const struct node *node, keyspace_id keyspace,
                      struct span from)
{
    struct keyspace_record record;
    struct arc gap;
    for (size_t k = 0; node && k < inspect_keyspace_count(node); k++) {
        const struct map *map = inspect_map(node, k, &record);
        if (record.id == keyspace)
            return map_gap_at(map, from, &gap);
    }
    return true;
}

static bool all_lack_arc(const struct recover_story *s, keyspace_id keyspace,
                         struct span from)
{
    for (size_t i = 0; i < world_peer_count(s->world); i++)
        if (!lacks_arc(world_node(s->world, i), keyspace, from))
            return false;
    return true;
}

/* An arc that is led, behind which there are keys that nobody who is up knows
 * an arc of; 0: there is none. */
static arc_id find_gap(const struct recover_story *s, size_t *leader)
{
    for (size_t i = 0; i < world_peer_count(s->world); i++) {
        const struct node *node = world_node(s->world, i);
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (r.empty || raft_role(r.raft) != RAFT_LEADER || !r.arc->has_hi ||
                !all_lack_arc(s, r.keyspace, r.arc->hi))
                continue;
            *leader = i;
            return r.id;
        }
    }
    return 0;
}

/* An arc that is led is not recovered, whoever asks. */
static bool ask_for_healthy(struct recover_story *s)
{
    const struct node *node = world_node(s->world, any_peer(s));
    struct keyspace_record record;
    const struct map *map =
        inspect_map(node, inspect_keyspace_count(node) - 1, &record);
    if (map_count(map) == 0)
        return true;
    arc_id arc = map_at(map, (size_t)rng_below(&s->rng, map_count(map)))->id;
    size_t leader;
    bool led = is_led(s, arc) && find_gap(s, &leader) == 0;
    bool empty = rng_chance(&s->rng, 0.5);
    if (!ask(s, any_peer(s), arc, true, empty))
        return false;
    if (led && is_led(s, arc) && s->status == DLHT_OK)
        world_fail(s->world, "recover_refused",
                   "arc %llx is led and was recovered",
                   (unsigned long long)arc);
    return true;
}

static bool recover_all(struct recover_story *s)
{
    uint64_t end = world_now_ns(s->world) + BOUND_NS;
    for (;;) {
        size_t leader = SIZE_MAX;
        arc_id arc = draw_lost(s);
        if (arc == 0)
            arc = find_gap(s, &leader);
        if (arc == 0)
            return true;
        if (world_now_ns(s->world) > end) {
            checker_trace(s->checker, arc);
            world_fail(s->world, "A10_recover",
                       "arc %llx is not led after %.0f s of asking",
                       (unsigned long long)arc, (double)BOUND_NS / 1e9);
            return false;
        }
        bool of_gap = leader != SIZE_MAX;
        s->gaps += of_gap;
        bool empty =
            of_gap || (s->status == DLHT_EREFUSED && rng_chance(&s->rng, 0.3));
        bool accept = rng_chance(&s->rng, 0.8);
        if (!ask(s, of_gap ? leader : any_peer(s), arc, accept, empty) ||
            !run_for(s, rng_range(&s->rng, 10, 1000) * WORLD_MS))
            return false;
    }
}

/* The dead. */

static void on_return(void *context, uint64_t peer)
{
    struct recover_story *s = context;
    if (world_is_up(s->world, (size_t)peer))
        return;
    s->returned++;
    world_start(s->world, (size_t)peer);
}

/* Dies, and perhaps comes back later, with its disk or without. */
static void kill_one(struct recover_story *s, size_t peer)
{
    world_crash(s->world, peer, rng_chance(&s->rng, 0.5));
    world_set_wanted(s->world, peer, false);
}

static void bring_back(struct recover_story *s, const size_t *dead,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rng_chance(&s->rng, 0.3))
            continue;
        if (rng_chance(&s->rng, 0.4)) {
            size_t from[1] = { any_peer(s) };
            world_lose_disk(s->world, dead[i]);
            world_set_bootstrap(s->world, dead[i], from, 1);
        }
        world_after(s->world, rng_range(&s->rng, 0, 4000) * WORLD_MS, on_return,
                    s, dead[i]);
    }
}

bool recover_story_act(struct recover_story *s)
{
    size_t peers = world_peer_count(s->world), dead[3], count = 0;
    size_t dying = rng_chance(&s->rng, 0.4) ? 3 : 2;
    while (count < dying && peers > dying) {
        size_t peer = (size_t)rng_below(&s->rng, peers);
        if (!world_is_up(s->world, peer))
            continue;
        kill_one(s, peer);
        dead[count++] = peer;
        if (!run_for(s, rng_below(&s->rng, WORLD_S)))
            return false;
    }
    bool early = rng_chance(&s->rng, 0.2); /* who was thought dead is not */
    if (early)
        bring_back(s, dead, count);
    if (!run_for(s, rng_range(&s->rng, 0, 12) * WORLD_S) ||
        !ask_for_healthy(s) || !recover_all(s) || !ask_for_healthy(s))
        return false;
    if (!early)
        bring_back(s, dead, count);
    return run_for(s, 6 * WORLD_S) && recover_all(s);
}

void recover_story_remark(const struct recover_story *s, char *text,
                          size_t size)
{
    snprintf(text, size,
             "%zu arcs recovered, %zu emptied, %zu of %zu refused (%zu of "
             "gaps), %zu keys, %zu dead came back",
             s->recovered, s->emptied, s->refused, s->asked, s->gaps, s->keys,
             s->returned);
}
