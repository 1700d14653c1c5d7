/* SPDX-License-Identifier: Apache-2.0 */

/* wire/forge.h - frames that no peer of ours would send, with a checksum that
 * is right. */

#ifndef WIRE_FORGE_H
#define WIRE_FORGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/codec.h"

/* Appends bytes given as hexadecimal; blanks are skipped. */
void forge_hex(struct buf *b, const char *hex);

/* Rewrites length and checksum after the body was changed. */
void forge_seal(struct buf *frame);

/* What codec_unpack says to the frame, sealed. */
int forge_unpack(struct buf *frame);

/* codec_unpack of the bytes alone on the heap, so that a read past them is
 * seen by ASan. What out points to is gone. */
int forge_unpack_alone(const uint8_t *data, size_t len,
                       struct codec_arena *arena, struct message *out);

#endif
