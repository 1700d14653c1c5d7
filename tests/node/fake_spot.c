/* SPDX-License-Identifier: Apache-2.0 */

/* For nodes that are not the real one: nothing is done at once. */

#include "node/spot.h"

void spot_find(struct node *n, uint64_t now_ns,
               const struct request *const *requests, size_t count,
               struct spot *spots)
{
    (void)n, (void)now_ns, (void)requests;
    for (size_t i = 0; i < count; i++)
        spots[i].replica = NULL;
}

void spot_find_keys(struct node *n, uint64_t now_ns, struct span keyspace,
                    const struct span *keys, size_t count, struct spot *spots)
{
    (void)n, (void)now_ns, (void)keyspace, (void)keys;
    for (size_t i = 0; i < count; i++)
        spots[i].replica = NULL;
}

bool spot_answer(struct node *n, const struct spot *spot, uint8_t op,
                 struct span value, struct response *out)
{
    (void)n, (void)spot, (void)op, (void)value, (void)out;
    return false;
}

bool spot_write(struct node *n, const struct spot *spot,
                const struct request *request)
{
    (void)n, (void)spot, (void)request;
    return false;
}

bool spot_propose(struct node *n, const struct spot *spot,
                  const struct request *request, uint64_t ticket)
{
    (void)n, (void)spot, (void)request, (void)ticket;
    return false;
}
