/* SPDX-License-Identifier: Apache-2.0 */

/* Kinds of faults by name; damage to disks, clocks that jump; and what may be
 * said of a run in place of what its seed draws. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "node/inspect.h"
#include "sim/fault.h"
#include "sim/scenario.h"
#include "sim/world.h"
#include "wire/mp.h"

Test(faults, each_kind_has_a_name_that_is_read_back)
{
    char text[400];
    uint32_t kinds;
    for (uint32_t bit = 0; bit < FAULT_KINDS; bit++) {
        uint32_t kind = (uint32_t)1 << bit;
        cr_expect(fault_parse(fault_name(kind), &kinds));
        cr_expect_eq(kinds, kind, "%s", fault_name(kind));
    }
    fault_say(FAULT_ALL, text, sizeof text);
    cr_expect(fault_parse(text, &kinds), "%s", text);
    cr_expect_eq(kinds, FAULT_ALL);
    cr_expect(fault_parse("all", &kinds) && kinds == FAULT_ALL);
    cr_expect(fault_parse("none", &kinds) && kinds == 0);
    fault_say(0, text, sizeof text);
    cr_expect_str_eq(text, "none");
    static const char *const WRONG[] = { "", "kil", "kill,", ",kill",
                                         "kill,x" };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        cr_expect_not(fault_parse(WRONG[i], &kinds), "%s", WRONG[i]);
}

/* What a peer ended with, if it did. */
struct ends {
    int count, status;
};

static void on_exit_of(void *context, size_t peer, int status, const char *text)
{
    struct ends *ends = context;
    (void)peer, (void)text;
    ends->count++;
    ends->status = status;
}

/* One peer alone, at work for a while. */
static struct world *new_world(uint64_t seed, struct ends *ends)
{
    struct world_config config;
    struct world *w;
    world_config_default(&config);
    config.seed = seed;
    config.context = ends;
    config.on_exit = on_exit_of;
    config.segment_bytes = 16 << 10;
    config.node.checkpoint_bytes = 16 << 10;
    config.node.floor_keys = 4;
    cr_assert_eq(world_new(&config, &w), DLHT_OK);
    world_start(w, 0);
    cr_assert(world_run(w, 3 * WORLD_S));
    cr_assert(world_is_ready(w, 0));
    return w;
}

static void on_stored(void *context, uint64_t argument,
                      const struct response *response)
{
    size_t *stored = context;
    (void)argument;
    *stored += response && response->status == DLHT_OK;
}

static size_t put(struct world *w, int from, int count)
{
    static const char VALUE[2000];
    size_t stored = 0;
    for (int i = from; i < from + count; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%d", i);
        struct request q = { .op = OP_PUT,
                             .key = span_str(key),
                             .value = span_of(VALUE, sizeof VALUE) };
        cr_assert_eq(world_request(w, 0, &q, on_stored, &stored, 0), DLHT_OK);
        world_run(w, world_now_ns(w) + 50 * WORLD_MS);
    }
    return stored;
}

static size_t count_keys(struct world *w)
{
    size_t keys = 0;
    const struct node *node = world_node(w, 0);
    for (size_t i = 0; i < inspect_replica_count(node); i++) {
        struct inspect_replica r;
        inspect_replica_at(node, i, &r);
        if (r.keyspace != 0 && !r.empty)
            keys += records_count(r.records);
    }
    return keys;
}

/* Nobody has another copy: what is damaged is told, or nothing is lost. Never
 * is less there than was acknowledged, and said to be all. */
Test(faults, damage_to_the_only_copy_is_never_passed_over, .timeout = 120)
{
    int refused = 0, whole = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct ends ends = { 0 };
        struct world *w = new_world(seed, &ends);
        size_t stored = put(w, 0, 40);
        cr_assert_eq(stored, 40, "seed %llu", (unsigned long long)seed);
        enum world_damage damage = seed % 2 ? WORLD_ROT : WORLD_MISDIRECTED;
        cr_assert(world_hurt(w, 0, damage));
        cr_assert_not(world_is_up(w, 0));
        world_start(w, 0);
        cr_assert_null(world_failure(w, NULL), "seed %llu",
                       (unsigned long long)seed);
        if (!world_is_up(w, 0)) {
            cr_expect_eq(ends.status, DLHT_ECORRUPT, "seed %llu: %s",
                         (unsigned long long)seed, dlht_errname(ends.status));
            refused++;
        } else {
            world_run(w, world_now_ns(w) + 5 * WORLD_S);
            cr_expect_eq(count_keys(w), stored, "seed %llu: %zu keys",
                         (unsigned long long)seed, count_keys(w));
            whole++;
        }
        world_free(w);
    }
    cr_expect(refused >= 6, "%d", refused);
    cr_expect(whole >= 5, "%d", whole);
}

static size_t count_copies(const struct world *w, size_t peer)
{
    const struct node *node = world_node(w, peer);
    return node ? inspect_replica_count(node) : 0;
}

/* What a damaged peer puts aside may have forgotten what it promised. It must
 * stay aside though the peer ends before it could say so, and though the journal
 * is sound again. */
Test(faults, what_was_put_aside_stays_aside, .timeout = 120)
{
    int put_aside = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world_config config;
        struct world *w;
        world_config_default(&config);
        config.seed = seed;
        config.peer_count = 3;
        config.segment_bytes = 16 << 10;
        config.node.checkpoint_bytes = 16 << 10;
        cr_assert_eq(world_new(&config, &w), DLHT_OK);
        static const size_t FIRST = 0;
        for (size_t i = 0; i < 3; i++) {
            world_set_bootstrap(w, i, &FIRST, i > 0);
            world_start(w, i);
        }
        cr_assert(world_run(w, 15 * WORLD_S));
        cr_assert_eq(put(w, 0, 40), 40);
        cr_assert_geq(count_copies(w, 2), 2);
        cr_assert(world_hurt(w, 2, seed % 2 ? WORLD_ROT : WORLD_MISDIRECTED));
        world_start(w, 2);
        size_t copies = count_copies(w, 2);
        bool up = world_is_up(w, 2);
        if (up)
            world_crash(w, 2, true);
        world_start(w, 2);
        if (up && world_is_up(w, 2)) {
            cr_expect_leq(count_copies(w, 2), copies, "seed %llu: %zu of %zu",
                          (unsigned long long)seed, count_copies(w, 2), copies);
            put_aside += copies == 0;
        }
        const char *text;
        cr_expect_null(world_failure(w, &text), "seed %llu: %s",
                       (unsigned long long)seed, text);
        world_free(w);
    }
    cr_expect(put_aside >= 3, "%d", put_aside);
}

struct told {
    bool answered, safe;
};

static void on_status(void *context, uint64_t argument,
                      const struct response *response)
{
    struct told *told = context;
    struct mp_reader r;
    (void)argument;
    told->answered = response && response->status == DLHT_OK;
    mp_reader_init(&r, told->answered ? response->value : span_empty());
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        if (span_equal(mp_read_bytes(&r), span_str("safe_to_stop")))
            told->safe = mp_read_bool(&r);
        else
            mp_skip(&r);
    }
}

/* Whether n0 says that any peer may be stopped. */
static bool says_safe(struct world *w)
{
    struct told told = { 0 };
    struct request q = { .op = OP_STATUS, .timeout_ms = 5000 };
    cr_assert_eq(world_request(w, 0, &q, on_status, &told, 0), DLHT_OK);
    for (int i = 0; i < 5000 && !told.answered; i++)
        world_run(w, world_now_ns(w) + WORLD_MS);
    cr_assert(told.answered);
    return told.safe;
}

/* Its copies are gone: who stops another one has lost the majority until it is
 * back. Leaders know as soon as they hear of its start. */
Test(faults, nobody_may_stop_once_a_damaged_peer_is_heard_of, .timeout = 120)
{
    int put_aside = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world_config config;
        struct world *w;
        world_config_default(&config);
        config.seed = seed;
        config.peer_count = 3;
        config.segment_bytes = 16 << 10;
        cr_assert_eq(world_new(&config, &w), DLHT_OK);
        static const size_t FIRST = 0;
        for (size_t i = 0; i < 3; i++) {
            world_set_bootstrap(w, i, &FIRST, i > 0);
            world_start(w, i);
        }
        cr_assert(world_run(w, 15 * WORLD_S));
        cr_assert_eq(put(w, 0, 40), 40);
        cr_assert(says_safe(w), "seed %llu", (unsigned long long)seed);
        cr_assert(world_hurt(w, 2, WORLD_ROT));
        world_start(w, 2);
        if (world_is_up(w, 2) && count_copies(w, 2) == 0) {
            world_run(w, world_now_ns(w) + 5 * WORLD_MS);
            cr_expect_not(says_safe(w), "seed %llu", (unsigned long long)seed);
            put_aside++;
        }
        world_free(w);
    }
    cr_expect(put_aside >= 3, "%d", put_aside);
}

/* All copies of a peer that are not empty; of those that it leads, the keys. */
static size_t sound_copies(const struct world *w, size_t peer, size_t *led,
                           size_t *keys)
{
    size_t copies = 0;
    const struct node *node = world_node(w, peer);
    for (size_t i = 0; node && i < inspect_replica_count(node); i++) {
        struct inspect_replica r;
        inspect_replica_at(node, i, &r);
        copies += !r.empty;
        if (r.empty || raft_role(r.raft) != RAFT_LEADER)
            continue;
        ++*led;
        *keys += r.keyspace ? records_count(r.records) : 0;
    }
    return copies;
}

/* The power of all fails soon after copies were added, and each of two peers is
 * alone for long before they meet. What it has on disk does not say yet that its
 * copies were admitted, and nobody tells it; but two of three are all that the
 * ring needs, and what it acknowledged is there. */
Test(faults, copies_of_a_peer_that_is_alone_for_long_stay, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world_config config;
        struct world *w;
        world_config_default(&config);
        config.seed = seed;
        config.peer_count = 3;
        config.node.map_fingers = seed % 2;
        cr_assert_eq(world_new(&config, &w), DLHT_OK);
        static const size_t FIRST = 0;
        for (size_t i = 0; i < 3; i++) {
            world_set_bootstrap(w, i, &FIRST, i > 0);
            world_start(w, i);
        }
        cr_assert(world_run(w, 15 * WORLD_S));
        cr_assert_eq(put(w, 0, 40), 40);
        size_t led = 0, keys = 0, before[3];
        for (size_t i = 0; i < 3; i++)
            before[i] = sound_copies(w, i, &led, &keys);
        cr_assert_eq(before[1], before[0]);
        cr_assert_eq(before[2], before[0]);
        for (size_t i = 0; i < 3; i++)
            world_crash(w, i, true);
        for (size_t i = 1; i < 3; i++) {
            led = keys = 0;
            world_start(w, i);
            cr_assert(world_run(w, world_now_ns(w) + 40 * WORLD_S));
            cr_expect_eq(sound_copies(w, i, &led, &keys), before[i],
                         "seed %llu", (unsigned long long)seed);
            world_crash(w, i, true);
        }
        world_start(w, 1);
        world_start(w, 2);
        cr_assert(world_run(w, world_now_ns(w) + 20 * WORLD_S));
        led = keys = 0;
        (void)sound_copies(w, 1, &led, &keys);
        (void)sound_copies(w, 2, &led, &keys);
        cr_expect_eq(led, before[0], "seed %llu", (unsigned long long)seed);
        cr_expect_eq(keys, 40, "seed %llu", (unsigned long long)seed);
        world_free(w);
    }
}

Test(faults, a_journal_without_room_is_not_damaged)
{
    struct ends ends = { 0 };
    struct world *w = new_world(1, &ends);
    world_fail_sync(w, 0);
    cr_expect_not(world_hurt(w, 0, WORLD_ROT));
    cr_expect(world_is_up(w, 0));
    world_free(w);
}

Test(faults, a_clock_jumps_ahead_and_goes_on)
{
    struct ends ends = { 0 };
    struct world *w = new_world(1, &ends);
    uint64_t before = world_local_ns(w, 0);
    world_jump_clock(w, 0, 7 * WORLD_S);
    cr_expect_eq(world_local_ns(w, 0), before + 7 * WORLD_S);
    world_drift_clock(w, 0, 10000);
    before = world_local_ns(w, 0);
    uint64_t now = world_now_ns(w);
    cr_assert(world_run(w, now + 10 * WORLD_S));
    cr_expect_eq(world_local_ns(w, 0) - before,
                 (world_now_ns(w) - now) / 100 * 101);
    cr_expect_eq(put(w, 0, 3), 3);
    world_free(w);
}

/* A run said in full is the run that was drawn; and another is another. */
Test(faults, what_was_drawn_can_be_said, .timeout = 120)
{
    const struct scenario *any = scenario_find("any");
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct scenario_options drawn = { .seed = seed }, said = drawn;
        struct scenario_result a, b, c;
        scenario_run(any, &drawn, &a);
        cr_expect_null(a.invariant, "seed %llu: %s: %s",
                       (unsigned long long)seed, a.invariant, a.text);
        said.knobs = a.drawn;
        scenario_run(any, &said, &b);
        cr_expect_eq(a.hash, b.hash, "seed %llu", (unsigned long long)seed);
        said.knobs.seconds--;
        scenario_run(any, &said, &c);
        cr_expect_neq(a.hash, c.hash, "seed %llu", (unsigned long long)seed);
    }
}

/* Some of what is asked is done at spots, as doors do it. */
Test(faults, requests_are_done_at_once_too, .timeout = 60)
{
    static const char *const NAMES[] = { "any", "cache" };
    for (size_t i = 0; i < 2; i++) {
        struct scenario_options options = { .seed = 1 };
        struct scenario_result r;
        scenario_run(scenario_find(NAMES[i]), &options, &r);
        cr_expect_null(r.invariant, "%s", r.text);
        cr_expect_gt(r.stats.at_once, 0, "%s", NAMES[i]);
    }
    /* And begun there, where one peer has the only copies. */
    struct scenario_options alone = { .seed = 1 };
    alone.knobs.peers = 1;
    struct scenario_result r;
    scenario_run(scenario_find("any"), &alone, &r);
    cr_expect_null(r.invariant, "%s", r.text);
    cr_expect_gt(r.stats.begun, 0);
}

/* All kinds come up within some seeds, and ranges of all kinds. */
Test(faults, everything_is_drawn_some_time)
{
    const struct scenario *any = scenario_find("any");
    uint32_t kinds = 0, peers = 0, keyspaces = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct scenario_options options = { .seed = seed };
        struct scenario_knobs k;
        scenario_draw(any, &options, &k);
        kinds |= k.kinds;
        peers |= 1u << k.peers;
        keyspaces |= 1u << k.keyspaces;
        cr_assert(k.clients >= 4 && k.clients <= 20, "%zu", k.clients);
    }
    cr_expect_eq(kinds, FAULT_ALL);
    cr_expect_eq(peers, 0x3feu);
    cr_expect_eq(keyspaces, 0x1eu);
}
