/* SPDX-License-Identifier: Apache-2.0 */

/* range and dump: walking a part of the keyspace page by page. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/rmi.h"
#include "output.h"

enum walk_format {
    WALK_LINES, /* keys only */
    WALK_TSV,
    WALK_JSON
};

/* A walk over [from, end), and what it met. */
struct walk {
    struct dlht_request request;
    uint8_t *from; /* owned; where request.key points */
    uint8_t *end;  /* owned; where request.end points */
    uint64_t left; /* of --limit */
    bool limited;
    bool keys_only;
    enum walk_format format;
    uint64_t records;
    uint64_t ambiguous; /* records that text cannot tell apart again */
    uint64_t pages;
    uint64_t parts;
    uint64_t peers;
    uint64_t hops;
};

static int compare(struct dlht_bytes a, struct dlht_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* Replaces *own and *at by a copy of bytes, which may point into *own. */
static bool keep(uint8_t **own, struct dlht_bytes *at, struct dlht_bytes bytes)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);

    if (!copy)
        return false;
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    free(*own);
    *own = copy;
    *at = (struct dlht_bytes){ copy, bytes.len };
    return true;
}

static bool keep_from(struct walk *walk, struct dlht_bytes from)
{
    return keep(&walk->from, &walk->request.key, from);
}

static bool keep_end(struct walk *walk, struct dlht_bytes end)
{
    walk->request.has_end = true;
    return keep(&walk->end, &walk->request.end, end);
}

static void walk_deinit(struct walk *walk)
{
    free(walk->from);
    free(walk->end);
}

/* Narrows the walk to keys that begin with prefix: those from prefix on and
 * before the prefix with its last byte one greater (bytes 0xff carry over). */
static bool narrow(struct walk *walk, struct dlht_bytes prefix)
{
    uint8_t *next;
    size_t len = prefix.len;
    bool done = true;

    if (compare(walk->request.key, prefix) < 0 && !keep_from(walk, prefix))
        return false;
    while (len && ((const uint8_t *)prefix.data)[len - 1] == 0xFF)
        len--;
    if (len == 0)
        return true;
    next = malloc(len);
    if (!next)
        return false;
    memcpy(next, prefix.data, len);
    next[len - 1]++;
    if (!walk->request.has_end ||
        compare((struct dlht_bytes){ next, len }, walk->request.end) < 0)
        done = keep_end(walk, (struct dlht_bytes){ next, len });
    free(next);
    return done;
}

static bool has_byte(struct dlht_bytes bytes, char byte)
{
    return bytes.len && memchr(bytes.data, byte, bytes.len);
}

static void print_record(struct walk *walk, const struct dlht_record *record)
{
    if (walk->format == WALK_JSON) {
        output_begin();
        output_bytes("key", record->key);
        if (!walk->keys_only)
            output_bytes("value", record->value);
        output_end();
        return;
    }
    if (has_byte(record->key, '\n') || has_byte(record->value, '\n') ||
        (!walk->keys_only && has_byte(record->key, '\t')))
        walk->ambiguous++;
    output_raw(record->key);
    if (!walk->keys_only) {
        putchar('\t');
        output_raw(record->value);
    }
    putchar('\n');
}

/* Where the next page begins; true if there is one. */
static int advance(struct cli *cli, struct walk *walk,
                   const struct dlht_result *result, bool *more)
{
    struct walk before = *walk;
    bool kept;

    *more = result->more && !(walk->limited && walk->left == 0);
    if (!*more)
        return CLI_DONE;
    if (before.request.reverse)
        kept = keep_end(walk, result->cursor);
    else
        kept = keep_from(walk, result->cursor);
    return kept ? CLI_DONE : cli_fail(cli, DLHT_ENOMEM, NULL);
}

static void tally(struct walk *walk, const struct dlht_result *result)
{
    walk->pages++;
    walk->parts += result->peers_asked;
    walk->hops += result->hops;
    if (result->peers_asked > walk->peers)
        walk->peers = result->peers_asked;
}

static int walk_records(struct cli *cli, struct walk *walk)
{
    bool more = true;

    while (more) {
        struct dlht_result result;
        int rc;
        walk->request.limit = walk->limited ? walk->left : 0;
        rc = cli_call(cli, &walk->request, &result);
        if (rc != CLI_DONE)
            return rc;
        for (size_t i = 0; i < result.record_count; i++)
            print_record(walk, &result.records[i]);
        walk->records += result.record_count;
        if (walk->limited)
            walk->left -= result.record_count < walk->left ? result.record_count
                                                           : walk->left;
        tally(walk, &result);
        if (ferror(stdout))
            return CLI_DONE; /* said at the end, once */
        rc = advance(cli, walk, &result, &more);
        if (rc != CLI_DONE)
            return rc;
    }
    return CLI_DONE;
}

static int walk_count(struct cli *cli, struct walk *walk)
{
    uint64_t count = 0;
    bool more = true;

    walk->request.op = DLHT_OP_COUNT;
    while (more) {
        struct dlht_result result;
        int rc = cli_call(cli, &walk->request, &result);
        if (rc != CLI_DONE)
            return rc;
        count += result.count;
        tally(walk, &result);
        rc = advance(cli, walk, &result, &more);
        if (rc != CLI_DONE)
            return rc;
    }
    if (walk->limited && count > walk->left)
        count = walk->left;
    if (cli->set.json) {
        output_begin();
        output_u64("count", count);
        output_end();
    } else {
        printf("%" PRIu64 "\n", count);
    }
    return CLI_DONE;
}

/* "A..B" in two positions, A not above B. */
static bool parse_positions(const struct word *word, uint64_t *a, uint64_t *b)
{
    const char *dots = memmem(word->data, word->len, "..", 2);
    size_t before = dots ? (size_t)(dots - word->data) : 0;

    return dots && options_parse_position(word->data, before, a) &&
           options_parse_position(dots + 2, word->len - before - 2, b) &&
           *a <= *b;
}

/* The key that stands at a position; *own is the caller's to free. */
static bool key_at(const struct dlht_model *model, uint64_t position,
                   void **own, struct dlht_bytes *key)
{
    *own = NULL;
    if (dlht_model_key_at(model, position, own, &key->len) != DLHT_OK)
        return false;
    key->data = *own;
    return true;
}

/* Narrows the walk to keys from the one that the model puts at a up to the one
 * at b, so that walks to and from one position meet and do not overlap. The
 * last position is after every key. */
static bool narrow_by(struct walk *walk, const struct dlht_model *model,
                      uint64_t a, uint64_t b)
{
    struct dlht_bytes from = { "", 0 };
    struct dlht_bytes to = { "", 0 };
    void *own_from = NULL;
    void *own_to = NULL;
    bool kept =
        key_at(model, a, &own_from, &from) && key_at(model, b, &own_to, &to);

    if (kept && a > 0 && compare(walk->request.key, from) < 0)
        kept = keep_from(walk, from);
    if (kept && b < UINT64_MAX &&
        (!walk->request.has_end || compare(to, walk->request.end) < 0))
        kept = keep_end(walk, to);
    free(own_from);
    free(own_to);
    return kept;
}

static int walk_positions(struct cli *cli, struct walk *walk,
                          const struct word *word)
{
    struct dlht_model *model = NULL;
    uint64_t a = 0;
    uint64_t b = 0;
    bool kept;
    int rc;

    if (!parse_positions(word, &a, &b))
        return cli_usage(cli,
                         "--positions '%s': A..B is meant, as in "
                         "0x0..0xff, 7..9 or 25%%..37.5%%",
                         word->data);
    rc = cmd_model_fetch(cli, &model);
    if (rc != CLI_DONE)
        return rc;
    kept = narrow_by(walk, model, a, b);
    dlht_model_free(model);
    return kept ? CLI_DONE : cli_fail(cli, DLHT_ENOMEM, NULL);
}

/* One question to the model, which knows all the keyspace. */
static int walk_estimate(struct cli *cli, struct walk *walk)
{
    struct dlht_result result;
    int rc;

    walk->request.op = DLHT_OP_COUNT;
    walk->request.estimate = true;
    rc = cli_call(cli, &walk->request, &result);
    if (rc != CLI_DONE)
        return rc;
    tally(walk, &result);
    if (cli->set.json) {
        output_begin();
        output_u64("count", result.count);
        output_u64("error", result.version);
        output_end();
    } else {
        printf("%" PRIu64 " +- %" PRIu64 "\n", result.count, result.version);
    }
    return CLI_DONE;
}

/* A request and its answer are a message each, and so is each forward of them.
 */
static void print_stats(const struct walk *walk)
{
    uint64_t messages = 2 * (walk->pages + walk->hops);

    fflush(stdout);
    fprintf(stderr,
            "parts %" PRIu64 ", peers asked %" PRIu64 ", messages %" PRIu64
            ", hops %" PRIu64 ", pages %" PRIu64 ", records %" PRIu64 "\n",
            walk->parts, walk->peers, messages, walk->hops, walk->pages,
            walk->records);
}

static int walk_begin(struct cli *cli, const struct arguments *args,
                      struct walk *walk)
{
    const struct option_value *prefix = options_get(args, "prefix");
    bool kept = true;

    memset(walk, 0, sizeof(*walk));
    walk->request = cli_request(cli, DLHT_OP_RANGE);
    walk->format = cli->set.json ? WALK_JSON : WALK_TSV;
    if (args->count > 0)
        kept = keep_from(walk, word_bytes(&args->list[0]));
    if (kept && args->count > 1)
        kept = keep_end(walk, word_bytes(&args->list[1]));
    if (kept && prefix->given)
        kept = narrow(walk, word_bytes(&prefix->word));
    return kept ? CLI_DONE : cli_fail(cli, DLHT_ENOMEM, NULL);
}

int cmd_range(struct cli *cli, const struct arguments *args)
{
    struct walk walk;
    int rc;

    if (options_has(args, "estimate") && !options_has(args, "count"))
        return cli_usage(cli, "--estimate goes with --count");
    if (options_has(args, "estimate") && options_has(args, "limit"))
        return cli_usage(cli, "--estimate is of the whole range: leave out "
                              "--limit");
    rc = walk_begin(cli, args, &walk);
    if (rc == CLI_DONE && options_has(args, "positions"))
        rc = walk_positions(cli, &walk, &options_get(args, "positions")->word);
    walk.limited = options_has(args, "limit");
    walk.left = options_number(args, "limit", 0);
    walk.keys_only = options_has(args, "keys");
    walk.request.keys_only = walk.keys_only;
    walk.request.reverse = options_has(args, "reverse");
    walk.request.stale = options_has(args, "stale");
    if (rc == CLI_DONE && options_has(args, "estimate"))
        rc = walk_estimate(cli, &walk);
    else if (rc == CLI_DONE && options_has(args, "count"))
        rc = walk_count(cli, &walk);
    else if (rc == CLI_DONE)
        rc = walk_records(cli, &walk);
    if (rc == CLI_DONE && options_has(args, "stats"))
        print_stats(&walk);
    walk_deinit(&walk);
    return rc;
}

int cmd_dump(struct cli *cli, const struct arguments *args)
{
    static const enum walk_format formats[] = { WALK_LINES, WALK_TSV,
                                                WALK_JSON };
    struct walk walk;
    int rc = walk_begin(cli, args, &walk);

    if (options_has(args, "format"))
        walk.format = formats[options_get(args, "format")->number];
    walk.keys_only = walk.format == WALK_LINES;
    walk.request.keys_only = walk.keys_only;
    if (rc == CLI_DONE)
        rc = walk_records(cli, &walk);
    if (rc == CLI_DONE && walk.ambiguous) {
        fflush(stdout);
        fprintf(stderr,
                "dlht-cli: dump: %" PRIu64 " records hold tabs or newlines, "
                "which this format cannot tell from its own; use --format "
                "jsonl\n",
                walk.ambiguous);
    }
    walk_deinit(&walk);
    return rc;
}
