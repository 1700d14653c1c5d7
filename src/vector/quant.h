/* SPDX-License-Identifier: Apache-2.0 */

/* vector/quant.h - vectors as codes: the form that a walk reads.
 *
 * float16 is the vector itself, shorter. int8 is round((v - offset) x scale),
 * one scale for all dimensions, so that squared distances of codes are those of
 * vectors times scale squared, up to rounding; offset is the mean of what it
 * was trained on (0 for inner products, which a shift would change). Components
 * that lie too far out are cut to 127.
 *
 * Codes are padded with zeros to a multiple of 64 bytes; padding adds nothing
 * to any distance. Immutable once trained. */

#ifndef VECTOR_QUANT_H
#define VECTOR_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "vector/kernel.h"

enum {
    QUANT_LINE = 64 /* bytes of a line of the cache */
};

struct quant {
    enum kernel_type type;
    size_t dim;
    size_t stride; /* bytes of a code with its padding */
    float scale;
    bool centred;
    float offset[]; /* dim of them; zeros unless int8 */
};

/* Bytes of a code of dim elements with its padding. */
size_t quant_stride(enum kernel_type type, size_t dim);

/* As if trained on nothing; the caller frees it with free. NULL: no memory. */
struct quant *quant_new(enum kernel_type type, size_t dim, bool centred);

/* Sets offset and scale by count > 0 vectors of float32, stride bytes apart. */
void quant_train(struct quant *q, const void *vectors, size_t stride,
                 size_t count);

/* Whether vectors coded by one need to be coded anew for the other. */
bool quant_differs(const struct quant *a, const struct quant *b);

/* Writes q->stride bytes. */
void quant_encode(const struct quant *q, const float *vector, void *code);

/* What a code stands for: dim floats. */
void quant_decode(const struct quant *q, const void *code, float *vector);

#endif
