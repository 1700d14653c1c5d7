/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/vectors.h - vectors as people write them, 1 2 3 or [1, 2, 3], and as
 * files hold them.
 *
 * fvecs: for each vector its dim as int32, then as many float32, both
 * little-endian. npy: NumPy's format, one array of two dimensions in C order
 * of float32 or float64, little-endian. jsonl: {"id": ..., "vector": [...],
 * "meta": {...}} a line. In the first two a vector's id is the number of its
 * row. What a file says of itself is checked before it is believed. */

#ifndef CLI_VECTORS_H
#define CLI_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dlht/vector.h"
#include "jsonl.h"
#include "words.h"

/* Numbers with blanks or commas between, in brackets or not. *values is the
 * caller's to free; NULL if false comes back, and *why says what is wrong. */
bool vectors_parse(struct dlht_bytes text, float **values, uint32_t *dim,
                   const char **why);

/* [1,2.5]; each number with the fewest digits that say which float it is. */
void vectors_print(const float *values, uint32_t dim);

enum vectors_format {
    VECTORS_FVECS,
    VECTORS_NPY,
    VECTORS_JSONL
};

/* By the end of the name; false: by that it is none. */
bool vectors_format_of(const char *name, enum vectors_format *format);

enum {
    VECTORS_WHY_MAX = 200,
    VECTORS_ID_MAX = 24
};

struct vectors_file {
    FILE *file; /* borrowed */
    enum vectors_format format;
    uint64_t row;  /* of the next vector, from 0; of jsonl, the line */
    uint64_t at;   /* bytes read, of fvecs and npy */
    uint64_t rows; /* of npy: how many it says it has */
    uint32_t dim;  /* of fvecs and npy: of all its rows; 0: not known yet */
    bool is_double;
    bool broken; /* nothing can be read behind the last error */
    uint64_t ids_from;
    uint8_t *bytes; /* owned: of a row */
    float *values;  /* owned: of a row */
    char id[VECTORS_ID_MAX];
    char *line; /* owned */
    size_t line_cap;
    struct jsonl_vector parsed; /* its values are owned */
    char why[VECTORS_WHY_MAX];  /* what is wrong, where */
};

/* Reads the head if the format has one; ids of rows begin at ids_from. False:
 * see why. vectors_close is always allowed afterwards. */
bool vectors_open(struct vectors_file *f, FILE *file,
                  enum vectors_format format, uint64_t ids_from);
void vectors_close(struct vectors_file *f);

enum vectors_next {
    VECTORS_ONE, /* it is borrowed until the next call */
    VECTORS_END,
    VECTORS_BAD /* see why; with broken nothing more comes */
};

enum vectors_next vectors_next(struct vectors_file *f, struct dlht_vector *out);

#endif
