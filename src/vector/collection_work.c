/* SPDX-License-Identifier: Apache-2.0 */

/* The graph follows: what waits in the queue is done by work that another
 * thread may do, and a graph is made anew beside the one in use. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "vector/collection_state.h"

bool collection_wants_work(const struct collection *c)
{
    return !c->work && (c->queue_count || c->next);
}

static void free_work(struct collection_work *w)
{
    free(w->vectors);
    free(w->prints);
    free(w);
}

/* The next slot of the queue, if there is something to do for it in the
 * graph. */
static bool take_op(struct collection *c, struct collection_work *w)
{
    uint32_t slot = c->queue[c->queue_head];
    c->queue_head = (c->queue_head + 1) % c->slot_cap;
    c->queue_count--;
    struct slot *s = &c->slots[slot];
    struct collection_op *op = &w->ops[w->count];
    *op = (struct collection_op){ .slot = slot };
    if (s->state == SLOT_DROPPED) {
        collection_free_slot(c, slot);
        return false;
    }
    if (s->state == SLOT_WAITING) {
        /* That its record is another by now cannot be, unless we missed a
         * change: then it is not to be found. */
        if (!collection_read(c, slot, w->vectors + w->count * w->dim)) {
            collection_retire(c, slot);
            collection_free_slot(c, slot);
            return false;
        }
        s->state = SLOT_WORKING;
        op->add = true;
    }
    assert(op->add || s->state == SLOT_LEAVING);
    w->count++;
    return true;
}

/* What of the graph in use goes into the next one now. */
static void take_copies(struct collection *c, struct collection_work *w)
{
    uint32_t at = c->rebuild_at;
    for (; at < c->slot_count && w->copied < COLLECTION_WORK_MAX; at++) {
        float *to =
            w->vectors + (COLLECTION_WORK_MAX + w->copied) * (size_t)w->dim;
        if (c->slots[at].state != SLOT_INDEXED)
            continue;
        if (collection_read(c, at, to))
            w->copies[w->copied++] = at;
        else
            collection_retire(c, at);
    }
    w->copied_to = at;
    w->ends_rebuild = at >= c->slot_count;
}

struct collection_work *collection_take(struct collection *c)
{
    if (!collection_wants_work(c))
        return NULL;
    struct collection_work *w = malloc(sizeof *w);
    if (!w)
        return NULL;
    *w = (struct collection_work){ .index = c->index,
                                   .next = c->next,
                                   .missed_from = SLOT_NONE,
                                   .dim = c->config.hnsw.dim };
    w->vectors =
        mem_array((size_t)(c->next ? 2 : 1) * COLLECTION_WORK_MAX * w->dim,
                  sizeof *w->vectors);
    if (!w->vectors) {
        free(w);
        return NULL;
    }
    while (c->queue_count && w->count < COLLECTION_WORK_MAX)
        (void)take_op(c, w);
    if (c->next)
        take_copies(c, w);
    if (w->count == 0 && !c->next) {
        free_work(w);
        return NULL;
    }
    c->index_bytes = index_memory(c->index).total;
    c->work = w;
    return w;
}

static int run_op(struct index *index, const struct collection_op *op,
                  const float *vector)
{
    bool removed;
    return op->add ? index_put(index, op->slot, vector, NULL)
                   : index_remove(index, op->slot, &removed);
}

void collection_run(struct collection_work *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const float *vector = w->vectors + i * w->dim;
        struct collection_op *op = &w->ops[i];
        op->rc = run_op(w->index, op, vector);
        if (!w->next || op->rc != DLHT_OK)
            continue;
        /* What is in the graph in use does not wait for it any more: the next
         * one gets it as a copy. A removal may be done twice. */
        int rc = run_op(w->next, op, vector);
        if (rc != DLHT_OK && op->add && op->slot < w->missed_from)
            w->missed_from = op->slot;
        else if (rc != DLHT_OK && !op->add)
            op->rc = rc;
    }
    w->copy_rc = DLHT_OK;
    for (size_t i = 0; i < w->copied && w->copy_rc == DLHT_OK; i++)
        w->copy_rc = index_put(
            w->next, w->copies[i],
            w->vectors + (COLLECTION_WORK_MAX + i) * (size_t)w->dim, NULL);
}

static void op_done(struct collection *c, const struct collection_op *op)
{
    struct slot *s = &c->slots[op->slot];
    c->changes += op->rc == DLHT_OK;
    if (op->rc != DLHT_OK) { /* no memory: again */
        s->state = s->state == SLOT_WORKING ? SLOT_WAITING : SLOT_LEAVING;
        collection_enqueue(c, op->slot);
    } else if (!op->add) {
        collection_free_slot(c, op->slot);
    } else if (s->state == SLOT_LEAVING) { /* meanwhile */
        collection_enqueue(c, op->slot);
    } else {
        s->state = SLOT_INDEXED;
        c->indexed++;
        if (collection_is_shown(c, op->slot))
            c->parts[collection_part_of(c, op->slot)].indexed++;
    }
}

static void swap_index(struct collection *c)
{
    index_reader_free(c->reader);
    index_free(c->index);
    c->index = c->next;
    c->reader = c->next_reader;
    c->next = NULL;
    c->next_reader = NULL;
}

void collection_done(struct collection *c, struct collection_work *w)
{
    assert(c->work == w);
    c->work = NULL;
    for (size_t i = 0; i < w->count; i++)
        op_done(c, &w->ops[i]);
    if (w->next && w->copy_rc == DLHT_OK)
        c->rebuild_at = w->copied_to;
    if (w->missed_from < c->rebuild_at)
        c->rebuild_at = w->missed_from;
    /* Slots that were added since are in both. */
    else if (w->copy_rc == DLHT_OK && w->ends_rebuild)
        swap_index(c);
    free_work(w);
}

void collection_abandon(struct collection *c, struct collection_work *w)
{
    for (size_t i = 0; i < w->count; i++)
        w->ops[i].rc = DLHT_EBUSY;
    w->copy_rc = DLHT_EBUSY;
    collection_done(c, w);
}

struct collection_work *collection_take_save(struct collection *c)
{
    if (c->work || !c->prints)
        return NULL;
    struct collection_work *w = malloc(sizeof *w);
    if (!w)
        return NULL;
    *w = (struct collection_work){ .index = c->index,
                                   .missed_from = SLOT_NONE,
                                   .print_count = c->slot_count };
    w->prints = mem_array(c->slot_count, sizeof *w->prints);
    if (!w->prints) {
        free_work(w);
        return NULL;
    }
    memcpy(w->prints, c->prints, c->slot_count * sizeof *w->prints);
    c->index_bytes = index_memory(c->index).total;
    c->work = w;
    return w;
}

int collection_rebuild(struct collection *c)
{
    if (index_backend(c->index) == INDEX_EXACT)
        return DLHT_ENOTSUP;
    if (c->next)
        return DLHT_EBUSY;
    struct index_config config = c->config;
    config.hnsw.capacity = c->slot_count;
    int rc = index_new(&config, &c->next);
    if (rc == DLHT_OK)
        rc = index_reader_new(c->next, &c->next_reader);
    if (rc != DLHT_OK) {
        index_free(c->next);
        c->next = NULL;
        return rc;
    }
    c->rebuild_at = 0;
    collection_drop_kept(c);
    return DLHT_OK;
}
