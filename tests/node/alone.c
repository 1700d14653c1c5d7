/* SPDX-License-Identifier: Apache-2.0 */

#include "node/alone.h"

#include <criterion/criterion.h>

#include "dlht/err.h"

static struct span keep(struct alone *a, struct span s)
{
    size_t at = a->kept.len;
    cr_assert_eq(buf_reserve(&a->kept, 0), 0);
    buf_append_span(&a->kept, s);
    return span_of(a->kept.data + at, s.len);
}

static void step(struct alone *a, struct event *event)
{
    event->now_ns = a->now_ns;
    cr_assert_eq(node_step(a->node, event, &a->fx), DLHT_OK);
    for (size_t i = 0; i < a->fx.count; i++) {
        struct effect *e = &a->fx.list[i];
        if (e->kind == EFFECT_READY)
            a->ready = true;
        cr_assert_neq(e->kind, EFFECT_FAILED, "%s", e->u.failed.text);
        if (e->kind == EFFECT_JOB && a->runs_jobs) {
            cr_assert_eq(a->job, 0, "one job a turn");
            e->u.job.run(e->u.job.data);
            a->job = e->u.job.number;
        }
        if (e->kind == EFFECT_SYNC)
            a->sync = e->u.sync.number;
        if (e->kind == EFFECT_SEND && a->sends)
            a->sends(a, &e->u.send.to, &e->u.send.message);
        if (e->kind != EFFECT_REPLY)
            continue;
        cr_assert_not(a->answered, "one answer a request");
        a->answered = true;
        struct response *r = &e->u.reply.response;
        buf_reset(&a->kept);
        cr_assert_eq(buf_reserve(&a->kept, r->value.len + r->list.len +
                                               r->cursor.len + r->text.len),
                     0);
        a->response = *r;
        a->response.value = keep(a, r->value);
        a->response.list = keep(a, r->list);
        a->response.cursor = keep(a, r->cursor);
        a->response.text = keep(a, r->text);
    }
    if (a->sync == 0 || a->stalls)
        return;
    struct event synced = { .kind = EVENT_SYNCED };
    synced.u.synced.number = a->sync;
    a->sync = 0;
    step(a, &synced);
}

void alone_flush(struct alone *a)
{
    struct event flush = { .kind = EVENT_FLUSH };
    step(a, &flush);
}

static void turn(struct alone *a, enum event_kind kind)
{
    struct event event = { .kind = kind };
    step(a, &event);
    alone_flush(a);
    while (a->job) {
        struct event done = { .kind = EVENT_JOB };
        done.u.job.number = a->job;
        a->job = 0;
        step(a, &done);
        alone_flush(a);
    }
}

void alone_run(struct alone *a, uint64_t ms)
{
    uint64_t end = a->now_ns + ms * 1000000;
    while (a->now_ns < end) {
        a->now_ns += 10 * 1000000;
        if (node_next_timeout_ns(a->node) <= a->now_ns)
            turn(a, EVENT_TICK);
        if (a->idle)
            a->idle(a);
    }
}

static void init(struct alone *a, uint64_t seed, bool durable)
{
    memset(a, 0, sizeof *a);
    struct node_config config;
    node_config_default(&config);
    strcpy(config.addr, "127.0.0.1:9000");
    config.seed = seed;
    config.durable = durable;
    cr_assert_eq(node_new(&config, &a->node), DLHT_OK);
    a->now_ns = 1000000000;
    turn(a, EVENT_BOOT);
    for (int i = 0; i < 500 && !a->ready; i++)
        alone_run(a, 10);
    cr_assert(a->ready, "a founder serves within five seconds");
}

void alone_init(struct alone *a, uint64_t seed)
{
    init(a, seed, false);
}

void alone_init_durable(struct alone *a, uint64_t seed)
{
    init(a, seed, true);
}

void alone_deinit(struct alone *a)
{
    node_check(a->node);
    node_free(a->node);
    effects_deinit(&a->fx);
    buf_deinit(&a->kept);
}

void alone_begin(struct alone *a, const struct request *request)
{
    a->answered = false;
    struct event event = { .kind = EVENT_REQUEST };
    event.u.request.ticket = 1;
    event.u.request.request = request;
    step(a, &event);
}

const struct response *alone_ask(struct alone *a, const struct request *request)
{
    alone_begin(a, request);
    alone_flush(a);
    uint64_t patience_ms = a->patience_ms ? a->patience_ms : 1000;
    for (uint64_t ms = 0; ms < patience_ms && !a->answered; ms += 10)
        alone_run(a, 10);
    cr_assert(a->answered, "op %d is answered", request->op);
    return &a->response;
}

void alone_hear(struct alone *a, const struct message *message)
{
    struct id whoever = { { 0xee } };
    alone_hear_from(a, &whoever, message);
}

void alone_hear_from(struct alone *a, const struct id *from,
                     const struct message *message)
{
    struct event event = { .kind = EVENT_MESSAGE };
    event.u.message.from = *from;
    event.u.message.message = message;
    step(a, &event);
    alone_flush(a);
}

int alone_put(struct alone *a, const char *key, const char *value)
{
    struct request q = { .op = OP_PUT };
    q.key = span_str(key);
    q.value = span_str(value);
    return alone_ask(a, &q)->status;
}
