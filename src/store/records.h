/* SPDX-License-Identifier: Apache-2.0 */

/* store/records.h - the records of one arc: an ordered map of byte strings in
 * memory.
 *
 * A hash index answers point reads and overwrites; a B+tree beside it is
 * touched by inserts, removals and ranges only, and keeps counts and bytes in
 * its inner nodes, so counting a range and finding the n-th key are O(log n).
 * Each record carries the version that its writer gave it.
 *
 * A snapshot is a frozen view: while one is open, a change first saves what it
 * is about to destroy, so the view can be read slice by slice between turns.
 *
 * Spans handed out point into the map and are valid until its next change.
 * Not for two threads at once. */

#ifndef STORE_RECORDS_H
#define STORE_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"

enum {
    RECORDS_KEY_BYTES_MAX = (64 << 10) + 8, /* 8 of hash before the key */
    RECORDS_VALUE_BYTES_MAX = 16 << 20
};

struct records;

struct record {
    struct span key;
    struct span value;
    uint64_t version;
};

/* An empty map, or NULL: no memory. The seed is the table's own, so that a
 * stranger cannot aim keys at one slot. */
struct records *records_new(uint64_t hash_seed);

/* Where a map's memory comes from, all of it. take gives size bytes aligned to
 * 64, from 2 MiB on to 2 MiB, so that it can be asked to be backed by huge
 * pages (a large map's reads take half the time then); NULL: none left. give
 * gets the same size back. */
struct records_pages {
    void *(*take)(void *self, size_t size);
    void (*give)(void *self, void *memory, size_t size);
    void *self;
};

/* As records_new, from other memory; NULL pages: the C library's. *pages is
 * copied; its functions are called until the map and the maps split from it
 * are freed. */
struct records *records_new_with(uint64_t hash_seed,
                                 const struct records_pages *pages);

/* NULL is allowed. Open snapshots must have ended. */
void records_free(struct records *records);

size_t records_count(const struct records *records);

/* Key and value bytes held. */
uint64_t records_data_bytes(const struct records *records);

/* All memory taken, indexes included. */
uint64_t records_memory_bytes(const struct records *records);

/* Sum over all records of a hash of (key, value, version), kept up to date:
 * equal content gives equal digests whatever the order of changes. */
uint64_t records_digest(const struct records *records);

/* False if absent, *out untouched. */
bool records_get(const struct records *records, struct span key,
                 struct record *out);

/* Brings the key's slot into the cache; changes nothing. With a batch of keys
 * at hand, call it for each, then records_prefetch_record for each, then get
 * or put: the waits overlap. */
void records_prefetch(const struct records *records, struct span key);

/* Brings in the record too; waits for the slot if that is not there yet. */
void records_prefetch_record(const struct records *records, struct span key);

/* Adds or replaces; key and value are copied. key and value must not point
 * into this map and have the lengths above at most: the caller has checked.
 *   DLHT_ENOMEM  the map is as before */
MUST_USE int records_put(struct records *records, const struct record *record);

/* As records_put of each, in this order; many times faster where they are in
 * ascending order and behind all that are there, as those of a copy are.
 *   DLHT_ENOMEM  some, from the first on, may have been put */
MUST_USE int records_load(struct records *records, const struct record *list,
                          size_t count);

/* *removed says whether the key was there.
 *   DLHT_ENOMEM  only while a snapshot is open; the map is as before */
MUST_USE int records_remove(struct records *records, struct span key,
                            bool *removed);

/* A place between or at records; any change of the map makes it invalid. */
struct records_cursor {
    const struct records *records;
    const void *leaf;
    size_t slot;
    const void *ahead_leaf; /* what has been asked for ends here */
    size_t ahead_slot;
};

/* Stands at the first record with key >= from (empty: the first of all).
 * False: there is none. */
bool records_seek(const struct records *records, struct span from,
                  struct records_cursor *cursor);

/* Stands at the last record with key < before, or at the last of all if
 * unbounded is true. False: there is none. */
bool records_seek_last(const struct records *records, struct span before,
                       bool unbounded, struct records_cursor *cursor);

/* One step; false at the end, the cursor is then invalid. */
bool records_next(struct records_cursor *cursor);
bool records_previous(struct records_cursor *cursor);

/* The record the cursor stands at. */
struct record records_at(const struct records_cursor *cursor);

/* Records, and their key and value bytes (unless NULL), with key < given.
 * O(log n). */
uint64_t records_rank(const struct records *records, struct span key,
                      uint64_t *data_bytes);

/* The record that has exactly n records before it; false if n >= count. */
bool records_nth(const struct records *records, uint64_t n, struct record *out);

/* Moves the records with key >= at into a new map that the caller owns. The
 * cost is that of copying the smaller part, whichever it is, into new memory;
 * the other part keeps the old memory, holes and all. The new memory has the
 * given seed. No snapshot may be open.
 *   DLHT_ENOMEM  *right is NULL and the map is as before */
MUST_USE int records_split(struct records *records, struct span at,
                           uint64_t right_hash_seed, struct records **right);

/* Begins a frozen view of the map as it is now, or NULL: no memory. Several
 * may be open at once. */
struct records_snapshot *records_snapshot_new(struct records *records);

/* The next record of the view in key order; false at the end. The span is
 * valid until the next call on the view or change of the map. */
bool records_snapshot_next(struct records_snapshot *snapshot,
                           struct record *out);

/* Ends the view; NULL is allowed. */
void records_snapshot_free(struct records_snapshot *snapshot);

/* Asserts every invariant of index, tree, counts and digest; linear, for tests
 * and the simulator. */
void records_check(const struct records *records);

#endif
