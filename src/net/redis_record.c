/* SPDX-License-Identifier: Apache-2.0 */

/* Records by their keys: one request to the node for each, or for many at
 * once, wherever they live. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "net/redis_start.h"
#include "net/redis_txn.h"
#include "wire/mp.h"

enum {
    BATCH_BYTES = 1 << 20 /* of one request to the node, about */
};

static struct request request_of(const struct redis_call *call, uint8_t op,
                                 struct span key)
{
    struct request q = { .op = op,
                         .keyspace_name = redis_db_name(call->redis, call->db),
                         .key = key };
    return q;
}

void redis_start_get(struct redis_call *call)
{
    struct redis_to to;
    if (!redis_promise(call->client, &to))
        return;
    struct request q = request_of(call, OP_GET, call->args[1]);
    redis_ask(call->redis, &to, REDIS_ANSWER_VALUE, &q);
}

void redis_start_set(struct redis_call *call)
{
    struct redis_to to;
    if (call->count > 3) {
        redis_txn_start(call);
        return;
    }
    if (!redis_promise(call->client, &to))
        return;
    struct request q = request_of(call, OP_PUT, call->args[1]);
    q.value = call->args[2];
    redis_ask(call->redis, &to, REDIS_ANSWER_OK, &q);
}

/* Many keys: one request each, all at once; the answer is made when the last
 * has come. */
enum gather_kind {
    GATHER_COUNT,  /* how many were there */
    GATHER_VALUES, /* in the order of the request */
    GATHER_OK
};

struct gather {
    struct redis_job job;
    struct redis_to to;
    enum gather_kind kind;
    bool write;
    size_t open;
    size_t count; /* were there */
    size_t asked;
    int status; /* of the first that failed */
    struct buf text;
    bool resp3;
    size_t next;        /* VALUES: the first that has not come */
    struct buf list;    /* ... and those before it */
    struct buf *values; /* that came before their time */
    bool *came;
    size_t value_count;
};

static void gather_free(struct redis_job *job)
{
    struct gather *g = (struct gather *)job;
    for (size_t i = 0; i < g->value_count; i++)
        buf_deinit(&g->values[i]);
    free(g->values);
    free(g->came);
    buf_deinit(&g->list);
    buf_deinit(&g->text);
    free(g);
}

static void gather_step(struct redis *redis, struct redis_job *job)
{
    struct gather *g = (struct gather *)job;
    if (g->status != DLHT_OK) {
        struct response failed = { .status = g->status,
                                   .text = buf_span(&g->text) };
        if (g->write && g->count && g->kind == GATHER_OK)
            failed = (struct response){
                .status = DLHT_EUNKNOWN,
                .text = span_str("some of the keys may be stored and others "
                                 "not")
            };
        redis_fail(redis, &g->to, &failed, g->write);
    } else {
        struct buf *out = redis_begin(redis, &g->to);
        if (out && g->kind == GATHER_COUNT)
            resp_write_int(out, (int64_t)g->count);
        else if (out && g->kind == GATHER_OK)
            resp_write(out, "+OK\r\n");
        else if (out) {
            resp_write_array(out, g->value_count);
            buf_append_span(out, buf_span(&g->list));
            out->failed = out->failed || g->list.failed;
        }
        redis_end(redis, &g->to);
    }
    redis_job_end(redis, job);
}

static void take_value(struct gather *g, uint32_t part,
                       const struct response *response)
{
    struct buf *out = part == g->next ? &g->list : &g->values[part];
    if (response->status == DLHT_OK)
        resp_write_bulk(out, response->value);
    else
        resp_write_null(out, g->resp3);
    g->came[part] = true;
    g->list.failed = g->list.failed || out->failed;
    while (g->next < g->value_count && g->came[g->next]) {
        buf_append_span(&g->list, buf_span(&g->values[g->next]));
        buf_deinit(&g->values[g->next]);
        g->next++;
    }
}

static void gather_reply(struct redis *redis, struct redis_job *job,
                         uint32_t part, const struct response *response)
{
    struct gather *g = (struct gather *)job;
    bool there = response->status == DLHT_OK;
    if (!there && response->status != DLHT_ENOTFOUND) {
        if (g->status == DLHT_OK) {
            g->status = response->status;
            buf_append_span(&g->text, response->text);
        }
    } else if (g->kind == GATHER_VALUES) {
        take_value(g, part, response);
    }
    g->count += there;
    if (--g->open == 0)
        redis_ready(redis, job);
}

static struct gather *gather_new(struct redis_call *call, enum gather_kind kind,
                                 size_t values)
{
    struct redis_to to;
    if (!redis_promise(call->client, &to))
        return NULL;
    struct gather *g = mem_zero(1, sizeof *g);
    if (g && values) {
        g->values = mem_zero(values, sizeof *g->values);
        g->came = mem_zero(values, sizeof *g->came);
    }
    if (!g || (values && (!g->values || !g->came))) {
        static const struct response no_memory = { .status = DLHT_ENOMEM };
        if (g)
            gather_free(&g->job);
        redis_fail(call->redis, &to, &no_memory, false);
        return NULL;
    }
    g->job.reply = gather_reply;
    g->job.step = gather_step;
    g->job.free = gather_free;
    g->to = to;
    g->kind = kind;
    g->resp3 = call->resp3;
    g->value_count = values;
    g->open = 1; /* ours, until all is asked */
    redis_job_init(call->redis, &g->job);
    return g;
}

static void gather_ask(struct redis *redis, struct gather *g,
                       const struct request *q)
{
    g->open++;
    if (redis_ask_for(redis, &g->job, (uint32_t)g->asked++, q))
        return;
    g->open--;
    g->status = g->status ? g->status : DLHT_ENOMEM;
}

static void gather_end(struct redis *redis, struct gather *g)
{
    if (--g->open == 0)
        redis_ready(redis, &g->job);
}

static void gather_keys(struct redis_call *call, enum gather_kind kind,
                        uint8_t op)
{
    size_t values = kind == GATHER_VALUES ? call->count - 1 : 0;
    struct gather *g = gather_new(call, kind, values);
    if (!g)
        return;
    g->write = op == OP_DEL;
    for (size_t i = 1; i < call->count; i++) {
        struct request q = request_of(call, op, call->args[i]);
        gather_ask(call->redis, g, &q);
    }
    gather_end(call->redis, g);
}

void redis_start_del(struct redis_call *call)
{
    struct redis_to to;
    if (call->count > 2) {
        gather_keys(call, GATHER_COUNT, OP_DEL);
        return;
    }
    if (!redis_promise(call->client, &to))
        return;
    struct request q = request_of(call, OP_DEL, call->args[1]);
    redis_ask(call->redis, &to, REDIS_ANSWER_WAS_THERE, &q);
}

void redis_start_exists(struct redis_call *call)
{
    gather_keys(call, GATHER_COUNT, OP_GET);
}

void redis_start_mget(struct redis_call *call)
{
    gather_keys(call, GATHER_VALUES, OP_GET);
}

/* Pairs in batches that are not too large for one message. */
void redis_start_mset(struct redis_call *call)
{
    struct redis *redis = call->redis;
    if (call->count % 2 == 0) { /* answers what is wrong */
        redis_txn_start(call);
        return;
    }
    struct gather *g = gather_new(call, GATHER_OK, 0);
    if (!g)
        return;
    struct buf *list = &redis->scratch;
    struct request q = request_of(call, OP_BATCH, span_empty());
    g->write = true;
    buf_reset(list);
    for (size_t i = 1; i < call->count; i += 2) {
        mp_write_bin(list, call->args[i]);
        mp_write_bin(list, call->args[i + 1]);
        q.list_count += 2;
        bool last = i + 2 >= call->count;
        if (!last && list->len < BATCH_BYTES &&
            q.list_count < 2 * BATCH_COUNT_MAX)
            continue;
        struct buf kept = *list; /* a muted answer would go to scratch */
        *list = (struct buf){ 0 };
        q.list = buf_span(&kept);
        if (kept.failed)
            g->status = DLHT_ENOMEM;
        else
            gather_ask(redis, g, &q);
        buf_deinit(list);
        *list = kept;
        buf_reset(list);
        q.list_count = 0;
    }
    gather_end(redis, g);
}
