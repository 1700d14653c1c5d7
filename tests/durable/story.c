/* SPDX-License-Identifier: Apache-2.0 */

/* Requests, answers, and the judge. */

#include "durable/story.h"

#include <string.h>

#include "base/buf.h"
#include "dlht/err.h"
#include "store/le.h"
#include "wire/mp.h"

static const char *const SPACES[STORY_SPACES] = { "default", "ordered",
                                                  "hashed" };

enum {
    VALUE_MAX = 6000,
    PATIENCE_MS = 20000,
    KEY_BYTES = 3
};

static void key_text(char text[8], size_t key)
{
    snprintf(text, 8, "k%02u", (unsigned)key % 100);
}

/* Bytes and length follow from the number; mostly short. */
static size_t value_bytes(uint64_t value, uint8_t bytes[VALUE_MAX])
{
    struct rng rng;
    rng_init(&rng, value);
    size_t len = 8 + (size_t)rng_below(&rng, 120);
    if (rng_chance(&rng, 0.12))
        len = (size_t)rng_range(&rng, 200, VALUE_MAX);
    for (size_t i = 8; i < len; i++)
        bytes[i] = (uint8_t)(value * 31 + i * (value % 13 + 1));
    le_put64(bytes, value);
    return len;
}

/* Number of the value; 0: these are no bytes that the story ever wrote. */
static uint64_t value_of(struct span bytes)
{
    uint8_t expect[VALUE_MAX];
    if (bytes.len < 8)
        return 0;
    uint64_t value = le_get64(bytes.data);
    if (value == 0)
        return 0;
    size_t len = value_bytes(value, expect);
    return span_equal(bytes, span_of(expect, len)) ? value : 0;
}

void story_init(struct story *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    rng_init(&s->rng, seed);
    s->states[0] = STORY_PRESENT;
}

void story_deinit(struct story *s)
{
    free(s->doubts);
}

/* --- answers */

static void apply(struct story *s, const struct story_op *op, uint64_t version)
{
    for (size_t i = 0; i < op->count; i++)
        s->cells[op->space][op->keys[i]] = (struct story_cell){
            .value = op->values[i],
            .version = op->op == OP_BATCH || !op->values[i] ? 0 : version,
        };
}

static void space_changed(struct story *s, size_t space, bool there)
{
    s->states[space] = there ? STORY_PRESENT : STORY_ABSENT;
    memset(s->cells[space], 0, sizeof s->cells[space]);
    size_t kept = 0;
    for (size_t i = 0; i < s->doubt_count; i++)
        if (s->doubts[i].space != space)
            s->doubts[kept++] = s->doubts[i];
    s->doubt_count = kept;
}

static void doubt(struct story *s, const struct story_op *op)
{
    struct story_op *more =
        realloc(s->doubts, (s->doubt_count + 1) * sizeof *more);
    RIG_CHECK(more, "no memory");
    s->doubts = more;
    s->doubts[s->doubt_count++] = *op;
}

static void hear(void *context, uint64_t ticket, const struct response *r)
{
    struct story *s = context;
    if (ticket < 100 || ticket - 100 >= s->op_count)
        return;
    struct story_op *op = &s->ops[ticket - 100];
    RIG_CHECK(op->open, "a second answer");
    op->open = false;
    op->status = r->status;
    if (r->status == DLHT_OK) {
        s->acknowledged++;
        if (op->op == OP_KEYSPACE_CREATE || op->op == OP_KEYSPACE_DROP)
            space_changed(s, op->space, op->op == OP_KEYSPACE_CREATE);
        else
            apply(s, op, r->version);
    }
}

void story_use(struct story *s, struct rig *rig)
{
    s->rig = rig;
    rig->on_reply = hear;
    rig->context = s;
}

/* --- requests */

static struct story_op *new_op(struct story *s, uint8_t kind, size_t space)
{
    struct story_op *op = &s->ops[s->op_count++];
    *op = (struct story_op){ .op = kind, .open = true, .space = space };
    return op;
}

static bool is_taken(const struct story *s, size_t key)
{
    for (size_t i = 0; i < s->op_count; i++)
        for (size_t k = 0; k < s->ops[i].count; k++)
            if (s->ops[i].keys[k] == key)
                return true;
    return false;
}

static bool draw_key(struct story *s, struct story_op *op, bool removal)
{
    size_t key = (size_t)rng_below(&s->rng, STORY_KEYS);
    if (is_taken(s, key))
        return false;
    op->keys[op->count] = key;
    op->values[op->count++] = removal ? 0 : ++s->last_value;
    return true;
}

static void send(struct story *s, const struct request *request, size_t number)
{
    struct event event = { .kind = EVENT_REQUEST };
    event.u.request.ticket = 100 + number;
    event.u.request.request = request;
    rig_step(s->rig, &event);
}

static void pack_batch(const struct story_op *op, struct buf *list)
{
    uint8_t bytes[VALUE_MAX];
    char key[8];
    for (size_t i = 0; i < op->count; i++) {
        key_text(key, op->keys[i]);
        mp_write_bin(list, span_str(key));
        size_t len = value_bytes(op->values[i], bytes);
        mp_write_bin(list, span_of(bytes, len));
    }
}

static void send_write(struct story *s, size_t number)
{
    const struct story_op *op = &s->ops[number];
    uint8_t bytes[VALUE_MAX];
    char key[8];
    struct buf list = { 0 };
    struct request q = { .op = op->op, .timeout_ms = 10000 };
    q.keyspace_name = span_str(SPACES[op->space]);
    key_text(key, op->keys[0]);
    if (op->op == OP_BATCH) {
        pack_batch(op, &list);
        q.list = buf_span(&list);
        q.list_count = (uint32_t)op->count * 2;
    } else {
        q.key = span_str(key);
    }
    if (op->op == OP_PUT || op->op == OP_CAS)
        q.value = span_of(bytes, value_bytes(op->values[0], bytes));
    if (op->op == OP_CAS)
        q.version = s->cells[op->space][op->keys[0]].version;
    send(s, &q, number);
    buf_deinit(&list);
}

static bool wait_for_all(struct story *s)
{
    struct event flush = { .kind = EVENT_FLUSH };
    rig_turn(s->rig, &flush);
    for (size_t i = 0; i < PATIENCE_MS / 10 && !s->rig->failed; i++) {
        bool open = false;
        for (size_t k = 0; k < s->op_count; k++)
            open = open || s->ops[k].open;
        if (!open)
            break;
        rig_run(s->rig, 10, false);
    }
    bool all = true;
    for (size_t k = 0; k < s->op_count; k++) {
        struct story_op *op = &s->ops[k];
        if (!op->open && op->status == DLHT_OK)
            continue;
        all = false;
        if (s->keep_doubt && op->count)
            doubt(s, op);
    }
    s->op_count = 0;
    return all;
}

static uint8_t draw_write(struct story *s)
{
    uint64_t at = rng_below(&s->rng, 100);
    return at < 50 ? OP_PUT : at < 70 ? OP_DEL : at < 80 ? OP_CAS : OP_BATCH;
}

/* Of a kind, 0: of any. */
static bool write_some(struct story *s, size_t count, uint8_t wanted)
{
    size_t space = (size_t)rng_below(&s->rng, STORY_SPACES);
    if (s->states[space] != STORY_PRESENT)
        space = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t kind = wanted ? wanted : draw_write(s);
        struct story_op *op = new_op(s, kind, space);
        size_t keys =
            kind == OP_BATCH ? (size_t)rng_range(&s->rng, 1, STORY_OP_KEYS) : 1;
        while (op->count < keys && draw_key(s, op, kind == OP_DEL))
            ;
        /* What was batched has a version that the story does not know. */
        const struct story_cell *cell =
            op->count ? &s->cells[space][op->keys[0]] : NULL;
        if (cell && kind == OP_CAS && cell->value && !cell->version)
            op->op = OP_PUT;
        /* To remove what is not there is no write. */
        if (cell && kind == OP_DEL && !cell->value) {
            op->op = OP_PUT;
            op->values[0] = ++s->last_value;
        }
        if (op->count == 0)
            s->op_count--;
        else
            send_write(s, s->op_count - 1);
    }
    return wait_for_all(s);
}

/* A keyspace comes or goes. */
static bool change_space(struct story *s, size_t space)
{
    bool there = s->states[space] == STORY_PRESENT;
    struct buf doc = { 0 };
    mp_write_map(&doc, there ? 1 : 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, SPACES[space]);
    if (!there) {
        mp_write_cstr(&doc, "placement");
        mp_write_cstr(&doc, space == 2 ? "hashed" : "ordered");
    }
    struct request q = {
        .op = there ? OP_KEYSPACE_DROP : OP_KEYSPACE_CREATE,
        .timeout_ms = 10000,
    };
    q.value = buf_span(&doc);
    new_op(s, q.op, space);
    s->states[space] = there ? STORY_GOING : STORY_COMING;
    send(s, &q, 0);
    bool ok = wait_for_all(s);
    buf_deinit(&doc);
    return ok;
}

static void cut_or_join(struct story *s, bool join)
{
    size_t space = (size_t)rng_below(&s->rng, STORY_SPACES);
    if (space == 2 || s->states[space] != STORY_PRESENT)
        space = 0;
    size_t count = rig_arc_count(s->rig, SPACES[space]);
    if (count > 1 && join) {
        rig_merge(s->rig, SPACES[space],
                  (size_t)rng_range(&s->rng, 1, count - 1));
    } else if (count) {
        char key[8];
        key_text(key, (size_t)rng_below(&s->rng, STORY_KEYS));
        rig_split(s->rig, SPACES[space], (size_t)rng_below(&s->rng, count),
                  span_str(key));
    }
    if (rng_chance(&s->rng, 0.7))
        rig_run(s->rig, rng_range(&s->rng, 10, 600), false);
}

static size_t draw_space(struct story *s, bool there)
{
    size_t space = (size_t)rng_range(&s->rng, 1, STORY_SPACES - 1);
    size_t other = STORY_SPACES - space;
    bool is = s->states[space] == STORY_PRESENT;
    return is == there ? space : other;
}

bool story_do(struct story *s, enum story_kind kind)
{
    static const uint8_t OPS[] = { OP_PUT, OP_DEL, OP_CAS, OP_BATCH };
    bool ok = true;
    if (kind <= STORY_BATCH)
        ok = write_some(s, 1, OPS[kind]);
    else if (kind == STORY_CREATE || kind == STORY_DROP)
        ok = change_space(s, draw_space(s, kind == STORY_DROP));
    else if (kind == STORY_SPLIT || kind == STORY_MERGE)
        cut_or_join(s, kind == STORY_MERGE);
    else
        rig_run(s->rig, rng_range(&s->rng, 10, 800), false);
    return ok && !s->rig->failed;
}

bool story_step(struct story *s)
{
    uint64_t at = rng_below(&s->rng, 100);
    if (at < 80) {
        bool one = rng_chance(&s->rng, 0.5);
        size_t count = one ? 1 : (size_t)rng_range(&s->rng, 2, STORY_WINDOW);
        return write_some(s, count, 0) && !s->rig->failed;
    }
    if (at < 84)
        return story_do(s,
                        rng_chance(&s->rng, 0.5) ? STORY_CREATE : STORY_DROP);
    if (at < 93)
        return story_do(s,
                        rng_chance(&s->rng, 0.5) ? STORY_SPLIT : STORY_MERGE);
    return story_do(s, STORY_WAIT);
}

/* --- reading back */

static bool note_triples(const struct response *r, struct story_cell *cells)
{
    struct mp_reader reader;
    mp_reader_init(&reader, r->list);
    for (uint32_t i = 0; i < r->list_count; i++) {
        struct span key = mp_read_bytes(&reader);
        struct span value = mp_read_bytes(&reader);
        uint64_t version = mp_read_uint(&reader);
        RIG_CHECK(!reader.bad && key.len == KEY_BYTES, "a strange key");
        size_t at =
            (size_t)(key.data[1] - '0') * 10 + (size_t)(key.data[2] - '0');
        RIG_CHECK(key.data[0] == 'k' && at < STORY_KEYS, "a strange key");
        RIG_CHECK(cells[at].value == 0, "key %zu comes twice", at);
        cells[at].value = value_of(value);
        cells[at].version = version;
        RIG_CHECK(cells[at].value, "key %zu holds what nobody wrote", at);
    }
    return true;
}

static bool read_space(struct rig *rig, size_t space, struct story_content *out)
{
    struct buf cursor = { 0 };
    struct request q = { .op = OP_RANGE, .limit = 25, .timeout_ms = 10000 };
    q.keyspace_name = span_str(SPACES[space]);
    if (space == 2)
        q.flags |= REQUEST_SCAN;
    bool more = true, ok = true;
    while (more && ok) {
        ok = rig_ask(rig, &q, PATIENCE_MS);
        const struct response *r = &rig->response;
        if (!ok)
            break;
        if (r->status == DLHT_ENOKEYSPACE)
            break;
        ok = r->status == DLHT_OK && note_triples(r, out->cells[space]);
        out->there[space] = true;
        more = r->more;
        buf_reset(&cursor);
        buf_append_span(&cursor, r->cursor);
        q.key = buf_span(&cursor);
    }
    buf_deinit(&cursor);
    return ok;
}

bool story_read(struct rig *rig, struct story_content *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < STORY_SPACES; i++)
        if (!read_space(rig, i, out))
            return false;
    return true;
}

static bool may_be(const struct story_op *op, size_t space, size_t key,
                   uint64_t value)
{
    if (op->space != space)
        return false;
    for (size_t i = 0; i < op->count; i++)
        if (op->keys[i] == key && op->values[i] == value)
            return true;
    return false;
}

static bool is_legal(const struct story *s, size_t space, size_t key,
                     const struct story_cell *found)
{
    const struct story_cell *due = &s->cells[space][key];
    if (found->value == due->value &&
        (!due->version || found->version == due->version))
        return true;
    for (size_t i = 0; i < s->op_count; i++)
        if (s->ops[i].open && may_be(&s->ops[i], space, key, found->value))
            return true;
    for (size_t i = 0; i < s->doubt_count; i++)
        if (may_be(&s->doubts[i], space, key, found->value))
            return true;
    return false;
}

void story_judge(const struct story *s, const struct story_content *content,
                 const char *when)
{
    for (size_t i = 0; i < STORY_SPACES; i++) {
        enum story_space_state state = s->states[i];
        bool there = content->there[i];
        RIG_CHECK(there || state != STORY_PRESENT, "%s: keyspace %s is lost",
                  when, SPACES[i]);
        RIG_CHECK(!there || state != STORY_ABSENT, "%s: keyspace %s came back",
                  when, SPACES[i]);
        for (size_t k = 0; k < STORY_KEYS && there; k++) {
            const struct story_cell *found = &content->cells[i][k];
            RIG_CHECK(is_legal(s, i, k, found),
                      "%s: keyspace %s, key %zu holds %llu (version %llu), "
                      "not %llu (version %llu)",
                      when, SPACES[i], k, (unsigned long long)found->value,
                      (unsigned long long)found->version,
                      (unsigned long long)s->cells[i][k].value,
                      (unsigned long long)s->cells[i][k].version);
        }
    }
}

void story_adopt(struct story *s, const struct story_content *content)
{
    for (size_t i = 0; i < STORY_SPACES; i++)
        s->states[i] = content->there[i] ? STORY_PRESENT : STORY_ABSENT;
    memcpy(s->cells, content->cells, sizeof s->cells);
    s->doubt_count = 0;
    s->op_count = 0;
}
