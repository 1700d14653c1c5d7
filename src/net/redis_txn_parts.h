/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_txn_parts.h - what a transaction is made of, for redis_txn.c:
 * commands that are kept with their words, and keys. */

#ifndef NET_REDIS_TXN_PARTS_H
#define NET_REDIS_TXN_PARTS_H

#include "net/redis_txn.h"

struct txn_command {
    struct txn_command *next;
    const struct redis_command *command;
    struct redis_to to;
    size_t count;
    uint8_t db;
    bool resp3;
    struct buf out;
    struct span args[]; /* their bytes follow */
};

struct txn_list {
    struct txn_command *first, *last;
    size_t count;
};

void redis_txn_list_add(struct txn_list *list, struct txn_command *command);
void redis_txn_list_free(struct txn_list *list);
/* With its words, but not where its answer goes; NULL: no memory. */
struct txn_command *redis_txn_copy(const struct redis_call *call);

void redis_key_free(struct redis_key *key);
/* As it was read. What then lacks memory stays marked in value.failed. */
void redis_key_reset(struct redis_key *key);
/* It is stored as it is now, and others are still to be. */
void redis_key_settle(struct redis_key *key);
/* Whether the commands, run anew, left it as it was stored. */
bool redis_key_is_as_stored(const struct redis_key *key);
/* Keeps what was read. */
void redis_key_take(struct redis_key *key, const struct response *response);

#endif
