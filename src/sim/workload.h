/* SPDX-License-Identifier: Apache-2.0 */

/* sim/workload.h - clients that ask, wait, retry and remember.
 *
 * Each client has a session, which a part of its writes do without, and one
 * request open at a time, sent to any peer
 * that is up. When a peer crashes under it the client asks another with the
 * same number; past the deadline the outcome is unknown. All that was answered
 * goes into a history; what no answer may say at all (a damaged value, a range
 * out of order) fails the world at once. */

#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/history.h"
#include "sim/world.h"

struct workload;

struct workload_config {
    uint64_t seed;
    const char *keyspace; /* that is asked; NULL: `default` */
    bool hashed;          /* it is: ranges are scans, in the order of hashes */
    size_t client_count;
    size_t key_count;
    size_t late_count;   /* of them, the last: not touched before
                          * workload_load_late */
    size_t hot_count;    /* of them asked for most of the time */
    uint64_t think_ns;   /* mean, between requests */
    uint32_t timeout_ms; /* of a request */
    size_t value_len_max;
    /* How often, relative to each other. */
    uint32_t put, get, del, cas, mget, batch, range, count;
    double strict, all; /* share of reads, of writes, with that flag */
};

void workload_config_default(struct workload_config *config);

/* Aborts without memory. The world outlives it. */
struct workload *workload_new(struct world *world,
                              const struct workload_config *config);
void workload_free(struct workload *workload); /* NULL is allowed */

/* Clients begin. */
void workload_start(struct workload *workload);
/* No new requests; open ones go on to their end. */
void workload_stop(struct workload *workload);
/* None is open. */
bool workload_is_idle(const struct workload *workload);

/* One client puts every key once, in order, by batches. Before start. */
void workload_load(struct workload *workload);

/* One client more puts the late keys, while the others run, who then ask for
 * them, too. Once, and only if there are some. */
void workload_load_late(struct workload *workload);

/* One client reads everything: a range upwards, one downwards, a count, each
 * key. The history then says what is there at last. After stop; it is idle
 * when done. */
void workload_verify(struct workload *workload);

struct workload_stats {
    uint64_t done, failed, unknown, retries;
    uint64_t longest_ns; /* between two successful answers of one client */
};
void workload_stats(const struct workload *workload,
                    struct workload_stats *out);

/* How long requests took that were answered since the last call: the median,
 * the 99th percentile and the longest. */
struct workload_waits {
    size_t count;
    uint64_t p50_ns, p99_ns, longest_ns;
};
void workload_waits(struct workload *workload, struct workload_waits *out);

struct history *workload_history(struct workload *workload);

#endif
