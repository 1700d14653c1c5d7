/* SPDX-License-Identifier: Apache-2.0 */

/* bench: rate and latency of a closed loop. Each client is a connection with
 * a thread of its own that keeps `pipeline` requests open; latency is counted
 * from submitting a request to its callback. With a rate, requests fall due at
 * even times, and one that had to wait because all of the pipeline was open is
 * counted from when it was due: a stall is then seen by all that it held up. */

#include "cmd.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"
#include "output.h"

enum {
    KEY_LEN_MAX = 32,
    RANGE_RECORDS = 100,
    LOAD_RECORDS_MAX = 256, /* in one batch */
    LOAD_BYTES_MAX = 4 << 20,
    LOAD_TIMEOUT_MS = 30000
};

enum workload {
    WORKLOAD_GET,
    WORKLOAD_PUT,
    WORKLOAD_MIXED,
    WORKLOAD_RANGE
};

enum distribution {
    DISTRIBUTION_UNIFORM,
    DISTRIBUTION_ZIPF,
    DISTRIBUTION_SEQUENTIAL
};

/* Constants of Gray et al., "Quickly generating billion-record synthetic
 * databases", as YCSB uses them. */
struct zipf {
    double theta;
    double zeta_n;
    double alpha;
    double eta;
};

struct bench {
    struct cli *cli;
    enum workload workload;
    enum distribution distribution;
    uint64_t keys;
    size_t value_size;
    uint32_t clients;
    uint32_t pipeline;
    uint64_t begin_ns;
    uint64_t end_ns;
    uint64_t gap_ns; /* between two requests of a client; 0: none */
    struct zipf zipf;
    char *value; /* owned */
};

/* Ctrl-C: enough was measured. */
static volatile sig_atomic_t interrupted;

struct client;

struct slot {
    struct client *client;
    uint64_t sent_ns;
    bool open;
};

struct client {
    struct bench *bench;
    uint32_t number;
    pthread_t thread;
    struct dlht *d;
    struct slot *slots; /* owned, pipeline of them */
    size_t open_count;
    uint64_t chance; /* state of the generator */
    uint64_t next;   /* sequential: the next key */
    uint64_t due_ns; /* with a rate: of the next request */
    bool full;       /* all slots were open when it was looked last */
    struct histogram histogram;
    uint64_t errors;
    int first_error; /* status */
};

/* splitmix64: a client's chance is its own and seeded by its number. */
static uint64_t draw(struct client *client)
{
    uint64_t z = client->chance += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double draw_unit(struct client *client)
{
    return (double)(draw(client) >> 11) / 9007199254740992.0;
}

static struct zipf zipf_make(uint64_t n)
{
    struct zipf z = { .theta = 0.99 };
    double zeta_2 = 1 + pow(0.5, z.theta);

    for (uint64_t i = 1; i <= n; i++)
        z.zeta_n += 1 / pow((double)i, z.theta);
    z.alpha = 1 / (1 - z.theta);
    z.eta = (1 - pow(2.0 / (double)n, 1 - z.theta)) / (1 - zeta_2 / z.zeta_n);
    return z;
}

/* A rank from 0, small ones often; spread over the keys by a multiplication so
 * that the hot ones are no neighbours. */
static uint64_t draw_zipf(struct client *client)
{
    const struct zipf *z = &client->bench->zipf;
    uint64_t n = client->bench->keys;
    double u = draw_unit(client);
    double uz = u * z->zeta_n;
    uint64_t rank;

    if (uz < 1)
        rank = 0;
    else if (uz < 1 + pow(0.5, z->theta))
        rank = 1;
    else
        rank = (uint64_t)((double)n * pow(z->eta * u - z->eta + 1, z->alpha));
    return rank * 0x9E3779B97F4A7C15u % n;
}

static uint64_t choose_key(struct client *client)
{
    struct bench *bench = client->bench;

    switch (bench->distribution) {
    case DISTRIBUTION_UNIFORM:
        return draw(client) % bench->keys;
    case DISTRIBUTION_ZIPF:
        return draw_zipf(client);
    case DISTRIBUTION_SEQUENTIAL:
        return client->next++ % bench->keys;
    }
    assert(false);
    return 0;
}

static struct dlht_bytes key_text(uint64_t number, char text[KEY_LEN_MAX])
{
    int n = snprintf(text, KEY_LEN_MAX, "bench:%012" PRIu64, number);

    return (struct dlht_bytes){ text, (size_t)n };
}

static void note_error(struct client *client, int status)
{
    client->errors++;
    if (client->first_error == DLHT_OK)
        client->first_error = status;
}

static void answered(void *context, const struct dlht_result *result)
{
    struct slot *slot = context;
    struct client *client = slot->client;

    slot->open = false;
    client->open_count--;
    if (result->status == DLHT_OK)
        histogram_add(&client->histogram, cli_now_ns() - slot->sent_ns);
    else
        note_error(client, result->status);
}

static enum dlht_op choose_op(struct client *client)
{
    switch (client->bench->workload) {
    case WORKLOAD_GET:
        return DLHT_OP_GET;
    case WORKLOAD_PUT:
        return DLHT_OP_PUT;
    case WORKLOAD_MIXED:
        return draw(client) & 1 ? DLHT_OP_GET : DLHT_OP_PUT;
    case WORKLOAD_RANGE:
        return DLHT_OP_RANGE;
    }
    assert(false);
    return DLHT_OP_GET;
}

static bool send_one(struct client *client, struct slot *slot, uint64_t from_ns)
{
    struct bench *bench = client->bench;
    char key[KEY_LEN_MAX];
    struct dlht_request request = cli_request(bench->cli, choose_op(client));
    int rc;

    request.key = key_text(choose_key(client), key);
    if (request.op == DLHT_OP_PUT)
        request.value = (struct dlht_bytes){ bench->value, bench->value_size };
    if (request.op == DLHT_OP_RANGE)
        request.limit = RANGE_RECORDS;
    slot->sent_ns = from_ns ? from_ns : cli_now_ns();
    rc = dlht_submit(client->d, &request, answered, slot);
    if (rc != DLHT_OK) {
        note_error(client, rc);
        return false;
    }
    slot->open = true;
    client->open_count++;
    return true;
}

/* Sends what may be sent; false: a request was refused. */
static bool send_all(struct client *client)
{
    struct bench *bench = client->bench;
    bool sent = true;

    for (uint32_t i = 0; sent && i < bench->pipeline; i++) {
        uint64_t from_ns = 0;
        if (client->slots[i].open)
            continue;
        if (bench->gap_ns) {
            if (cli_now_ns() < client->due_ns)
                break;
            from_ns = client->full ? client->due_ns : 0;
            client->due_ns += bench->gap_ns;
        }
        sent = send_one(client, &client->slots[i], from_ns);
    }
    client->full = client->open_count == bench->pipeline;
    return sent;
}

/* How long to wait for answers, in milliseconds, rounded up: a request is sent
 * late by less than one. */
static int patience_ms(const struct client *client, bool sent)
{
    uint64_t now_ns = cli_now_ns();

    if (!sent)
        return 10;
    if (!client->bench->gap_ns || client->full)
        return 100;
    if (client->due_ns <= now_ns)
        return 0;
    return (int)((client->due_ns - now_ns) / 1000000 + 1);
}

static void *client_run(void *context)
{
    struct client *client = context;
    struct bench *bench = client->bench;

    client->due_ns =
        bench->begin_ns + bench->gap_ns * client->number / bench->clients;
    while (!interrupted && cli_now_ns() < bench->end_ns) {
        bool sent = send_all(client);
        if (dlht_poll(client->d, patience_ms(client, sent)) < 0)
            return NULL;
    }
    while (client->open_count > 0 && dlht_poll(client->d, -1) >= 0)
        ;
    return NULL;
}

/* Puts the keys first..first + count. */
static int load_some(struct bench *bench, uint64_t first, size_t count)
{
    struct dlht_request request = cli_request(bench->cli, DLHT_OP_BATCH);
    struct dlht_record records[LOAD_RECORDS_MAX];
    char keys[LOAD_RECORDS_MAX][KEY_LEN_MAX];
    struct dlht_result result;

    memset(records, 0, sizeof(records));
    for (size_t i = 0; i < count; i++) {
        records[i].key = key_text(first + i, keys[i]);
        records[i].value =
            (struct dlht_bytes){ bench->value, bench->value_size };
    }
    request.records = records;
    request.record_count = count;
    if (request.timeout_ms == 0)
        request.timeout_ms = LOAD_TIMEOUT_MS;
    return cli_call(bench->cli, &request, &result);
}

static int load_keys(struct bench *bench)
{
    uint64_t step = LOAD_BYTES_MAX / (bench->value_size + KEY_LEN_MAX);
    int rc = CLI_DONE;

    step = step < 1 ? 1 : step > LOAD_RECORDS_MAX ? LOAD_RECORDS_MAX : step;
    for (uint64_t i = 0; rc == CLI_DONE && i < bench->keys; i += step) {
        uint64_t left = bench->keys - i;
        rc = load_some(bench, i, (size_t)(left < step ? left : step));
    }
    return rc;
}

static int client_init(struct client *client, struct bench *bench,
                       uint32_t number)
{
    struct dlht_error error = { DLHT_OK, "" };
    uint32_t timeout_ms = bench->cli->set.timeout_ms;
    int rc;

    client->bench = bench;
    client->number = number;
    client->chance = number;
    client->next = bench->keys / bench->clients * number;
    client->slots = calloc(bench->pipeline, sizeof(*client->slots));
    if (!client->slots)
        return cli_fail(bench->cli, DLHT_ENOMEM, NULL);
    for (uint32_t i = 0; i < bench->pipeline; i++)
        client->slots[i].client = client;
    rc = dlht_connect(bench->cli->nodes,
                      timeout_ms ? timeout_ms : CLI_TIMEOUT_MS, &client->d,
                      &error);
    return rc == DLHT_OK ? CLI_DONE : cli_fail(bench->cli, rc, error.text);
}

static void client_deinit(struct client *client)
{
    dlht_close(client->d);
    free(client->slots);
}

static void report_text(const struct client *sum, double seconds, double rate)
{
    static const double shares[] = { 0.5, 0.9, 0.99, 0.999 };
    static const char *const names[] = { "p50", "p90", "p99", "p99.9" };

    printf("%" PRIu64 " operations in %.2f s: %.0f/s, %" PRIu64 " errors\n",
           sum->histogram.total, seconds, rate, sum->errors);
    printf("latency");
    for (size_t i = 0; i < 4; i++)
        printf("  %s %.0f us", names[i],
               (double)histogram_quantile(&sum->histogram, shares[i]) / 1e3);
    printf("  max %.0f us\n", (double)sum->histogram.max_ns / 1e3);
}

static void report_json(const struct client *sum, double seconds, double rate)
{
    const struct histogram *h = &sum->histogram;

    output_begin();
    output_u64("ops", h->total);
    output_u64("errors", sum->errors);
    output_f64("seconds", seconds);
    output_f64("rate", rate);
    output_f64("p50_us", (double)histogram_quantile(h, 0.5) / 1e3);
    output_f64("p90_us", (double)histogram_quantile(h, 0.9) / 1e3);
    output_f64("p99_us", (double)histogram_quantile(h, 0.99) / 1e3);
    output_f64("p999_us", (double)histogram_quantile(h, 0.999) / 1e3);
    output_f64("max_us", (double)h->max_ns / 1e3);
    output_end();
}

static int report(struct cli *cli, struct client *clients, uint32_t count,
                  double seconds)
{
    struct client *sum = &clients[0];
    double rate;

    for (uint32_t i = 1; i < count; i++) {
        histogram_merge(&sum->histogram, &clients[i].histogram);
        sum->errors += clients[i].errors;
        if (sum->first_error == DLHT_OK)
            sum->first_error = clients[i].first_error;
    }
    rate = (double)sum->histogram.total / seconds;
    if (cli->set.json)
        report_json(sum, seconds, rate);
    else
        report_text(sum, seconds, rate);
    if (sum->errors == 0)
        return CLI_DONE;
    fflush(stdout);
    fprintf(stderr, "dlht-cli: bench: %" PRIu64 " errors, the first: %s\n",
            sum->errors, dlht_strerror(sum->first_error));
    return cli_exit_code(sum->first_error);
}

static void note_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Runs the loaded clients until the time is up, or somebody has seen enough:
 * what was measured until then is worth telling. */
static int measure(struct bench *bench, struct client *clients,
                   uint64_t seconds)
{
    struct sigaction note;
    struct sigaction before;
    uint32_t started = 0;

    interrupted = 0;
    memset(&note, 0, sizeof(note));
    note.sa_handler = note_interrupt;
    note.sa_flags = (int)SA_RESETHAND; /* a second one ends it at once */
    sigaction(SIGINT, &note, &before);
    bench->begin_ns = cli_now_ns();
    bench->end_ns = bench->begin_ns + seconds * 1000000000u;
    while (started < bench->clients &&
           pthread_create(&clients[started].thread, NULL, client_run,
                          &clients[started]) == 0)
        started++;
    for (uint32_t i = 0; i < started; i++)
        pthread_join(clients[i].thread, NULL);
    sigaction(SIGINT, &before, NULL);
    if (started < bench->clients)
        return cli_usage(bench->cli,
                         "only %" PRIu32 " threads could be started; try "
                         "fewer --clients",
                         started);
    return report(bench->cli, clients, bench->clients,
                  (double)(cli_now_ns() - bench->begin_ns) / 1e9);
}

static int prepare(struct bench *bench, const struct arguments *args)
{
    bench->value = malloc(bench->value_size + 1);
    if (!bench->value)
        return cli_fail(bench->cli, DLHT_ENOMEM, NULL);
    memset(bench->value, 'v', bench->value_size);
    if (bench->distribution == DISTRIBUTION_ZIPF)
        bench->zipf = zipf_make(bench->keys);
    return options_has(args, "no-load") ? CLI_DONE : load_keys(bench);
}

int cmd_bench(struct cli *cli, const struct arguments *args)
{
    struct bench bench = {
        .cli = cli,
        .workload = (enum workload)options_number(args, "workload", 0),
        .distribution =
            (enum distribution)options_number(args, "distribution", 0),
        .keys = options_number(args, "keys", 100000),
        .value_size = options_number(args, "value-size", 100),
        .clients = (uint32_t)options_number(args, "clients", 4),
        .pipeline = (uint32_t)options_number(args, "pipeline", 16),
    };
    uint64_t rate = options_number(args, "rate", 0);
    struct client *clients = calloc(bench.clients, sizeof(*clients));
    uint32_t made = 0;
    int rc;

    if (!clients)
        return cli_fail(cli, DLHT_ENOMEM, NULL);
    if (rate)
        bench.gap_ns = UINT64_C(1000000000) * bench.clients / rate;
    rc = prepare(&bench, args);
    while (rc == CLI_DONE && made < bench.clients) {
        rc = client_init(&clients[made], &bench, made);
        made++;
    }
    if (rc == CLI_DONE)
        rc = measure(&bench, clients, options_number(args, "seconds", 10));
    for (uint32_t i = 0; i < made; i++)
        client_deinit(&clients[i]);
    free(clients);
    free(bench.value);
    return rc;
}
