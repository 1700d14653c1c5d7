/* SPDX-License-Identifier: Apache-2.0 */

/* vector: collections, and single vectors of them. */

#include "cmd_vector.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "output.h"

enum {
    WAIT_EVERY_MS = 200
};

int vector_options(const struct cli *cli, struct dlht_options *options)
{
    *options = (struct dlht_options){ .keyspace = cli->set.keyspace,
                                      .timeout_ms = cli->set.timeout_ms };
    if (!cli->set.keyspace)
        return cli_usage(cli, "name the collection: dlht-cli -k NAME %s ...",
                         cli->verb);
    return CLI_DONE;
}

int vector_values(const struct cli *cli, const struct arguments *args,
                  float **values, uint32_t *dim)
{
    const struct option_value *given = options_get(args, "values");
    const char *why;

    *values = NULL;
    *dim = 0;
    if (!given->given ||
        vectors_parse(word_bytes(&given->word), values, dim, &why))
        return CLI_DONE;
    return cli_usage(cli, "--values: %s", why);
}

int vector_open(const struct cli *cli, const struct arguments *args,
                const struct word *name, uint64_t ids_from,
                struct vectors_file *file)
{
    bool is_stdin = !name->quoted && strcmp(name->data, "-") == 0;
    enum vectors_format format =
        (enum vectors_format)options_number(args, "format", VECTORS_JSONL);
    FILE *from = stdin;

    memset(file, 0, sizeof(*file));
    if (is_stdin && cli->in_shell)
        return cli_usage(cli, "standard input holds the commands here; name a "
                              "file");
    if (!options_has(args, "format") && !vectors_format_of(name->data, &format))
        return cli_usage(cli,
                         "%s: the name does not say what the file is; say "
                         "--format fvecs, npy or jsonl",
                         name->data);
    if (!is_stdin)
        from = fopen(name->data, "rb");
    if (!from)
        return cli_usage(cli, "%s cannot be opened: %s", name->data,
                         strerror(errno));
    if (!vectors_open(file, from, format, ids_from)) {
        int rc = cli_usage(cli, "%s: %s", name->data, file->why);
        vector_close(file);
        return rc;
    }
    return CLI_DONE;
}

void vector_close(struct vectors_file *file)
{
    FILE *from = file->file;

    vectors_close(file);
    if (from && from != stdin)
        fclose(from);
}

/* An object that the cluster printed has no control characters. */
void vector_print_meta(const char *name, const char *meta)
{
    size_t len = strlen(meta);
    bool plain = len > 1 && meta[0] == '{' && meta[len - 1] == '}';

    for (size_t i = 0; i < len && plain; i++)
        plain = (unsigned char)meta[i] >= ' ';
    if (!plain) {
        output_text(name, meta);
        return;
    }
    output_name(name);
    fputs(meta, stdout);
}

void vector_say_partial(const struct dlht_hits *hits)
{
    if (!hits->partial)
        return;
    fflush(stdout);
    fprintf(stderr,
            "dlht-cli: partial: %" PRIu32 " of %" PRIu32
            " arcs did not answer; what they hold is missing\n",
            hits->arcs_missing, hits->arcs);
}

static int print_ok(const struct cli *cli)
{
    if (!cli->set.json) {
        puts("OK");
        return CLI_DONE;
    }
    output_begin();
    output_flag("ok", true);
    output_end();
    return CLI_DONE;
}

/* The name of one of the choices of an option; NULL if it is not given. */
static const char *choice(const struct arguments *args, const char *name)
{
    const struct option_value *value = options_get(args, name);

    return value->given ? value->word.data : NULL;
}

/* NAME as a C string: it holds no zero byte. */
static int take_name(const struct cli *cli, const struct arguments *args,
                     const char **name)
{
    const struct word *word = &args->list[0];

    *name = word->data;
    if (word->len == 0 || strlen(word->data) != word->len)
        return cli_usage(cli, "the name of a collection has 1 to 64 visible "
                              "ASCII characters");
    return CLI_DONE;
}

static size_t take_fields(const struct arguments *args, const char **fields,
                          size_t max)
{
    const struct word *word;
    size_t count = 0;

    while (count < max && (word = options_nth(args, "index", count)))
        fields[count++] = word->data;
    return count;
}

int cmd_vector_create(struct cli *cli, const struct arguments *args)
{
    const char *fields[DLHT_VECTOR_FIELDS_MAX / 2];
    struct dlht_collection_config config;
    struct dlht_error error;
    struct dlht *d = NULL;
    const char *name;
    int rc = take_name(cli, args, &name);

    if (rc == CLI_DONE && !options_has(args, "dim"))
        rc = cli_usage(cli, "--dim says how many numbers a vector has, 1 to %d",
                       DLHT_VECTOR_DIM_MAX);
    if (rc == CLI_DONE && options_number(args, "replicas", 1) % 2 == 0)
        rc = cli_usage(cli, "--replicas '%" PRIu64 "': 1, 3 or 5 is meant",
                       options_number(args, "replicas", 1));
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    dlht_collection_config_default(&config);
    config.dim = (uint32_t)options_number(args, "dim", 0);
    config.metric = choice(args, "metric");
    config.m = (uint32_t)options_number(args, "m", 0);
    config.ef_construction =
        (uint32_t)options_number(args, "ef-construction", 0);
    config.ef = (uint32_t)options_number(args, "ef", 0);
    config.quantization = choice(args, "quantization");
    config.index = choice(args, "index-type");
    config.replicas = (uint32_t)options_number(args, "replicas", 0);
    config.placement = choice(args, "placement");
    config.fields = fields;
    config.field_count =
        take_fields(args, fields, sizeof(fields) / sizeof(*fields));
    rc = dlht_collection_create(d, name, &config, &error);
    return rc == DLHT_OK ? print_ok(cli) : cli_fail(cli, rc, error.text);
}

int cmd_vector_drop(struct cli *cli, const struct arguments *args)
{
    struct dlht_error error;
    struct dlht *d = NULL;
    const char *name;
    int rc = take_name(cli, args, &name);

    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    rc = dlht_collection_drop(d, name, &error);
    return rc == DLHT_OK ? print_ok(cli) : cli_fail(cli, rc, error.text);
}

static void list_one(const struct cli *cli, struct output_table *table,
                     const struct dlht_collection *c)
{
    const uint32_t numbers[] = { c->dim, c->replicas, c->arcs };
    static const char *const names[] = { "dim", "replicas", "arcs" };
    char cell[256];

    if (cli->set.json) {
        output_begin();
        output_text("name", c->name);
        output_text("metric", c->metric);
        for (size_t i = 0; i < 3; i++)
            output_u64(names[i], numbers[i]);
        output_end();
        return;
    }
    output_table_add(
        table, output_printable((struct dlht_bytes){ c->name, strlen(c->name) },
                                64, cell, sizeof(cell)));
    output_table_add(
        table,
        output_printable((struct dlht_bytes){ c->metric, strlen(c->metric) },
                         32, cell, sizeof(cell)));
    for (size_t i = 0; i < 3; i++) {
        snprintf(cell, sizeof(cell), "%" PRIu32, numbers[i]);
        output_table_add(table, cell);
    }
}

int cmd_vector_list(struct cli *cli, const struct arguments *args)
{
    static const char *const head[] = { "NAME", "METRIC", ">DIM", ">REPLICAS",
                                        ">ARCS" };
    struct dlht_collections all;
    struct output_table table;
    struct dlht_error error;
    struct dlht *d = NULL;
    int rc = cli_open(cli, &d);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
    rc = dlht_collection_list(d, &all, &error);
    if (rc != DLHT_OK)
        return cli_fail(cli, rc, error.text);
    output_table_init(&table, head, 5);
    for (size_t i = 0; i < all.count; i++)
        list_one(cli, &table, &all.list[i]);
    if (!cli->set.json)
        output_table_end(&table);
    dlht_collections_free(&all);
    return CLI_DONE;
}

/* The options of a call on the collection NAME. */
static int options_of_name(struct cli *cli, const struct arguments *args,
                           struct dlht_options *options, struct dlht **d)
{
    int rc = take_name(cli, args, &options->keyspace);

    if (rc == CLI_DONE)
        rc = cli_open(cli, d);
    options->timeout_ms = cli->set.timeout_ms;
    return rc;
}

static void print_info_json(const char *name, uint64_t vectors,
                            const struct dlht_collection_info *info)
{
    output_begin();
    output_text("collection", name);
    output_u64("dim", info->dim);
    output_text("metric", info->metric);
    output_text("index", info->index);
    output_text("quantization", info->quantization);
    output_u64("m", info->m);
    output_u64("ef_construction", info->ef_construction);
    output_u64("ef", info->ef);
    output_text("fields", info->fields);
    output_u64("vectors", vectors);
    output_u64("held", info->held);
    output_u64("indexed", info->indexed);
    output_u64("waiting", info->waiting);
    output_u64("damaged", info->damaged);
    output_u64("graph_bytes", info->graph_bytes);
    output_u64("from_file", info->from_file);
    output_u64("arcs", info->arcs);
    output_u64("arcs_scanning", info->arcs_scanning);
    output_flag("rebuilding", info->rebuilding);
    output_end();
}

static void print_info(uint64_t vectors,
                       const struct dlht_collection_info *info)
{
    char size[32];

    printf("vectors      %" PRIu64 ", of %" PRIu32 " numbers, metric %s\n",
           vectors, info->dim, info->metric);
    printf("index        %s, m %" PRIu32 ", ef-construction %" PRIu32
           ", ef %" PRIu32 ", quantization %s\n",
           info->index, info->m, info->ef_construction, info->ef,
           info->quantization);
    printf("fields       %s\n", *info->fields ? info->fields : "none");
    printf("this node    %" PRIu64 " vectors in copies of %" PRIu32
           " arcs, %" PRIu64 " in its graph of %s, %" PRIu64 " waiting\n",
           info->held, info->arcs, info->indexed,
           output_size(info->graph_bytes, size, sizeof(size)), info->waiting);
    if (info->from_file)
        printf("from file    %" PRIu64
               " vectors were in the graph at the start\n",
               info->from_file);
    if (info->damaged)
        printf("damaged      %" PRIu64 " records are no vectors\n",
               info->damaged);
    if (info->arcs_scanning)
        printf("scanning     %" PRIu32 " arcs are being read\n",
               info->arcs_scanning);
    if (info->rebuilding)
        puts("rebuilding   the graph is being built anew");
}

int cmd_vector_info(struct cli *cli, const struct arguments *args)
{
    struct dlht_options options = { .keyspace = NULL };
    struct dlht_collection_info info;
    struct dlht_error error;
    struct dlht *d = NULL;
    uint64_t vectors = 0;
    int rc = options_of_name(cli, args, &options, &d);

    if (rc != CLI_DONE)
        return rc;
    rc = dlht_collection_info(d, &options, &info, &error);
    if (rc == DLHT_OK)
        rc = dlht_vector_count(d, &options, &vectors, &error);
    if (rc != DLHT_OK)
        return cli_fail(cli, rc, error.text);
    if (cli->set.json)
        print_info_json(options.keyspace, vectors, &info);
    else
        print_info(vectors, &info);
    return CLI_DONE;
}

static void sleep_ms(long ms)
{
    struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&pause, NULL);
}

int cmd_vector_rebuild(struct cli *cli, const struct arguments *args)
{
    struct dlht_options options = { .keyspace = NULL };
    struct dlht_collection_info info = { .rebuilding = true };
    struct dlht_error error;
    struct dlht *d = NULL;
    int rc = options_of_name(cli, args, &options, &d);

    if (rc != CLI_DONE)
        return rc;
    rc = dlht_vector_rebuild(d, &options, &error);
    while (rc == DLHT_OK && options_has(args, "wait") && info.rebuilding) {
        sleep_ms(WAIT_EVERY_MS);
        rc = dlht_collection_info(d, &options, &info, &error);
    }
    return rc == DLHT_OK ? print_ok(cli) : cli_fail(cli, rc, error.text);
}

int cmd_vector_put(struct cli *cli, const struct arguments *args)
{
    const struct option_value *meta = options_get(args, "meta");
    struct dlht_vector vector = { .id = word_bytes(&args->list[0]) };
    struct dlht_options options;
    struct dlht_error error;
    struct dlht *d = NULL;
    float *values = NULL;
    uint64_t version;
    int rc = vector_options(cli, &options);

    if (rc == CLI_DONE)
        rc = cli_check_key(cli, vector.id);
    if (rc == CLI_DONE && !options_has(args, "values"))
        rc = cli_usage(cli, "--values has the numbers, as in \"1 2.5 -3\"");
    if (rc == CLI_DONE && meta->given &&
        strlen(meta->word.data) != meta->word.len)
        rc = cli_usage(cli, "--meta holds a zero byte; a JSON object is meant");
    if (rc == CLI_DONE)
        rc = vector_values(cli, args, &values, &vector.dim);
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc == CLI_DONE) {
        vector.values = values;
        vector.meta = meta->given ? meta->word.data : NULL;
        rc = dlht_vector_put(d, &options, &vector, &version, &error);
        rc = rc == DLHT_OK ? CLI_DONE : cli_fail(cli, rc, error.text);
        if (rc == CLI_DONE && cli->set.json) {
            output_begin();
            output_flag("ok", true);
            output_u64("version", version);
            output_end();
        } else if (rc == CLI_DONE) {
            puts("OK");
        }
    }
    free(values);
    return rc;
}

static void print_vector(const struct cli *cli, const struct dlht_vector *v)
{
    if (!cli->set.json) {
        vectors_print(v->values, v->dim);
        printf("\t%s\n", v->meta);
        return;
    }
    output_begin();
    output_bytes("id", v->id);
    output_name("vector");
    vectors_print(v->values, v->dim);
    vector_print_meta("meta", v->meta);
    output_u64("version", v->version);
    output_end();
}

int cmd_vector_get(struct cli *cli, const struct arguments *args)
{
    struct dlht_bytes id = word_bytes(&args->list[0]);
    struct dlht_vector *vector;
    struct dlht_options options;
    struct dlht_error error;
    struct dlht *d = NULL;
    int rc = vector_options(cli, &options);

    if (rc == CLI_DONE)
        rc = cli_check_key(cli, id);
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    options.stale = options_has(args, "stale");
    rc = dlht_vector_get(d, &options, id.data, id.len, &vector, &error);
    if (rc != DLHT_OK)
        return cli_fail(cli, rc, error.text);
    print_vector(cli, vector);
    dlht_vector_free(vector);
    return CLI_DONE;
}

int cmd_vector_del(struct cli *cli, const struct arguments *args)
{
    struct dlht_bytes id = word_bytes(&args->list[0]);
    struct dlht_options options;
    struct dlht_error error;
    struct dlht *d = NULL;
    int rc = vector_options(cli, &options);

    if (rc == CLI_DONE)
        rc = cli_check_key(cli, id);
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    rc = dlht_vector_del(d, &options, id.data, id.len, &error);
    return rc == DLHT_OK ? print_ok(cli) : cli_fail(cli, rc, error.text);
}
