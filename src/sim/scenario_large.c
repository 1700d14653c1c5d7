/* SPDX-License-Identifier: Apache-2.0 */

/* Stories of many hundred peers. They begin settled (sim/settled.h). */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "sim/plan.h"

enum {
    HOPS_SEEN_MAX = 64
};

/* Lookups of keys anywhere, asked of anybody, all the while. */
struct looks {
    struct plan *p;
    struct rng rng;
    bool on;
    uint64_t every_ns;
    uint32_t timeout_ms;
    size_t asked, answered, failed, hops;
    size_t by_hops[HOPS_SEEN_MAX];
};

static void look_heard(void *context, uint64_t argument,
                       const struct response *response)
{
    struct looks *l = context;
    (void)argument;
    l->answered++;
    /* Who asked a peer that died, or stops, asks another. */
    if (!response || response->status == DLHT_ECLOSED)
        return;
    if (response->status != DLHT_OK) {
        l->failed++;
        world_trace(l->p->w, "a lookup fails: %s",
                    dlht_errname(response->status));
        return;
    }
    size_t hops = response->hops;
    l->hops += hops;
    l->by_hops[hops < HOPS_SEEN_MAX ? hops : HOPS_SEEN_MAX - 1]++;
}

static void look(void *context, uint64_t argument)
{
    struct looks *l = context;
    struct world *w = l->p->w;
    (void)argument;
    if (!l->on)
        return;
    world_after(w, l->every_ns, look, l, 0);
    size_t arcs = settled_arc_count(l->p->settled);
    size_t peer = (size_t)rng_below(&l->rng, world_peer_count(w));
    struct request q = { .op = OP_LOOKUP, .timeout_ms = l->timeout_ms };
    q.key = settled_key(l->p->settled, (size_t)rng_below(&l->rng, arcs));
    if (!world_is_ready(w, peer))
        return;
    l->asked++;
    if (world_request(w, peer, &q, look_heard, l, 0) != 0)
        world_fail(w, "codec", "OP_LOOKUP does not pack");
}

static void looks_start(struct looks *l, struct plan *p, uint64_t every_ns)
{
    *l = (struct looks){
        .p = p, .on = true, .every_ns = every_ns, .timeout_ms = 5000
    };
    rng_init(&l->rng, rng_next(&p->rng));
    world_after(p->w, every_ns, look, l, 0);
}

/* Until all are answered; l may go then. */
static bool looks_stop(struct looks *l)
{
    l->on = false;
    if (!plan_run_for(l->p, l->every_ns))
        return false;
    for (int i = 0; i < 100 && l->answered < l->asked; i++)
        if (!plan_run_for(l->p, 100 * WORLD_MS))
            return false;
    if (l->answered < l->asked)
        world_fail(l->p->w, "A10_answered", "%zu lookups have no answer",
                   l->asked - l->answered);
    return world_failure(l->p->w, NULL) == NULL;
}

static size_t good_looks(const struct looks *l)
{
    size_t good = 0;
    for (size_t i = 0; i < HOPS_SEEN_MAX; i++)
        good += l->by_hops[i];
    return good;
}

/* The least hops that so great a share of all lookups did not exceed. */
static size_t hops_within(const struct looks *l, double share)
{
    double left = share * (double)good_looks(l);
    for (size_t i = 0; i < HOPS_SEEN_MAX; i++) {
        left -= (double)l->by_hops[i];
        if (left <= 0)
            return i;
    }
    return HOPS_SEEN_MAX;
}

static double mean_hops(const struct looks *l)
{
    size_t good = good_looks(l);
    return good ? (double)l->hops / (double)good : 0;
}

static double log2_of(double n)
{
    double log2 = 0;
    for (; n > 1; n /= 2)
        log2 += n >= 2 ? 1 : n - 1;
    return log2;
}

/* What is said at the end. */

static void remark(struct plan *p, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

static void remark(struct plan *p, const char *format, ...)
{
    size_t at = strlen(p->result->remark);
    va_list args;
    va_start(args, format);
    vsnprintf(p->result->remark + at, sizeof p->result->remark - at, format,
              args);
    va_end(args);
}

/* Traffic since a moment. */
struct meter {
    struct world_stats from;
    uint64_t from_ns;
};

static void meter_start(struct meter *m, struct plan *p)
{
    world_stats(p->w, &m->from);
    m->from_ns = world_now_ns(p->w);
}

static size_t up_count(const struct plan *p)
{
    size_t up = 0;
    for (size_t i = 0; i < world_peer_count(p->w); i++)
        up += world_is_up(p->w, i);
    return up;
}

/* Messages a second and peer. */
static double meter_rate(const struct meter *m, const struct plan *p)
{
    struct world_stats now;
    world_stats(p->w, &now);
    double seconds = (double)(world_now_ns(p->w) - m->from_ns) / 1e9;
    return (double)(now.frames - m->from.frames) / seconds /
           (double)(up_count(p) ? up_count(p) : 1);
}

/* The same in words, and bytes, of each type. */
static double meter_say(const struct meter *m, struct plan *p, const char *what)
{
    struct world_stats now;
    world_stats(p->w, &now);
    double seconds = (double)(world_now_ns(p->w) - m->from_ns) / 1e9;
    double share = seconds * (double)up_count(p);
    double frames = (double)(now.frames - m->from.frames) / share;
    remark(p, "%s, %.1f s: %.1f messages/s and %.0f bytes/s a peer\n   ", what,
           seconds, frames,
           (double)(now.frame_bytes - m->from.frame_bytes) / share);
    for (size_t i = 0; i < WORLD_TYPES; i++) {
        uint64_t count = now.type_frames[i] - m->from.type_frames[i];
        uint64_t bytes = now.type_bytes[i] - m->from.type_bytes[i];
        if (count)
            remark(p, " %s %.1f (%.0f B)", world_type_name((uint8_t)i),
                   (double)count / share, (double)bytes / share);
    }
    remark(p, "\n");
    return frames;
}

/* The beginning. */

static bool start_settled(struct plan *p)
{
    struct settled_config config = { .seed = rng_next(&p->rng),
                                     .peers = p->settled_peers,
                                     .arcs = p->world.node.vnodes,
                                     .replicas = p->world.node.replicas,
                                     .floor_keys = p->world.node.floor_keys,
                                     .ceiling_bytes = UINT64_C(64) << 20 };
    p->settled = settled_start(p->w, &config);
    struct meter m;
    if (!plan_await_whole(p) || !plan_run_for(p, WORLD_S))
        return false;
    meter_start(&m, p);
    if (!plan_run_for(p, 2 * WORLD_S))
        return false;
    meter_say(&m, p, "at rest");
    return true;
}

void plan_large(struct plan *p)
{
    p->start = start_settled;
    p->settled_peers = p->world.peer_count;
    p->loads = true;
    p->unverified = true;
    p->workload.key_count = 60;
    p->workload.value_len_max = 60;
    p->workload.client_count = 10;
    p->workload.hot_count = 10;
    p->workload.timeout_ms = 5000;
    p->workload.range = p->workload.count = 0;
    p->world.node.replicas = 3;
    p->world.node.vnodes = 8;
    p->world.node.strict = false;
    p->world.node.map_fingers = false;
    p->world.node.floor_keys = UINT64_C(1) << 40; /* nothing is cut */
    p->world.node.down_out_ns = 5 * WORLD_S;
    p->world.segment_bytes = 64 << 10;
    p->world.node.checkpoint_bytes = 4 << 20;
    p->world.disk.slow_chance = 0;
    p->world.events_max = UINT64_C(1) << 40;
    p->bound_ns = 120 * WORLD_S;
    p->poll_ns = WORLD_S;
    /* The few keys weigh more in a small ring: the planner moves arcs for them
     * first. */
    p->calm_ns = (p->settled_peers < 500 ? 8 : 2) * WORLD_S;
}

/* Some join, as many leave, half as many die. */

struct leaver {
    struct plan *p;
    size_t peer;
    bool asked, done;
};

static void leave_heard(void *context, uint64_t argument,
                        const struct response *response)
{
    struct leaver *l = context;
    (void)argument;
    l->asked = false;
    l->done = response && response->status == DLHT_OK;
}

static void leave_ask(struct leaver *l)
{
    struct plan *p = l->p;
    size_t by = (size_t)rng_below(&p->rng, p->settled_peers);
    struct request q = { .op = OP_LEAVE, .timeout_ms = 3000 };
    q.key = span_str(world_addr(p->w, l->peer));
    if (l->asked || by == l->peer || !world_is_ready(p->w, by))
        return;
    l->asked = true;
    if (world_request(p->w, by, &q, leave_heard, l, 0) != 0)
        world_fail(p->w, "codec", "OP_LEAVE does not pack");
}

enum {
    LEAVERS_MAX = 64
};

static bool leave_all(struct plan *p, struct leaver *list, size_t count)
{
    uint64_t end = world_now_ns(p->w) + p->bound_ns;
    for (size_t left = count; left > 0;) {
        left = 0;
        for (size_t i = 0; i < count; i++) {
            struct leaver *l = &list[i];
            if (!l->done)
                leave_ask(l);
            left += !l->done || l->asked;
            if (!l->done || l->asked || !world_is_wanted(p->w, l->peer))
                continue;
            world_set_wanted(p->w, l->peer, false);
            if (world_is_up(p->w, l->peer))
                world_stop(p->w, l->peer);
        }
        if (world_now_ns(p->w) > end)
            world_fail(p->w, "A10_leave", "%zu peers may not be stopped", left);
        if (!plan_run_for(p, 500 * WORLD_MS))
            return false;
    }
    return true;
}

/* This peer or one soon after it dies for good. Two at once of the three that
 * keep an arc would be more than is promised. */
static void lose_one(struct plan *p, size_t peer)
{
    for (size_t end = peer + 20; peer < end && peer < p->settled_peers; peer++)
        if (world_is_up(p->w, peer) && checker_may_lose(p->checker, peer)) {
            world_set_wanted(p->w, peer, false);
            world_crash(p->w, peer, true);
            return;
        }
}

static bool churn(struct plan *p)
{
    size_t first = p->settled_peers, count = world_peer_count(p->w) - first;
    struct leaver leavers[LEAVERS_MAX];
    count = count < LEAVERS_MAX ? count : LEAVERS_MAX;
    for (size_t i = 0; i < count; i++) {
        /* Five peers keep the system arc at first: they stay. */
        size_t leaves = 5 + i * (first - 5) / count;
        leavers[i] = (struct leaver){ .p = p, .peer = leaves };
        plan_start_one(p, first + i);
        if (i % 2)
            lose_one(p, leaves + 1);
        if (!plan_run_for(p, 200 * WORLD_MS))
            return false;
    }
    return leave_all(p, leavers, count);
}

static void judge_hops(struct plan *p, const struct looks *l)
{
    double log2 = log2_of((double)settled_arc_count(p->settled));
    double mean = mean_hops(l);
    size_t p99 = hops_within(l, 0.99), most = hops_within(l, 1);
    remark(p, "%zu lookups, %zu failed: %.2f hops, p99 %zu, at most %zu\n",
           l->answered, l->failed, mean, p99, most);
    if (p->world.node.map_fingers) {
        if (mean > 0.5 * log2 + 0.2 || (double)p99 > log2 + 1)
            world_fail(p->w, "A11_hops", "%.2f hops, p99 %zu, of log2 %.1f",
                       mean, p99, log2);
        return;
    }
    double direct = (double)(l->by_hops[0] + l->by_hops[1]);
    double share = direct / (double)good_looks(l);
    remark(p, "%.3f %% in one hop\n", 100 * share);
    /* In a ring of fifty, two peers in a hundred come and go within a tenth of
     * the time. */
    if (share < (p->settled_peers < 500 ? 0.97 : 0.999))
        world_fail(p->w, "A11_hops", "%.3f %% in one hop", 100 * share);
}

static bool act_churn(struct plan *p)
{
    struct looks l;
    struct meter m;
    looks_start(&l, p, 5 * WORLD_MS);
    meter_start(&m, p);
    if (!churn(p) || !looks_stop(&l))
        return false;
    meter_say(&m, p, "churn");
    judge_hops(p, &l);
    return true;
}

void plan_ring_1000(struct plan *p)
{
    plan_large(p);
    p->act = act_churn;
    size_t more = p->settled_peers / 50;
    p->world.peer_count += more ? more : 1;
}

void plan_fingers_1000(struct plan *p)
{
    plan_ring_1000(p);
    p->world.node.map_fingers = true;
}

/* Half of a ring dies at once; the other half finds what lives. */

struct place {
    char key[16]; /* where an arc begins */
};

static int compare_places(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->key,
                  ((const struct place *)b)->key);
}

/* Of the arcs that somebody alive leads; how many. The planner may have moved
 * some from where they were at first. */
static size_t living_arcs(const struct plan *p, struct place *list, size_t max)
{
    struct span *los = calloc(max, sizeof *los);
    if (!los)
        abort();
    size_t count = checker_led(p->checker, los, max);
    for (size_t i = 0; i < count; i++) {
        struct span lo = los[i].len ? los[i] : span_str("a");
        snprintf(list[i].key, sizeof list->key, "%.*s", (int)lo.len,
                 (const char *)lo.data);
    }
    free(los);
    qsort(list, count, sizeof *list, compare_places);
    return count;
}

static void kill_half(struct plan *p)
{
    size_t count = world_peer_count(p->w);
    for (size_t left = count / 2; left > 0;) {
        /* Those that keep the system arc stay. */
        size_t peer = 5 + (size_t)rng_below(&p->rng, count - 5);
        if (!world_is_up(p->w, peer))
            continue;
        world_set_wanted(p->w, peer, false);
        world_crash(p->w, peer, true);
        left--;
    }
}

/* Asked at once, before anybody knows. */
static bool look_many(struct plan *p, struct looks *l, size_t lookups,
                      uint64_t every_ns)
{
    size_t max = settled_arc_count(p->settled);
    struct place *list = calloc(max, sizeof *list);
    if (!list)
        abort();
    size_t living = living_arcs(p, list, max);
    bool sound = true;
    *l = (struct looks){ .p = p, .every_ns = every_ns };
    while (sound && l->asked < lookups) {
        size_t peer = (size_t)rng_below(&p->rng, world_peer_count(p->w));
        struct request q = { .op = OP_LOOKUP, .timeout_ms = 20000 };
        q.key = span_str(list[rng_below(&p->rng, living)].key);
        if (!world_is_ready(p->w, peer))
            continue;
        l->asked++;
        sound = world_request(p->w, peer, &q, look_heard, l, 0) == 0 &&
                plan_run_for(p, every_ns);
    }
    for (int i = 0; sound && i < 300 && l->answered < l->asked; i++)
        sound = plan_run_for(p, 100 * WORLD_MS);
    free(list);
    return sound;
}

static bool say_looks(struct plan *p, const struct looks *l, uint64_t before,
                      const char *what)
{
    remark(p,
           "%s: %zu lookups, %zu failed: %.2f hops, p99 %zu, at most %zu; %.2f "
           "timeouts each\n",
           what, l->answered, l->failed, mean_hops(l), hops_within(l, 0.99),
           hops_within(l, 1),
           (double)(checker_timeouts(p->checker) - before) / (double)l->asked);
    size_t dead, up;
    checker_opinions(p->checker, &dead, &up);
    remark(p, "    of living peers %zu are thought dead, of dead ones %zu up\n",
           dead, up);
    if (l->failed || l->answered < l->asked)
        world_fail(p->w, "A11_found", "%zu of %zu lookups of what lives failed",
                   l->failed + l->asked - l->answered, l->asked);
    return world_failure(p->w, NULL) == NULL;
}

static bool act_half_dead(struct plan *p)
{
    struct looks l;
    uint64_t before = checker_timeouts(p->checker);
    if (!look_many(p, &l, 2000, 500 * WORLD_US) ||
        !say_looks(p, &l, before, "all alive"))
        return false;
    kill_half(p);
    before = checker_timeouts(p->checker);
    return look_many(p, &l, 2000, 500 * WORLD_US) &&
           say_looks(p, &l, before, "half dead");
}

void plan_half_dead(struct plan *p)
{
    plan_large(p);
    p->world.node.map_fingers = true;
    p->world.node.vnodes = 1;
    p->world.node.replicas = 1;
    p->world.node.successors = 20;
    p->world.node.down_out_ns = 1000 * WORLD_S;
    p->loads = false;
    p->workload.client_count = 0;
    p->act = act_half_dead;
    p->ends = true;
}

/* All stop and start within a second. */

enum {
    STORM_S = 30,         /* watched so long */
    STORM_TIMES_IDLE = 20 /* messages, at most, in any of these seconds */
};

static void on_start_again(void *context, uint64_t peer)
{
    struct plan *p = context;
    if (!world_is_up(p->w, (size_t)peer))
        world_start(p->w, (size_t)peer);
}

static void on_stop_all(void *context, uint64_t peer)
{
    struct plan *p = context;
    if (!world_is_up(p->w, (size_t)peer))
        return;
    world_crash(p->w, (size_t)peer, plan_coin(p, 0.5));
    world_after(p->w, rng_range(&p->rng, 100, 500) * WORLD_MS, on_start_again,
                p, peer);
}

/* The first seconds, one by one. */
static bool watch_storm(struct plan *p, double idle)
{
    struct meter all;
    double most = 0;
    int led_s = 0;
    meter_start(&all, p);
    for (int second = 1; second <= STORM_S; second++) {
        struct meter m;
        meter_start(&m, p);
        if (!plan_run_for(p, WORLD_S))
            return false;
        double rate = meter_rate(&m, p);
        most = rate > most ? rate : most;
        if (led_s == 0 && checker_led(p->checker, NULL, SIZE_MAX) ==
                              settled_arc_count(p->settled))
            led_s = second;
    }
    meter_say(&all, p, "after the restart");
    remark(p,
           "at most %.0f messages/s a peer, %.1f times idle; all led after "
           "%d s\n",
           most, most / idle, led_s);
    if (most > STORM_TIMES_IDLE * idle)
        world_fail(p->w, "A12_storm", "%.0f messages/s a peer, idle %.0f", most,
                   idle);
    if (led_s == 0)
        world_fail(p->w, "A10_led", "not all arcs are led after %d s", STORM_S);
    return world_failure(p->w, NULL) == NULL;
}

static bool act_mass_restart(struct plan *p)
{
    struct meter m;
    struct looks l;
    meter_start(&m, p);
    if (!plan_run_for(p, 3 * WORLD_S))
        return false;
    double idle = meter_rate(&m, p);
    looks_start(&l, p, 20 * WORLD_MS);
    for (size_t i = 0; i < world_peer_count(p->w); i++)
        world_after(p->w, rng_below(&p->rng, 500 * WORLD_MS), on_stop_all, p,
                    i);
    if (!watch_storm(p, idle) || !looks_stop(&l))
        return false;
    remark(p, "%zu lookups, %zu failed, meanwhile\n", l.answered, l.failed);
    return true;
}

void plan_mass_restart_300(struct plan *p)
{
    plan_large(p);
    p->act = act_mass_restart;
}
