/* SPDX-License-Identifier: Apache-2.0 */

/* Tickets, answers in the order of commands, and which keys are in use. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "net/door.h"
#include "net/redis_state.h"

enum {
    SLOTS_FIRST = 16,
    KEY_PROBES = 8,
    TAG_USED = 2,
    TAG_WRITE = 1
};
static const uint64_t SLOW_NS = 2000000; /* of slow jobs in one turn, about */

/* Answers. */

struct redis_client *redis_client_of(const struct redis *redis,
                                     const struct redis_to *to)
{
    const struct redis_seat *seat = &redis->seats[to->seat];
    return seat->generation == to->generation ? seat->client : NULL;
}

static struct redis_slot *slot_at(struct redis_client *client, uint64_t number)
{
    return &client->slots[number & (client->slot_cap - 1)];
}

static bool slots_grow(struct redis_client *client)
{
    uint32_t cap = client->slot_cap ? client->slot_cap * 2 : SLOTS_FIRST;
    struct redis_slot *grown = mem_zero(cap, sizeof *grown);
    if (!grown)
        return false;
    for (uint64_t i = client->slot_first; i < client->slot_next; i++)
        grown[i & (cap - 1)] = *slot_at(client, i);
    free(client->slots);
    client->slots = grown;
    client->slot_cap = cap;
    return true;
}

bool redis_promise(struct redis_client *client, struct redis_to *to)
{
    uint64_t open = client->slot_next - client->slot_first;
    if (open == client->slot_cap && !slots_grow(client)) {
        redis_client_break(client, "no memory for a request: closed");
        return false;
    }
    to->seat = client->seat;
    to->generation = client->redis->seats[client->seat].generation;
    to->number = client->slot_next++;
    struct redis_slot *slot = slot_at(client, to->number);
    *slot =
        (struct redis_slot){ .mute = client->reply_off || client->reply_skip };
    return true;
}

void redis_alone(struct redis *redis, const struct redis_to *to)
{
    struct redis_client *client = redis_client_of(redis, to);
    if (!client || client->broken)
        return;
    struct redis_slot *slot = slot_at(client, to->number);
    assert(!slot->done);
    slot->alone = true;
    client->alone = true;
}

struct buf *redis_begin(struct redis *redis, const struct redis_to *to)
{
    struct redis_client *client = redis_client_of(redis, to);
    if (!client || client->broken)
        return NULL;
    struct redis_slot *slot = slot_at(client, to->number);
    assert(to->number >= client->slot_first && to->number < client->slot_next);
    assert(!slot->done);
    bool first = to->number == client->slot_first;
    if (first)
        client->reply_at = client->conn.out.len;
    if (slot->mute) {
        buf_reset(&redis->scratch);
        return &redis->scratch;
    }
    return first ? &client->conn.out : &slot->out;
}

static void keys_forget(struct redis_client *client)
{
    memset(client->keys, 0, REDIS_KEY_SLOTS * sizeof *client->keys);
    client->key_count = 0;
}

static void slot_end(struct redis_client *client, struct redis_slot *slot)
{
    if (slot->keyed && --client->keyed == 0)
        keys_forget(client);
    if (slot->alone)
        client->alone = false;
    slot->keyed = false;
    slot->alone = false;
    slot->done = true;
}

static void note_size(struct redis_client *client, size_t bytes)
{
    size_t mean = client->reply_bytes - client->reply_bytes / 16 + bytes / 16;
    client->reply_bytes = bytes > mean ? bytes : mean;
}

static void slots_pop(struct redis_client *client)
{
    struct buf *out = &client->conn.out;
    client->slot_first++;
    while (client->slot_first < client->slot_next) {
        struct redis_slot *slot = slot_at(client, client->slot_first);
        if (!slot->done)
            return;
        buf_append_span(out, buf_span(&slot->out));
        buf_deinit(&slot->out);
        client->slot_first++;
    }
}

void redis_end(struct redis *redis, const struct redis_to *to)
{
    struct redis_client *client = redis_client_of(redis, to);
    if (!client || client->broken)
        return;
    struct redis_slot *slot = slot_at(client, to->number);
    struct buf *out = &client->conn.out;
    bool failed = slot->out.failed;
    slot_end(client, slot);
    if (to->number == client->slot_first) {
        note_size(client, out->len - client->reply_at);
        slots_pop(client);
        redis->unsent += out->len - client->reply_at;
    } else {
        note_size(client, slot->out.len);
    }
    if (out->failed || failed)
        redis_client_break(client, "no memory for an answer: closed");
    else if (conn_unsent(&client->conn) > DOOR_UNSENT_MAX)
        redis_client_break(client, "takes none of its answers: closed");
    redis_client_dirty(client);
    redis_client_may_go_on(client);
}

static void write_why(struct buf *out, const char *before, struct span text,
                      const char *otherwise)
{
    char line[512];
    int shown = text.len < 300 ? (int)text.len : 300;
    int n = text.len ? snprintf(line, sizeof line, "%s%.*s", before, shown,
                                (const char *)text.data)
                     : snprintf(line, sizeof line, "%s%s", before, otherwise);
    resp_write_error(out, span_of(line, n > 0 ? (size_t)n : 0));
}

void redis_write_status(struct buf *out, const struct response *response,
                        bool write)
{
    const char *plain = dlht_strerror(response->status);
    switch (response->status) {
    case DLHT_EFULL:
        write_why(out,
                  "OOM command not allowed when used memory > 'maxmemory'. ",
                  response->text, "");
        break;
    case DLHT_ENOMEM:
        write_why(out, "OOM ", span_empty(), "out of memory");
        break;
    case DLHT_EUNAVAILABLE:
        write_why(out, "CLUSTERDOWN ", response->text,
                  "no majority of this key's copies can be reached");
        break;
    case DLHT_EUNKNOWN:
        write_why(out, "ERR outcome unknown: ", response->text,
                  "it may have been done, or may yet be");
        break;
    case DLHT_ETIMEOUT:
        write_why(out, write ? "ERR outcome unknown: " : "TRYAGAIN ",
                  response->text, "time ran out");
        break;
    case DLHT_EBUSY:
    case DLHT_ENOTOWNER:
    case DLHT_ECLOSED:
        write_why(out, "TRYAGAIN ", response->text,
                  "nothing was done, the node is busy");
        break;
    default:
        write_why(out, "ERR ", response->text, plain);
        break;
    }
}

void redis_fail(struct redis *redis, const struct redis_to *to,
                const struct response *response, bool write)
{
    struct buf *out = redis_begin(redis, to);
    redis->stats.errors++;
    if (out)
        redis_write_status(out, response, write);
    redis_end(redis, to);
}

void redis_fail_text(struct redis *redis, const struct redis_to *to,
                     const char *text)
{
    struct buf *out = redis_begin(redis, to);
    redis->stats.errors++;
    if (out)
        resp_write_error(out, span_str(text));
    redis_end(redis, to);
}

/* Tickets. */

static struct redis_ticket *ticket_new(struct redis *redis, uint64_t *number)
{
    uint32_t index = redis->ticket_free;
    if (index == 0) {
        if (redis->ticket_count == redis->ticket_cap) {
            size_t cap = redis->ticket_cap ? redis->ticket_cap * 2 : 256;
            if (cap >= REDIS_TICKET_MARK)
                return NULL;
            struct redis_ticket *grown =
                mem_resize(redis->tickets, cap, sizeof *grown);
            if (!grown)
                return NULL;
            redis->tickets = grown;
            redis->ticket_cap = cap;
        }
        index = (uint32_t)++redis->ticket_count;
        redis->tickets[index - 1].generation = 0;
    } else {
        redis->ticket_free = redis->tickets[index - 1].next_free;
    }
    struct redis_ticket *t = &redis->tickets[index - 1];
    t->open = true;
    *number = (uint64_t)++t->generation << 32 | REDIS_TICKET_MARK | index;
    return t;
}

static void ticket_free(struct redis *redis, struct redis_ticket *t)
{
    t->open = false;
    t->next_free = redis->ticket_free;
    redis->ticket_free = (uint32_t)(t - redis->tickets) + 1;
}

static void issue(struct redis *redis, uint64_t number,
                  const struct request *request)
{
    assert(redis->depth == 0);
    redis->depth++;
    redis->calls.request(redis->calls.context, number, request);
    redis->depth--;
}

void redis_ask(struct redis *redis, const struct redis_to *to,
               enum redis_answer answer, const struct request *request)
{
    uint64_t number;
    struct redis_ticket *t = ticket_new(redis, &number);
    if (!t) {
        struct response none = { .status = DLHT_ENOMEM };
        redis_fail(redis, to, &none, false);
        return;
    }
    t->to = *to;
    t->job = NULL;
    t->answer = (uint8_t)answer;
    t->write = answer != REDIS_ANSWER_VALUE && answer != REDIS_ANSWER_COUNT;
    issue(redis, number, request);
}

bool redis_ask_for(struct redis *redis, struct redis_job *job, uint32_t part,
                   const struct request *request)
{
    uint64_t number;
    struct redis_ticket *t = ticket_new(redis, &number);
    if (!t)
        return false;
    t->job = job;
    t->part = part;
    t->answer = REDIS_ANSWER_JOB;
    issue(redis, number, request);
    return true;
}

/* What a plain command gets for the node's answer; false: an error. */
static bool write_answer(struct redis *redis, const struct redis_ticket *t,
                         const struct response *response, struct buf *out)
{
    int status = response->status;
    switch (t->answer) {
    case REDIS_ANSWER_VALUE:
        if (status == DLHT_OK) {
            redis->stats.hits++;
            resp_write_bulk(out, response->value);
            return true;
        }
        if (status == DLHT_ENOTFOUND) {
            redis->stats.misses++;
            resp_write_null(out, redis->seats[t->to.seat].client->resp3);
            return true;
        }
        return false;
    case REDIS_ANSWER_OK:
        if (status == DLHT_OK)
            buf_append(out, "+OK\r\n", 5);
        return status == DLHT_OK;
    case REDIS_ANSWER_WAS_THERE:
        if (status == DLHT_OK || status == DLHT_ENOTFOUND)
            buf_append(out, status == DLHT_OK ? ":1\r\n" : ":0\r\n", 4);
        return status == DLHT_OK || status == DLHT_ENOTFOUND;
    case REDIS_ANSWER_STORED:
        if (status == DLHT_OK || status == DLHT_EMISMATCH)
            buf_append(out, status == DLHT_OK ? ":1\r\n" : ":0\r\n", 4);
        return status == DLHT_OK || status == DLHT_EMISMATCH;
    default:
        if (status == DLHT_OK)
            resp_write_int(out, (int64_t)response->count);
        return status == DLHT_OK;
    }
}

void redis_reply(struct redis *redis, uint64_t number,
                 const struct response *response)
{
    uint32_t index = (uint32_t)(number & (REDIS_TICKET_MARK - 1));
    assert(redis_owns(number) && index > 0 && index <= redis->ticket_count);
    struct redis_ticket *t = &redis->tickets[index - 1];
    assert(t->open && t->generation == (uint32_t)(number >> 32));
    if (t->answer == REDIS_ANSWER_JOB) {
        struct redis_job *job = t->job;
        uint32_t part = t->part;
        ticket_free(redis, t);
        redis->depth++; /* job->reply asks nothing */
        job->reply(redis, job, part, response);
        redis->depth--;
        return;
    }
    struct buf *out = redis_begin(redis, &t->to);
    if (out && !write_answer(redis, t, response, out)) {
        redis->stats.errors++;
        redis_write_status(out, response, t->write);
    }
    redis_end(redis, &t->to);
    ticket_free(redis, t);
}

/* Jobs. */

void redis_job_init(struct redis *redis, struct redis_job *job)
{
    job->next = redis->jobs;
    job->previous = NULL;
    if (redis->jobs)
        redis->jobs->previous = job;
    redis->jobs = job;
}

void redis_job_end(struct redis *redis, struct redis_job *job)
{
    assert(!job->ready);
    if (job->previous)
        job->previous->next = job->next;
    else
        redis->jobs = job->next;
    if (job->next)
        job->next->previous = job->previous;
    job->free(job);
}

void redis_ready(struct redis *redis, struct redis_job *job)
{
    struct redis_job **first = &redis->ready_first, **last = &redis->ready_last;
    if (job->ready)
        return;
    if (job->slow) {
        first = &redis->slow_first;
        last = &redis->slow_last;
    }
    job->ready = true;
    job->next_ready = NULL;
    if (*last)
        (*last)->next_ready = job;
    else
        *first = job;
    *last = job;
}

static void step_first(struct redis *redis, struct redis_job **first,
                       struct redis_job **last)
{
    struct redis_job *job = *first;
    *first = job->next_ready;
    if (!*first)
        *last = NULL;
    job->ready = false;
    job->step(redis, job);
}

void redis_run_ready(struct redis *redis)
{
    assert(redis->depth == 0 && !redis->running);
    redis->running = true;
    while (redis->ready_first)
        step_first(redis, &redis->ready_first, &redis->ready_last);
    redis->running = false;
}

bool redis_run_slow(struct redis *redis)
{
    assert(redis->depth == 0 && !redis->running);
    if (!redis->slow_first || redis->slow_turn == redis->turn)
        return false;
    const struct redis_job *last = redis->slow_last;
    uint64_t start_ns = redis->calls.now(redis->calls.context);
    bool more = true;
    redis->slow_turn = redis->turn;
    redis->running = true;
    while (more) {
        more = redis->slow_first != last; /* those that are ready by now */
        step_first(redis, &redis->slow_first, &redis->slow_last);
        more =
            more && redis->calls.now(redis->calls.context) - start_ns < SLOW_NS;
    }
    redis->running = false;
    return true;
}

/* Keys in use: a small table of tags a client, emptied when none of its
 * commands is unfinished. A tag may stand for two keys: then a command waits
 * that need not. */

static uint64_t key_hash(const struct redis_call *call, struct span key)
{
    return hash64_seeded(key, call->redis->seed ^ call->db);
}

static bool key_is_used(const struct redis_client *client, uint64_t hash,
                        bool write)
{
    uint32_t tag = (uint32_t)(hash >> 32) & ~3u;
    for (uint32_t i = 0; i < KEY_PROBES; i++) {
        uint32_t seen = client->keys[(hash + i) & (REDIS_KEY_SLOTS - 1)];
        if (seen == 0)
            return false;
        if ((seen & ~3u) == tag && (write || (seen & TAG_WRITE)))
            return true;
    }
    return true;
}

static void key_note(struct redis_client *client, uint64_t hash, bool write)
{
    uint32_t tag = ((uint32_t)(hash >> 32) & ~3u) | TAG_USED;
    for (uint32_t i = 0; i < KEY_PROBES; i++) {
        uint32_t *at = &client->keys[(hash + i) & (REDIS_KEY_SLOTS - 1)];
        if (*at != 0 && ((*at ^ tag) & ~3u) != 0)
            continue;
        client->key_count += *at == 0;
        *at |= tag | (write ? TAG_WRITE : 0);
        return;
    }
    client->key_count = REDIS_KEYS_OPEN_MAX; /* the next ones wait */
}

bool redis_key_range(const struct redis_call *call, size_t *first, size_t *last,
                     size_t *step)
{
    const struct redis_command *c = call->command;
    if (c->first_key <= 0 || call->count < 2)
        return false;
    *first = (size_t)c->first_key;
    *last = c->last_key >= 0 ? (size_t)c->last_key
                             : call->count - (size_t)-c->last_key;
    *step = (size_t)c->key_step;
    return *first <= *last && *last < call->count;
}

bool redis_keys_free(const struct redis_call *call)
{
    const struct redis_client *client = call->client;
    size_t first, last, step;
    bool write = call->command->flags & REDIS_WRITE;
    if (client->keyed == 0 || !redis_key_range(call, &first, &last, &step))
        return true;
    if (client->key_count >= REDIS_KEYS_OPEN_MAX)
        return false;
    for (size_t i = first; i <= last; i += step)
        if (key_is_used(client, key_hash(call, call->args[i]), write))
            return false;
    return true;
}

void redis_keys_note(const struct redis_call *call, uint64_t number)
{
    struct redis_client *client = call->client;
    size_t first, last, step;
    bool write = call->command->flags & REDIS_WRITE;
    if (client->broken || number < client->slot_first ||
        !redis_key_range(call, &first, &last, &step))
        return;
    struct redis_slot *slot = slot_at(client, number);
    if (slot->done)
        return;
    if (!client->keys)
        client->keys = mem_zero(REDIS_KEY_SLOTS, sizeof *client->keys);
    if (!client->keys) {
        redis_client_break(client, "no memory for a request: closed");
        return;
    }
    slot->keyed = true;
    client->keyed++;
    for (size_t i = first; i <= last; i += step)
        key_note(client, key_hash(call, call->args[i]), write);
}
