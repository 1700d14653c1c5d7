/* SPDX-License-Identifier: Apache-2.0 */

/* The shell of dlht-cli. */

#include "shell.h"

#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "verbs.h"
#include "words.h"

enum {
    HISTORY_MAX = 1000,
    PATH_LEN_MAX = 512
};

static const char *const built_in[] = { "help", "use", "exit", "quit" };

static volatile sig_atomic_t interrupted;

struct shell {
    struct cli *cli;
    char keyspace[256]; /* what `use` named */
    bool done;
    EditLine *edit;
    History *history;
};

static int run_help(const struct cli *cli, const struct words *words)
{
    size_t taken;
    const struct verb *verb;

    if (words->count == 1) {
        verbs_help();
        puts("  help [VERB], use KEYSPACE, exit");
        return CLI_DONE;
    }
    verb = verbs_find(words->list + 1, words->count - 1, &taken);
    if (!verb)
        return cli_usage(cli, "no such verb; help lists them");
    verbs_help_one(verb);
    return CLI_DONE;
}

static int run_use(struct shell *shell, const struct words *words)
{
    const struct word *name = &words->list[1];

    if (words->count != 2 || name->len == 0 ||
        name->len >= sizeof(shell->keyspace))
        return cli_usage(shell->cli, "the name of a keyspace is meant: use "
                                     "KEYSPACE");
    memcpy(shell->keyspace, name->data, name->len + 1);
    shell->cli->set.keyspace = shell->keyspace;
    return CLI_DONE;
}

static bool is(const struct words *words, const char *name)
{
    return strcmp(words->list[0].data, name) == 0;
}

static int run_words(struct shell *shell, const struct words *words)
{
    if (is(words, "help"))
        return run_help(shell->cli, words);
    if (is(words, "use"))
        return run_use(shell, words);
    if (is(words, "exit") || is(words, "quit")) {
        shell->done = true;
        return CLI_DONE;
    }
    return verbs_run(shell->cli, words->list, words->count);
}

static int run_line(struct shell *shell, const char *line, size_t len)
{
    size_t blanks = strspn(line, " \t");
    struct words words;
    const char *why;
    int rc = CLI_DONE;

    if (line[blanks] == '#')
        return CLI_DONE;
    if (!words_split(line, len, &words, &why))
        return cli_usage(shell->cli, "%s", why);
    if (words.count)
        rc = run_words(shell, &words);
    words_deinit(&words);
    return rc;
}

int shell_piped(struct cli *cli)
{
    struct shell shell = { .cli = cli };
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int worst = CLI_DONE;

    cli->in_shell = true;
    while (!shell.done && (len = getline(&line, &cap, stdin)) >= 0) {
        int rc = run_line(&shell, line, (size_t)len);
        worst = rc > worst ? rc : worst;
        if (!output_flush())
            break;
    }
    free(line);
    return worst;
}

static char *prompt(EditLine *edit)
{
    static char text[300];
    struct shell *shell = NULL;

    el_get(edit, EL_CLIENTDATA, &shell);
    snprintf(text, sizeof(text), "%s> ",
             shell && shell->cli->set.keyspace ? shell->cli->set.keyspace
                                               : "dlht");
    return text;
}

/* Adds what all candidates that begin with the typed text have in common. */
struct completion {
    const char *typed;
    size_t len;
    char common[64];
    size_t count;
};

static void offer(struct completion *c, const char *candidate)
{
    size_t same = 0;

    if (strncmp(candidate, c->typed, c->len) != 0)
        return;
    if (c->count++ == 0) {
        snprintf(c->common, sizeof(c->common), "%s", candidate);
        return;
    }
    while (c->common[same] && c->common[same] == candidate[same])
        same++;
    c->common[same] = 0;
}

/* Options of the verb that the line begins with. */
static void offer_options(struct completion *c, const struct verb *verb)
{
    static const char *const global[] = { "--help", "--json", "--keyspace",
                                          "--timeout" };
    char name[64];

    for (size_t i = 0; verb->options && verb->options[i].name; i++) {
        snprintf(name, sizeof(name), "--%s", verb->options[i].name);
        offer(c, name);
    }
    for (size_t i = 0; i < sizeof(global) / sizeof(*global); i++)
        offer(c, global[i]);
}

static void offer_verbs(struct completion *c)
{
    for (const struct verb *v = verbs_table; v->name; v++)
        offer(c, v->name);
    for (size_t i = 0; i < sizeof(built_in) / sizeof(*built_in); i++)
        offer(c, built_in[i]);
}

static void find_candidates(struct completion *c, const char *line,
                            const char *cursor)
{
    const char *word = cursor;
    struct words words;
    const char *why;
    size_t taken;
    const struct verb *verb = NULL;

    while (word > line && word[-1] != ' ')
        word--;
    if (words_split(line, (size_t)(word - line), &words, &why))
        verb = verbs_find(words.list, words.count, &taken);
    words_deinit(&words);
    if (verb) {
        c->typed = word;
        c->len = (size_t)(cursor - word);
        if (c->len && *word == '-')
            offer_options(c, verb);
    } else {
        c->typed = line; /* verbs may be two words */
        c->len = (size_t)(cursor - line);
        offer_verbs(c);
    }
}

static unsigned char complete(EditLine *edit, int key)
{
    const LineInfo *info = el_line(edit);
    struct completion c = { .count = 0 };
    size_t len;

    (void)key;
    find_candidates(&c, info->buffer, info->cursor);
    len = strlen(c.common);
    if (c.count == 0 || (c.count > 1 && len == c.len))
        return CC_REFRESH_BEEP;
    if (c.count == 1 && len + 1 < sizeof(c.common))
        memcpy(c.common + len, " ", 2);
    return el_insertstr(edit, c.common + c.len) == 0 ? CC_REFRESH : CC_ERROR;
}

/* $HOME/.dlht_history; empty if there is no home. */
static void history_path(char path[PATH_LEN_MAX])
{
    const char *home = getenv("HOME");
    int n = home ? snprintf(path, PATH_LEN_MAX, "%s/.dlht_history", home) : 0;

    if (n <= 0 || n >= PATH_LEN_MAX)
        path[0] = 0;
}

static bool edit_open(struct shell *shell, const char *path)
{
    HistEvent event;

    shell->edit = el_init("dlht-cli", stdin, stdout, stderr);
    shell->history = history_init();
    if (!shell->edit || !shell->history)
        return false;
    history(shell->history, &event, H_SETSIZE, HISTORY_MAX);
    history(shell->history, &event, H_SETUNIQUE, 1);
    if (*path)
        history(shell->history, &event, H_LOAD, path);
    el_set(shell->edit, EL_CLIENTDATA, shell);
    el_set(shell->edit, EL_EDITOR, "emacs");
    el_set(shell->edit, EL_SIGNAL, 1);
    el_set(shell->edit, EL_PROMPT, prompt);
    el_set(shell->edit, EL_HIST, history, shell->history);
    el_set(shell->edit, EL_ADDFN, "dlht-complete", "complete", complete);
    el_set(shell->edit, EL_BIND, "^I", "dlht-complete", NULL);
    el_source(shell->edit, NULL);
    return true;
}

static void edit_close(struct shell *shell)
{
    if (shell->history)
        history_end(shell->history);
    if (shell->edit)
        el_end(shell->edit);
}

static void note_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* A line, with Ctrl-C giving it up instead of ending the program (which it
 * does while a verb runs). NULL at the end of input. */
static const char *read_line(struct shell *shell, int *len)
{
    struct sigaction note;
    struct sigaction before;
    const char *line;

    memset(&note, 0, sizeof(note));
    note.sa_handler = note_interrupt;
    sigaction(SIGINT, &note, &before);
    do {
        if (interrupted) {
            putchar('\n');
            el_reset(shell->edit);
        }
        interrupted = 0;
        line = el_gets(shell->edit, len);
    } while (interrupted);
    sigaction(SIGINT, &before, NULL);
    return line && *len > 0 ? line : NULL;
}

static void remember(struct shell *shell, const char *line, const char *path)
{
    HistEvent event;

    if (line[strspn(line, " \t\n")] == 0)
        return;
    history(shell->history, &event, H_ENTER, line);
    if (*path)
        history(shell->history, &event, H_SAVE, path);
}

int shell_interactive(struct cli *cli)
{
    struct shell shell = { .cli = cli };
    char path[PATH_LEN_MAX];
    const char *line;
    int len;

    cli->in_shell = true;
    history_path(path);
    if (!edit_open(&shell, path)) {
        edit_close(&shell);
        return cli_fail(cli, DLHT_ENOMEM, "no line editing here");
    }
    printf("dlht-cli %s at %s; help lists the verbs\n", DLHT_VERSION_TEXT,
           cli->nodes);
    while (!shell.done && (line = read_line(&shell, &len))) {
        remember(&shell, line, path);
        run_line(&shell, line, (size_t)len);
        output_flush();
    }
    edit_close(&shell);
    return CLI_DONE;
}
