/* SPDX-License-Identifier: Apache-2.0 */

/* vector/collection_state.h - the inside of a collection.
 *
 * A slot is one vector as it was written once: a new value of an id takes a new
 * slot. A slot's number is its handle in the graph and its row in the field
 * index, and is used again once nothing knows it any more:
 *
 *     WAITING  in the queue, to be added to the graph
 *     WORKING  in the work that is out, being added
 *     INDEXED  in the graph
 *     LEAVING  was in the graph or is being added, found no more; in the queue,
 *              to be removed
 *     DROPPED  found no more, and never was in the graph; in the queue
 *     KEPT     in the graph since it was taken over from a file; without an id
 *              until a record claims it
 *
 * Each slot stands in the queue at most once, so the queue has room for all of
 * them at once. A slot's label says which part it belongs to; of those that are
 * found no more it is LABEL_NONE. A part that is refilled takes a new label,
 * and what still bears the old one at the end goes. */

#ifndef VECTOR_COLLECTION_STATE_H
#define VECTOR_COLLECTION_STATE_H

#include "base/mutant.h"
#include "vector/collection.h"
#include "vector/field_index.h"
#include "vector/vector_record.h"

#define LABEL_NONE UINT32_MAX
#define PART_NONE UINT32_MAX
#define SLOT_NONE UINT32_MAX

enum slot_state {
    SLOT_FREE,
    SLOT_WAITING,
    SLOT_WORKING,
    SLOT_INDEXED,
    SLOT_LEAVING,
    SLOT_DROPPED,
    SLOT_KEPT
};

/* What an id and its vector are known again by: XXH3 of the vector, twice, by
 * seeds that follow from the id. Zeros are of none. */
struct print {
    uint64_t a, b;
};

struct slot {
    /* The id, then the metadata; owned; NULL of one that is free, KEPT, or
     * was KEPT and leaves. Those are not in the table. */
    uint8_t *bytes;
    uint32_t id_len, meta_len;
    uint64_t version;
    uint32_t hash; /* of the id */
    uint8_t state; /* enum slot_state */
};

struct part {
    bool used;
    uint32_t label;
    uint64_t live;      /* slots with label */
    uint64_t indexed;   /* of these in the graph */
    uint32_t old_label; /* while it is refilled; else LABEL_NONE */
    uint64_t damaged;
};

enum label_use {
    LABEL_FREE,
    LABEL_USED,
    LABEL_OLD,     /* of a part that is refilled: not found */
    LABEL_DEAD,    /* slots may still bear it */
    LABEL_SWEEPING /* dead since before this sweep began */
};

struct label {
    uint32_t part; /* PART_NONE: of none */
    uint8_t use;   /* enum label_use */
};

struct collection {
    struct collection_source source;
    struct index_config config;
    struct index *index;
    struct index_reader *reader;
    struct index *next; /* being rebuilt; NULL */
    struct index_reader *next_reader;
    uint32_t rebuild_at;        /* slots below are in next */
    struct field_index *fields; /* NULL: none is declared */
    size_t field_count;

    struct slot *slots;
    uint32_t *labels;     /* of slots */
    struct print *prints; /* of slots; NULL: the graph is not saved */
    uint32_t slot_count, slot_cap;
    uint32_t *free_slots; /* room for all */
    uint32_t free_count;

    uint32_t *table; /* slot + 1, by hash of the id; 0: none; open addressing */
    size_t table_size, table_used; /* a power of two */

    uint32_t *queue; /* a ring of slots, cap slot_cap */
    uint32_t queue_head, queue_count;
    struct collection_work *work; /* out */
    uint64_t index_bytes;         /* before that */

    struct part *parts;
    struct label *label_list; /* cap is that of twice the parts and one */
    uint32_t part_count, part_cap;
    uint32_t label_count, label_cap;

    uint32_t sweep_at;
    bool sweeping, dead_labels;

    /* Those that were KEPT when the graph was taken over, slot + 1 by print,
     * open addressing; the others of it are passed over. NULL: none is. */
    uint32_t *kept_table;
    size_t kept_size; /* a power of two */
    uint64_t kept, adopted, claimed;

    uint64_t live, indexed, changes;
    uint64_t id_bytes; /* of slots */
    float *room;       /* dim floats */
};

struct collection_op {
    uint32_t slot;
    bool add;
    int rc;
};

struct collection_work {
    struct index *index, *next; /* next NULL: no rebuild */
    size_t count, copied;
    uint32_t copied_to; /* where the rebuild goes on */
    int copy_rc;
    bool ends_rebuild;
    uint32_t missed_from; /* the first slot that next lacks; SLOT_NONE */
    struct collection_op ops[COLLECTION_WORK_MAX];
    uint32_t copies[COLLECTION_WORK_MAX];
    struct print *prints; /* it writes the graph: a copy of all; else NULL */
    uint32_t print_count;
    uint32_t dim;
    float *vectors; /* of ops, then of copies; of ops that remove unused */
};

static inline struct span slot_id(const struct slot *s)
{
    return span_of(s->bytes, s->id_len);
}

static inline struct meta slot_meta(const struct slot *s)
{
    return meta_trust(span_of(s->bytes + s->id_len, s->meta_len));
}

/* The slot with the id that bears the label, or SLOT_NONE. */
uint32_t collection_find(const struct collection *c, uint32_t label,
                         struct span id);

/* It is found no more. */
void collection_retire(struct collection *c, uint32_t slot);

/* Neither queue nor graph know it any more. */
void collection_free_slot(struct collection *c, uint32_t slot);

void collection_enqueue(struct collection *c, uint32_t slot);

/* The slot of a file that bears the print, or SLOT_NONE. */
uint32_t collection_find_kept(const struct collection *c,
                              const struct print *print);
struct print collection_print(struct span id,
                              const struct vector_record *record);

/* The part that a slot belongs to; PART_NONE. */
static inline uint32_t collection_part_of(const struct collection *c,
                                          uint32_t slot)
{
    uint32_t label = c->labels[slot];
    return label == LABEL_NONE ? PART_NONE : c->label_list[label].part;
}

static inline bool collection_is_shown(const struct collection *c,
                                       uint32_t slot)
{
    uint32_t label = c->labels[slot];
    return label != LABEL_NONE &&
           (c->label_list[label].use == LABEL_USED ||
            (DLHT_MUTANT == 43 && c->label_list[label].use == LABEL_OLD));
}

/* The vector of a slot, from its record. False: the record is another now. */
bool collection_read(const struct collection *c, uint32_t slot, float *vector);

#endif
