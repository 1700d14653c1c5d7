/* SPDX-License-Identifier: Apache-2.0 */

/* net/host.h - the real world around one node.
 *
 * One thread runs the node: each turn it feeds what came in, step by step,
 * then one flush (or more, one after each 64 requests, while what they touched
 * is in the processor's cache), and carries out the effects of each step before
 * the next.
 * Answers and messages are packed where they leave from; what a turn produced
 * leaves in one write a connection. Other threads sync and checkpoint, and do
 * the node's slow work.
 *
 * The clock runs through suspend and is read once after each read, never
 * before it: a lease that is judged by the time of a request must not be
 * judged by a time before the request was made. */

#ifndef NET_HOST_H
#define NET_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "dlht/dlht.h"
#include "net/redis.h"
#include "node/node.h"

struct host;

struct host_config {
    struct node_config node; /* host_new fills addr, durable, seed, pages */
    const char *listen;
    const char *advertise; /* NULL: where it listens */
    const char *socket;    /* path, for clients of this machine; NULL: none */
    const char *data_dir;  /* NULL: none */
    const char *redis;     /* where Redis clients come in; NULL: nowhere */
    bool redis_ask;
    const char *redis_dbs[REDIS_DBS_MAX]; /* keyspaces; NULL: none */
    enum dlht_durability durability;
    dlht_log_fn log; /* NULL: silent */
    void *log_context;
    enum dlht_log_level log_level;
};

enum host_state {
    HOST_STARTING,
    HOST_READY,
    HOST_STOPPED, /* as it was asked to, or because it left */
    HOST_FAILED
};

/* Called on the host's thread when the state changes; text says why. */
typedef void (*host_state_fn)(void *context, enum host_state state, int status,
                              const char *text);

/* Binds, locks the data dir and restores what is in it. Strings are copied.
 * error (never NULL) tells a person what is wrong.
 *   DLHT_EINVAL, DLHT_EBUSY, DLHT_ECORRUPT, DLHT_EIO, DLHT_ENOMEM */
MUST_USE int host_new(const struct host_config *config, host_state_fn fn,
                      void *context, struct host **out,
                      struct dlht_error *error);

/* Closes everything. NULL is allowed. */
void host_free(struct host *host);

/* Where it listens, with the true port. */
const char *host_address(const struct host *host);

/* Where Redis clients come in; empty: nowhere. */
const char *host_redis_address(const struct host *host);

/* Runs until stopped or failed; on the thread that owns the host from then
 * on. */
void host_run(struct host *host);

/* Asks the host to hand over and stop. Any thread. */
void host_stop(struct host *host);

/* "inproc:...": reaches this host from inside the process, whatever it
 * listens on. */
const char *host_inner_address(const struct host *host);

#endif
