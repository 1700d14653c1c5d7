/* SPDX-License-Identifier: Apache-2.0 */

/* CLIENT: who is connected. */

#include <stdio.h>
#include <string.h>

#include "net/redis_admin.h"
#include "net/redis_multi.h"

static const uint64_t SECOND_NS = 1000000000;

static void write_line(const struct redis_client *c, struct buf *out)
{
    char line[1024];
    uint64_t now = c->redis->now_ns;
    size_t out_len = conn_unsent(&c->conn);
    snprintf(line, sizeof line,
             "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu "
             "flags=%s db=%u sub=0 psub=0 ssub=0 multi=%d qbuf=%zu "
             "qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=%zu oll=0 "
             "omem=%zu tot-mem=%zu events=%s cmd=%s user=default redir=-1 "
             "resp=%d",
             (unsigned long long)c->id, c->addr, c->redis->addr, c->conn.fd,
             c->name, (unsigned long long)((now - c->born_ns) / SECOND_NS),
             (unsigned long long)((now - c->used_ns) / SECOND_NS),
             redis_multi_is_active(c) ? "x" : "N", c->db,
             redis_multi_is_active(c) ? (int)redis_multi_count(c) : -1,
             c->conn.in.len, c->conn.in.cap - c->conn.in.len, out_len,
             c->conn.out.cap, sizeof *c + c->conn.in.cap + c->conn.out.cap,
             out_len ? "rw" : "r", c->last ? c->last->name : "NULL",
             c->resp3 ? 3 : 2);
    resp_write(out, line);
    resp_write(out, "\n");
}

static void list(struct redis_call *call)
{
    struct redis *redis = call->redis;
    struct buf text = { 0 };
    for (size_t i = 0; i < redis->seat_count; i++)
        if (redis->seats[i].client && !redis->seats[i].client->broken)
            write_line(redis->seats[i].client, &text);
    resp_write_bulk(call->out, buf_span(&text));
    buf_deinit(&text);
}

static void info(struct redis_call *call)
{
    struct buf text = { 0 };
    write_line(call->client, &text);
    resp_write_bulk(call->out, buf_span(&text));
    buf_deinit(&text);
}

struct kill {
    bool by_id, by_addr, by_laddr;
    bool me; /* the caller, too */
    int64_t id;
    struct span addr, laddr;
    bool none; /* asks for a type that nobody is of */
};

static bool kill_is(const struct kill *k, const struct redis_client *c)
{
    return !k->none && (!k->by_id || (int64_t)c->id == k->id) &&
           (!k->by_addr || span_equal(span_str(c->addr), k->addr)) &&
           (!k->by_laddr || span_equal(span_str(c->redis->addr), k->laddr));
}

static int64_t kill_all(struct redis_call *call, const struct kill *k)
{
    struct redis *redis = call->redis;
    int64_t count = 0;
    for (size_t i = 0; i < redis->seat_count; i++) {
        struct redis_client *c = redis->seats[i].client;
        if (!c || c->broken || c->leaving || !kill_is(k, c) ||
            (c == call->client && !k->me))
            continue;
        count++;
        if (c == call->client)
            c->leaving = true; /* after its answer */
        else
            redis_client_break(c, NULL);
    }
    return count;
}

/* False: answered. */
static bool read_kill(struct redis_call *call, struct kill *k)
{
    for (size_t i = 2; i < call->count; i += 2) {
        struct span word = call->args[i];
        if (i + 1 == call->count) {
            redis_write_syntax(call->out);
            return false;
        }
        struct span value = call->args[i + 1];
        if (resp_is(word, "id")) {
            k->by_id = true;
            if (!resp_to_int(value, &k->id) || k->id < 1) {
                resp_write_error(call->out,
                                 span_str("ERR client-id should be greater "
                                          "than 0"));
                return false;
            }
        } else if (resp_is(word, "addr")) {
            k->by_addr = true;
            k->addr = value;
        } else if (resp_is(word, "laddr")) {
            k->by_laddr = true;
            k->laddr = value;
        } else if (resp_is(word, "skipme")) {
            k->me = resp_is(value, "no");
        } else if (resp_is(word, "type")) {
            k->none = k->none || !resp_is(value, "normal");
        } else if (resp_is(word, "user")) {
            k->none = k->none || !span_equal(value, span_str("default"));
        } else {
            redis_write_syntax(call->out);
            return false;
        }
    }
    return true;
}

static void kill_clients(struct redis_call *call)
{
    struct kill k = { 0 };
    if (call->count == 3) {
        k = (struct kill){ .by_addr = true, .me = true, .addr = call->args[2] };
        if (kill_all(call, &k))
            resp_write(call->out, "+OK\r\n");
        else
            resp_write_error(call->out, span_str("ERR No such client"));
    } else if (read_kill(call, &k)) {
        resp_write_int(call->out, kill_all(call, &k));
    }
}

static void reply(struct redis_call *call)
{
    struct redis_client *client = call->client;
    struct span word = call->args[2];
    if (resp_is(word, "on")) {
        client->reply_off = client->reply_skip = false;
        /* Nothing is before it: what it was given may be muted. */
        resp_write(call->txn ? call->out : &client->conn.out, "+OK\r\n");
    } else if (resp_is(word, "off")) {
        client->reply_off = true;
    } else if (resp_is(word, "skip")) {
        client->reply_skip_next = !client->reply_off;
    } else {
        redis_write_syntax(call->out);
    }
}

static void set_info(struct redis_call *call)
{
    struct redis_client *client = call->client;
    struct span word = call->args[2], value = call->args[3];
    char *to = resp_is(word, "lib-name")  ? client->lib_name
               : resp_is(word, "lib-ver") ? client->lib_version
                                          : NULL;
    char line[160];
    snprintf(line, sizeof line, "ERR Unrecognized option '%.*s'",
             word.len < 100 ? (int)word.len : 100, (const char *)word.data);
    if (!to) {
        resp_write_error(call->out, span_str(line));
        return;
    }
    if (value.len >= REDIS_NAME_MAX)
        value.len = REDIS_NAME_MAX - 1;
    if (value.len)
        memcpy(to, value.data, value.len);
    to[value.len] = 0;
    resp_write(call->out, "+OK\r\n");
}

static void set_switch(struct redis_call *call)
{
    if (resp_is(call->args[2], "on") || resp_is(call->args[2], "off"))
        resp_write(call->out, "+OK\r\n");
    else
        redis_write_syntax(call->out);
}

static void track(struct redis_call *call)
{
    if (call->count == 3 && resp_is(call->args[2], "off"))
        resp_write(call->out, "+OK\r\n");
    else
        resp_write_error(call->out, span_str("ERR tracking is not supported"));
}

static void id(struct redis_call *call)
{
    resp_write_int(call->out, (int64_t)call->client->id);
}

static void get_name(struct redis_call *call)
{
    if (call->client->name[0])
        resp_write_bulk_text(call->out, call->client->name);
    else
        resp_write_null(call->out, call->client->resp3);
}

static void set_name(struct redis_call *call)
{
    if (redis_set_name(call, call->args[2]))
        resp_write(call->out, "+OK\r\n");
}

static void get_redirect(struct redis_call *call)
{
    resp_write_int(call->out, -1);
}

static void unblock(struct redis_call *call)
{
    resp_write_int(call->out, 0);
}

static void help(struct redis_call *call)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME, GETREDIR, ID, INFO, KILL, LIST, NO-EVICT, NO-TOUCH, REPLY,",
        "SETINFO, SETNAME, TRACKING OFF, UNBLOCK: as in Redis.",
        "HELP",
        "    Prints this help.",
    };
    redis_write_lines(call->out, lines, sizeof lines / sizeof lines[0]);
}

void redis_run_client(struct redis_call *call)
{
    static const struct {
        const char *word;
        size_t count_min, count_max;
        redis_run_fn run;
    } words[] = {
        { "id", 2, 2, id },
        { "getname", 2, 2, get_name },
        { "setname", 3, 3, set_name },
        { "setinfo", 4, 4, set_info },
        { "info", 2, 2, info },
        { "list", 2, 64, list },
        { "kill", 3, 64, kill_clients },
        { "reply", 3, 3, reply },
        { "no-evict", 3, 3, set_switch },
        { "no-touch", 3, 3, set_switch },
        { "tracking", 3, 64, track },
        { "getredir", 2, 2, get_redirect },
        { "unblock", 3, 4, unblock },
        { "help", 2, 2, help },
    };
    bool wrong;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!redis_sub_is(call, words[i].word, words[i].count_min,
                          words[i].count_max, &wrong))
            continue;
        if (!wrong)
            words[i].run(call);
        return;
    }
    redis_write_subcommand(call, "CLIENT");
}
