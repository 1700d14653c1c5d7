/* SPDX-License-Identifier: Apache-2.0 */

/* A conditional batch: records of one arc that are changed together, if all of
 * them are at the versions that are expected, or not at all. It is one entry of
 * the arc's log. Where its keys do not lie in one arc it is refused: nothing is
 * done. That may come to be between two tries, since arcs are cut. */

#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/op.h"
#include "wire/cas_item.h"

struct cas_batch {
    struct origin origin;
    struct request request; /* its list in list */
    struct buf list;
    uint64_t deadline_ns;
};

static const char SIZES[] =
    "a conditional batch is 1 to 4096 records with different keys of 1 byte to "
    "64 KiB and values up to 16 MiB";
static const char APART[] =
    "the keys lie in more than one arc: nothing was done; records that are "
    "changed together need keys that stand side by side";

static void batch_free(struct cas_batch *b)
{
    if (b)
        buf_deinit(&b->list);
    free(b);
}

static int compare_keys(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return span_compare(*x, *y);
}

static bool has_twice(struct span *keys, size_t count)
{
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++)
        if (span_equal(keys[i - 1], keys[i]))
            return true;
    return false;
}

/* The list with keys as the keyspace keeps them. */
static int take_list(struct node *node, const struct request *q, bool hashed,
                     struct buf *out)
{
    uint32_t count = q->list_count / CAS_ITEM_BINS;
    if (count == 0 || q->list_count % CAS_ITEM_BINS || count > BATCH_COUNT_MAX)
        return DLHT_EINVAL;
    struct span *keys = mem_array(count, sizeof *keys);
    int rc = keys ? DLHT_OK : DLHT_ENOMEM;
    struct mp_reader r;
    mp_reader_init(&r, q->list);
    for (uint32_t i = 0; rc == DLHT_OK && i < count; i++) {
        struct cas_item item = cas_item_read(&r);
        if (r.bad)
            rc = DLHT_EINVAL;
        else if (item.key.len > KEY_LEN_MAX || item.value.len > VALUE_LEN_MAX)
            rc = DLHT_ETOOBIG;
        keys[i] = item.key;
        if (rc == DLHT_OK && hashed)
            item.key = op_hashed_key(node, item.key);
        if (rc == DLHT_OK && item.key.len == 0)
            rc = DLHT_ENOMEM;
        if (rc == DLHT_OK)
            cas_item_write(out, &item);
    }
    if (rc == DLHT_OK && has_twice(keys, count))
        rc = DLHT_EINVAL;
    free(keys);
    return rc == DLHT_OK && out->failed ? DLHT_ENOMEM : rc;
}

/* As far as is known here. */
static bool lies_apart(const struct node *node, const struct cas_batch *b)
{
    const struct keyspace *ks = keyspaces_find(node, b->request.keyspace);
    struct mp_reader r;
    mp_reader_init(&r, b->request.list);
    struct span first = cas_item_read(&r).key;
    const struct arc *arc = ks ? map_find(ks->map, first, SIZE_MAX) : NULL;
    if (!arc || !arc_has(arc, first))
        return false;
    while (!mp_at_end(&r))
        if (!arc_has(arc, cas_item_read(&r).key))
            return true;
    return false;
}

static void begin(struct node *node, struct cas_batch *b, bool later);

static void batch_done(struct node *node, void *context,
                       const struct response *response)
{
    struct cas_batch *b = context;
    if (response->status == DLHT_ENOTOWNER) {
        begin(node, b, true);
        return;
    }
    node_answer(node, &b->origin, response);
    batch_free(b);
}

/* Of what the log refused nothing was done, so it may be begun anew. */
static void begin(struct node *node, struct cas_batch *b, bool later)
{
    struct pending_target target = { .done = batch_done,
                                     .context = b,
                                     .later = later,
                                     .wants_not_owner = true };
    int rc = lies_apart(node, b)
                 ? DLHT_EINVAL
                 : pending_begin(node, &b->request, b->deadline_ns, &target);
    if (rc == DLHT_OK)
        return;
    if (rc == DLHT_EINVAL)
        node_answer_status(node, &b->origin, rc, APART);
    else
        node_answer_status(node, &b->origin, DLHT_EBUSY, NULL);
    batch_free(b);
}

void op_cas_batch_begin(struct node *node, const struct request *q,
                        const struct origin *origin)
{
    const struct keyspace *ks = keyspaces_find(node, q->keyspace);
    struct cas_batch *b = mem_zero(1, sizeof *b);
    int rc = b ? take_list(node, q, ks->record.placement == PLACEMENT_HASHED,
                           &b->list)
               : DLHT_ENOMEM;
    if (rc != DLHT_OK) {
        if (rc == DLHT_ENOMEM)
            rc = DLHT_EBUSY;
        node_answer_status(node, origin, rc, rc == DLHT_EBUSY ? NULL : SIZES);
        batch_free(b);
        return;
    }
    b->origin = *origin;
    b->request = *q;
    b->request.keyspace_name = b->request.value = b->request.end = span_empty();
    b->request.list = buf_span(&b->list);
    struct mp_reader r;
    mp_reader_init(&r, b->request.list);
    b->request.key = cas_item_read(&r).key; /* which routes it */
    b->deadline_ns = op_deadline_ns(node, q);
    begin(node, b, false);
}
