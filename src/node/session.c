/* SPDX-License-Identifier: Apache-2.0 */

/* Exactly-once results of an arc. */

#include "node/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "wire/mp.h"

void sessions_deinit(struct sessions *s)
{
    for (struct session *at = s->oldest; at;) {
        struct session *newer = at->newer;
        free(at->results);
        free(at);
        at = newer;
    }
    if (s->spare)
        free(s->spare->results);
    free(s->spare);
    free(s->slots);
    memset(s, 0, sizeof *s);
}

/* The slot of id, or the free one where it would go. */
static size_t slot_of(const struct sessions *s, const struct id *id)
{
    size_t mask = s->cap - 1;
    size_t i = (size_t)id_hash(id) & mask;
    while (s->slots[i] && !id_equal(&s->slots[i]->id, id))
        i = (i + 1) & mask;
    return i;
}

static struct session *find(const struct sessions *s, const struct id *id)
{
    return s->cap ? s->slots[slot_of(s, id)] : NULL;
}

static void unlink_session(struct sessions *s, struct session *session)
{
    if (session->older)
        session->older->newer = session->newer;
    else
        s->oldest = session->newer;
    if (session->newer)
        session->newer->older = session->older;
    else
        s->newest = session->older;
}

static void link_newest(struct sessions *s, struct session *session)
{
    session->older = s->newest;
    session->newer = NULL;
    if (s->newest)
        s->newest->newer = session;
    else
        s->oldest = session;
    s->newest = session;
}

/* Index of the first result with number >= given. */
static uint32_t lower_bound(const struct session *session, uint64_t number)
{
    uint32_t lo = 0, hi = session->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (session->results[mid].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Where a result goes: of one number, pieces of a batch stand by rank. */
static uint32_t place_of(const struct session *session,
                         const struct session_result *result)
{
    uint32_t i = lower_bound(session, result->number);
    while (i < session->count && session->results[i].number == result->number &&
           session->results[i].version < result->version)
        i++;
    return i;
}

static bool is_idle(const struct session *session, uint64_t now_ms)
{
    return session->used_ms + SESSION_IDLE_MS < now_ms;
}

enum session_answer sessions_look(const struct sessions *s, const struct id *id,
                                  uint64_t number, uint64_t now_ms,
                                  struct session_result *out)
{
    const struct session *session = find(s, id);
    if (!session || is_idle(session, now_ms))
        return SESSION_NEW;
    if (number < session->lowest_open)
        return SESSION_PAST;
    uint32_t i = lower_bound(session, number);
    if (i == session->count || session->results[i].number != number)
        return SESSION_NEW;
    *out = session->results[i];
    return SESSION_KNOWN;
}

bool sessions_has_record(const struct sessions *s, const struct id *id,
                         uint64_t number, uint64_t rank)
{
    const struct session *session = find(s, id);
    if (!session)
        return false;
    for (uint32_t i = lower_bound(session, number);
         i < session->count && session->results[i].number == number; i++) {
        const struct session_result *piece = &session->results[i];
        if (rank >= piece->version && rank - piece->version < piece->count)
            return true;
    }
    return false;
}

static int grow_table(struct sessions *s)
{
    size_t cap = s->cap ? s->cap * 2 : 16;
    struct session **slots = mem_zero(cap, sizeof(struct session *));
    if (!slots)
        return DLHT_ENOMEM;
    free(s->slots);
    s->slots = slots;
    s->cap = cap;
    for (struct session *at = s->oldest; at; at = at->newer)
        slots[slot_of(s, &at->id)] = at;
    return DLHT_OK;
}

static int grow_results(struct session *session)
{
    uint32_t cap = session->cap ? session->cap * 2 : 1;
    struct session_result *grown =
        mem_resize(session->results, cap, sizeof *grown);
    if (!grown)
        return DLHT_ENOMEM;
    session->results = grown;
    session->cap = cap;
    return DLHT_OK;
}

/* Moves later ones of its run back into the slot's place. */
static void free_slot(struct sessions *s, size_t hole)
{
    size_t mask = s->cap - 1;
    s->slots[hole] = NULL;
    for (size_t i = (hole + 1) & mask; s->slots[i]; i = (i + 1) & mask) {
        size_t home = (size_t)id_hash(&s->slots[i]->id) & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        s->slots[hole] = s->slots[i];
        s->slots[i] = NULL;
        hole = i;
    }
}

static size_t packed_bytes(const struct session *session)
{
    return SESSION_PACKED_BYTES +
           (size_t)session->count * SESSION_RESULT_PACKED_BYTES;
}

static void drop_idle(struct sessions *s, uint64_t now_ms)
{
    while (s->oldest && is_idle(s->oldest, now_ms)) {
        struct session *idle = s->oldest;
        free_slot(s, slot_of(s, &idle->id));
        unlink_session(s, idle);
        s->count--;
        s->packed -= packed_bytes(idle);
        free(idle->results);
        free(idle);
    }
}

/* Memory for a session that is not there yet, with room for a result. */
static int reserve_new(struct sessions *s)
{
    if ((s->count + 1) * 4 > s->cap * 3 && grow_table(s) != DLHT_OK)
        return DLHT_ENOMEM;
    if (!s->spare)
        s->spare = mem_zero(1, sizeof *s->spare);
    if (!s->spare)
        return DLHT_ENOMEM;
    return s->spare->cap ? DLHT_OK : grow_results(s->spare);
}

int sessions_reserve(struct sessions *s, const struct id *id, uint64_t now_ms)
{
    assert(!id_is_zero(id));
    drop_idle(s, now_ms);
    struct session *session = find(s, id);
    size_t more =
        SESSION_RESULT_PACKED_BYTES + (session ? 0 : SESSION_PACKED_BYTES);
    if (s->packed + more > SESSIONS_PACKED_MAX ||
        (session && session->count >= SESSION_RESULTS_MAX))
        return DLHT_EFULL;
    if (!session)
        return reserve_new(s);
    return session->count < session->cap ? DLHT_OK : grow_results(session);
}

/* The spare, which sessions_reserve made, becomes one of them. */
static struct session *add(struct sessions *s, const struct id *id)
{
    struct session *session = s->spare;
    s->spare = NULL;
    session->id = *id;
    s->slots[slot_of(s, id)] = session;
    link_newest(s, session);
    s->count++;
    s->packed += packed_bytes(session);
    return session;
}

/* There is room. What is known is not put again. */
static void put_result(struct session *session,
                       const struct session_result *result)
{
    uint32_t at = place_of(session, result);
    if (at < session->count) {
        struct session_result *there = &session->results[at];
        if (there->number == result->number &&
            there->version == result->version) {
            if (result->count > there->count)
                there->count = result->count;
            return;
        }
    }
    assert(session->count < session->cap);
    memmove(session->results + at + 1, session->results + at,
            (session->count - at) * sizeof *session->results);
    session->results[at] = *result;
    session->count++;
}

void sessions_note(struct sessions *s, const struct id *id,
                   uint64_t lowest_open, uint64_t now_ms,
                   const struct session_result *result)
{
    struct session *session = find(s, id);
    if (!session)
        session = add(s, id);
    unlink_session(s, session);
    link_newest(s, session);
    s->packed -= packed_bytes(session);
    if (lowest_open > result->number)
        lowest_open = result->number;
    if (lowest_open > session->lowest_open)
        session->lowest_open = lowest_open;
    session->used_ms = now_ms;
    uint32_t drop = lower_bound(session, session->lowest_open);
    session->count -= drop;
    memmove(session->results, session->results + drop,
            session->count * sizeof *session->results);
    put_result(session, result);
    s->packed += packed_bytes(session);
}

static int compare_used(const void *a, const void *b)
{
    uint64_t x = (*(struct session *const *)a)->used_ms;
    uint64_t y = (*(struct session *const *)b)->used_ms;
    return (x > y) - (x < y);
}

/* By last use, as they are packed, but not by earlier versions. */
static int sort_by_use(struct sessions *s)
{
    bool sorted = true;
    for (const struct session *at = s->oldest; at; at = at->newer)
        sorted = sorted && (!at->older || at->older->used_ms <= at->used_ms);
    if (sorted)
        return DLHT_OK;
    struct session **list = mem_array(s->count, sizeof(struct session *));
    if (!list)
        return DLHT_ENOMEM;
    size_t n = 0;
    for (struct session *at = s->oldest; at; at = at->newer)
        list[n++] = at;
    qsort(list, n, sizeof *list, compare_used);
    s->oldest = s->newest = NULL;
    for (size_t i = 0; i < n; i++)
        link_newest(s, list[i]);
    free(list);
    return DLHT_OK;
}

/* Room for count results in all. */
static int grow_results_to(struct session *session, size_t count)
{
    while (session->cap < count) {
        int rc = grow_results(session);
        if (rc != DLHT_OK)
            return rc;
    }
    return DLHT_OK;
}

/* Adds another arc's results of the same session. */
static int unite_results(struct session *into, const struct session *from)
{
    int rc = grow_results_to(into, (size_t)into->count + from->count);
    if (rc != DLHT_OK)
        return rc;
    if (from->lowest_open > into->lowest_open)
        into->lowest_open = from->lowest_open;
    uint32_t drop = lower_bound(into, into->lowest_open);
    into->count -= drop;
    memmove(into->results, into->results + drop,
            into->count * sizeof *into->results);
    for (uint32_t i = 0; i < from->count; i++)
        if (from->results[i].number >= into->lowest_open)
            put_result(into, &from->results[i]);
    return DLHT_OK;
}

bool sessions_may_unite(const struct sessions *into,
                        const struct sessions *from)
{
    if (into->packed + from->packed > SESSIONS_PACKED_MAX)
        return false;
    for (const struct session *f = from->oldest; f; f = f->newer) {
        const struct session *t = find(into, &f->id);
        if (t && (size_t)t->count + f->count > SESSION_RESULTS_MAX)
            return false;
    }
    return true;
}

int sessions_unite(struct sessions *into, uint64_t into_ms,
                   const struct sessions *from, uint64_t from_ms)
{
    for (const struct session *f = from->oldest; f; f = f->newer) {
        struct session *t = find(into, &f->id);
        if (!t) {
            int rc = reserve_new(into);
            if (rc != DLHT_OK)
                return rc;
            t = add(into, &f->id);
        }
        into->packed -= packed_bytes(t);
        int rc = unite_results(t, f);
        into->packed += packed_bytes(t);
        if (rc != DLHT_OK)
            return rc;
        uint64_t age = f->used_ms < from_ms ? from_ms - f->used_ms : 0;
        uint64_t used = age < into_ms ? into_ms - age : 0;
        if (used > t->used_ms)
            t->used_ms = used;
    }
    return sort_by_use(into);
}

int sessions_copy(const struct sessions *from, struct sessions *to)
{
    struct buf packed = { 0 };
    sessions_pack(from, &packed);
    struct mp_reader r;
    mp_reader_init(&r, buf_span(&packed));
    int rc = packed.failed ? DLHT_ENOMEM : sessions_unpack(&r, to);
    buf_deinit(&packed);
    assert(rc != DLHT_ECORRUPT);
    return rc;
}

static void pack_session(const struct session *session, struct buf *out)
{
    mp_write_array(out, 3 + 4 * (size_t)session->count);
    mp_write_bin(out, span_of(session->id.bytes, ID_BYTES));
    mp_write_uint(out, session->lowest_open);
    mp_write_uint(out, session->used_ms);
    for (uint32_t k = 0; k < session->count; k++) {
        const struct session_result *result = &session->results[k];
        mp_write_uint(out, result->number);
        mp_write_int(out, result->status);
        mp_write_uint(out, result->version);
        mp_write_uint(out, result->count);
    }
}

void sessions_pack(const struct sessions *s, struct buf *out)
{
    mp_write_array(out, s->count);
    for (const struct session *session = s->oldest; session;
         session = session->newer)
        pack_session(session, out);
}

size_t sessions_pack_some(const struct sessions *s, size_t skip,
                          size_t bytes_max, struct buf *out)
{
    const struct session *first = s->oldest;
    for (; first && skip; first = first->newer)
        skip--;
    size_t count = 0, bytes = 0;
    for (const struct session *at = first; at; at = at->newer) {
        bytes += packed_bytes(at);
        if (count && bytes > bytes_max)
            break;
        count++;
    }
    mp_write_array(out, count);
    for (size_t i = 0; i < count; i++, first = first->newer)
        pack_session(first, out);
    return count;
}

/* Whether b may stand after a. */
static bool ascends(const struct session_result *a,
                    const struct session_result *b)
{
    if (a->number != b->number)
        return a->number < b->number;
    return a->count && b->count && a->version < b->version;
}

/* One session; its results are ascending and not below lowest_open. */
static int unpack_session(struct mp_reader *r, struct sessions *out)
{
    size_t fields = mp_read_array(r);
    struct session read = { 0 };
    mp_read_fixed(r, read.id.bytes, ID_BYTES);
    read.lowest_open = mp_read_uint(r);
    read.used_ms = mp_read_uint(r);
    if (r->bad || fields < 3 || (fields - 3) % 4 || id_is_zero(&read.id) ||
        find(out, &read.id))
        return DLHT_ECORRUPT;
    size_t count = (fields - 3) / 4;
    if (count > SESSION_RESULTS_MAX)
        return DLHT_ECORRUPT;
    /* No limit here: an arc that was kept by an earlier version may pass it. */
    int rc = reserve_new(out);
    if (rc != DLHT_OK)
        return rc;
    struct session *session = add(out, &read.id);
    session->lowest_open = read.lowest_open;
    session->used_ms = read.used_ms;
    for (size_t k = 0; k < count; k++) {
        struct session_result result = { .number = mp_read_uint(r) };
        result.status = (int32_t)mp_read_int(r);
        result.version = mp_read_uint(r);
        result.count = mp_read_uint(r);
        if (r->bad || result.number < session->lowest_open ||
            (k && !ascends(&session->results[k - 1], &result)))
            return DLHT_ECORRUPT;
        if (session->count == session->cap) {
            rc = grow_results(session);
            if (rc != DLHT_OK)
                return rc;
        }
        session->results[session->count++] = result;
        out->packed += SESSION_RESULT_PACKED_BYTES;
    }
    return DLHT_OK;
}

int sessions_unpack(struct mp_reader *r, struct sessions *out)
{
    memset(out, 0, sizeof *out);
    size_t count = mp_read_array(r);
    int rc = DLHT_OK;
    for (size_t i = 0; i < count && rc == DLHT_OK; i++)
        rc = unpack_session(r, out);
    if (rc == DLHT_OK && r->bad)
        rc = DLHT_ECORRUPT;
    if (rc == DLHT_OK)
        rc = sort_by_use(out);
    if (rc != DLHT_OK)
        sessions_deinit(out);
    return rc;
}

uint64_t sessions_hash(const struct sessions *s)
{
    uint64_t sum = 0;
    for (const struct session *session = s->oldest; session;
         session = session->newer) {
        uint64_t h = hash64_mix(id_hash(&session->id), session->lowest_open);
        h = hash64_mix(h, session->used_ms);
        for (uint32_t k = 0; k < session->count; k++) {
            h = hash64_mix(h, session->results[k].number);
            h = hash64_mix(h, (uint64_t)session->results[k].status);
            h = hash64_mix(h, session->results[k].version);
            h = hash64_mix(h, session->results[k].count);
        }
        sum += h;
    }
    return sum;
}
