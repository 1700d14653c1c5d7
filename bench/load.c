/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench load: its options, and what it says. */

#include "load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct load_protocol *const protocols[] = {
    &load_resp, &load_native, &load_memcached, &load_grpc
};

static int usage(FILE *to)
{
    fputs("usage: dlht-bench load --protocol NAME --to ADDRESS [OPTION...]\n\n"
          "  --protocol NAME      resp, native, memcached (mg and ms), or grpc "
          "(etcd)\n"
          "  --to ADDRESS,...     HOST:PORT or unix:PATH; clients take them "
          "in turn\n"
          "  --route              native: each client has a connection to each "
          "node and asks\n"
          "                       who leads the key's arc, as libdlht does\n"
          "  --connections N      50 clients\n"
          "  --pipeline N         1: requests open of each client\n"
          "  --keys N             100000\n"
          "  --key-size N         16\n"
          "  --value-size N       64\n"
          "  --ratio GET:SET      1:0\n"
          "  --distribution NAME  uniform, zipf or sequential\n"
          "  --seconds S          1; 0: only fill\n"
          "  --warm S             0.1: not counted, before\n"
          "  --rate R             requests a second, all in all; latency is "
          "counted from when\n"
          "                       each was due, to\n"
          "                       the end of the round if it found no room\n"
          "  --fill               put all keys before\n"
          "  --check              each value is to be that of its key\n"
          "  --keyspace NAME      native: default otherwise\n"
          "  --database N         resp: SELECT it\n"
          "  --server PID,...     count the processor's time of these\n"
          "  --seed N             of the keys that are drawn\n"
          "  --json               one object\n\n"
          "Exit: 0; 1 if an answer was wrong or an error, or the server is "
          "gone; 2 usage.\n",
          to);
    return to == stdout ? 0 : 2;
}

static bool number(const char *text, unsigned long from, unsigned long to,
                   unsigned long *out)
{
    char *end;
    *out = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *out >= from && *out <= to;
}

static bool u32(const char *text, uint32_t to, uint32_t *out)
{
    unsigned long n;
    if (!number(text, 1, to, &n))
        return false;
    *out = (uint32_t)n;
    return true;
}

static bool size(const char *text, size_t from, size_t to, size_t *out)
{
    unsigned long n;
    if (!number(text, from, to, &n))
        return false;
    *out = n;
    return true;
}

static bool real(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out >= 0 && *out <= 1e9;
}

static bool protocol(const char *name, struct load_options *options)
{
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        if (strcmp(protocols[i]->name, name) == 0) {
            options->protocol = protocols[i];
            return true;
        }
    return false;
}

static bool ratio(const char *text, struct load_options *options)
{
    unsigned gets, sets;
    int used = 0;
    if (sscanf(text, "%6u:%6u%n", &gets, &sets, &used) != 2 || text[used] ||
        gets + sets == 0)
        return false;
    options->gets = gets;
    options->sets = sets;
    return true;
}

static bool distribution(const char *name, struct load_options *options)
{
    static const char *const names[] = { "uniform", "zipf", "sequential" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0) {
            options->distribution = (enum load_distribution)i;
            return true;
        }
    return false;
}

/* Cuts the text at its commas. */
static bool addresses(char *text, struct load_options *options)
{
    char *rest = NULL;
    options->to_count = 0;
    for (char *at = strtok_r(text, ",", &rest); at;
         at = strtok_r(NULL, ",", &rest)) {
        if (options->to_count == LOAD_SERVERS_MAX)
            return false;
        options->to[options->to_count++] = at;
    }
    return options->to_count > 0;
}

static bool servers(char *text, struct load_options *options)
{
    char *rest = NULL;
    unsigned long pid;
    options->server_count = 0;
    for (char *at = strtok_r(text, ",", &rest); at;
         at = strtok_r(NULL, ",", &rest)) {
        if (options->server_count == LOAD_SERVERS_MAX ||
            !number(at, 1, 1 << 30, &pid))
            return false;
        options->servers[options->server_count++] = (long)pid;
    }
    return true;
}

static bool read_option(int c, struct load_options *o)
{
    unsigned long n;
    switch (c) {
    case 'p':
        return protocol(optarg, o);
    case 't':
        return addresses(optarg, o);
    case 'c':
        return u32(optarg, LOAD_CONNECTIONS_MAX, &o->connections);
    case 'P':
        return u32(optarg, LOAD_PIPELINE_MAX, &o->pipeline);
    case 'k':
        return u32(optarg, LOAD_KEYS_MAX, &o->keys);
    case 'K':
        return size(optarg, LOAD_KEY_MIN, LOAD_KEY_MAX, &o->key_size);
    case 'v':
        return size(optarg, 1, LOAD_VALUE_MAX, &o->value_size);
    case 'r':
        return ratio(optarg, o);
    case 'd':
        return distribution(optarg, o);
    case 's':
        return real(optarg, &o->seconds);
    case 'w':
        return real(optarg, &o->warm_seconds);
    case 'R':
        return real(optarg, &o->rate);
    case 'o':
        return o->route = true;
    case 'f':
        return o->fill = true;
    case 'C':
        return o->check = true;
    case 'n':
        o->keyspace = optarg;
        return true;
    case 'D':
        if (!number(optarg, 0, 65535, &n))
            return false;
        o->database = (int)n;
        return true;
    case 'S':
        return servers(optarg, o);
    case 'e':
        if (!number(optarg, 0, (unsigned long)-1, &n))
            return false;
        o->seed = n;
        return true;
    case 'j':
        return o->json = true;
    default:
        return false;
    }
}

/* Of the time that others left it, how much it took. Above 0.9 it is the
 * generator that was measured. */
static double used(const struct load_figures *f)
{
    double wall = f->seconds * 1e9 - f->waited_ns;
    return wall > f->cpu_ns ? f->cpu_ns / wall : 1;
}

static bool was_limit(const struct load_figures *f)
{
    return f->seconds > 0 && used(f) > 0.9;
}

static double rate_of(const struct load_figures *f)
{
    return f->seconds > 0 ? (double)(f->gets + f->sets) / f->seconds : 0;
}

static double quantile_us(const struct load_figures *f, double q)
{
    return (double)histogram_quantile(&f->latency, q) / 1e3;
}

static double each(double sum, uint64_t count)
{
    return count ? sum / (double)count : 0;
}

/* As a JSON string; what a server said may hold anything. */
static void quoted(const char *text)
{
    putchar('"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar(*text >= ' ' && *text < 127 ? *text : '?');
    putchar('"');
}

static void report_json(const struct load_options *o,
                        const struct load_figures *f)
{
    uint64_t ops = f->gets + f->sets;
    printf("{\"protocol\": \"%s\", \"connections\": %u, \"pipeline\": %u, "
           "\"keys\": %u, \"key_size\": %zu, \"value_size\": %zu, ",
           o->protocol->name, o->connections, o->pipeline, o->keys, o->key_size,
           o->value_size);
    printf("\"ops\": %llu, \"gets\": %llu, \"sets\": %llu, \"hits\": %llu, "
           "\"misses\": %llu, \"errors\": %llu, \"wrong\": %llu, "
           "\"forwarded\": %llu, ",
           (unsigned long long)ops, (unsigned long long)f->gets,
           (unsigned long long)f->sets, (unsigned long long)f->hits,
           (unsigned long long)f->misses, (unsigned long long)f->errors,
           (unsigned long long)f->wrong, (unsigned long long)f->forwarded);
    printf("\"first_error\": ");
    quoted(f->first_error);
    printf(", \"seconds\": %.6f, \"rate\": %.1f, \"asked_rate\": %.1f, "
           "\"late\": %llu, \"unsent\": %llu, ",
           f->seconds, rate_of(f), o->rate, (unsigned long long)f->late,
           (unsigned long long)f->unsent);
    printf("\"p50_us\": %.3f, \"p90_us\": %.3f, \"p99_us\": %.3f, "
           "\"p999_us\": %.3f, \"max_us\": %.3f, ",
           quantile_us(f, 0.5), quantile_us(f, 0.9), quantile_us(f, 0.99),
           quantile_us(f, 0.999), (double)f->latency.max_ns / 1e3);
    printf("\"client_ns\": %.1f, \"client_share\": %.4f, "
           "\"client_waited\": %.4f, \"client_was_limit\": %s, "
           "\"server_ns\": %.1f}\n",
           each(f->cpu_ns, ops), f->seconds > 0 ? used(f) : 0,
           f->seconds > 0 ? f->waited_ns / 1e9 / f->seconds : 0,
           was_limit(f) ? "true" : "false", each(f->server_ns, ops));
}

static void report_text(const struct load_options *o,
                        const struct load_figures *f)
{
    uint64_t ops = f->gets + f->sets;
    printf("%llu answers in %.2f s: %.0f a second, %llu errors\n",
           (unsigned long long)ops, f->seconds, rate_of(f),
           (unsigned long long)f->errors);
    if (o->rate > 0)
        printf("asked for %.0f a second, attained %.1f %%: %llu were due and "
               "not sent\n",
               o->rate, 100 * rate_of(f) / o->rate,
               (unsigned long long)f->unsent);
    if (f->gets)
        printf("gets %llu, of them found %.1f %%\n",
               (unsigned long long)f->gets,
               100 * (double)f->hits / (double)f->gets);
    if (f->sets)
        printf("puts %llu\n", (unsigned long long)f->sets);
    if (f->forwarded)
        printf("forwarded by who was asked %.1f %%\n",
               100 * each((double)f->forwarded, ops + f->late));
    printf("latency  p50 %.0f us  p90 %.0f us  p99 %.0f us  p99.9 %.0f us  "
           "max %.0f us\n",
           quantile_us(f, 0.5), quantile_us(f, 0.9), quantile_us(f, 0.99),
           quantile_us(f, 0.999), (double)f->latency.max_ns / 1e3);
    printf("client: %.0f ns each, %.0f %% of the core that it could have\n",
           each(f->cpu_ns, ops), 100 * used(f));
    if (o->server_count)
        printf("server: %.0f ns each\n", each(f->server_ns, ops));
    if (was_limit(f))
        printf("client was the limit\n");
}

static int report(const struct load_options *o, const struct load_figures *f)
{
    if (o->json)
        report_json(o, f);
    else if (o->seconds > 0)
        report_text(o, f);
    fflush(stdout);
    if (f->errors)
        fprintf(stderr, "dlht-bench: load: %llu errors, the first: %s\n",
                (unsigned long long)f->errors, f->first_error);
    if (f->wrong)
        fprintf(stderr, "dlht-bench: load: %llu values were not as put\n",
                (unsigned long long)f->wrong);
    return f->errors || f->wrong ? 1 : 0;
}

/* What is wrong with them together; NULL: nothing. */
static const char *fault(const struct load_options *o)
{
    if (!o->protocol || o->to_count == 0)
        return "--protocol and --to are needed";
    if (o->check && o->value_size < o->key_size)
        return "--check needs values that are not shorter than keys";
    if (o->database >= 0 && o->protocol != &load_resp)
        return "--database is of the protocol resp";
    if (o->keyspace && o->protocol != &load_native)
        return "--keyspace is of the protocol native";
    if (o->route && o->protocol != &load_native)
        return "--route is of the protocol native";
    return NULL;
}

int bench_load(int argc, char **argv)
{
    static const struct option longs[] = {
        { "protocol", required_argument, NULL, 'p' },
        { "to", required_argument, NULL, 't' },
        { "connections", required_argument, NULL, 'c' },
        { "pipeline", required_argument, NULL, 'P' },
        { "keys", required_argument, NULL, 'k' },
        { "key-size", required_argument, NULL, 'K' },
        { "value-size", required_argument, NULL, 'v' },
        { "ratio", required_argument, NULL, 'r' },
        { "distribution", required_argument, NULL, 'd' },
        { "seconds", required_argument, NULL, 's' },
        { "warm", required_argument, NULL, 'w' },
        { "rate", required_argument, NULL, 'R' },
        { "route", no_argument, NULL, 'o' },
        { "fill", no_argument, NULL, 'f' },
        { "check", no_argument, NULL, 'C' },
        { "keyspace", required_argument, NULL, 'n' },
        { "database", required_argument, NULL, 'D' },
        { "server", required_argument, NULL, 'S' },
        { "seed", required_argument, NULL, 'e' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct load_options options = {
        .connections = 50,
        .pipeline = 1,
        .keys = 100000,
        .key_size = 16,
        .value_size = 64,
        .gets = 1,
        .seconds = 1,
        .warm_seconds = 0.1,
        .seed = 1,
        .database = -1,
    };
    static struct load_figures figures;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'h')
            return usage(stdout);
        if (!read_option(c, &options))
            return usage(stderr);
    }
    const char *wrong =
        optind < argc ? "an argument too many" : fault(&options);
    if (wrong) {
        fprintf(stderr, "dlht-bench: load: %s; --help tells more\n", wrong);
        return 2;
    }
    load_run(&options, &figures);
    return report(&options, &figures);
}
