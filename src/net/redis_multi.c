/* SPDX-License-Identifier: Apache-2.0 */

/* MULTI, EXEC, DISCARD, WATCH: commands kept until they run as one. */

#include "net/redis_multi.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "net/redis_admin.h"
#include "net/redis_start.h"
#include "net/redis_txn.h"

enum {
    WATCHED_MAX = REDIS_TXN_KEYS_MAX,
    QUEUED_MAX = 16384,              /* commands */
    QUEUED_BYTES = RESP_REQUEST_MAX, /* about what they cost to keep */
    COMMAND_BYTES = 128              /* of a command that is kept, about */
};

struct watched {
    uint8_t db;
    struct buf name;
    uint64_t version;
};

struct redis_multi {
    bool active;
    bool spoiled;
    uint8_t db; /* as SELECT among the kept commands leaves it */
    struct redis_txn *txn;
    size_t held; /* bytes kept, counted in redis->held */
    struct watched *watched;
    size_t watched_count, watched_cap;
};

static struct redis_multi *multi_of(struct redis_client *client)
{
    if (!client->multi)
        client->multi = mem_zero(1, sizeof *client->multi);
    return client->multi;
}

static void unwatch(struct redis_multi *multi)
{
    for (size_t i = 0; i < multi->watched_count; i++)
        buf_deinit(&multi->watched[i].name);
    multi->watched_count = 0;
}

static void drop_kept(struct redis_client *client)
{
    struct redis_multi *multi = client->multi;
    if (multi->txn)
        redis_txn_drop(multi->txn);
    multi->txn = NULL;
    client->redis->held -= multi->held;
    multi->held = 0;
}

static void stop(struct redis_client *client)
{
    struct redis_multi *multi = client->multi;
    if (!multi)
        return;
    drop_kept(client);
    multi->active = false;
    multi->spoiled = false;
    unwatch(multi);
}

void redis_multi_forget(struct redis_client *client)
{
    stop(client);
    if (client->multi)
        free(client->multi->watched);
    free(client->multi);
    client->multi = NULL;
}

bool redis_multi_is_active(const struct redis_client *client)
{
    return client->multi && client->multi->active;
}

size_t redis_multi_count(const struct redis_client *client)
{
    return redis_multi_is_active(client) && client->multi->txn
               ? redis_txn_count(client->multi->txn)
               : 0;
}

size_t redis_multi_held(const struct redis_client *client)
{
    return client->multi ? client->multi->held : 0;
}

void redis_multi_spoil(struct redis_client *client)
{
    if (redis_multi_is_active(client))
        client->multi->spoiled = true;
}

/* SELECT among the kept commands: those after it are of that number. */
static void follow_select(struct redis_call *call)
{
    int64_t n;
    if (call->command->run == redis_run_select && call->count == 2 &&
        resp_to_int(call->args[1], &n) && n >= 0 && n < REDIS_DBS_MAX &&
        call->redis->dbs[n].name[0])
        call->client->multi->db = (uint8_t)n;
}

/* Keeps the command; false: no memory, or too much is kept. */
static bool queue(struct redis_call *call)
{
    struct redis_multi *multi = call->client->multi;
    size_t bytes = COMMAND_BYTES;
    for (size_t i = 0; i < call->count; i++)
        bytes += sizeof *call->args + call->args[i].len;
    if (redis_txn_count(multi->txn) >= QUEUED_MAX ||
        multi->held + bytes > QUEUED_BYTES || !redis_txn_add(multi->txn, call))
        return false;
    multi->held += bytes;
    call->redis->held += bytes;
    return true;
}

bool redis_multi_takes(struct redis_call *call)
{
    struct redis_multi *multi = call->client->multi;
    if (!multi || !multi->active || (call->command->flags & REDIS_IN_MULTI))
        return false;
    if (!call->command->run) {
        multi->spoiled = true;
        return true;
    }
    call->db = multi->db;
    if (!multi->spoiled && !queue(call)) {
        multi->spoiled = true;
        drop_kept(call->client);
    }
    follow_select(call);
    return true;
}

void redis_run_multi(struct redis_call *call)
{
    struct redis_client *client = call->client;
    struct redis_multi *multi = multi_of(client);
    if (multi && multi->active) {
        resp_write_error(call->out,
                         span_str("ERR MULTI calls can not be nested"));
        return;
    }
    if (multi)
        multi->txn = redis_txn_new(call->redis);
    if (!multi || !multi->txn) {
        resp_write_error(call->out, span_str("OOM out of memory"));
        return;
    }
    multi->active = true;
    multi->db = client->db;
    resp_write(call->out, "+OK\r\n");
}

void redis_run_discard(struct redis_call *call)
{
    if (!redis_multi_is_active(call->client)) {
        resp_write_error(call->out, span_str("ERR DISCARD without MULTI"));
        return;
    }
    stop(call->client);
    resp_write(call->out, "+OK\r\n");
}

void redis_run_unwatch(struct redis_call *call)
{
    if (call->client->multi)
        unwatch(call->client->multi);
    resp_write(call->out, "+OK\r\n");
}

void redis_multi_reset(struct redis_client *client)
{
    stop(client);
}

void redis_start_exec(struct redis_call *call)
{
    struct redis *redis = call->redis;
    struct redis_client *client = call->client;
    struct redis_multi *multi = client->multi;
    struct redis_to to;
    if (!redis_promise(client, &to))
        return;
    if (!redis_multi_is_active(client)) {
        redis_fail_text(redis, &to, "ERR EXEC without MULTI");
        return;
    }
    bool whole = !multi->spoiled;
    for (size_t i = 0; whole && i < multi->watched_count; i++)
        whole = redis_txn_watch(multi->txn, multi->watched[i].db,
                                buf_span(&multi->watched[i].name),
                                multi->watched[i].version);
    struct redis_txn *txn = multi->txn;
    if (whole)
        multi->txn = NULL;
    stop(client);
    if (whole)
        redis_txn_go(txn, &to);
    else
        redis_fail_text(redis, &to,
                        "EXECABORT Transaction discarded because of previous "
                        "errors.");
}

/* WATCH reads the versions. */

struct watch {
    struct redis_job job;
    struct redis_to to;
    size_t open;
    int status;
    size_t count;
    struct watched keys[];
};

static void watch_free(struct redis_job *job)
{
    struct watch *w = (struct watch *)job;
    for (size_t i = 0; i < w->count; i++)
        buf_deinit(&w->keys[i].name);
    free(w);
}

static void watch_reply(struct redis *redis, struct redis_job *job,
                        uint32_t part, const struct response *response)
{
    struct watch *w = (struct watch *)job;
    if (response->status == DLHT_OK)
        w->keys[part].version = response->version;
    else if (response->status != DLHT_ENOTFOUND)
        w->status = response->status;
    if (--w->open == 0)
        redis_ready(redis, job);
}

/* A key that is watched already stays at its first version. */
static bool keep(struct redis_multi *multi, struct watched *key)
{
    for (size_t i = 0; i < multi->watched_count; i++)
        if (multi->watched[i].db == key->db &&
            span_equal(buf_span(&multi->watched[i].name), buf_span(&key->name)))
            return true;
    if (multi->watched_count == WATCHED_MAX)
        return false;
    if (multi->watched_count == multi->watched_cap) {
        size_t cap = multi->watched_cap ? multi->watched_cap * 2 : 4;
        struct watched *grown = mem_resize(multi->watched, cap, sizeof *grown);
        if (!grown)
            return false;
        multi->watched = grown;
        multi->watched_cap = cap;
    }
    multi->watched[multi->watched_count++] = *key;
    key->name = (struct buf){ 0 };
    return true;
}

static void watch_step(struct redis *redis, struct redis_job *job)
{
    struct watch *w = (struct watch *)job;
    struct redis_client *client = redis_client_of(redis, &w->to);
    struct redis_multi *multi = client ? multi_of(client) : NULL;
    if (client && !multi)
        w->status = DLHT_ENOMEM;
    for (size_t i = 0; multi && w->status == DLHT_OK && i < w->count; i++)
        if (!keep(multi, &w->keys[i]))
            w->status = DLHT_ENOMEM;
    if (w->status != DLHT_OK) {
        struct response failed = { .status = w->status };
        redis_fail(redis, &w->to, &failed, false);
    } else {
        struct buf *out = redis_begin(redis, &w->to);
        if (out)
            resp_write(out, "+OK\r\n");
        redis_end(redis, &w->to);
    }
    redis_job_end(redis, job);
}

/* False: no memory. */
static bool name_keys(struct watch *w, const struct redis_call *call)
{
    for (size_t i = 1; i < call->count; i++) {
        struct watched *key = &w->keys[w->count++];
        key->db = call->db;
        buf_append_span(&key->name, call->args[i]);
        if (key->name.failed)
            return false;
    }
    return true;
}

void redis_start_watch(struct redis_call *call)
{
    struct redis *redis = call->redis;
    struct redis_to to;
    size_t count = call->count - 1;
    if (!redis_promise(call->client, &to))
        return;
    if (redis_multi_is_active(call->client)) {
        redis_fail_text(redis, &to, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    struct watch *w = calloc(1, sizeof *w + count * sizeof(struct watched));
    if (!w || !name_keys(w, call)) {
        struct response none = { .status = DLHT_ENOMEM };
        if (w)
            watch_free(&w->job);
        redis_fail(redis, &to, &none, false);
        return;
    }
    w->to = to;
    w->job.reply = watch_reply;
    w->job.step = watch_step;
    w->job.free = watch_free;
    w->open = 1;
    redis_job_init(redis, &w->job);
    for (size_t i = 0; i < count; i++) {
        struct request q = { .op = OP_GET,
                             .keyspace_name = redis_db_name(redis, call->db),
                             .key = call->args[i + 1] };
        w->open++;
        if (!redis_ask_for(redis, &w->job, (uint32_t)i, &q)) {
            w->open--;
            w->status = DLHT_ENOMEM;
        }
    }
    if (--w->open == 0)
        redis_ready(redis, &w->job);
}
