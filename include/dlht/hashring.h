/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/hashring.h - a consistent-hash ring by itself, for who shards by client:
 * which nodes hold a key, and what moves when nodes come and go.
 *
 *     struct dlht_hashring *r;
 *     int rc = dlht_hashring_new(NULL, &r);
 *     rc = dlht_hashring_add(r, "a:9000", 6, 1.0, "rack1", 5);
 *     struct dlht_hashring_view *v = dlht_hashring_view(r);
 *     uint32_t nodes[3];
 *     size_t n = dlht_hashring_replicas(v, key, key_len, 3, nodes);
 *     dlht_hashring_view_free(v);
 *
 * A ring is what writers change; a view is the ring at one time, and never
 * changes. dlht_hashring_view may be called by any thread while a writer is at
 * work; the calls that change a ring are for one thread at a time. A view may
 * be asked by any number of threads; each view that was given out is freed
 * once, before or after the ring. Nothing here opens, reads or waits.
 *
 * Who holds a key depends on the nodes and the configuration alone, in every
 * process and on every machine; with chosen tokens, on the order of changes
 * too. docs/hashring.md has the formats and the figures. */

#ifndef DLHT_HASHRING_H
#define DLHT_HASHRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dlht/dlht.h"
#include "dlht/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dlht_hashring;
struct dlht_hashring_view;

enum {
    DLHT_HASHRING_ID_MAX = 255, /* bytes, at least 1; of a zone too */
    DLHT_HASHRING_REPLICAS_MAX = 16,
    DLHT_HASHRING_PROBES_MAX = 64
};

enum dlht_hashring_hash {
    DLHT_HASHRING_XXH3 = 0,
    DLHT_HASHRING_MD5 = 1, /* to agree with others; not for security */
    DLHT_HASHRING_OWN = 2
};

/* Must spread over 64 bits, and be ready for calls by all threads that ask. */
typedef uint64_t (*dlht_hashring_hash_fn)(void *context, const void *data,
                                          size_t len);

/* Zeros and NULL are defaults. */
struct dlht_hashring_config {
    enum dlht_hashring_hash hash; /* xxh3_64 */
    dlht_hashring_hash_fn own;    /* for DLHT_HASHRING_OWN */
    void *context;                /* of own */
    uint32_t vnodes;              /* tokens per unit of weight; 128 (chosen: 8),
                                    * up to 65,536 */
    uint32_t probes;              /* 1; 21 with 1 vnode is even without many
                                    * tokens, but 21 times the lookup */
    bool chosen;                  /* each token cuts the fullest of 8 sampled
                                    * arcs: 8 are as even as 256 others */
    uint64_t seed;                /* of the sampling */
    uint64_t hash_seed;           /* of xxh3 only: another ring of the same
                                   * names */
};

/* A ring without nodes, the caller's to free. config may be NULL.
 * DLHT_EINVAL, DLHT_ENOMEM */
DLHT_API int dlht_hashring_new(const struct dlht_hashring_config *config,
                               struct dlht_hashring **out);

/* NULL is allowed. When no thread uses it; views live on. */
DLHT_API void dlht_hashring_free(struct dlht_hashring *ring);

/* Adds a node of weight 0.1 to 100, or 0: it is there and holds nothing. Of zones (racks, halls) each has one copy
 * before one has two; no zone (len 0) is a zone like any other.
 *   DLHT_EINVAL   id, zone or weight
 *   DLHT_EEXISTS  a node of that id is there
 *   DLHT_EFULL    65,536 nodes, or 16,777,216 tokens
 *   DLHT_ENOMEM   and here as below the ring is as it was */
DLHT_API int dlht_hashring_add(struct dlht_hashring *ring, const void *id,
                               size_t id_len, double weight, const void *zone,
                               size_t zone_len);

/* DLHT_EINVAL, DLHT_ENOTFOUND, DLHT_ENOMEM */
DLHT_API int dlht_hashring_remove(struct dlht_hashring *ring, const void *id,
                                  size_t id_len);

/* DLHT_EINVAL, DLHT_ENOTFOUND, DLHT_EFULL, DLHT_ENOMEM */
DLHT_API int dlht_hashring_reweight(struct dlht_hashring *ring, const void *id,
                                    size_t id_len, double weight);

/* Nodes for dlht_hashring_add_all. */
struct dlht_hashring_add_node {
    struct dlht_bytes id;
    struct dlht_bytes zone;
    double weight;
};

/* All of them in one step, or none: sooner than one after another. As
 * dlht_hashring_add; *bad, if not NULL, is the index of the refused one. */
DLHT_API int dlht_hashring_add_all(struct dlht_hashring *ring,
                                   const struct dlht_hashring_add_node *nodes,
                                   size_t count, size_t *bad);

/* --- views */

/* The ring as it is now; never NULL, and no memory is needed. */
DLHT_API struct dlht_hashring_view *
dlht_hashring_view(struct dlht_hashring *ring);

/* NULL is allowed. */
DLHT_API void dlht_hashring_view_free(struct dlht_hashring_view *view);

DLHT_API size_t dlht_hashring_node_count(const struct dlht_hashring_view *view);

struct dlht_hashring_node {
    struct dlht_bytes id; /* live as long as the view */
    struct dlht_bytes zone;
    double weight;
    size_t token_count;
    double share; /* of the ring that its tokens own; with probes that is not
                   * what it gets */
};

/* False if there is no such index. Nodes are in the order of their ids. */
DLHT_API bool dlht_hashring_node(const struct dlht_hashring_view *view,
                                 size_t index, struct dlht_hashring_node *node);

/* The node that holds a key: its index, or SIZE_MAX if there are no nodes
 * of weight. No
 * allocation; one line of the cache as a rule, about log2(tokens) steps at the
 * worst, and so many times over as there are probes. */
DLHT_API size_t dlht_hashring_find(const struct dlht_hashring_view *view,
                                   const void *key, size_t key_len);

/* The same for many keys: sooner where tokens are many, as what sixteen keys
 * wait for is fetched at once. Returns count, or 0 if there are no nodes of weight. */
DLHT_API size_t dlht_hashring_find_all(const struct dlht_hashring_view *view,
                                       const struct dlht_bytes *keys,
                                       size_t count, uint32_t *nodes);

/* The nodes for up to count copies (16 at most), the holder first, distinct;
 * of distinct zones while there are some. Returns how many: fewer if there are
 * not that many nodes of weight. */
DLHT_API size_t dlht_hashring_replicas(const struct dlht_hashring_view *view,
                                       const void *key, size_t key_len,
                                       size_t count, uint32_t *nodes);

/* Where a key is on the ring, and who holds a position: for plans. */
DLHT_API uint64_t dlht_hashring_position(const struct dlht_hashring_view *view,
                                         const void *key, size_t key_len);
DLHT_API size_t dlht_hashring_replicas_at(const struct dlht_hashring_view *view,
                                          uint64_t position, size_t count,
                                          uint32_t *nodes);

/* The view as a JSON object (docs/hashring.md), with all its tokens if asked;
 * a string of *len bytes and a zero, freed with free. DLHT_ENOMEM: *out is
 * NULL. */
DLHT_API int dlht_hashring_json(const struct dlht_hashring_view *view,
                                bool tokens, char **out, size_t *len);

/* Equal of views that are equal in configuration, nodes and tokens, and by
 * chance of 64 bits of no others: for two processes to compare. Linear in the
 * tokens. A function of the caller's counts as the same as any other. */
DLHT_API uint64_t
dlht_hashring_fingerprint(const struct dlht_hashring_view *view);

/* Where a text is wrong, and how. */
struct dlht_hashring_fault {
    size_t at;        /* byte; the length of the text: its end */
    const char *what; /* a static sentence; NULL: nothing is wrong with it */
};

/* The ring of a text of dlht_hashring_json, the caller's to free: it holds and
 * will hold what that one did. Chosen tokens must be in the text, derived ones
 * need not. Of config, for the text of a ring with a function of its own, that
 * function is taken and nothing else; NULL is allowed if there is none. Trusts
 * nothing: tokens, shares and the fingerprint must be as the nodes say. fault
 * may be NULL.
 *   DLHT_ECORRUPT  not such a text, or damaged; *fault says where
 *   DLHT_EINVAL    it needs a function
 *   DLHT_ENOMEM    here too *out is NULL */
DLHT_API int dlht_hashring_read(const char *json, size_t len,
                                const struct dlht_hashring_config *config,
                                struct dlht_hashring **out,
                                struct dlht_hashring_fault *fault);

/* --- plans */

struct dlht_hashring_plan;

/* Positions (from, to], over zero if from >= to, all if from == to: copies on
 * old_nodes belong on new_nodes. Indices of the plan's nodes, the holder first;
 * live as long as the plan. */
struct dlht_hashring_move {
    uint64_t from;
    uint64_t to;
    const uint32_t *old_nodes;
    const uint32_t *new_nodes;
    uint32_t old_count;
    uint32_t new_count;
};

/* Shares are of all copies. */
struct dlht_hashring_plan_node {
    struct dlht_bytes id;
    bool was; /* in the first view */
    bool is;  /* in the second */
    double old_share;
    double new_share;
    double gained;
    double lost;
    double fair_share;   /* by weight, in the second */
    size_t gained_count; /* moves */
    size_t lost_count;
};

struct dlht_hashring_plan_total {
    size_t move_count;
    size_t node_count;   /* of either view */
    double moved;        /* share of all copies that come to another node */
    double ideal;        /* the same from fair share to fair share */
    double holder_moved; /* share of keys whose first node is another */
    bool sampled; /* with probes: figures from 131,072 places, and no moves */
};

/* What moves from one view to another, of rings that are configured alike.
 * Linear in their tokens. *out is the caller's; the views may be freed.
 * DLHT_EINVAL (copies: 1 to 16), DLHT_ENOMEM */
DLHT_API int dlht_hashring_plan(struct dlht_hashring_view *from,
                                struct dlht_hashring_view *to, size_t copies,
                                struct dlht_hashring_plan **out);

/* NULL is allowed. */
DLHT_API void dlht_hashring_plan_free(struct dlht_hashring_plan *plan);

DLHT_API struct dlht_hashring_plan_total
dlht_hashring_plan_total(const struct dlht_hashring_plan *plan);

/* False if there is no such index. Moves are in the order of the ring, nodes
 * of their ids. */
DLHT_API bool dlht_hashring_plan_move(const struct dlht_hashring_plan *plan,
                                      size_t index,
                                      struct dlht_hashring_move *move);
DLHT_API bool dlht_hashring_plan_node(const struct dlht_hashring_plan *plan,
                                      size_t index,
                                      struct dlht_hashring_plan_node *node);

#ifdef __cplusplus
}
#endif

#endif
