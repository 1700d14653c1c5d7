/* SPDX-License-Identifier: Apache-2.0 */

/* What walks over keys: scans, ranges, and what is done to all keys there. A
 * walk asks page by page and goes on where the last page ended, so each key
 * that is there throughout is met exactly once. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "net/door.h"
#include "net/redis_start.h"
#include "wire/mp.h"

enum {
    SCANS_MAX = 1024, /* cursors that are remembered */
    SCAN_COUNT = 10,
    DELETE_PAGE = 1024,
    PATTERN_MAX = 1024, /* bytes: a key costs this times its length at worst */
    LIST_MAX = DOOR_UNSENT_MAX / 2 /* bytes of one answer */
};

/* Cursors: a number for where a scan goes on. The cursor before is kept, too,
 * since an answer may be lost on its way. */
struct scan {
    uint64_t now, before; /* 0: none */
    struct buf at, at_before;
    uint64_t used;
};

struct redis_scans {
    struct scan list[SCANS_MAX];
    uint64_t counter;
    uint64_t uses;
};

int redis_scans_new(uint64_t seed, struct redis_scans **out)
{
    *out = mem_zero(1, sizeof **out);
    if (!*out)
        return DLHT_ENOMEM;
    (*out)->counter = seed >> 32; /* cursors of another life are not known */
    return DLHT_OK;
}

void redis_scans_free(struct redis_scans *scans)
{
    for (size_t i = 0; scans && i < SCANS_MAX; i++) {
        buf_deinit(&scans->list[i].at);
        buf_deinit(&scans->list[i].at_before);
    }
    free(scans);
}

/* False: no such cursor. */
static bool scans_find(struct redis_scans *scans, uint64_t cursor,
                       struct buf *from)
{
    struct scan *s = &scans->list[cursor % SCANS_MAX];
    if (cursor == 0 || (s->now != cursor && s->before != cursor))
        return false;
    s->used = ++scans->uses;
    buf_append_span(from, buf_span(s->now == cursor ? &s->at : &s->at_before));
    return true;
}

/* The number for where a scan goes on that came from that cursor. */
static uint64_t scans_note(struct redis_scans *scans, uint64_t cursor,
                           struct span at)
{
    struct scan *s = &scans->list[cursor % SCANS_MAX];
    bool known = cursor && (s->now == cursor || s->before == cursor);
    if (!known) {
        s = &scans->list[0];
        for (size_t i = 1; i < SCANS_MAX; i++)
            if (scans->list[i].used < s->used)
                s = &scans->list[i];
        s->before = s->now = 0;
    } else if (s->now == cursor) {
        struct buf old = s->at_before;
        s->at_before = s->at;
        s->at = old;
        s->before = s->now;
    }
    s->used = ++scans->uses;
    s->now = ++scans->counter * SCANS_MAX + (uint64_t)(s - scans->list);
    buf_reset(&s->at);
    buf_append_span(&s->at, at);
    if (s->at.failed)
        s->now = 0; /* then this cursor is not known */
    return s->now;
}

/* Walks. */

enum walk_kind {
    WALK_SCAN,
    WALK_KEYS,
    WALK_RANGE,
    WALK_DELETE,
    WALK_FLUSH,
    WALK_RANDOM
};

enum random_phase {
    RANDOM_FIRST,
    RANDOM_LAST,
    RANDOM_PICK,
    RANDOM_PICK_HASHED
};

struct walk {
    struct redis_job job;
    struct redis_to to;
    enum walk_kind kind;
    uint8_t db;
    bool all_dbs;
    bool keys_only, reverse, has_end;
    bool nothing; /* TYPE is one that no key has */
    bool has_pattern;
    struct buf from, end, pattern;
    uint64_t limit;  /* still wanted; UINT64_MAX: all */
    uint64_t cursor; /* SCAN: as given */
    bool more;
    bool too_long;
    bool deleting; /* open answers are of that */
    bool changed;  /* something was deleted, or may be */
    bool flushing;
    struct buf list; /* SCAN, KEYS, RANGE: as they are answered; DELETE: keys */
    uint64_t count;  /* items in it; DELETE: deleted */
    uint32_t key_count;
    size_t open;
    int status;
    struct buf text;
    enum random_phase phase;
    struct buf first;
};

static void walk_free(struct redis_job *job)
{
    struct walk *w = (struct walk *)job;
    buf_deinit(&w->from);
    buf_deinit(&w->end);
    buf_deinit(&w->pattern);
    buf_deinit(&w->list);
    buf_deinit(&w->text);
    buf_deinit(&w->first);
    free(w);
}

static void walk_ask(struct redis *redis, struct walk *w,
                     const struct request *q)
{
    w->open++;
    if (redis_ask_for(redis, &w->job, 0, q))
        return;
    w->open--;
    w->status = w->status ? w->status : DLHT_ENOMEM;
}

static void walk_release(struct redis *redis, struct walk *w)
{
    if (--w->open == 0)
        redis_ready(redis, &w->job);
}

/* The page after what has come. */
static void walk_page(struct redis *redis, struct walk *w)
{
    uint64_t limit = w->limit == UINT64_MAX ? 0 : w->limit;
    bool whole = w->kind != WALK_RANGE && w->kind != WALK_DELETE;
    struct request q = { .op = OP_RANGE,
                         .keyspace_name = redis_db_name(redis, w->db),
                         .key = buf_span(&w->from),
                         .end = buf_span(&w->end),
                         .limit = limit };
    if (w->kind == WALK_DELETE || w->kind == WALK_FLUSH)
        q.limit = limit && limit < DELETE_PAGE ? limit : DELETE_PAGE;
    if (w->kind == WALK_RANDOM)
        whole = w->phase == RANDOM_PICK_HASHED;
    q.flags = (uint16_t)((w->has_end ? REQUEST_HAS_END : 0) |
                         (w->reverse ? REQUEST_REVERSE : 0) |
                         (w->keys_only ? REQUEST_KEYS_ONLY : 0) |
                         (whole ? REQUEST_SCAN : 0));
    w->open = 1;
    w->more = false;
    w->deleting = false;
    walk_ask(redis, w, &q);
    walk_release(redis, w);
}

static void take_record(struct walk *w, struct span key, struct span value)
{
    if (w->kind == WALK_DELETE || w->kind == WALK_FLUSH) {
        mp_write_bin(&w->list, key);
        w->key_count++;
        return;
    }
    if (w->kind == WALK_RANDOM) {
        buf_reset(&w->list);
        buf_append_span(&w->list, key);
        w->count++;
        return;
    }
    if (w->nothing ||
        (w->has_pattern && !resp_glob(buf_span(&w->pattern), key)))
        return;
    resp_write_bulk(&w->list, key);
    w->count++;
    if (!w->keys_only) {
        resp_write_bulk(&w->list, value);
        w->count++;
    }
}

static void take_page(struct walk *w, const struct response *response)
{
    struct mp_reader r;
    mp_reader_init(&r, response->list);
    for (uint32_t i = 0; i < response->list_count && !r.bad; i++) {
        struct span key = mp_read_bytes(&r), value = mp_read_bytes(&r);
        (void)mp_read_uint(&r);
        if (!r.bad)
            take_record(w, key, value);
    }
    if (w->limit != UINT64_MAX)
        w->limit -=
            response->list_count < w->limit ? response->list_count : w->limit;
    w->more = response->more && (w->limit > 0 || w->kind == WALK_SCAN);
    w->too_long = w->list.len > LIST_MAX;
    struct buf *next = w->reverse ? &w->end : &w->from;
    if (w->more && w->kind != WALK_RANDOM) {
        buf_reset(next);
        buf_append_span(next, response->cursor);
        w->has_end = w->has_end || w->reverse;
        if (next->failed)
            w->status = DLHT_ENOMEM;
    }
}

static void walk_reply(struct redis *redis, struct redis_job *job,
                       uint32_t part, const struct response *response)
{
    struct walk *w = (struct walk *)job;
    (void)part;
    if (w->flushing || w->deleting)
        w->changed = w->changed || response->status == DLHT_OK ||
                     response->status == DLHT_EUNKNOWN ||
                     response->status == DLHT_ETIMEOUT;
    if (w->flushing) {
        w->more = response->status != DLHT_OK; /* no cache: key by key */
    } else if (w->all_dbs && response->status == DLHT_ENOKEYSPACE) {
        w->more = false; /* a number whose keyspace is not made yet */
    } else if (w->deleting && (response->status == DLHT_OK ||
                               response->status == DLHT_ENOTFOUND)) {
        w->count += response->status == DLHT_OK;
    } else if (response->status != DLHT_OK) {
        if (w->status == DLHT_OK) {
            w->status = response->status;
            buf_append_span(&w->text, response->text);
        }
    } else {
        take_page(w, response);
    }
    walk_release(redis, w);
}

static void walk_end(struct redis *redis, struct walk *w)
{
    redis_end(redis, &w->to);
    redis_job_end(redis, &w->job);
}

static void walk_fail(struct redis *redis, struct walk *w)
{
    struct response failed = { .status = w->status,
                               .text = buf_span(&w->text) };
    if (w->changed)
        failed = (struct response){
            .status = DLHT_EUNKNOWN,
            .text =
                span_str("some of the keys may be deleted and others not")
        };
    redis_fail(redis, &w->to, &failed,
               w->kind == WALK_DELETE || w->kind == WALK_FLUSH);
    redis_job_end(redis, &w->job);
}

static void answer_scan(struct redis *redis, struct walk *w)
{
    uint64_t cursor = 0;
    if (w->more)
        cursor = scans_note(redis->scans, w->cursor, buf_span(&w->from));
    struct buf *out = redis_begin(redis, &w->to);
    if (out) {
        resp_write_array(out, 2);
        resp_write_bulk_uint(out, cursor);
        resp_write_array(out, w->count);
        buf_append_span(out, buf_span(&w->list));
    }
    walk_end(redis, w);
}

static void answer_list(struct redis *redis, struct walk *w)
{
    if (w->too_long) {
        redis_fail_text(redis, &w->to,
                        "ERR the answer would be too long: take it in parts, "
                        "with SCAN or LIMIT");
        redis_job_end(redis, &w->job);
        return;
    }
    if (w->more) {
        walk_page(redis, w);
        return;
    }
    struct buf *out = redis_begin(redis, &w->to);
    if (out) {
        resp_write_array(out, w->count);
        buf_append_span(out, buf_span(&w->list));
        out->failed = out->failed || w->list.failed;
    }
    walk_end(redis, w);
}

/* Deletes the keys of the page. */
static void delete_page(struct redis *redis, struct walk *w)
{
    struct buf keys = w->list;
    struct mp_reader r;
    mp_reader_init(&r, buf_span(&keys));
    w->list = (struct buf){ 0 };
    w->deleting = true;
    w->open = 1;
    for (; w->key_count; w->key_count--) {
        struct request q = { .op = OP_DEL,
                             .keyspace_name = redis_db_name(redis, w->db),
                             .key = mp_read_bytes(&r) };
        walk_ask(redis, w, &q);
    }
    buf_deinit(&keys);
    walk_release(redis, w);
}

static void begin_flush(struct redis *redis, struct walk *w)
{
    struct request q = { .op = OP_CACHE_FLUSH,
                         .keyspace_name = redis_db_name(redis, w->db) };
    w->flushing = true;
    w->open = 1;
    walk_ask(redis, w, &q);
    walk_release(redis, w);
}

static void step_delete(struct redis *redis, struct walk *w)
{
    if (w->flushing) {
        w->flushing = false;
        if (w->more) {
            walk_page(redis, w);
            return;
        }
    } else if (w->key_count) {
        delete_page(redis, w);
        return;
    } else if (w->more) {
        walk_page(redis, w);
        return;
    }
    while (w->all_dbs && w->db + 1 < REDIS_DBS_MAX) {
        if (!redis->dbs[++w->db].name[0])
            continue;
        buf_reset(&w->from);
        begin_flush(redis, w);
        return;
    }
    struct buf *out = redis_begin(redis, &w->to);
    if (out && w->kind == WALK_FLUSH)
        resp_write(out, "+OK\r\n");
    else if (out)
        resp_write_int(out, (int64_t)w->count);
    walk_end(redis, w);
}

/* A key between the first and the last: their common beginning, then chance. */
static void pick_between(struct redis *redis, struct walk *w)
{
    struct span first = buf_span(&w->first), last = buf_span(&w->list);
    size_t n = 0;
    while (n < first.len && n < last.len && first.data[n] == last.data[n])
        n++;
    buf_append(&w->from, first.data, n);
    uint64_t lo = n < first.len ? first.data[n] : 0;
    uint64_t hi = n < last.len ? last.data[n] : lo;
    buf_append_byte(&w->from,
                    (uint8_t)(lo + rng_below(&redis->rng, hi - lo + 1)));
    for (int i = 0; i < 7; i++)
        buf_append_byte(&w->from, (uint8_t)rng_next(&redis->rng));
}

static void step_random(struct redis *redis, struct walk *w)
{
    if ((w->phase == RANDOM_LAST || w->phase == RANDOM_PICK) &&
        w->status == DLHT_ENOTSUP) {
        w->status = DLHT_OK; /* by hash, then */
        buf_reset(&w->text);
        buf_reset(&w->from);
        w->reverse = false;
        w->limit = 1;
        w->count = 0;
        for (int i = 0; i < 8; i++)
            buf_append_byte(&w->from, (uint8_t)rng_next(&redis->rng));
        w->phase = RANDOM_PICK_HASHED;
        walk_page(redis, w);
        return;
    }
    if (w->status != DLHT_OK) {
        walk_fail(redis, w);
        return;
    }
    if (w->phase == RANDOM_FIRST && w->count) {
        buf_append_span(&w->first, buf_span(&w->list));
        w->phase = RANDOM_LAST;
        w->reverse = true;
        w->limit = 1;
        walk_page(redis, w);
        return;
    }
    if (w->phase == RANDOM_LAST) {
        pick_between(redis, w);
        w->phase = RANDOM_PICK;
        w->reverse = false;
        w->limit = 1;
        w->count = 0;
        walk_page(redis, w);
        return;
    }
    struct buf *out = redis_begin(redis, &w->to);
    struct redis_client *client = redis_client_of(redis, &w->to);
    if (out && w->count)
        resp_write_bulk(out, buf_span(&w->list));
    else if (out && w->first.len)
        resp_write_bulk(out, buf_span(&w->first));
    else if (out)
        resp_write_null(out, client->resp3);
    walk_end(redis, w);
}

static void walk_step(struct redis *redis, struct redis_job *job)
{
    struct walk *w = (struct walk *)job;
    if (w->kind == WALK_RANDOM) {
        step_random(redis, w);
        return;
    }
    if (w->list.failed && w->status == DLHT_OK)
        w->status = DLHT_ENOMEM;
    if (w->status != DLHT_OK)
        walk_fail(redis, w);
    else if (w->kind == WALK_SCAN)
        answer_scan(redis, w);
    else if (w->kind == WALK_KEYS || w->kind == WALK_RANGE)
        answer_list(redis, w);
    else
        step_delete(redis, w);
}

/* NULL: answered. */
static struct walk *walk_new(struct redis_call *call, enum walk_kind kind)
{
    struct redis_to to;
    if (!redis_promise(call->client, &to))
        return NULL;
    struct walk *w = mem_zero(1, sizeof *w);
    if (!w) {
        struct response none = { .status = DLHT_ENOMEM };
        redis_fail(call->redis, &to, &none, false);
        return NULL;
    }
    w->job.reply = walk_reply;
    w->job.step = walk_step;
    w->job.free = walk_free;
    w->job.slow = true;
    w->to = to;
    w->kind = kind;
    w->db = call->db;
    w->limit = UINT64_MAX;
    w->keys_only = kind != WALK_RANGE;
    redis_job_init(call->redis, &w->job);
    return w;
}

static void walk_refuse(struct redis_call *call, struct walk *w,
                        const char *text)
{
    redis_fail_text(call->redis, &w->to, text);
    redis_job_end(call->redis, &w->job);
}

static void walk_begin(struct redis_call *call, struct walk *w)
{
    if (w->from.failed || w->end.failed || w->pattern.failed)
        walk_refuse(call, w, "OOM out of memory");
    else if (w->pattern.len > PATTERN_MAX)
        walk_refuse(call, w, "ERR the pattern is longer than 1024 bytes");
    else
        walk_page(call->redis, w);
}

/* Commands. */

static const char SYNTAX[] = "ERR syntax error";
static const char NO_INT[] = "ERR value is not an integer or out of range";

/* MATCH, COUNT, TYPE; NULL: they are good. */
static const char *read_scan_options(struct redis_call *call, struct walk *w)
{
    for (size_t i = 2; i < call->count; i += 2) {
        int64_t n;
        if (i + 1 == call->count)
            return SYNTAX;
        struct span word = call->args[i + 1];
        if (resp_is(call->args[i], "match")) {
            buf_reset(&w->pattern);
            buf_append_span(&w->pattern, word);
            w->has_pattern = true;
        } else if (resp_is(call->args[i], "count")) {
            if (!resp_to_int(word, &n))
                return NO_INT;
            if (n < 1)
                return SYNTAX;
            w->limit = (uint64_t)n;
        } else if (resp_is(call->args[i], "type")) {
            w->nothing = !resp_is(word, "string");
        } else {
            return SYNTAX;
        }
    }
    return NULL;
}

static bool read_cursor(struct span word, uint64_t *out)
{
    uint64_t n = 0;
    if (word.len == 0 || word.len > 20)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        unsigned digit = (unsigned)word.data[i] - '0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

void redis_start_scan(struct redis_call *call)
{
    struct walk *w = walk_new(call, WALK_SCAN);
    if (!w)
        return;
    w->limit = SCAN_COUNT;
    if (!read_cursor(call->args[1], &w->cursor)) {
        walk_refuse(call, w, "ERR invalid cursor");
        return;
    }
    const char *wrong = read_scan_options(call, w);
    if (wrong) {
        walk_refuse(call, w, wrong);
        return;
    }
    if (w->cursor && !scans_find(call->redis->scans, w->cursor, &w->from)) {
        walk_refuse(call, w,
                    "ERR invalid cursor: it is not of this node, or too many "
                    "scans were begun since; begin again with 0");
        return;
    }
    walk_begin(call, w);
}

void redis_start_keys(struct redis_call *call)
{
    struct walk *w = walk_new(call, WALK_KEYS);
    if (!w)
        return;
    buf_append_span(&w->pattern, call->args[1]);
    w->has_pattern = true;
    walk_begin(call, w);
}

void redis_start_randomkey(struct redis_call *call)
{
    struct walk *w = walk_new(call, WALK_RANDOM);
    if (!w)
        return;
    w->limit = 1;
    walk_begin(call, w);
}

void redis_start_dbsize(struct redis_call *call)
{
    struct redis_to to;
    if (!redis_promise(call->client, &to))
        return;
    struct request q = { .op = OP_COUNT,
                         .flags = REQUEST_SCAN,
                         .keyspace_name =
                             redis_db_name(call->redis, call->db) };
    redis_ask(call->redis, &to, REDIS_ANSWER_COUNT, &q);
}

void redis_start_flush(struct redis_call *call)
{
    struct walk *w = walk_new(call, WALK_FLUSH);
    if (!w)
        return;
    if (call->count > 2 ||
        (call->count == 2 && !resp_is(call->args[1], "async") &&
         !resp_is(call->args[1], "sync"))) {
        walk_refuse(call, w, SYNTAX);
        return;
    }
    w->all_dbs = call->command->name[5] == 'a';
    if (w->all_dbs)
        w->db = 0;
    begin_flush(call->redis, w);
}

/* LIMIT n, REV, KEYS; NULL: they are good. */
static const char *read_range_options(struct redis_call *call, struct walk *w,
                                      size_t at)
{
    bool deletes = w->kind == WALK_DELETE;
    for (; at < call->count; at++) {
        int64_t n;
        if (resp_is(call->args[at], "limit") && at + 1 < call->count) {
            if (!resp_to_int(call->args[++at], &n) || n < 0)
                return NO_INT;
            w->limit = (uint64_t)n;
        } else if (resp_is(call->args[at], "rev") && !deletes) {
            w->reverse = true;
        } else if (resp_is(call->args[at], "keys") && !deletes) {
            w->keys_only = true;
        } else {
            return SYNTAX;
        }
    }
    return NULL;
}

static void range_begin(struct redis_call *call, struct walk *w,
                        size_t options_at)
{
    const char *wrong = read_range_options(call, w, options_at);
    if (wrong) {
        walk_refuse(call, w, wrong);
    } else if (w->limit == 0) {
        struct buf *out = redis_begin(call->redis, &w->to);
        if (out)
            resp_write(out, w->kind == WALK_DELETE ? ":0\r\n" : "*0\r\n");
        walk_end(call->redis, w);
    } else {
        walk_begin(call, w);
    }
}

static void take_bounds(struct redis_call *call, struct walk *w)
{
    buf_append_span(&w->from, call->args[1]);
    buf_append_span(&w->end, call->args[2]);
    w->has_end = call->args[2].len > 0;
}

void redis_start_range(struct redis_call *call)
{
    struct walk *w = walk_new(call, WALK_RANGE);
    if (!w)
        return;
    take_bounds(call, w);
    range_begin(call, w, 3);
}

void redis_start_delrange(struct redis_call *call)
{
    struct walk *w = walk_new(call, WALK_DELETE);
    if (!w)
        return;
    take_bounds(call, w);
    range_begin(call, w, 3);
}

/* The first key after all that begin with prefix; empty: there is none. */
static void append_after(struct buf *out, struct span prefix)
{
    while (prefix.len && prefix.data[prefix.len - 1] == 0xff)
        prefix.len--;
    buf_append_span(out, prefix);
    if (prefix.len && !out->failed)
        out->data[out->len - 1]++;
}

void redis_start_prefix(struct redis_call *call)
{
    struct walk *w = walk_new(call, WALK_RANGE);
    if (!w)
        return;
    buf_append_span(&w->from, call->args[1]);
    append_after(&w->end, call->args[1]);
    w->has_end = w->end.len > 0;
    range_begin(call, w, 2);
}

void redis_start_count(struct redis_call *call)
{
    struct redis_to to;
    bool estimate = call->count == 4 && resp_is(call->args[3], "estimate");
    if (!redis_promise(call->client, &to))
        return;
    if (call->count > 3 && !estimate) {
        redis_fail_text(call->redis, &to, SYNTAX);
        return;
    }
    struct request q = { .op = OP_COUNT,
                         .keyspace_name = redis_db_name(call->redis, call->db),
                         .key = call->args[1],
                         .end = call->args[2] };
    q.flags = (uint16_t)((q.end.len ? REQUEST_HAS_END : 0) |
                         (estimate ? REQUEST_ESTIMATE : 0));
    redis_ask(call->redis, &to, REDIS_ANSWER_COUNT, &q);
}
