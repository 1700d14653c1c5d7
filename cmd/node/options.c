/* SPDX-License-Identifier: Apache-2.0 */

/* One table of options. */

#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef bool (*option_fn)(struct options *options, const char *name,
                          const char *value);

struct option {
    const char *name;
    const char *value; /* as the help shows it; NULL: takes none */
    const char *fallback;
    option_fn apply;
    const char *help;
};

static bool option_fail(struct options *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(o->error, sizeof o->error, format, args);
    va_end(args);
    return false;
}

static bool option_listen(struct options *o, const char *name,
                          const char *value)
{
    (void)name;
    o->config.listen = value;
    return true;
}

static bool option_advertise(struct options *o, const char *name,
                             const char *value)
{
    (void)name;
    o->config.advertise = value;
    return true;
}

static bool option_socket(struct options *o, const char *name,
                          const char *value)
{
    (void)name;
    o->config.socket = value;
    return true;
}

static bool option_bootstrap(struct options *o, const char *name,
                             const char *value)
{
    if (o->bootstrap_from_file) {
        o->config.bootstrap_count = 0;
        o->bootstrap_from_file = false;
    }
    if (o->config.bootstrap_count == DLHT_BOOTSTRAP_MAX)
        return option_fail(o, "--%s: more than %d addresses: leave some out",
                           name, DLHT_BOOTSTRAP_MAX);
    o->config.bootstrap[o->config.bootstrap_count++] = value;
    return true;
}

/* A number with a unit from the list ("s", 1000, "ms", 1, NULL). */
struct unit {
    const char *name;
    uint64_t scale;
};

static bool option_quantity(const char *value, const struct unit *units,
                            uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)value[0]))
        return false;
    unsigned long long n = strtoull(value, &end, 10);
    if (errno)
        return false;
    for (; units->name; units++) {
        if (strcmp(end, units->name) != 0)
            continue;
        if (n > max / units->scale)
            return false;
        *out = n * units->scale;
        return true;
    }
    return false;
}

static bool option_duration(struct options *o, const char *name,
                            const char *value, uint32_t *out_ms)
{
    static const struct unit units[] = { { "", 1000 },     { "ms", 1 },
                                         { "s", 1000 },    { "m", 60000 },
                                         { "h", 3600000 }, { NULL, 0 } };
    uint64_t ms;
    if (!option_quantity(value, units, UINT32_MAX, &ms))
        return option_fail(o,
                           "--%s '%s' is no duration: give a number with ms, "
                           "s, m or h, for example 30s",
                           name, value);
    *out_ms = (uint32_t)ms;
    return true;
}

static bool option_join_timeout(struct options *o, const char *name,
                                const char *value)
{
    return option_duration(o, name, value, &o->config.join_timeout_ms);
}

static bool option_down_out(struct options *o, const char *name,
                            const char *value)
{
    return option_duration(o, name, value, &o->config.down_out_ms);
}

static bool option_data_dir(struct options *o, const char *name,
                            const char *value)
{
    (void)name;
    o->config.data_dir = value;
    return true;
}

static bool option_durability(struct options *o, const char *name,
                              const char *value)
{
    if (strcmp(value, "sync") == 0)
        o->config.durability = DLHT_DURABILITY_SYNC;
    else if (strcmp(value, "interval") == 0)
        o->config.durability = DLHT_DURABILITY_INTERVAL;
    else if (strcmp(value, "memory") == 0)
        o->config.durability = DLHT_DURABILITY_MEMORY;
    else
        return option_fail(o, "--%s '%s': give sync, interval or memory", name,
                           value);
    return true;
}

static bool option_count(struct options *o, const char *name, const char *value,
                         uint32_t *out)
{
    static const struct unit units[] = { { "", 1 }, { NULL, 0 } };
    uint64_t n;
    if (!option_quantity(value, units, UINT32_MAX, &n))
        return option_fail(o, "--%s '%s' is no number: give digits only", name,
                           value);
    *out = (uint32_t)n;
    return true;
}

static bool option_vnodes(struct options *o, const char *name,
                          const char *value)
{
    return option_count(o, name, value, &o->config.vnodes);
}

static bool option_successors(struct options *o, const char *name,
                              const char *value)
{
    return option_count(o, name, value, &o->config.successors);
}

static bool option_replicas(struct options *o, const char *name,
                            const char *value)
{
    return option_count(o, name, value, &o->config.replicas);
}

static bool option_weight(struct options *o, const char *name,
                          const char *value)
{
    char *end;
    o->config.weight = strtod(value, &end);
    if (end == value || *end)
        return option_fail(o, "--%s '%s' is no number: give 0.1 to 100", name,
                           value);
    return true;
}

static bool option_zone(struct options *o, const char *name, const char *value)
{
    (void)name;
    o->config.zone = value;
    return true;
}

static bool option_map(struct options *o, const char *name, const char *value)
{
    if (strcmp(value, "full") != 0 && strcmp(value, "fingers") != 0)
        return option_fail(o, "--%s '%s': give full or fingers", name, value);
    o->config.map_fingers = value[1] == 'i';
    return true;
}

static bool option_size(struct options *o, const char *name, const char *value,
                        uint64_t *out)
{
    static const struct unit units[] = {
        { "", 1 },
        { "K", UINT64_C(1) << 10 },
        { "M", UINT64_C(1) << 20 },
        { "G", UINT64_C(1) << 30 },
        { "T", UINT64_C(1) << 40 },
        { "KiB", UINT64_C(1) << 10 },
        { "MiB", UINT64_C(1) << 20 },
        { "GiB", UINT64_C(1) << 30 },
        { "TiB", UINT64_C(1) << 40 },
        { NULL, 0 },
    };
    if (option_quantity(value, units, UINT64_MAX, out))
        return true;
    return option_fail(o,
                       "--%s '%s' is no size: give bytes with K, M, G or T, "
                       "for example 512M",
                       name, value);
}

static bool option_memory_limit(struct options *o, const char *name,
                                const char *value)
{
    return option_size(o, name, value, &o->config.memory_limit);
}

static bool option_move_rate(struct options *o, const char *name,
                             const char *value)
{
    return option_size(o, name, value, &o->config.move_rate);
}

static bool option_redis(struct options *o, const char *name, const char *value)
{
    (void)name;
    o->config.redis = value;
    return true;
}

static bool option_redis_db(struct options *o, const char *name,
                            const char *value)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || n >= DLHT_REDIS_DBS_MAX ||
        *end != '=' || !end[1])
        return option_fail(o,
                           "--%s '%s': give N=KEYSPACE, N from 0 to %d, for "
                           "example 1=sessions",
                           name, value, DLHT_REDIS_DBS_MAX - 1);
    o->config.redis_db[n] = end + 1;
    return true;
}

static bool option_redis_ask(struct options *o, const char *name,
                             const char *value)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return option_fail(o, "--%s '%s': give yes or no", name, value);
    o->config.redis_ask = value[0] == 'y';
    return true;
}

static bool option_later(struct options *o, const char *name, const char *value)
{
    (void)value;
    return option_fail(o, "--%s is not in this version: leave it out", name);
}

static bool option_config(struct options *o, const char *name,
                          const char *value)
{
    (void)name;
    (void)value;
    (void)o; /* read before all others */
    return true;
}

static bool option_log_level(struct options *o, const char *name,
                             const char *value)
{
    static const char *const names[] = { "debug", "info", "warning", "error" };
    for (int i = 0; i < 4; i++)
        if (strcmp(value, names[i]) == 0) {
            o->config.log_level = (enum dlht_log_level)i;
            return true;
        }
    return option_fail(o, "--%s '%s': give debug, info, warning or error", name,
                       value);
}

static bool option_log_format(struct options *o, const char *name,
                              const char *value)
{
    if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
        return option_fail(o, "--%s '%s': give text or json", name, value);
    o->log_json = value[0] == 'j';
    return true;
}

static bool option_help(struct options *o, const char *name, const char *value)
{
    (void)name;
    (void)value;
    o->help = true;
    return true;
}

static bool option_version(struct options *o, const char *name,
                           const char *value)
{
    (void)name;
    (void)value;
    o->version = true;
    return true;
}

static const struct option option_table[] = {
    { "listen", "HOST:PORT", "127.0.0.1:9000", option_listen,
      "where peers and clients come in" },
    { "advertise", "HOST:PORT", "what is listened on", option_advertise,
      "address told to others; needed when --listen is a wildcard" },
    { "socket", "PATH", "none", option_socket,
      "also a Unix-domain socket there, for clients of this machine: "
      "dlht-cli -n unix:PATH" },
    { "bootstrap", "HOST:PORT", "none: found a new cluster", option_bootstrap,
      "any peer of the cluster to join; repeatable" },
    { "join-timeout", "TIME", "30s", option_join_timeout,
      "how long a first join is tried; then exit 3" },
    { "down-out", "TIME", "5m", option_down_out,
      "how long a dead peer's replicas are waited for before they are made "
      "anew" },
    { "data-dir", "DIR", "none: memory only", option_data_dir,
      "journal, checkpoints, identity" },
    { "durability", "MODE", "sync with a data dir", option_durability,
      "sync, interval (a power cut may take the last 100 ms) or memory" },
    { "vnodes", "N", "8", option_vnodes,
      "arcs led per node and keyspace that the balancer aims at" },
    { "weight", "W", "1", option_weight, "relative capacity, 0.1 to 100" },
    { "replicas", "N", "3", option_replicas,
      "1, 3 or 5, for keyspaces created without a number" },
    { "successors", "N", "2 log2 of the arcs, 8 to 20", option_successors,
      "with --map fingers: arcs after its own that each arc knows, at most "
      "20" },
    { "zone", "NAME", "none", option_zone, "replicas prefer different zones" },
    { "map", "KIND", "full", option_map,
      "full, or fingers for very large rings" },
    { "memory-limit", "SIZE", "none", option_memory_limit,
      "writes beyond it are refused; K, M, G, T" },
    { "move-rate", "SIZE", "64M", option_move_rate,
      "bytes a second that arcs are copied to others with; 0: no bound" },
    { "redis", "HOST:PORT", "off", option_redis,
      "where Redis clients come in" },
    { "redis-db", "N=KEYSPACE", "0=default", option_redis_db,
      "keyspace of a number of SELECT, 0 to 15; repeatable" },
    { "redis-ask", "yes|no", "no", option_redis_ask,
      "send Redis Cluster clients to the owner of a key by -ASK" },
    { "http", "HOST:PORT", "off", option_later,
      "metrics, health, dashboard (not in this version)" },
    { "config", "FILE", "none", option_config,
      "lines of `name = value`, names as here; the command line wins" },
    { "log-level", "LEVEL", "info", option_log_level,
      "debug, info, warning or error; to stderr" },
    { "log-format", "FORMAT", "text", option_log_format, "text or json" },
    { "help", NULL, NULL, option_help, "this text" },
    { "version", NULL, NULL, option_version, "the version" },
};

enum {
    OPTION_COUNT = sizeof option_table / sizeof option_table[0]
};

void options_print_help(void)
{
    printf("usage: dlht-node --listen HOST:PORT [--bootstrap HOST:PORT]... "
           "[--data-dir DIR] [options]\n\n"
           "Runs one peer of a dlht cluster. Prints `ready HOST:PORT` once it "
           "serves.\nSIGTERM hands over and stops.\n\n");
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &option_table[i];
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-24s %s", left, o->help);
        if (o->fallback)
            printf(" [%s]", o->fallback);
        putchar('\n');
    }
    printf("\nexit: 0 stopped; 2 bad option, address, directory or config; "
           "3 cannot join;\n      4 damaged data that no peer can mend\n");
}

static const struct option *option_find(const char *name, size_t len)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (strlen(option_table[i].name) == len &&
            memcmp(option_table[i].name, name, len) == 0)
            return &option_table[i];
    return NULL;
}

/* Keeps a string as long as the options live. */
static char *option_keep(struct options *o, const char *text)
{
    if (o->text_count == OPTIONS_TEXTS_MAX)
        return NULL;
    char *copy = strdup(text);
    if (copy)
        o->texts[o->text_count++] = copy;
    return copy;
}

static char *option_trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t len = strlen(text);
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    text[len] = 0;
    return text;
}

static bool option_line(struct options *o, int number, char *line)
{
    const char *file = o->config_file;
    char *name = option_trim(line);
    if (*name == 0 || *name == '#')
        return true;
    char *equals = strchr(name, '=');
    if (!equals)
        return option_fail(o, "%s:%d: '%s': give lines of `name = value`", file,
                           number, name);
    *equals = 0;
    name = option_trim(name);
    const char *value = option_keep(o, option_trim(equals + 1));
    const struct option *option = option_find(name, strlen(name));
    if (!option || !option->value || option->apply == option_config)
        return option_fail(o,
                           "%s:%d: '%s' is no option of a config file: see "
                           "dlht-node --help",
                           file, number, name);
    if (!value)
        return option_fail(o, "%s:%d: too many lines: leave some out", file,
                           number);
    if (*value == 0)
        return option_fail(o,
                           "%s:%d: '%s' has no value: give one or leave the "
                           "line out",
                           file, number, name);
    if (option->apply(o, name, value))
        return true;
    char why[OPTIONS_ERROR_MAX];
    memcpy(why, o->error, sizeof why);
    return option_fail(o, "%s:%d: %.400s", file, number, why);
}

static bool option_read_file(struct options *o)
{
    FILE *f = fopen(o->config_file, "r");
    if (!f)
        return option_fail(o,
                           "--config '%s' cannot be read (%s): give a file "
                           "of `name = value` lines",
                           o->config_file, strerror(errno));
    char line[1024];
    bool ok = true;
    for (int number = 1; ok && fgets(line, sizeof line, f); number++)
        ok = option_line(o, number, line);
    fclose(f);
    o->bootstrap_from_file = o->config.bootstrap_count > 0;
    return ok;
}

/* Calls apply for each option of the command line; only_config: for --config
 * alone. */
static bool option_read_args(struct options *o, int argc, char **argv,
                             bool only_config)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strncmp(arg, "--", 2) != 0)
            return option_fail(o, "'%s' is no option: see dlht-node --help",
                               arg);
        const char *name = arg + 2;
        const char *equals = strchr(name, '=');
        size_t len = equals ? (size_t)(equals - name) : strlen(name);
        const struct option *option = option_find(name, len);
        if (!option)
            return option_fail(o, "unknown option '%s': see dlht-node --help",
                               arg);
        const char *value = equals ? equals + 1 : NULL;
        if (option->value && !value && i + 1 < argc)
            value = argv[++i];
        if (option->value && (!value || !*value))
            return option_fail(o, "--%s needs a value: --%s %s", option->name,
                               option->name, option->value);
        if (!option->value && equals)
            return option_fail(o, "--%s takes no value: leave it out",
                               option->name);
        if (only_config && option->apply == option_config)
            o->config_file = value;
        else if (!only_config && !option->apply(o, option->name, value))
            return false;
    }
    return true;
}

bool options_parse(struct options *o, int argc, char **argv)
{
    memset(o, 0, sizeof *o);
    dlht_config_default(&o->config);
    return option_read_args(o, argc, argv, true) &&
           (!o->config_file || option_read_file(o)) &&
           option_read_args(o, argc, argv, false);
}

void options_free(struct options *o)
{
    for (int i = 0; i < o->text_count; i++)
        free(o->texts[i]);
    o->text_count = 0;
}
