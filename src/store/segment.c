/* SPDX-License-Identifier: Apache-2.0 */

/* The bytes of one segment: names, header, records. */

#include "store/segment.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "store/le.h"

/* Places in the header. */
enum {
    H_MAGIC = 0,
    H_VERSION = 8,
    H_NUMBER = 16,
    H_SEED = 24,
    H_BYTES = 32,
    H_OLDEST = 40,
    H_PREVIOUS = 48,
    H_PREVIOUS_END = 56,
    H_SEALED_END = 64,
    H_CHECKSUM = SEGMENT_HEADER_BYTES - 8
};

/* Places in a record's head. */
enum {
    R_CHECKSUM = 0,
    R_LENGTH = 8,
    R_TYPE = 12,
    R_CHECK = 13, /* three bytes */
    R_ARC = 16,
    R_TERM = 24,
    R_INDEX = 32
};

static const char magic[] = "DLHTJRNL";
static const char prefix[] = "journal-";
static const char suffix[] = ".tmp";

enum {
    DIGITS = 16
};

_Static_assert(sizeof prefix + DIGITS + sizeof suffix <= DISK_NAME_MAX,
               "a segment's name fits");
_Static_assert(SEGMENT_HEADER_BYTES % SEGMENT_ALIGN == 0 &&
                   SEGMENT_HEAD_BYTES % SEGMENT_ALIGN == 0,
               "records stay aligned");

void segment_name(char name[DISK_NAME_MAX], uint64_t number, bool aside)
{
    snprintf(name, DISK_NAME_MAX, "%s%016llx%s", prefix,
             (unsigned long long)number, aside ? suffix : "");
}

bool segment_name_parse(const char *name, uint64_t *number, bool *aside)
{
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *digits = name + sizeof prefix - 1;
    uint64_t value = 0;
    for (int i = 0; i < DIGITS; i++) {
        static const char hex[] = "0123456789abcdef";
        const char *at = digits[i] ? strchr(hex, digits[i]) : NULL;
        if (!at)
            return false;
        value = value << 4 | (uint64_t)(at - hex);
    }
    const char *rest = digits + DIGITS;
    /* So that the next number always exists. */
    if (value == 0 || value > INT64_MAX)
        return false;
    if (*rest && strcmp(rest, suffix) != 0)
        return false;
    *number = value;
    *aside = *rest != '\0';
    return true;
}

void segment_pack_header(const struct segment_header *header,
                         uint8_t out[SEGMENT_HEADER_BYTES])
{
    memset(out, 0, SEGMENT_HEADER_BYTES);
    memcpy(out + H_MAGIC, magic, 8);
    le_put32(out + H_VERSION, SEGMENT_VERSION);
    le_put64(out + H_NUMBER, header->number);
    le_put64(out + H_SEED, header->seed);
    le_put64(out + H_BYTES, header->bytes);
    le_put64(out + H_OLDEST, header->oldest);
    le_put64(out + H_PREVIOUS, header->previous);
    le_put64(out + H_PREVIOUS_END, header->previous_end);
    le_put64(out + H_SEALED_END, header->sealed_end);
    le_put64(out + H_CHECKSUM, hash64(span_of(out, H_CHECKSUM)));
}

int segment_unpack_header(const uint8_t in[SEGMENT_HEADER_BYTES],
                          uint64_t number, struct segment_header *header)
{
    if (memcmp(in + H_MAGIC, magic, 8) != 0 ||
        le_get64(in + H_CHECKSUM) != hash64(span_of(in, H_CHECKSUM)))
        return DLHT_ECORRUPT;
    if (le_get32(in + H_VERSION) != SEGMENT_VERSION)
        return DLHT_EVERSION;
    header->number = le_get64(in + H_NUMBER);
    header->seed = le_get64(in + H_SEED);
    header->bytes = le_get64(in + H_BYTES);
    header->oldest = le_get64(in + H_OLDEST);
    header->previous = le_get64(in + H_PREVIOUS);
    header->previous_end = le_get64(in + H_PREVIOUS_END);
    header->sealed_end = le_get64(in + H_SEALED_END);
    return header->number == number ? DLHT_OK : DLHT_ECORRUPT;
}

size_t segment_record_bytes(size_t payload_len)
{
    assert(payload_len <= JOURNAL_PAYLOAD_MAX);
    size_t bytes = SEGMENT_HEAD_BYTES + payload_len;
    return (bytes + SEGMENT_ALIGN - 1) / SEGMENT_ALIGN * SEGMENT_ALIGN;
}

void segment_put(uint8_t *at, const struct journal_record *record)
{
    size_t len = record->payload.len;
    size_t bytes = segment_record_bytes(len);
    /* First the last eight bytes, of which some are padding. */
    memset(at + bytes - SEGMENT_ALIGN, 0, SEGMENT_ALIGN);
    le_put64(at + R_CHECKSUM, 0);
    le_put32(at + R_LENGTH, (uint32_t)len);
    le_put32(at + R_TYPE, record->type);
    le_put64(at + R_ARC, record->arc);
    le_put64(at + R_TERM, record->term);
    le_put64(at + R_INDEX, record->index);
    if (len)
        memcpy(at + SEGMENT_HEAD_BYTES, record->payload.data, len);
}

size_t segment_bytes_put(const uint8_t *at)
{
    return segment_record_bytes(le_get32(at + R_LENGTH));
}

struct journal_record segment_record_put(const uint8_t *at)
{
    return (struct journal_record){
        .type = at[R_TYPE],
        .arc = le_get64(at + R_ARC),
        .term = le_get64(at + R_TERM),
        .index = le_get64(at + R_INDEX),
        .payload = span_of(at + SEGMENT_HEAD_BYTES, le_get32(at + R_LENGTH)),
    };
}

/* The three bytes that tell a head without reading its payload: else a search
 * for the next record would hash whatever length the bytes claim. */
static uint32_t head_check(const uint8_t *at, uint64_t seed)
{
    uint8_t head[SEGMENT_HEAD_BYTES - R_LENGTH];
    memcpy(head, at + R_LENGTH, sizeof head);
    memset(head + R_CHECK - R_LENGTH, 0, 3);
    return (uint32_t)hash64_seeded(span_of(head, sizeof head), seed) & 0xffffff;
}

static uint64_t checksum(const uint8_t *at, size_t bytes, uint64_t seed)
{
    uint64_t sum =
        hash64_seeded(span_of(at + R_LENGTH, bytes - R_LENGTH), seed);
    return sum ? sum : 1; /* zero is what was never written */
}

void segment_seal(uint8_t *at, uint64_t seed, uint64_t offset)
{
    uint64_t own = hash64_mix(seed, offset);
    uint32_t check = head_check(at, own);
    for (int i = 0; i < 3; i++)
        at[R_CHECK + i] = (uint8_t)(check >> 8 * i);
    le_put64(at + R_CHECKSUM, checksum(at, segment_bytes_put(at), own));
}

bool segment_head_is_intact(const uint8_t *at, uint64_t seed, uint64_t offset)
{
    uint32_t check = (uint32_t)at[R_CHECK] | (uint32_t)at[R_CHECK + 1] << 8 |
                     (uint32_t)at[R_CHECK + 2] << 16;
    return le_get64(at + R_CHECKSUM) != 0 &&
           le_get32(at + R_LENGTH) <= JOURNAL_PAYLOAD_MAX &&
           check == head_check(at, hash64_mix(seed, offset));
}

bool segment_is_intact(const uint8_t *at, uint64_t seed, uint64_t offset)
{
    return le_get64(at + R_CHECKSUM) ==
           checksum(at, segment_bytes_put(at), hash64_mix(seed, offset));
}
