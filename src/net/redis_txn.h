/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_txn.h - commands that read, compute and store, as one.
 *
 * The keys are read with their versions, the commands run on a copy, and what
 * they changed is stored if nobody else changed it meanwhile; else all begins
 * anew. Keys of one arc are stored by one conditional batch: together or not
 * at all. Keys of several arcs are stored arc by arc; where the store of a
 * later arc meets a change, its part is computed anew, so that no change of
 * others is lost. If that would have stored something else in an earlier arc
 * (RENAME: the new value), it ends there: the outcome is unknown.
 *
 * Commands on one key that come while one is under way join the next round:
 * however many clients count on one key, a store answers all who waited. What
 * was stored is not read again by a round that stores, too: that it does proves
 * that nobody changed it. A round that stores nothing has read after its
 * commands came. */

#ifndef NET_REDIS_TXN_H
#define NET_REDIS_TXN_H

#include "net/redis_state.h"

enum {
    REDIS_TXN_HOT = 1024, /* chains by hash of key */
    REDIS_TXN_KEYS_MAX = 4096,
    REDIS_TXN_TRIES_MAX = 1000,
    REDIS_TXN_READ_MAX = 64 << 20,    /* bytes of the values read */
    REDIS_TXN_VALUES_MAX = 256 << 20, /* likewise, as its commands make them */
    REDIS_TXN_ANSWER_MAX = 32 << 20   /* bytes, of all commands of an EXEC */
};

/* A key of a transaction, as its commands see it. */
struct redis_key {
    struct span name; /* owned */
    uint8_t db;
    bool there;
    bool changed; /* value, or whether it is there */
    bool ttl_changed;
    struct buf value;
    uint64_t ttl_ms; /* 0: no end */
    /* As it was read. */
    bool was_there;
    struct buf was;
    uint64_t version;
    uint64_t was_ttl_ms;
    bool watched; /* must still be at watch_version */
    uint64_t watch_version;
    bool settled; /* stored by an earlier part, as follows */
    bool stored_there, stored_changed, stored_ttl;
    struct buf stored;
    uint64_t arc; /* where it lives; once asked */
};

struct redis_txn;

/* Begins one for the command, or joins one. */
void redis_txn_start(struct redis_call *call);

/* Does a command on one key, the word, at once if its record is here. False:
 * nothing was done. */
bool redis_txn_now(struct redis_call *call, size_t word);
MUST_USE bool redis_txn_now_init(struct redis *redis); /* false: no memory */
void redis_txn_now_deinit(struct redis *redis);

/* For EXEC: an empty one that answers all its commands in one; NULL: no
 * memory. Then its commands and conditions, then go, or drop. */
struct redis_txn *redis_txn_new(struct redis *redis);
MUST_USE bool redis_txn_add(struct redis_txn *txn,
                            const struct redis_call *call);
MUST_USE bool redis_txn_watch(struct redis_txn *txn, uint8_t db,
                              struct span name, uint64_t version);
/* For a command that may turn out not to be for this node. */
struct redis_txn *redis_txn_new_single(const struct redis_call *call);
size_t redis_txn_count(const struct redis_txn *txn);
void redis_txn_go(struct redis_txn *txn, const struct redis_to *to);
void redis_txn_drop(struct redis_txn *txn);

/* For what runs in it: a key that the command names. */
struct redis_key *redis_txn_key(struct redis_call *call, size_t word);
void redis_key_set(struct redis_key *key, struct span value);
void redis_key_remove(struct redis_key *key);
void redis_key_end(struct redis_key *key, uint64_t ttl_ms); /* 0: none */

#endif
