/* SPDX-License-Identifier: Apache-2.0 */

/* vector/kernel.h - the distance between two vectors, as fast as the processor
 * can tell it.
 *
 * A kernel is a table of functions for one kind of processor: squared
 * Euclidean distance and inner product (as it is, greater is nearer) of vectors
 * of float32, float16 (IEEE halves as uint16_t) and int8. Cosine is the inner
 * product of vectors of length one (vector/metric.h). Both operands are of one
 * type; any dim from 1 to KERNEL_DIM_MAX and any alignment is right, multiples
 * of 64 bytes are fastest.
 *
 * int8 results are exact sums, the same on every processor, turned into a float
 * at the end. Sums of floats differ in their last bits with the order of
 * addition. Codes lie in [-127, 127].
 *
 * Stateless; for any number of threads. */

#ifndef VECTOR_KERNEL_H
#define VECTOR_KERNEL_H

#include <stddef.h>
#include <stdint.h>

enum kernel_type {
    KERNEL_F32,
    KERNEL_F16,
    KERNEL_I8,
    KERNEL_TYPES
};

enum kernel_measure {
    KERNEL_L2, /* sum of squared differences */
    KERNEL_IP, /* sum of products */
    KERNEL_MEASURES
};

enum {
    /* 254 squared times this still fits an int32_t. */
    KERNEL_DIM_MAX = 16384
};

/* Rows of dim elements, stride bytes from one to the next. */
struct kernel_rows {
    const void *base;
    size_t stride;
    size_t dim;
};

typedef float (*kernel_one_fn)(const void *a, const void *b, size_t dim);

/* out[i] is of query and row ids[i], or row i if ids is NULL. */
typedef void (*kernel_many_fn)(const void *query,
                               const struct kernel_rows *rows,
                               const uint32_t *ids, size_t count, float *out);

struct kernel {
    const char *name;
    kernel_one_fn one[KERNEL_TYPES][KERNEL_MEASURES];
    kernel_many_fn many[KERNEL_TYPES][KERNEL_MEASURES];
};

/* The kernel of that name, or the fastest if name is NULL or empty. NULL: the
 * name is unknown or this processor cannot run it. Names: scalar, avx2, avx512
 * (with VNNI), neon. Static. */
const struct kernel *kernel_choose(const char *name);

/* Those that this processor can run, slowest first: i from 0; NULL at the
 * end. */
const struct kernel *kernel_at(size_t i);

/* Bytes of one element. */
size_t kernel_type_bytes(enum kernel_type type);

#endif
