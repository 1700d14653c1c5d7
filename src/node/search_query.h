/* SPDX-License-Identifier: Apache-2.0 */

/* node/search_query.h - what a search asks for: the document of OP_SEARCH, and
 * with ranges of keys that of OP_SEARCH_PEER. */

#ifndef NODE_SEARCH_QUERY_H
#define NODE_SEARCH_QUERY_H

#include "base/buf.h"
#include "node/key_ranges.h"
#include "node/node_state.h"
#include "vector/filter.h"
#include "wire/message.h"
#include "wire/mp.h"

enum {
    SEARCH_K = 10,                     /* where none is named */
    SEARCH_K_MAX = 10000,              /* of a client; a peer: QUERY_K_MAX */
    SEARCH_VECTOR_BYTES_MAX = 8 << 20, /* of all vectors of an answer */
    SEARCH_ANSWER_BYTES_MAX = WIRE_BODY_MAX - (64 << 10), /* fit a frame */
    SEARCH_RANGES_BYTES_MAX = 4 << 20, /* of ranges in one message: of what is
                                        * left out the next is about */
    SEARCH_RANGE_BYTES = 64            /* of one, beside its keys */
};

#define SEARCH_TOO_BIG                                                         \
    "what was found is more than 32 MiB: ask for fewer, or without metadata"

struct search_query {
    float *vector; /* dim of them; owned; NULL: see id */
    struct buf id; /* the stored vector to search with; empty: none */
    uint32_t k, ef;
    struct buf filter_text; /* empty: none */
    struct filter *filter;
    bool exact, meta, vectors;
    bool fresh;  /* OP_SEARCH_PEER: all that was acknowledged before counts */
    bool claims; /* OP_SEARCH_PEER: copies are read as they are, and it is told
                  * how far they had come (node/search_marks.h) */
    struct key_ranges ranges; /* OP_SEARCH_PEER; else empty */
};

void search_query_deinit(struct search_query *q);

/* The document of a client. *text, as long as the step, says what is wrong. All
 * zeros on failure.
 *   DLHT_EINVAL, DLHT_ETOOBIG, DLHT_EBUSY (no memory) */
MUST_USE int search_query_read(struct node *node, const struct keyspace *ks,
                               struct span doc, struct search_query *out,
                               const char **text);
/* That of a peer: with fresh and ranges, which of a client are passed over. */
MUST_USE int search_query_read_peer(struct node *node,
                                    const struct keyspace *ks, struct span doc,
                                    struct search_query *out,
                                    const char **text);

/* The document that asks a peer for some ranges. Claims: it says how far the
 * copies had come, and need not be fresh. */
void search_query_pack(const struct search_query *q, uint32_t dim,
                       const struct key_range *ranges, size_t count,
                       bool claims, struct buf *doc);

/* Ranges as an array of [from, to or nil]. */
void search_pack_ranges(const struct key_range *ranges, size_t count,
                        struct buf *doc);
/* Adds them to a set. *news (NULL: not asked) becomes true if the set lacked
 * any of their keys. On failure some are added.
 *   DLHT_EPROTO  not such, or not ascending
 *   DLHT_ENOMEM */
MUST_USE int search_read_ranges(struct mp_reader *r, struct key_ranges *out,
                                bool *news);

#endif
