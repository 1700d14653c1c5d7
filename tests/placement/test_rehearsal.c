/* SPDX-License-Identifier: Apache-2.0 */

/* Rings rehearsed: whatever they look like at first, they come to rest, with
 * all copies where they should be, in all zones, in proportion to weights; and
 * within the budgets on the way. */

#include <criterion/criterion.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "placement/planner.h"

enum {
    PEERS_MAX = 24,
    ARCS_MAX = 400,
    TURNS_MAX = 3000,
    MIB = 1 << 20
};

/* A ring on paper; arcs tile the keyspace in the order of the array. */
struct ring {
    struct plan_peer peers[PEERS_MAX];
    struct arc arcs[ARCS_MAX];
    struct plan_arc plan[ARCS_MAX];
    uint8_t bounds[ARCS_MAX][2];
    struct plan_input in;
};

static struct ring ring; /* large */

static struct id peer_id(size_t i)
{
    struct id id = { { (uint8_t)(i + 1), 7 } };
    return id;
}

/* All arcs on members dealt in turn, or by chance, of 1 MiB and 10,000 keys. */
static void ring_init(size_t peers, size_t arcs, size_t copies, struct rng *rng)
{
    memset(&ring, 0, sizeof ring);
    for (size_t i = 0; i < peers; i++)
        ring.peers[i] = (struct plan_peer){ .id = peer_id(i),
                                            .up = true,
                                            .weight_milli = 1000 };
    for (size_t i = 0; i < arcs; i++) {
        ring.bounds[i][0] = (uint8_t)(i >> 8);
        ring.bounds[i][1] = (uint8_t)i;
        struct arc *arc = &ring.arcs[i];
        *arc = (struct arc){ .keyspace = 3, .id = 100 + i };
        arc->lo = span_of(ring.bounds[i], i ? 2 : 0);
        arc->has_hi = i + 1 < arcs;
        if (arc->has_hi)
            arc->hi = span_of(ring.bounds[i + 1], 2);
        for (size_t k = 0; k < copies && k < peers; k++) {
            size_t at = rng ? rng_below(rng, peers) : i + k;
            struct id peer = peer_id(at % peers);
            while (arc_member_of(arc, &peer))
                peer = peer_id(++at % peers);
            arc->members[arc->member_count++] = (struct arc_member){
                .replica = k + 1, .peer = peer, .voter = true
            };
        }
        arc->owner = arc->members[0].peer;
        ring.plan[i] = (struct plan_arc){ .arc = arc,
                                          .keys = 10000,
                                          .bytes = MIB,
                                          .caught_up = UINT16_MAX,
                                          .replicas = (uint8_t)copies,
                                          .may_split = true,
                                          .keyspace_arcs = arcs,
                                          .floor_keys = 1000,
                                          .ceiling_bytes = 64 * MIB };
    }
    ring.in = (struct plan_input){ .peers = ring.peers,
                                   .peer_count = peers,
                                   .arcs = ring.plan,
                                   .arc_count = arcs,
                                   .vnodes = 8,
                                   .moves_max = 6,
                                   .merges_max = 4 };
    for (size_t i = 0; i + 1 < arcs; i++)
        ring.arcs[i].hi = span_of(ring.bounds[i + 1], 2);
}

static struct rehearsal *rehearse(void)
{
    struct rehearsal *r;
    cr_assert_eq(rehearsal_new(&ring.in, &r), DLHT_OK);
    return r;
}

static void expect_tiled(const struct plan_input *in)
{
    size_t first = 0, last = 0;
    for (size_t i = 0; i < in->arc_count; i++) {
        const struct arc *arc = in->arcs[i].arc;
        cr_assert(arc_is_sane(arc));
        cr_assert_eq(in->arcs[i].keyspace_arcs, in->arc_count);
        first += arc->lo.len == 0;
        last += !arc->has_hi;
        size_t next = 0;
        for (size_t k = 0; k < in->arc_count; k++)
            next += arc->has_hi && span_equal(arc->hi, in->arcs[k].arc->lo);
        cr_assert_eq(next, arc->has_hi, "an arc has %zu arcs after it", next);
    }
    cr_assert_eq(first, 1);
    cr_assert_eq(last, 1);
}

/* Steps of all turns, by kind. Merged arcs and the turn they were, by id: none
 * of them may be cut while loads stay as they are. */
struct story {
    size_t steps[PLAN_MERGE + 1];
    size_t reasons[PLAN_FOR_BALANCE + 1];
    arc_id merged[4 * ARCS_MAX];
    size_t merged_count;
};

static struct story story;

static void note(const struct plan_step *step)
{
    cr_assert(step->kind >= PLAN_ADD && step->kind <= PLAN_MERGE);
    cr_assert(step->reason >= PLAN_FOR_COPIES &&
              step->reason <= PLAN_FOR_BALANCE);
    story.steps[step->kind]++;
    story.reasons[step->reason]++;
    if (step->kind == PLAN_MERGE)
        story.merged[story.merged_count++ % (4 * ARCS_MAX)] = step->into->id;
    if (step->kind == PLAN_SPLIT) {
        cr_assert(step->ways >= 2 && step->ways <= PLAN_WAYS_MAX);
        for (size_t i = 0; i < story.merged_count; i++)
            cr_assert_neq(story.merged[i], step->arc->id,
                          "cut after it was merged");
    }
}

static bool settles(struct rehearsal *r)
{
    const struct plan_step *steps;
    size_t count = 1;
    memset(&story, 0, sizeof story);
    for (size_t turn = 0; turn < TURNS_MAX; turn++) {
        cr_assert_eq(rehearsal_turn(r, &steps, &count), DLHT_OK);
        for (size_t i = 0; i < count; i++)
            note(&steps[i]);
        if (count == 0)
            return true;
    }
    return false;
}

static size_t zones_of(const struct plan_input *in, const struct arc *arc)
{
    size_t zones = 0;
    const char *seen[ARC_MEMBERS_MAX];
    for (size_t i = 0; i < arc->member_count; i++) {
        const char *zone = "";
        for (size_t k = 0; k < in->peer_count; k++)
            if (id_equal(&in->peers[k].id, &arc->members[i].peer))
                zone = in->peers[k].zone ? in->peers[k].zone : "";
        bool first = true;
        for (size_t k = 0; k < zones; k++)
            first = first && strcmp(seen[k], zone) != 0;
        if (first)
            seen[zones++] = zone;
    }
    return zones;
}

static void expect_copies(const struct plan_input *in, size_t copies,
                          size_t zones)
{
    for (size_t i = 0; i < in->arc_count; i++) {
        const struct arc *arc = in->arcs[i].arc;
        cr_assert_eq(arc->member_count, copies);
        cr_assert_geq(zones_of(in, arc), zones, "copies in %zu zones, not %zu",
                      zones_of(in, arc), zones);
        for (size_t k = 0; k < arc->member_count; k++)
            for (size_t m = 0; m < in->peer_count; m++)
                cr_assert(!id_equal(&in->peers[m].id, &arc->members[k].peer) ||
                              (!in->peers[m].gone && !in->peers[m].leaving),
                          "a copy is where none should be");
    }
}

/* Sizes, requests, weights, zones, peers that go: by chance. */
static void ring_random(struct rng *rng)
{
    static const char *const zones[] = { "a", "b", "c", "" };
    size_t peers = 3 + rng_below(rng, PEERS_MAX - 2);
    size_t copies = 1 + 2 * rng_below(rng, 2);
    ring_init(peers, 1 + rng_below(rng, 12 * peers), copies, rng);
    size_t kinds = 1 + rng_below(rng, 4);
    for (size_t i = 0; i < peers; i++) {
        ring.peers[i].zone = zones[rng_below(rng, kinds)];
        ring.peers[i].weight_milli = (uint32_t)(500 + rng_below(rng, 2500));
    }
    if (peers > 5) {
        ring.peers[0].leaving = rng_chance(rng, 0.3);
        ring.peers[1].gone = rng_chance(rng, 0.3);
        ring.peers[1].up = !ring.peers[1].gone;
    }
    for (size_t i = 0; i < ring.in.arc_count; i++) {
        double size = rng_real(rng) * rng_real(rng);
        if (rng_chance(rng, 0.03))
            size *= 30;
        ring.plan[i].bytes = (uint64_t)(size * 4 * MIB);
        ring.plan[i].keys = ring.plan[i].bytes / 100;
        ring.plan[i].requests =
            rng_chance(rng, 0.05) ? rng_below(rng, 20000) : rng_below(rng, 50);
    }
}

Test(rehearsal, any_ring_comes_to_rest)
{
    size_t merges = 0, hot = 0;
    for (uint64_t seed = 1; seed <= 80; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        ring_random(&rng);
        struct rehearsal *r = rehearse();
        cr_assert(settles(r), "seed %llu never rests",
                  (unsigned long long)seed);
        merges += story.steps[PLAN_MERGE];
        hot += story.reasons[PLAN_FOR_HOT];
        struct plan_input *in = rehearsal_input(r);
        expect_tiled(in);
        expect_copies(in, in->arcs[0].replicas, 1);
        rehearsal_free(r);
    }
    cr_expect_gt(merges, 20, "%zu merges", merges);
    cr_expect_gt(hot, 20, "%zu cuts of hot arcs", hot);
}

/* Until loads change, then again, 20 times. */
Test(rehearsal, cuts_and_merges_do_not_chase_each_other)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        ring_init(6, 48, 1, NULL);
        struct rehearsal *r = rehearse();
        size_t merges = 0;
        for (size_t round = 0; round < 20; round++) {
            struct plan_input *in = rehearsal_input(r);
            struct plan_arc *arcs = (struct plan_arc *)(uintptr_t)in->arcs;
            struct plan_arc *hot = &arcs[rng_below(&rng, in->arc_count)];
            hot->bytes += 8 * MIB;
            hot->keys += 80000;
            cr_assert(settles(r), "seed %llu", (unsigned long long)seed);
            merges += story.steps[PLAN_MERGE];
            in = rehearsal_input(r);
            cr_assert_leq(in->arc_count, 96);
            expect_tiled(in);
        }
        cr_expect_gt(merges, 5);
        rehearsal_free(r);
    }
}

Test(rehearsal, a_hot_arc_is_cut_into_parts_below_the_mean_twice)
{
    static const struct {
        uint64_t bytes, requests;
        unsigned ways;
        const char *why;
    } cases[] = {
        { 2 * MIB, 0, 0, "twice the mean is not hot" },
        { 5 * MIB, 0, 3, "hot by bytes" },
        { 20 * MIB, 0, 8, "hotter" },
        { 200 * MIB, 0, PLAN_WAYS_MAX, "never into more" },
        { MIB, 40, 0, "a few requests are noise" },
        { MIB, 4000, PLAN_WAYS_MAX, "hot by requests alone" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ring_init(4, 32, 1, NULL);
        ring.plan[9].bytes = cases[i].bytes;
        ring.plan[9].requests = cases[i].requests;
        ring.plan[9].keys = 100000;
        ring.plan[9].ceiling_bytes = UINT64_MAX;
        struct plan_step steps[8];
        size_t count = planner_steps(&ring.in, steps, 8);
        unsigned ways = 0;
        for (size_t k = 0; k < count; k++)
            if (steps[k].kind == PLAN_SPLIT) {
                cr_expect_eq(steps[k].reason, PLAN_FOR_HOT);
                cr_expect_eq(steps[k].arc, &ring.arcs[9]);
                ways = steps[k].ways;
            }
        cr_expect_eq(ways, cases[i].ways, "%s: %u ways", cases[i].why, ways);
        ring.in.partial = true;
        count = planner_steps(&ring.in, steps, 8);
        cr_expect_eq(count, 0, "%s: not all is known", cases[i].why);
    }
}

static size_t steps_of(enum plan_kind kind, enum plan_reason reason)
{
    struct plan_step steps[64];
    size_t count = planner_steps(&ring.in, steps, 64), found = 0;
    for (size_t i = 0; i < count; i++)
        found += steps[i].kind == kind && steps[i].reason == reason;
    return found;
}

Test(rehearsal, arcs_are_cut_by_size_and_count_but_not_hashed_ones)
{
    ring_init(4, 32, 1, NULL);
    ring.plan[3].ceiling_bytes = MIB / 3;
    cr_expect_eq(steps_of(PLAN_SPLIT, PLAN_FOR_SIZE), 1);
    ring.in.partial = true;
    cr_expect_eq(steps_of(PLAN_SPLIT, PLAN_FOR_SIZE), 1, "partial: cut too");
    ring.plan[3].may_split = false;
    cr_expect_eq(steps_of(PLAN_SPLIT, PLAN_FOR_SIZE), 0);
    ring_init(4, 20, 1, NULL);
    cr_expect_eq(steps_of(PLAN_SPLIT, PLAN_FOR_COUNT), 12);
    for (size_t i = 0; i < 20; i++)
        ring.plan[i].keys = 1999;
    cr_expect_eq(steps_of(PLAN_SPLIT, PLAN_FOR_COUNT), 0, "under the floor");
    for (size_t i = 0; i < 20; i++)
        ring.plan[i] = (struct plan_arc){ .arc = &ring.arcs[i],
                                          .keys = 100000,
                                          .bytes = (i == 0) * MIB,
                                          .caught_up = UINT16_MAX,
                                          .replicas = 1 };
    cr_expect_eq(steps_of(PLAN_SPLIT, PLAN_FOR_COUNT), 0, "hashed");
    cr_expect_eq(steps_of(PLAN_SPLIT, PLAN_FOR_HOT), 0, "hashed");
}

Test(rehearsal, one_arc_becomes_as_many_as_wanted)
{
    ring_init(5, 1, 3, NULL);
    ring.plan[0].keys = 1000000;
    ring.plan[0].bytes = 40 * MIB;
    struct rehearsal *r = rehearse();
    cr_assert(settles(r));
    cr_expect_eq(rehearsal_input(r)->arc_count, 40);
    expect_tiled(rehearsal_input(r));
    cr_expect_eq(story.steps[PLAN_MERGE], 0);
    struct plan_shares shares;
    planner_shares(rehearsal_input(r), &shares);
    cr_expect_leq(shares.held_most, 1.15);
    cr_expect_leq(shares.led_most, 1.15);
    cr_expect_geq(shares.led_least, 0.85);
    cr_expect_eq(shares.bytes, 40 * MIB);
    rehearsal_free(r);
}

/* Keys come at the end only. */
Test(rehearsal, what_is_appended_does_not_stay_in_one_arc)
{
    ring_init(4, 32, 3, NULL);
    struct rehearsal *r = rehearse();
    for (size_t turn = 0; turn < 150; turn++) {
        struct plan_input *in = rehearsal_input(r);
        struct plan_arc *arcs = (struct plan_arc *)(uintptr_t)in->arcs;
        for (size_t i = 0; i < in->arc_count; i++)
            if (!arcs[i].arc->has_hi) {
                arcs[i].bytes += MIB;
                arcs[i].keys += 10000;
            }
        cr_assert(settles(r));
        in = rehearsal_input(r);
        uint64_t most = 0, all = 0;
        for (size_t i = 0; i < in->arc_count; i++) {
            most = in->arcs[i].bytes > most ? in->arcs[i].bytes : most;
            all += in->arcs[i].bytes;
        }
        cr_assert_leq(most * 32, 3 * all + 1000, "turn %zu", turn);
    }
    cr_expect_leq(rehearsal_input(r)->arc_count, 40, "merged too");
    rehearsal_free(r);
}

Test(rehearsal, cold_neighbours_merge_only_if_arcs_are_too_many)
{
    static const struct {
        size_t arcs;
        uint64_t bytes, ceiling;
        size_t merges;
        const char *why;
    } cases[] = {
        { 32, MIB, 64 * MIB, 0, "as many as wanted" },
        { 40, MIB, 64 * MIB, 0, "more, by a quarter" },
        { 48, MIB, 64 * MIB, 4, "half more: as many as may at once" },
        { 48, MIB, 2 * MIB, 0, "together too large" },
        { 48, MIB, 3 * MIB, 4, "together three quarters" },
        { 33, 0, 64 * MIB, 1, "nothing to send" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ring_init(4, cases[i].arcs, 3, NULL);
        for (size_t k = 0; k < cases[i].arcs; k++) {
            ring.plan[k].ceiling_bytes = cases[i].ceiling;
            ring.plan[k].bytes = cases[i].bytes;
        }
        size_t merges = steps_of(PLAN_MERGE, PLAN_FOR_COLD);
        cr_expect_eq(merges, cases[i].merges, "%s: %zu", cases[i].why, merges);
        for (size_t k = 0; k < cases[i].arcs; k++)
            ring.plan[k].keys = 600;
        cr_expect_eq(steps_of(PLAN_MERGE, PLAN_FOR_COLD), 0, "cut ahead");
    }
}

Test(rehearsal, a_merge_says_which_two_and_what_it_sends)
{
    ring_init(4, 48, 3, NULL);
    ring.in.merges_max = 1;
    ring.plan[20].bytes = MIB / 4;
    ring.plan[21].bytes = MIB / 2;
    struct plan_step steps[8];
    size_t count = planner_steps(&ring.in, steps, 8), at = 0;
    while (at < count && steps[at].kind != PLAN_MERGE)
        at++;
    cr_assert_lt(at, count);
    cr_expect_eq(steps[at].arc, &ring.arcs[21]);
    cr_expect_eq(steps[at].into, &ring.arcs[20]);
    cr_expect_eq(steps[at].bytes, 3 * MIB / 2);
    ring.plan[21].busy = true;
    count = planner_steps(&ring.in, steps, 8);
    for (size_t i = 0; i < count; i++)
        cr_expect_neq(steps[i].arc, &ring.arcs[21], "it is busy");
    ring.plan[21].busy = false;
    ring.plan[21].replicas = 1;
    ring.arcs[21].member_count = 1; /* as wanted, so it is well */
    count = planner_steps(&ring.in, steps, 8);
    for (size_t i = 0; i < count; i++)
        cr_expect_neq(steps[i].kind == PLAN_MERGE ? steps[i].into : NULL,
                      &ring.arcs[20], "other copies are wanted");
}

Test(rehearsal, a_merge_under_way_counts)
{
    ring_init(4, 48, 3, NULL);
    ring.in.merges_max = 2;
    ring.plan[30].busy = true;
    ring.plan[30].sent = PLAN_MERGE;
    cr_expect_eq(steps_of(PLAN_MERGE, PLAN_FOR_COLD), 1);
}

Test(rehearsal, copies_sit_in_as_many_zones_as_there_are)
{
    static const struct {
        size_t peers, copies, zones;
        const char *of; /* each peer's */
    } cases[] = {
        { 6, 3, 3, "aabbcc" },      { 6, 3, 2, "aaabbb" },
        { 9, 3, 3, "aaabbbccc" },   { 8, 3, 3, "aabbccdd" },
        { 7, 3, 3, "aaabbcc" },     { 4, 3, 2, "aaab" },
        { 10, 5, 5, "aabbccddee" }, { 5, 1, 1, "aabbb" },
    };
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint64_t seed = 1; seed <= 4; seed++) {
            struct rng rng;
            rng_init(&rng, seed);
            ring_init(cases[i].peers, 8 * cases[i].peers, cases[i].copies,
                      &rng);
            for (size_t k = 0; k < cases[i].peers; k++)
                ring.peers[k].zone = names[cases[i].of[k] - 'a'];
            struct rehearsal *r = rehearse();
            cr_assert(settles(r), "%s", cases[i].of);
            expect_copies(rehearsal_input(r), cases[i].copies, cases[i].zones);
            struct plan_shares shares;
            planner_shares(rehearsal_input(r), &shares);
            cr_expect_leq(shares.held_most, 1.45, "%s: %.2f", cases[i].of,
                          shares.held_most);
            rehearsal_free(r);
        }
}

/* One small zone cannot have a copy of everything. */
Test(rehearsal, a_small_zone_is_not_filled_to_the_brim)
{
    ring_init(9, 72, 3, NULL);
    for (size_t i = 0; i < 9; i++)
        ring.peers[i].zone = i == 0 ? "small" : i % 2 ? "a" : "b";
    struct rehearsal *r = rehearse();
    cr_assert(settles(r));
    struct plan_shares shares;
    planner_shares(rehearsal_input(r), &shares);
    cr_expect_leq(shares.held_most, 1.6, "%.2f", shares.held_most);
    expect_copies(rehearsal_input(r), 3, 2);
    rehearsal_free(r);
}

Test(rehearsal, load_goes_by_weight)
{
    for (size_t copies = 1; copies <= 3; copies += 2)
        for (uint64_t seed = 1; seed <= 6; seed++) {
            struct rng rng;
            rng_init(&rng, seed);
            ring_init(12, 104, copies, &rng);
            ring.peers[5].weight_milli = 2000;
            struct rehearsal *r = rehearse();
            cr_assert(settles(r));
            const struct plan_input *in = rehearsal_input(r);
            double held = 0, led = 0;
            for (size_t i = 0; i < in->arc_count; i++) {
                held += arc_member_of(in->arcs[i].arc, &ring.peers[5].id)
                            ? (double)in->arcs[i].bytes
                            : 0;
                led += id_equal(&in->arcs[i].arc->owner, &ring.peers[5].id)
                           ? (double)in->arcs[i].bytes
                           : 0;
            }
            double others = (double)104 * MIB;
            led = led / (others - led) * 11;
            held = held / (others * (double)copies - held) * 11;
            cr_expect(held >= 1.8 && held <= 2.2, "held %.2f", held);
            cr_expect(led >= 1.75 && led <= 2.25, "led %.2f", led);
            rehearsal_free(r);
        }
}

/* Copies that are one too many after each turn, and the most of one peer. */
static void expect_budget(const struct plan_input *in, size_t moves,
                          size_t peer_moves)
{
    size_t moving = 0, of[PEERS_MAX] = { 0 };
    for (size_t i = 0; i < in->arc_count; i++) {
        const struct arc *arc = in->arcs[i].arc;
        if (arc->member_count <= 3)
            continue;
        moving++;
        for (size_t k = 0; k < in->peer_count; k++)
            of[k] += id_equal(&in->peers[k].id, &arc->members[3].peer);
    }
    cr_assert_leq(moving, moves, "%zu move", moving);
    for (size_t k = 0; k < in->peer_count; k++)
        cr_assert_leq(of[k], peer_moves, "%zu go to one peer", of[k]);
}

Test(rehearsal, budgets_are_kept)
{
    static const struct {
        size_t moves, peer_moves;
        uint64_t bytes;
        size_t most;
    } cases[] = {
        { 6, 0, 0, 6 },       { 6, 1, 0, 3 },       { 1, 0, 0, 1 },
        { 6, 0, 3 * MIB, 3 }, { 6, 0, MIB / 2, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rng rng;
        rng_init(&rng, 5);
        ring_init(3, 64, 3, &rng);
        ring.in.moves_max = cases[i].moves;
        ring.in.peer_moves_max = cases[i].peer_moves;
        ring.in.moves_bytes_max = cases[i].bytes;
        struct rehearsal *r = rehearse();
        for (size_t k = 3; k < 8; k++)
            cr_assert_eq(rehearsal_add_peer(
                             r, &(struct plan_peer){ .id = peer_id(k),
                                                     .up = true,
                                                     .weight_milli = 1000 }),
                         DLHT_OK);
        const struct plan_step *steps;
        size_t count = 1, most = 0, turns = 0;
        while (count && turns++ < TURNS_MAX) {
            cr_assert_eq(rehearsal_turn(r, &steps, &count), DLHT_OK);
            const struct plan_input *in = rehearsal_input(r);
            expect_budget(in, cases[i].most,
                          cases[i].peer_moves ? cases[i].peer_moves : 99);
            size_t moving = 0;
            for (size_t k = 0; k < in->arc_count; k++)
                moving += in->arcs[k].arc->member_count > 3;
            most = moving > most ? moving : most;
        }
        cr_expect_eq(count, 0, "it rests");
        cr_expect_eq(most, cases[i].most, "case %zu: %zu at most", i, most);
        struct plan_shares shares;
        planner_shares(rehearsal_input(r), &shares);
        cr_expect_leq(shares.held_most, 1.15);
        rehearsal_free(r);
    }
}

/* A ring with a peer that is empty, one that is gone, a hot arc and cold ones,
 * but paused, or not known whole. */
Test(rehearsal, paused_or_partial_only_mends)
{
    for (int paused = 0; paused < 3; paused++) {
        ring_init(6, 80, 3, NULL);
        ring.peers[5].gone = true;
        ring.peers[5].up = false;
        ring.plan[7].requests = 90000;
        ring.plan[7].bytes = 10 * MIB;
        ring.in.paused = paused == 1;
        ring.in.partial = paused == 2;
        struct rehearsal *r = rehearse();
        cr_assert_eq(
            rehearsal_add_peer(r, &(struct plan_peer){ .id = peer_id(9),
                                                       .up = true,
                                                       .weight_milli = 9000 }),
            DLHT_OK);
        cr_assert(settles(r));
        expect_copies(rehearsal_input(r), 3, 1);
        cr_expect_gt(story.reasons[PLAN_FOR_GONE], 0);
        size_t other = story.reasons[PLAN_FOR_BALANCE] +
                       story.reasons[PLAN_FOR_HOT] +
                       story.reasons[PLAN_FOR_COLD];
        cr_expect_eq(other > 0, paused == 0, "paused or partial, but %zu",
                     other);
        rehearsal_free(r);
    }
}

/* Requests that go up and down by a fifth are no reason for anything. */
Test(rehearsal, restless_loads_move_little)
{
    struct rng rng;
    rng_init(&rng, 3);
    ring_init(8, 64, 3, &rng);
    struct rehearsal *r = rehearse();
    size_t steps = 0;
    for (size_t turn = 0; turn < 60; turn++) {
        struct plan_input *in = rehearsal_input(r);
        struct plan_arc *arcs = (struct plan_arc *)(uintptr_t)in->arcs;
        for (size_t i = 0; i < in->arc_count; i++)
            arcs[i].requests = 800 + rng_below(&rng, 400);
        cr_assert(settles(r));
        for (size_t k = 1; turn > 0 && k <= PLAN_MERGE; k++)
            steps += k == PLAN_TRANSFER ? 0 : story.steps[k];
    }
    cr_expect_eq(steps, 0, "%zu steps but transfers", steps);
    rehearsal_free(r);
}

Test(rehearsal, a_join_or_leave_moves_a_share)
{
    for (size_t copies = 1; copies <= 3; copies += 2)
        for (int joins = 0; joins < 2; joins++) {
            struct rng rng;
            rng_init(&rng, 11);
            ring_init(10, 80, copies, &rng);
            struct rehearsal *r = rehearse();
            cr_assert(settles(r));
            double before = (double)rehearsal_bytes_moved(r), ideal = 0;
            struct plan_peer *peers =
                (struct plan_peer *)(uintptr_t)rehearsal_input(r)->peers;
            const struct plan_input *in = rehearsal_input(r);
            for (size_t i = 0; i < in->arc_count; i++)
                ideal += joins ? (double)copies * MIB / 11
                         : arc_member_of(in->arcs[i].arc, &peers[0].id)
                             ? (double)in->arcs[i].bytes
                             : 0;
            if (!joins)
                peers[0].leaving = true;
            else
                cr_assert_eq(
                    rehearsal_add_peer(
                        r, &(struct plan_peer){ .id = peer_id(10),
                                                .up = true,
                                                .weight_milli = 1000 }),
                    DLHT_OK);
            cr_assert(settles(r));
            double moved = ((double)rehearsal_bytes_moved(r) - before) / ideal;
            cr_expect(moved >= 0.8 && moved <= 1.1, "%s, %zu copies: %.2f",
                      joins ? "join" : "leave", copies, moved);
            expect_copies(rehearsal_input(r), copies, 1);
            struct plan_shares shares;
            planner_shares(rehearsal_input(r), &shares);
            cr_expect_leq(shares.held_most, 1.15, "%.2f", shares.held_most);
            rehearsal_free(r);
        }
}

Test(rehearsal, mending_says_why)
{
    ring_init(5, 40, 3, NULL);
    struct plan_step steps[64];
    ring.peers[0].gone = true;
    size_t count = planner_steps(&ring.in, steps, 64);
    cr_assert_gt(count, 0);
    cr_expect_eq(steps[0].reason, PLAN_FOR_GONE);
    cr_expect_eq(steps[0].bytes, MIB);
    ring.peers[0].gone = false;
    ring.peers[0].leaving = true;
    planner_steps(&ring.in, steps, 64);
    cr_expect_eq(steps[0].reason, PLAN_FOR_LEAVING);
    ring.peers[0].leaving = false;
    ring.plan[4].lost = 2;
    planner_steps(&ring.in, steps, 64);
    cr_expect_eq(steps[0].reason, PLAN_FOR_COPIES);
    cr_expect_eq(steps[0].arc, &ring.arcs[4]);
    ring.plan[4].lost = 0;
    ring.plan[4].replicas = 1;
    planner_steps(&ring.in, steps, 64);
    cr_expect_eq(steps[0].reason, PLAN_FOR_TRIM);
}

/* Three peers, three copies: one is lost, and who leaves is needed until it is
 * made anew. */
Test(rehearsal, a_lost_copy_goes_though_another_peer_leaves)
{
    ring_init(3, 1, 3, NULL);
    struct plan_step steps[4];
    size_t owner = 0;
    while (!id_equal(&ring.arcs[0].members[owner].peer, &ring.arcs[0].owner))
        owner++;
    size_t lost = (owner + 1) % 3, leaving = (owner + 2) % 3;
    ring.plan[0].lost = (uint16_t)(1u << lost);
    for (size_t i = 0; i < 3; i++)
        ring.peers[i].leaving =
            id_equal(&ring.peers[i].id, &ring.arcs[0].members[leaving].peer);
    cr_assert_eq(planner_steps(&ring.in, steps, 4), 1);
    cr_expect_eq(steps[0].kind, PLAN_REMOVE);
    cr_expect(id_equal(&steps[0].peer, &ring.arcs[0].members[lost].peer));
    ring.plan[0].caught_up &= (uint16_t) ~(1u << leaving);
    size_t count = planner_steps(&ring.in, steps, 4);
    for (size_t i = 0; i < count; i++)
        cr_expect_neq(steps[i].kind, PLAN_REMOVE, "too few would be left");
}

/* A rehearsal has copies of its own, and its bounds keep their order however
 * near they are. */
Test(rehearsal, bounds_of_parts_are_in_order)
{
    static const uint8_t lo[] = { 'a', 0xff }, hi[] = { 'a', 0xff, 0, 1 };
    ring_init(1, 1, 1, NULL);
    ring.arcs[0].lo = span_of(lo, sizeof lo);
    ring.arcs[0].hi = span_of(hi, sizeof hi);
    ring.arcs[0].has_hi = true;
    ring.plan[0].keys = 100000;
    ring.in.vnodes = 40;
    struct rehearsal *r = rehearse();
    memset(&ring, 0, sizeof ring);
    cr_assert(settles(r));
    const struct plan_input *in = rehearsal_input(r);
    cr_expect_eq(in->arc_count, 40);
    uint64_t keys = 0;
    for (size_t i = 0; i < in->arc_count; i++) {
        cr_assert(arc_is_sane(in->arcs[i].arc));
        keys += in->arcs[i].keys;
    }
    cr_expect_eq(keys, 100000);
    rehearsal_free(r);
}
