/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_string.h - commands on strings and keys, as a transaction runs
 * them: on what was read, without asking anybody. Each is the run of the
 * command of its name in net/redis_table.c. */

#ifndef NET_REDIS_STRING_H
#define NET_REDIS_STRING_H

#include "net/redis_state.h"
#include "net/redis_txn.h"

#define REDIS_STRING_COMMANDS(X)                                               \
    X(append)                                                                  \
    X(copy)                                                                    \
    X(decr)                                                                    \
    X(decrby)                                                                  \
    X(del)                                                                     \
    X(exists)                                                                  \
    X(expire)                                                                  \
    X(expireat)                                                                \
    X(expiretime)                                                              \
    X(get)                                                                     \
    X(getdel)                                                                  \
    X(getex)                                                                   \
    X(getrange)                                                                \
    X(getset)                                                                  \
    X(incr)                                                                    \
    X(incrby)                                                                  \
    X(incrbyfloat)                                                             \
    X(memory)                                                                  \
    X(mget)                                                                    \
    X(mset)                                                                    \
    X(msetnx)                                                                  \
    X(object)                                                                  \
    X(persist)                                                                 \
    X(pexpire)                                                                 \
    X(pexpireat)                                                               \
    X(pexpiretime)                                                             \
    X(psetex)                                                                  \
    X(pttl)                                                                    \
    X(rename)                                                                  \
    X(renamenx)                                                                \
    X(set)                                                                     \
    X(setex)                                                                   \
    X(setnx)                                                                   \
    X(setrange)                                                                \
    X(strlen)                                                                  \
    X(ttl)                                                                     \
    X(type)

#define REDIS_STRING_DECLARE(name)                                             \
    void redis_run_##name(struct redis_call *call);
REDIS_STRING_COMMANDS(REDIS_STRING_DECLARE)
#undef REDIS_STRING_DECLARE

/* The wall time in ms that a word of a command means. False: answered. */
bool redis_read_end(struct redis_call *call, bool is_ms, bool is_at,
                    struct span word, int64_t *at_ms);
void redis_write_bad_end(struct redis_call *call);
/* Ends it then; if that is past, it goes. */
void redis_key_end_at(struct redis_call *call, struct redis_key *key,
                      int64_t at_ms);

#endif
