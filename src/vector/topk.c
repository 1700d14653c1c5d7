/* SPDX-License-Identifier: Apache-2.0 */

/* The k nearest of what is offered. */

#include "vector/topk.h"

bool topk_nearer(struct hit a, struct hit b)
{
    return a.distance < b.distance ||
           (a.distance == b.distance && a.row < b.row);
}

void topk_init(struct topk *top, struct hit *hits, size_t k)
{
    *top = (struct topk){ hits, k, 0 };
}

/* Lets the hit at i sink to its place among the first count. */
static void sink(struct hit *hits, size_t count, size_t i, struct hit hit)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count)
            break;
        if (child + 1 < count && topk_nearer(hits[child], hits[child + 1]))
            child++;
        if (!topk_nearer(hit, hits[child]))
            break;
        hits[i] = hits[child];
        i = child;
    }
    hits[i] = hit;
}

void topk_offer(struct topk *top, uint32_t row, float distance)
{
    struct hit hit = { row, distance };
    if (top->count == top->k) {
        if (top->k > 0 && topk_nearer(hit, top->hits[0]))
            sink(top->hits, top->count, 0, hit);
        return;
    }
    size_t i = top->count++;
    for (; i > 0 && topk_nearer(top->hits[(i - 1) / 2], hit); i = (i - 1) / 2)
        top->hits[i] = top->hits[(i - 1) / 2];
    top->hits[i] = hit;
}

void topk_sort(struct topk *top)
{
    for (size_t n = top->count; n > 1; n--) {
        struct hit last = top->hits[n - 1];
        top->hits[n - 1] = top->hits[0];
        sink(top->hits, n - 1, 0, last);
    }
}
