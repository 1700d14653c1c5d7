/* SPDX-License-Identifier: Apache-2.0 */

/* The commands, and what COMMAND tells of them. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "net/redis_admin.h"
#include "net/redis_multi.h"
#include "net/redis_start.h"
#include "net/redis_string.h"

enum {
    W = REDIS_WRITE,
    R = REDIS_READ,
    F = REDIS_FAST,
    A = REDIS_ALONE,
    D = REDIS_ADMIN,
    M = REDIS_IN_MULTI,
    NAME_LEN_MAX = 24
};

#define RUN(name) redis_run_##name
#define START(name) redis_start_##name

static const struct redis_command commands[] = {
    { "append", 3, W | F, 1, 1, 1, RUN(append), NULL, "string", "2.0.0",
      "Append a value to a key" },
    { "asking", 1, F, 0, 0, 0, RUN(asking), NULL, "cluster", "3.0.0",
      "Sent by cluster clients after an -ASK redirect" },
    { "auth", -2, F, 0, 0, 0, RUN(auth), NULL, "connection", "1.0.0",
      "Authenticate to the server" },
    { "client", -2, D | A, 0, 0, 0, RUN(client), NULL, "connection", "2.4.0",
      "A container for client connection commands" },
    { "cluster", -2, A, 0, 0, 0, NULL, START(cluster), "cluster", "3.0.0",
      "A container for cluster commands" },
    { "command", -1, 0, 0, 0, 0, redis_command_command, NULL, "server",
      "2.8.13", "Get array of command details" },
    { "config", -2, D, 0, 0, 0, RUN(config), NULL, "server", "2.0.0",
      "A container for server configuration commands" },
    { "copy", -3, W, 1, 2, 1, RUN(copy), NULL, "generic", "6.2.0",
      "Copy a key" },
    { "dbsize", 1, R | F | A, 0, 0, 0, NULL, START(dbsize), "server", "1.0.0",
      "Return the number of keys in the selected database" },
    { "decr", 2, W | F, 1, 1, 1, RUN(decr), NULL, "string", "1.0.0",
      "Decrement the integer value of a key by one" },
    { "decrby", 3, W | F, 1, 1, 1, RUN(decrby), NULL, "string", "1.0.0",
      "Decrement the integer value of a key by the given number" },
    { "del", -2, W, 1, -1, 1, RUN(del), START(del), "generic", "1.0.0",
      "Delete a key" },
    { "discard", 1, F | M, 0, 0, 0, RUN(discard), NULL, "transactions", "2.0.0",
      "Discard all commands issued after MULTI" },
    { "dlht.count", -3, R | A, 0, 0, 0, NULL, START(count), "dlht", "0.1.0",
      "Number of keys in a range: start end [ESTIMATE]" },
    { "dlht.delrange", -3, W | A, 0, 0, 0, NULL, START(delrange), "dlht",
      "0.1.0", "Delete the keys of a range: start end [LIMIT n]" },
    { "dlht.lookup", 2, R, 1, 1, 1, NULL, START(lookup), "dlht", "0.1.0",
      "Where a key lives" },
    { "dlht.prefix", -2, R | A, 0, 0, 0, NULL, START(prefix), "dlht", "0.1.0",
      "Records that begin so, in key order: prefix [LIMIT n] [REV] [KEYS]" },
    { "dlht.range", -3, R | A, 0, 0, 0, NULL, START(range), "dlht", "0.1.0",
      "Records in key order: start end [LIMIT n] [REV] [KEYS]" },
    { "echo", 2, F, 0, 0, 0, RUN(echo), NULL, "connection", "1.0.0",
      "Echo the given string" },
    { "exec", 1, A | M, 0, 0, 0, NULL, START(exec), "transactions", "1.2.0",
      "Execute all commands issued after MULTI" },
    { "exists", -2, R | F, 1, -1, 1, RUN(exists), START(exists), "generic",
      "1.0.0", "Determine if a key exists" },
    { "expire", -3, W | F, 1, 1, 1, RUN(expire), NULL, "generic", "1.0.0",
      "Set a key's time to live in seconds" },
    { "expireat", -3, W | F, 1, 1, 1, RUN(expireat), NULL, "generic", "1.2.0",
      "Set the expiration for a key as a UNIX timestamp" },
    { "expiretime", 2, R | F, 1, 1, 1, RUN(expiretime), NULL, "generic",
      "7.0.0", "Get the expiration Unix timestamp for a key" },
    { "flushall", -1, W | A, 0, 0, 0, NULL, START(flush), "server", "1.0.0",
      "Remove all keys from all databases" },
    { "flushdb", -1, W | A, 0, 0, 0, NULL, START(flush), "server", "1.0.0",
      "Remove all keys from the current database" },
    { "get", 2, R | F, 1, 1, 1, RUN(get), START(get), "string", "1.0.0",
      "Get the value of a key" },
    { "getdel", 2, W | F, 1, 1, 1, RUN(getdel), NULL, "string", "6.2.0",
      "Get the value of a key and delete the key" },
    { "getex", -2, W | F, 1, 1, 1, RUN(getex), NULL, "string", "6.2.0",
      "Get the value of a key and optionally set its expiration" },
    { "getrange", 4, R, 1, 1, 1, RUN(getrange), NULL, "string", "2.4.0",
      "Get a substring of the string stored at a key" },
    { "getset", 3, W | F, 1, 1, 1, RUN(getset), NULL, "string", "1.0.0",
      "Set the string value of a key and return its old value" },
    { "hello", -1, F | A, 0, 0, 0, RUN(hello), NULL, "connection", "6.0.0",
      "Handshake with Redis" },
    { "incr", 2, W | F, 1, 1, 1, RUN(incr), NULL, "string", "1.0.0",
      "Increment the integer value of a key by one" },
    { "incrby", 3, W | F, 1, 1, 1, RUN(incrby), NULL, "string", "1.0.0",
      "Increment the integer value of a key by the given amount" },
    { "incrbyfloat", 3, W | F, 1, 1, 1, RUN(incrbyfloat), NULL, "string",
      "2.6.0", "Increment the float value of a key by the given amount" },
    { "info", -1, 0, 0, 0, 0, NULL, START(info), "server", "1.0.0",
      "Get information and statistics about the server" },
    { "keys", 2, R | A, 0, 0, 0, NULL, START(keys), "generic", "1.0.0",
      "Find all keys matching the given pattern" },
    { "latency", -2, D, 0, 0, 0, RUN(latency), NULL, "server", "2.8.13",
      "A container for latency diagnostics commands" },
    { "memory", -2, R, 2, 2, 1, RUN(memory), NULL, "server", "4.0.0",
      "A container for memory diagnostics commands" },
    { "mget", -2, R | F, 1, -1, 1, RUN(mget), START(mget), "string", "1.0.0",
      "Get the values of all the given keys" },
    { "mset", -3, W, 1, -1, 2, RUN(mset), START(mset), "string", "1.0.1",
      "Set multiple keys to multiple values" },
    { "msetnx", -3, W, 1, -1, 2, RUN(msetnx), NULL, "string", "1.0.1",
      "Set multiple keys to multiple values, only if none of the keys exist" },
    { "multi", 1, F | M, 0, 0, 0, RUN(multi), NULL, "transactions", "1.2.0",
      "Mark the start of a transaction block" },
    { "object", -2, R, 2, 2, 1, RUN(object), NULL, "generic", "2.2.3",
      "A container for object introspection commands" },
    { "persist", 2, W | F, 1, 1, 1, RUN(persist), NULL, "generic", "2.2.0",
      "Remove the expiration from a key" },
    { "pexpire", -3, W | F, 1, 1, 1, RUN(pexpire), NULL, "generic", "2.6.0",
      "Set a key's time to live in milliseconds" },
    { "pexpireat", -3, W | F, 1, 1, 1, RUN(pexpireat), NULL, "generic", "2.6.0",
      "Set the expiration for a key as a UNIX timestamp specified in "
      "milliseconds" },
    { "pexpiretime", 2, R | F, 1, 1, 1, RUN(pexpiretime), NULL, "generic",
      "7.0.0", "Get the expiration Unix timestamp for a key in milliseconds" },
    { "ping", -1, F, 0, 0, 0, RUN(ping), NULL, "connection", "1.0.0",
      "Ping the server" },
    { "psetex", 4, W, 1, 1, 1, RUN(psetex), NULL, "string", "2.6.0",
      "Set the value and expiration in milliseconds of a key" },
    { "pttl", 2, R | F, 1, 1, 1, RUN(pttl), NULL, "generic", "2.6.0",
      "Get the time to live for a key in milliseconds" },
    { "quit", -1, F | M | A, 0, 0, 0, RUN(quit), NULL, "connection", "1.0.0",
      "Close the connection" },
    { "randomkey", 1, R | A, 0, 0, 0, NULL, START(randomkey), "generic",
      "1.0.0", "Return a random key from the keyspace" },
    { "readonly", 1, F, 0, 0, 0, RUN(ok), NULL, "cluster", "3.0.0",
      "Enables read queries for a connection to a cluster replica node" },
    { "readwrite", 1, F, 0, 0, 0, RUN(ok), NULL, "cluster", "3.0.0",
      "Disables read queries for a connection to a cluster replica node" },
    { "rename", 3, W, 1, 2, 1, RUN(rename), NULL, "generic", "1.0.0",
      "Rename a key" },
    { "renamenx", 3, W | F, 1, 2, 1, RUN(renamenx), NULL, "generic", "1.0.0",
      "Rename a key, only if the new key does not exist" },
    { "reset", 1, F | M | A, 0, 0, 0, RUN(reset), NULL, "connection", "6.2.0",
      "Reset the connection" },
    { "scan", -2, R | A, 0, 0, 0, NULL, START(scan), "generic", "2.8.0",
      "Incrementally iterate the keys space" },
    { "select", 2, F, 0, 0, 0, RUN(select), NULL, "connection", "1.0.0",
      "Change the selected database for the current connection" },
    { "set", -3, W, 1, 1, 1, RUN(set), START(set), "string", "1.0.0",
      "Set the string value of a key" },
    { "setex", 4, W, 1, 1, 1, RUN(setex), NULL, "string", "2.0.0",
      "Set the value and expiration of a key" },
    { "setnx", 3, W | F, 1, 1, 1, RUN(setnx), NULL, "string", "1.0.0",
      "Set the value of a key, only if the key does not exist" },
    { "setrange", 4, W, 1, 1, 1, RUN(setrange), NULL, "string", "2.2.0",
      "Overwrite part of a string at key starting at the specified offset" },
    { "slowlog", -2, D, 0, 0, 0, RUN(slowlog), NULL, "server", "2.2.12",
      "A container for slow log commands" },
    { "strlen", 2, R | F, 1, 1, 1, RUN(strlen), NULL, "string", "2.2.0",
      "Get the length of the value stored in a key" },
    { "substr", 4, R, 1, 1, 1, RUN(getrange), NULL, "string", "1.0.0",
      "Get a substring of the string stored at a key" },
    { "time", 1, F, 0, 0, 0, RUN(time), NULL, "server", "2.6.0",
      "Return the current server time" },
    { "touch", -2, R | F, 1, -1, 1, RUN(exists), START(exists), "generic",
      "3.2.1", "Alters the last access time of a key(s)" },
    { "ttl", 2, R | F, 1, 1, 1, RUN(ttl), NULL, "generic", "1.0.0",
      "Get the time to live for a key in seconds" },
    { "type", 2, R | F, 1, 1, 1, RUN(type), NULL, "generic", "1.0.0",
      "Determine the type stored at key" },
    { "unlink", -2, W | F, 1, -1, 1, RUN(del), START(del), "generic", "4.0.0",
      "Delete a key asynchronously in another thread" },
    { "unwatch", 1, F, 0, 0, 0, RUN(unwatch), NULL, "transactions", "2.2.0",
      "Forget about all watched keys" },
    { "wait", 3, A, 0, 0, 0, RUN(wait), NULL, "generic", "3.0.0",
      "Wait for the synchronous replication of all the write commands" },
    { "watch", -2, F | M | A, 1, -1, 1, NULL, START(watch), "transactions",
      "2.2.0", "Watch the given keys to determine execution of MULTI" },
};

enum {
    COMMAND_COUNT = sizeof commands / sizeof commands[0]
};

_Static_assert((int)COMMAND_COUNT * 2 < (int)REDIS_NAMES, "probes stay short");
_Static_assert((int)COMMAND_COUNT <= (int)REDIS_COMMANDS_MAX,
               "each is counted");

static uint32_t name_hash(const uint8_t *name, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ name[i]) * 16777619u;
    return h ^ h >> 15;
}

void redis_commands_init(struct redis *redis)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const char *name = commands[i].name;
        uint32_t at = name_hash((const uint8_t *)name, strlen(name));
        while (redis->by_name[at & (REDIS_NAMES - 1)])
            at++;
        redis->by_name[at & (REDIS_NAMES - 1)] = (uint16_t)(i + 1);
    }
}

const struct redis_command *redis_command_find(const struct redis *redis,
                                               struct span name)
{
    uint8_t lower[NAME_LEN_MAX];
    if (name.len == 0 || name.len > sizeof lower)
        return NULL;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    uint32_t at = name_hash(lower, name.len);
    for (; redis->by_name[at & (REDIS_NAMES - 1)]; at++) {
        const struct redis_command *c =
            &commands[redis->by_name[at & (REDIS_NAMES - 1)] - 1];
        if (memcmp(c->name, lower, name.len) == 0 && c->name[name.len] == 0)
            return c;
    }
    return NULL;
}

size_t redis_command_count(void)
{
    return COMMAND_COUNT;
}

const struct redis_command *redis_command_at(size_t index)
{
    return &commands[index];
}

void redis_write_unknown(struct buf *out, const struct span *args, size_t count)
{
    char line[512], words[140];
    size_t at = 0;
    words[0] = 0;
    for (size_t i = 1; i < count && at < 128; i++) {
        size_t room = 128 - at;
        int shown = args[i].len < room ? (int)args[i].len : (int)room;
        int n = snprintf(words + at, sizeof words - at, "'%.*s' ", shown,
                         (const char *)args[i].data);
        at += n > 0 ? (size_t)n : 0;
    }
    snprintf(line, sizeof line,
             "ERR unknown command '%.*s', with args beginning with: %s",
             args[0].len < 128 ? (int)args[0].len : 128,
             (const char *)args[0].data, words);
    resp_write_error(out, span_str(line));
}

void redis_write_arity(struct buf *out, const struct redis_command *command)
{
    char line[128];
    snprintf(line, sizeof line,
             "ERR wrong number of arguments for '%s' command", command->name);
    resp_write_error(out, span_str(line));
}

size_t redis_command_index(const struct redis_command *command)
{
    return (size_t)(command - commands);
}

bool redis_check_arity(struct redis_call *call)
{
    int arity = call->command->arity;
    return arity >= 0 ? call->count == (size_t)arity
                      : call->count >= (size_t)-arity;
}

/* COMMAND. */

static void write_flags(struct buf *out, const struct redis_command *c,
                        bool resp3)
{
    bool write = c->flags & REDIS_WRITE, read = c->flags & REDIS_READ;
    bool admin = c->flags & REDIS_ADMIN, fast = c->flags & REDIS_FAST;
    resp_write_set(out, (size_t)write + read + admin + fast, resp3);
    if (write)
        resp_write_simple(out, "write");
    if (read)
        resp_write_simple(out, "readonly");
    if (admin)
        resp_write_simple(out, "admin");
    if (fast)
        resp_write_simple(out, "fast");
}

static void write_info(struct buf *out, const struct redis_command *c,
                       bool resp3)
{
    resp_write_array(out, 10);
    resp_write_bulk_text(out, c->name);
    resp_write_int(out, c->arity);
    write_flags(out, c, resp3);
    resp_write_int(out, c->first_key);
    resp_write_int(out, c->last_key);
    resp_write_int(out, c->key_step);
    char category[32];
    snprintf(category, sizeof category, "@%s", c->group);
    resp_write_set(out, 1, resp3);
    resp_write_simple(out, category);
    resp_write_array(out, 0); /* tips */
    resp_write_array(out, 0); /* key specifications */
    resp_write_array(out, 0); /* subcommands */
}

static void write_docs(struct buf *out, const struct redis_command *c,
                       bool resp3)
{
    resp_write_bulk_text(out, c->name);
    resp_write_map(out, 3, resp3);
    resp_write_bulk_text(out, "summary");
    resp_write_bulk_text(out, c->summary);
    resp_write_bulk_text(out, "since");
    resp_write_bulk_text(out, c->since);
    resp_write_bulk_text(out, "group");
    resp_write_bulk_text(out, c->group);
}

static void command_info(struct redis_call *call)
{
    size_t named = call->count > 2 ? call->count - 2 : 0;
    resp_write_array(call->out, named ? named : COMMAND_COUNT);
    for (size_t i = 0; i < named; i++) {
        const struct redis_command *c =
            redis_command_find(call->redis, call->args[i + 2]);
        if (c)
            write_info(call->out, c, call->resp3);
        else
            resp_write_null(call->out, call->resp3);
    }
    for (size_t i = 0; !named && i < COMMAND_COUNT; i++)
        write_info(call->out, &commands[i], call->resp3);
}

static void command_docs(struct redis_call *call)
{
    size_t named = call->count - 2, found = 0;
    for (size_t i = 0; i < named; i++)
        found += redis_command_find(call->redis, call->args[i + 2]) != NULL;
    resp_write_map(call->out, named ? found : COMMAND_COUNT, call->resp3);
    for (size_t i = 0; i < named; i++) {
        const struct redis_command *c =
            redis_command_find(call->redis, call->args[i + 2]);
        if (c)
            write_docs(call->out, c, call->resp3);
    }
    for (size_t i = 0; !named && i < COMMAND_COUNT; i++)
        write_docs(call->out, &commands[i], call->resp3);
}

static void command_list(struct redis_call *call)
{
    resp_write_array(call->out, COMMAND_COUNT);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        resp_write_bulk_text(call->out, commands[i].name);
}

static void command_keys(struct redis_call *call)
{
    struct redis_call asked = *call;
    size_t first, last, step;
    asked.args += 2;
    asked.count -= 2;
    asked.command = redis_command_find(call->redis, asked.args[0]);
    if (!asked.command) {
        resp_write_error(call->out, span_str("ERR Invalid command specified"));
    } else if (!redis_check_arity(&asked)) {
        resp_write_error(call->out,
                         span_str("ERR Invalid number of arguments specified "
                                  "for command"));
    } else if (!redis_key_range(&asked, &first, &last, &step)) {
        resp_write_error(call->out,
                         span_str("ERR The command has no key arguments"));
    } else {
        resp_write_array(call->out, (last - first) / step + 1);
        for (size_t i = first; i <= last; i += step)
            resp_write_bulk(call->out, asked.args[i]);
    }
}

void redis_command_command(struct redis_call *call)
{
    bool wrong;
    if (call->count == 1 || redis_sub_is(call, "info", 2, SIZE_MAX, &wrong)) {
        command_info(call);
    } else if (redis_sub_is(call, "count", 2, 2, &wrong)) {
        if (!wrong)
            resp_write_int(call->out, COMMAND_COUNT);
    } else if (redis_sub_is(call, "docs", 2, SIZE_MAX, &wrong)) {
        command_docs(call);
    } else if (redis_sub_is(call, "list", 2, 2, &wrong)) {
        if (!wrong)
            command_list(call);
    } else if (redis_sub_is(call, "getkeys", 4, SIZE_MAX, &wrong)) {
        if (!wrong)
            command_keys(call);
    } else {
        redis_write_subcommand(call, "COMMAND");
    }
}
