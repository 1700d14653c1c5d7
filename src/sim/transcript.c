/* SPDX-License-Identifier: Apache-2.0 */

/* Reading lines, and telling which write each value is of. */

#include "sim/transcript.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    CLIENT_BITS = 20, /* before 40 of the line */
    LINES_MAX = 100000000
};

/* What nobody wrote; below it, since 0 has a meaning. */
static const uint64_t STRANGE = UINT64_MAX;

struct line {
    struct linear_op op;
    struct span key, value; /* owned */
};

struct transcript {
    struct line *lines;
    size_t count, cap;
    struct span *keys; /* distinct; borrowed from lines */
    struct history *history;
};

static void *need(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

struct transcript *transcript_new(void)
{
    return need(mem_zero(1, sizeof(struct transcript)));
}

static void free_text(struct span text)
{
    free((uint8_t *)(uintptr_t)text.data);
}

void transcript_free(struct transcript *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++) {
        free_text(t->lines[i].key);
        free_text(t->lines[i].value);
    }
    history_free(t->history);
    free(t->keys);
    free(t->lines);
    free(t);
}

size_t transcript_line_count(const struct transcript *t)
{
    return t->count;
}

/* --- a line */

struct reader {
    const uint8_t *at, *end;
};

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
}

static bool passes(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != (uint8_t)c)
        return false;
    r->at++;
    return true;
}

/* A text as it stands between its quotes. */
static bool read_text(struct reader *r, struct span *out)
{
    if (!passes(r, '"'))
        return false;
    const uint8_t *begin = r->at;
    while (r->at < r->end && *r->at != '"') {
        if (*r->at++ != '\\')
            continue;
        if (r->at == r->end || (*r->at != '"' && *r->at != '\\'))
            return false;
        r->at++;
    }
    *out = span_of(begin, (size_t)(r->at - begin));
    return passes(r, '"');
}

static bool read_u64(struct reader *r, uint64_t *out)
{
    skip_blanks(r);
    const uint8_t *begin = r->at;
    *out = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        uint64_t digit = (uint64_t)(*r->at++ - '0');
        if (*out > (UINT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    return r->at > begin;
}

static bool read_word(struct reader *r, const char *const *words, size_t count,
                      uint8_t *out)
{
    struct span word;
    if (!read_text(r, &word))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (span_equal(word, span_str(words[i]))) {
            *out = (uint8_t)i;
            return true;
        }
    }
    return false;
}

enum field {
    FIELD_CLIENT,
    FIELD_OP,
    FIELD_KEY,
    FIELD_VALUE,
    FIELD_EXPECTED,
    FIELD_CALL,
    FIELD_RETURN,
    FIELD_OUTCOME,
    FIELD_VERSION,
    FIELD_COUNT
};

static const char *const FIELDS[] = { "client", "op",       "key",
                                      "value",  "expected", "call",
                                      "return", "outcome",  "version" };
/* In the order of the enums of linear.h. */
static const char *const KINDS[] = { "", "put", "get", "del", "cas" };
static const char *const OUTCOMES[] = { "failed", "done", "absent", "differs",
                                        "unknown" };

static bool read_field(struct reader *r, enum field field, struct line *line)
{
    uint64_t client;
    switch (field) {
    case FIELD_CLIENT:
        if (!read_u64(r, &client) || client >> CLIENT_BITS)
            return false;
        line->op.client = (uint32_t)client;
        return true;
    case FIELD_OP:
        return read_word(r, KINDS, 5, &line->op.kind) && line->op.kind;
    case FIELD_KEY:
        return read_text(r, &line->key);
    case FIELD_VALUE:
        return read_text(r, &line->value);
    case FIELD_EXPECTED:
        return read_u64(r, &line->op.expected);
    case FIELD_CALL:
        return read_u64(r, &line->op.call_ns);
    case FIELD_RETURN:
        return read_u64(r, &line->op.return_ns);
    case FIELD_OUTCOME:
        return read_word(r, OUTCOMES, 5, &line->op.outcome);
    case FIELD_VERSION:
        return read_u64(r, &line->op.version);
    case FIELD_COUNT:
        break;
    }
    return false;
}

/* A bit for each field that was there; 0: no such object. */
static unsigned read_object(struct span text, struct line *line)
{
    struct reader r = { text.data, text.data + text.len };
    unsigned had = 0;
    if (!passes(&r, '{'))
        return 0;
    do {
        uint8_t field;
        if (!read_word(&r, FIELDS, FIELD_COUNT, &field) || !passes(&r, ':') ||
            (had & 1u << field) || !read_field(&r, (enum field)field, line))
            return 0;
        had |= 1u << field;
    } while (passes(&r, ','));
    if (!passes(&r, '}'))
        return 0;
    skip_blanks(&r);
    return r.at == r.end ? had : 0;
}

static bool is_write(const struct linear_op *op)
{
    return op->kind == LINEAR_PUT || op->kind == LINEAR_CAS;
}

static bool outcome_fits(const struct linear_op *op)
{
    if (op->outcome == LINEAR_ABSENT)
        return op->kind == LINEAR_GET || op->kind == LINEAR_DEL;
    return op->outcome != LINEAR_DIFFERS || op->kind == LINEAR_CAS;
}

static const char *fault_of(const struct line *line, unsigned had)
{
    const unsigned always = 1u << FIELD_CLIENT | 1u << FIELD_OP |
                            1u << FIELD_KEY | 1u << FIELD_CALL |
                            1u << FIELD_RETURN | 1u << FIELD_OUTCOME;
    const struct linear_op *op = &line->op;
    bool reads = op->kind == LINEAR_GET && op->outcome == LINEAR_DONE;
    if (had == 0)
        return "no object of the known fields";
    if ((had & always) != always)
        return "a field is missing";
    if ((is_write(op) || reads) && !(had & 1u << FIELD_VALUE))
        return "no value";
    if (op->kind == LINEAR_CAS && !(had & 1u << FIELD_EXPECTED))
        return "no expected version";
    if (!outcome_fits(op))
        return "no outcome of such an operation";
    if (op->return_ns < op->call_ns)
        return "it returns before its call";
    return NULL;
}

static struct span copy_text(struct span text)
{
    uint8_t *copy = need(malloc(text.len + 1));
    if (text.len)
        memcpy(copy, text.data, text.len);
    return span_of(copy, text.len);
}

int transcript_add(struct transcript *t, struct span text, const char **why)
{
    struct line line = { .key = { NULL, 0 } };
    assert(!t->history);
    *why = fault_of(&line, read_object(text, &line));
    if (!*why && t->count == LINES_MAX)
        *why = "too many lines";
    if (*why)
        return DLHT_EINVAL;
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 1024;
        t->lines = need(mem_resize(t->lines, t->cap, sizeof *t->lines));
    }
    line.key = copy_text(line.key);
    line.value = copy_text(line.value);
    line.op.number = t->count + 1;
    t->lines[t->count++] = line;
    return DLHT_OK;
}

/* --- all of them */

/* By key; within a key by value; of one value the writes first. */
static int compare_lines(const void *a, const void *b)
{
    const struct line *x = *(const struct line *const *)a;
    const struct line *y = *(const struct line *const *)b;
    int order = span_compare(x->key, y->key);
    if (order == 0)
        order = span_compare(x->value, y->value);
    if (order == 0)
        order = is_write(&y->op) - is_write(&x->op);
    if (order == 0)
        order = (x->op.number > y->op.number) - (x->op.number < y->op.number);
    return order;
}

/* Gives each value the number of its write. */
static int name_values(struct line **sorted, size_t count, size_t *bad)
{
    const struct line *writer = NULL;
    for (size_t i = 0; i < count; i++) {
        struct line *line = sorted[i];
        bool same = writer && span_equal(writer->key, line->key) &&
                    span_equal(writer->value, line->value);
        if (is_write(&line->op)) {
            if (same) {
                *bad = (size_t)line->op.number;
                return DLHT_EINVAL;
            }
            writer = line;
            line->op.value = (uint64_t)line->op.client << 40 | line->op.number;
        } else if (line->op.kind == LINEAR_GET &&
                   line->op.outcome == LINEAR_DONE) {
            line->op.value = same ? writer->op.value : STRANGE;
        }
    }
    return DLHT_OK;
}

static void fill(struct transcript *t, struct line **sorted)
{
    size_t key_count = 0;
    t->keys = need(mem_array(t->count, sizeof *t->keys));
    for (size_t i = 0; i < t->count; i++) {
        struct span key = sorted[i]->key;
        if (key_count == 0 || !span_equal(t->keys[key_count - 1], key))
            t->keys[key_count++] = key;
    }
    t->history = history_of(t->keys, key_count);
    size_t at = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct linear_op *op = &sorted[i]->op;
        if (!span_equal(t->keys[at], sorted[i]->key))
            at++;
        bool told = op->outcome != 0 && op->outcome != LINEAR_UNKNOWN;
        if (op->kind != LINEAR_GET || told)
            history_add(t->history, at, op);
    }
}

int transcript_check(struct transcript *t, struct history_verdict *verdict,
                     size_t *bad)
{
    assert(!t->history);
    struct line **sorted = need(mem_array(t->count, sizeof(struct line *)));
    for (size_t i = 0; i < t->count; i++)
        sorted[i] = &t->lines[i];
    if (t->count)
        qsort(sorted, t->count, sizeof *sorted, compare_lines);
    int rc = name_values(sorted, t->count, bad);
    if (rc == DLHT_OK) {
        fill(t, sorted);
        history_check(t->history, verdict);
    }
    free(sorted);
    return rc;
}

void transcript_print(struct transcript *t, size_t key, history_line_fn fn,
                      void *context)
{
    assert(t->history);
    history_print(t->history, key, fn, context);
}
