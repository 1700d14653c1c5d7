/* SPDX-License-Identifier: Apache-2.0 */

/* vector search and vector recall: one query, or those of a file with some
 * under way at once. */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "cmd_vector.h"
#include "output.h"

enum {
    PIPELINE = 16,
    PIPELINE_MAX = 256,
    QUERIES = 1000 /* of recall, unless --limit says else */
};

/* meta, vector: what --with names. */
static int take_with(const struct cli *cli, const struct arguments *args,
                     struct dlht_search *search)
{
    const struct option_value *with = options_get(args, "with");
    const char *at = with->given ? with->word.data : "";

    while (*at) {
        size_t n = strcspn(at, ",");
        if (n == 4 && memcmp(at, "meta", n) == 0)
            search->with_meta = true;
        else if (n == 6 && memcmp(at, "vector", n) == 0)
            search->with_values = true;
        else
            return cli_usage(cli,
                             "--with '%s': meta, vector or meta,vector is "
                             "meant",
                             with->word.data);
        at += n + (at[n] == ',');
    }
    return CLI_DONE;
}

/* What search and recall have in common. */
static int take_search(const struct cli *cli, const struct arguments *args,
                       struct dlht_options *options, struct dlht_search *search)
{
    const struct option_value *filter = options_get(args, "filter");

    *search = (struct dlht_search){
        .k = (uint32_t)options_number(args, "k", DLHT_VECTOR_K_DEFAULT),
        .ef = (uint32_t)options_number(args, "ef", 0),
        .filter = filter->given ? filter->word.data : NULL,
    };
    if (filter->given && strlen(filter->word.data) != filter->word.len)
        return cli_usage(cli, "--filter holds a zero byte");
    options->stale = options_has(args, "stale");
    return CLI_DONE;
}

/* query: its number, or UINT64_MAX for the only one. */
static void print_hit(const struct cli *cli, uint64_t query,
                      const struct dlht_hit *hit)
{
    if (cli->set.json) {
        output_begin();
        if (query != UINT64_MAX)
            output_u64("query", query);
        output_bytes("id", hit->id);
        output_f64("distance", hit->distance);
        if (hit->meta)
            vector_print_meta("meta", hit->meta);
        if (hit->values) {
            output_name("vector");
            vectors_print(hit->values, hit->dim);
        }
        output_end();
        return;
    }
    if (query != UINT64_MAX)
        printf("%" PRIu64 "\t", query);
    output_raw(hit->id);
    printf("\t%.7g", hit->distance);
    if (hit->meta)
        printf("\t%s", hit->meta);
    if (hit->values) {
        putchar('\t');
        vectors_print(hit->values, hit->dim);
    }
    putchar('\n');
}

static int search_one(const struct cli *cli, struct dlht *d,
                      const struct dlht_options *options,
                      const struct dlht_search *search)
{
    struct dlht_hits hits;
    struct dlht_error error;
    int rc = dlht_vector_search(d, options, search, &hits, &error);

    if (rc != DLHT_OK)
        return cli_fail(cli, rc, error.text);
    for (size_t i = 0; i < hits.count; i++)
        print_hit(cli, UINT64_MAX, &hits.list[i]);
    vector_say_partial(&hits);
    dlht_hits_free(&hits);
    return CLI_DONE;
}

/* A query of a file, on its way. */
struct asked {
    struct run *run;
    bool done;
    uint64_t number;
    int status;
    char text[DLHT_ERROR_TEXT_MAX];
    struct dlht_hits hits;
};

/* Takes the hits of a query; they are its own to free. */
typedef void (*run_fn)(void *context, uint64_t number, struct dlht_hits *hits);

/* The queries of a file, answered in order. */
struct run {
    const struct cli *cli;
    struct dlht *d;
    const struct dlht_options *options;
    struct dlht_search search; /* but for the vector */
    struct asked *asked;       /* owned: a ring of `pipeline` */
    size_t pipeline;
    uint64_t limit;
    uint64_t begun;
    uint64_t ended;
    size_t open;
    run_fn fn;
    void *context;
};

static void on_answer(void *context, const struct dlht_result *result)
{
    struct asked *asked = context;

    asked->run->open--;
    asked->done = true;
    asked->status = result->status;
    snprintf(asked->text, sizeof(asked->text), "%s", result->text);
    if (asked->status == DLHT_OK)
        asked->status = dlht_hits_unpack(result, &asked->hits);
}

/* Asks it, or notes why not. */
static void ask(struct run *run, const struct dlht_vector *vector)
{
    struct asked *asked = &run->asked[run->begun % run->pipeline];
    struct dlht_packed packed;
    struct dlht_search search = run->search;

    memset(asked, 0, sizeof(*asked));
    asked->run = run;
    asked->number = run->begun++;
    search.values = vector->values;
    search.dim = vector->dim;
    asked->status = dlht_search_pack(run->options, &search, &packed);
    if (asked->status == DLHT_OK)
        asked->status = dlht_submit(run->d, &packed.request, on_answer, asked);
    dlht_packed_free(&packed);
    asked->done = asked->status != DLHT_OK;
    run->open += !asked->done;
}

/* The oldest one. CLI_DONE, or why it failed. */
static int end_one(struct run *run)
{
    struct asked *asked = &run->asked[run->ended % run->pipeline];
    int rc = DLHT_OK;

    while (!asked->done && rc >= 0)
        rc = dlht_poll(run->d, -1);
    run->ended++;
    if (rc >= 0)
        rc = asked->status;
    if (rc != DLHT_OK) {
        char text[DLHT_ERROR_TEXT_MAX + 40];
        snprintf(text, sizeof(text), "query %" PRIu64 "%s%s", asked->number,
                 *asked->text ? ": " : "", asked->text);
        return cli_fail(run->cli, rc, text);
    }
    run->fn(run->context, asked->number, &asked->hits);
    return CLI_DONE;
}

/* After a failure: what is under way ends, so that no answer comes to memory
 * that is gone. */
static void drain(struct run *run, struct cli *cli)
{
    while (run->open && dlht_poll(run->d, -1) >= 0)
        ;
    if (run->open)
        cli_close(cli);
    for (; run->ended < run->begun; run->ended++)
        dlht_hits_free(&run->asked[run->ended % run->pipeline].hits);
}

static int run_file(struct run *run, struct cli *cli, struct vectors_file *file)
{
    struct dlht_vector vector;
    enum vectors_next next = VECTORS_ONE;
    int rc = CLI_DONE;

    run->begun = run->ended = 0;
    run->open = 0;
    while (rc == CLI_DONE && next == VECTORS_ONE) {
        if (run->begun - run->ended == run->pipeline)
            rc = end_one(run);
        next =
            run->begun < run->limit ? vectors_next(file, &vector) : VECTORS_END;
        if (rc == CLI_DONE && next == VECTORS_ONE)
            ask(run, &vector);
    }
    while (rc == CLI_DONE && run->ended < run->begun)
        rc = end_one(run);
    if (rc == CLI_DONE && next == VECTORS_BAD)
        rc = cli_usage(run->cli, "%s", file->why);
    drain(run, cli);
    return rc;
}

struct printer {
    const struct cli *cli;
    bool said; /* that a part is missing, once */
};

static void print_hits(void *context, uint64_t number, struct dlht_hits *hits)
{
    struct printer *printer = context;

    for (size_t i = 0; i < hits->count; i++)
        print_hit(printer->cli, number, &hits->list[i]);
    if (!printer->said)
        vector_say_partial(hits);
    printer->said |= hits->partial;
    dlht_hits_free(hits);
}

static int run_begin(struct run *run, struct cli *cli,
                     const struct arguments *args, struct dlht *d,
                     const struct dlht_options *options)
{
    run->cli = cli;
    run->d = d;
    run->options = options;
    run->pipeline = (size_t)options_number(args, "pipeline", PIPELINE);
    run->limit = UINT64_MAX;
    run->asked = calloc(run->pipeline, sizeof(*run->asked));
    return run->asked ? CLI_DONE : cli_fail(cli, DLHT_ENOMEM, NULL);
}

static int search_file(struct cli *cli, const struct arguments *args,
                       struct dlht *d, const struct dlht_options *options,
                       const struct dlht_search *search)
{
    struct printer printer = { .cli = cli };
    struct run run = { .search = *search,
                       .fn = print_hits,
                       .context = &printer };
    struct vectors_file file;
    int rc = vector_open(cli, args, &options_get(args, "file")->word, 0, &file);

    if (rc != CLI_DONE)
        return rc;
    rc = run_begin(&run, cli, args, d, options);
    if (rc == CLI_DONE)
        rc = run_file(&run, cli, &file);
    free(run.asked);
    vector_close(&file);
    return rc;
}

int cmd_vector_search(struct cli *cli, const struct arguments *args)
{
    const struct option_value *id = options_get(args, "id");
    bool by_file = options_has(args, "file");
    struct dlht_options options;
    struct dlht_search search;
    struct dlht *d = NULL;
    float *values = NULL;
    int rc = vector_options(cli, &options);

    if (rc == CLI_DONE &&
        options_has(args, "values") + id->given + by_file != 1)
        rc = cli_usage(cli, "one of --values, --id and --file says what to "
                            "look for");
    if (rc == CLI_DONE)
        rc = take_search(cli, args, &options, &search);
    if (rc == CLI_DONE)
        rc = take_with(cli, args, &search);
    if (rc == CLI_DONE)
        rc = vector_values(cli, args, &values, &search.dim);
    if (rc == CLI_DONE && id->given)
        rc = cli_check_key(cli, word_bytes(&id->word));
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc == CLI_DONE) {
        search.values = values;
        search.exact = options_has(args, "exact");
        if (id->given)
            search.id = word_bytes(&id->word);
        rc = by_file ? search_file(cli, args, d, &options, &search)
                     : search_one(cli, d, &options, &search);
    }
    free(values);
    return rc;
}

/* The answers of the first pass, and how they compare with the second. */
struct recall {
    const struct cli *cli;
    struct dlht_hits *found; /* owned, `limit` of them */
    uint64_t queries;
    double sum;
    uint64_t judged; /* queries that have a truth */
    bool partial;
};

static void keep_hits(void *context, uint64_t number, struct dlht_hits *hits)
{
    struct recall *recall = context;

    recall->partial |= hits->partial;
    recall->found[number] = *hits;
    recall->queries = number + 1;
}

static bool has_id(const struct dlht_hits *hits, struct dlht_bytes id)
{
    for (size_t i = 0; i < hits->count; i++) {
        if (hits->list[i].id.len == id.len &&
            memcmp(hits->list[i].id.data, id.data, id.len) == 0)
            return true;
    }
    return false;
}

/* A hit counts if it is one of the true ones, or as near as the last of them:
 * of equals it does not matter which. */
static void judge_hits(void *context, uint64_t number, struct dlht_hits *truth)
{
    struct recall *recall = context;
    const struct dlht_hits *found = &recall->found[number];
    double last = truth->count ? truth->list[truth->count - 1].distance : 0;
    size_t right = 0;

    recall->partial |= truth->partial;
    for (size_t i = 0; i < found->count && i < truth->count; i++)
        right +=
            found->list[i].distance <= last || has_id(truth, found->list[i].id);
    if (truth->count) {
        recall->sum += (double)right / (double)truth->count;
        recall->judged++;
    }
    dlht_hits_free(truth);
}

/* All queries once; the rate that they went at. */
static int pass(struct run *run, struct cli *cli, const struct arguments *args,
                double *rate)
{
    struct vectors_file file;
    int rc = vector_open(cli, args, &options_get(args, "file")->word, 0, &file);
    uint64_t begin_ns;
    double seconds;

    if (rc != CLI_DONE)
        return rc;
    begin_ns = cli_now_ns();
    rc = run_file(run, cli, &file);
    seconds = (double)(cli_now_ns() - begin_ns) / 1e9;
    *rate = seconds > 0 ? (double)run->begun / seconds : 0;
    vector_close(&file);
    return rc;
}

static void print_recall(const struct recall *recall, uint32_t k, double rate,
                         double exact_rate)
{
    double value = recall->sum / (double)recall->judged;

    if (recall->cli->set.json) {
        output_begin();
        output_u64("k", k);
        output_f64("recall", value);
        output_u64("queries", recall->queries);
        output_f64("rate", rate);
        output_f64("exact_rate", exact_rate);
        output_flag("partial", recall->partial);
        output_end();
    } else {
        printf("recall@%" PRIu32 " %.4f over %" PRIu64
               " queries; %.0f queries/s, exactly %.0f queries/s\n",
               k, value, recall->queries, rate, exact_rate);
    }
    if (recall->partial) {
        fflush(stdout);
        fputs("dlht-cli: partial: parts of the ring did not answer all "
              "queries\n",
              stderr);
    }
}

static int measure(struct cli *cli, const struct arguments *args,
                   struct run *run, struct recall *recall)
{
    double rate = 0, exact_rate = 0;
    int rc;

    run->fn = keep_hits;
    run->context = recall;
    rc = pass(run, cli, args, &rate);
    run->fn = judge_hits;
    run->search.exact = true;
    if (rc == CLI_DONE)
        rc = pass(run, cli, args, &exact_rate);
    if (rc != CLI_DONE)
        return rc;
    if (recall->judged == 0)
        return cli_fail(cli, DLHT_ENOTFOUND,
                        recall->queries ? "nothing to find"
                                        : "the file has no queries");
    print_recall(recall, run->search.k, rate, exact_rate);
    return CLI_DONE;
}

int cmd_vector_recall(struct cli *cli, const struct arguments *args)
{
    struct recall recall = { .cli = cli };
    struct run run = { .asked = NULL };
    struct dlht_options options;
    struct dlht *d = NULL;
    uint64_t limit = options_number(args, "limit", QUERIES);
    int rc = vector_options(cli, &options);

    if (rc == CLI_DONE && !options_has(args, "file"))
        rc = cli_usage(cli, "--file has the queries");
    if (rc == CLI_DONE &&
        strcmp(options_get(args, "file")->word.data, "-") == 0)
        rc = cli_usage(cli, "--file is read twice; standard input cannot be");
    if (rc == CLI_DONE)
        rc = take_search(cli, args, &options, &run.search);
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    rc = run_begin(&run, cli, args, d, &options);
    run.limit = limit;
    recall.found = calloc(limit, sizeof(*recall.found));
    if (rc == CLI_DONE && !recall.found)
        rc = cli_fail(cli, DLHT_ENOMEM, NULL);
    if (rc == CLI_DONE)
        rc = measure(cli, args, &run, &recall);
    for (uint64_t i = 0; i < recall.queries; i++)
        dlht_hits_free(&recall.found[i]);
    free(recall.found);
    free(run.asked);
    return rc;
}
