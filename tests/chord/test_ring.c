/* SPDX-License-Identifier: Apache-2.0 */

#include "chord/ring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "chord/arcs.h"
#include "chord/order.h"
#include "chord/ring_net.h"
#include "dlht/err.h"

#define COUNT(array) (sizeof array / sizeof *array)

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static const struct {
    const char *a, *x, *b;
    bool between;
    const char *why;
} betweens[] = {
    { "a", "b", "c", true, "plain" },
    { "a", "a", "c", false, "not its start" },
    { "a", "c", "c", false, "not its end" },
    { "c", "d", "a", true, "wraps, behind" },
    { "c", "", "a", true, "wraps, before" },
    { "c", "b", "a", false, "wraps, outside" },
    { "a", "b", "a", true, "all but itself" },
    { "a", "a", "a", false, "itself" },
};

Test(order, goes_round)
{
    for (size_t i = 0; i < COUNT(betweens); i++)
        cr_expect_eq(order_between(span_str(betweens[i].a),
                                   span_str(betweens[i].x),
                                   span_str(betweens[i].b)),
                     betweens[i].between, "%s", betweens[i].why);
    struct span b = span_str("b"), d = span_str("d"), c = span_str("c");
    cr_expect(order_nearer(b, d, c), "before beats behind");
    cr_expect(order_nearer(d, b, span_str("a")), "wraps to the last");
    cr_expect(order_sooner(c, d, b));
    cr_expect(order_sooner(span_str("e"), b, d));
}

enum order {
    IN_TURN,
    BACKWARDS,
    ALL_KNOW_ONE,
    A_CHAIN,
    ANYBODY
};

static const char *const order_names[] = { "in turn", "backwards",
                                           "all know one", "a chain",
                                           "anybody" };

static void boot(struct ring_net *net, enum order order)
{
    for (size_t i = 0; i < net->count; i++) {
        size_t index = order == BACKWARDS ? net->count - 1 - i : i;
        size_t contact = SIZE_MAX;
        if (i > 0 && order == BACKWARDS)
            contact = net->count - 1;
        else if (i > 0 && order == A_CHAIN)
            contact = i - 1;
        else if (i > 0 && order == ANYBODY)
            contact = rng_below(&net->rng, i);
        else if (i > 0)
            contact = 0;
        rnet_lead(net, index, contact);
        if (order == IN_TURN || order == BACKWARDS)
            rnet_run_for(net, 50 * MS);
    }
}

static const struct {
    size_t count;
    size_t list_len;
    size_t known_max;
    double loss;
} boots[] = {
    { 1, 8, 0, 0 },      { 2, 8, 0, 0 },     { 3, 8, 0, 0.1 },
    { 8, 8, 0, 0 },      { 30, 3, 0, 0.1 },  { 30, 8, 64, 0 },
    { 300, 8, 64, 0 },   { 300, 8, 0, 0.1 }, { 300, 8, 64, 0.1 },
    { 1000, 20, 64, 0 },
};

Test(ring, becomes_ideal_from_any_bootstrap)
{
    for (size_t i = 0; i < COUNT(boots); i++) {
        for (enum order order = IN_TURN; order <= ANYBODY; order++) {
            struct ring_net net;
            size_t count = boots[i].count;
            rnet_init(&net, 11 + i, count, count, count / 3 + 3,
                      boots[i].known_max, boots[i].list_len);
            net.loss = boots[i].loss;
            boot(&net, order);
            uint64_t sent = net.sent;
            uint64_t took = rnet_run_until_ideal(&net, false, 900 * SECOND);
            struct audit audit = rnet_audit(&net);
            cr_expect_neq(took, UINT64_MAX,
                          "%zu arcs, %s: %zu successors, %zu lists wrong, %zu "
                          "cycles",
                          count, order_names[order], audit.wrong_successors,
                          audit.wrong_lists, audit.cycles);
            fprintf(stderr,
                    "ring: %4zu arcs, list %2zu, memory %2zu, loss %2.0f %%, "
                    "%-12s: ideal after %5.1f s, %.0f messages an arc\n",
                    count, boots[i].list_len, boots[i].known_max,
                    100 * boots[i].loss, order_names[order], seconds(took),
                    (double)(net.sent - sent) / (double)count);
            rnet_deinit(&net);
        }
    }
}
