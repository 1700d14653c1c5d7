/* SPDX-License-Identifier: Apache-2.0 */

/* Read, run, store. */

#include "net/redis_txn_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "net/redis_string.h"
#include "wire/cas_item.h"
#include "wire/mp.h"

enum {
    LOOKUPS_MAX = 5 /* of one round: arcs are not cut that often */
};

static const uint64_t TXN_DEADLINE_NS = UINT64_C(5000000000);

/* Keys. */

struct redis_key *redis_txn_key(struct redis_call *call, size_t word)
{
    assert(word < call->count);
    struct redis_key *key =
        redis_key_find(call->txn, call->db, call->args[word]);
    assert(key);
    return key;
}

/* Life. */

static struct redis_txn **hot_chain(struct redis *redis, uint64_t hash)
{
    return &redis->hot[hash & (REDIS_TXN_HOT - 1)];
}

static void hot_remove(struct redis_txn *txn)
{
    struct redis_txn **at = hot_chain(txn->redis, txn->hash);
    if (!txn->hot)
        return;
    while (*at != txn)
        at = &(*at)->next_hot;
    *at = txn->next_hot;
    txn->hot = false;
}

static void txn_free(struct redis_job *job)
{
    struct redis_txn *txn = (struct redis_txn *)job;
    hot_remove(txn);
    redis_txn_list_free(&txn->commands);
    redis_txn_list_free(&txn->later);
    for (size_t i = 0; i < txn->key_count; i++)
        redis_key_free(&txn->keys[i]);
    free(txn->keys);
    buf_deinit(&txn->text);
    free(txn);
}

static void txn_reply(struct redis *redis, struct redis_job *job, uint32_t part,
                      const struct response *response);
static void txn_step(struct redis *redis, struct redis_job *job);

static struct redis_txn *txn_new(struct redis *redis)
{
    struct redis_txn *txn = mem_zero(1, sizeof *txn);
    if (!txn)
        return NULL;
    txn->redis = redis;
    txn->job = (struct redis_job){ .reply = txn_reply,
                                   .step = txn_step,
                                   .free = txn_free };
    redis_job_init(redis, &txn->job);
    return txn;
}

struct redis_txn *redis_txn_new(struct redis *redis)
{
    struct redis_txn *txn = txn_new(redis);
    if (txn)
        txn->exec = true;
    return txn;
}

void redis_txn_drop(struct redis_txn *txn)
{
    redis_job_end(txn->redis, &txn->job);
}

size_t redis_txn_count(const struct redis_txn *txn)
{
    return txn->commands.count;
}

/* Answers. */

static void answer_one(struct redis *redis, const struct redis_to *to,
                       const struct buf *answer)
{
    struct buf *out = redis_begin(redis, to);
    if (out) {
        buf_append_span(out, buf_span(answer));
        out->failed = out->failed || answer->failed;
    }
    redis_end(redis, to);
}

static void answer_all(struct redis_txn *txn)
{
    struct redis *redis = txn->redis;
    struct txn_command *c;
    if (txn->exec) {
        struct buf *out = redis_begin(redis, &txn->to);
        if (out)
            resp_write_array(out, txn->commands.count);
        for (c = txn->commands.first; out && c; c = c->next) {
            buf_append_span(out, buf_span(&c->out));
            out->failed = out->failed || c->out.failed;
        }
        redis_end(redis, &txn->to);
    } else {
        for (c = txn->commands.first; c; c = c->next)
            answer_one(redis, &c->to, &c->out);
    }
    redis_txn_list_free(&txn->commands);
}

static void fail_all(struct redis_txn *txn, const struct response *response)
{
    struct redis *redis = txn->redis;
    if (txn->exec)
        redis_fail(redis, &txn->to, response, true);
    for (struct txn_command *c = txn->commands.first; c && !txn->exec;
         c = c->next)
        redis_fail(redis, &c->to, response, c->command->flags & REDIS_WRITE);
    redis_txn_list_free(&txn->commands);
}

static void load(struct redis_txn *txn, enum txn_phase phase);

/* What waited goes on with what is known of the key now, else it ends. */
static void end_round(struct redis_txn *txn, bool known)
{
    struct redis *redis = txn->redis;
    if (!txn->later.first) {
        redis_job_end(redis, &txn->job);
        return;
    }
    assert(txn->key_count == 1);
    txn->commands = txn->later;
    txn->later = (struct txn_list){ 0 };
    txn->tries = txn->lookups = 0;
    txn->storing_some = false;
    txn->deadline_ns = redis->now_ns + TXN_DEADLINE_NS;
    struct redis_key *key = &txn->keys[0];
    key->settled = false;
    if (!known) {
        load(txn, TXN_LOAD);
        return;
    }
    struct buf was = key->was;
    key->was = key->value;
    key->value = was;
    key->was_there = key->there;
    key->was_ttl_ms = key->ttl_ms;
    key->version = key->there ? txn->stored_version : 0;
    txn->known = true;
    txn->phase = TXN_LOAD;
    redis_ready(redis, &txn->job);
}

static void fail(struct redis_txn *txn, int status, struct span text)
{
    struct response response = { .status = status, .text = text };
    if (txn->storing_some) { /* then "nothing was done" would be a lie */
        response.status = DLHT_EUNKNOWN;
        response.text =
            span_str("some of the keys may be changed and others not");
    }
    fail_all(txn, &response);
    end_round(txn, false);
}

/* Asking. Every phase holds one of txn->open itself, so that answers that
 * come at once do not end it. */

static void begin_phase(struct redis_txn *txn, enum txn_phase phase)
{
    txn->phase = phase;
    txn->open = 1;
    txn->read = 0;
    txn->status = DLHT_OK;
    txn->mismatch = false;
    txn->moved = false;
    buf_reset(&txn->text);
}

static void release(struct redis_txn *txn)
{
    if (--txn->open == 0)
        redis_ready(txn->redis, &txn->job);
}

static void ask(struct redis_txn *txn, size_t part, struct request *q)
{
    q->timeout_ms = 0;
    txn->open++;
    if (redis_ask_for(txn->redis, &txn->job, (uint32_t)part, q))
        return;
    txn->open--;
    txn->status = DLHT_EBUSY;
}

static void load(struct redis_txn *txn, enum txn_phase phase)
{
    begin_phase(txn, phase);
    txn->known = false;
    for (size_t i = 0; i < txn->key_count; i++) {
        struct redis_key *key = &txn->keys[i];
        if (key->settled)
            continue;
        struct request q = { .op = OP_GET,
                             .keyspace_name =
                                 redis_db_name(txn->redis, key->db),
                             .key = key->name };
        ask(txn, i, &q);
    }
    release(txn);
}

static bool again(struct redis_txn *txn)
{
    if (++txn->tries < REDIS_TXN_TRIES_MAX &&
        txn->redis->now_ns < txn->deadline_ns)
        return true;
    fail(txn, DLHT_EBUSY, span_str("others change the same keys all the time"));
    return false;
}

static bool wants_store(const struct redis_key *key)
{
    return !key->settled && (key->changed || key->ttl_changed);
}

/* With its end in it, where the keyspace was not seen to be a cache. */
static bool wants_check(const struct redis_txn *txn,
                        const struct redis_key *key)
{
    return wants_store(key) && key->there && key->ttl_changed && key->ttl_ms &&
           !txn->redis->dbs[key->db].is_cache;
}

static void check(struct redis_txn *txn, const struct redis_key *key)
{
    begin_phase(txn, TXN_CHECK);
    struct request q = { .op = OP_CACHE_STATS,
                         .keyspace_name = redis_db_name(txn->redis, key->db) };
    ask(txn, key->db, &q);
    release(txn);
}

/* Storing. */

static void store_one(struct redis_txn *txn, struct redis_key *key)
{
    bool keep = !key->ttl_changed;
    struct request q = { .op = OP_CAS,
                         .flags = keep ? REQUEST_KEEP_TTL : 0,
                         .keyspace_name = redis_db_name(txn->redis, key->db),
                         .key = key->name,
                         .value = buf_span(&key->value),
                         .version = key->version,
                         .ttl_ms = keep ? 0 : key->ttl_ms };
    if (!key->changed) {
        q.op = OP_CACHE_EXPIRE;
        q.flags = 0;
        q.value = span_empty();
    }
    ask(txn, 0, &q);
}

/* Belongs to what is stored now. */
static bool in_part(const struct redis_txn *txn, const struct redis_key *key)
{
    return !key->settled && key->db == txn->db &&
           (!txn->grouped || key->arc == txn->arc);
}

static void store_part(struct redis_txn *txn)
{
    struct buf list = { 0 };
    struct request q = { .op = OP_CAS_BATCH,
                         .keyspace_name = redis_db_name(txn->redis, txn->db) };
    for (size_t i = 0; i < txn->key_count; i++) {
        struct redis_key *key = &txn->keys[i];
        if (!in_part(txn, key))
            continue;
        struct cas_item item = { .key = key->name,
                                 .value = buf_span(&key->value),
                                 .version = key->version,
                                 .remove = key->changed && !key->there,
                                 .check = !key->changed,
                                 .keep_ttl =
                                     key->changed && !key->ttl_changed };
        cas_item_write(&list, &item);
        q.list_count += CAS_ITEM_BINS;
    }
    q.list = buf_span(&list);
    if (list.failed)
        txn->status = DLHT_ENOMEM;
    else if (q.list_count > CAS_ITEM_BINS * BATCH_COUNT_MAX ||
             list.len > WIRE_BODY_MAX - (64 << 10))
        txn->status = DLHT_ETOOBIG;
    else
        ask(txn, 0, &q);
    buf_deinit(&list);
}

/* A key that is still to be stored; those that only go last. */
static struct redis_key *next_to_store(struct redis_txn *txn)
{
    struct redis_key *found = NULL;
    for (size_t i = 0; i < txn->key_count; i++) {
        struct redis_key *key = &txn->keys[i];
        if (!wants_store(key))
            continue;
        if (key->there)
            return key;
        if (!found)
            found = key;
    }
    return found;
}

static bool is_single(const struct redis_txn *txn)
{
    return txn->key_count == 1 && (!txn->keys[0].changed || txn->keys[0].there);
}

static void lookup(struct redis_txn *txn)
{
    begin_phase(txn, TXN_LOOKUP);
    for (size_t i = 0; i < txn->key_count; i++) {
        struct request q = { .op = OP_LOOKUP,
                             .keyspace_name =
                                 redis_db_name(txn->redis, txn->keys[i].db),
                             .key = txn->keys[i].name };
        ask(txn, i, &q);
    }
    release(txn);
}

/* Ends change without a new version: for who may ask of them they are read. */
static bool ends_are_asked(const struct txn_list *list)
{
    for (const struct txn_command *c = list->first; c; c = c->next)
        if (strcmp(c->command->group, "string") != 0 ||
            c->command->run == redis_run_getex)
            return true;
    return false;
}

static void finish(struct redis_txn *txn)
{
    const struct redis_key *key = &txn->keys[0];
    bool known = txn->key_count == 1 && key->changed && !key->ttl_ms &&
                 !ends_are_asked(&txn->later);
    answer_all(txn);
    end_round(txn, known);
}

/* Only their ends are left, of keys that are there. */
static void store_ends(struct redis_txn *txn)
{
    begin_phase(txn, TXN_ENDS);
    for (size_t i = 0; i < txn->key_count; i++) {
        struct redis_key *key = &txn->keys[i];
        if (!key->there || !key->ttl_changed || (key->changed && !key->ttl_ms))
            continue;
        struct request q = { .op = OP_CACHE_EXPIRE,
                             .keyspace_name =
                                 redis_db_name(txn->redis, key->db),
                             .key = key->name,
                             .ttl_ms = key->ttl_ms };
        ask(txn, i, &q);
    }
    release(txn);
}

static void store(struct redis_txn *txn)
{
    for (size_t i = 0; i < txn->key_count; i++)
        if (wants_check(txn, &txn->keys[i])) {
            check(txn, &txn->keys[i]);
            return;
        }
    struct redis_key *next = next_to_store(txn);
    if (!next) { /* where an earlier part is stored, ends may be left */
        store_ends(txn);
        return;
    }
    if (is_single(txn) && !next->watched) {
        begin_phase(txn, TXN_STORE);
        store_one(txn, next);
        release(txn);
        return;
    }
    bool changed = false;
    for (size_t i = 0; i < txn->key_count && !changed; i++)
        if (txn->keys[i].changed && !txn->keys[i].settled) {
            changed = true;
            next = &txn->keys[i];
        }
    if (!changed) {
        store_ends(txn);
        return;
    }
    struct redis_key *there = next_to_store(txn);
    if (there->changed)
        next = there;
    txn->db = next->db;
    txn->arc = next->arc;
    begin_phase(txn, TXN_STORE);
    store_part(txn);
    release(txn);
}

/* What the answers of a phase were. */

static uint64_t arc_of(struct span document)
{
    struct mp_reader r;
    mp_reader_init(&r, document);
    for (size_t n = mp_read_map(&r); n > 0 && !r.bad; n--) {
        if (span_equal(mp_read_bytes(&r), span_str("arc")))
            return mp_read_uint(&r);
        mp_skip(&r);
    }
    return 0;
}

static void note_failure(struct redis_txn *txn, const struct response *response)
{
    if (txn->status != DLHT_OK)
        return;
    txn->status = response->status;
    buf_reset(&txn->text);
    buf_append_span(&txn->text, response->text);
}

static void txn_reply(struct redis *redis, struct redis_job *job, uint32_t part,
                      const struct response *response)
{
    struct redis_txn *txn = (struct redis_txn *)job;
    int status = response->status;
    bool of_key = txn->phase == TXN_LOAD || txn->phase == TXN_VERIFY ||
                  txn->phase == TXN_LOOKUP;
    struct redis_key *key = part < txn->key_count ? &txn->keys[part] : NULL;
    bool read = status == DLHT_OK || status == DLHT_ENOTFOUND;
    assert(key || !of_key);
    if (read && (txn->phase == TXN_LOAD || txn->phase == TXN_VERIFY))
        txn->read += response->value.len;
    if (txn->read > REDIS_TXN_READ_MAX) {
        struct response too_long = {
            .status = DLHT_ETOOBIG,
            .text =
                span_str("the values of these keys are too long together")
        };
        note_failure(txn, &too_long);
    } else if (txn->phase == TXN_LOAD && read) {
        redis_key_take(key, response);
    } else if (txn->phase == TXN_VERIFY && read) {
        txn->moved = txn->moved || (status == DLHT_OK ? response->version
                                                      : 0) != key->version;
        redis_key_take(key, response);
    } else if (txn->phase == TXN_CHECK && status == DLHT_OK) {
        redis->dbs[part].is_cache = true;
    } else if (txn->phase == TXN_LOOKUP && status == DLHT_OK) {
        key->arc = arc_of(response->value);
    } else if (txn->phase == TXN_STORE && status == DLHT_EMISMATCH) {
        txn->mismatch = true;
    } else if (status == DLHT_ENOTFOUND &&
               (txn->phase == TXN_ENDS || !txn->keys[0].changed)) {
        /* It went meanwhile: its end has no meaning any more. */
    } else if (status != DLHT_OK) {
        note_failure(txn, response);
    }
    if (txn->phase == TXN_ENDS && status == DLHT_OK)
        txn->storing_some = true;
    txn->stored_version = response->version;
    release(txn);
}

/* What comes after a phase. */

static void after_load(struct redis_txn *txn)
{
    static const char too_long[] =
        "what this transaction makes would be too long: nothing was done";
    bool changed = false;
    struct redis *redis = txn->redis;
    if (txn->phase == TXN_VERIFY && txn->moved)
        txn->verified = false;
    if (!redis_txn_watches_hold(txn) && txn->storing_some) {
        fail(txn, DLHT_EUNKNOWN, span_empty());
        return;
    }
    if (!redis_txn_watches_hold(txn)) {
        struct redis_client *client = redis_client_of(redis, &txn->to);
        struct buf *out = redis_begin(redis, &txn->to);
        if (out)
            resp_write_null_array(out, client->resp3);
        redis_end(redis, &txn->to);
        redis_txn_list_free(&txn->commands);
        end_round(txn, false);
        return;
    }
    int rc = redis_txn_run(txn);
    if (rc != DLHT_OK) {
        fail(txn, rc, span_str(rc == DLHT_ETOOBIG ? too_long : ""));
        return;
    }
    if (txn->known && !txn->keys[0].changed) {
        load(txn, TXN_LOAD); /* no store will prove that it is still so */
        return;
    }
    if (!redis_txn_is_as_stored(txn)) {
        fail(txn, DLHT_EUNKNOWN, span_empty());
        return;
    }
    for (size_t i = 0; i < txn->key_count; i++)
        changed = changed || wants_store(&txn->keys[i]);
    if (changed || txn->storing_some) {
        store(txn);
    } else if (txn->exec && txn->key_count > 1 && !txn->verified) {
        if (!again(txn))
            return;
        txn->verified = true; /* unless something moves */
        load(txn, TXN_VERIFY);
    } else {
        answer_all(txn);
        end_round(txn, false);
    }
}

static void after_store(struct redis_txn *txn)
{
    if (txn->mismatch) {
        if (again(txn))
            load(txn, TXN_LOAD);
        return;
    }
    if (txn->status == DLHT_EINVAL && txn->key_count > 1 &&
        txn->lookups++ < LOOKUPS_MAX) {
        lookup(txn); /* in several arcs, or arcs were cut meanwhile */
        return;
    }
    if (txn->status != DLHT_OK) {
        fail(txn, txn->status, buf_span(&txn->text));
        return;
    }
    if (is_single(txn) && !txn->keys[0].watched) {
        finish(txn);
        return;
    }
    bool left = false;
    for (size_t i = 0; i < txn->key_count; i++) {
        struct redis_key *key = &txn->keys[i];
        if (!key->settled && !in_part(txn, key))
            left = left || key->changed;
    }
    for (size_t i = 0; i < txn->key_count && left; i++)
        if (in_part(txn, &txn->keys[i]))
            redis_key_settle(&txn->keys[i]);
    txn->storing_some = true;
    if (left)
        store(txn);
    else
        store_ends(txn);
}

static void after_check(struct redis_txn *txn)
{
    static const char text[] =
        "ends need a cache: a keyspace created with --volatile and "
        "--max-bytes or --max-items";
    if (txn->status == DLHT_OK)
        store(txn);
    else
        fail(txn, DLHT_EINVAL, span_str(text));
}

static void txn_step(struct redis *redis, struct redis_job *job)
{
    struct redis_txn *txn = (struct redis_txn *)job;
    (void)redis;
    assert(txn->open == 0);
    switch (txn->phase) {
    case TXN_LOAD:
    case TXN_VERIFY:
        if (txn->status != DLHT_OK)
            fail(txn, txn->status, buf_span(&txn->text));
        else
            after_load(txn);
        break;
    case TXN_CHECK:
        after_check(txn);
        break;
    case TXN_STORE:
        after_store(txn);
        break;
    case TXN_LOOKUP:
        txn->grouped = true;
        if (txn->status != DLHT_OK)
            fail(txn, txn->status, buf_span(&txn->text));
        else
            store(txn);
        break;
    case TXN_ENDS:
        if (txn->status != DLHT_OK)
            fail(txn, txn->status, buf_span(&txn->text));
        else
            finish(txn);
        break;
    }
}

/* Beginning. */

static bool add_keys(struct redis_txn *txn, const struct redis_call *call)
{
    size_t first, last, step;
    if (!redis_key_range(call, &first, &last, &step))
        return true;
    for (size_t i = first; i <= last; i += step)
        if (txn->key_count >= REDIS_TXN_KEYS_MAX ||
            !redis_key_add(txn, call->db, call->args[i]))
            return false;
    return true;
}

bool redis_txn_add(struct redis_txn *txn, const struct redis_call *call)
{
    struct txn_command *copy = redis_txn_copy(call);
    if (!copy || !add_keys(txn, call)) {
        free(copy);
        return false;
    }
    redis_txn_list_add(&txn->commands, copy);
    return true;
}

bool redis_txn_watch(struct redis_txn *txn, uint8_t db, struct span name,
                     uint64_t version)
{
    struct redis_key *key = redis_key_add(txn, db, name);
    if (!key)
        return false;
    key->watched = true;
    key->watch_version = version;
    return true;
}

static void txn_go(struct redis_txn *txn)
{
    txn->deadline_ns = txn->redis->now_ns + TXN_DEADLINE_NS;
    load(txn, TXN_LOAD);
}

void redis_txn_go(struct redis_txn *txn, const struct redis_to *to)
{
    txn->to = *to;
    if (!txn->exec)
        txn->commands.first->to = *to;
    txn_go(txn);
}

struct redis_txn *redis_txn_new_single(const struct redis_call *call)
{
    struct redis_txn *txn = txn_new(call->redis);
    if (txn && !redis_txn_add(txn, call)) {
        redis_job_end(call->redis, &txn->job);
        txn = NULL;
    }
    return txn;
}

static struct redis_txn *hot_find(struct redis *redis, uint64_t hash,
                                  uint8_t db, struct span name)
{
    struct redis_txn *txn = *hot_chain(redis, hash);
    while (txn && (txn->hash != hash || txn->keys[0].db != db ||
                   !span_equal(txn->keys[0].name, name)))
        txn = txn->next_hot;
    return txn;
}

static bool join(struct redis_txn *txn, const struct redis_call *call,
                 const struct redis_to *to)
{
    struct txn_command *copy = redis_txn_copy(call);
    if (!copy)
        return false;
    copy->to = *to;
    /* What is being read may be read already, before this command came. */
    redis_txn_list_add(&txn->later, copy);
    return true;
}

static void become_hot(struct redis_txn *txn, uint64_t hash)
{
    struct redis_txn **chain = hot_chain(txn->redis, hash);
    txn->hash = hash;
    txn->next_hot = *chain;
    txn->hot = true;
    *chain = txn;
}

void redis_txn_start(struct redis_call *call)
{
    static const struct response no_memory = { .status = DLHT_ENOMEM };
    struct redis *redis = call->redis;
    size_t first = 0, last = 0, step;
    struct redis_to to;
    bool single = redis_key_range(call, &first, &last, &step) && first == last;
    uint64_t hash = 0;
    struct redis_txn *txn = NULL;
    if (single) {
        hash = hash64_seeded(call->args[first], redis->seed ^ call->db);
        txn = hot_find(redis, hash, call->db, call->args[first]);
        if (!txn && redis_txn_now(call, first))
            return;
    }
    if (!redis_promise(call->client, &to))
        return;
    if (txn) {
        if (!join(txn, call, &to))
            redis_fail(redis, &to, &no_memory, false);
        return;
    }
    txn = txn_new(redis);
    if (!txn || !redis_txn_add(txn, call)) {
        if (txn)
            redis_job_end(redis, &txn->job);
        redis_fail(redis, &to, &no_memory, false);
        return;
    }
    txn->commands.first->to = to;
    if (single)
        become_hot(txn, hash);
    txn_go(txn);
}
