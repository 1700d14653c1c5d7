/* SPDX-License-Identifier: Apache-2.0 */

/* What operators do meanwhile: peers join and leave, weights change, balancing
 * is paused, models are asked for. */

#include <string.h>

#include "dlht/err.h"
#include "sim/fault_inner.h"
#include "wire/mp.h"

static const uint64_t ASK_EVERY_NS = 300 * WORLD_MS;

static void end_errand(struct errand *e)
{
    buf_deinit(&e->doc);
    e->doc = (struct buf){ 0 };
    e->open = false;
}

/* The leaver may go. */
static void let_go(struct errand *e)
{
    struct world *w = e->fault->world;
    world_trace(w, "n%zu may be stopped", e->leaver);
    world_set_wanted(w, e->leaver, false);
    if (world_is_up(w, e->leaver))
        world_stop(w, e->leaver);
}

static void on_answer(void *context, uint64_t argument,
                      const struct response *response)
{
    struct errand *e = context;
    (void)argument;
    bool done = response && response->status == DLHT_OK;
    e->asked = false;
    if (!e->open)
        return;
    if (done && e->op == OP_LEAVE)
        let_go(e);
    if (done || !e->must)
        end_errand(e);
}

static void ask(struct errand *e, size_t by)
{
    struct world *w = e->fault->world;
    struct request q = { .op = e->op, .timeout_ms = 3000 };
    if (e->op == OP_LEAVE)
        q.key = span_str(world_addr(w, e->leaver));
    else
        q.value = buf_span(&e->doc);
    e->asked = true;
    if (world_request(w, by, &q, on_answer, e, 0) != DLHT_OK)
        world_fail(w, "codec", "op %u does not pack", (unsigned)e->op);
}

/* A pause that was asked for may still be granted: who resumes waits for it. */
static bool must_wait(const struct errand *e)
{
    const struct fault *fault = e->fault;
    for (size_t i = 0; i < ERRANDS_MAX; i++) {
        const struct errand *other = &fault->errands[i];
        if (other->asked &&
            (other == e || (e->op == OP_BALANCE && other->op == OP_BALANCE)))
            return true;
    }
    return false;
}

static void run_errand(void *context, uint64_t argument)
{
    struct errand *e = context;
    struct fault *fault = e->fault;
    (void)argument;
    if (!e->open)
        return;
    size_t by = fault_draw_peer(fault, true);
    if (!must_wait(e) && by != SIZE_MAX && world_is_ready(fault->world, by) &&
        (e->op != OP_LEAVE || by != e->leaver))
        ask(e, by);
    world_after(fault->world, ASK_EVERY_NS, run_errand, e, 0);
}

/* NULL: too many are under way. */
static struct errand *new_errand(struct fault *fault, enum op op, bool must)
{
    for (size_t i = 0; i < ERRANDS_MAX; i++) {
        struct errand *e = &fault->errands[i];
        if (e->open || e->asked)
            continue;
        *e = (struct errand){
            .fault = fault, .open = true, .must = must, .op = (uint8_t)op
        };
        world_after(fault->world, WORLD_MS, run_errand, e, 0);
        return e;
    }
    return NULL;
}

static bool is_leaving(const struct fault *fault)
{
    for (size_t i = 0; i < ERRANDS_MAX; i++)
        if (fault->errands[i].open && fault->errands[i].op == OP_LEAVE)
            return true;
    return false;
}

/* One that was never there, or that has gone: it comes as a new one. */
static void join_one(struct fault *fault)
{
    struct world *w = fault->world;
    for (size_t i = 0; i < world_peer_count(w); i++) {
        if (world_is_wanted(w, i) || world_is_up(w, i))
            continue;
        if (world_starts(w, i) > 0)
            world_lose_disk(w, i);
        fault_set_bootstrap(fault, i);
        world_start(w, i);
        return;
    }
}

/* One at a time, and never the last but one: a ring of two that becomes one
 * has nobody who could be asked whether all is well. */
static void leave_one(struct fault *fault)
{
    struct world *w = fault->world;
    size_t wanted = 0, peer = fault_draw_peer(fault, true);
    for (size_t i = 0; i < world_peer_count(w); i++)
        wanted += world_is_wanted(w, i);
    if (wanted < 3 || peer == SIZE_MAX || is_leaving(fault))
        return;
    struct errand *e = new_errand(fault, OP_LEAVE, true);
    if (!e)
        return;
    e->leaver = peer;
    world_trace(w, "n%zu is to leave", peer);
}

static void train(struct fault *fault)
{
    struct errand *e = new_errand(fault, OP_MODEL, false);
    if (!e)
        return;
    const char *name = fault->config.trained;
    mp_write_map(&e->doc, 3);
    mp_write_cstr(&e->doc, "action");
    mp_write_cstr(&e->doc, "train");
    mp_write_cstr(&e->doc, "keyspace");
    mp_write_cstr(&e->doc, name ? name : "default");
    mp_write_cstr(&e->doc, "wait");
    mp_write_bool(&e->doc, false);
}

static void pause_balance(struct fault *fault, bool on)
{
    struct errand *e = new_errand(fault, OP_BALANCE, !on);
    if (!e)
        return;
    fault->paused = on;
    mp_write_map(&e->doc, 1);
    mp_write_cstr(&e->doc, "action");
    mp_write_cstr(&e->doc, on ? "pause" : "resume");
}

static void weigh_one(struct fault *fault)
{
    static const char *const WEIGHTS[] = { "0.5", "1", "1", "2" };
    size_t peer = fault_draw_peer(fault, true);
    struct errand *e =
        peer == SIZE_MAX ? NULL : new_errand(fault, OP_PEER_SET, false);
    if (!e)
        return;
    mp_write_map(&e->doc, 2);
    mp_write_cstr(&e->doc, "peer");
    mp_write_cstr(&e->doc, world_addr(fault->world, peer));
    mp_write_cstr(&e->doc, "options");
    mp_write_map(&e->doc, 1);
    mp_write_cstr(&e->doc, "weight");
    mp_write_cstr(&e->doc, WEIGHTS[rng_below(&fault->rng, 4)]);
}

void fault_operate(struct fault *fault, enum fault_kind kind)
{
    if (kind == FAULT_JOIN)
        join_one(fault);
    else if (kind == FAULT_LEAVE)
        leave_one(fault);
    else if (kind == FAULT_TRAIN)
        train(fault);
    else if (fault->paused || rng_chance(&fault->rng, 0.3))
        pause_balance(fault, !fault->paused);
    else
        weigh_one(fault);
}

void fault_stop_operating(struct fault *fault)
{
    for (size_t i = 0; i < ERRANDS_MAX; i++)
        if (fault->errands[i].open && !fault->errands[i].must)
            end_errand(&fault->errands[i]);
    if (fault->config.kinds & FAULT_BALANCE)
        pause_balance(fault, false);
}

bool fault_is_idle(const struct fault *fault)
{
    for (size_t i = 0; i < ERRANDS_MAX; i++)
        if (fault->errands[i].open || fault->errands[i].asked)
            return false;
    return true;
}

void fault_drop_errands(struct fault *fault)
{
    for (size_t i = 0; i < ERRANDS_MAX; i++)
        buf_deinit(&fault->errands[i].doc);
}
