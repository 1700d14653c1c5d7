/* SPDX-License-Identifier: Apache-2.0 */

/* A collection's graph in a file.
 *
 * The graph knows slots by their numbers only, and what they are is told by
 * the records alone. So beside the graph's snapshot the file holds for each
 * slot a print of its id and vector; a record is known again by that, and what
 * no record has is removed. Versions and metadata are not in it: a vector whose
 * record was written again as it was is still the same.
 *
 *     head      FILE_HEAD bytes, below
 *     prints    of slots, 16 bytes each, filled up to a multiple of 64
 *     graph     hnsw_save */

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "vector/collection_state.h"
#include "vector/hnsw_file.h"

enum {
    GRAPH_VERSION = 1,
    GRAPH_HEAD = 64,
    GRAPH_ALIGN = 64
};

#define GRAPH_MAGIC "DLHTGRPH"

enum {
    GRAPH_AT_MAGIC = 0,
    GRAPH_AT_VERSION = 8,
    GRAPH_AT_KEYSPACE = 16,
    GRAPH_AT_SLOTS = 24,
    GRAPH_AT_PRINTS = 32, /* their hash */
    GRAPH_AT_END = 40,    /* zeros from here to the hash */
    GRAPH_AT_HASH = GRAPH_HEAD - 8
};

static const uint64_t SEED_B = UINT64_C(0x9e3779b97f4a7c15);

struct print collection_print(struct span id,
                              const struct vector_record *record)
{
    struct span floats =
        span_of(record->floats, (size_t)record->dim * sizeof(float));
    if (DLHT_MUTANT == 50) /* an id's vector never changes */
        floats = span_empty();
    struct print print = {
        hash64_seeded(floats, hash64(id)),
        hash64_seeded(floats, hash64_seeded(id, SEED_B)),
    };
    if (print.a == 0 && print.b == 0)
        print.b = 1;
    return print;
}

bool collection_saves(const struct collection *c)
{
    return c->prints != NULL;
}

/* Writing */

static size_t prints_bytes(uint64_t slots)
{
    uint64_t bytes = slots * sizeof(struct print);
    return (size_t)((bytes + GRAPH_ALIGN - 1) / GRAPH_ALIGN * GRAPH_ALIGN);
}

static int write_prints(const struct collection_work *w, hnsw_write_fn take,
                        void *self)
{
    static const uint8_t zeros[GRAPH_ALIGN];
    size_t bytes = w->print_count * sizeof *w->prints;
    size_t fill = prints_bytes(w->print_count) - bytes;
    int rc = bytes ? take(self, w->prints, bytes) : DLHT_OK;
    return rc == DLHT_OK && fill ? take(self, zeros, fill) : rc;
}

int collection_save(struct collection_work *w, uint64_t keyspace,
                    hnsw_write_fn take, void *self)
{
    uint8_t head[GRAPH_HEAD] = { 0 };
    assert(w->prints);
    if (!file_is_little_endian())
        return DLHT_ENOTSUP;
    memcpy(head + GRAPH_AT_MAGIC, GRAPH_MAGIC, 8);
    file_put32(head + GRAPH_AT_VERSION, GRAPH_VERSION);
    file_put64(head + GRAPH_AT_KEYSPACE, keyspace);
    file_put64(head + GRAPH_AT_SLOTS, w->print_count);
    file_put64(head + GRAPH_AT_PRINTS,
               hash64(span_of(w->prints, w->print_count * sizeof *w->prints)));
    file_put64(head + GRAPH_AT_HASH, hash64(span_of(head, GRAPH_AT_HASH)));
    int rc = take(self, head, sizeof head);
    if (rc == DLHT_OK)
        rc = write_prints(w, take, self);
    return rc == DLHT_OK ? index_save(w->index, take, self) : rc;
}

uint64_t collection_save_bytes(const struct collection_work *w)
{
    assert(w->prints);
    return GRAPH_HEAD + prints_bytes(w->print_count) +
           index_save_bytes(w->index);
}

/* Loading */

struct collection_graph {
    struct index *index;
    struct index_reader *reader;
    struct slot *slots;
    uint32_t *labels, *free_slots, *queue;
    struct print *prints;
    uint32_t *table;
    size_t table_size;
    uint32_t slot_count, slot_cap, free_count;
    uint64_t kept;
};

void collection_graph_free(struct collection_graph *g)
{
    if (!g)
        return;
    index_reader_free(g->reader);
    index_free(g->index);
    free(g->slots);
    free(g->labels);
    free(g->free_slots);
    free(g->queue);
    free(g->prints);
    free(g->table);
    free(g);
}

static int blame(struct hnsw_fault *fault, int rc, const char *what,
                 uint64_t at)
{
    *fault = (struct hnsw_fault){ what, at };
    return rc;
}

static int check_head(struct span bytes, uint64_t keyspace,
                      struct hnsw_fault *fault)
{
    const uint8_t *head = bytes.data;
    if (bytes.len < GRAPH_HEAD)
        return blame(fault, DLHT_ECORRUPT, "it is shorter than its head",
                     bytes.len);
    if (memcmp(head + GRAPH_AT_MAGIC, GRAPH_MAGIC, 8) != 0)
        return blame(fault, DLHT_ECORRUPT, "it is no graph of a collection",
                     GRAPH_AT_MAGIC);
    if (file_get64(head + GRAPH_AT_HASH) !=
        hash64(span_of(head, GRAPH_AT_HASH)))
        return blame(fault, DLHT_ECORRUPT, "the head is damaged",
                     GRAPH_AT_HASH);
    if (file_get32(head + GRAPH_AT_VERSION) != GRAPH_VERSION)
        return blame(fault, DLHT_EVERSION, "its version is not known here",
                     GRAPH_AT_VERSION);
    if (file_get64(head + GRAPH_AT_KEYSPACE) != keyspace)
        return blame(fault, DLHT_EINVAL, "it is another collection's",
                     GRAPH_AT_KEYSPACE);
    for (size_t i = GRAPH_AT_END; i < GRAPH_AT_HASH; i++)
        if (head[i] != 0)
            return blame(fault, DLHT_ECORRUPT,
                         "the head has more than it should", i);
    return DLHT_OK;
}

/* Checks what says where the graph begins. */
static int check_prints(struct span bytes, uint64_t *slots,
                        struct hnsw_fault *fault)
{
    *slots = file_get64(bytes.data + GRAPH_AT_SLOTS);
    uint64_t left = bytes.len - GRAPH_HEAD;
    if (*slots > FIELD_INDEX_ROW_MAX || prints_bytes(*slots) > left)
        return blame(fault, DLHT_ECORRUPT, "it is cut short", GRAPH_AT_SLOTS);
    struct span prints =
        span_of(bytes.data + GRAPH_HEAD, (size_t)*slots * sizeof(struct print));
    if (hash64(prints) != file_get64(bytes.data + GRAPH_AT_PRINTS))
        return blame(fault, DLHT_ECORRUPT, "the prints are damaged",
                     GRAPH_HEAD);
    return DLHT_OK;
}

static bool is_same(const struct hnsw_config *a, const struct hnsw_config *b)
{
    uint32_t a_m0 = a->m0 ? a->m0 : 2 * a->m, b_m0 = b->m0 ? b->m0 : 2 * b->m;
    return a->dim == b->dim && a->metric == b->metric && a->codes == b->codes &&
           a->drop_floats == b->drop_floats && a->m == b->m && a_m0 == b_m0 &&
           a->ef_construction == b->ef_construction && !(a->alpha < b->alpha) &&
           !(a->alpha > b->alpha);
}

static bool make_arrays(struct collection_graph *g, uint64_t slots)
{
    size_t cap = 64;
    while (cap < slots)
        cap *= 2;
    g->slot_cap = (uint32_t)cap;
    g->slot_count = (uint32_t)slots;
    g->table_size = 2 * cap;
    g->slots = mem_zero(cap, sizeof *g->slots);
    g->labels = mem_array(cap, sizeof *g->labels);
    g->free_slots = mem_array(cap, sizeof *g->free_slots);
    g->queue = mem_array(cap, sizeof *g->queue);
    g->prints = mem_zero(cap, sizeof *g->prints);
    g->table = mem_zero(g->table_size, sizeof *g->table);
    return g->slots && g->labels && g->free_slots && g->queue && g->prints &&
           g->table;
}

static void table_add(struct collection_graph *g, uint32_t slot)
{
    size_t mask = g->table_size - 1;
    size_t at = g->prints[slot].a & mask;
    while (g->table[at])
        at = (at + 1) & mask;
    g->table[at] = slot + 1;
}

static int fill_slots(struct collection_graph *g, struct hnsw_fault *fault)
{
    for (uint32_t slot = g->slot_count; slot-- > 0;) {
        g->labels[slot] = LABEL_NONE;
        if (index_row(g->index, slot) == HANDLES_NO_ROW) {
            g->free_slots[g->free_count++] = slot;
            continue;
        }
        g->slots[slot].state = SLOT_KEPT;
        g->kept++;
        table_add(g, slot);
    }
    if (g->kept != index_count(g->index))
        return blame(fault, DLHT_ECORRUPT, "a vector has no print",
                     GRAPH_AT_SLOTS);
    return DLHT_OK;
}

static int load(struct collection_graph *g, struct span bytes, uint64_t slots,
                const struct hnsw_config *config, struct hnsw_fault *fault)
{
    size_t at = GRAPH_HEAD + prints_bytes(slots);
    int rc = index_open(span_of(bytes.data + at, bytes.len - at), config,
                        &g->index, fault);
    if (rc != DLHT_OK) {
        fault->at += at;
        return rc;
    }
    if (!is_same(index_config(g->index), config))
        return blame(fault, DLHT_EINVAL, "it was made with other settings", at);
    rc = index_own(g->index);
    if (rc == DLHT_OK)
        rc = index_reader_new(g->index, &g->reader);
    if (rc == DLHT_OK && !make_arrays(g, slots))
        rc = DLHT_ENOMEM;
    if (rc != DLHT_OK)
        return rc;
    if (slots)
        memcpy(g->prints, bytes.data + GRAPH_HEAD,
               (size_t)slots * sizeof *g->prints);
    return fill_slots(g, fault);
}

int collection_graph_load(struct span bytes, uint64_t keyspace,
                          const struct hnsw_config *config,
                          struct collection_graph **out,
                          struct hnsw_fault *fault)
{
    uint64_t slots = 0;
    *out = NULL;
    *fault = (struct hnsw_fault){ NULL, 0 };
    if (!file_is_little_endian())
        return DLHT_ENOTSUP;
    int rc = check_head(bytes, keyspace, fault);
    if (rc == DLHT_OK)
        rc = check_prints(bytes, &slots, fault);
    if (rc != DLHT_OK)
        return rc;
    struct collection_graph *g = mem_zero(1, sizeof *g);
    rc = g ? load(g, bytes, slots, config, fault) : DLHT_ENOMEM;
    if (rc == DLHT_OK)
        *out = g;
    else
        collection_graph_free(g);
    return rc;
}

/* Taking over */

bool collection_adopt(struct collection *c, struct collection_graph *g)
{
    if (!c->prints || c->slot_count || c->work || c->next)
        return false;
    index_reader_free(c->reader);
    index_free(c->index);
    free(c->slots);
    free(c->labels);
    free(c->free_slots);
    free(c->queue);
    free(c->prints);
    c->index = g->index;
    c->reader = g->reader;
    c->slots = g->slots;
    c->labels = g->labels;
    c->free_slots = g->free_slots;
    c->queue = g->queue;
    c->prints = g->prints;
    c->slot_count = g->slot_count;
    c->slot_cap = g->slot_cap;
    c->free_count = g->free_count;
    c->queue_head = c->queue_count = 0;
    c->kept_table = g->table;
    c->kept_size = g->table_size;
    c->kept = c->adopted = g->kept;
    free(g);
    return true;
}

uint32_t collection_find_kept(const struct collection *c,
                              const struct print *print)
{
    if (c->kept == 0)
        return SLOT_NONE;
    size_t mask = c->kept_size - 1;
    for (size_t at = print->a & mask; c->kept_table[at]; at = (at + 1) & mask) {
        uint32_t slot = c->kept_table[at] - 1;
        if (c->slots[slot].state == SLOT_KEPT &&
            c->prints[slot].a == print->a && c->prints[slot].b == print->b)
            return slot;
    }
    return SLOT_NONE;
}

void collection_drop_kept(struct collection *c)
{
    for (uint32_t i = 0; i < c->slot_count && c->kept; i++) {
        if (c->slots[i].state != SLOT_KEPT)
            continue;
        c->slots[i].state = SLOT_LEAVING;
        c->kept--;
        collection_enqueue(c, i);
    }
    assert(c->kept == 0);
    free(c->kept_table);
    c->kept_table = NULL;
    c->kept_size = 0;
}
