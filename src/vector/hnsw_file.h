/* SPDX-License-Identifier: Apache-2.0 */

/* vector/hnsw_file.h - a snapshot's bytes, as hnsw_save.c writes and hnsw_open.c
 * reads them; docs/vector.md has the table.
 *
 *     head      FILE_HEAD bytes: what it is, parameters, counts; its hash last
 *     offset    of the codes, dim floats
 *     arrays    as in memory (hnsw_state.h), rows and blocks without holes
 *     checks    a hash of each FILE_BLOCK bytes between head and here, seeded
 *               with its number, then a hash of these
 *
 * Each part begins at a multiple of 64 and is filled up with zeros. Where parts
 * begin follows from the head, so nothing can contradict it. Numbers are
 * little-endian, as the arrays are. */

#ifndef VECTOR_HNSW_FILE_H
#define VECTOR_HNSW_FILE_H

#include "base/hash.h"
#include "vector/hnsw_state.h"

enum {
    FILE_VERSION = 1,
    FILE_HEAD = 256,
    FILE_BLOCK = 1 << 20,
    FILE_PARTS = ARRAYS + 1 /* the arrays, after the offset of codes */
};

#define FILE_MAGIC "DLHTVEC\n"

/* Where things stand in the head. */
enum {
    HEAD_MAGIC = 0,
    HEAD_VERSION = 8,
    HEAD_DIM = 12,
    HEAD_METRIC = 16,
    HEAD_CODES = 20,
    HEAD_DROPPED = 24,
    HEAD_M = 28,
    HEAD_M0 = 32,
    HEAD_EF_CONSTRUCTION = 36,
    HEAD_EF_SEARCH = 40,
    HEAD_ALPHA = 44,
    HEAD_SCALE = 48,
    HEAD_SEED = 56,
    HEAD_ROWS = 64,
    HEAD_BLOCKS = 72,
    HEAD_ENTRY = 80,
    HEAD_NEXT_TRAINING = 88,
    HEAD_BYTES = 96, /* of the whole file */
    HEAD_END = 104,  /* zeros from here to the hash */
    HEAD_HASH = FILE_HEAD - 8
};

static inline void file_put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline void file_put64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline uint32_t file_get32(const uint8_t *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)at[i] << 8 * i;
    return value;
}

static inline uint64_t file_get64(const uint8_t *at)
{
    return (uint64_t)file_get32(at) | (uint64_t)file_get32(at + 4) << 32;
}

/* Parts of a graph of so many rows and blocks. */
struct file_layout {
    uint64_t begin[FILE_PARTS];
    uint64_t bytes[FILE_PARTS];
    uint64_t checks; /* where they begin */
    uint64_t blocks; /* how many there are */
    uint64_t end;
};

static inline struct file_layout file_layout(const struct hnsw *h,
                                             uint64_t rows, uint64_t blocks)
{
    struct file_layout l = { .end = FILE_HEAD };
    for (size_t i = 0; i < FILE_PARTS; i++) {
        l.begin[i] = l.end;
        if (i == 0)
            l.bytes[i] = (uint64_t)h->config.dim * sizeof(float);
        else
            l.bytes[i] =
                h->item_bytes[i - 1] * (i - 1 == ARRAY_UPPER ? blocks : rows);
        l.end = (l.begin[i] + l.bytes[i] + QUANT_LINE - 1) / QUANT_LINE *
                QUANT_LINE;
    }
    l.checks = l.end;
    l.blocks = (l.checks - FILE_HEAD + FILE_BLOCK - 1) / FILE_BLOCK;
    l.end += (l.blocks + 1) * sizeof(uint64_t);
    return l;
}

static inline bool file_is_little_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

#endif
