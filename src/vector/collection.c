/* SPDX-License-Identifier: Apache-2.0 */

/* Slots, parts, and what finds a slot by its id. */

#include "vector/collection.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "vector/collection_state.h"

enum {
    SLOTS_FIRST = 64,
    TABLE_FIRST = 128
};

int collection_new(const struct collection_config *config,
                   const struct collection_source *source,
                   struct collection **out)
{
    *out = NULL;
    struct collection *c = mem_zero(1, sizeof *c);
    if (!c)
        return DLHT_ENOMEM;
    c->source = *source;
    c->config = config->index;
    int rc = index_new(&config->index, &c->index);
    if (rc == DLHT_OK)
        rc = index_reader_new(c->index, &c->reader);
    if (rc == DLHT_OK && config->field_count) {
        c->field_count = config->field_count;
        rc = field_index_new(config->fields, config->field_count, &c->fields);
        rc = rc == DLHT_ETOOBIG ? (int)DLHT_EINVAL : rc;
    }
    if (rc == DLHT_OK && config->saves &&
        index_backend(c->index) == INDEX_HNSW) {
        c->prints = mem_array(1, sizeof *c->prints);
        rc = c->prints ? DLHT_OK : DLHT_ENOMEM;
    }
    if (rc == DLHT_OK) {
        c->room = mem_array(config->index.hnsw.dim, sizeof *c->room);
        rc = c->room ? DLHT_OK : DLHT_ENOMEM;
    }
    if (rc == DLHT_OK)
        *out = c;
    else
        collection_free(c);
    return rc;
}

void collection_free(struct collection *c)
{
    if (!c)
        return;
    assert(!c->work);
    for (uint32_t i = 0; i < c->slot_count; i++)
        free(c->slots[i].bytes);
    index_reader_free(c->reader);
    index_free(c->index);
    index_reader_free(c->next_reader);
    index_free(c->next);
    field_index_free(c->fields);
    free(c->slots);
    free(c->prints);
    free(c->kept_table);
    free(c->labels);
    free(c->free_slots);
    free(c->table);
    free(c->queue);
    free(c->parts);
    free(c->label_list);
    free(c->room);
    free(c);
}

const struct hnsw_config *collection_graph(const struct collection *c)
{
    return &c->config.hnsw;
}

void collection_set_ef(struct collection *c, uint32_t ef)
{
    c->config.hnsw.ef_search = ef;
}

/* Labels */

static uint32_t take_label(struct collection *c, uint32_t part)
{
    for (uint32_t i = 0; i < c->label_count; i++)
        if (c->label_list[i].use == LABEL_FREE) {
            c->label_list[i] = (struct label){ part, LABEL_USED };
            return i;
        }
    if (c->label_count == c->label_cap) {
        uint32_t cap = c->label_cap ? c->label_cap * 2 : 16;
        struct label *grown =
            mem_resize(c->label_list, cap, sizeof *c->label_list);
        if (!grown)
            return LABEL_NONE;
        c->label_list = grown;
        c->label_cap = cap;
    }
    c->label_list[c->label_count] = (struct label){ part, LABEL_USED };
    return c->label_count++;
}

static void kill_label(struct collection *c, uint32_t label)
{
    c->label_list[label] = (struct label){ PART_NONE, LABEL_DEAD };
    c->dead_labels = true;
}

int collection_add_part(struct collection *c, uint32_t *part)
{
    uint32_t at = 0;
    while (at < c->part_count && c->parts[at].used)
        at++;
    if (at == COLLECTION_PARTS_MAX)
        return DLHT_EFULL;
    if (at == c->part_cap) {
        uint32_t cap = c->part_cap ? c->part_cap * 2 : 8;
        struct part *grown = mem_resize(c->parts, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        c->parts = grown;
        c->part_cap = cap;
    }
    uint32_t label = take_label(c, at);
    if (label == LABEL_NONE)
        return DLHT_ENOMEM;
    c->parts[at] =
        (struct part){ .used = true, .label = label, .old_label = LABEL_NONE };
    if (at == c->part_count)
        c->part_count++;
    *part = at;
    return DLHT_OK;
}

void collection_drop_part(struct collection *c, uint32_t part)
{
    struct part *p = &c->parts[part];
    assert(part < c->part_count && p->used);
    kill_label(c, p->label);
    if (p->old_label != LABEL_NONE)
        kill_label(c, p->old_label);
    c->live -= p->live;
    p->used = false;
}

/* Ids */

static bool place_holds(const struct collection *c, uint32_t slot,
                        uint32_t hash, uint32_t label, struct span id)
{
    const struct slot *s = &c->slots[slot];
    return s->hash == hash && c->labels[slot] == label &&
           span_equal(slot_id(s), id);
}

uint32_t collection_find(const struct collection *c, uint32_t label,
                         struct span id)
{
    if (c->table_size == 0)
        return SLOT_NONE;
    uint32_t hash = (uint32_t)hash64(id);
    size_t mask = c->table_size - 1;
    for (size_t at = hash & mask; c->table[at]; at = (at + 1) & mask)
        if (place_holds(c, c->table[at] - 1, hash, label, id))
            return c->table[at] - 1;
    return SLOT_NONE;
}

static void table_add(struct collection *c, uint32_t slot)
{
    size_t mask = c->table_size - 1;
    size_t at = c->slots[slot].hash & mask;
    while (c->table[at])
        at = (at + 1) & mask;
    c->table[at] = slot + 1;
    c->table_used++;
}

/* Knuth 6.4, algorithm R: those behind move up into the gap. */
static void table_remove(struct collection *c, uint32_t slot)
{
    size_t mask = c->table_size - 1;
    size_t at = c->slots[slot].hash & mask;
    while (c->table[at] != slot + 1)
        at = (at + 1) & mask;
    for (size_t next = (at + 1) & mask; c->table[next];
         next = (next + 1) & mask) {
        size_t home = c->slots[c->table[next] - 1].hash & mask;
        if (((next - home) & mask) >= ((next - at) & mask)) {
            c->table[at] = c->table[next];
            at = next;
        }
    }
    c->table[at] = 0;
    c->table_used--;
}

static int reserve_table(struct collection *c)
{
    if ((c->table_used + 1) * 4 <= c->table_size * 3)
        return DLHT_OK;
    size_t size = c->table_size ? c->table_size * 2 : TABLE_FIRST;
    uint32_t *table = mem_zero(size, sizeof *table);
    if (!table)
        return DLHT_ENOMEM;
    free(c->table);
    c->table = table;
    c->table_size = size;
    c->table_used = 0;
    for (uint32_t i = 0; i < c->slot_count; i++)
        if (c->slots[i].bytes)
            table_add(c, i);
    return DLHT_OK;
}

/* Slots */

static int reserve_slots(struct collection *c)
{
    if (c->free_count || c->slot_count < c->slot_cap)
        return DLHT_OK;
    if (c->slot_cap > FIELD_INDEX_ROW_MAX / 2)
        return DLHT_ENOMEM;
    uint32_t cap = c->slot_cap ? c->slot_cap * 2 : SLOTS_FIRST;
    struct slot *slots = mem_resize(c->slots, cap, sizeof *slots);
    if (slots)
        c->slots = slots;
    uint32_t *labels = mem_resize(c->labels, cap, sizeof *labels);
    if (labels)
        c->labels = labels;
    uint32_t *list = mem_resize(c->free_slots, cap, sizeof *list);
    if (list)
        c->free_slots = list;
    struct print *prints =
        c->prints ? mem_resize(c->prints, cap, sizeof *prints) : NULL;
    if (prints)
        c->prints = prints;
    uint32_t *queue = mem_array(cap, sizeof *queue);
    if (!slots || !labels || !list || !queue || (c->prints && !prints)) {
        free(queue);
        return DLHT_ENOMEM;
    }
    for (uint32_t i = 0; i < c->queue_count; i++)
        queue[i] = c->queue[(c->queue_head + i) % c->slot_cap];
    free(c->queue);
    c->queue = queue;
    c->queue_head = 0;
    c->slot_cap = cap;
    return DLHT_OK;
}

void collection_enqueue(struct collection *c, uint32_t slot)
{
    assert(c->queue_count < c->slot_cap);
    c->queue[(c->queue_head + c->queue_count) % c->slot_cap] = slot;
    c->queue_count++;
}

void collection_free_slot(struct collection *c, uint32_t slot)
{
    struct slot *s = &c->slots[slot];
    if (s->bytes)
        table_remove(c, slot);
    c->id_bytes -= s->id_len + s->meta_len;
    free(s->bytes);
    *s = (struct slot){ .state = SLOT_FREE };
    c->free_slots[c->free_count++] = slot;
}

void collection_retire(struct collection *c, uint32_t slot)
{
    struct slot *s = &c->slots[slot];
    if (collection_is_shown(c, slot)) {
        struct part *p = &c->parts[collection_part_of(c, slot)];
        p->live--;
        p->indexed -= s->state == SLOT_INDEXED;
        c->live--;
    }
    c->labels[slot] = LABEL_NONE;
    if (c->fields)
        field_index_remove(c->fields, slot, slot_meta(s));
    if (s->state == SLOT_WAITING) {
        s->state = SLOT_DROPPED;
        return;
    }
    if (s->state == SLOT_WORKING) {
        s->state = SLOT_LEAVING;
        return;
    }
    assert(s->state == SLOT_INDEXED);
    c->indexed--;
    s->state = SLOT_LEAVING;
    if (index_backend(c->index) == INDEX_EXACT) {
        bool removed;
        (void)!index_remove(c->index, slot, &removed);
        collection_free_slot(c, slot);
    } else {
        collection_enqueue(c, slot);
    }
}

/* The slot that make_slot gives out next: one of a file, if that has the very
 * vector. */
static uint32_t next_slot(const struct collection *c, const struct print *print)
{
    uint32_t kept = collection_find_kept(c, print);
    if (kept != SLOT_NONE)
        return kept;
    return c->free_count ? c->free_slots[c->free_count - 1] : c->slot_count;
}

/* next_slot's answer is in use from here. */
static void take_slot(struct collection *c, uint32_t slot)
{
    if (slot < c->slot_count && c->slots[slot].state == SLOT_KEPT) {
        c->kept--;
        c->claimed++;
        c->indexed++;
    } else if (c->free_count) {
        c->free_count--;
    } else {
        c->slot_count++;
    }
}

/* A slot for it, not found yet. */
static int make_slot(struct collection *c, struct span id,
                     const struct vector_record *record, uint64_t version,
                     uint32_t *out)
{
    int rc = reserve_slots(c);
    if (rc == DLHT_OK)
        rc = reserve_table(c);
    size_t meta_len = record->meta.bytes.len;
    uint8_t *bytes = rc == DLHT_OK ? malloc(id.len + meta_len + 1) : NULL;
    if (!bytes)
        return DLHT_ENOMEM;
    struct print print = { 0, 0 };
    if (c->prints)
        print = collection_print(id, record);
    uint32_t slot = next_slot(c, &print);
    bool kept = slot < c->slot_count && c->slots[slot].state == SLOT_KEPT;
    rc =
        c->fields ? field_index_insert(c->fields, slot, record->meta) : DLHT_OK;
    if (rc == DLHT_OK && index_backend(c->index) == INDEX_EXACT) {
        vector_record_floats(record->floats, record->dim, c->room);
        rc = index_put(c->index, slot, c->room, NULL);
        if (rc != DLHT_OK && c->fields)
            field_index_remove(c->fields, slot, record->meta);
    }
    if (rc != DLHT_OK) {
        free(bytes);
        return DLHT_ENOMEM;
    }
    take_slot(c, slot);
    if (c->prints)
        c->prints[slot] = print;
    memcpy(bytes, id.data, id.len);
    if (meta_len)
        memcpy(bytes + id.len, record->meta.bytes.data, meta_len);
    c->slots[slot] =
        (struct slot){ .bytes = bytes,
                       .id_len = (uint32_t)id.len,
                       .meta_len = (uint32_t)meta_len,
                       .version = version,
                       .hash = (uint32_t)hash64(id),
                       .state = kept ? SLOT_INDEXED : SLOT_WAITING };
    c->labels[slot] = LABEL_NONE;
    c->id_bytes += id.len + meta_len;
    table_add(c, slot);
    *out = slot;
    return DLHT_OK;
}

static void count_shown(struct collection *c, struct part *p, uint32_t slot)
{
    p->live++;
    p->indexed += c->slots[slot].state == SLOT_INDEXED;
    c->live++;
}

/* It is found in the part from now on. */
static void show_slot(struct collection *c, uint32_t part, uint32_t slot)
{
    struct part *p = &c->parts[part];
    c->labels[slot] = p->label;
    if (index_backend(c->index) == INDEX_EXACT) {
        c->slots[slot].state = SLOT_INDEXED;
        c->indexed++;
    } else if (c->slots[slot].state == SLOT_WAITING) {
        collection_enqueue(c, slot);
    }
    count_shown(c, p, slot);
}

static bool is_sound(const struct collection *c, struct span value,
                     struct vector_record *out)
{
    const struct hnsw_config *graph = &c->config.hnsw;
    if (vector_record_open(value, out) != DLHT_OK || out->dim != graph->dim)
        return false;
    vector_record_floats(out->floats, out->dim, c->room);
    return metric_check(graph->metric, c->room, out->dim, NULL) == DLHT_OK;
}

int collection_put(struct collection *c, uint32_t part, struct span id,
                   struct span value, uint64_t version)
{
    struct part *p = &c->parts[part];
    assert(part < c->part_count && p->used);
    uint32_t now = collection_find(c, p->label, id);
    if (now != SLOT_NONE && c->slots[now].version == version)
        return DLHT_OK;
    uint32_t before = p->old_label == LABEL_NONE
                          ? SLOT_NONE
                          : collection_find(c, p->old_label, id);
    if (before != SLOT_NONE && c->slots[before].version == version &&
        now == SLOT_NONE) {
        c->labels[before] = p->label;
        count_shown(c, p, before);
        return DLHT_OK;
    }
    struct vector_record record;
    uint32_t slot = SLOT_NONE;
    if (!is_sound(c, value, &record))
        p->damaged++;
    else if (make_slot(c, id, &record, version, &slot) != DLHT_OK)
        return DLHT_ENOMEM;
    if (now != SLOT_NONE)
        collection_retire(c, now);
    if (before != SLOT_NONE)
        collection_retire(c, before);
    if (slot != SLOT_NONE)
        show_slot(c, part, slot);
    return DLHT_OK;
}

void collection_remove(struct collection *c, uint32_t part, struct span id)
{
    const struct part *p = &c->parts[part];
    uint32_t slot = collection_find(c, p->label, id);
    if (slot != SLOT_NONE)
        collection_retire(c, slot);
    slot = p->old_label == LABEL_NONE ? SLOT_NONE
                                      : collection_find(c, p->old_label, id);
    if (slot != SLOT_NONE)
        collection_retire(c, slot);
}

void collection_move(struct collection *c, uint32_t from, uint32_t to,
                     struct span id)
{
    struct part *a = &c->parts[from], *b = &c->parts[to];
    uint32_t slot = collection_find(c, a->label, id);
    if (slot == SLOT_NONE)
        return;
    bool indexed = c->slots[slot].state == SLOT_INDEXED;
    c->labels[slot] = b->label;
    a->live--;
    b->live++;
    a->indexed -= indexed;
    b->indexed += indexed;
}

void collection_refill(struct collection *c, uint32_t part)
{
    struct part *p = &c->parts[part];
    p->damaged = 0;
    if (p->old_label != LABEL_NONE)
        collection_end_refill(c, part);
    uint32_t label = take_label(c, part);
    if (label == LABEL_NONE) {
        /* No memory: from nothing. */
        for (uint32_t i = 0; i < c->slot_count; i++)
            if (c->slots[i].state != SLOT_FREE && c->labels[i] == p->label)
                collection_retire(c, i);
        return;
    }
    p->old_label = p->label;
    c->label_list[p->old_label].use = LABEL_OLD;
    p->label = label;
    c->live -= p->live;
    p->live = p->indexed = 0;
}

void collection_end_refill(struct collection *c, uint32_t part)
{
    struct part *p = &c->parts[part];
    if (p->old_label == LABEL_NONE)
        return;
    kill_label(c, p->old_label);
    p->old_label = LABEL_NONE;
}

/* Sweeping */

static void begin_sweep(struct collection *c)
{
    for (uint32_t i = 0; i < c->label_count; i++)
        if (c->label_list[i].use == LABEL_DEAD)
            c->label_list[i].use = LABEL_SWEEPING;
    c->sweeping = true;
    c->dead_labels = false;
    c->sweep_at = 0;
}

static void end_sweep(struct collection *c)
{
    for (uint32_t i = 0; i < c->label_count; i++)
        if (c->label_list[i].use == LABEL_SWEEPING)
            c->label_list[i].use = LABEL_FREE;
    c->sweeping = false;
}

bool collection_sweep(struct collection *c, size_t steps)
{
    if (!c->sweeping && !c->dead_labels)
        return false;
    if (!c->sweeping)
        begin_sweep(c);
    for (; steps > 0 && c->sweep_at < c->slot_count; steps--, c->sweep_at++) {
        uint32_t slot = c->sweep_at;
        uint32_t label = c->labels[slot];
        if (c->slots[slot].state != SLOT_FREE && label != LABEL_NONE &&
            c->label_list[label].part == PART_NONE)
            collection_retire(c, slot);
    }
    if (c->sweep_at >= c->slot_count)
        end_sweep(c);
    return c->sweeping || c->dead_labels;
}

bool collection_read(const struct collection *c, uint32_t slot, float *vector)
{
    const struct slot *s = &c->slots[slot];
    uint32_t part = collection_part_of(c, slot);
    struct span value;
    uint64_t version;
    struct vector_record record;
    if (part == PART_NONE ||
        !c->source.read(c->source.self, part, slot_id(s), &value, &version) ||
        version != s->version ||
        vector_record_open(value, &record) != DLHT_OK ||
        record.dim != c->config.hnsw.dim)
        return false;
    vector_record_floats(record.floats, record.dim, vector);
    return true;
}

void collection_info(const struct collection *c, struct collection_info *out)
{
    *out = (struct collection_info){ .live = c->live,
                                     .indexed = c->indexed,
                                     .waiting = c->queue_count,
                                     .adopted = c->adopted,
                                     .claimed = c->claimed,
                                     .kept = c->kept,
                                     .changes = c->changes,
                                     .rebuilding = c->next != NULL };
    if (c->work)
        out->waiting += c->work->count;
    for (uint32_t i = 0; i < c->part_count; i++)
        out->damaged += c->parts[i].used ? c->parts[i].damaged : 0;
    /* While it is being changed, as of before. */
    out->index_bytes = c->work ? c->index_bytes : index_memory(c->index).total;
    out->bytes = out->index_bytes + c->id_bytes +
                 c->slot_cap * (sizeof *c->slots + 3 * sizeof(uint32_t)) +
                 c->table_size * sizeof *c->table;
    if (c->prints)
        out->bytes += c->slot_cap * sizeof *c->prints;
    if (c->fields)
        out->bytes += field_index_bytes(c->fields);
}

uint64_t collection_part_damaged(const struct collection *c, uint32_t part)
{
    return c->parts[part].damaged;
}

uint64_t collection_part_live(const struct collection *c, uint32_t part)
{
    return c->parts[part].live;
}

/* What is in the graph is what the record says: of one taken over from a file,
 * too. */
static void check_print(const struct collection *c, uint32_t slot)
{
    struct span value;
    uint64_t version;
    struct vector_record record;
    if (!c->prints ||
        !c->source.read(c->source.self, collection_part_of(c, slot),
                        slot_id(&c->slots[slot]), &value, &version) ||
        vector_record_open(value, &record) != DLHT_OK)
        return;
    struct print print = collection_print(slot_id(&c->slots[slot]), &record);
    assert(print.a == c->prints[slot].a && print.b == c->prints[slot].b);
}

void collection_check(struct collection *c)
{
    uint64_t live = 0, indexed = 0, used = 0, in_queue = 0;
    uint64_t kept = 0, named = 0;
    assert(!c->work);
    for (uint32_t i = 0; i < c->slot_count; i++) {
        const struct slot *s = &c->slots[i];
        if (s->state == SLOT_FREE)
            continue;
        used++;
        named += s->bytes != NULL;
        kept += s->state == SLOT_KEPT;
        assert(s->bytes || s->state == SLOT_KEPT || s->state == SLOT_LEAVING);
        assert(!s->bytes || s->hash == (uint32_t)hash64(slot_id(s)));
        assert(s->state != SLOT_WORKING);
        indexed += s->state == SLOT_INDEXED;
        in_queue += s->state != SLOT_INDEXED && s->state != SLOT_KEPT;
        bool in_graph = s->state == SLOT_INDEXED || s->state == SLOT_LEAVING ||
                        s->state == SLOT_KEPT;
        assert(in_graph == (index_row(c->index, i) != HANDLES_NO_ROW));
        if (s->state >= SLOT_LEAVING)
            assert(c->labels[i] == LABEL_NONE);
        if (!collection_is_shown(c, i))
            continue;
        live++;
        assert(collection_find(c, c->labels[i], slot_id(s)) == i);
        assert(collection_read(c, i, c->room));
        check_print(c, i);
    }
    uint64_t part_live = 0;
    for (uint32_t i = 0; i < c->part_count; i++)
        part_live += c->parts[i].used ? c->parts[i].live : 0;
    assert(live == c->live && part_live == live && indexed == c->indexed);
    assert(named == c->table_used && in_queue == c->queue_count);
    assert(kept == c->kept);
    assert(used + c->free_count == c->slot_count);
    struct hnsw_report report;
    int rc = index_check(c->index, &report);
    assert(rc != DLHT_ECORRUPT);
    (void)rc;
    if (c->fields)
        field_index_check(c->fields);
}
