/* SPDX-License-Identifier: Apache-2.0 */

/* node/session.h - what an arc remembers so that a retried request is applied
 * once.
 *
 * A session numbers its requests from 1 and says with each the lowest number
 * that is still open. An arc keeps the results of numbers from there up. Part
 * of the replicated state: it changes only when an entry is applied, is in
 * snapshots, and a split copies it. Time is the arc's own (milliseconds that
 * its leaders write into entries), and each entry first drops all that is idle
 * by then: what is held, and so what is refused for want of room, is a function
 * of the log alone.
 *
 * A batch is one number for many records, which arcs get in pieces: its results
 * say which of the batch's records (by rank in key order) are stored. So what
 * an arc knows stays right whatever is split and merged between two attempts.
 *
 * All of it fits the header of a snapshot or checkpoint, which is one frame. */

#ifndef NODE_SESSION_H
#define NODE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/must_use.h"

struct mp_reader;

enum {
    SESSION_IDLE_MS = 10 * 60 * 1000,
    SESSION_RESULTS_MAX = 8192, /* open numbers of one session on one arc */
    /* What sessions and results weigh, packed, at most, and all together: a
     * frame is 32 MiB. */
    SESSION_PACKED_BYTES = 48,
    SESSION_RESULT_PACKED_BYTES = 32,
    SESSIONS_PACKED_MAX = 24 << 20
};

struct session_result {
    uint64_t number;
    int32_t status;
    bool names_arc;   /* the answer carries the arc's descriptor; not kept */
    uint64_t version; /* of a batch: rank of the first record of the piece */
    uint64_t count;   /* of a batch: records of the piece; else 0 */
};

struct session {
    struct session *older, *newer; /* by used_ms */
    struct id id;
    uint64_t lowest_open;
    uint64_t used_ms;               /* arc time */
    struct session_result *results; /* ascending numbers, and ranks of one;
                                     * owned */
    uint32_t count;
    uint32_t cap;
};

/* All zeros is a valid empty one. */
struct sessions {
    struct session **slots; /* open addressing; NULL: free */
    size_t cap;             /* a power of two, or 0 */
    size_t count;
    size_t packed;                   /* bytes that all weigh, at most */
    struct session *oldest, *newest; /* by used_ms */
    struct session *spare;           /* for the next new one */
};

void sessions_deinit(struct sessions *s);

enum session_answer {
    SESSION_NEW,   /* apply it, then sessions_note */
    SESSION_KNOWN, /* *out is its result */
    SESSION_PAST   /* below the lowest open number: nobody waits for it */
};

enum session_answer sessions_look(const struct sessions *s, const struct id *id,
                                  uint64_t number, uint64_t now_ms,
                                  struct session_result *out);

/* Whether that record of a batch is stored. */
bool sessions_has_record(const struct sessions *s, const struct id *id,
                         uint64_t number, uint64_t rank);

/* Drops what is idle at now_ms and makes room for one more result of id, so
 * that sessions_note cannot fail.
 *   DLHT_ENOMEM
 *   DLHT_EFULL  as on every replica that applies the same log */
MUST_USE int sessions_reserve(struct sessions *s, const struct id *id,
                              uint64_t now_ms);

/* Keeps a result and forgets those below lowest_open. Follows
 * sessions_reserve with the same id and time. */
void sessions_note(struct sessions *s, const struct id *id,
                   uint64_t lowest_open, uint64_t now_ms,
                   const struct session_result *result);

/* Whether what both remember fits one. */
bool sessions_may_unite(const struct sessions *into,
                        const struct sessions *from);

/* Adds what another arc remembers, whose time is from_ms now where this one's
 * is into_ms: what was used a minute ago there was so here. Repeated, it
 * changes nothing.
 *   DLHT_ENOMEM  perhaps a part of it is in: to be repeated */
MUST_USE int sessions_unite(struct sessions *into, uint64_t into_ms,
                            const struct sessions *from, uint64_t from_ms);

/* Packs sessions from the skip-th on (by last use), until about bytes_max; one
 * always fits. Returns how many. */
size_t sessions_pack_some(const struct sessions *s, size_t skip,
                          size_t bytes_max, struct buf *out);

MUST_USE int sessions_copy(const struct sessions *from, struct sessions *to);

/* At most SESSIONS_PACKED_MAX bytes and a few. */
void sessions_pack(const struct sessions *s, struct buf *out);
/*   DLHT_ECORRUPT, DLHT_ENOMEM */
MUST_USE int sessions_unpack(struct mp_reader *r, struct sessions *out);

/* Independent of the order in the table. */
uint64_t sessions_hash(const struct sessions *s);

#endif
