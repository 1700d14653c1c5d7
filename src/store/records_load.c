/* SPDX-License-Identifier: Apache-2.0 */

/* Records that come in key order, as those of a checkpoint or a snapshot do.
 *
 * What is behind the last record there cannot be there yet, so it is not
 * looked for; it goes to the end of the tree, a leaf at a time, without a
 * search; and the waits for its buckets of the index overlap. What comes in
 * another order is put as ever: who sent it may not have kept to any. */

#include <assert.h>

#include "dlht/err.h"
#include "store/records_entry.h"
#include "store/records_state.h"

/* Entries that are not in the tree yet. */
struct batch {
    size_t count;  /* made */
    size_t filled; /* of them, in the index */
    uint32_t refs[RECORDS_LEAF_KEYS];
    uint64_t of[RECORDS_LEAF_KEYS];
};

static bool is_last(const struct records *records, struct span key)
{
    if (records->tree.root == 0)
        return true;
    const struct records_node *leaf =
        records_node_at(&records->arena, records->tree.last);
    uint32_t last = records_node_refs(leaf)[leaf->count - 1u];
    return span_compare(records_entry_key(&records->arena, last), key) < 0;
}

/* How many of them, a leaf full at most, go behind all that are there. */
static size_t count_ordered(const struct records *records,
                            const struct record *list, size_t count)
{
    if (records->snapshots || !is_last(records, list[0].key))
        return 0;
    size_t n = 1;
    while (n < count && n < RECORDS_LEAF_KEYS &&
           span_compare(list[n - 1].key, list[n].key) < 0)
        n++;
    return n;
}

static void batch_drop(struct records *records, const struct batch *batch)
{
    for (size_t i = 0; i < batch->filled; i++)
        records_hash_erase(&records->hash, batch->of[i], batch->refs[i]);
    for (size_t i = 0; i < batch->count; i++)
        records_entry_free(&records->arena, batch->refs[i]);
}

static int batch_make(struct records *records, const struct record *list,
                      size_t count, struct batch *batch)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t ref = records_entry_new(&records->arena, &list[i]);
        if (ref == 0)
            return DLHT_ENOMEM;
        batch->of[i] = records_hash_of(&records->hash, list[i].key);
        batch->refs[i] = ref;
        batch->count++;
        records_hash_prefetch(&records->hash, batch->of[i]);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t *place = records_hash_reserve(&records->hash, batch->of[i]);
        if (!place)
            return DLHT_ENOMEM;
        records_hash_fill(&records->hash, batch->of[i], place, batch->refs[i]);
        batch->filled++;
    }
    return records_tree_extend(&records->tree, batch->refs, count);
}

static int append(struct records *records, const struct record *list,
                  size_t count)
{
    struct batch batch = { .count = 0 };
    int rc = batch_make(records, list, count, &batch);
    if (rc != DLHT_OK) {
        batch_drop(records, &batch);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        records->digest += records_entry_digest(&records->arena, batch.refs[i]);
    return DLHT_OK;
}

int records_load(struct records *records, const struct record *list,
                 size_t count)
{
    while (count > 0) {
        size_t n = count_ordered(records, list, count);
        int rc = n ? append(records, list, n) : records_put(records, list);
        if (rc != DLHT_OK)
            return rc;
        n += n == 0;
        list += n;
        count -= n;
    }
    return DLHT_OK;
}
