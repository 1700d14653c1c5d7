/* SPDX-License-Identifier: Apache-2.0 */

/* sim/vectors_inner.h - what the parts of a story of vectors know of each
 * other.
 *
 * vectors_story.c  life: collections, clients, waiting, the end
 * vectors_ask.c    drawing what to ask for
 * vectors_note.c   answers: read, and judged
 * vectors_past.c   what was written, and what may be answered */

#ifndef SIM_VECTORS_INNER_H
#define SIM_VECTORS_INNER_H

#include "base/buf.h"
#include "base/id.h"
#include "base/rng.h"
#include "sim/vectors_past.h"
#include "sim/vectors_story.h"

enum {
    ROOMS_MAX = 2,
    SEEKERS_MAX = 6,
    BATCH_MAX = 16, /* vectors written at once */
    LOAD_MAX = 64,  /* and of the load */
    HITS_MAX = 1024
};

/* A collection. */
struct room {
    char name[32];
    bool hashed;
    uint32_t replicas;
    uint32_t dim;
    enum metric metric;
    const char *quantization, *index, *fields;
    uint32_t m, ef;
    struct past *past;
    size_t ids_max;
};

enum seek_kind {
    SEEK_PUT,
    SEEK_DEL,
    SEEK_BATCH,
    SEEK_GET,
    SEEK_SEARCH,
    SEEK_ADMIN /* info, rebuild */
};

/* What is being written. */
struct seek_write {
    size_t id;
    uint64_t write;
};

struct seeker {
    struct vectors_story *story;
    uint32_t index;
    struct id session;
    uint64_t number;
    bool open;
    bool maybe; /* an attempt was lost: it may have taken effect */
    bool final; /* part of the end: asks one peer, once */
    uint64_t attempt;
    size_t peer;
    uint64_t call_ns, deadline_ns;
    struct room *room;
    enum seek_kind kind;
    struct request request; /* spans point to body and to ids */
    struct buf body;
    struct seek_write writes[LOAD_MAX];
    size_t write_count;
    size_t id; /* GET */
    struct past_search search;
    float vector[PAST_DIM_MAX];
    bool meta, vectors;
};

struct vectors_stats {
    uint64_t writes, unknown, gets, searches, exact, stale, partial, refused;
    uint64_t hits, rebuilds, late;
    uint64_t adopted, claimed; /* from files, since the last start */
    uint64_t longest_ns;       /* a search took */
    struct past_recall recall[METRICS];
};

struct vectors_story {
    struct world *world;
    struct rng rng;
    struct room rooms[ROOMS_MAX];
    size_t room_count;
    struct seeker seekers[SEEKERS_MAX];
    size_t seeker_count;
    struct seeker last; /* loads, and asks at the end */
    size_t open_count;
    bool running;
    bool calm;
    uint64_t calm_ns; /* since then */
    uint64_t think_ns;
    bool asked, made; /* of a collection */
    struct vectors_stats stats;
};

/* vectors_story.c */
/* Sends what it has been given. */
void vectors_begin(struct seeker *s);

/* vectors_ask.c */
void vectors_ask_any(struct seeker *s);
/* A batch of the next new ids. */
void vectors_ask_load(struct seeker *s, struct room *room, size_t count);
/* Everything. */
void vectors_ask_all(struct seeker *s, struct room *room, bool stale,
                     bool exact);

/* vectors_note.c: fail the world if an answer cannot be true. */
void vectors_note_found(struct seeker *s, const struct response *response);
void vectors_note_hits(struct seeker *s, const struct response *response);
void vectors_note_absent(struct seeker *s);
void vectors_note_info(struct seeker *s, const struct response *response);

#endif
