/* SPDX-License-Identifier: Apache-2.0 */

/* Commands that are kept, and keys as they are and as they were. */

#include "net/redis_txn_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

/* Lists of commands. */

void redis_txn_list_add(struct txn_list *list, struct txn_command *command)
{
    command->next = NULL;
    if (list->last)
        list->last->next = command;
    else
        list->first = command;
    list->last = command;
    list->count++;
}

void redis_txn_list_free(struct txn_list *list)
{
    while (list->first) {
        struct txn_command *command = list->first;
        list->first = command->next;
        buf_deinit(&command->out);
        free(command);
    }
    *list = (struct txn_list){ 0 };
}

struct txn_command *redis_txn_copy(const struct redis_call *call)
{
    size_t bytes = 0;
    for (size_t i = 0; i < call->count; i++)
        bytes += call->args[i].len;
    struct txn_command *c =
        malloc(sizeof *c + call->count * sizeof c->args[0] + bytes);
    if (!c)
        return NULL;
    memset(c, 0, sizeof *c);
    c->command = call->command;
    c->count = call->count;
    c->db = call->db;
    c->resp3 = call->resp3;
    uint8_t *at = (uint8_t *)&c->args[call->count];
    for (size_t i = 0; i < call->count; i++) {
        struct span arg = call->args[i];
        if (arg.len)
            memcpy(at, arg.data, arg.len);
        c->args[i] = span_of(at, arg.len);
        at += arg.len;
    }
    return c;
}

/* Keys. */

struct redis_key *redis_key_find(struct redis_txn *txn, uint8_t db,
                                 struct span name)
{
    for (size_t i = 0; i < txn->key_count; i++)
        if (txn->keys[i].db == db && span_equal(txn->keys[i].name, name))
            return &txn->keys[i];
    return NULL;
}

struct redis_key *redis_key_add(struct redis_txn *txn, uint8_t db,
                                struct span name)
{
    struct redis_key *key = redis_key_find(txn, db, name);
    if (key)
        return key;
    if (txn->key_count == txn->key_cap) {
        size_t cap = txn->key_cap ? txn->key_cap * 2 : 1;
        struct redis_key *grown = mem_resize(txn->keys, cap, sizeof *grown);
        if (!grown)
            return NULL;
        txn->keys = grown;
        txn->key_cap = cap;
    }
    uint8_t *copy = mem_array(name.len, 1);
    if (!copy)
        return NULL;
    if (name.len)
        memcpy(copy, name.data, name.len);
    key = &txn->keys[txn->key_count++];
    *key = (struct redis_key){ .name = span_of(copy, name.len), .db = db };
    return key;
}

void redis_key_free(struct redis_key *key)
{
    free((void *)(uintptr_t)key->name.data);
    buf_deinit(&key->value);
    buf_deinit(&key->was);
    buf_deinit(&key->stored);
}

/* That memory lacked before stays known: an answer may tell of it. */
static void value_reset(struct redis_key *key)
{
    bool failed = key->value.failed;
    buf_reset(&key->value);
    key->value.failed = failed;
}

void redis_key_set(struct redis_key *key, struct span value)
{
    value_reset(key);
    buf_append_span(&key->value, value);
    key->there = true;
    key->changed = true;
}

void redis_key_remove(struct redis_key *key)
{
    key->changed = key->changed || key->there;
    key->there = false;
    key->ttl_ms = 0;
    value_reset(key);
}

void redis_key_end(struct redis_key *key, uint64_t ttl_ms)
{
    /* A new value has the end that is said here, whatever it was. */
    key->ttl_changed =
        key->ttl_changed || key->changed || ttl_ms || key->ttl_ms;
    key->ttl_ms = ttl_ms;
}

/* As it was read. */
void redis_key_reset(struct redis_key *key)
{
    buf_reset(&key->value);
    if (key->was_there)
        buf_append_span(&key->value, buf_span(&key->was));
    key->value.failed = key->value.failed || key->was.failed;
    key->there = key->was_there;
    key->ttl_ms = key->was_ttl_ms;
    key->changed = false;
    key->ttl_changed = false;
}

void redis_key_settle(struct redis_key *key)
{
    struct buf room = key->stored;
    key->settled = true;
    key->watched = false;
    key->stored = key->value;
    key->value = room;
    key->stored_there = key->there;
    key->stored_changed = key->changed;
    key->stored_ttl = key->ttl_changed;
}

bool redis_key_is_as_stored(const struct redis_key *key)
{
    return key->there == key->stored_there &&
           key->changed == key->stored_changed &&
           key->ttl_changed == key->stored_ttl &&
           span_equal(buf_span(&key->value), buf_span(&key->stored));
}

void redis_key_take(struct redis_key *key, const struct response *response)
{
    bool there = response->status == DLHT_OK;
    buf_reset(&key->was);
    if (there)
        buf_append_span(&key->was, response->value);
    key->was_there = there;
    key->version = there ? response->version : 0;
    key->was_ttl_ms = there ? response->ttl_ms : 0;
}
