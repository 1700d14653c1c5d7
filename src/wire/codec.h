/* SPDX-License-Identifier: Apache-2.0 */

/* wire/codec.h - frames: messages to bytes and back, checked and bounded.
 *
 * A frame is a 16-byte header and a MessagePack body. docs/protocol.md has the
 * layout. Unpacking trusts nothing: sizes, counts, ids, enums and the order of
 * raft entries are checked against the limits of wire/message.h before they
 * are used, and nothing is allocated in proportion to a number that was only
 * claimed: a count is compared with the bytes left, and one message takes at
 * most CODEC_ARENA_MAX of memory. */

#ifndef WIRE_CODEC_H
#define WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "wire/message.h"

enum {
    FRAME_HEADER_BYTES = 16,
    FRAME_MAGIC = 0xd1, /* first byte; no MessagePack-RPC message begins so */
    FRAME_LAYOUT = 1,   /* second byte; of header and checksum, not of what
                          * the bodies mean: that is WIRE_VERSION in HELLO */
    CODEC_KEY_MAX = KEY_LEN_MAX + 8, /* peers speak of the keys of hashed
                                      * keyspaces with their hash before */
    CODEC_TEXT_MAX = 1024,           /* of a refusal; cut when packed */
    CODEC_ENTRIES_MAX = 65536,       /* raft entries in one frame */
    CODEC_FIRST_ARCS_MAX = 4096,     /* in one keyspace record, one frame */
    CODEC_ARENA_MAX = 32 << 20,      /* for the arrays of one message */
    CODEC_ARENA_KEEP = 1 << 20       /* kept from one message to the next */
};

/* Appends the whole frame. DLHT_ENOMEM, DLHT_ETOOBIG: out is as before. */
MUST_USE int codec_pack(const struct message *message, struct buf *out);

/* Looks at the front of input. 1: a whole frame of *len bytes is there; 0: more
 * is needed (*len what is known to be needed, 0: at least a header);
 * otherwise DLHT_EPROTO, DLHT_EVERSION, DLHT_ETOOBIG. */
int codec_frame(struct span input, size_t *len);

/* Room for the arrays of unpacked messages, reused from one to the next. All
 * zeros is a valid empty one. What was handed out stays where it is while the
 * arena grows. */
struct codec_arena {
    void *blocks;
    size_t used;
    size_t cap;
    size_t total; /* handed out since the last reset */
    bool failed;  /* no memory, or past CODEC_ARENA_MAX */
};

/* Everything handed out becomes invalid; some memory is kept. Needed only by
 * who unpacks parts: codec_unpack begins with it. */
void codec_arena_reset(struct codec_arena *arena);

void codec_arena_deinit(struct codec_arena *arena);

/* Unpacks a whole frame (header included). Spans point into frame, arrays into
 * the arena: both valid until the next unpack with that arena. Bodies of
 * REQUEST and RESPONSE need no memory, a NOT_OWNER answer's arc excepted.
 *   DLHT_EPROTO, DLHT_ENOMEM */
MUST_USE int codec_unpack(struct span frame, struct codec_arena *arena,
                          struct message *out);

/* The parts of bodies that the node also keeps in logs, records and
 * checkpoints. Unpacked spans point into the reader's input; failures mark the
 * reader bad. An arc has at least one member. */
struct mp_reader;
void codec_pack_arc(struct buf *b, const struct arc *arc);
void codec_unpack_arc(struct mp_reader *r, struct arc *arc);
void codec_pack_members(struct buf *b, const struct raft_members *members);
void codec_unpack_members(struct mp_reader *r, struct raft_members *members);
/* first_arcs of an unpacked record lie in the arena. */
void codec_pack_keyspace(struct buf *b, const struct keyspace_record *record);
void codec_unpack_keyspace(struct mp_reader *r, struct codec_arena *arena,
                           struct keyspace_record *record);

#endif
