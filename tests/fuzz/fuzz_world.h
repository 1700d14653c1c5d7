/* SPDX-License-Identifier: Apache-2.0 */

/* fuzz/fuzz_world.h - a small simulated cluster that strangers talk to.
 *
 * The world of sim/, founded and ready, the same for the same seed. What its
 * peers say to each other is kept, so that a stranger can say it again,
 * changed. Whatever fails in it (an assertion of a node, a message that does
 * not travel, a request that is never answered) ends the process. */

#ifndef TESTS_FUZZ_WORLD_H
#define TESTS_FUZZ_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "fuzz/fuzz_in.h"
#include "sim/world.h"

enum {
    FUZZ_PEERS_MAX = 3,
    FUZZ_HEARD_MAX = 256, /* frames kept, the newest */
    FUZZ_FRAME_MAX = 16 << 10
};

struct fuzz_heard {
    uint8_t *frame; /* owned */
    size_t len;
    size_t from, to;
};

struct fuzz_world {
    struct world *world;
    size_t peer_count;
    struct fuzz_heard heard[FUZZ_HEARD_MAX];
    size_t heard_count; /* ever */
    size_t unanswered;  /* requests of fuzz_world_ask */
    struct buf scratch;
    struct codec_arena *arena; /* owned */
};

/* A world of so many peers, none of them started. */
void fuzz_world_new(struct fuzz_world *fw, size_t peers, bool durable,
                    uint64_t seed);

/* The same, founded, all ready to serve. */
void fuzz_world_init(struct fuzz_world *fw, size_t peers, bool durable,
                     uint64_t seed);

/* Checks every node that is still up. */
void fuzz_world_deinit(struct fuzz_world *fw);

void fuzz_world_run_ms(struct fuzz_world *fw, uint64_t ms);

/* Puts so many times, to two dozen keys. */
void fuzz_world_fill(struct fuzz_world *fw, int count);

/* Asks a peer; the answer is checked when it comes. A peer that is down is not
 * asked. */
void fuzz_world_ask(struct fuzz_world *fw, size_t peer,
                    const struct request *request);

/* Until all is answered, at most as long as a request may take. */
void fuzz_world_settle(struct fuzz_world *fw);

/* A whole frame from somebody: a peer of that index, or from peer_count on
 * strangers. Dropped as a link would if it is none, or a HELLO. */
void fuzz_world_say(struct fuzz_world *fw, size_t from, size_t to,
                    struct span frame);

/* A frame around a body. */
void fuzz_frame(uint8_t type, struct span body, struct buf *out);

struct disk fuzz_world_disk(struct fuzz_world *fw, size_t peer);

#endif
