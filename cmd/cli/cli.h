/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/cli.h - what the verbs of dlht-cli share: settings, one connection
 * made at first use, and one way to say that something went wrong.
 *
 * A verb prints its answer on standard output and returns an exit code. Errors
 * are one line on standard error; with --json they are an object on standard
 * output, so that a reader of answers sees one for each request. */

#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dlht/dlht.h"

/* Exit codes; scripts rely on them. */
enum {
    CLI_DONE = 0,
    CLI_NO = 1,        /* no such key, or a condition not met */
    CLI_USAGE = 2,     /* the command is wrong */
    CLI_UNREACHED = 3, /* no peer, or time ran out: perhaps outcome unknown */
    CLI_REFUSED = 4    /* the cluster said no */
};

/* The limits of SPEC; checked here so that the error names the remedy. */
enum {
    CLI_KEY_MAX = 64 << 10,
    CLI_VALUE_MAX = 16 << 20,
    CLI_TIMEOUT_MS = 5000,
    CLI_TIMEOUT_MS_MAX = 60000
};

/* What options before or behind a verb set. */
struct cli_settings {
    const char *keyspace; /* NULL: `default` */
    bool json;
    uint32_t timeout_ms; /* 0: not given */
};

struct cli {
    const char *nodes; /* HOST:PORT[,HOST:PORT...] */
    struct cli_settings set;
    const char *verb; /* the running one, for messages */
    bool in_shell;    /* standard input holds commands */
    struct dlht *d;   /* NULL until cli_open */
};

/* The connection, made at first use. CLI_DONE, or an exit code with the error
 * already said. */
int cli_open(struct cli *cli, struct dlht **d);

void cli_close(struct cli *cli);

/* A request with what the settings say filled in. */
struct dlht_request cli_request(const struct cli *cli, enum dlht_op op);

/* Connects if need be, sends, waits. The status of the result is DLHT_OK if
 * CLI_DONE comes back; else the error has been said. */
int cli_call(struct cli *cli, const struct dlht_request *request,
             struct dlht_result *result);

/* Exit code of a status of dlht/err.h. */
int cli_exit_code(int status);

/* Says why a request failed; detail may be NULL or empty. Returns the exit
 * code. */
int cli_fail(const struct cli *cli, int status, const char *detail);

/* Says what is wrong with the command and what would be right. CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage(const struct cli *cli,
                                                    const char *format, ...);

/* CLI_DONE, or CLI_USAGE with the error said: 1 byte to 64 KiB. */
int cli_check_key(const struct cli *cli, struct dlht_bytes key);

/* Up to 16 MiB. */
int cli_check_value(const struct cli *cli, size_t len);

/* Monotonic. */
uint64_t cli_now_ns(void);

#endif
