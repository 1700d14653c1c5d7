/* SPDX-License-Identifier: Apache-2.0 */

/* placement/hashring_state.h - what a ring is made of; for hashring*.c only. */

#ifndef PLACEMENT_HASHRING_STATE_H
#define PLACEMENT_HASHRING_STATE_H

#include "placement/hashring.h"

struct member {
    struct span id; /* into bytes of the ring */
    struct span zone;
    double weight;
    uint32_t zone_index;
    uint32_t token_count;
    double share;
};

struct token {
    uint64_t position;
    uint32_t owner;
    uint32_t ordinal; /* which of its owner's, from 0 */
};

/* Slots of a line, the last one never a token's; 64 bytes with their nodes. */
enum {
    LINE_SLOTS = 16
};

/* All that a lookup reads, in one line of the cache: the tokens of one equal
 * part of the ring, by the 16 bits behind those that number the part, and
 * whose each is. Free slots have the highest bits, and the owner of the next
 * token after the part. A line that is too full has only zeros. */
struct line {
    uint16_t low[LINE_SLOTS];
    uint16_t node[LINE_SLOTS];
};

struct hashring {
    atomic_size_t holds;
    struct hashring_config config;
    uint64_t hash_seed;     /* of the configuration, mixed; 0: none */
    struct member *members; /* owned, by id */
    size_t member_count;
    size_t taker_count; /* of those with tokens, as zones are counted */
    size_t zone_count;
    uint8_t *bytes;      /* owned: ids and zones */
    uint64_t *positions; /* owned, ascending; at one place by id */
    uint32_t *owners;    /* owned: whose each is */
    uint32_t *ordinals;  /* owned: which of its owner's, from 0 */
    size_t token_count;
    /* 1 << (64 - shift) parts. Entry b of firsts is the first token not before
     * b << shift, up to and with the number of parts. */
    unsigned shift;
    uint32_t *firsts;   /* owned */
    struct line *lines; /* in line_memory, at an address of whole lines */
    void *line_memory;  /* owned */
};

/* The finisher of splitmix64. */
static inline uint64_t hashring_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The ring's hash of keys and tokens. */
uint64_t hashring_hash(const struct hashring *ring, struct span bytes);

/* The ring being made from members that are set, with room for what they say
 * in the three arrays: brings over the tokens of old and adds the rest, then
 * zones, shares and lines. index_of[i] is the new index of old's member i,
 * or UINT32_MAX. DLHT_ENOMEM */
MUST_USE int hashring_build(struct hashring *ring, const struct hashring *old,
                            const uint32_t *index_of);

/* The same of count tokens that a stranger gave: refused, with the index of the
 * first that is wrong, unless each member has as many as it says, once each,
 * and all are in order. DLHT_ECORRUPT, DLHT_ENOMEM */
MUST_USE int hashring_build_given(struct hashring *ring,
                                  const struct token *tokens, size_t count,
                                  size_t *bad);

/* As hashring_apply to a ring without nodes, but the tokens are given and not
 * made; *bad_token is the index of the one that is refused, or count.
 *   DLHT_ECORRUPT  bad tokens */
MUST_USE int hashring_restore(const struct hashring_config *config,
                              const struct hashring_change *changes,
                              size_t count, const struct token *tokens,
                              size_t token_count, struct hashring **out,
                              size_t *bad, size_t *bad_token);

/* The first token not before position, or the first of all. There are some. */
size_t hashring_token_at(const struct hashring *ring, uint64_t position);

#endif
