/* SPDX-License-Identifier: Apache-2.0 */

/* Frozen views. A view goes through the live map and keeps, in small maps of
 * its own, what has changed beyond its place since it began: the records that
 * were there, as they were, and the keys that were not. It hands out the first
 * of the saved records and the live ones, and of two with one key the saved. */

#include <assert.h>
#include <string.h>

#include "dlht/err.h"
#include "store/records_state.h"

struct records_snapshot {
    struct records *records;
    struct records *saved;         /* changed or removed since */
    struct records *absent;        /* keys put since that were not there */
    struct records_snapshot *next; /* the map's other views */
    struct records_snapshot *previous;
    struct records_cursor live; /* the next live record after the place */
    uint64_t live_changes;      /* of the tree, when live was right */
    bool live_ended;
    bool started;
    bool drops; /* the first saved record has been handed out */
    size_t place_len;
    uint8_t place[RECORDS_KEY_BYTES_MAX]; /* key last passed, if started */
};

static struct span place_of(const struct records_snapshot *snapshot)
{
    return span_of(snapshot->place, snapshot->place_len);
}

struct records_snapshot *records_snapshot_new(struct records *records)
{
    struct records_snapshot *snapshot =
        records_arena_raw(&records->arena, sizeof *snapshot);
    if (!snapshot)
        return NULL;
    uint64_t seed = records->hash.seed;
    struct records *saved = records_new_with(seed, &records->arena.pages);
    struct records *absent = records_new_with(seed, &records->arena.pages);
    if (!saved || !absent) {
        records_free(saved);
        records_free(absent);
        records_arena_raw_give(&records->arena, snapshot, sizeof *snapshot);
        return NULL;
    }
    snapshot->records = records;
    snapshot->saved = saved;
    snapshot->absent = absent;
    snapshot->previous = NULL;
    snapshot->next = records->snapshots;
    if (snapshot->next)
        snapshot->next->previous = snapshot;
    records->snapshots = snapshot;
    snapshot->live_changes = records->tree.changes;
    snapshot->live_ended =
        !records_seek(records, span_empty(), &snapshot->live);
    snapshot->started = false;
    snapshot->drops = false;
    snapshot->place_len = 0;
    return snapshot;
}

void records_snapshot_free(struct records_snapshot *snapshot)
{
    if (!snapshot)
        return;
    struct records *records = snapshot->records;
    if (snapshot->next)
        snapshot->next->previous = snapshot->previous;
    if (snapshot->previous)
        snapshot->previous->next = snapshot->next;
    else
        records->snapshots = snapshot->next;
    records_free(snapshot->saved);
    records_free(snapshot->absent);
    records_arena_raw_give(&records->arena, snapshot, sizeof *snapshot);
}

static int save(struct records_snapshot *snapshot, struct span key)
{
    struct record old = { .key = key };
    if (snapshot->started && span_compare(key, place_of(snapshot)) <= 0)
        return DLHT_OK;
    if (records_get(snapshot->saved, key, &old) ||
        records_get(snapshot->absent, key, &old))
        return DLHT_OK;
    if (records_get(snapshot->records, key, &old))
        return records_put(snapshot->saved, &old);
    return records_put(snapshot->absent, &old);
}

int records_state_save(struct records *records, struct span key)
{
    for (struct records_snapshot *s = records->snapshots; s; s = s->next) {
        int rc = save(s, key);
        if (rc != DLHT_OK)
            return rc;
    }
    return DLHT_OK;
}

/* Makes `live` right again after changes of the tree. */
static void live_find(struct records_snapshot *snapshot)
{
    const struct records *records = snapshot->records;
    if (snapshot->live_changes == records->tree.changes)
        return;
    struct span place = place_of(snapshot);
    bool there = records_seek(records, place, &snapshot->live);
    if (there && snapshot->started &&
        span_equal(records_at(&snapshot->live).key, place))
        there = records_next(&snapshot->live);
    snapshot->live_ended = !there;
    snapshot->live_changes = records->tree.changes;
}

static void live_step(struct records_snapshot *snapshot)
{
    snapshot->live_ended = !records_next(&snapshot->live);
}

/* The live record to hand out next, if any: those that were not there when
 * the view began are passed over. */
static bool live_record(struct records_snapshot *snapshot, struct record *out)
{
    struct record absent;
    live_find(snapshot);
    while (!snapshot->live_ended) {
        *out = records_at(&snapshot->live);
        if (records_count(snapshot->absent) == 0 ||
            !records_get(snapshot->absent, out->key, &absent))
            return true;
        live_step(snapshot);
    }
    return false;
}

static void drop_first(struct records_snapshot *snapshot)
{
    struct record first;
    bool there = records_nth(snapshot->saved, 0, &first);
    assert(there);
    bool removed = false;
    int rc = records_remove(snapshot->saved, first.key, &removed);
    assert(rc == DLHT_OK && removed);
}

static void pass(struct records_snapshot *snapshot, struct span key)
{
    memcpy(snapshot->place, key.data, key.len);
    snapshot->place_len = key.len;
    snapshot->started = true;
}

bool records_snapshot_next(struct records_snapshot *snapshot,
                           struct record *out)
{
    if (snapshot->drops)
        drop_first(snapshot);
    snapshot->drops = false;
    struct record saved;
    struct record live;
    bool has_saved = records_nth(snapshot->saved, 0, &saved);
    bool has_live = live_record(snapshot, &live);
    if (!has_saved && !has_live)
        return false;
    int order = has_live ? -1 : 1;
    if (has_live && has_saved)
        order = span_compare(live.key, saved.key);
    if (order <= 0)
        live_step(snapshot);
    snapshot->drops = order >= 0;
    *out = snapshot->drops ? saved : live;
    pass(snapshot, out->key);
    return true;
}
