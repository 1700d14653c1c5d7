/* SPDX-License-Identifier: Apache-2.0 */

/* sim/history.h - what clients did to a fixed set of keys and were told.
 *
 * Keys are words in the order of ranges, known by their index. A value says which
 * write made it and to which key; one that does not is damage. */

#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "sim/linear.h"

struct history;

/* Draws key_count keys from the seed: words, and at the end late_count numbers
 * that rise in bursts as times do. hashed: their order is that of a hashed
 * keyspace; else that of the words. Aborts without memory. */
struct history *history_new(uint64_t seed, size_t key_count, size_t late_count,
                            bool hashed);
/* With keys of the caller's, in ascending order and each once; borrowed. */
struct history *history_of(const struct span *keys, size_t key_count);
void history_free(struct history *history); /* NULL is allowed */

size_t history_key_count(const struct history *history);
struct span history_key(const struct history *history, size_t key);
/* Where it stands in ranges: the key, or what a hashed keyspace makes of it. */
struct span history_place(const struct history *history, size_t key);
/* The first key whose place is not before this one. */
size_t history_place_at(const struct history *history, struct span place);
/* SIZE_MAX: none of ours. */
size_t history_find(const struct history *history, struct span key);

/* Appends the value of write number id, of any length from 8 bytes on. */
void history_value(uint64_t id, size_t key, size_t len, struct buf *out);
/* The write that made the value; 0: it was damaged, or made for another key. */
uint64_t history_value_id(struct span value, size_t key);

/* An operation that was answered, or whose outcome is unknown. outcome 0: a
 * write that failed for certain, kept for reports. */
void history_add(struct history *history, size_t key,
                 const struct linear_op *op);
size_t history_op_count(const struct history *history);

/* From now on the key is what one copy of it was: the value of write id under
 * that version; id 0: absent. What was done before is judged by itself, and so
 * is what is done from then on; what is open at that moment may belong to
 * either. The value must be one that somebody wrote before. */
void history_cut(struct history *history, size_t key, uint64_t at_ns,
                 uint64_t id, uint64_t version);

struct history_verdict {
    enum linear_verdict verdict; /* the worst of all keys */
    size_t key;                  /* the one */
    size_t undecided;            /* keys */
    size_t lost;                 /* acknowledged writes that a cut undid */
    uint64_t steps;
    char text[400]; /* of the operation that fits nowhere */
};

/* Checks all keys, until one is wrong. */
void history_check(struct history *history, struct history_verdict *out);

/* Prints all operations of a key in the order of their calls. */
typedef void (*history_line_fn)(void *context, const char *line);
void history_print(struct history *history, size_t key, history_line_fn fn,
                   void *context);

#endif
