/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-cli: asks a cluster, one command or many. */

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"
#include "shell.h"
#include "verbs.h"
#include "words.h"

static void help(void)
{
    puts("usage: dlht-cli [options] VERB ...\n"
         "       dlht-cli [options]              a shell; from a pipe, a "
         "command a line\n\n"
         "  -n, --node HOST:PORT[,HOST:PORT...]  whom to ask ($DLHT_NODE, "
         "then 127.0.0.1:9000),\n"
         "                                       or unix:PATH\n"
         "  -k, --keyspace NAME                  (default)\n"
         "  --json                               an object a line\n"
         "  --timeout MS                         of each request (5000)\n"
         "  --help, --version                    VERB --help tells more\n");
    verbs_help();
    puts("\nExit codes: 0 done; 1 no such key, or a condition not met; 2 "
         "usage; 3 no peer\nreached or time ran out; 4 refused by the "
         "cluster.");
}

static bool is_node_option(const struct word *word, size_t *after_equals)
{
    *after_equals = 0;
    if (strncmp(word->data, "--node=", 7) == 0)
        *after_equals = 7;
    return *after_equals || strcmp(word->data, "-n") == 0 ||
           strcmp(word->data, "--node") == 0;
}

/* Takes the options before the verb; *at is left on the verb. */
static int take_options(struct cli *cli, const struct words *words, size_t *at)
{
    while (*at < words->count) {
        const struct word *word = &words->list[*at];
        const struct word *next =
            *at + 1 < words->count ? &words->list[*at + 1] : NULL;
        size_t taken = 0;
        size_t after_equals;
        int rc;
        if (is_node_option(word, &after_equals)) {
            if (!after_equals && (!next || next->len == 0))
                return cli_usage(cli, "%s needs HOST:PORT", word->data);
            cli->nodes = after_equals ? word->data + after_equals : next->data;
            *at += after_equals ? 1 : 2;
            continue;
        }
        rc = options_global(cli, word, next, &taken);
        if (rc != CLI_DONE)
            return rc;
        if (!taken && word->data[0] == '-')
            return cli_usage(cli, "unknown option %s; --help lists them",
                             word->data);
        if (!taken)
            break;
        *at += taken;
    }
    return CLI_DONE;
}

static bool asks(const struct words *words, const char *option)
{
    return words->count > 0 && strcmp(words->list[0].data, option) == 0;
}

static int run(struct cli *cli, const struct words *words)
{
    size_t at = 0;
    int rc;

    if (asks(words, "--help") || asks(words, "-h")) {
        help();
        return CLI_DONE;
    }
    if (asks(words, "--version")) {
        printf("dlht-cli %s\n", DLHT_VERSION_TEXT);
        return CLI_DONE;
    }
    rc = take_options(cli, words, &at);
    if (rc != CLI_DONE)
        return rc;
    if (at < words->count)
        return verbs_run(cli, words->list + at, words->count - at);
    return isatty(STDIN_FILENO) ? shell_interactive(cli) : shell_piped(cli);
}

int main(int argc, char **argv)
{
    const char *nodes = getenv("DLHT_NODE");
    struct cli cli = { .nodes = nodes && *nodes ? nodes : "127.0.0.1:9000" };
    struct words words;
    int rc;

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (!words_of_argv(argv + 1, argc > 0 ? (size_t)argc - 1 : 0, &words))
        return cli_fail(&cli, DLHT_ENOMEM, NULL);
    rc = run(&cli, &words);
    cli_close(&cli);
    words_deinit(&words);
    if (!output_flush() && errno != EPIPE) {
        fprintf(stderr, "dlht-cli: standard output cannot be written: %s\n",
                strerror(errno));
        rc = rc ? rc : CLI_REFUSED;
    }
    return rc;
}
