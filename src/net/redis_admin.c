/* SPDX-License-Identifier: Apache-2.0 */

/* Greetings, time, and what is empty here. */

#include "net/redis_admin.h"

#include <stdio.h>
#include <string.h>

#include "net/redis_multi.h"

static void write_ok(struct redis_call *call)
{
    resp_write(call->out, "+OK\r\n");
}

void redis_run_ok(struct redis_call *call)
{
    write_ok(call);
}

void redis_write_lines(struct buf *out, const char *const *lines, size_t count)
{
    resp_write_array(out, count);
    for (size_t i = 0; i < count; i++)
        resp_write_simple(out, lines[i]);
}

void redis_write_subcommand(struct redis_call *call, const char *container)
{
    char line[256];
    struct span word = call->args[1];
    snprintf(line, sizeof line, "ERR unknown subcommand '%.*s'. Try %s HELP.",
             word.len < 128 ? (int)word.len : 128, (const char *)word.data,
             container);
    resp_write_error(call->out, span_str(line));
}

bool redis_sub_is(struct redis_call *call, const char *word, size_t count_min,
                  size_t count_max, bool *wrong)
{
    if (!resp_is(call->args[1], word))
        return false;
    *wrong = call->count < count_min || call->count > count_max;
    if (*wrong) {
        char line[128];
        snprintf(line, sizeof line,
                 "ERR wrong number of arguments for '%s|%s' command",
                 call->command->name, word);
        resp_write_error(call->out, span_str(line));
    }
    return true;
}

void redis_run_ping(struct redis_call *call)
{
    if (call->count > 2)
        redis_write_arity(call->out, call->command);
    else if (call->count == 2)
        resp_write_bulk(call->out, call->args[1]);
    else
        resp_write(call->out, "+PONG\r\n");
}

void redis_run_echo(struct redis_call *call)
{
    resp_write_bulk(call->out, call->args[1]);
}

/* There is no password: anyone is `default`. */
static bool is_user(struct buf *out, struct span name)
{
    if (span_equal(name, span_str("default")))
        return true;
    resp_write_error(out, span_str("WRONGPASS invalid username-password pair "
                                   "or user is disabled."));
    return false;
}

void redis_run_auth(struct redis_call *call)
{
    if (call->count > 3)
        redis_write_syntax(call->out);
    else if (call->count == 2)
        resp_write_error(
            call->out,
            span_str("ERR AUTH <password> called without any password "
                     "configured for the default user. Are you sure your "
                     "configuration is correct?"));
    else if (is_user(call->out, call->args[1]))
        write_ok(call);
}

static void write_hello(struct redis_call *call)
{
    struct buf *out = call->out;
    bool resp3 = call->client->resp3;
    resp_write_map(out, 7, resp3);
    resp_write_bulk_text(out, "server");
    resp_write_bulk_text(out, "redis");
    resp_write_bulk_text(out, "version");
    resp_write_bulk_text(out, REDIS_VERSION_TEXT);
    resp_write_bulk_text(out, "proto");
    resp_write_int(out, resp3 ? 3 : 2);
    resp_write_bulk_text(out, "id");
    resp_write_int(out, (int64_t)call->client->id);
    resp_write_bulk_text(out, "mode");
    resp_write_bulk_text(out, "cluster");
    resp_write_bulk_text(out, "role");
    resp_write_bulk_text(out, "master");
    resp_write_bulk_text(out, "modules");
    resp_write_array(out, 0);
}

bool redis_name_is_good(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] < '!' || name.data[i] > '~')
            return false;
    return true;
}

bool redis_set_name(struct redis_call *call, struct span name)
{
    if (!redis_name_is_good(name)) {
        resp_write_error(call->out,
                         span_str("ERR Client names cannot contain spaces, "
                                  "newlines or special characters."));
        return false;
    }
    if (name.len >= REDIS_NAME_MAX)
        name.len = REDIS_NAME_MAX - 1;
    if (name.len)
        memcpy(call->client->name, name.data, name.len);
    call->client->name[name.len] = 0;
    return true;
}

void redis_run_hello(struct redis_call *call)
{
    int64_t version = call->client->resp3 ? 3 : 2;
    if (call->count > 1 && !resp_to_int(call->args[1], &version)) {
        resp_write_error(call->out,
                         span_str("ERR Protocol version is not an integer or "
                                  "out of range"));
        return;
    }
    if (version != 2 && version != 3) {
        resp_write_error(call->out,
                         span_str("NOPROTO unsupported protocol version"));
        return;
    }
    for (size_t i = 2; i < call->count; i++) {
        char line[128];
        struct span word = call->args[i];
        size_t left = call->count - 1 - i;
        if (resp_is(word, "auth") && left >= 2) {
            if (!is_user(call->out, call->args[i + 1]))
                return;
            i += 2;
        } else if (resp_is(word, "setname") && left >= 1) {
            if (!redis_set_name(call, call->args[++i]))
                return;
        } else {
            snprintf(
                line, sizeof line, "ERR Syntax error in HELLO option '%.*s'",
                word.len < 64 ? (int)word.len : 64, (const char *)word.data);
            resp_write_error(call->out, span_str(line));
            return;
        }
    }
    call->client->resp3 = version == 3;
    write_hello(call);
}

void redis_run_quit(struct redis_call *call)
{
    call->client->leaving = true;
    write_ok(call);
}

void redis_run_reset(struct redis_call *call)
{
    struct redis_client *client = call->client;
    redis_multi_reset(client);
    client->resp3 = false;
    client->db = 0;
    client->name[0] = 0;
    client->asking = false;
    client->reply_off = client->reply_skip = client->reply_skip_next = false;
    resp_write(call->out, "+RESET\r\n");
}

void redis_run_select(struct redis_call *call)
{
    int64_t n;
    if (!redis_read_int(call, call->args[1], &n))
        return;
    if (n < 0 || n >= REDIS_DBS_MAX || !call->redis->dbs[n].name[0]) {
        resp_write_error(call->out, span_str("ERR DB index is out of range"));
        return;
    }
    call->client->db = (uint8_t)n;
    write_ok(call);
}

void redis_run_time(struct redis_call *call)
{
    uint64_t us = call->redis->calls.wall_us(call->redis->calls.context);
    resp_write_array(call->out, 2);
    resp_write_bulk_uint(call->out, us / 1000000);
    resp_write_bulk_uint(call->out, us % 1000000);
}

/* What was answered is with a majority already; other servers follow none. */
void redis_run_wait(struct redis_call *call)
{
    int64_t n, ms;
    if (!redis_read_int(call, call->args[1], &n))
        return;
    if (!resp_to_int(call->args[2], &ms))
        resp_write_error(call->out, span_str("ERR timeout is not an integer or "
                                             "out of range"));
    else if (ms < 0)
        resp_write_error(call->out, span_str("ERR timeout is negative"));
    else
        resp_write_int(call->out, 0);
}

void redis_run_slowlog(struct redis_call *call)
{
    bool wrong;
    if (redis_sub_is(call, "get", 2, 3, &wrong)) {
        if (!wrong)
            resp_write_array(call->out, 0);
    } else if (redis_sub_is(call, "len", 2, 2, &wrong)) {
        if (!wrong)
            resp_write_int(call->out, 0);
    } else if (redis_sub_is(call, "reset", 2, 2, &wrong)) {
        if (!wrong)
            write_ok(call);
    } else {
        redis_write_subcommand(call, "SLOWLOG");
    }
}

void redis_run_latency(struct redis_call *call)
{
    bool wrong;
    if (redis_sub_is(call, "latest", 2, 2, &wrong) ||
        redis_sub_is(call, "history", 3, 3, &wrong)) {
        if (!wrong)
            resp_write_array(call->out, 0);
    } else if (redis_sub_is(call, "reset", 2, 64, &wrong)) {
        if (!wrong)
            resp_write_int(call->out, 0);
    } else if (redis_sub_is(call, "doctor", 2, 2, &wrong)) {
        if (!wrong)
            resp_write_bulk_text(call->out, "Latency is not watched here.");
    } else {
        redis_write_subcommand(call, "LATENCY");
    }
}

void redis_run_asking(struct redis_call *call)
{
    call->client->asking = call->redis->ask; /* else nobody asks for it */
    write_ok(call);
}
