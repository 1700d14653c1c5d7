/* SPDX-License-Identifier: Apache-2.0 */

/* node/handover.h - a volatile arc goes from its voter to another peer with
 * what it holds.
 *
 * The owner of the system arc says to whom, and in which generation that one
 * will have it (STEP_TRANSFER, keeper_volatile.c). The voter goes on serving
 * and sends its entries meanwhile, each key as it stands when it is packed; a
 * key that changes once it was sent is sent again. Keys, not values, wait: a
 * queue in which each is once. When little is left the voter answers nobody
 * any more, sends the rest and the end; the receiver, who built a cache beside
 * what it has, takes the arc in the new generation and says so, and the voter
 * drops its own. Whatever goes wrong before ends it on both sides: the voter
 * goes on as it was, and the owner of the system arc does what it did before
 * there was this: the arc goes to the other peer empty.
 *
 * On the wire these are chunks of a snapshot, addressed to the replica id that
 * the receiver will have. One that does not know this refuses them, as it has
 * no such replica. Chunk 0 is the header (HANDOVER_VERSION, the descriptor as
 * it will be, the generation as it is, the cache's seed: so a scan goes on
 * there; others draw one if it is left out); the others are one stream of items,
 * cut anywhere: four bytes of length, the lowest last, then MessagePack:
 *
 *     HANDOVER_ENTRY   key, value, version, what is left of its time in ms (0:
 *                      it has no end), cost in us, whether it is negative
 *     HANDOVER_ABSENT  key
 *     HANDOVER_FLUSH   all keys so far are absent
 *     HANDOVER_CLOCK   sequence, ms: what follows was packed so long after the
 *                      ack with that sequence had come; one is before the end
 *     HANDOVER_END     the last version given
 *
 * What an item has more than that is skipped. Since clocks differ, an end is
 * counted from the ack that CLOCK names: so it may come early by the time that
 * the ack took, and never late.
 *
 * Once the end is on its way the receiver may have the arc, and the voter
 * answers nobody for GIVE_UP_NS, whatever becomes of the receiver. That one
 * takes no end that was packed HANDOVER_LATE_MS before: so one that was stopped
 * with the end before it does not undo what the voter did meanwhile. */

#ifndef NODE_HANDOVER_H
#define NODE_HANDOVER_H

#include "node/node_state.h"
#include "store/cache.h"

enum {
    HANDOVER_VERSION = 65, /* no version of an arc's state */
    HANDOVER_CHUNK = 60 << 10,
    HANDOVER_WINDOW = 4,
    HANDOVER_ACTIVE_MAX = 4, /* sent by one peer at once; others wait */
    HANDOVER_TAKEN_MAX = 16, /* received by one at once */
    HANDOVER_LENGTH_BYTES = 4,
    HANDOVER_LATE_MS = 4000, /* less than GIVE_UP_NS, by more than clocks
                              * drift in that time */
    HANDOVER_ITEM_MAX = KEY_LEN_MAX + VALUE_LEN_MAX + 64
};

enum handover_item {
    HANDOVER_ENTRY = 1,
    HANDOVER_ABSENT,
    HANDOVER_FLUSH,
    HANDOVER_CLOCK,
    HANDOVER_END
};

/* The voter's side. A step that makes no sense is ignored. */
void handover_begin(struct node *node, struct replica *r,
                    const struct step *step);
void handover_tick(struct node *node, struct replica *r);
void handover_receive_ack(struct node *node, struct replica *r,
                          const struct id *from,
                          const struct snapshot_ack *ack);
void handover_free(struct handover *handover); /* NULL is allowed */
/* What one on its way to another takes beside its cache. */
uint64_t handover_sent_memory_bytes(const struct handover *handover);

/* Its end has begun: the arc is asked nothing more here. */
bool handover_is_frozen(const struct replica *r);
/* Nor, while too much waits to be sent, or the end cannot begin for all that
 * is written, may it be written to. */
bool handover_is_full(const struct handover *handover);

static inline bool handover_refuses_writes(const struct replica *r)
{
    return r->handover && handover_is_full(r->handover);
}

/* While the node stops: its volatile arcs are on their way to others, or may
 * yet be, and it is to wait. */
bool handover_stopping(struct node *node);

/* Before or after a key changes, or all keys went. */
void handover_note_key(struct replica *r, const struct cache_key *key);
void handover_note_flush(struct replica *r);

/* As every write does. */
static inline void handover_note(struct replica *r, const struct cache_key *key)
{
    if (r->handover)
        handover_note_key(r, key);
}

/* The receiver's side, handover_take.c. Chunks for replicas that are not here,
 * and for volatile ones. */
void handover_receive_chunk(struct node *node, const struct id *from,
                            const struct snapshot_chunk *chunk);
void handover_take_tick(struct node *node);
/* What is on its way of an arc, in that generation or one before, is not
 * wanted any more. */
void handover_forget(struct node *node, arc_id arc, uint64_t generation);
void handover_forget_all(struct node *node);
/* Arcs of the keyspace on their way here, and their bounds. */
size_t handover_count(const struct node *node, keyspace_id keyspace);
void handover_bound(struct node *node, keyspace_id keyspace, uint64_t bytes_max,
                    uint64_t count_max);
uint64_t handover_memory_bytes(const struct node *node);

#endif
