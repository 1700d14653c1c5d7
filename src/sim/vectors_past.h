/* SPDX-License-Identifier: Apache-2.0 */

/* sim/vectors_past.h - what was written to a collection, and whether an answer
 * can be true.
 *
 * Each value is written once: its number says what vector and metadata it is.
 * A write is open from its call to its answer; one whose outcome is not known
 * stays open. What an id may have been at some moment between two times is
 * every value whose write had begun by then, unless another one began after its
 * end and was acknowledged before. So an answer is judged by brute force: what
 * must be there is there if it is near enough, what cannot be there is not, and
 * every hit is a value that its id had. */

#ifndef SIM_VECTORS_PAST_H
#define SIM_VECTORS_PAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "vector/metric.h"

enum {
    PAST_DIM_MAX = 16,
    PAST_FILTERS = 8
};

struct past;

/* Aborts without memory, as all of these. */
struct past *past_new(uint64_t seed, uint32_t dim, enum metric metric);
void past_free(struct past *past); /* NULL is allowed */

/* Ids, from 0 on. Names differ. */
size_t past_add_id(struct past *past, struct span name);
size_t past_id_count(const struct past *past);
struct span past_id(const struct past *past, size_t id);
/* A write of it may still come. */
bool past_is_doubtful(const struct past *past, size_t id);

/* A new value of an id, from 1 on. */
uint64_t past_draw(struct past *past, size_t id);
uint64_t past_value_count(const struct past *past);
void past_vector(const struct past *past, uint64_t value, float *out);
void past_meta(const struct past *past, uint64_t value, struct buf *json);

/* Text of a filter, from 1 to PAST_FILTERS; 0 is none. */
const char *past_filter(int filter);

/* A write of a value, or a removal (0), begins; its number. */
uint64_t past_begin(struct past *past, size_t id, uint64_t value,
                    uint64_t now_ns);
/* It was acknowledged; version 0: not said. */
void past_done(struct past *past, size_t id, uint64_t write, uint64_t version,
               uint64_t now_ns);
/* It has not been, and never will be. */
void past_never(struct past *past, size_t id, uint64_t write);

struct past_hit {
    struct span id;
    double distance;
    uint64_t version;
    bool has_meta, has_vector;
    struct span meta, vector;
};

struct past_search {
    uint64_t from_ns, to_ns;
    const float *vector; /* NULL: that of by_id */
    size_t by_id;        /* is not among the hits; SIZE_MAX: none */
    size_t k;
    int filter;
    bool exact;   /* all was looked at */
    bool stale;   /* copies may lag */
    bool partial; /* not all was asked */
};

/* Of what surely belongs into answers of graphs, how much was in them. */
struct past_recall {
    uint64_t wanted, found;
};

/* NULL: it can be true. Else the name of what is broken; what exactly is in
 * past_text. */
const char *past_judge(struct past *past, const struct past_search *search,
                       const struct past_hit *hits, size_t count,
                       struct past_recall *recall);
/* The same of one id; hit NULL: it was not found. */
const char *past_judge_get(struct past *past, size_t id, uint64_t from_ns,
                           uint64_t to_ns, const struct past_hit *hit);
const char *past_text(const struct past *past);

/* How many ids surely are there. */
size_t past_count(const struct past *past, uint64_t now_ns);

#endif
