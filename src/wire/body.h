/* SPDX-License-Identifier: Apache-2.0 */

/* wire/body.h - the body of each type of message; inside the room only.
 *
 * A body is one MessagePack array, see wire/fields.h. body_pack_* append it
 * and say DLHT_ETOOBIG if the message passes a limit; lack of memory shows in
 * buf.failed. body_unpack_* fill the message and leave the reader bad if
 * anything is wrong, arena.failed if memory was lacking. */

#ifndef WIRE_BODY_H
#define WIRE_BODY_H

#include "base/must_use.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    BODY_STATUS_MIN = -4096, /* codes we do not know yet are let through */
    BODY_TIMEOUT_MS_MAX = 60000,
    BODY_WEIGHT_MILLI_MAX = 100000,
    /* The least bytes of one packed. */
    BODY_ARC_MEMBER_MIN = 1 + 1 + 2 + ID_BYTES,
    BODY_ARC_MIN = 1 + 5 + 1 + BODY_ARC_MEMBER_MIN,
    BODY_PEER_MIN = 1 + 2 + ID_BYTES + 6
};

/* count uninitialised things of size bytes from the arena, for an array of
 * which each element has at least packed_min bytes: the reader is bad, and NULL
 * returned, if the bytes left could not hold them. NULL also if count is 0. */
void *body_array(struct codec_arena *arena, struct mp_reader *r, size_t count,
                 size_t size, size_t packed_min);

MUST_USE int body_pack_request(const struct request *q, struct buf *b);
void body_unpack_request(struct mp_reader *r, struct request *q);
MUST_USE int body_pack_response(const struct response *s, struct buf *b);
void body_unpack_response(struct mp_reader *r, struct codec_arena *arena,
                          struct response *s);

MUST_USE int body_pack_raft(const struct message *m, struct buf *b);
void body_unpack_raft(struct mp_reader *r, struct codec_arena *arena,
                      struct message *m);
MUST_USE int body_pack_chunk(const struct snapshot_chunk *c, struct buf *b);
void body_unpack_chunk(struct mp_reader *r, struct snapshot_chunk *c);
MUST_USE int body_pack_ack(const struct snapshot_ack *a, struct buf *b);
void body_unpack_ack(struct mp_reader *r, struct snapshot_ack *a);

/* HELLO, SWIM, GOSSIP, DIGEST, JOIN, WELCOME, REPORT, STEP, GONE, RING. */
MUST_USE int body_pack_control(const struct message *m, struct buf *b);
void body_unpack_control(struct mp_reader *r, struct codec_arena *arena,
                         struct message *m);

/* Parts. */
void body_pack_arcs(struct buf *b, const struct arc *arcs, size_t count);
const struct arc *body_unpack_arcs(struct mp_reader *r,
                                   struct codec_arena *arena, size_t max,
                                   size_t *count);
void body_pack_peer(struct buf *b, const struct peer *peer);
void body_unpack_peer(struct mp_reader *r, struct peer *peer);

/* Bytes that can stand as an address: visible ASCII, shorter than
 * PEER_ADDR_MAX; may be empty. */
bool body_is_addr(struct span text);

/* Number of elements of the array that stands next; bad if above max. */
size_t body_count(struct mp_reader *r, size_t max);

#endif
