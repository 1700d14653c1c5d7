/* SPDX-License-Identifier: Apache-2.0 */

/* The verbs on single keys: put, get, del, cas, mget; on several at once,
 * cas-batch; and ping. */

#include "cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

static void say_ok(const struct cli *cli, uint64_t version)
{
    if (!cli->set.json) {
        puts("OK");
        return;
    }
    output_begin();
    output_flag("ok", true);
    if (version)
        output_u64("version", version);
    output_end();
}

/* Everything in file, at most one byte more than a value may have. *data is
 * the caller's to free. */
static int read_value(const struct cli *cli, FILE *file, const char *name,
                      void **data, size_t *len)
{
    size_t cap = CLI_VALUE_MAX + 1;
    char *bytes = malloc(cap);

    if (!bytes)
        return cli_fail(cli, DLHT_ENOMEM, NULL);
    *len = fread(bytes, 1, cap, file);
    if (ferror(file)) {
        free(bytes);
        return cli_usage(cli, "%s cannot be read: %s", name, strerror(errno));
    }
    *data = bytes;
    return CLI_DONE;
}

static int read_value_file(const struct cli *cli, const char *name, void **data,
                           size_t *len)
{
    FILE *file = fopen(name, "rb");
    int rc;

    if (!file)
        return cli_usage(cli, "%s cannot be opened: %s", name, strerror(errno));
    rc = read_value(cli, file, name, data, len);
    fclose(file);
    return rc;
}

/* Where the value of a put comes from. */
static int put_value(struct cli *cli, const struct arguments *args, void **own,
                     struct dlht_bytes *value)
{
    const struct option_value *file = options_get(args, "file");
    const struct word *word = args->count > 1 ? &args->list[1] : NULL;
    int rc = CLI_DONE;

    if (file->given ? word != NULL : word == NULL)
        return cli_usage(cli, "one value is meant: KEY VALUE, KEY --file FILE "
                              "or KEY -");
    if (file->given) {
        rc = read_value_file(cli, file->word.data, own, &value->len);
        value->data = *own;
    } else if (!word->quoted && strcmp(word->data, "-") == 0) {
        if (cli->in_shell)
            return cli_usage(cli, "standard input holds the commands here; "
                                  "use --file, or \"-\" for a dash");
        rc = read_value(cli, stdin, "standard input", own, &value->len);
        value->data = *own;
    } else {
        *value = word_bytes(word);
    }
    return rc == CLI_DONE ? cli_check_value(cli, value->len) : rc;
}

int cmd_put(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_PUT);
    struct dlht_result result;
    void *own = NULL;
    int rc;

    request.key = word_bytes(&args->list[0]);
    rc = cli_check_key(cli, request.key);
    if (rc == CLI_DONE)
        rc = put_value(cli, args, &own, &request.value);
    if (rc == CLI_DONE)
        rc = cli_call(cli, &request, &result);
    if (rc == CLI_DONE)
        say_ok(cli, result.version);
    free(own);
    return rc;
}

int cmd_get(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_GET);
    struct dlht_result result;
    int rc;

    request.key = word_bytes(&args->list[0]);
    request.stale = options_has(args, "stale");
    rc = cli_check_key(cli, request.key);
    if (rc == CLI_DONE)
        rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        output_begin();
        output_bytes("key", request.key);
        output_bytes("value", result.value);
        output_u64("version", result.version);
        output_end();
        return CLI_DONE;
    }
    if (options_has(args, "version"))
        printf("%" PRIu64 "\t", result.version);
    output_raw(result.value);
    if (!options_has(args, "raw"))
        putchar('\n');
    return CLI_DONE;
}

int cmd_del(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_DEL);
    struct dlht_result result;
    int rc;

    request.key = word_bytes(&args->list[0]);
    rc = cli_check_key(cli, request.key);
    if (rc == CLI_DONE)
        rc = cli_call(cli, &request, &result);
    if (rc == CLI_DONE)
        say_ok(cli, 0);
    return rc;
}

static int say_mismatch(const struct cli *cli, uint64_t version)
{
    if (!cli->set.json) {
        printf("%" PRIu64 "\n", version);
        return cli_fail(cli, DLHT_EMISMATCH,
                        version ? "it is printed" : "there is no such key");
    }
    output_begin();
    output_text("error", dlht_strerror(DLHT_EMISMATCH));
    output_i64("code", DLHT_EMISMATCH);
    output_text("name", dlht_errname(DLHT_EMISMATCH));
    output_text("outcome", "failed");
    output_u64("version", version);
    output_end();
    return CLI_NO;
}

int cmd_cas(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_CAS);
    struct dlht_result result;
    struct dlht *d = NULL;
    int rc;

    request.key = word_bytes(&args->list[0]);
    request.value = word_bytes(&args->list[2]);
    rc = cli_check_key(cli, request.key);
    if (rc == CLI_DONE)
        rc = cli_check_value(cli, request.value.len);
    if (rc != CLI_DONE)
        return rc;
    if (!options_parse_number(args->list[1].data, &request.version))
        return cli_usage(cli,
                         "VERSION '%s': the number that get --version prints "
                         "is meant, 0 for an absent key",
                         args->list[1].data);
    rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    rc = dlht_call(d, &request, &result);
    if (rc == DLHT_EMISMATCH)
        return say_mismatch(cli, result.version);
    if (rc != DLHT_OK)
        return cli_fail(cli, rc, result.text);
    say_ok(cli, result.version);
    return CLI_DONE;
}

/* One `KEY VERSION put VALUE` or `KEY VERSION del`; how many words it took. */
static int read_change(struct cli *cli, const struct word *words, size_t left,
                       struct dlht_record *out, size_t *taken)
{
    if (left < 3)
        return cli_usage(cli,
                         "'%s': KEY VERSION put VALUE, or KEY VERSION "
                         "del, is meant",
                         words[0].data);
    *out =
        (struct dlht_record){ .key = word_bytes(&words[0]),
                              .any_version = strcmp(words[1].data, "any") == 0,
                              .remove = strcmp(words[2].data, "del") == 0 };
    if (!out->any_version &&
        !options_parse_number(words[1].data, &out->version))
        return cli_usage(cli,
                         "VERSION '%s': the number that get --version prints "
                         "is meant, 0 for an absent key, or any",
                         words[1].data);
    if (!out->remove && (strcmp(words[2].data, "put") != 0 || left < 4))
        return cli_usage(cli, "'%s' after %s: put VALUE, or del, is meant",
                         words[2].data, words[0].data);
    if (!out->remove)
        out->value = word_bytes(&words[3]);
    *taken = out->remove ? 3 : 4;
    int rc = cli_check_key(cli, out->key);
    return rc == CLI_DONE ? cli_check_value(cli, out->value.len) : rc;
}

static int say_which(struct cli *cli, const struct dlht_record *record,
                     uint64_t version)
{
    if (cli->set.json) {
        output_begin();
        output_text("error", dlht_strerror(DLHT_EMISMATCH));
        output_i64("code", DLHT_EMISMATCH);
        output_text("name", dlht_errname(DLHT_EMISMATCH));
        output_text("outcome", "failed");
        output_bytes("key", record->key);
        output_u64("version", version);
        output_end();
        return CLI_NO;
    }
    output_raw(record->key);
    printf("\t%" PRIu64 "\n", version);
    return cli_fail(cli, DLHT_EMISMATCH,
                    version ? "nothing was changed; where it is now is printed"
                            : "nothing was changed; there is no such key");
}

int cmd_cas_batch(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_CAS_BATCH);
    struct dlht_record *records = calloc(args->count, sizeof *records);
    struct dlht_result result;
    struct dlht *d = NULL;
    int rc = CLI_DONE;

    if (!records)
        return cli_fail(cli, DLHT_ENOMEM, NULL);
    for (size_t at = 0, taken = 0; rc == CLI_DONE && at < args->count;
         at += taken)
        rc = read_change(cli, args->list + at, args->count - at,
                         &records[request.record_count++], &taken);
    request.records = records;
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc != CLI_DONE) {
        free(records);
        return rc;
    }
    rc = dlht_call(d, &request, &result);
    if (rc == DLHT_EMISMATCH && result.count < request.record_count)
        rc = say_which(cli, &records[result.count], result.version);
    else if (rc != DLHT_OK)
        rc = cli_fail(cli, rc, result.text);
    else
        say_ok(cli, result.version);
    free(records);
    return rc;
}

static void print_record(const struct cli *cli,
                         const struct dlht_record *record)
{
    if (cli->set.json) {
        output_begin();
        output_bytes("key", record->key);
        output_bytes("value", record->value);
        output_u64("version", record->version);
        output_end();
        return;
    }
    output_raw(record->key);
    putchar('\t');
    output_raw(record->value);
    putchar('\n');
}

enum {
    MGET_KEYS_MAX = 512 /* in one request */
};

/* Asks for count keys and adds those found to *found. */
static int mget_some(struct cli *cli, const struct arguments *args,
                     const struct dlht_record *keys, size_t count,
                     size_t *found)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_MGET);
    struct dlht_result result;
    int rc;

    request.records = keys;
    request.record_count = count;
    request.stale = options_has(args, "stale");
    rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    for (size_t i = 0; i < result.record_count; i++)
        print_record(cli, &result.records[i]);
    *found += result.record_count;
    return CLI_DONE;
}

int cmd_mget(struct cli *cli, const struct arguments *args)
{
    struct dlht_record *keys = calloc(args->count, sizeof(*keys));
    size_t found = 0;
    int rc = CLI_DONE;

    if (!keys)
        return cli_fail(cli, DLHT_ENOMEM, NULL);
    for (size_t i = 0; rc == CLI_DONE && i < args->count; i++) {
        keys[i].key = word_bytes(&args->list[i]);
        rc = cli_check_key(cli, keys[i].key);
    }
    for (size_t i = 0; rc == CLI_DONE && i < args->count; i += MGET_KEYS_MAX) {
        size_t left = args->count - i;
        rc = mget_some(cli, args, keys + i,
                       left < MGET_KEYS_MAX ? left : MGET_KEYS_MAX, &found);
    }
    if (rc == CLI_DONE && found < args->count)
        rc = CLI_NO;
    free(keys);
    return rc;
}

int cmd_ping(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_PING);
    struct dlht_result result;
    struct dlht *d = NULL;
    int rc = cli_open(cli, &d);
    uint64_t begin_ns = cli_now_ns();
    double us;

    (void)args;
    if (rc == CLI_DONE)
        rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    us = (double)(cli_now_ns() - begin_ns) / 1e3;
    if (cli->set.json) {
        output_begin();
        output_flag("ok", true);
        output_f64("us", us);
        output_end();
    } else {
        printf("OK %.0f us\n", us);
    }
    return CLI_DONE;
}
