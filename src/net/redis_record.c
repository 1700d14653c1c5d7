/* SPDX-License-Identifier: Apache-2.0 */

/* Records by their keys: one request to the node for each, or for many at
 * once, wherever they live. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "net/door.h"
#include "net/redis_start.h"
#include "net/redis_txn.h"
#include "wire/mp.h"

enum {
    BATCH_BYTES = 1 << 20,         /* of one request to the node, about */
    KEYS_AT_ONCE = 1024,           /* asked for in one step */
    LIST_MAX = DOOR_UNSENT_MAX / 2 /* bytes of one answer */
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

/* Many keys: one request each, so many at once; pairs in batches, one after
 * the other, so that of a key that is named twice the last value stays. The
 * answer is made when the last has come. */
enum gather_kind {
    GATHER_COUNT,  /* how many were there */
    GATHER_VALUES, /* in the order of the request */
    GATHER_OK
};

struct gather {
    struct redis_job job;
    struct redis *redis;
    struct redis_to to;
    enum gather_kind kind;
    uint8_t op, db;
    bool write;
    bool unknown;     /* the outcome of one */
    bool too_long;    /* the values */
    struct buf words; /* to be asked for yet, from word_at */
    size_t word_at, words_left;
    size_t held;  /* counted in redis->held */
    size_t bytes; /* of values */
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

static void drop_values(struct gather *g)
{
    for (size_t i = 0; i < g->value_count; i++)
        buf_deinit(&g->values[i]);
    buf_deinit(&g->list);
}

static void gather_free(struct redis_job *job)
{
    struct gather *g = (struct gather *)job;
    g->redis->held -= g->held;
    if (g->values)
        drop_values(g);
    free(g->values);
    free(g->came);
    buf_deinit(&g->words);
    buf_deinit(&g->text);
    free(g);
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

static void gather_release(struct redis *redis, struct gather *g)
{
    if (--g->open == 0)
        redis_ready(redis, &g->job);
}

static struct request gather_request(struct gather *g, struct span key)
{
    struct request q = { .op = g->op,
                         .keyspace_name = redis_db_name(g->redis, g->db),
                         .key = key };
    return q;
}

static bool goes_on(const struct gather *g)
{
    return g->words_left && g->status == DLHT_OK && !g->too_long;
}

/* What was kept is a list of words as a batch has it. */
static void ask_batch(struct redis *redis, struct gather *g,
                      struct mp_reader *words)
{
    struct span rest = span_tail(buf_span(&g->words), g->word_at);
    struct request q = gather_request(g, span_empty());
    while (g->words_left && q.list.len < BATCH_BYTES &&
           q.list_count < 2 * BATCH_COUNT_MAX) {
        (void)mp_read_bytes(words);
        (void)mp_read_bytes(words);
        g->words_left -= 2;
        q.list_count += 2;
        q.list = span_of(rest.data, (size_t)(words->at - rest.data));
    }
    gather_ask(redis, g, &q);
}

/* The next of what was kept. */
static void ask_more(struct redis *redis, struct gather *g)
{
    struct mp_reader words;
    mp_reader_init(&words, span_tail(buf_span(&g->words), g->word_at));
    g->open = 1; /* ours, until all is asked */
    if (g->kind == GATHER_OK)
        ask_batch(redis, g, &words);
    for (size_t i = 0; g->kind != GATHER_OK && i < KEYS_AT_ONCE && goes_on(g);
         i++) {
        struct request q = gather_request(g, mp_read_bytes(&words));
        g->words_left--;
        gather_ask(redis, g, &q);
    }
    g->word_at = (size_t)(words.at - g->words.data);
    gather_release(redis, g);
}

static void gather_fail(struct redis *redis, struct gather *g)
{
    struct response failed = { .status = g->status,
                               .text = buf_span(&g->text) };
    const char *some = g->op == OP_DEL
                           ? "some of the keys may be deleted and others not"
                           : "some of the keys may be stored and others not";
    if (g->write && (g->count || g->unknown))
        failed = (struct response){ .status = DLHT_EUNKNOWN,
                                    .text = span_str(some) };
    redis_fail(redis, &g->to, &failed, g->write);
}

static void gather_step(struct redis *redis, struct redis_job *job)
{
    struct gather *g = (struct gather *)job;
    if (goes_on(g)) {
        ask_more(redis, g);
        return;
    }
    if (g->status != DLHT_OK) {
        gather_fail(redis, g);
    } else if (g->too_long) {
        redis_fail_text(redis, &g->to,
                        "ERR the answer would be too long: ask for fewer keys "
                        "at once");
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
    g->bytes += response->value.len;
    if (g->bytes > LIST_MAX && !g->too_long) {
        g->too_long = true;
        drop_values(g);
    }
    if (g->too_long)
        return;
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
        g->unknown = g->unknown || response->status == DLHT_EUNKNOWN ||
                     response->status == DLHT_ETIMEOUT;
        if (g->status == DLHT_OK) {
            g->status = response->status;
            buf_append_span(&g->text, response->text);
        }
    } else if (g->kind == GATHER_VALUES) {
        take_value(g, part, response);
    }
    g->count += there;
    gather_release(redis, g);
}

static struct gather *gather_new(struct redis_call *call, enum gather_kind kind,
                                 uint8_t op)
{
    static const struct response no_memory = { .status = DLHT_ENOMEM };
    size_t values = kind == GATHER_VALUES ? call->count - 1 : 0;
    struct redis_to to;
    if (!redis_promise(call->client, &to))
        return NULL;
    struct gather *g = mem_zero(1, sizeof *g);
    if (!g) {
        redis_fail(call->redis, &to, &no_memory, false);
        return NULL;
    }
    g->redis = call->redis;
    if (values) {
        g->values = mem_zero(values, sizeof *g->values);
        g->came = mem_zero(values, sizeof *g->came);
    }
    if (values && (!g->values || !g->came)) {
        gather_free(&g->job);
        redis_fail(call->redis, &to, &no_memory, false);
        return NULL;
    }
    g->job.reply = gather_reply;
    g->job.step = gather_step;
    g->job.free = gather_free;
    g->to = to;
    g->kind = kind;
    g->op = op;
    g->db = call->db;
    g->write = op != OP_GET;
    g->resp3 = call->resp3;
    g->value_count = values;
    redis_job_init(call->redis, &g->job);
    return g;
}

/* Keeps the words of the command and asks for the first. What cannot be asked
 * for at once is the only one of its connection, so that few are kept. */
static void gather_kept(struct redis_call *call, struct gather *g)
{
    struct redis *redis = call->redis;
    for (size_t i = 1; i < call->count; i++)
        mp_write_bin(&g->words, call->args[i]);
    g->words_left = call->count - 1;
    size_t held =
        g->words.len + g->value_count * (sizeof *g->values + sizeof *g->came);
    if (g->words.failed || redis->held + held > DOOR_HELD_MAX) {
        g->status = DLHT_ENOMEM;
        redis_ready(redis, &g->job);
        return;
    }
    g->held = held;
    redis->held += held;
    ask_more(redis, g);
    if (g->words_left) {
        g->job.slow = true;
        redis_alone(redis, &g->to);
    }
}

static void gather_keys(struct redis_call *call, enum gather_kind kind,
                        uint8_t op)
{
    struct gather *g = gather_new(call, kind, op);
    if (!g)
        return;
    if (call->count > KEYS_AT_ONCE) {
        gather_kept(call, g);
        return;
    }
    g->open = 1; /* ours, until all is asked */
    for (size_t i = 1; i < call->count && !g->too_long; i++) {
        struct request q = gather_request(g, call->args[i]);
        gather_ask(call->redis, g, &q);
    }
    gather_release(call->redis, g);
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

void redis_start_mset(struct redis_call *call)
{
    if (call->count % 2 == 0) { /* answers what is wrong */
        redis_txn_start(call);
        return;
    }
    struct gather *g = gather_new(call, GATHER_OK, OP_BATCH);
    if (g)
        gather_kept(call, g);
}
