/* SPDX-License-Identifier: Apache-2.0 */

/* Commands that are kept, and keys as they are and as they were. */

#include "net/redis_txn_parts.h"

#include <stdlib.h>
#include <string.h>

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
