/* SPDX-License-Identifier: Apache-2.0 */

/* Invariants over all nodes. */

#include "sim/checker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "chord/audit.h"
#include "node/inspect.h"

enum {
    SEEN_COUNT = 1 << 14, /* states remembered, direct-mapped */
    SMALL_WORLD = 9,      /* peers up to which each turn is looked at */
    LARGE_STRIDE = 16,
    ALL_EVERY = 1000,
    LAG_MAX = 200,   /* entries that a caught-up replica may be behind */
    SETTLED_MAX = 50 /* peers up to which whole means that nothing moves any
                      * more; with more, arcs are moved for minutes */
};

/* The state of an arc after an index: the same wherever it is reached. Or the
 * leader of an arc's term: the same whoever is asked. */
struct seen {
    arc_id arc;
    uint64_t number; /* index, or term */
    uint64_t state;
    size_t peer;
};

/* What must not go back while a process lives. */
struct last {
    arc_id arc;
    replica_id self;
    uint32_t starts;
    uint64_t applied;
    uint64_t generation;
    uint64_t term;
};

struct checker {
    struct world *world;
    struct seen states[SEEN_COUNT];
    struct seen sessions[SEEN_COUNT];
    struct seen leaders[SEEN_COUNT];
    struct last (*lasts)[SEEN_COUNT / 64]; /* of each peer */
    uint64_t turns;
    bool loose;
    char why[300];
};

struct checker *checker_new(struct world *world)
{
    struct checker *checker = mem_zero(1, sizeof *checker);
    if (checker)
        checker->lasts =
            mem_zero(world_peer_count(world), sizeof *checker->lasts);
    if (!checker || !checker->lasts) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    checker->world = world;
    return checker;
}

void checker_free(struct checker *checker)
{
    if (checker)
        free(checker->lasts);
    free(checker);
}

/* Of one replica. */

static uint64_t fingerprint(const struct inspect_replica *r)
{
    uint64_t hash = records_digest(r->records);
    hash = hash64_mix(hash, records_count(r->records));
    hash = hash64_mix(hash, r->counter);
    hash = hash64_mix(hash, r->merge);
    hash = hash64_mix(hash, r->arc->generation);
    hash = hash64_mix(hash, hash64(r->arc->lo));
    hash = hash64_mix(hash, r->arc->has_hi ? hash64(r->arc->hi) : 0);
    for (size_t i = 0; i < r->arc->member_count; i++)
        hash = hash64_mix(hash, r->arc->members[i].replica * 2 +
                                    r->arc->members[i].voter);
    return hash;
}

/* The place of (arc, number). False: it was not remembered; now it is. */
static bool recall(struct seen *table, arc_id arc, uint64_t number,
                   uint64_t state, size_t peer, struct seen *out)
{
    uint64_t at = hash64_mix(arc, number) % SEEN_COUNT;
    *out = table[at];
    if (out->arc == arc && out->number == number)
        return true;
    table[at] = (struct seen){ arc, number, state, peer };
    return false;
}

static void trace_replica(struct checker *c, size_t peer,
                          const struct inspect_replica *r)
{
    struct world *w = c->world;
    world_trace(w,
                "n%zu arc %llx replica %llx%s role %d term %llu first %llu "
                "last %llu commit %llu applied %llu generation %llu keys %zu "
                "counter %llu",
                peer, (unsigned long long)r->id, (unsigned long long)r->self,
                r->empty     ? " empty"
                : r->closed  ? " closed"
                : r->frozen  ? " frozen"
                : r->staging ? " staging"
                             : "",
                (int)raft_role(r->raft), (unsigned long long)raft_term(r->raft),
                (unsigned long long)raft_first_index(r->raft),
                (unsigned long long)raft_last_index(r->raft),
                (unsigned long long)raft_commit(r->raft),
                (unsigned long long)r->applied,
                (unsigned long long)(r->empty ? 0 : r->arc->generation),
                r->empty ? 0 : records_count(r->records),
                (unsigned long long)r->counter);
    for (size_t i = 0; !r->empty && i < r->arc->member_count; i++)
        world_trace(w, "    %s %llx on n%zu",
                    r->arc->members[i].voter ? "voter" : "learner",
                    (unsigned long long)r->arc->members[i].replica,
                    world_peer_of(w, &r->arc->members[i].peer));
}

void checker_trace(struct checker *c, arc_id id)
{
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        const struct node *node = world_node(c->world, i);
        for (size_t k = 0; node && k < inspect_keyspace_count(node); k++) {
            struct keyspace_record record;
            const struct map *map = inspect_map(node, k, &record);
            const struct arc *arc = map_count(map) ? map_at(map, 0) : NULL;
            world_trace(
                c->world, "n%zu knows %zu arcs of keyspace %u, one led by n%zd",
                i, map_count(map), (unsigned)record.id,
                arc ? (ptrdiff_t)world_peer_of(c->world, &arc->owner) : -1);
        }
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (id == 0 || r.id == id)
                trace_replica(c, i, &r);
        }
    }
}

static void fail_agreement(struct checker *c, const char *what, size_t peer,
                           const struct inspect_replica *r,
                           const struct seen *seen)
{
    if (world_failure(c->world, NULL))
        return;
    checker_trace(c, r->id);
    world_fail(c->world, "A3_replicas_agree",
               "arc %llx after entry %llu: %s not the same on n%zu and n%zu",
               (unsigned long long)r->id, (unsigned long long)r->applied, what,
               seen->peer, peer);
}

static struct last *last_of(struct checker *c, size_t peer,
                            const struct inspect_replica *r)
{
    size_t at = (size_t)(hash64_mix(r->id, r->self) % (SEEN_COUNT / 64));
    return &c->lasts[peer][at];
}

/* What is remembered of writes that were done: looked at once an entry. */
static void check_sessions(struct checker *c, size_t peer, size_t index,
                           const struct inspect_replica *r, arc_id group)
{
    const struct last *last = last_of(c, peer, r);
    struct seen seen;
    if (last->arc == r->id && last->self == r->self &&
        last->starts == world_starts(c->world, peer) &&
        last->applied == r->applied)
        return;
    uint64_t state = inspect_sessions(world_node(c->world, peer), index);
    if (recall(c->sessions, group, r->applied, state, peer, &seen) &&
        seen.state != state)
        fail_agreement(c, "its sessions are", peer, r, &seen);
}

static void check_agreement(struct checker *c, size_t peer, size_t index,
                            const struct inspect_replica *r)
{
    struct seen seen;
    if (r->half_applied || r->cache) /* a volatile arc has no log to agree on */
        return;
    uint64_t state = fingerprint(r);
    /* A recovered group is another one, with a log of its own. */
    arc_id group = r->id + (r->arc->generation >> 32 << 1);
    if (recall(c->states, group, r->applied, state, peer, &seen) &&
        seen.state != state)
        fail_agreement(c, "it is", peer, r, &seen);
    check_sessions(c, peer, index, r, group);
    if (raft_role(r->raft) != RAFT_LEADER)
        return;
    uint64_t term = raft_term(r->raft);
    if (recall(c->leaders, r->id, term, r->self, peer, &seen) &&
        seen.state != r->self)
        world_fail(c->world, "A2_one_leader",
                   "arc %llx, term %llu: n%zu and n%zu both lead",
                   (unsigned long long)r->id, (unsigned long long)term,
                   seen.peer, peer);
}

static void check_progress(struct checker *c, size_t peer,
                           const struct inspect_replica *r)
{
    struct last *last = last_of(c, peer, r);
    struct last now = { r->id,
                        r->self,
                        world_starts(c->world, peer),
                        r->applied,
                        r->arc->generation,
                        raft_term(r->raft) };
    bool same = last->arc == now.arc && last->self == now.self &&
                last->starts == now.starts;
    if (same && now.generation < last->generation)
        world_fail(c->world, "A4_generation",
                   "arc %llx on n%zu goes back from generation %llu to %llu",
                   (unsigned long long)r->id, peer,
                   (unsigned long long)last->generation,
                   (unsigned long long)now.generation);
    if (same && (now.applied < last->applied || now.term < last->term))
        world_fail(
            c->world, "A4_progress",
            "arc %llx on n%zu goes back: applied %llu to %llu, term "
            "%llu to %llu",
            (unsigned long long)r->id, peer, (unsigned long long)last->applied,
            (unsigned long long)now.applied, (unsigned long long)last->term,
            (unsigned long long)now.term);
    if (raft_commit(r->raft) < r->applied)
        world_fail(c->world, "A3_committed",
                   "arc %llx on n%zu applied %llu, committed %llu",
                   (unsigned long long)r->id, peer,
                   (unsigned long long)r->applied,
                   (unsigned long long)raft_commit(r->raft));
    *last = now;
}

static void check_peer(struct checker *c, size_t peer)
{
    const struct node *node = world_node(c->world, peer);
    if (!node)
        return;
    size_t count = inspect_replica_count(node);
    for (size_t i = 0; i < count; i++) {
        struct inspect_replica r;
        inspect_replica_at(node, i, &r);
        if (r.empty)
            continue;
        check_agreement(c, peer, i, &r);
        check_progress(c, peer, &r);
    }
}

void checker_turn(struct checker *c, size_t peer)
{
    bool small = world_peer_count(c->world) <= SMALL_WORLD;
    c->turns++;
    if (small || c->turns % LARGE_STRIDE == 0)
        check_peer(c, peer);
    if (c->turns % ALL_EVERY != 0)
        return;
    if (small)
        checker_all(c);
    else if (world_node(c->world, peer))
        node_check(world_node(c->world, peer));
}

void checker_all(struct checker *c)
{
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        if (!world_node(c->world, i))
            continue;
        check_peer(c, i);
        node_check(world_node(c->world, i));
    }
}

/* Wholeness. Each question says what is missing. */

static bool lacks(struct checker *c, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

static bool lacks(struct checker *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->why, sizeof c->why, format, args);
    va_end(args);
    return false;
}

/* Peers that were started and have not left for good. */
static size_t member_count(const struct checker *c)
{
    size_t count = 0;
    for (size_t i = 0; i < world_peer_count(c->world); i++)
        count += world_is_wanted(c->world, i);
    return count;
}

static bool peer_serves(struct checker *c, size_t peer,
                        const struct id *cluster)
{
    const struct node *node = world_node(c->world, peer);
    if (!node || !world_is_ready(c->world, peer) || !inspect_is_serving(node))
        return lacks(c, "n%zu does not serve", peer);
    struct id own = inspect_cluster(node);
    if (!id_equal(&own, cluster))
        return lacks(c, "n%zu is in a cluster of its own", peer);
    return true;
}

/* Everybody sees everybody who is there, and nobody else, alive. */
static bool peers_are_known(struct checker *c, size_t peer, size_t members)
{
    const struct swim *swim = inspect_swim(world_node(c->world, peer));
    size_t alive = 0;
    for (size_t i = 0; i < swim_count(swim); i++) {
        const struct peer *p = swim_at(swim, i);
        size_t at = world_peer_of(c->world, &p->id);
        bool there = at != SIZE_MAX && world_is_wanted(c->world, at);
        if (there != (p->state == PEER_ALIVE))
            return lacks(c, "n%zu thinks that %s is in state %u", peer, p->addr,
                         (unsigned)p->state);
        alive += there;
    }
    if (alive != members)
        return lacks(c, "n%zu knows %zu of %zu peers", peer, alive, members);
    return true;
}

static bool find_replica(const struct node *node, arc_id id,
                         struct inspect_replica *out)
{
    size_t lo = 0, hi = inspect_replica_count(node);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        inspect_replica_at(node, mid, out);
        if (out->id == id)
            return true;
        if (out->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static bool is_settling(const struct checker *c)
{
    return !c->loose && world_peer_count(c->world) <= SETTLED_MAX;
}

void checker_set_loose(struct checker *c, bool loose)
{
    c->loose = loose;
}

/* The greatest odd number of voters within the copies; but one of a pair. */
static size_t voters_of(size_t copies)
{
    return copies % 2 ? copies : copies - 1;
}

static bool member_is_whole(struct checker *c, const struct arc *arc,
                            const struct arc_member *member,
                            uint64_t *applied_max, uint64_t *applied_min,
                            size_t *leaders)
{
    struct inspect_replica r;
    size_t peer = world_peer_of(c->world, &member->peer);
    const struct node *node =
        peer == SIZE_MAX ? NULL : world_node(c->world, peer);
    if (!node)
        return lacks(c, "arc %llx has a member that is not there",
                     (unsigned long long)arc->id);
    if (!find_replica(node, arc->id, &r) || r.self != member->replica ||
        r.empty)
        return lacks(c, "arc %llx: n%zu has no copy yet",
                     (unsigned long long)arc->id, peer);
    if (is_settling(c) && r.arc->generation != arc->generation)
        return lacks(c, "arc %llx: n%zu is at generation %llu, not %llu",
                     (unsigned long long)arc->id, peer,
                     (unsigned long long)r.arc->generation,
                     (unsigned long long)arc->generation);
    if (is_settling(c) && (r.frozen || r.staging || r.absorbed))
        return lacks(c, "arc %llx on n%zu: a merge is not over: %s",
                     (unsigned long long)arc->id, peer,
                     r.frozen    ? "frozen"
                     : r.staging ? "staging"
                                 : "not forgotten");
    *leaders += raft_role(r.raft) == RAFT_LEADER;
    if (r.applied > *applied_max)
        *applied_max = r.applied;
    if (r.applied < *applied_min)
        *applied_min = r.applied;
    return true;
}

static bool arc_is_whole(struct checker *c, const struct arc *arc,
                         size_t copies)
{
    uint64_t applied_max = 0, applied_min = UINT64_MAX;
    size_t leaders = 0, voters = 0, ready = 0;
    for (size_t i = 0; i < arc->member_count; i++) {
        bool whole = member_is_whole(c, arc, &arc->members[i], &applied_max,
                                     &applied_min, &leaders);
        if (!whole && is_settling(c))
            return false;
        voters += arc->members[i].voter;
        ready += whole;
    }
    bool few = ready < copies || voters < voters_of(copies);
    bool many = arc->member_count > copies || voters > voters_of(copies);
    if (few || (is_settling(c) && many))
        return lacks(c, "arc %llx has %zu copies, %zu of them voters, not %zu",
                     (unsigned long long)arc->id, arc->member_count, voters,
                     copies);
    if (leaders != 1)
        return lacks(c, "arc %llx has %zu leaders", (unsigned long long)arc->id,
                     leaders);
    if (applied_max - applied_min > LAG_MAX)
        return lacks(c, "arc %llx: a copy lags by %llu entries",
                     (unsigned long long)arc->id,
                     (unsigned long long)(applied_max - applied_min));
    return true;
}

/* What leads in a keyspace, of all peers, in order of lo. */
struct led {
    const struct arc **arcs;
    const struct ring **rings; /* those there are */
    size_t count, ring_count;
};

static int compare_arcs(const void *a, const void *b)
{
    const struct arc *const *x = a, *const *y = b;
    return span_compare((*x)->lo, (*y)->lo);
}

static int compare_rings(const void *a, const void *b)
{
    const struct ring *const *x = a, *const *y = b;
    return span_compare(ring_self(*x)->lo, ring_self(*y)->lo);
}

static void gather_led(struct checker *c, keyspace_id keyspace, struct led *out)
{
    size_t max = 1;
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        const struct node *node = world_node(c->world, i);
        max += node ? inspect_replica_count(node) : 0;
    }
    *out = (struct led){ .arcs = mem_zero(max, sizeof(struct arc *)),
                         .rings = mem_zero(max, sizeof(struct ring *)) };
    if (!out->arcs || !out->rings)
        abort();
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        const struct node *node = world_node(c->world, i);
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (r.keyspace != keyspace || r.empty ||
                raft_role(r.raft) != RAFT_LEADER)
                continue;
            out->arcs[out->count++] = r.arc;
            if (r.ring)
                out->rings[out->ring_count++] = r.ring;
        }
    }
    qsort(out->arcs, out->count, sizeof(struct arc *), compare_arcs);
    qsort(out->rings, out->ring_count, sizeof(struct ring *), compare_rings);
}

static bool led_tile(const struct led *led)
{
    if (led->count == 0 || led->arcs[0]->lo.len ||
        led->arcs[led->count - 1]->has_hi)
        return false;
    for (size_t i = 1; i < led->count; i++) {
        if (!led->arcs[i - 1]->has_hi ||
            !span_equal(led->arcs[i - 1]->hi, led->arcs[i]->lo))
            return false;
    }
    return true;
}

static bool rings_are_ideal(struct checker *c, const struct led *led)
{
    struct audit audit;
    for (size_t i = 1; i < led->ring_count; i++) {
        if (compare_rings(&led->rings[i - 1], &led->rings[i]) == 0)
            return lacks(c, "two rings stand at one place");
    }
    if (audit_rings(led->rings, led->ring_count, &audit) != 0)
        abort();
    /* Where leaderships move for minutes, some rings are always young. */
    bool nearly = !is_settling(c) && audit_is_one_ring(&audit) &&
                  audit.wrong_successors * 100 <= audit.arcs &&
                  audit.wrong_predecessors * 100 <= audit.arcs &&
                  audit.wrong_lists * 20 <= audit.arcs;
    return nearly || audit_is_ideal(&audit) ||
           lacks(c,
                 "of %zu rings %zu have a wrong successor, %zu a wrong "
                 "predecessor, %zu a wrong list",
                 audit.arcs, audit.wrong_successors, audit.wrong_predecessors,
                 audit.wrong_lists);
}

/* No peer knows all arcs: what leads must tile the keyspace, and the pointers
 * must be right. */
static bool keyspace_is_led(struct checker *c,
                            const struct keyspace_record *record, size_t copies)
{
    struct led led;
    gather_led(c, record->id, &led);
    bool whole =
        led_tile(&led) || lacks(c, "what leads in keyspace %u does not tile it",
                                (unsigned)record->id);
    for (size_t i = 0; whole && i < led.count; i++)
        whole = arc_is_whole(c, led.arcs[i], copies);
    if (whole && record->id != 0)
        whole = led.ring_count == led.count
                    ? rings_are_ideal(c, &led)
                    : lacks(c, "%zu arcs have %zu rings", led.count,
                            led.ring_count);
    free(led.arcs);
    free(led.rings);
    return whole;
}

size_t checker_arc_count(struct checker *c)
{
    const struct node *node = world_node(c->world, 0);
    size_t count = 0;
    for (size_t i = 0; node && i < inspect_keyspace_count(node); i++) {
        struct keyspace_record record;
        struct led led;
        inspect_map(node, i, &record);
        gather_led(c, record.id, &led);
        if (led.count > count)
            count = led.count;
        free(led.arcs);
        free(led.rings);
    }
    return count;
}

static bool keyspace_is_whole(struct checker *c, const struct node *node,
                              size_t index, size_t members)
{
    struct keyspace_record record;
    const struct map *map = inspect_map(node, index, &record);
    if (record.dropped)
        return true;
    size_t wanted = record.replicas < members ? record.replicas : members;
    if (inspect_is_partial(node))
        return keyspace_is_led(c, &record, wanted);
    if (!map_is_whole(map))
        return lacks(c, "the arcs of keyspace %u do not tile it",
                     (unsigned)record.id);
    size_t copies = record.replicas;
    if (copies > members)
        copies = members;
    for (size_t i = 0; i < map_count(map); i++) {
        if (!arc_is_whole(c, map_at(map, i), copies))
            return false;
    }
    return true;
}

static bool maps_agree(struct checker *c, size_t peer, const struct node *a,
                       const struct node *b)
{
    if (inspect_keyspace_count(a) != inspect_keyspace_count(b))
        return lacks(c, "n%zu knows %zu keyspaces, not %zu", peer,
                     inspect_keyspace_count(a), inspect_keyspace_count(b));
    for (size_t i = 0; i < inspect_keyspace_count(a); i++) {
        struct keyspace_record record;
        if (inspect_is_partial(a) || inspect_is_partial(b))
            break;
        const struct map *x = inspect_map(a, i, &record);
        const struct map *y = inspect_map(b, i, NULL);
        bool same = is_settling(c) ? map_digest(x) == map_digest(y)
                                   : map_count(x) == map_count(y);
        if (!same || !map_is_whole(x))
            return lacks(c, "n%zu has another map of keyspace %u", peer,
                         (unsigned)record.id);
    }
    return true;
}

/* A whole map has every arc that there is. */
static bool arc_is_known(const struct node *node,
                         const struct inspect_replica *r)
{
    for (size_t i = 0; i < inspect_keyspace_count(node); i++) {
        struct keyspace_record record;
        const struct map *map = inspect_map(node, i, &record);
        if (record.id == r->keyspace && map_by_id(map, r->id))
            return true;
    }
    return inspect_is_partial(node);
}

/* No copy that no arc wants is left. */
static bool no_strays(struct checker *c, size_t peer, const struct node *node)
{
    if (!is_settling(c))
        return true;
    for (size_t i = 0; i < inspect_replica_count(node); i++) {
        struct inspect_replica r;
        inspect_replica_at(node, i, &r);
        if (r.empty)
            return lacks(c, "n%zu has an empty copy of arc %llx", peer,
                         (unsigned long long)r.id);
        if (!arc_is_known(node, &r))
            return lacks(c, "n%zu keeps a copy of arc %llx, which is no more",
                         peer, (unsigned long long)r.id);
        struct id self = inspect_self(node);
        const struct arc_member *m = arc_member_of(r.arc, &self);
        if (!m || m->replica != r.self)
            return lacks(c, "n%zu keeps a copy of arc %llx that nobody wants",
                         peer, (unsigned long long)r.id);
    }
    return true;
}

bool checker_is_whole(struct checker *c, const char **why)
{
    const struct node *first = NULL;
    struct id cluster = { { 0 } };
    size_t members = member_count(c);
    *why = c->why;
    c->why[0] = 0;
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        const struct node *node = world_node(c->world, i);
        if (!node || !world_is_wanted(c->world, i) ||
            (first && (inspect_is_partial(node) || !inspect_is_partial(first))))
            continue;
        first = node; /* rather one that knows all arcs */
        cluster = inspect_cluster(node);
    }
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        if (!world_is_wanted(c->world, i))
            continue;
        const struct node *node = world_node(c->world, i);
        if (!peer_serves(c, i, &cluster) || !peers_are_known(c, i, members) ||
            !no_strays(c, i, node) || !maps_agree(c, i, node, first))
            return false;
    }
    if (!first)
        return lacks(c, "no peer is there");
    if (inspect_keyspace_count(first) < 2)
        return lacks(c, "the keyspace `default` is not there yet");
    for (size_t i = 0; i < inspect_keyspace_count(first); i++) {
        if (!keyspace_is_whole(c, first, i, members))
            return false;
    }
    return true;
}

/* Of one arc, against the copy of its leader. */
static bool copies_are_equal(struct checker *c,
                             const struct inspect_replica *leader)
{
    for (size_t i = 0; i < leader->arc->member_count; i++) {
        const struct arc_member *m = &leader->arc->members[i];
        size_t peer = world_peer_of(c->world, &m->peer);
        const struct node *node =
            peer == SIZE_MAX ? NULL : world_node(c->world, peer);
        struct inspect_replica r;
        if (!node || !find_replica(node, leader->id, &r) || r.empty)
            return lacks(c, "arc %llx: a copy is not there",
                         (unsigned long long)leader->id);
        if (r.applied != leader->applied ||
            fingerprint(&r) != fingerprint(leader))
            return lacks(
                c,
                "arc %llx: n%zu has applied %llu of %llu entries and "
                "is %s",
                (unsigned long long)r.id, peer, (unsigned long long)r.applied,
                (unsigned long long)leader->applied,
                fingerprint(&r) == fingerprint(leader) ? "equal" : "different");
    }
    return true;
}

bool checker_is_equal(struct checker *c, const char **why)
{
    *why = c->why;
    c->why[0] = 0;
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        const struct node *node = world_node(c->world, i);
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (!r.empty && raft_role(r.raft) == RAFT_LEADER &&
                !copies_are_equal(c, &r))
                return false;
        }
    }
    return true;
}

size_t checker_led(struct checker *c, struct span *los, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        const struct node *node = world_node(c->world, i);
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (r.keyspace == 0 || r.empty || count == max ||
                raft_role(r.raft) != RAFT_LEADER)
                continue;
            if (los)
                los[count] = r.arc->lo;
            count++;
        }
    }
    return count;
}

uint64_t checker_timeouts(struct checker *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < world_peer_count(c->world); i++)
        if (world_node(c->world, i))
            sum += inspect_timeouts(world_node(c->world, i));
    return sum;
}

void checker_opinions(struct checker *c, size_t *dead, size_t *up)
{
    *dead = *up = 0;
    for (size_t i = 0; i < world_peer_count(c->world); i++) {
        const struct node *node = world_node(c->world, i);
        const struct swim *swim = node ? inspect_swim(node) : NULL;
        for (size_t k = 0; swim && k < swim_count(swim); k++) {
            const struct peer *peer = swim_at(swim, k);
            size_t at = world_peer_of(c->world, &peer->id);
            bool lives = at != SIZE_MAX && world_is_up(c->world, at);
            *dead += lives && peer->state > PEER_SUSPECT;
            *up += !lives && peer->state <= PEER_SUSPECT;
        }
    }
}

static bool is_full(const struct checker *c, const struct inspect_replica *r)
{
    size_t voters = 0;
    for (size_t i = 0; !r->empty && i < r->arc->member_count; i++) {
        const struct arc_member *m = &r->arc->members[i];
        size_t at = world_peer_of(c->world, &m->peer);
        struct inspect_replica there;
        if (at == SIZE_MAX || !world_node(c->world, at) ||
            !find_replica(world_node(c->world, at), r->id, &there))
            return false;
        voters += m->voter;
    }
    return voters >= 3;
}

bool checker_may_lose(struct checker *c, size_t peer)
{
    const struct node *node = world_node(c->world, peer);
    for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
        struct inspect_replica r;
        inspect_replica_at(node, k, &r);
        if (!is_full(c, &r))
            return false;
    }
    return node != NULL;
}
