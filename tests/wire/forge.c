/* SPDX-License-Identifier: Apache-2.0 */

/* Frames with wrong content and the right checksum. */

#include "wire/forge.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void forge_hex(struct buf *b, const char *hex)
{
    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        char two[3] = { hex[0], hex[1], 0 };
        if (two[1] == ' ') {
            two[1] = hex[2];
            hex++;
        }
        buf_append_byte(b, (uint8_t)strtoul(two, NULL, 16));
        hex++;
    }
}

void forge_seal(struct buf *frame)
{
    size_t body = frame->len - FRAME_HEADER_BYTES;
    uint8_t *p = frame->data;
    for (int i = 0; i < 4; i++)
        p[4 + i] = (uint8_t)(body >> (24 - 8 * i));
    uint64_t seed = hash64(span_of(p, 12));
    uint32_t sum = (uint32_t)hash64_seeded(span_of(p + 16, body), seed);
    for (int i = 0; i < 4; i++)
        p[12 + i] = (uint8_t)(sum >> (24 - 8 * i));
}

int forge_unpack_alone(const uint8_t *data, size_t len,
                       struct codec_arena *arena, struct message *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    int rc = codec_unpack(span_of(copy, len), arena, out);
    free(copy);
    return rc;
}

int forge_unpack(struct buf *frame)
{
    struct codec_arena arena = { 0 };
    struct message m;
    forge_seal(frame);
    int rc = forge_unpack_alone(frame->data, frame->len, &arena, &m);
    codec_arena_deinit(&arena);
    return rc;
}
