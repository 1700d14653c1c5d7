/* SPDX-License-Identifier: Apache-2.0 */

/* Which way is the cheapest. */

#include "vector/filter_plan.h"

#include <assert.h>
#include <math.h>

enum {
    EF_MAX = 100000, /* of a walk, as vector/query.h has it */
    NEAR_PRIOR = 64, /* rows that count for `near` being 1 */
    /* A walk that is to find nearly all that passes may miss some of it. */
    K_ROOM = 4
};

/* Fitted: docs/filter.md. */
static const double plain_power = 0.8;
static const double second_factor = 2.75;
static const double second_power = 0.64;
static const double second_together = 6.5;

/* Below this `near` rows that pass lie together, elsewhere. */
static const double near_together = 0.5;

struct filter_plan_costs filter_plan_costs_default(size_t bytes)
{
    struct filter_plan_costs costs = {
        .row = 1.3 + 0.05 * (double)bytes,
        .step = 13.3 + 0.05 * (double)bytes,
        .filter = 40,
        .entry = 2,
    };
    return costs;
}

double filter_plan_near(uint64_t measured, uint64_t passed, double share)
{
    assert(passed <= measured);
    if (share <= 0)
        return 1;
    double prior = NEAR_PRIOR;
    return ((double)passed / share + prior) / ((double)measured + prior);
}

static double between(double x, double lo, double hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* A walk sees more rows than ef by a factor that grows with the logarithm of
 * the set: 24 at 100,000. */
static double walk_rows(const struct filter_plan_input *in)
{
    if (in->walk_rows > 0)
        return in->walk_rows;
    double rows = in->row_count > 2 ? (double)in->row_count : 2;
    return between(24.0 / 16.6 * log2(rows) * in->ef, 1, rows);
}

/* Rows that the first step of a scan takes from the index, or asks. */
static double scan_cost(const struct filter_plan_input *in, double matches)
{
    double cost = matches * in->costs.row;
    if (in->bounded)
        cost += in->candidate_count * in->costs.entry;
    if (!in->bounded)
        cost += (double)in->row_count * in->costs.filter;
    else if (!in->covered)
        cost += in->candidate_count * in->costs.filter;
    return cost;
}

/* Each row that a walk sees is asked for; by a set if that is cheaper. */
static double walk_cost(const struct filter_plan_input *in, double rows,
                        bool *by_index)
{
    double asked = rows * in->costs.filter;
    double set = in->candidate_count * in->costs.entry;
    if (!in->covered)
        set += rows * in->costs.filter *
               between(in->candidate_count / (double)in->row_count, 0, 1);
    *by_index = in->bounded && set < asked;
    return rows * in->costs.step + (*by_index ? set : asked);
}

struct filter_plan filter_plan_choose(const struct filter_plan_input *in)
{
    struct filter_plan plan = { .way = FILTER_PLAN_SCAN };
    assert(in->k > 0 && in->ef > 0);
    assert(in->near > 0);
    if (in->row_count == 0 || (in->match_exact && in->match_count < 0.5) ||
        (in->bounded && in->candidate_count < 0.5))
        plan.way = FILTER_PLAN_NOTHING;
    if (plan.way == FILTER_PLAN_NOTHING)
        return plan;
    double rows = (double)in->row_count;
    double matches = between(in->match_count, 1, rows);
    double share = between(matches / rows * in->near, 1 / rows, 1);
    double walk = walk_rows(in);
    double apart = second_factor * pow(share, -second_power);
    double lone =
        between((1 - in->near) / (1 - near_together), 0, 1); /* together */
    double second = apart + lone * (second_together - apart);
    bool set[2];
    plan.scan_ns = scan_cost(in, matches);
    /* Beyond the set itself no walk goes. */
    plan.plain_ns = walk_cost(
        in, between(walk * pow(share, -plain_power), 0, rows), &set[0]);
    plan.second_hop_ns =
        walk_cost(in, between(walk * second, 0, rows), &set[1]);
    plan.cost_ns = plan.scan_ns;
    plan.by_index = in->bounded;
    if (matches <= (double)in->k * K_ROOM)
        return plan;
    double ef = ceil(in->ef / share);
    if (plan.plain_ns < plan.cost_ns && ef <= EF_MAX) {
        plan.way = FILTER_PLAN_PLAIN;
        plan.cost_ns = plan.plain_ns;
        plan.by_index = set[0];
        plan.ef = (uint32_t)ef;
    }
    if (plan.second_hop_ns < plan.cost_ns) {
        plan.way = FILTER_PLAN_SECOND_HOP;
        plan.cost_ns = plan.second_hop_ns;
        plan.by_index = set[1];
        plan.ef = in->ef;
    }
    return plan;
}

bool filter_plan_needs_scan(const struct filter_plan_input *in, uint32_t found)
{
    if (found >= in->k)
        return false;
    return !in->match_exact || (double)found + 0.5 < in->match_count;
}

const char *filter_plan_name(enum filter_plan_way way)
{
    switch (way) {
    case FILTER_PLAN_NOTHING:
        return "nothing";
    case FILTER_PLAN_SCAN:
        return "scan";
    case FILTER_PLAN_PLAIN:
        return "plain";
    case FILTER_PLAN_SECOND_HOP:
        break;
    }
    return "second hop";
}
