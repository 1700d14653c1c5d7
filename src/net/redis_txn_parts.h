/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_txn_parts.h - what a transaction is made of, for redis_txn.c:
 * commands that are kept with their words, keys, and how those run on these
 * (redis_txn_run.c). */

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

enum txn_phase {
    TXN_LOAD,   /* keys are being read */
    TXN_VERIFY, /* ... once more: was what was read there at one time? */
    TXN_CHECK,  /* whether a keyspace is a cache */
    TXN_STORE,
    TXN_LOOKUP, /* where the keys live */
    TXN_ENDS    /* ends of keys that were stored */
};

struct redis_txn {
    struct redis_job job;
    struct redis *redis;
    enum txn_phase phase;
    struct txn_list commands;
    struct txn_list later; /* of those that came since */
    struct redis_key *keys;
    size_t key_count, key_cap;
    bool exec; /* one answer for all commands */
    bool hot;  /* in redis->hot */
    bool verified;
    bool known;        /* not read: what the round before stored */
    bool grouped;      /* by arc; keys[].arc is known */
    bool storing_some; /* a part is stored already, or an end */
    struct redis_to to;
    uint64_t hash;
    struct redis_txn *next_hot;
    size_t open;
    size_t read; /* bytes, in this phase */
    uint32_t tries, lookups;
    uint64_t deadline_ns;
    uint64_t arc; /* being stored */
    uint8_t db;
    int status; /* the first failure of this phase */
    bool mismatch;
    bool moved; /* VERIFY: something changed between */
    uint64_t stored_version;
    struct buf text; /* of the failure */
};

void redis_txn_list_add(struct txn_list *list, struct txn_command *command);
void redis_txn_list_free(struct txn_list *list);
/* With its words, but not where its answer goes; NULL: no memory. */
struct txn_command *redis_txn_copy(const struct redis_call *call);

/* NULL: it names none such. */
struct redis_key *redis_key_find(struct redis_txn *txn, uint8_t db,
                                 struct span name);
/* That one, or a new one; NULL: no memory. */
struct redis_key *redis_key_add(struct redis_txn *txn, uint8_t db,
                                struct span name);
void redis_key_free(struct redis_key *key);
/* As it was read. What then lacks memory stays marked in value.failed. */
void redis_key_reset(struct redis_key *key);
/* It is stored as it is now, and others are still to be. */
void redis_key_settle(struct redis_key *key);
/* Whether the commands, run anew, left it as it was stored. */
bool redis_key_is_as_stored(const struct redis_key *key);
/* Keeps what was read. */
void redis_key_take(struct redis_key *key, const struct response *response);

/* Whether what is watched is as it was then. */
bool redis_txn_watches_hold(const struct redis_txn *txn);
/* Runs all commands on the keys as they were read. DLHT_OK, or nothing may be
 * done:
 *   DLHT_ENOMEM   for what they make
 *   DLHT_ETOOBIG  so is that, or the answers of an EXEC */
MUST_USE int redis_txn_run(struct redis_txn *txn);
/* What an earlier part stored is what the commands would store now. */
bool redis_txn_is_as_stored(const struct redis_txn *txn);

#endif
