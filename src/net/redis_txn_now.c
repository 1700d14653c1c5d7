/* SPDX-License-Identifier: Apache-2.0 */

/* A command on one key whose record is here: read, run and stored between two
 * events, so that nobody can come between. */

#include "net/redis_txn_parts.h"

#include <stdlib.h>

#include "base/mem.h"
#include "node/spot.h"

enum {
    KEEP_BYTES = 64 << 10 /* of a buffer that is kept */
};

bool redis_txn_now_init(struct redis *redis)
{
    struct redis_txn *txn = mem_zero(1, sizeof *txn);
    redis->now = txn;
    if (!txn)
        return false;
    txn->redis = redis;
    txn->keys = mem_zero(1, sizeof *txn->keys);
    txn->key_count = txn->key_cap = txn->keys ? 1 : 0;
    return txn->keys != NULL;
}

/* Buffers that grew large, or lacked memory. */
static void trim(struct redis *redis, size_t keep)
{
    struct redis_key *key = redis->now->keys;
    struct buf *const buffers[] = { &key->was, &key->value, &redis->now_out };
    key->name = span_empty();
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i]->cap > keep || buffers[i]->failed)
            buf_deinit(buffers[i]);
}

void redis_txn_now_deinit(struct redis *redis)
{
    if (redis->now && redis->now->keys)
        trim(redis, 0);
    if (redis->now)
        free(redis->now->keys);
    free(redis->now);
}

/* What it changed; false: it cannot be stored so. */
static bool store(struct redis *redis, const struct spot *spot,
                  const struct redis_key *key)
{
    struct request q = { .op = OP_PUT,
                         .value = buf_span(&key->value),
                         .ttl_ms = key->ttl_changed ? key->ttl_ms : 0,
                         .flags = key->ttl_changed ? 0 : REQUEST_KEEP_TTL };
    if (!key->changed) {
        q.op = OP_CACHE_EXPIRE;
        q.value = span_empty();
        q.flags = 0;
        if (!key->there || !key->ttl_changed)
            return true;
    } else if (!key->there) {
        q = (struct request){ .op = OP_DEL };
    }
    return redis->calls.write(redis->calls.context, spot, &q);
}

static void answer(struct redis_call *call)
{
    struct redis *redis = call->redis;
    struct redis_to to;
    if (!redis_promise(call->client, &to))
        return;
    struct buf *out = redis_begin(redis, &to);
    if (out)
        buf_append_span(out, buf_span(&redis->now_out));
    redis_end(redis, &to);
}

bool redis_txn_now(struct redis_call *call, size_t word)
{
    struct redis *redis = call->redis;
    struct redis_txn *txn = redis->now;
    struct redis_key *key = txn->keys;
    struct redis_call now = *call;
    struct response response;
    struct spot spot;
    redis->calls.find(redis->calls.context, redis_db_name(redis, call->db),
                      &call->args[word], 1, &spot);
    /* What is kept is stored by the log: nothing would be won. */
    if ((call->command->flags & REDIS_WRITE) && !spot.is_volatile)
        return false;
    if (!redis->calls.at_spot(redis->calls.context, &spot, OP_GET, span_empty(),
                              &response))
        return false;
    key->name = call->args[word];
    key->db = call->db;
    redis_key_take(key, &response);
    redis_key_reset(key);
    buf_reset(&redis->now_out);
    now.out = &redis->now_out;
    now.txn = txn;
    call->command->run(&now);
    bool failed = key->was.failed || key->value.failed || redis->now_out.failed;
    bool done = !failed && store(redis, &spot, key);
    if (done)
        answer(call);
    trim(redis, KEEP_BYTES);
    return done;
}
