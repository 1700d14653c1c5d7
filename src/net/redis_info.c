/* SPDX-License-Identifier: Apache-2.0 */

/* INFO and CONFIG: what tools read before they work. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/dlht.h"
#include "dlht/err.h"
#include "net/door.h"
#include "net/redis_admin.h"
#include "net/redis_start.h"

static const uint64_t INFO_SECOND_NS = 1000000000;

enum section {
    SECTION_SERVER = 1,
    SECTION_CLIENTS = 2,
    SECTION_MEMORY = 4,
    SECTION_PERSISTENCE = 8,
    SECTION_STATS = 16,
    SECTION_REPLICATION = 32,
    SECTION_CPU = 64,
    SECTION_CLUSTER = 128,
    SECTION_KEYSPACE = 256,
    SECTION_COMMANDSTATS = 512,
    SECTIONS_DEFAULT = 511,
    SECTIONS_ALL = 1023
};

static void say(struct buf *out, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0)
        buf_append(out, line,
                   (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void title(struct buf *out, const char *name)
{
    say(out, "%s# %s\r\n", out->len ? "\r\n" : "", name);
}

static void say_server(const struct redis *redis, struct buf *out)
{
    const char *port = strrchr(redis->addr, ':');
    uint64_t up = (redis->now_ns - redis->born_ns) / INFO_SECOND_NS;
    title(out, "Server");
    say(out,
        "redis_version:%s\r\ndlht_version:%s\r\nredis_mode:cluster\r\n"
        "arch_bits:%d\r\ntcp_port:%s\r\nuptime_in_seconds:%llu\r\n"
        "uptime_in_days:%llu\r\n",
        REDIS_VERSION_TEXT, DLHT_VERSION_TEXT, (int)sizeof(void *) * 8,
        port ? port + 1 : "0", (unsigned long long)up,
        (unsigned long long)(up / 86400));
}

static void say_clients(const struct redis *redis, struct buf *out)
{
    title(out, "Clients");
    say(out, "connected_clients:%zu\r\nmaxclients:%zu\r\nblocked_clients:0\r\n",
        redis->clients, redis->seat_max);
}

static void say_memory(const struct redis *redis, struct buf *out)
{
    unsigned long long bytes =
        redis->calls.memory
            ? (unsigned long long)redis->calls.memory(redis->calls.context)
            : 0;
    title(out, "Memory");
    say(out,
        "used_memory:%llu\r\nused_memory_human:%.2fM\r\n"
        "used_memory_rss:%llu\r\nmaxmemory:0\r\n"
        "maxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.00\r\n"
        "mem_allocator:libc\r\n",
        bytes, (double)bytes / (1 << 20), bytes);
}

static void say_stats(const struct redis *redis, struct buf *out)
{
    const struct redis_stats *s = &redis->stats;
    title(out, "Stats");
    say(out,
        "total_connections_received:%llu\r\n"
        "total_commands_processed:%llu\r\nrejected_connections:%llu\r\n"
        "expired_keys:0\r\nevicted_keys:0\r\nkeyspace_hits:%llu\r\n"
        "keyspace_misses:%llu\r\ntotal_error_replies:%llu\r\n",
        (unsigned long long)s->connections, (unsigned long long)s->commands,
        (unsigned long long)s->refused, (unsigned long long)s->hits,
        (unsigned long long)s->misses, (unsigned long long)s->errors);
}

static void say_commands(const struct redis *redis, struct buf *out)
{
    title(out, "Commandstats");
    for (size_t i = 0; i < redis_command_count(); i++)
        if (redis->calls_of[i])
            say(out, "cmdstat_%s:calls=%llu\r\n", redis_command_at(i)->name,
                (unsigned long long)redis->calls_of[i]);
}

static void say_sections(const struct redis *redis, unsigned sections,
                         struct buf *out)
{
    if (sections & SECTION_SERVER)
        say_server(redis, out);
    if (sections & SECTION_CLIENTS)
        say_clients(redis, out);
    if (sections & SECTION_MEMORY)
        say_memory(redis, out);
    if (sections & SECTION_PERSISTENCE) {
        title(out, "Persistence");
        say(out, "loading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\n"
                 "aof_enabled:0\r\naof_rewrite_in_progress:0\r\n");
    }
    if (sections & SECTION_STATS)
        say_stats(redis, out);
    if (sections & SECTION_REPLICATION) {
        title(out, "Replication");
        say(out, "role:master\r\nconnected_slaves:0\r\n"
                 "master_repl_offset:0\r\n");
    }
    if (sections & SECTION_CPU) {
        title(out, "CPU");
        say(out, "used_cpu_sys:0.000000\r\nused_cpu_user:0.000000\r\n");
    }
    if (sections & SECTION_COMMANDSTATS)
        say_commands(redis, out);
    if (sections & SECTION_CLUSTER) {
        title(out, "Cluster");
        say(out, "cluster_enabled:1\r\n");
    }
}

struct info {
    struct redis_job job;
    struct redis_to to;
    unsigned sections;
    bool resp3;
    size_t open;
    int64_t counts[REDIS_DBS_MAX]; /* -1: not told */
};

static void info_free(struct redis_job *job)
{
    free(job);
}

static void info_reply(struct redis *redis, struct redis_job *job,
                       uint32_t part, const struct response *response)
{
    struct info *info = (struct info *)job;
    if (response->status == DLHT_OK)
        info->counts[part] = (int64_t)response->count;
    if (--info->open == 0)
        redis_ready(redis, job);
}

static void info_step(struct redis *redis, struct redis_job *job)
{
    struct info *info = (struct info *)job;
    struct buf text = { 0 };
    say_sections(redis, info->sections, &text);
    if (info->sections & SECTION_KEYSPACE)
        title(&text, "Keyspace");
    for (int i = 0; i < REDIS_DBS_MAX; i++)
        if ((info->sections & SECTION_KEYSPACE) && info->counts[i] > 0)
            say(&text, "db%d:keys=%lld,expires=0,avg_ttl=0\r\n", i,
                (long long)info->counts[i]);
    struct buf *out = redis_begin(redis, &info->to);
    if (out && info->resp3) {
        char head[32];
        snprintf(head, sizeof head, "=%zu\r\ntxt:", text.len + 4);
        resp_write(out, head);
        buf_append_span(out, buf_span(&text));
        resp_write(out, "\r\n");
    } else if (out) {
        resp_write_bulk(out, buf_span(&text));
    }
    if (out)
        out->failed = out->failed || text.failed;
    buf_deinit(&text);
    redis_end(redis, &info->to);
    redis_job_end(redis, job);
}

static unsigned sections_of(const struct redis_call *call)
{
    static const struct {
        const char *name;
        unsigned sections;
    } names[] = { { "server", SECTION_SERVER },
                  { "clients", SECTION_CLIENTS },
                  { "memory", SECTION_MEMORY },
                  { "persistence", SECTION_PERSISTENCE },
                  { "stats", SECTION_STATS },
                  { "replication", SECTION_REPLICATION },
                  { "cpu", SECTION_CPU },
                  { "cluster", SECTION_CLUSTER },
                  { "keyspace", SECTION_KEYSPACE },
                  { "commandstats", SECTION_COMMANDSTATS },
                  { "default", SECTIONS_DEFAULT },
                  { "all", SECTIONS_ALL },
                  { "everything", SECTIONS_ALL } };
    unsigned sections = call->count == 1 ? SECTIONS_DEFAULT : 0;
    for (size_t i = 1; i < call->count; i++)
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            if (resp_is(call->args[i], names[k].name))
                sections |= names[k].sections;
    return sections;
}

void redis_start_info(struct redis_call *call)
{
    struct redis *redis = call->redis;
    struct redis_to to;
    if (!redis_promise(call->client, &to))
        return;
    struct info *info = mem_zero(1, sizeof *info);
    if (!info) {
        struct response none = { .status = DLHT_ENOMEM };
        redis_fail(redis, &to, &none, false);
        return;
    }
    info->job.reply = info_reply;
    info->job.step = info_step;
    info->job.free = info_free;
    info->to = to;
    info->resp3 = call->resp3;
    info->sections = sections_of(call);
    info->open = 1;
    redis_job_init(redis, &info->job);
    for (uint32_t i = 0; i < REDIS_DBS_MAX; i++) {
        struct request q = { .op = OP_COUNT,
                             .flags = REQUEST_SCAN,
                             .keyspace_name = redis_db_name(redis, (uint8_t)i),
                             .timeout_ms = 1000 };
        info->counts[i] = -1;
        if (!(info->sections & SECTION_KEYSPACE) || !q.keyspace_name.len)
            continue;
        info->open++;
        if (!redis_ask_for(redis, &info->job, i, &q))
            info->open--;
    }
    if (--info->open == 0)
        redis_ready(redis, &info->job);
}

/* CONFIG: what tools ask, with the only value it has here. */
static const struct {
    const char *name, *value;
} settings[] = {
    { "appendfsync", "everysec" },
    { "appendonly", "no" },
    { "client-query-buffer-limit", "67108864" },
    { "cluster-enabled", "yes" },
    { "databases", "16" },
    { "hz", "10" },
    { "lfu-decay-time", "1" },
    { "lfu-log-factor", "10" },
    { "list-max-listpack-size", "-2" },
    { "maxmemory", "0" },
    { "maxmemory-policy", "noeviction" },
    { "notify-keyspace-events", "" },
    { "proto-max-bulk-len", "16777216" },
    { "save", "" },
    { "slowlog-log-slower-than", "-1" },
    { "slowlog-max-len", "128" },
    { "tcp-keepalive", "300" },
    { "timeout", "0" },
};

enum {
    SETTING_COUNT = sizeof settings / sizeof settings[0]
};

static bool setting_is_wanted(const struct redis_call *call, size_t i)
{
    for (size_t k = 2; k < call->count; k++) {
        char lower[64];
        struct span word = call->args[k];
        if (word.len > sizeof lower)
            continue;
        for (size_t c = 0; c < word.len; c++) {
            lower[c] = (char)word.data[c];
            if (lower[c] >= 'A' && lower[c] <= 'Z')
                lower[c] = (char)(lower[c] + 32);
        }
        if (resp_glob(span_of(lower, word.len), span_str(settings[i].name)))
            return true;
    }
    return false;
}

static void config_get(struct redis_call *call)
{
    size_t count = 0;
    for (size_t i = 0; i < SETTING_COUNT; i++)
        count += setting_is_wanted(call, i);
    resp_write_map(call->out, count, call->resp3);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (!setting_is_wanted(call, i))
            continue;
        resp_write_bulk_text(call->out, settings[i].name);
        resp_write_bulk_text(call->out, settings[i].value);
    }
}

static bool is_setting(struct span name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (resp_is(name, settings[i].name))
            return true;
    return false;
}

/* Taken, so that tools go on, where it names what there is; nothing changes:
 * the node's own options are those of dlht-node. */
static void config_set(struct redis_call *call)
{
    char line[256];
    if (call->count % 2) {
        redis_write_syntax(call->out);
        return;
    }
    for (size_t i = 2; i < call->count; i += 2) {
        struct span name = call->args[i];
        if (is_setting(name))
            continue;
        snprintf(line, sizeof line,
                 "ERR Unknown option or number of arguments for CONFIG SET - "
                 "'%.*s'",
                 name.len < 128 ? (int)name.len : 128, (const char *)name.data);
        resp_write_error(call->out, span_str(line));
        return;
    }
    resp_write(call->out, "+OK\r\n");
}

void redis_run_config(struct redis_call *call)
{
    bool wrong;
    if (redis_sub_is(call, "get", 3, SIZE_MAX, &wrong)) {
        if (!wrong)
            config_get(call);
    } else if (redis_sub_is(call, "set", 4, SIZE_MAX, &wrong)) {
        if (!wrong)
            config_set(call);
    } else if (redis_sub_is(call, "resetstat", 2, 2, &wrong)) {
        if (wrong)
            return;
        call->redis->stats = (struct redis_stats){ 0 };
        memset(call->redis->calls_of, 0, sizeof call->redis->calls_of);
        resp_write(call->out, "+OK\r\n");
    } else if (redis_sub_is(call, "rewrite", 2, 2, &wrong)) {
        if (!wrong)
            resp_write_error(call->out,
                             span_str("ERR The server is running without a "
                                      "config file"));
    } else {
        redis_write_subcommand(call, "CONFIG");
    }
}
