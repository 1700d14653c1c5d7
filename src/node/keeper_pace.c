/* SPDX-License-Identifier: Apache-2.0 */

/* Moves give way to clients. Every peer says how long the requests that it
 * carries take. While their 99th percentile, of the peer where it is worst, is
 * over twice what it is when nothing moves, fewer arcs move at once and
 * snapshots are sent more slowly: half as many and half as fast with each
 * look, and back again more slowly. Seconds pass before a percentile tells, so
 * while clients are served snapshots also begin slowly, and go twice as fast
 * every two seconds that it stays low. */

#include <string.h>

#include "node/keeper_state.h"

enum {
    SHIFT_MAX = 6,
    RAMP = 5,
    SAMPLES_MIN = 20 /* of one peer, or its percentile says nothing */
};
#define LOOK_NS NS_PER_S
#define FRESH_NS (UINT64_C(2) * NS_PER_S)
#define SLOWER_NS (UINT64_C(2) * NS_PER_S)
#define FASTER_NS (UINT64_C(10) * NS_PER_S)
#define RAMP_NS (UINT64_C(2) * NS_PER_S)
#define RESTED_NS (UINT64_C(7) * NS_PER_S) /* percentiles are over five */
#define STUCK_NS (UINT64_C(10) * NS_PER_S)
#define P99_LEAST_NS (UINT64_C(2) * NS_PER_MS) /* below it all is well */
#define RATE_LEAST (UINT64_C(1) << 20)

static uint64_t worst_p99(const struct node *node)
{
    const struct keeper *k = node->keeper;
    uint64_t worst = 0;
    for (size_t i = 0; i < k->peer_count; i++) {
        const struct keeper_peer *p = &k->peers[i];
        if (p->samples >= SAMPLES_MIN &&
            node->now_ns - p->p99_at_ns < FRESH_NS && p->p99_ns > worst)
            worst = p->p99_ns;
    }
    return worst;
}

static uint64_t approach(uint64_t from, uint64_t to)
{
    return to > from ? from + (to - from + 15) / 16 : from - (from - to) / 16;
}

static void set_shift(struct node *node, uint32_t shift)
{
    struct keeper_pace *pace = &node->keeper->pace;
    node_log(node, LOG_INFO,
             "requests take %llu us at the 99th percentile, %llu us when "
             "nothing moves: moves are slowed down by %u",
             (unsigned long long)(pace->p99_ns / 1000),
             (unsigned long long)(pace->baseline_ns / 1000), 1u << shift);
    pace->shift = shift;
    pace->raised_ns = node->now_ns;
}

static void look(struct node *node)
{
    struct keeper *k = node->keeper;
    struct keeper_pace *pace = &k->pace;
    uint64_t since = node->now_ns - pace->raised_ns;
    pace->p99_ns = worst_p99(node);
    bool moves = node->now_ns - k->plan.active_ns < RESTED_NS;
    if (!moves && pace->p99_ns)
        pace->baseline_ns = pace->baseline_ns
                                ? approach(pace->baseline_ns, pace->p99_ns)
                                : pace->p99_ns;
    bool over = moves && pace->baseline_ns && pace->p99_ns > P99_LEAST_NS &&
                pace->p99_ns > 2 * pace->baseline_ns;
    if (over && pace->shift < SHIFT_MAX && since >= SLOWER_NS)
        set_shift(node, pace->shift + 1);
    else if (over && pace->shift == SHIFT_MAX && since >= STUCK_NS)
        /* It is not the moves: more is asked than before. */
        pace->baseline_ns = approach(pace->baseline_ns, pace->p99_ns);
    else if (!over && pace->shift > 0 && since >= FASTER_NS)
        set_shift(node, pace->shift - 1);
    if (over) {
        pace->ramp_ns = node->now_ns;
    } else if (pace->ramp && node->now_ns - pace->ramp_ns >= RAMP_NS) {
        pace->ramp--;
        pace->ramp_ns = node->now_ns;
    }
}

size_t keeper_moves_max(const struct node *node, size_t wanted)
{
    size_t most = wanted >> node->keeper->pace.shift;
    return most ? most : 1;
}

uint32_t keeper_rate_shift(const struct node *node)
{
    const struct keeper_pace *pace = &node->keeper->pace;
    return pace->shift > pace->ramp ? pace->shift : pace->ramp;
}

uint64_t keeper_rate_now(const struct node *node)
{
    struct keeper_settings settings;
    keeper_settings_read(node, &settings);
    uint64_t rate = settings.rate ? settings.rate : node->config.move_rate;
    uint32_t shift = keeper_rate_shift(node);
    if (shift == 0)
        return rate;
    if (rate == 0)
        rate = UINT64_C(1) << 30;
    uint64_t least = rate < RATE_LEAST ? rate : RATE_LEAST;
    rate >>= shift;
    return rate > least ? rate : least;
}

/* Who hears nothing for a while sends as fast as its own option says. */
static void tell_rate(struct node *node)
{
    const struct keeper *k = node->keeper;
    struct keeper_settings settings;
    keeper_settings_read(node, &settings);
    if (k->pace.shift == 0 && k->pace.ramp == 0 && settings.rate == 0)
        return;
    struct message m = { .type = MESSAGE_PACE };
    m.u.pace.rate = keeper_rate_now(node);
    for (size_t i = 0; i < k->peer_count; i++) {
        if (node_is_self(node, &k->peers[i].id))
            keeper_receive_pace(node, &node->self, &m);
        else if (k->peers[i].fate == FATE_UP)
            node_send(node, &k->peers[i].id, &m);
    }
}

void keeper_pace_begin(struct node *node)
{
    struct keeper_pace *pace = &node->keeper->pace;
    if (worst_p99(node) == 0)
        return; /* nobody to give way to */
    pace->ramp = RAMP;
    pace->ramp_ns = node->now_ns;
    tell_rate(node);
}

void keeper_pace_tick(struct node *node)
{
    struct keeper *k = node->keeper;
    if (node->now_ns < k->pace.next_ns)
        return;
    k->pace.next_ns = node->now_ns + LOOK_NS;
    look(node);
    if (node->now_ns - k->plan.active_ns < RESTED_NS)
        tell_rate(node);
}
