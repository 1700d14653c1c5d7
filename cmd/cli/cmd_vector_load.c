/* SPDX-License-Identifier: Apache-2.0 */

/* vector load: many vectors from a file.
 *
 * A line that is wrong is counted and the others go on, as with load; what is
 * wrong in a file of rows ends it, since where the next row begins is not
 * known then. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_vector.h"
#include "output.h"

enum {
    PROGRESS_EVERY_MS = 200, /* on a terminal */
    SKIPPED_MAX = 65536      /* remembered, to say where a vector stood */
};

struct loader {
    const struct cli *cli;
    struct vectors_file *file;
    uint64_t given; /* to the library */
    uint64_t bad;   /* of the file itself */
    uint64_t first_bad;
    /* Before which vectors given, by number, a bad one stood; owned. */
    uint64_t *skipped;
    char why[VECTORS_WHY_MAX];
    uint64_t begin_ns;
    uint64_t progress_ns;
    bool progress;
};

static void show_progress(struct loader *loader)
{
    uint64_t now_ns;

    if (!loader->progress || loader->given % 64)
        return;
    now_ns = cli_now_ns();
    if (now_ns - loader->progress_ns < (uint64_t)PROGRESS_EVERY_MS * 1000000u)
        return;
    loader->progress_ns = now_ns;
    fprintf(stderr, "\r%" PRIu64 " vectors, %.0f/s ", loader->given,
            (double)loader->given /
                ((double)(now_ns - loader->begin_ns) / 1e9));
}

static void note_bad(struct loader *loader)
{
    if (loader->bad == 0) {
        loader->first_bad = loader->given;
        snprintf(loader->why, sizeof(loader->why), "%s", loader->file->why);
    }
    if (loader->bad < SKIPPED_MAX)
        loader->skipped[loader->bad] = loader->given;
    loader->bad++;
}

static bool next_vector(void *context, struct dlht_vector *out)
{
    struct loader *loader = context;

    for (;;) {
        switch (vectors_next(loader->file, out)) {
        case VECTORS_ONE:
            loader->given++;
            show_progress(loader);
            return true;
        case VECTORS_BAD:
            note_bad(loader);
            break;
        case VECTORS_END:
        default:
            return false;
        }
    }
}

/* Where the vector with that number stood in the file. */
static uint64_t place_of(const struct loader *loader, uint64_t number)
{
    uint64_t bad = loader->bad < SKIPPED_MAX ? loader->bad : SKIPPED_MAX;
    uint64_t at = number;

    for (uint64_t i = 0; i < bad && loader->skipped[i] <= number; i++)
        at++;
    return at;
}

/* The first that failed, whichever side refused it. */
static void say_first(const struct loader *loader,
                      const struct dlht_put_report *report)
{
    const char *verb = loader->cli->verb;
    bool lines = loader->file->format == VECTORS_JSONL;
    const char *text = report->error.text;

    if (loader->bad && (!report->failed || loader->first_bad <= report->first))
        fprintf(stderr, "dlht-cli: %s: %s\n", verb, loader->why);
    else if (report->failed)
        fprintf(stderr, "dlht-cli: %s: %s %" PRIu64 ": %s\n", verb,
                lines ? "line" : "row", place_of(loader, report->first) + lines,
                report->error.code == DLHT_EUNKNOWN
                    ? "outcome unknown: it may have been stored"
                : *text ? text
                        : dlht_strerror(report->error.code));
    else if (report->error.code)
        fprintf(stderr, "dlht-cli: %s: %s\n", verb, text);
}

static int report_all(const struct loader *loader,
                      const struct dlht_put_report *report)
{
    double seconds = (double)(cli_now_ns() - loader->begin_ns) / 1e9;
    double rate = seconds > 0 ? (double)report->stored / seconds : 0;
    uint64_t failed = report->failed + loader->bad;
    int worst = cli_exit_code(report->error.code);

    if (loader->progress)
        fputs("\r\033[K", stderr);
    say_first(loader, report);
    if (loader->cli->set.json) {
        output_begin();
        output_u64("loaded", report->stored);
        output_f64("seconds", seconds);
        output_f64("rate", rate);
        output_u64("failed", failed);
        output_end();
    } else {
        printf("loaded %" PRIu64 " vectors in %.2f s (%.0f/s), %" PRIu64
               " failed\n",
               report->stored, seconds, rate, failed);
    }
    return loader->bad && worst < CLI_USAGE ? CLI_USAGE : worst;
}

int cmd_vector_load(struct cli *cli, const struct arguments *args)
{
    struct vectors_file file;
    struct loader loader = { .cli = cli, .file = &file };
    struct dlht_put_report report;
    struct dlht_options options;
    struct dlht *d = NULL;
    int rc = vector_options(cli, &options);

    if (rc == CLI_DONE)
        rc = vector_open(cli, args, &args->list[0],
                         options_number(args, "ids-from", 0), &file);
    if (rc != CLI_DONE)
        return rc;
    rc = cli_open(cli, &d);
    loader.skipped = malloc(SKIPPED_MAX * sizeof(*loader.skipped));
    if (rc == CLI_DONE && !loader.skipped)
        rc = cli_fail(cli, DLHT_ENOMEM, NULL);
    if (rc == CLI_DONE) {
        loader.progress = isatty(STDERR_FILENO) && !cli->set.json;
        loader.begin_ns = cli_now_ns();
        (void)dlht_vector_put_each(
            d, &options, next_vector, &loader,
            (uint32_t)options_number(args, "pipeline", 0), &report);
        rc = report_all(&loader, &report);
    }
    free(loader.skipped);
    vector_close(&file);
    return rc;
}
