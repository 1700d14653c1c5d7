/* SPDX-License-Identifier: Apache-2.0 */

/* placement/hashring.h - a consistent-hash ring: which nodes hold a key.
 *
 * The ring is the 64-bit numbers; a node has tokens on it, as many as its
 * weight says. A token owns what lies after the token before it up to itself,
 * (previous, token]; the first token owns across zero too. Of tokens at one
 * place the node with the least id has it. So who holds a key depends on the
 * nodes and the configuration, not on their order of coming (chosen tokens are
 * an exception: they depend on what was there).
 *
 * A struct hashring never changes: any number of threads may ask it, hold it
 * and drop it. A change makes another one. A struct hashring_slot is where
 * readers find the newest: hashring_slot_take by any thread at any time, the
 * writers' calls by one thread at a time. Nothing here reads or waits, but
 * that taking and setting a slot spin while another thread is in the few
 * instructions of either. */

#ifndef PLACEMENT_HASHRING_H
#define PLACEMENT_HASHRING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"

enum {
    HASHRING_ID_MAX = 255,       /* bytes of an id, at least 1; of a zone */
    HASHRING_REPLICAS_MAX = 16,  /* found on the stack, compared by pairs */
    HASHRING_PROBES_MAX = 64,    /* 21 are within 5 % of even */
    HASHRING_VNODES_MAX = 65536, /* tokens of a node of weight 1 */
    HASHRING_NODES_MAX = 65536,
    HASHRING_TOKENS_MAX = 1 << 24 /* 540 MB */
};

/* Or 0: a node that is there and holds nothing. */
#define HASHRING_WEIGHT_MIN 0.1
#define HASHRING_WEIGHT_MAX 100.0

enum hashring_tokens {
    HASHRING_DERIVED = 1, /* hash of the id and a number: nothing to keep */
    HASHRING_CHOSEN = 2   /* cut from the fullest node of 8 sampled arcs */
};

/* Any function of the bytes that spreads well over 64 bits; called by the
 * threads that ask. */
typedef uint64_t (*hashring_hash_fn)(void *context, const void *data,
                                     size_t len);

uint64_t hashring_xxh3(void *context, const void *data, size_t len);
uint64_t hashring_md5(void *context, const void *data, size_t len);

struct hashring_config {
    hashring_hash_fn hash;
    void *context;
    uint32_t vnodes; /* tokens per unit of weight */
    uint32_t probes; /* 1: none beside the key's own place */
    enum hashring_tokens tokens;
    uint64_t seed;      /* of chosen tokens */
    uint64_t hash_seed; /* of xxh3, for another ring of the same names; 0 */
};

/* xxh3, 128, 1, derived, 0, 0. */
struct hashring_config hashring_config_default(void);

struct hashring;

/* A ring without nodes, held once. DLHT_EINVAL (a bound is passed),
 * DLHT_ENOMEM. */
MUST_USE int hashring_new(const struct hashring_config *config,
                          struct hashring **out);

/* Holds it once more; returns it. */
struct hashring *hashring_hold(struct hashring *ring);

/* Gives up a hold; the last one frees it. NULL is allowed. */
void hashring_drop(struct hashring *ring);

enum hashring_verb {
    HASHRING_ADD = 1,
    HASHRING_REMOVE = 2,  /* weight and zone are not looked at */
    HASHRING_REWEIGHT = 3 /* nor is the zone */
};

struct hashring_change {
    enum hashring_verb verb;
    struct span id; /* borrowed, as is zone */
    double weight;
    struct span zone; /* nodes without one are in one zone, named "" */
};

/* The ring with all the changes done in their order, held once; the old one is
 * as it was. Nodes that are not named keep their tokens, and a node that is
 * reweighted keeps what it can. Linear in all tokens; of chosen tokens each
 * new one is. *out is NULL on failure, and *bad (if not NULL) is the index of
 * the change that was refused, or count.
 *   DLHT_EINVAL    an id of no bytes or too many, a weight out of range
 *   DLHT_EEXISTS   added, and was there
 *   DLHT_ENOTFOUND removed or reweighted, and was not there
 *   DLHT_EFULL     too many nodes or tokens
 *   DLHT_ENOMEM */
MUST_USE int hashring_apply(const struct hashring *old,
                            const struct hashring_change *changes, size_t count,
                            struct hashring **out, size_t *bad);

/* --- asking */

const struct hashring_config *hashring_config(const struct hashring *ring);
size_t hashring_node_count(const struct hashring *ring);
size_t hashring_zone_count(const struct hashring *ring);
size_t hashring_token_count(const struct hashring *ring);

struct hashring_node {
    struct span id; /* lives as long as the ring, as does zone */
    struct span zone;
    double weight;
    size_t token_count;
    double share; /* of the ring it owns; with probes of the tokens' arcs, which
                   * is not what it gets */
};

/* index < node_count; nodes are in the order of their ids. */
struct hashring_node hashring_node(const struct hashring *ring, size_t index);

/* The index of a node, SIZE_MAX if there is none of that id. */
size_t hashring_seek(const struct hashring *ring, struct span id);

/* Where token i < token_count is, ascending, and whose it is. */
uint64_t hashring_token(const struct hashring *ring, size_t i, size_t *node);

/* Where a key is on the ring. */
uint64_t hashring_position(const struct hashring *ring, struct span key);

/* The node that holds a position, or a key: an index, SIZE_MAX if there are
 * none with tokens. No allocation. Without probes it reads one line of the cache as a rule;
 * tokens that crowd cost log2(tokens) steps. */
size_t hashring_at(const struct hashring *ring, uint64_t position);
size_t hashring_find(const struct hashring *ring, struct span key);

/* The same for many keys: sooner where tokens are many, as the lines of sixteen
 * are fetched at once. Returns count, or 0 if there are no nodes. */
size_t hashring_find_all(const struct hashring *ring, const struct span *keys,
                         size_t count, uint32_t *nodes);

/* The nodes for count <= 16 copies, the holder first: clockwise, distinct, and
 * of distinct zones as long as there are zones left; then what was passed by,
 * clockwise. With probes clockwise of all of them at once, the nearest token
 * first. Returns how many: the lesser of count and the number of nodes
 * that have tokens. A rare
 * zone is searched for around the whole ring. */
size_t hashring_replicas_at(const struct hashring *ring, uint64_t position,
                            size_t count, uint32_t *nodes);
size_t hashring_replicas(const struct hashring *ring, struct span key,
                         size_t count, uint32_t *nodes);

/* Equal of rings that are equal: in configuration (but a function of the
 * caller's, which has no name), nodes and tokens. Linear in the tokens. Of
 * unequal rings it is different, by chance of 64 bits. */
uint64_t hashring_fingerprint(const struct hashring *ring);

/* Appends the ring as one JSON object to out: configuration, nodes, and with
 * tokens all of them as [position, index of the node, which of its tokens],
 * positions as strings of 16 hexadecimal digits, since JSON's numbers are not
 * that wide in all readers; then the fingerprint. Ids that are not printable
 * ASCII are {"hex": "..."}. Failure is noted in out. */
void hashring_json(const struct hashring *ring, bool tokens, struct buf *out);

/* Where a text is wrong, and how. */
struct hashring_fault {
    size_t at;        /* byte; the length of the text: its end */
    const char *what; /* static; NULL: nothing is wrong with the text */
};

/* The ring of a text that hashring_json wrote, held once; *out is NULL on
 * failure. Derived tokens are made again, and those in the text must be the
 * same; chosen ones are taken from it. hash and context are for a text of a
 * ring with a function of its own; else they are not looked at. Spaces and the
 * order of fields are free. Takes memory for what the text says is there, at
 * the most HASHRING_TOKENS_MAX tokens.
 *   DLHT_ECORRUPT  *fault says why
 *   DLHT_EINVAL    a function is needed, and hash is NULL
 *   DLHT_ENOMEM */
MUST_USE int hashring_read(struct span text, hashring_hash_fn hash,
                           void *context, struct hashring **out,
                           struct hashring_fault *fault);

/* Asserts order, sums and that lookups are right; for tests. */
void hashring_check(const struct hashring *ring);

/* --- where readers find the newest */

struct hashring_slot {
    atomic_flag busy;
    struct hashring *ring; /* held by the slot */
};

/* Takes over the caller's hold of ring. */
void hashring_slot_init(struct hashring_slot *slot, struct hashring *ring);

/* When no thread uses it any more. Snapshots that were taken live on. */
void hashring_slot_deinit(struct hashring_slot *slot);

/* The newest, held for the caller, who drops it. */
struct hashring *hashring_slot_take(struct hashring_slot *slot);

/* Puts ring there, taking over the caller's hold, and drops the old one. */
void hashring_slot_set(struct hashring_slot *slot, struct hashring *ring);

#endif
