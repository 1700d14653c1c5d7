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

enum {
    SWEEP_SLOTS = 4
};

void sessions_deinit(struct sessions *s)
{
    for (size_t i = 0; i < s->cap; i++)
        free(s->slots[i].results);
    free(s->slots);
    memset(s, 0, sizeof *s);
}

/* The slot of id, or the free one where it would go. */
static size_t slot_of(const struct sessions *s, const struct id *id)
{
    size_t mask = s->cap - 1;
    size_t i = (size_t)id_hash(id) & mask;
    while (!id_is_zero(&s->slots[i].id) && !id_equal(&s->slots[i].id, id))
        i = (i + 1) & mask;
    return i;
}

static struct session *find(const struct sessions *s, const struct id *id)
{
    if (s->cap == 0)
        return NULL;
    struct session *found = &s->slots[slot_of(s, id)];
    return id_is_zero(&found->id) ? NULL : found;
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

/* Whether it was swept already must not matter: replicas sweep at different
 * times. */
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

static int grow_table(struct sessions *s)
{
    size_t cap = s->cap ? s->cap * 2 : 16;
    struct session *slots = mem_zero(cap, sizeof *slots);
    if (!slots)
        return DLHT_ENOMEM;
    struct sessions grown = { slots, cap, s->count, 0 };
    for (size_t i = 0; i < s->cap; i++) {
        if (!id_is_zero(&s->slots[i].id))
            slots[slot_of(&grown, &s->slots[i].id)] = s->slots[i];
        else
            free(s->slots[i].results);
    }
    free(s->slots);
    *s = grown;
    return DLHT_OK;
}

static int grow_results(struct session *session)
{
    if (session->count >= SESSION_RESULTS_MAX)
        return DLHT_EFULL;
    uint32_t cap = session->cap ? session->cap * 2 : 1;
    struct session_result *grown =
        mem_resize(session->results, cap, sizeof *grown);
    if (!grown)
        return DLHT_ENOMEM;
    session->results = grown;
    session->cap = cap;
    return DLHT_OK;
}

int sessions_reserve(struct sessions *s, const struct id *id)
{
    assert(!id_is_zero(id));
    struct session *session = find(s, id);
    if (!session) {
        if (s->count >= SESSIONS_MAX)
            return DLHT_EFULL;
        if ((s->count + 1) * 4 > s->cap * 3 && grow_table(s) != DLHT_OK)
            return DLHT_ENOMEM;
        session = &s->slots[slot_of(s, id)];
        if (session->cap == 0 && grow_results(session) != DLHT_OK)
            return DLHT_ENOMEM;
        return DLHT_OK;
    }
    return session->count < session->cap ? DLHT_OK : grow_results(session);
}

/* Frees a slot and moves later ones of its run back. */
static void remove_slot(struct sessions *s, size_t hole)
{
    size_t mask = s->cap - 1;
    free(s->slots[hole].results);
    memset(&s->slots[hole], 0, sizeof s->slots[hole]);
    s->count--;
    for (size_t i = (hole + 1) & mask; !id_is_zero(&s->slots[i].id);
         i = (i + 1) & mask) {
        size_t home = (size_t)id_hash(&s->slots[i].id) & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        free(s->slots[hole].results);
        s->slots[hole] = s->slots[i];
        memset(&s->slots[i], 0, sizeof s->slots[i]);
        hole = i;
    }
}

static void sweep_idle(struct sessions *s, uint64_t now_ms)
{
    for (int n = 0; n < SWEEP_SLOTS; n++) {
        s->sweep = (s->sweep + 1) & (s->cap - 1);
        struct session *session = &s->slots[s->sweep];
        if (!id_is_zero(&session->id) && is_idle(session, now_ms))
            remove_slot(s, s->sweep);
    }
}

void sessions_note(struct sessions *s, const struct id *id,
                   uint64_t lowest_open, uint64_t now_ms,
                   const struct session_result *result)
{
    struct session *session = &s->slots[slot_of(s, id)];
    if (id_is_zero(&session->id)) {
        session->id = *id;
        s->count++;
    } else if (is_idle(session, now_ms)) {
        session->lowest_open = 0;
        session->count = 0;
    }
    if (lowest_open > result->number)
        lowest_open = result->number;
    if (lowest_open > session->lowest_open)
        session->lowest_open = lowest_open;
    session->used_ms = now_ms;
    uint32_t drop = lower_bound(session, session->lowest_open);
    session->count -= drop;
    memmove(session->results, session->results + drop,
            session->count * sizeof *session->results);
    uint32_t at = lower_bound(session, result->number);
    assert(session->count < session->cap);
    memmove(session->results + at + 1, session->results + at,
            (session->count - at) * sizeof *session->results);
    session->results[at] = *result;
    session->count++;
    sweep_idle(s, now_ms);
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

void sessions_pack(const struct sessions *s, struct buf *out)
{
    mp_write_array(out, s->count);
    for (size_t i = 0; i < s->cap; i++) {
        const struct session *session = &s->slots[i];
        if (id_is_zero(&session->id))
            continue;
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
    int rc = sessions_reserve(out, &read.id);
    if (rc != DLHT_OK)
        return rc;
    struct session *session = &out->slots[slot_of(out, &read.id)];
    session->id = read.id;
    session->lowest_open = read.lowest_open;
    session->used_ms = read.used_ms;
    out->count++;
    for (size_t k = 0; k < count; k++) {
        struct session_result result;
        result.number = mp_read_uint(r);
        result.status = (int32_t)mp_read_int(r);
        result.version = mp_read_uint(r);
        result.count = mp_read_uint(r);
        if (r->bad || result.number < session->lowest_open ||
            (k && result.number <= session->results[k - 1].number))
            return DLHT_ECORRUPT;
        if (session->count == session->cap) {
            rc = grow_results(session);
            if (rc != DLHT_OK)
                return rc;
        }
        session->results[session->count++] = result;
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
    if (rc != DLHT_OK)
        sessions_deinit(out);
    return rc;
}

uint64_t sessions_hash(const struct sessions *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->cap; i++) {
        const struct session *session = &s->slots[i];
        if (id_is_zero(&session->id))
            continue;
        uint64_t h = hash64_mix(id_hash(&session->id), session->lowest_open);
        h = hash64_mix(h, session->used_ms);
        for (uint32_t k = 0; k < session->count; k++) {
            h = hash64_mix(h, session->results[k].number);
            h = hash64_mix(h, (uint64_t)session->results[k].status);
            h = hash64_mix(h, session->results[k].version);
        }
        sum += h;
    }
    return sum;
}
