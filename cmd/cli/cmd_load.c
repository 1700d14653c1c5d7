/* SPDX-License-Identifier: Apache-2.0 */

/* load: many records from a file, in batches that overlap.
 *
 * Up to BATCHES_MAX batches are under way at once. A batch that was refused
 * for lack of room to run (busy, no leader yet) has surely not been applied in
 * that part and is sent again for a while; one whose outcome is unknown is
 * not, and counts as failed.
 *
 * Much input for few arcs is looked at first, see presplit.h. */

#include "cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jsonl.h"
#include "lines.h"
#include "load.h"
#include "output.h"
#include "points.h"
#include "presplit.h"
#include "quantiles.h"

enum {
    BATCH_RECORDS_MAX = 512,
    BATCH_BYTES_MAX = 1 << 20, /* beyond which a batch takes no more */
    BATCHES_MAX = 8,
    TIMEOUT_MS = 30000,      /* of a batch, unless --timeout says else */
    AGAIN_AFTER_MS = 50,     /* a refused batch is sent again */
    AGAIN_FOR_MS = 30000,    /* until so long after its first try */
    PROGRESS_EVERY_MS = 200, /* on a terminal */
    /* What is held back of a pipe at most before its records are sent. */
    HOLD_LINES_MAX = 100000,
    HOLD_BYTES_MAX = 64 << 20,
    HOLD_MS_MAX = 3000
};

enum load_format {
    LOAD_LINES,
    LOAD_TSV,
    LOAD_JSONL,
    LOAD_POINTS /* the key is a point of a grid */
};

enum batch_state {
    BATCH_FREE,
    BATCH_WAITING, /* to be sent at due_ns */
    BATCH_SENT
};

struct load;

struct batch {
    struct load *load;
    enum batch_state state;
    struct dlht_record records[BATCH_RECORDS_MAX];
    size_t count;
    char *bytes; /* owned: keys and values, one after the other */
    size_t len;
    size_t cap;
    uint64_t first_ns;
    uint64_t due_ns;
};

struct load {
    struct cli *cli;
    struct dlht *d;
    FILE *file;
    struct lines lines; /* of file */
    enum load_format format;
    const struct dlht_box_grid *grid; /* LOAD_POINTS */
    struct batch *batches;            /* owned, BATCHES_MAX */
    uint64_t line;
    uint64_t loaded;
    uint64_t failed;
    int worst; /* exit code */
    char first_error[256];
    uint64_t begin_ns;
    uint64_t progress_ns;
    bool progress;
};

static void note_failure(struct load *load, uint64_t count, int exit_code,
                         const char *text)
{
    load->failed += count;
    if (exit_code > load->worst)
        load->worst = exit_code;
    if (!*load->first_error)
        snprintf(load->first_error, sizeof(load->first_error), "%s", text);
}

static void note_bad_line(struct load *load, const char *why)
{
    char text[200];

    snprintf(text, sizeof(text), "line %" PRIu64 ": %s", load->line, why);
    note_failure(load, 1, CLI_USAGE, text);
}

/* Whether it is certain that nothing happened and worth another try. */
static bool is_worth_again(const struct batch *batch, int status)
{
    uint64_t age_ns = cli_now_ns() - batch->first_ns;

    return (status == DLHT_EBUSY || status == DLHT_EUNAVAILABLE) &&
           age_ns < (uint64_t)AGAIN_FOR_MS * 1000000u;
}

static void batch_done(void *context, const struct dlht_result *result)
{
    struct batch *batch = context;
    struct load *load = batch->load;
    uint64_t stored =
        result->count < batch->count ? result->count : batch->count;
    const char *text = dlht_strerror(result->status);

    if (result->status == DLHT_OK) {
        stored = batch->count;
    } else if (is_worth_again(batch, result->status)) {
        batch->state = BATCH_WAITING;
        batch->due_ns = cli_now_ns() + (uint64_t)AGAIN_AFTER_MS * 1000000u;
        return;
    } else {
        if (result->status == DLHT_EUNKNOWN)
            text = "outcome unknown: some may have been stored";
        else if (result->text && *result->text)
            text = result->text;
        note_failure(load, batch->count - stored, cli_exit_code(result->status),
                     text);
    }
    load->loaded += stored;
    batch->state = BATCH_FREE;
    batch->count = 0;
    batch->len = 0;
}

static void batch_send(struct batch *batch)
{
    struct load *load = batch->load;
    struct dlht_request request = cli_request(load->cli, DLHT_OP_BATCH);
    struct dlht_result refused;
    int rc;

    if (request.timeout_ms == 0)
        request.timeout_ms = TIMEOUT_MS;
    request.records = batch->records;
    request.record_count = batch->count;
    batch->state = BATCH_SENT;
    rc = dlht_submit(load->d, &request, batch_done, batch);
    if (rc == DLHT_OK)
        return;
    memset(&refused, 0, sizeof(refused));
    refused.status = rc;
    refused.text = "";
    batch_done(batch, &refused);
}

static void show_progress(struct load *load)
{
    uint64_t now_ns = cli_now_ns();

    if (!load->progress ||
        now_ns - load->progress_ns < (uint64_t)PROGRESS_EVERY_MS * 1000000u)
        return;
    load->progress_ns = now_ns;
    fprintf(stderr, "\r%" PRIu64 " records, %.0f/s ", load->loaded,
            (double)load->loaded / ((double)(now_ns - load->begin_ns) / 1e9));
}

/* Sends what is due, lets answers in. False: the connection is gone for good.
 */
static bool make_progress(struct load *load)
{
    bool any_waits = false;
    int rc;

    for (size_t i = 0; i < BATCHES_MAX; i++) {
        struct batch *batch = &load->batches[i];
        if (batch->state == BATCH_WAITING && cli_now_ns() >= batch->due_ns)
            batch_send(batch);
        any_waits |= batch->state == BATCH_WAITING;
    }
    rc = dlht_poll(load->d, any_waits ? AGAIN_AFTER_MS : PROGRESS_EVERY_MS);
    show_progress(load);
    if (rc < 0)
        note_failure(load, 0, cli_exit_code(rc), dlht_strerror(rc));
    return rc >= 0;
}

/* A batch to fill, waiting for one if all are under way; NULL: see
 * make_progress. */
static struct batch *batch_free(struct load *load)
{
    for (;;) {
        for (size_t i = 0; i < BATCHES_MAX; i++) {
            if (load->batches[i].state == BATCH_FREE)
                return &load->batches[i];
        }
        if (!make_progress(load))
            return NULL;
    }
}

static bool has_open(const struct load *load)
{
    for (size_t i = 0; i < BATCHES_MAX; i++) {
        if (load->batches[i].state != BATCH_FREE)
            return true;
    }
    return false;
}

/* Lengths only until batch_close: bytes may still move. */
static bool batch_add(struct batch *batch, struct dlht_bytes key,
                      struct dlht_bytes value)
{
    size_t need = batch->len + key.len + value.len;
    struct dlht_record *record = &batch->records[batch->count];

    if (need > batch->cap) {
        size_t cap = need > BATCH_BYTES_MAX ? need : BATCH_BYTES_MAX;
        char *bytes = realloc(batch->bytes, cap);
        if (!bytes)
            return false;
        batch->bytes = bytes;
        batch->cap = cap;
    }
    memcpy(batch->bytes + batch->len, key.data, key.len);
    if (value.len)
        memcpy(batch->bytes + batch->len + key.len, value.data, value.len);
    batch->len = need;
    *record =
        (struct dlht_record){ .key.len = key.len, .value.len = value.len };
    batch->count++;
    return true;
}

static void batch_close(struct batch *batch)
{
    const char *at = batch->bytes;

    for (size_t i = 0; i < batch->count; i++) {
        struct dlht_record *record = &batch->records[i];
        record->key.data = at;
        at += record->key.len;
        record->value.data = at;
        at += record->value.len;
    }
    batch->first_ns = cli_now_ns();
    batch_send(batch);
}

static bool parse_tsv(char *line, size_t len, struct dlht_record *record,
                      const char **why)
{
    char *tab = memchr(line, '\t', len);

    *why = "no tab between key and value";
    if (!tab)
        return false;
    record->key = (struct dlht_bytes){ line, (size_t)(tab - line) };
    record->value =
        (struct dlht_bytes){ tab + 1, len - (size_t)(tab + 1 - line) };
    return true;
}

/* What a line's key may be made into. */
union made_key {
    char number[24];
    struct dlht_box_key point;
};

/* One line to a record; false: why says what is wrong with it. */
static bool parse_line(struct load *load, char *line, size_t len,
                       struct dlht_record *record, union made_key *made,
                       const char **why)
{

    switch (load->format) {
    case LOAD_JSONL:
        if (!jsonl_read(line, len, &record->key, &record->value, why))
            return false;
        break;
    case LOAD_TSV:
        if (!parse_tsv(line, len, record, why))
            return false;
        break;
    case LOAD_POINTS:
        if (!parse_tsv(line, len, record, why) ||
            !points_key(load->grid, record->key, &made->point, why))
            return false;
        record->key = (struct dlht_bytes){ made->point.data, made->point.len };
        break;
    case LOAD_LINES:
        record->key = (struct dlht_bytes){ line, len };
        record->value.data = made->number;
        record->value.len = (size_t)snprintf(made->number, sizeof(made->number),
                                             "%" PRIu64, load->line);
        break;
    }
    *why = record->key.len == 0                ? "the key is empty"
           : record->key.len > CLI_KEY_MAX     ? "the key is over 64 KiB"
           : record->value.len > CLI_VALUE_MAX ? "the value is over 16 MiB"
                                               : NULL;
    return *why == NULL;
}

/* Takes the next line into batch. False: there is none. */
static bool take_line(struct load *load, struct batch *batch)
{
    struct dlht_record record;
    const char *why = NULL;
    union made_key made;
    char *line;
    size_t len;

    if (!lines_next(&load->lines, &line, &len))
        return false;
    load->line++;
    memset(&record, 0, sizeof(record));
    if (!parse_line(load, line, len, &record, &made, &why))
        note_bad_line(load, why);
    else if (!batch_add(batch, record.key, record.value))
        note_failure(load, 1, CLI_REFUSED, dlht_strerror(DLHT_ENOMEM));
    return true;
}

static void run(struct load *load)
{
    bool more = true;

    while (more) {
        struct batch *batch = batch_free(load);
        if (!batch)
            break;
        while (more && batch->count < BATCH_RECORDS_MAX &&
               batch->len < BATCH_BYTES_MAX)
            more = take_line(load, batch);
        if (batch->count)
            batch_close(batch);
    }
    while (has_open(load) && make_progress(load))
        ;
    if (load->lines.failed)
        note_failure(load, 1, CLI_REFUSED, dlht_strerror(DLHT_ENOMEM));
    if (ferror(load->file))
        note_failure(load, 0, CLI_USAGE, "the file cannot be read to its end");
}

/* Whether enough of a pipe was held back. */
static bool holds_enough(const struct load *load, uint64_t begin_ns)
{
    return lines_must_hold(&load->lines) &&
           (load->line >= HOLD_LINES_MAX ||
            lines_held_bytes(&load->lines) >= HOLD_BYTES_MAX ||
            cli_now_ns() - begin_ns >= (uint64_t)HOLD_MS_MAX * 1000000u);
}

/* Reads all of a file, or the beginning of a pipe, into sample. False: no
 * memory for it, or what was seen says nothing of the rest: a beginning in
 * key order. */
static bool look_ahead(struct load *load, struct quantiles *sample)
{
    uint64_t begin_ns = cli_now_ns();
    bool more = true;

    while (more && !holds_enough(load, begin_ns)) {
        struct dlht_record record = { .version = 0 };
        const char *why = NULL;
        union made_key made;
        char *line;
        size_t len;
        more = lines_next(&load->lines, &line, &len);
        if (!more)
            break;
        load->line++;
        if (parse_line(load, line, len, &record, &made, &why) &&
            !quantiles_add(sample, record.key))
            return false;
    }
    return !more || !sample->in_order;
}

static void say_presplit(const struct load *load, bool verbose, int64_t cut,
                         const struct quantiles *sample)
{
    if (!verbose && !load->progress)
        return;
    if (cut < 0)
        fprintf(stderr, "dlht-cli: load: not cut ahead: %s\n",
                dlht_strerror((int)cut));
    else
        fprintf(stderr,
                "dlht-cli: load: %" PRId64 " arcs cut ahead, by a sample of "
                "%zu of %" PRIu64 " records\n",
                cut, sample->count, sample->seen);
}

/* Cuts the keyspace ahead if that is worth it; see presplit.h. False: the
 * input could not be read again. */
static bool presplit(struct load *load, const struct arguments *args)
{
    struct dlht_bytes cuts[PRESPLIT_ARCS_MAX];
    struct quantiles sample;
    size_t arcs, count = 0;
    bool again;

    if (!args || options_has(args, "no-presplit"))
        return lines_again(&load->lines);
    arcs = presplit_wanted(load->cli, options_number(args, "arcs", 0));
    if (arcs == 0)
        return lines_again(&load->lines);
    if (quantiles_init(&sample) && look_ahead(load, &sample) &&
        sample.seen >= PRESPLIT_RECORDS_MIN)
        count = quantiles_cut(&sample, arcs, cuts);
    if (count)
        say_presplit(load, options_has(args, "verbose"),
                     presplit_send(load->cli, cuts, count), &sample);
    quantiles_deinit(&sample);
    again = lines_again(&load->lines);
    load->line = 0;
    return again;
}

static int report(struct load *load)
{
    double seconds = (double)(cli_now_ns() - load->begin_ns) / 1e9;
    double rate = seconds > 0 ? (double)load->loaded / seconds : 0;

    if (load->progress)
        fputs("\r\033[K", stderr);
    if (*load->first_error) {
        fflush(stdout);
        fprintf(stderr, "dlht-cli: %s: %s\n", load->cli->verb,
                load->first_error);
    }
    if (load->cli->set.json) {
        output_begin();
        output_u64("loaded", load->loaded);
        output_f64("seconds", seconds);
        output_f64("rate", rate);
        output_u64("failed", load->failed);
        output_end();
    } else {
        printf("loaded %" PRIu64 " records in %.2f s (%.0f/s), %" PRIu64
               " failed\n",
               load->loaded, seconds, rate, load->failed);
    }
    return load->worst;
}

static int open_file(const struct cli *cli, const struct word *name,
                     FILE **file)
{
    if (!name->quoted && strcmp(name->data, "-") == 0) {
        if (cli->in_shell)
            return cli_usage(cli, "standard input holds the commands here; "
                                  "name a file");
        *file = stdin;
        return CLI_DONE;
    }
    *file = fopen(name->data, "rb");
    if (!*file)
        return cli_usage(cli, "%s cannot be opened: %s", name->data,
                         strerror(errno));
    return CLI_DONE;
}

/* args may ask for cuts ahead; NULL: there are none. */
static int load_from(struct cli *cli, const struct arguments *args,
                     const struct word *name, enum load_format format,
                     const struct dlht_box_grid *grid)
{
    struct load load;
    int rc;

    memset(&load, 0, sizeof(load));
    load.cli = cli;
    load.format = format;
    load.grid = grid;
    load.progress = isatty(STDERR_FILENO) && !cli->set.json;
    rc = open_file(cli, name, &load.file);
    if (rc != CLI_DONE)
        return rc;
    rc = cli_open(cli, &load.d);
    load.batches = calloc(BATCHES_MAX, sizeof(*load.batches));
    if (rc == CLI_DONE && !load.batches)
        rc = cli_fail(cli, DLHT_ENOMEM, NULL);
    for (size_t i = 0; load.batches && i < BATCHES_MAX; i++)
        load.batches[i].load = &load;
    lines_begin(&load.lines, load.file);
    load.begin_ns = cli_now_ns();
    if (rc == CLI_DONE && !presplit(&load, args))
        rc = cli_usage(cli, "%s cannot be read again: %s; see --no-presplit",
                       name->data, strerror(errno));
    if (rc == CLI_DONE) {
        run(&load);
        /* Only a connection that failed for good leaves batches open; closing
         * it calls their callbacks while they still exist. */
        if (has_open(&load))
            cli_close(cli);
        rc = report(&load);
    }
    for (size_t i = 0; load.batches && i < BATCHES_MAX; i++)
        free(load.batches[i].bytes);
    free(load.batches);
    lines_deinit(&load.lines);
    if (load.file != stdin)
        fclose(load.file);
    return rc;
}

int cmd_load(struct cli *cli, const struct arguments *args)
{
    return load_from(
        cli, args, &args->list[0],
        (enum load_format)options_number(args, "format", LOAD_LINES), NULL);
}

int load_points(struct cli *cli, const struct word *name,
                const struct dlht_box_grid *grid)
{
    return load_from(cli, NULL, name, LOAD_POINTS, grid);
}
