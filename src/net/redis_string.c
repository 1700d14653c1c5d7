/* SPDX-License-Identifier: Apache-2.0 */

/* What commands on strings and keys do inside a transaction. */

#include "net/redis_string.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/redis_txn.h"

static void write_long(struct redis_call *call)
{
    resp_write_error(call->out, span_str("ERR string exceeds maximum allowed "
                                         "size (proto-max-bulk-len)"));
}

static void write_value(struct redis_call *call, const struct redis_key *key)
{
    if (key->there)
        resp_write_bulk(call->out, buf_span(&key->value));
    else
        resp_write_null(call->out, call->resp3);
}

void redis_write_syntax(struct buf *out)
{
    resp_write_error(out, span_str("ERR syntax error"));
}

bool redis_read_int(struct redis_call *call, struct span word, int64_t *out)
{
    if (resp_to_int(word, out))
        return true;
    resp_write_error(call->out,
                     span_str("ERR value is not an integer or out of range"));
    return false;
}

/* A new value, as SET does it: without an end. */
static void replace(struct redis_key *key, struct span value)
{
    redis_key_set(key, value);
    redis_key_end(key, 0);
}

/* Ends. */

bool redis_read_end(struct redis_call *call, bool is_ms, bool is_at,
                    struct span word, int64_t *at_ms)
{
    int64_t n;
    int64_t now_ms =
        (int64_t)(call->redis->calls.wall_us(call->redis->calls.context) /
                  1000);
    if (!redis_read_int(call, word, &n))
        return false;
    bool good = is_ms || (n <= INT64_MAX / 1000 && n >= INT64_MIN / 1000);
    if (good && !is_ms)
        n *= 1000;
    if (good && !is_at)
        good = n <= INT64_MAX - now_ms;
    if (good) {
        *at_ms = is_at ? n : n + now_ms;
        return true;
    }
    redis_write_bad_end(call);
    return false;
}

void redis_write_bad_end(struct redis_call *call)
{
    char line[96];
    snprintf(line, sizeof line, "ERR invalid expire time in '%s' command",
             call->command->name);
    resp_write_error(call->out, span_str(line));
}

void redis_key_end_at(struct redis_call *call, struct redis_key *key,
                      int64_t at_ms)
{
    int64_t now_ms =
        (int64_t)(call->redis->calls.wall_us(call->redis->calls.context) /
                  1000);
    if (at_ms <= now_ms)
        redis_key_remove(key);
    else
        redis_key_end(key, (uint64_t)(at_ms - now_ms));
}

enum end_word {
    END_NONE,
    END_KEEP,
    END_PERSIST,
    END_BAD,
    END_GIVEN
};

/* EX, PX, EXAT, PXAT and their number at *at; END_NONE: not one of them.
 * END_BAD: answered. */
static enum end_word read_end_option(struct redis_call *call, size_t *at,
                                     int64_t *at_ms)
{
    static const struct {
        const char *word;
        bool is_ms, is_at;
    } words[] = { { "ex", false, false },
                  { "px", true, false },
                  { "exat", false, true },
                  { "pxat", true, true } };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        int64_t n;
        if (!resp_is(call->args[*at], words[i].word))
            continue;
        if (*at + 1 >= call->count) {
            redis_write_syntax(call->out);
            return END_BAD;
        }
        struct span word = call->args[++*at];
        if (!redis_read_int(call, word, &n))
            return END_BAD;
        if (n <= 0) {
            redis_write_bad_end(call);
            return END_BAD;
        }
        if (!redis_read_end(call, words[i].is_ms, words[i].is_at, word, at_ms))
            return END_BAD;
        return END_GIVEN;
    }
    return END_NONE;
}

/* SET and its like. */

void redis_run_get(struct redis_call *call)
{
    write_value(call, redis_txn_key(call, 1));
}

struct set_options {
    bool nx, xx, get;
    enum end_word end;
    int64_t at_ms;
};

/* False: answered. */
static bool read_set_options(struct redis_call *call, struct set_options *o)
{
    for (size_t i = 3; i < call->count; i++) {
        struct span word = call->args[i];
        enum end_word end;
        if (resp_is(word, "nx") && !o->xx) {
            o->nx = true;
        } else if (resp_is(word, "xx") && !o->nx) {
            o->xx = true;
        } else if (resp_is(word, "get")) {
            o->get = true;
        } else if (resp_is(word, "keepttl") && o->end == END_NONE) {
            o->end = END_KEEP;
        } else if (o->end != END_NONE ||
                   (end = read_end_option(call, &i, &o->at_ms)) == END_NONE) {
            redis_write_syntax(call->out);
            return false;
        } else if (end == END_BAD) {
            return false;
        } else {
            o->end = end;
        }
    }
    return true;
}

void redis_run_set(struct redis_call *call)
{
    struct set_options o = { 0 };
    struct redis_key *key = redis_txn_key(call, 1);
    if (!read_set_options(call, &o))
        return;
    bool sets = !(o.nx && key->there) && !(o.xx && !key->there);
    if (o.get)
        write_value(call, key);
    else if (sets)
        resp_write(call->out, "+OK\r\n");
    else
        resp_write_null(call->out, call->resp3);
    if (!sets)
        return;
    redis_key_set(key, call->args[2]);
    if (o.end == END_GIVEN)
        redis_key_end_at(call, key, o.at_ms);
    else if (o.end == END_NONE)
        redis_key_end(key, 0);
}

void redis_run_setnx(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    bool sets = !key->there;
    if (sets)
        replace(key, call->args[2]);
    resp_write_int(call->out, sets);
}

void redis_run_getset(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    write_value(call, key);
    replace(key, call->args[2]);
}

void redis_run_getdel(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    write_value(call, key);
    redis_key_remove(key);
}

void redis_run_getex(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    enum end_word end = END_NONE;
    int64_t at_ms = 0;
    for (size_t i = 2; i < call->count; i++) {
        if (end != END_NONE) {
            redis_write_syntax(call->out);
            return;
        }
        if (resp_is(call->args[i], "persist"))
            end = END_PERSIST;
        else
            end = read_end_option(call, &i, &at_ms);
        if (end == END_NONE)
            redis_write_syntax(call->out);
        if (end == END_NONE || end == END_BAD)
            return;
    }
    write_value(call, key);
    if (!key->there)
        return;
    if (end == END_GIVEN)
        redis_key_end_at(call, key, at_ms);
    else if (end == END_PERSIST)
        redis_key_end(key, 0);
}

static void set_with_end(struct redis_call *call, bool is_ms)
{
    struct redis_key *key = redis_txn_key(call, 1);
    int64_t n, at_ms;
    if (!redis_read_int(call, call->args[2], &n))
        return;
    if (n <= 0) {
        redis_write_bad_end(call);
        return;
    }
    if (!redis_read_end(call, is_ms, false, call->args[2], &at_ms))
        return;
    redis_key_set(key, call->args[3]);
    redis_key_end_at(call, key, at_ms);
    resp_write(call->out, "+OK\r\n");
}

void redis_run_setex(struct redis_call *call)
{
    set_with_end(call, false);
}

void redis_run_psetex(struct redis_call *call)
{
    set_with_end(call, true);
}

/* Many keys. */

/* What passes the bound is not sent: the transaction is refused. */
void redis_run_mget(struct redis_call *call)
{
    const struct buf *out = call->out;
    resp_write_array(call->out, call->count - 1);
    for (size_t i = 1; i < call->count && out->len <= REDIS_TXN_ANSWER_MAX; i++)
        write_value(call, redis_txn_key(call, i));
}

static bool pairs_are_whole(struct redis_call *call)
{
    if (call->count % 2 == 1)
        return true;
    redis_write_arity(call->out, call->command);
    return false;
}

static void set_pairs(struct redis_call *call)
{
    for (size_t i = 1; i + 1 < call->count; i += 2)
        replace(redis_txn_key(call, i), call->args[i + 1]);
}

void redis_run_mset(struct redis_call *call)
{
    if (!pairs_are_whole(call))
        return;
    set_pairs(call);
    resp_write(call->out, "+OK\r\n");
}

void redis_run_msetnx(struct redis_call *call)
{
    if (!pairs_are_whole(call))
        return;
    for (size_t i = 1; i < call->count; i += 2)
        if (redis_txn_key(call, i)->there) {
            resp_write_int(call->out, 0);
            return;
        }
    set_pairs(call);
    resp_write_int(call->out, 1);
}

void redis_run_del(struct redis_call *call)
{
    int64_t count = 0;
    for (size_t i = 1; i < call->count; i++) {
        struct redis_key *key = redis_txn_key(call, i);
        count += key->there;
        redis_key_remove(key);
    }
    resp_write_int(call->out, count);
}

void redis_run_exists(struct redis_call *call)
{
    int64_t count = 0;
    for (size_t i = 1; i < call->count; i++)
        count += redis_txn_key(call, i)->there;
    resp_write_int(call->out, count);
}

/* Parts of strings. */

void redis_run_strlen(struct redis_call *call)
{
    const struct redis_key *key = redis_txn_key(call, 1);
    resp_write_int(call->out, key->there ? (int64_t)key->value.len : 0);
}

void redis_run_append(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    if (key->value.len + call->args[2].len > RESP_BULK_MAX) {
        write_long(call);
        return;
    }
    if (!key->there)
        redis_key_end(key, 0);
    buf_append_span(&key->value, call->args[2]);
    key->there = true;
    key->changed = true;
    resp_write_int(call->out, (int64_t)key->value.len);
}

void redis_run_getrange(struct redis_call *call)
{
    const struct redis_key *key = redis_txn_key(call, 1);
    int64_t from, to, len = key->there ? (int64_t)key->value.len : 0;
    if (!redis_read_int(call, call->args[2], &from) ||
        !redis_read_int(call, call->args[3], &to))
        return;
    bool none = from < 0 && to < 0 && from > to;
    from = from < 0 ? from + len : from;
    to = to < 0 ? to + len : to;
    from = from < 0 ? 0 : from;
    to = to < 0 ? 0 : to;
    to = to >= len ? len - 1 : to;
    if (none || from > to || len == 0)
        resp_write(call->out, "$0\r\n\r\n");
    else
        resp_write_bulk(call->out, span_of(key->value.data + from,
                                           (size_t)(to - from + 1)));
}

void redis_run_setrange(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    struct span value = call->args[3];
    int64_t at;
    if (!redis_read_int(call, call->args[2], &at))
        return;
    if (at < 0) {
        resp_write_error(call->out, span_str("ERR offset is out of range"));
        return;
    }
    if (value.len == 0) {
        redis_run_strlen(call);
        return;
    }
    if (at > RESP_BULK_MAX || (size_t)at + value.len > RESP_BULK_MAX) {
        write_long(call);
        return;
    }
    size_t end = (size_t)at + value.len;
    struct buf *b = &key->value;
    if (b->len < end) {
        if (buf_reserve(b, end - b->len) != 0) {
            resp_write_error(call->out, span_str("OOM out of memory"));
            return;
        }
        memset(b->data + b->len, 0, end - b->len);
        b->len = end;
    }
    memcpy(b->data + at, value.data, value.len);
    key->there = true;
    key->changed = true;
    resp_write_int(call->out, (int64_t)b->len);
}

/* Numbers. */

static void add(struct redis_call *call, int64_t more)
{
    struct redis_key *key = redis_txn_key(call, 1);
    int64_t n = 0;
    char text[RESP_INT_MAX];
    if (key->there && !redis_read_int(call, buf_span(&key->value), &n))
        return;
    if ((more < 0 && n < INT64_MIN - more) ||
        (more > 0 && n > INT64_MAX - more)) {
        resp_write_error(call->out, span_str("ERR increment or decrement "
                                             "would overflow"));
        return;
    }
    redis_key_set(key, span_of(text, resp_int_text(n + more, text)));
    resp_write_int(call->out, n + more);
}

void redis_run_incr(struct redis_call *call)
{
    add(call, 1);
}

void redis_run_decr(struct redis_call *call)
{
    add(call, -1);
}

void redis_run_incrby(struct redis_call *call)
{
    int64_t more;
    if (redis_read_int(call, call->args[2], &more))
        add(call, more);
}

void redis_run_decrby(struct redis_call *call)
{
    int64_t less;
    if (!redis_read_int(call, call->args[2], &less))
        return;
    if (less == INT64_MIN)
        resp_write_error(call->out, span_str("ERR decrement would overflow"));
    else
        add(call, -less);
}

void redis_run_incrbyfloat(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    long double n = 0, more;
    char text[RESP_DOUBLE_MAX];
    if ((key->there && !resp_to_double(buf_span(&key->value), &n)) ||
        !resp_to_double(call->args[2], &more)) {
        resp_write_error(call->out, span_str("ERR value is not a valid "
                                             "float"));
        return;
    }
    n += more;
    if (isnan(n) || isinf(n)) {
        resp_write_error(call->out, span_str("ERR increment would produce NaN "
                                             "or Infinity"));
        return;
    }
    struct span said = span_of(text, resp_double_text(n, text));
    redis_key_set(key, said);
    resp_write_bulk(call->out, said);
}

/* Keys as such. */

void redis_run_type(struct redis_call *call)
{
    resp_write(call->out,
               redis_txn_key(call, 1)->there ? "+string\r\n" : "+none\r\n");
}

static bool is_same_key(const struct redis_call *call)
{
    return span_equal(call->args[1], call->args[2]);
}

/* All of a key, its end with it. */
static void copy_key(const struct redis_key *from, struct redis_key *to)
{
    redis_key_set(to, buf_span(&from->value));
    redis_key_end(to, from->ttl_ms);
}

static void rename_key(struct redis_call *call, bool only_new)
{
    struct redis_key *from = redis_txn_key(call, 1);
    struct redis_key *to = redis_txn_key(call, 2);
    if (!from->there) {
        resp_write_error(call->out, span_str("ERR no such key"));
        return;
    }
    bool done = !(only_new && to->there);
    if (done && !is_same_key(call)) {
        copy_key(from, to);
        redis_key_remove(from);
    }
    if (only_new)
        resp_write_int(call->out, done);
    else
        resp_write(call->out, "+OK\r\n");
}

void redis_run_rename(struct redis_call *call)
{
    rename_key(call, false);
}

void redis_run_renamenx(struct redis_call *call)
{
    rename_key(call, true);
}

void redis_run_copy(struct redis_call *call)
{
    struct redis_key *from = redis_txn_key(call, 1);
    struct redis_key *to = redis_txn_key(call, 2);
    bool replaces = false;
    for (size_t i = 3; i < call->count; i++) {
        int64_t db;
        if (resp_is(call->args[i], "replace")) {
            replaces = true;
        } else if (resp_is(call->args[i], "db") && i + 1 < call->count) {
            if (!redis_read_int(call, call->args[++i], &db))
                return;
            if (db != call->db) {
                resp_write_error(call->out,
                                 span_str("ERR COPY goes to the same DB only"));
                return;
            }
        } else {
            redis_write_syntax(call->out);
            return;
        }
    }
    if (is_same_key(call)) {
        resp_write_error(call->out, span_str("ERR source and destination "
                                             "objects are the same"));
        return;
    }
    bool done = from->there && (replaces || !to->there);
    if (done)
        copy_key(from, to);
    resp_write_int(call->out, done);
}

static const char *encoding_of(const struct redis_key *key)
{
    int64_t n;
    struct span value = buf_span(&key->value);
    if (value.len <= 20 && resp_to_int(value, &n))
        return "int";
    return value.len <= 44 ? "embstr" : "raw";
}

void redis_run_object(struct redis_call *call)
{
    static const char *const help[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to "
        "store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned "
        "integer is",
        "    proportional to the logarithm of the recent access frequency of "
        "the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated "
        "number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with "
        "the specified",
        "    <key>.",
        "HELP",
        "    Prints this help.",
    };
    struct span what = call->args[1];
    if (call->count == 2 && resp_is(what, "help")) {
        redis_write_lines(call->out, help, sizeof help / sizeof help[0]);
        return;
    }
    bool encoding = resp_is(what, "encoding"), freq = resp_is(what, "freq");
    bool idle = resp_is(what, "idletime"), refs = resp_is(what, "refcount");
    if (call->count != 3 || !(encoding || freq || idle || refs)) {
        redis_write_subcommand(call, "OBJECT");
        return;
    }
    const struct redis_key *key = redis_txn_key(call, 2);
    if (!key->there)
        resp_write_null(call->out, call->resp3);
    else if (encoding)
        resp_write_bulk_text(call->out, encoding_of(key));
    else if (freq)
        resp_write_error(
            call->out,
            span_str("ERR An LFU maxmemory policy is not selected, access "
                     "frequency not tracked. Please note that when switching "
                     "between policies at runtime LRU and LFU data will take "
                     "some time to adjust."));
    else
        resp_write_int(call->out, refs ? 1 : 0);
}

void redis_run_memory(struct redis_call *call)
{
    static const char *const help[] = {
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value.",
        "HELP",
        "    Prints this help.",
    };
    enum {
        RECORD_BYTES = 32 /* beside key and value, about */
    };
    if (call->count == 2 && resp_is(call->args[1], "help")) {
        redis_write_lines(call->out, help, sizeof help / sizeof help[0]);
    } else if (resp_is(call->args[1], "doctor") && call->count == 2) {
        resp_write_bulk_text(call->out, "Memory is what INFO says it is.");
    } else if (resp_is(call->args[1], "usage") && call->count >= 3) {
        const struct redis_key *key = redis_txn_key(call, 2);
        int64_t n;
        if (call->count != 3 &&
            !(call->count == 5 && resp_is(call->args[3], "samples"))) {
            redis_write_syntax(call->out);
        } else if (call->count == 5 &&
                   !redis_read_int(call, call->args[4], &n)) {
            return;
        } else if (key->there) {
            resp_write_int(call->out, (int64_t)(key->name.len + key->value.len +
                                                RECORD_BYTES));
        } else {
            resp_write_null(call->out, call->resp3);
        }
    } else {
        redis_write_subcommand(call, "MEMORY");
    }
}

/* EXPIRE and its like. */

struct expire_options {
    bool nx, xx, gt, lt;
};

static bool read_expire_options(struct redis_call *call,
                                struct expire_options *o)
{
    for (size_t i = 3; i < call->count; i++) {
        struct span word = call->args[i];
        if (resp_is(word, "nx")) {
            o->nx = true;
        } else if (resp_is(word, "xx")) {
            o->xx = true;
        } else if (resp_is(word, "gt")) {
            o->gt = true;
        } else if (resp_is(word, "lt")) {
            o->lt = true;
        } else {
            char line[128];
            snprintf(line, sizeof line, "ERR Unsupported option %.*s",
                     word.len < 80 ? (int)word.len : 80,
                     (const char *)word.data);
            resp_write_error(call->out, span_str(line));
            return false;
        }
    }
    if (o->nx && (o->xx || o->gt || o->lt)) {
        resp_write_error(call->out,
                         span_str("ERR NX and XX, GT or LT options at the "
                                  "same time are not compatible"));
        return false;
    }
    if (o->gt && o->lt) {
        resp_write_error(call->out, span_str("ERR GT and LT options at the "
                                             "same time are not compatible"));
        return false;
    }
    return true;
}

static void expire(struct redis_call *call, bool is_ms, bool is_at)
{
    struct redis_key *key = redis_txn_key(call, 1);
    struct expire_options o = { 0 };
    int64_t at_ms;
    if (!read_expire_options(call, &o) ||
        !redis_read_end(call, is_ms, is_at, call->args[2], &at_ms))
        return;
    int64_t now_ms =
        (int64_t)(call->redis->calls.wall_us(call->redis->calls.context) /
                  1000);
    int64_t has = key->ttl_ms ? now_ms + (int64_t)key->ttl_ms : INT64_MAX;
    bool sets = key->there && !(o.nx && key->ttl_ms) &&
                !(o.xx && !key->ttl_ms) &&
                !(o.gt && (!key->ttl_ms || at_ms <= has)) &&
                !(o.lt && key->ttl_ms && at_ms >= has);
    if (sets)
        redis_key_end_at(call, key, at_ms);
    resp_write_int(call->out, sets);
}

void redis_run_expire(struct redis_call *call)
{
    expire(call, false, false);
}

void redis_run_pexpire(struct redis_call *call)
{
    expire(call, true, false);
}

void redis_run_expireat(struct redis_call *call)
{
    expire(call, false, true);
}

void redis_run_pexpireat(struct redis_call *call)
{
    expire(call, true, true);
}

static void tell_end(struct redis_call *call, bool in_ms, bool at)
{
    const struct redis_key *key = redis_txn_key(call, 1);
    int64_t n = -2;
    if (key->there && !key->ttl_ms) {
        n = -1;
    } else if (key->there) {
        n = (int64_t)key->ttl_ms;
        if (at)
            n += (int64_t)(call->redis->calls.wall_us(
                               call->redis->calls.context) /
                           1000);
        if (!in_ms)
            n = (n + 500) / 1000;
    }
    resp_write_int(call->out, n);
}

void redis_run_ttl(struct redis_call *call)
{
    tell_end(call, false, false);
}

void redis_run_pttl(struct redis_call *call)
{
    tell_end(call, true, false);
}

void redis_run_expiretime(struct redis_call *call)
{
    tell_end(call, false, true);
}

void redis_run_pexpiretime(struct redis_call *call)
{
    tell_end(call, true, true);
}

void redis_run_persist(struct redis_call *call)
{
    struct redis_key *key = redis_txn_key(call, 1);
    bool had = key->there && key->ttl_ms;
    if (had)
        redis_key_end(key, 0);
    resp_write_int(call->out, had);
}
