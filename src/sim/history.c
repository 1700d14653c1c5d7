/* SPDX-License-Identifier: Apache-2.0 */

/* Operations by key. */

#include "sim/history.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"

enum {
    CUTS_MAX = 4, /* of one key */
    KEY_BYTES_MAX = 24,
    HASH_BYTES = 8,
    VALUE_ID_BYTES = 8
};

struct cut {
    uint64_t at_ns;
    uint64_t id;
    uint64_t version;
};

struct key {
    char place[HASH_BYTES + KEY_BYTES_MAX]; /* the text, behind a hash or not */
    size_t skip;                            /* bytes of hash */
    const char *name;                       /* the caller's text; NULL: drawn */
    size_t len;                             /* of the text */
    struct linear_op *ops;
    size_t count, cap;
    struct cut cuts[CUTS_MAX];
    size_t cut_count;
};

struct history {
    bool hashed;
    struct key *keys;
    size_t key_count;
    size_t op_count;
};

static void *need(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static char *text_of(struct key *key)
{
    return key->place + key->skip;
}

static const char *name_of(const struct key *key)
{
    return key->name ? key->name : key->place + key->skip;
}

static struct span place_of(const struct key *key)
{
    return key->name ? span_of(key->name, key->len)
                     : span_of(key->place, key->skip + key->len);
}

/* Something like a word, so that keys share prefixes as real ones do. */
static size_t draw_word(struct rng *rng, char *text)
{
    static const char *const PARTS[] = { "an",   "be",   "con", "dis",
                                         "er",   "fo",   "in",  "le",
                                         "mi",   "over", "re",  "sta",
                                         "tion", "un",   "ver", "y" };
    size_t len = 0, count = 2 + rng_below(rng, 3);
    for (size_t i = 0; i < count; i++) {
        const char *part = PARTS[rng_below(rng, 16)];
        size_t n = strlen(part);
        memcpy(text + len, part, n);
        len += n;
    }
    text[len] = 0;
    return len;
}

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    return span_compare(place_of(x), place_of(y));
}

/* Drops repeated words; the rest is in order. */
static size_t make_unique(struct key *keys, size_t count)
{
    qsort(keys, count, sizeof *keys, compare_keys);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_keys(&keys[kept - 1], &keys[i]) != 0)
            keys[kept++] = keys[i];
    }
    return kept;
}

/* After all words, in order. */
static void draw_times(struct rng *rng, struct key *keys, size_t count)
{
    uint64_t now = 1000000;
    for (size_t i = 0; i < count; i++) {
        now += 1 + rng_below(rng, 9);
        if (rng_chance(rng, 0.02))
            now += rng_below(rng, 20000);
        keys[i].len = (size_t)snprintf(text_of(&keys[i]), KEY_BYTES_MAX,
                                       "z%08llu", (unsigned long long)now);
    }
}

/* As op_hashed_key. */
static void put_hash(struct key *key)
{
    uint64_t hash = hash64(span_of(text_of(key), key->len));
    for (int i = 0; i < HASH_BYTES; i++)
        key->place[i] = (char)(uint8_t)(hash >> (56 - 8 * i));
}

struct history *history_new(uint64_t seed, size_t key_count, size_t late_count,
                            bool hashed)
{
    struct rng rng;
    rng_init(&rng, seed);
    struct history *history = need(mem_zero(1, sizeof *history));
    history->keys = need(mem_zero(key_count, sizeof *history->keys));
    history->hashed = hashed;
    assert(!hashed || late_count == 0); /* no key is after all others */
    for (size_t i = 0; hashed && i < key_count; i++)
        history->keys[i].skip = HASH_BYTES;
    size_t count = 0;
    size_t words = key_count - late_count;
    while (count < words) {
        for (size_t i = count; i < words; i++) {
            struct key *key = &history->keys[i];
            key->len = draw_word(&rng, text_of(key));
            if (hashed)
                put_hash(key);
        }
        count = make_unique(history->keys, words);
        assert(words < 20000); /* there are enough words */
    }
    draw_times(&rng, history->keys + words, late_count);
    history->key_count = key_count;
    return history;
}

struct history *history_of(const struct span *keys, size_t key_count)
{
    struct history *history = need(mem_zero(1, sizeof *history));
    history->keys = need(mem_zero(key_count + 1, sizeof *history->keys));
    history->key_count = key_count;
    for (size_t i = 0; i < key_count; i++) {
        assert(i == 0 || span_compare(keys[i - 1], keys[i]) < 0);
        history->keys[i].name = (const char *)keys[i].data;
        history->keys[i].len = keys[i].len;
    }
    return history;
}

void history_free(struct history *history)
{
    if (!history)
        return;
    for (size_t i = 0; i < history->key_count; i++)
        free(history->keys[i].ops);
    free(history->keys);
    free(history);
}

size_t history_key_count(const struct history *history)
{
    return history->key_count;
}

struct span history_key(const struct history *history, size_t key)
{
    assert(key < history->key_count);
    return span_of(name_of(&history->keys[key]), history->keys[key].len);
}

struct span history_place(const struct history *history, size_t key)
{
    assert(key < history->key_count);
    return place_of(&history->keys[key]);
}

size_t history_place_at(const struct history *history, struct span place)
{
    size_t lo = 0, hi = history->key_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (span_compare(history_place(history, mid), place) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t history_find(const struct history *history, struct span key)
{
    if (history->key_count && history->keys[0].name) {
        size_t at = history_place_at(history, key);
        bool found = at < history->key_count &&
                     span_equal(history_key(history, at), key);
        return found ? at : SIZE_MAX;
    }
    struct key sought = { .skip = history->hashed ? HASH_BYTES : 0 };
    if (key.len == 0 || key.len >= KEY_BYTES_MAX)
        return SIZE_MAX;
    memcpy(text_of(&sought), key.data, key.len);
    sought.len = key.len;
    if (history->hashed)
        put_hash(&sought);
    size_t at = history_place_at(history, place_of(&sought));
    if (at == history->key_count || !span_equal(history_key(history, at), key))
        return SIZE_MAX;
    return at;
}

static uint8_t filler(uint64_t id, size_t key, size_t i)
{
    return (uint8_t)(hash64_mix(hash64_mix(id, key), i / 8) >> i % 8 * 8);
}

void history_value(uint64_t id, size_t key, size_t len, struct buf *out)
{
    for (size_t i = 0; i < VALUE_ID_BYTES; i++)
        buf_append_byte(out, (uint8_t)(id >> i * 8));
    for (size_t i = VALUE_ID_BYTES; i < len; i++)
        buf_append_byte(out, filler(id, key, i));
}

uint64_t history_value_id(struct span value, size_t key)
{
    uint64_t id = 0;
    if (value.len < VALUE_ID_BYTES)
        return 0;
    for (size_t i = 0; i < VALUE_ID_BYTES; i++)
        id |= (uint64_t)value.data[i] << i * 8;
    for (size_t i = VALUE_ID_BYTES; i < value.len; i++) {
        if (value.data[i] != filler(id, key, i))
            return 0;
    }
    return id;
}

void history_add(struct history *history, size_t index,
                 const struct linear_op *op)
{
    assert(index < history->key_count);
    struct key *key = &history->keys[index];
    if (key->count == key->cap) {
        size_t cap = key->cap ? key->cap * 2 : 8;
        key->ops = need(mem_resize(key->ops, cap, sizeof *key->ops));
        key->cap = cap;
    }
    key->ops[key->count++] = *op;
    history->op_count++;
}

size_t history_op_count(const struct history *history)
{
    return history->op_count;
}

static const char *kind_name(uint8_t kind)
{
    static const char *const NAMES[] = { "?", "put", "get", "del", "cas" };
    return kind < 5 ? NAMES[kind] : "?";
}

static const char *outcome_name(uint8_t outcome)
{
    static const char *const NAMES[] = { "failed", "done", "absent", "differs",
                                         "unknown" };
    return outcome < 5 ? NAMES[outcome] : "?";
}

/* Values are client and number of the write: 3.17. */
static void describe(const struct linear_op *op, char *text, size_t size)
{
    char end[32] = "never";
    if (op->outcome != LINEAR_UNKNOWN)
        snprintf(end, sizeof end, "%.6f", (double)op->return_ns / 1e9);
    snprintf(text, size,
             "c%u.%llu %s value %llu.%llu expected %llu: %s, version %llu "
             "[%.6f, %s]",
             (unsigned)op->client, (unsigned long long)op->number,
             kind_name(op->kind), (unsigned long long)(op->value >> 40),
             (unsigned long long)(op->value & 0xffffffffff),
             (unsigned long long)op->expected, outcome_name(op->outcome),
             (unsigned long long)op->version, (double)op->call_ns / 1e9, end);
}

static int compare_calls(const void *a, const void *b)
{
    const struct linear_op *x = a, *y = b;
    if (x->call_ns != y->call_ns)
        return x->call_ns < y->call_ns ? -1 : 1;
    return (x->client > y->client) - (x->client < y->client);
}

/* Failed writes last, the others by time; gives the number of the others. */
static size_t sort_ops(struct key *key)
{
    if (key->count)
        qsort(key->ops, key->count, sizeof *key->ops, compare_calls);
    struct linear_op *failed = need(mem_array(key->count, sizeof *failed));
    size_t kept = 0, out = 0;
    for (size_t i = 0; i < key->count; i++) {
        if (key->ops[i].outcome == 0)
            failed[out++] = key->ops[i];
        else
            key->ops[kept++] = key->ops[i];
    }
    if (out)
        memcpy(key->ops + kept, failed, out * sizeof *failed);
    free(failed);
    return kept;
}

/* Bytes of its name that a report shows. */
static int shown(const struct key *key)
{
    return key->len < 60 ? (int)key->len : 60;
}

void history_print(struct history *history, size_t index, history_line_fn fn,
                   void *context)
{
    struct key *key = &history->keys[index];
    char line[300];
    qsort(key->ops, key->count, sizeof *key->ops, compare_calls);
    snprintf(line, sizeof line, "history of key %.*s:", shown(key),
             name_of(key));
    fn(context, line);
    for (size_t i = 0; i < key->count; i++) {
        describe(&key->ops[i], line, sizeof line);
        fn(context, line);
    }
}

void history_cut(struct history *history, size_t index, uint64_t at_ns,
                 uint64_t id, uint64_t version)
{
    struct key *key = &history->keys[index];
    assert(key->cut_count < CUTS_MAX);
    key->cuts[key->cut_count++] = (struct cut){ at_ns, id, version };
}

/* A read that was open at a cut proves nothing; a write may or may not have
 * taken effect, on either side. */
static bool doubt(struct linear_op *op)
{
    if (op->kind == LINEAR_GET || op->outcome == LINEAR_DIFFERS ||
        op->outcome == LINEAR_ABSENT)
        return false;
    op->outcome = LINEAR_UNKNOWN;
    op->version = 0;
    return true;
}

/* The operations of one stretch between cuts, from < time <= to. What the key
 * begins with is written: not again. */
static size_t copy_stretch(const struct key *key, size_t count,
                           const struct cut *begin, uint64_t to,
                           struct linear_op *out)
{
    uint64_t from = begin ? begin->at_ns : 0;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct linear_op op = key->ops[i];
        bool ends = op.outcome != LINEAR_UNKNOWN;
        if (op.call_ns > to || (ends && op.return_ns <= from))
            continue;
        bool crosses = op.call_ns <= from || (ends && op.return_ns > to);
        if (crosses &&
            (!doubt(&op) || (begin && begin->id && op.value == begin->id)))
            continue;
        if (op.call_ns <= from)
            op.call_ns = from + 1 + kept; /* in the order of their calls */
        out[kept++] = op;
    }
    return kept;
}

/* What the key is right after a cut. */
static struct linear_op beginning(const struct cut *cut)
{
    return (struct linear_op){ .call_ns = cut->at_ns,
                               .return_ns = cut->at_ns,
                               .kind = LINEAR_PUT,
                               .outcome = LINEAR_DONE,
                               .value = cut->id,
                               .version = cut->version };
}

static bool is_written(const struct key *key, size_t count,
                       const struct cut *cut)
{
    for (size_t i = 0; i < count; i++)
        if (key->ops[i].value == cut->id && key->ops[i].kind != LINEAR_GET &&
            key->ops[i].call_ns <= cut->at_ns)
            return true;
    return cut->id == 0;
}

static size_t count_lost(const struct key *key, size_t count, uint64_t from,
                         const struct cut *cut)
{
    size_t lost = 0;
    for (size_t i = 0; i < count; i++) {
        const struct linear_op *op = &key->ops[i];
        lost += op->kind != LINEAR_GET && op->outcome == LINEAR_DONE &&
                op->call_ns > from && op->return_ns <= cut->at_ns &&
                op->version > cut->version;
    }
    return lost;
}

static void check_stretch(struct key *key, const struct linear_op *ops,
                          size_t count, struct history_verdict *out)
{
    struct linear_report report;
    int rc = linear_check(ops, count, 0, &report);
    if (rc != DLHT_OK)
        need(NULL);
    out->steps += report.steps;
    if (report.verdict == LINEAR_UNDECIDED)
        out->undecided++;
    if (report.verdict != LINEAR_NO)
        return;
    char op[300];
    describe(&ops[report.blocked], op, sizeof op);
    out->verdict = LINEAR_NO;
    snprintf(out->text, sizeof out->text,
             "key %.*s, %zu of %zu operations in order, then no place for %s",
             shown(key), name_of(key), report.placed, count, op);
}

static void check_key(struct key *key, struct history_verdict *out)
{
    size_t count = sort_ops(key);
    if (key->cut_count == 0) {
        check_stretch(key, key->ops, count, out);
        return;
    }
    struct linear_op *ops = need(mem_array(count + 1, sizeof *ops));
    for (size_t i = 0; i <= key->cut_count && out->verdict != LINEAR_NO; i++) {
        const struct cut *begin = i ? &key->cuts[i - 1] : NULL;
        const struct cut *end = i < key->cut_count ? &key->cuts[i] : NULL;
        uint64_t from = begin ? begin->at_ns : 0, kept = 0;
        if (begin && begin->id)
            ops[kept++] = beginning(begin);
        kept += copy_stretch(key, count, begin, end ? end->at_ns : UINT64_MAX,
                             ops + kept);
        check_stretch(key, ops, kept, out);
        if (!end)
            break;
        out->lost += count_lost(key, count, from, end);
        if (is_written(key, count, end))
            continue;
        out->verdict = LINEAR_NO;
        snprintf(out->text, sizeof out->text,
                 "key %.*s was recovered with a value that nobody wrote",
                 shown(key), name_of(key));
    }
    free(ops);
}

void history_check(struct history *history, struct history_verdict *out)
{
    *out = (struct history_verdict){ .verdict = LINEAR_YES };
    for (size_t i = 0; i < history->key_count; i++) {
        check_key(&history->keys[i], out);
        if (out->verdict != LINEAR_NO)
            continue;
        out->key = i;
        return;
    }
    if (out->undecided)
        out->verdict = LINEAR_UNDECIDED;
}
