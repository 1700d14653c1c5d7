/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/words.h - a line of the shell cut into words.
 *
 * Blanks separate; 'single quotes' keep everything; in "double quotes" a
 * backslash escapes " and \; outside quotes it escapes any character. \xHH is
 * the byte HH except in single quotes, so every key can be written. */

#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "dlht/dlht.h"

/* Bytes with a zero byte behind them that len does not count. */
struct word {
    const char *data;
    size_t len;
    bool quoted; /* some of it was: never an option */
};

struct words {
    struct word *list; /* owned */
    size_t count;
    char *bytes; /* owned; words point into it */
};

/* Cuts line. On failure *why says what is wrong, in words, and words is empty;
 * words_deinit is always allowed afterwards. */
bool words_split(const char *line, size_t len, struct words *words,
                 const char **why);

/* Words that point at the strings of argv. False: no memory. */
bool words_of_argv(char *const *argv, size_t count, struct words *words);

void words_deinit(struct words *words);

struct dlht_bytes word_bytes(const struct word *word);

#endif
