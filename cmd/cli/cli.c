/* SPDX-License-Identifier: Apache-2.0 */

/* The connection and the errors of dlht-cli. */

#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "output.h"

int cli_exit_code(int status)
{
    switch (status) {
    case DLHT_OK:
        return CLI_DONE;
    case DLHT_ENOTFOUND:
    case DLHT_EMISMATCH:
        return CLI_NO;
    case DLHT_EINVAL:
    case DLHT_ETOOBIG:
        return CLI_USAGE;
    case DLHT_EUNAVAILABLE:
    case DLHT_EUNKNOWN:
    case DLHT_ETIMEOUT:
    case DLHT_ECLOSED:
        return CLI_UNREACHED;
    default:
        return CLI_REFUSED;
    }
}

static void say(const struct cli *cli, int status, const char *text)
{
    if (cli->set.json) {
        output_begin();
        output_text("error", text);
        output_i64("code", status);
        output_text("name", dlht_errname(status));
        output_text("outcome", status == DLHT_EUNKNOWN ? "unknown" : "failed");
        output_end();
        return;
    }
    fflush(stdout);
    fprintf(stderr, "dlht-cli: %s%s%s\n", cli->verb ? cli->verb : "",
            cli->verb ? ": " : "", text);
}

int cli_fail(const struct cli *cli, int status, const char *detail)
{
    char text[DLHT_ERROR_TEXT_MAX + 128];
    const char *words = dlht_strerror(status);

    if (status == DLHT_EUNKNOWN)
        words = "outcome unknown: it may or may not have taken effect";
    if (detail && *detail && strcmp(detail, words) != 0)
        snprintf(text, sizeof(text), "%s (%s)", words, detail);
    else
        snprintf(text, sizeof(text), "%s", words);
    say(cli, status, text);
    return cli_exit_code(status);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    say(cli, DLHT_EINVAL, text);
    return CLI_USAGE;
}

int cli_open(struct cli *cli, struct dlht **d)
{
    struct dlht_error error = { DLHT_OK, "" };

    if (!cli->d) {
        uint32_t timeout =
            cli->set.timeout_ms ? cli->set.timeout_ms : CLI_TIMEOUT_MS;
        int rc = dlht_connect(cli->nodes, timeout, &cli->d, &error);
        if (rc == DLHT_EINVAL)
            return cli_usage(cli,
                             "'%s' is no HOST:PORT[,HOST:PORT...] or "
                             "unix:PATH",
                             cli->nodes);
        if (rc != DLHT_OK) {
            char text[DLHT_ERROR_TEXT_MAX + 128];
            snprintf(text, sizeof(text), "%s: %s; is a node running there?",
                     cli->nodes, *error.text ? error.text : dlht_strerror(rc));
            say(cli, rc, text);
            return cli_exit_code(rc);
        }
    }
    *d = cli->d;
    return CLI_DONE;
}

void cli_close(struct cli *cli)
{
    dlht_close(cli->d);
    cli->d = NULL;
}

struct dlht_request cli_request(const struct cli *cli, enum dlht_op op)
{
    struct dlht_request request;

    memset(&request, 0, sizeof(request));
    request.op = op;
    request.keyspace = cli->set.keyspace;
    request.timeout_ms = cli->set.timeout_ms;
    return request;
}

int cli_call(struct cli *cli, const struct dlht_request *request,
             struct dlht_result *result)
{
    struct dlht *d = NULL;
    int rc = cli_open(cli, &d);

    memset(result, 0, sizeof(*result));
    if (rc != CLI_DONE)
        return rc;
    rc = dlht_call(d, request, result);
    if (rc != DLHT_OK)
        return cli_fail(cli, rc, result->text);
    return CLI_DONE;
}

int cli_check_key(const struct cli *cli, struct dlht_bytes key)
{
    if (key.len == 0)
        return cli_usage(cli, "the key is empty; keys are 1 byte to 64 KiB");
    if (key.len > CLI_KEY_MAX)
        return cli_usage(cli, "the key is %zu bytes; keys are 1 byte to 64 KiB",
                         key.len);
    return CLI_DONE;
}

int cli_check_value(const struct cli *cli, size_t len)
{
    if (len > CLI_VALUE_MAX)
        return cli_usage(cli,
                         "the value is over 16 MiB (%zu bytes); what is "
                         "larger belongs to artifacts",
                         len);
    return CLI_DONE;
}

uint64_t cli_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
