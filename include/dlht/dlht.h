/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/dlht.h - the one door: a node inside your process, or a client of a
 * cluster, behind one set of calls.
 *
 *     struct dlht *d;
 *     int rc = dlht_connect("127.0.0.1:9000", 5000, &d);
 *     rc = dlht_put(d, NULL, key, key_len, value, value_len, NULL);
 *
 * A handle made by dlht_connect runs on the threads that call it: network
 * progress happens inside dlht_poll and inside the synchronous calls. A handle
 * made by dlht_open owns a node, which runs on threads of its own. Callbacks
 * of asynchronous calls run inside dlht_poll or a synchronous call, on the
 * calling thread. A handle may be used by one thread at a time; several
 * handles, and several nodes, may live in one process.
 *
 * Calls return DLHT_OK or a negative code of dlht/err.h. A write that returns
 * DLHT_EUNKNOWN may or may not have taken effect, or may yet; every other
 * failure of a write means that it did not. Keys are 1 byte to 64 KiB, values
 * up to 16 MiB, of any bytes. */

#ifndef DLHT_DLHT_H
#define DLHT_DLHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dlht/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DLHT_VERSION_TEXT "0.1.0"

struct dlht;

enum dlht_durability {
    DLHT_DURABILITY_AUTO = 0, /* sync with a data dir, else memory */
    DLHT_DURABILITY_SYNC = 1,
    DLHT_DURABILITY_INTERVAL = 2,
    DLHT_DURABILITY_MEMORY = 3
};

enum dlht_log_level {
    DLHT_LOG_DEBUG = 0,
    DLHT_LOG_INFO = 1,
    DLHT_LOG_WARNING = 2,
    DLHT_LOG_ERROR = 3
};

typedef void (*dlht_log_fn)(void *context, enum dlht_log_level level,
                            const char *text);

enum {
    DLHT_BOOTSTRAP_MAX = 16,
    DLHT_REDIS_DBS_MAX = 16,
    DLHT_ERROR_TEXT_MAX = 256
};

/* What a node is started with; strings are copied by dlht_open. */
struct dlht_config {
    const char *listen;    /* HOST:PORT; port 0: any. inproc:NAME: reached by
                            * other nodes and clients of this process only */
    const char *advertise; /* NULL: as listened on */
    const char *socket;    /* path of a Unix-domain socket for clients of this
                            * machine, at most 58 bytes; NULL: none */
    const char *bootstrap[DLHT_BOOTSTRAP_MAX];
    size_t bootstrap_count; /* 0: found a new cluster (or rejoin by data dir) */
    uint32_t join_timeout_ms;
    const char *data_dir; /* NULL: memory only */
    enum dlht_durability durability;
    uint32_t vnodes;
    uint32_t successors; /* of an arc, with map_fingers: 1 to 20; 0: as many
                          * as the ring wants */
    double weight;
    uint32_t replicas; /* 1, 3, 5 */
    const char *zone;  /* NULL: none */
    bool map_fingers;
    uint32_t down_out_ms;
    uint64_t memory_limit; /* bytes; 0: none */
    uint64_t move_rate;    /* bytes a second that copies of arcs are sent with;
                            * 0: no bound */
    const char *redis;     /* HOST:PORT for Redis clients; NULL: none */
    bool redis_ask;        /* send them to owners by ASK */
    const char *redis_db[DLHT_REDIS_DBS_MAX]; /* keyspace of each number of
                                               * SELECT; NULL: none, of 0
                                               * `default` */
    dlht_log_fn log; /* called on the node's threads; NULL: silent */
    void *log_context;
    enum dlht_log_level log_level;
};

/* SPEC's defaults, listening on 127.0.0.1:9000. */
DLHT_API void dlht_config_default(struct dlht_config *config);

/* Why a call failed, in words for a person. */
struct dlht_error {
    int code;
    char text[DLHT_ERROR_TEXT_MAX];
};

/* Starts a node and returns when it serves. error may be NULL.
 *   DLHT_EINVAL    bad configuration; EBUSY: port or data dir in use
 *   DLHT_EUNAVAILABLE  no bootstrap peer took us in within join_timeout_ms
 *   DLHT_ECORRUPT  damaged data and no group to learn it from; nothing was
 *                  overwritten
 *   DLHT_ECLUSTER, DLHT_EIO, DLHT_ENOMEM */
DLHT_API int dlht_open(const struct dlht_config *config, struct dlht **out,
                       struct dlht_error *error);

/* Connects to the first of "HOST:PORT[,HOST:PORT...]" that answers; later goes
 * over to others by itself, those it learns of included. "unix:PATH" stands for
 * a node of this machine that listens there. Who asks often is connected to up
 * to 64 more nodes, by the addresses that they advertise if those are numbers,
 * and asks for a key the one that leads its arc; where that cannot be reached,
 * the first does.
 *   DLHT_EINVAL, DLHT_EUNAVAILABLE, DLHT_EVERSION, DLHT_ENOMEM */
DLHT_API int dlht_connect(const char *addresses, uint32_t timeout_ms,
                          struct dlht **out, struct dlht_error *error);

/* A node hands over its leaderships and stops (its data stays); a client
 * disconnects. What is still open is answered DLHT_ECLOSED, writes
 * DLHT_EUNKNOWN, through their callbacks. NULL is allowed. */
DLHT_API void dlht_close(struct dlht *d);

/* Where this node listens, with the true port; NULL for a client. */
DLHT_API const char *dlht_address(const struct dlht *d);

/* Where Redis clients come in, with the true port; NULL: nowhere. */
DLHT_API const char *dlht_redis_address(const struct dlht *d);

/* For a node: true when it has left or failed for good (text says why) and
 * should be closed. */
DLHT_API bool dlht_has_stopped(struct dlht *d, struct dlht_error *error);

enum dlht_op {
    DLHT_OP_PING = 1,
    DLHT_OP_PUT = 2,
    DLHT_OP_GET = 3,
    DLHT_OP_DEL = 4,
    DLHT_OP_CAS = 5,
    DLHT_OP_MGET = 6,
    DLHT_OP_BATCH = 7,
    DLHT_OP_RANGE = 8,
    DLHT_OP_COUNT = 9,
    DLHT_OP_LOOKUP = 10,
    DLHT_OP_RING = 11,
    DLHT_OP_PEERS = 12,
    DLHT_OP_STATUS = 13,
    DLHT_OP_KEYSPACE_CREATE = 14,
    DLHT_OP_KEYSPACE_LIST = 15,
    DLHT_OP_KEYSPACE_DROP = 16,
    DLHT_OP_LEAVE = 17,
    DLHT_OP_MODEL = 19, /* document: action, keyspace, ... */
    DLHT_OP_KEYSPACE_SET = 20,
    DLHT_OP_KEYSPACE_SHOW = 21,
    DLHT_OP_PRESPLIT = 22,
    DLHT_OP_BALANCE = 26,  /* document: action, ... */
    DLHT_OP_PEER_SET = 27, /* document: peer, options */
    DLHT_OP_RECOVER = 28,  /* document: arc, accept_loss, empty */
    /* Records of one arc, with different keys: all are changed if each is at
     * its version (0: absent), or none. DLHT_EMISMATCH: result->count says which
     * record differs, from 0, and version at which it is. DLHT_EINVAL if keys
     * lie in more than one arc: of an ordered keyspace those with a common
     * prefix mostly lie in one. */
    DLHT_OP_CAS_BATCH = 29,
    /* dlht/vector.h; document: what is put, what is searched, action. */
    DLHT_OP_VECTOR_PUT = 30,
    DLHT_OP_VECTOR_GET = 31,
    DLHT_OP_SEARCH = 32,
    DLHT_OP_VECTORS = 33,
    /* Of keyspaces that are caches; dlht/cache.h. */
    DLHT_OP_CACHE_EXPIRE = 36, /* ttl_ms from now, 0: never */
    DLHT_OP_CACHE_FLUSH = 37,
    DLHT_OP_CACHE_STATS = 38, /* value: a document */
    DLHT_OP_CACHE_LEASE = 39  /* count: enum dlht_cache_answer; version: the
                               * token, 0: none */
};

struct dlht_bytes {
    const void *data;
    size_t len;
};

struct dlht_record {
    struct dlht_bytes key;
    struct dlht_bytes value;
    uint64_t version;
    bool any_version; /* CAS_BATCH: whatever version is there, if any */
    bool remove;      /* CAS_BATCH: the record goes; there is no value */
};

/* One request; zeros are defaults. Bytes are copied by the call. */
struct dlht_request {
    enum dlht_op op;
    const char *keyspace; /* NULL: `default` */
    struct dlht_bytes key;
    struct dlht_bytes value;
    struct dlht_bytes end; /* RANGE, COUNT: excluded */
    bool has_end;
    uint64_t version; /* CAS: expected; 0: absent */
    uint64_t limit;   /* RANGE, RING; 0: a page */
    bool reverse, keys_only, stale, strict, all;
    bool estimate;                     /* COUNT: by the learned model alone */
    uint32_t timeout_ms;               /* 0: 5000 */
    const struct dlht_record *records; /* BATCH, CAS_BATCH; MGET: keys */
    size_t record_count;
    struct dlht_bytes document; /* admin operations: a MessagePack map */
    /* Of caches. */
    uint64_t ttl_ms; /* PUT, CAS, EXPIRE: ends so long from now; 0: never */
    bool keep_ttl;   /* PUT, CAS: ends as it did */
    bool peek;       /* GET: not counted, and no use to the policy */
    bool leased;   /* PUT: version is a token; DLHT_ESTALE: not good any more */
    bool negative; /* PUT: remember that there is none; no value */
    uint32_t cost_us; /* PUT, CAS: what it took to make the value; 0: unknown */
};

/* The answer; borrowed until the callback returns (or the next call on the
 * handle, for dlht_call). */
struct dlht_result {
    int status;
    uint64_t version;        /* CAS that differs: the current one; COUNT with
                              * estimate: what count may be off by */
    struct dlht_bytes value; /* GET; admin operations: a MessagePack document */
    const struct dlht_record *records; /* RANGE, MGET */
    size_t record_count;
    uint64_t count; /* COUNT; BATCH: stored; CAS_BATCH: see there */
    bool more;
    struct dlht_bytes cursor; /* RANGE: go on from here (reverse: end here) */
    uint32_t hops;
    uint32_t peers_asked;
    const char *text; /* of a refusal; never NULL */
    uint64_t ttl_ms;  /* GET, LEASE of a cache: what is left; 0: no end */
};

typedef void (*dlht_fn)(void *context, const struct dlht_result *result);

/* Sends a request; fn runs exactly once if DLHT_OK is returned, at the latest
 * when the deadline has passed. What is submitted between two polls travels in
 * one write to each node. Requests that are open together may be done in any
 * order: what must follow another is submitted after its answer.
 *   DLHT_EINVAL, DLHT_ETOOBIG, DLHT_ENOMEM, DLHT_EBUSY (65,536 are open) */
DLHT_API int dlht_submit(struct dlht *d, const struct dlht_request *request,
                         dlht_fn fn, void *context);

/* Makes progress for at most timeout_ms (0: only what is ready; -1: until
 * something completes). Number of callbacks run, or a negative code. */
DLHT_API int dlht_poll(struct dlht *d, int timeout_ms);

/* Submits and waits; other callbacks may run meanwhile. Returns result->status.
 */
DLHT_API int dlht_call(struct dlht *d, const struct dlht_request *request,
                       struct dlht_result *result);

/* Options of the short calls below; NULL: defaults. */
struct dlht_options {
    const char *keyspace;
    uint32_t timeout_ms;
    bool stale, strict, all;
};

DLHT_API int dlht_put(struct dlht *d, const struct dlht_options *options,
                      const void *key, size_t key_len, const void *value,
                      size_t value_len, uint64_t *version);

/* The value is the caller's to free(); it has a zero byte after its end.
 *   DLHT_ENOTFOUND */
DLHT_API int dlht_get(struct dlht *d, const struct dlht_options *options,
                      const void *key, size_t key_len, void **value,
                      size_t *value_len, uint64_t *version);

/*   DLHT_ENOTFOUND  there was none */
DLHT_API int dlht_del(struct dlht *d, const struct dlht_options *options,
                      const void *key, size_t key_len);

/* *version: expected, 0 for absent; after DLHT_OK the new one, after
 * DLHT_EMISMATCH the current one. */
DLHT_API int dlht_cas(struct dlht *d, const struct dlht_options *options,
                      const void *key, size_t key_len, const void *value,
                      size_t value_len, uint64_t *version);

#ifdef __cplusplus
}
#endif

#endif
