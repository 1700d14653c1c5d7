/* SPDX-License-Identifier: Apache-2.0 */

/* Marks of copies and of owners. */

#include "node/search_marks.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"

bool search_mark_reached(const struct search_mark *has,
                         const struct search_mark *must)
{
    return has->index >= must->index && has->generation >= must->generation;
}

static void put64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static void to_bytes(const struct search_mark *mark,
                     uint8_t bytes[SEARCH_MARK_BYTES])
{
    put64(bytes, mark->arc);
    put64(bytes + 8, mark->index);
    put64(bytes + 16, mark->generation);
}

void search_marks_add(struct buf *row, const struct search_mark *mark)
{
    uint8_t bytes[SEARCH_MARK_BYTES];
    to_bytes(mark, bytes);
    buf_append(row, bytes, sizeof bytes);
}

struct search_mark search_marks_at(struct span row, size_t i)
{
    const uint8_t *at = row.data + i * SEARCH_MARK_BYTES;
    return (struct search_mark){ get64(at), get64(at + 8), get64(at + 16) };
}

void search_marks_pack(const struct buf *row, struct buf *doc)
{
    mp_write_map(doc, 1);
    mp_write_cstr(doc, "arcs");
    mp_write_bin(doc, buf_span(row));
    doc->failed = doc->failed || row->failed;
}

struct span search_marks_read(struct span doc)
{
    struct mp_reader r;
    struct span row = span_empty();
    mp_reader_init(&r, doc);
    for (size_t fields = mp_read_map(&r); fields > 0 && !r.bad; fields--) {
        if (span_equal(mp_read_bytes(&r), span_str("arcs")))
            row = mp_read_bytes(&r);
        else
            mp_skip(&r);
    }
    bool sound = !r.bad && row.len % SEARCH_MARK_BYTES == 0 &&
                 row.len / SEARCH_MARK_BYTES <= SEARCH_MARKS_MAX;
    return sound ? row : span_empty();
}

void search_claims_deinit(struct search_claims *c)
{
    free(c->list);
    free(c->marks);
    *c = (struct search_claims){ 0 };
}

void search_claims_pack(const struct search_claim *claim, struct buf *doc)
{
    uint8_t bytes[SEARCH_MARK_BYTES];
    to_bytes(&claim->mark, bytes);
    mp_write_array(doc, 4);
    mp_write_bin(doc, claim->range.from);
    if (claim->range.has_to)
        mp_write_bin(doc, claim->range.to);
    else
        mp_write_nil(doc);
    mp_write_bin(doc, span_of(bytes, sizeof bytes));
    mp_write_bool(doc, claim->led);
}

static bool read_claim(struct mp_reader *r, struct search_claim *out)
{
    *out = (struct search_claim){ .state = CLAIM_OPEN };
    if (mp_read_array(r) != 4)
        return false;
    out->range.from = mp_read_bytes(r);
    out->range.has_to = mp_peek(r) != MP_NIL;
    if (out->range.has_to)
        out->range.to = mp_read_bytes(r);
    else
        mp_read_nil(r);
    struct span mark = mp_read_bytes(r);
    out->led = mp_read_bool(r);
    if (r->bad || mark.len != SEARCH_MARK_BYTES)
        return false;
    out->mark = search_marks_at(mark, 0);
    return true;
}

static bool has_room(struct search_claims *c)
{
    if (c->count < c->cap)
        return true;
    size_t cap = c->cap ? c->cap * 2 : 16;
    struct search_claim *grown = mem_resize(c->list, cap, sizeof *grown);
    if (!grown)
        return false;
    c->list = grown;
    c->cap = cap;
    return true;
}

int search_claims_read(struct search_claims *c, struct mp_reader *r)
{
    size_t before = c->count, count = mp_read_array(r);
    int rc = r->bad || count > SEARCH_MARKS_MAX ? DLHT_EPROTO : DLHT_OK;
    for (size_t i = 0; i < count && rc == DLHT_OK; i++) {
        struct search_claim claim;
        const struct search_claim *last = i ? &c->list[c->count - 1] : NULL;
        if (!read_claim(r, &claim) ||
            (last && (!last->range.has_to ||
                      span_compare(last->range.to, claim.range.from) > 0)))
            rc = DLHT_EPROTO;
        else if (!has_room(c))
            rc = DLHT_ENOMEM;
        else
            c->list[c->count++] = claim;
    }
    if (rc != DLHT_OK)
        c->count = before;
    return rc;
}

static int by_arc(const void *a, const void *b)
{
    const struct search_mark *x = a, *y = b;
    return (x->arc > y->arc) - (x->arc < y->arc);
}

int search_claims_must(struct search_claims *c, struct span row)
{
    size_t count = row.len / SEARCH_MARK_BYTES;
    if (count > c->mark_cap - c->mark_count) {
        size_t cap = 2 * (c->mark_count + count);
        struct search_mark *grown = mem_resize(c->marks, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        c->marks = grown;
        c->mark_cap = cap;
    }
    for (size_t i = 0; i < count; i++)
        c->marks[c->mark_count++] = search_marks_at(row, i);
    if (c->mark_count)
        qsort(c->marks, c->mark_count, sizeof *c->marks, by_arc);
    return DLHT_OK;
}

/* Of what owners say of one arc any is enough: each was asked after the search
 * began. */
static enum search_claim_state judge(const struct search_claims *c,
                                     const struct search_claim *claim,
                                     bool all_heard)
{
    if (claim->led || DLHT_MUTANT == 47)
        return CLAIM_GOOD;
    const struct search_mark *must =
        c->mark_count ? bsearch(&claim->mark, c->marks, c->mark_count,
                                sizeof *c->marks, by_arc)
                      : NULL;
    if (!must)
        return all_heard ? CLAIM_SHORT : CLAIM_OPEN;
    return search_mark_reached(&claim->mark, must) ? CLAIM_GOOD : CLAIM_SHORT;
}

int search_claims_judge(struct search_claims *c, bool all_heard,
                        struct key_ranges *covered, bool *news)
{
    for (size_t i = 0; i < c->count; i++) {
        struct search_claim *claim = &c->list[i];
        if (claim->state != CLAIM_OPEN)
            continue;
        enum search_claim_state state = judge(c, claim, all_heard);
        if (state == CLAIM_GOOD) {
            *news = *news || !key_ranges_has(covered, &claim->range);
            if (key_ranges_add(covered, &claim->range) != DLHT_OK)
                return DLHT_ENOMEM;
        }
        claim->state = state;
    }
    return DLHT_OK;
}

bool search_claims_has(const struct search_claims *c, size_t first,
                       size_t count, struct span key)
{
    size_t lo = first, hi = first + count;
    while (lo < hi) { /* the last that begins at the key or before */
        size_t mid = lo + (hi - lo) / 2;
        if (span_compare(c->list[mid].range.from, key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == first)
        return false;
    const struct search_claim *claim = &c->list[lo - 1];
    return claim->state == CLAIM_GOOD &&
           (!claim->range.has_to || span_compare(key, claim->range.to) < 0);
}
