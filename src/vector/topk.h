/* SPDX-License-Identifier: Apache-2.0 */

/* vector/topk.h - the k nearest of what is offered.
 *
 * A binary heap with the farthest on top, in the caller's memory. Of equal
 * distances the smaller row is nearer, so that the outcome does not hang on
 * the order of offers. */

#ifndef VECTOR_TOPK_H
#define VECTOR_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hit {
    uint32_t row;
    float distance;
};

struct topk {
    struct hit *hits; /* room for k, the caller's */
    size_t k;
    size_t count;
};

/* k may be 0: then nothing is kept. */
void topk_init(struct topk *top, struct hit *hits, size_t k);

/* Whether an offer at this distance might be kept. */
static inline bool topk_wants(const struct topk *top, float distance)
{
    return top->count < top->k ||
           (top->k > 0 && distance <= top->hits[0].distance);
}

void topk_offer(struct topk *top, uint32_t row, float distance);

/* Puts them in order, nearest first; nothing may be offered after. */
void topk_sort(struct topk *top);

/* As topk_sort orders them. */
bool topk_nearer(struct hit a, struct hit b);

#endif
