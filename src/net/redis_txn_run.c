/* SPDX-License-Identifier: Apache-2.0 */

/* Commands of a transaction run on the keys that it has read. */

#include "dlht/err.h"
#include "net/redis_txn_parts.h"

enum {
    LOOK_EVERY = 8 /* commands: each makes a value or two of 16 MiB at most */
};

bool redis_txn_watches_hold(const struct redis_txn *txn)
{
    for (size_t i = 0; i < txn->key_count; i++) {
        const struct redis_key *key = &txn->keys[i];
        if (key->watched && key->version != key->watch_version)
            return false;
    }
    return true;
}

static size_t bytes_of(const struct redis_txn *txn)
{
    size_t bytes = 0;
    for (size_t i = 0; i < txn->key_count; i++)
        bytes += txn->keys[i].value.len;
    return bytes;
}

/* Together they make more than one may keep here. */
static bool is_too_much(const struct redis_txn *txn, size_t answered,
                        size_t *seen)
{
    if (!txn->exec)
        return false;
    if (++*seen % LOOK_EVERY == 0 && bytes_of(txn) > REDIS_TXN_VALUES_MAX)
        return true;
    return answered > REDIS_TXN_ANSWER_MAX;
}

int redis_txn_run(struct redis_txn *txn)
{
    size_t answered = 0, seen = 0;
    bool failed = false;
    for (size_t i = 0; i < txn->key_count; i++)
        redis_key_reset(&txn->keys[i]);
    for (struct txn_command *c = txn->commands.first; c; c = c->next) {
        const struct redis_to *to = txn->exec ? &txn->to : &c->to;
        struct redis_call call = { .redis = txn->redis,
                                   .client = redis_client_of(txn->redis, to),
                                   .command = c->command,
                                   .args = c->args,
                                   .count = c->count,
                                   .db = c->db,
                                   .resp3 = c->resp3,
                                   .out = &c->out,
                                   .txn = txn };
        buf_reset(&c->out);
        /* What is no data is of use to who waits for the answer alone. */
        if (call.client || c->command->first_key)
            c->command->run(&call);
        failed = failed || c->out.failed;
        answered += c->out.len;
        if (is_too_much(txn, answered, &seen))
            return DLHT_ETOOBIG;
    }
    for (size_t i = 0; i < txn->key_count; i++)
        failed = failed || txn->keys[i].value.failed;
    return failed ? DLHT_ENOMEM : DLHT_OK;
}

bool redis_txn_is_as_stored(const struct redis_txn *txn)
{
    for (size_t i = 0; i < txn->key_count; i++)
        if (txn->keys[i].settled && !redis_key_is_as_stored(&txn->keys[i]))
            return false;
    return true;
}
