/* SPDX-License-Identifier: Apache-2.0 */

/* cache set, get, del, ttl, touch, flush, stats, signature: a keyspace that was
 * created volatile and with a bound. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cells.h"
#include "dlht/cache.h"
#include "document.h"
#include "output.h"

enum {
    JSON_MAX = 16 << 20
};

static int say_ok(const struct cli *cli, uint64_t version)
{
    if (!cli->set.json) {
        puts("OK");
        return CLI_DONE;
    }
    output_begin();
    output_flag("ok", true);
    if (version)
        output_u64("version", version);
    output_end();
    return CLI_DONE;
}

static int say_differs(const struct cli *cli, const char *why)
{
    if (cli->set.json) {
        output_begin();
        output_flag("ok", false);
        output_end();
    } else {
        fprintf(stderr, "dlht-cli: cache set: %s\n", why);
    }
    return CLI_NO;
}

int cmd_cache_set(struct cli *cli, const struct arguments *args)
{
    bool if_absent = options_has(args, "if-absent");
    bool negative = options_has(args, "negative");
    bool leased = options_has(args, "token");
    struct dlht_request request =
        cli_request(cli, if_absent ? DLHT_OP_CAS : DLHT_OP_PUT);
    struct dlht_result result;
    struct dlht *d = NULL;
    int rc;

    if (negative ? args->count != 1 : args->count != 2)
        return cli_usage(cli, "KEY VALUE is meant, or KEY --negative");
    if (if_absent + negative + leased > 1)
        return cli_usage(cli, "one of --if-absent, --negative and --token is "
                              "meant");
    if (options_has(args, "ttl") && options_has(args, "keep-ttl"))
        return cli_usage(cli, "one of --ttl and --keep-ttl is meant");
    request.key = word_bytes(&args->list[0]);
    if (!negative)
        request.value = word_bytes(&args->list[1]);
    request.ttl_ms = options_number(args, "ttl", 0);
    request.cost_us = (uint32_t)options_number(args, "cost", 0);
    request.keep_ttl = options_has(args, "keep-ttl");
    request.negative = negative;
    request.leased = leased;
    request.version = options_number(args, "token", 0);
    rc = cli_check_key(cli, request.key);
    if (rc == CLI_DONE)
        rc = cli_check_value(cli, request.value.len);
    if (rc != CLI_DONE)
        return rc;
    rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    rc = dlht_call(d, &request, &result);
    if (rc == DLHT_EMISMATCH && if_absent)
        return say_differs(cli, "it is there already");
    if (rc == DLHT_ESTALE && leased)
        return say_differs(cli, "the token is not good any more");
    return rc == DLHT_OK ? say_ok(cli, result.version)
                         : cli_fail(cli, rc, result.text);
}

static const char *answer_name(uint64_t answer)
{
    static const char *const names[] = { "hit",  "negative", "fill",
                                         "wait", "refresh",  "stale" };

    return answer < 6 ? names[answer] : "unknown";
}

static bool has_value(uint64_t answer)
{
    return answer == DLHT_CACHE_HIT || answer == DLHT_CACHE_REFRESH ||
           answer == DLHT_CACHE_STALE;
}

static void print_ttl(uint64_t ttl_ms)
{
    if (ttl_ms)
        output_u64("ttl_ms", ttl_ms);
}

/* A token is of who asked: so it is said beside the value, on standard error. */
static int print_lease(const struct cli *cli, const struct dlht_result *result)
{
    bool there = has_value(result->count);

    if (cli->set.json) {
        output_begin();
        output_text("answer", answer_name(result->count));
        if (there)
            output_bytes("value", result->value);
        if (result->version)
            output_u64("token", result->version);
        print_ttl(result->ttl_ms);
        output_end();
        return there ? CLI_DONE : CLI_NO;
    }
    if (there) {
        output_raw(result->value);
        putchar('\n');
    }
    fflush(stdout);
    if (result->version)
        fprintf(stderr, "%s, token %" PRIu64 "\n", answer_name(result->count),
                result->version);
    else if (result->count != DLHT_CACHE_HIT)
        fprintf(stderr, "%s\n", answer_name(result->count));
    return there ? CLI_DONE : CLI_NO;
}

int cmd_cache_get(struct cli *cli, const struct arguments *args)
{
    bool lease = options_has(args, "lease");
    struct dlht_request request =
        cli_request(cli, lease ? DLHT_OP_CACHE_LEASE : DLHT_OP_GET);
    struct dlht_result result;
    int rc;

    if (lease && options_has(args, "peek"))
        return cli_usage(cli, "one of --lease and --peek is meant");
    request.key = word_bytes(&args->list[0]);
    request.peek = options_has(args, "peek");
    rc = cli_check_key(cli, request.key);
    if (rc == CLI_DONE)
        rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    if (lease)
        return print_lease(cli, &result);
    if (!cli->set.json) {
        output_raw(result.value);
        putchar('\n');
        return CLI_DONE;
    }
    output_begin();
    output_bytes("value", result.value);
    output_u64("version", result.version);
    print_ttl(result.ttl_ms);
    output_end();
    return CLI_DONE;
}

static int on_key(struct cli *cli, struct dlht_request *request,
                  const struct arguments *args)
{
    struct dlht_result result;
    int rc;

    request->key = word_bytes(&args->list[0]);
    rc = cli_check_key(cli, request->key);
    if (rc == CLI_DONE)
        rc = cli_call(cli, request, &result);
    return rc == CLI_DONE ? say_ok(cli, 0) : rc;
}

int cmd_cache_del(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_DEL);

    return on_key(cli, &request, args);
}

int cmd_cache_ttl(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_GET);
    struct dlht_result result;
    int rc;

    request.key = word_bytes(&args->list[0]);
    request.peek = true;
    rc = cli_check_key(cli, request.key);
    if (rc == CLI_DONE)
        rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        output_begin();
        output_flag("ends", result.ttl_ms > 0);
        print_ttl(result.ttl_ms);
        output_end();
    } else if (result.ttl_ms) {
        printf("%" PRIu64 "\n", result.ttl_ms);
    } else {
        puts("never");
    }
    return CLI_DONE;
}

/* "never", or milliseconds. */
static bool read_ttl(const struct word *word, uint64_t *ttl_ms)
{
    char *end;

    *ttl_ms = 0;
    if (strcmp(word->data, "never") == 0)
        return true;
    if (word->len == 0 || word->len > 15 || word->data[0] < '0' ||
        word->data[0] > '9')
        return false;
    *ttl_ms = strtoull(word->data, &end, 10);
    return *ttl_ms > 0 && *end == 0 && (size_t)(end - word->data) == word->len;
}

int cmd_cache_touch(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_CACHE_EXPIRE);

    if (!read_ttl(&args->list[1], &request.ttl_ms))
        return cli_usage(cli, "TTL is milliseconds from 1 up, or never");
    return on_key(cli, &request, args);
}

int cmd_cache_flush(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_CACHE_FLUSH);
    struct dlht_result result;
    int rc = cli_call(cli, &request, &result);

    (void)args;
    return rc == CLI_DONE ? say_ok(cli, 0) : rc;
}

/* A node may say anything. */
static const char *text_of(const msgpack_object *o, char *text, size_t size)
{
    if (o->type != MSGPACK_OBJECT_STR)
        return "-";
    return output_printable(
        (struct dlht_bytes){ o->via.str.ptr, o->via.str.size }, 64, text, size);
}

static void print_stats(const msgpack_object *map)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        char text[300];
        printf("%-15s ", text_of(&pair->key, text, sizeof(text)));
        if (pair->val.type == MSGPACK_OBJECT_POSITIVE_INTEGER)
            printf("%" PRIu64 "\n", pair->val.via.u64);
        else
            puts(text_of(&pair->val, text, sizeof(text)));
    }
}

int cmd_cache_stats(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_CACHE_STATS);
    struct dlht_result result;
    struct document document;
    int rc = cells_call(cli, &request, &result, &document);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json)
        document_print_json(document_root(&document));
    else if (document_root(&document)->type == MSGPACK_OBJECT_MAP)
        print_stats(document_root(&document));
    document_close(&document);
    return CLI_DONE;
}

int cmd_cache_signature(struct cli *cli, const struct arguments *args)
{
    const struct word *word = &args->list[0];
    char signature[DLHT_SIGNATURE_TEXT];
    struct dlht_error error;
    char *own = NULL;
    const char *json = word->data;
    size_t len = word->len;
    int rc;

    if (!word->quoted && strcmp(word->data, "-") == 0) {
        if (cli->in_shell)
            return cli_usage(cli, "standard input holds the commands here");
        own = malloc(JSON_MAX);
        if (!own)
            return cli_fail(cli, DLHT_ENOMEM, NULL);
        len = fread(own, 1, JSON_MAX, stdin);
        json = own;
        if (ferror(stdin) || !feof(stdin)) {
            free(own);
            return cli_usage(cli, "standard input cannot be read, or has 16 "
                                  "MiB and more");
        }
    }
    rc = dlht_signature(json, len, signature, &error);
    free(own);
    if (rc != DLHT_OK)
        return cli_usage(cli, "%s", error.text);
    if (!cli->set.json) {
        puts(signature);
        return CLI_DONE;
    }
    output_begin();
    output_text("signature", signature);
    output_end();
    return CLI_DONE;
}
