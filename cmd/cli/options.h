/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/options.h - the words behind a verb, sorted into options and
 * arguments by the verb's own table.
 *
 * An option is a word that begins with -- and is not quoted; its value is the
 * next word, or follows a '='. A lone -- ends the options. A single dash is an
 * argument, so `put t -5` stores "-5", save before the one letter of an option
 * that the verb has (-k 10). Options that hold for every verb (--json,
 * --keyspace, --timeout) are put into the settings. */

#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli.h"
#include "words.h"

enum {
    OPTIONS_MAX = 16 /* of one verb */
};

enum option_kind {
    OPTION_FLAG,
    OPTION_BYTES,  /* any bytes */
    OPTION_MANY,   /* any bytes, each time it is given: options_nth */
    OPTION_NUMBER, /* min..max */
    OPTION_SIZE,   /* bytes with an optional K, M or G */
    OPTION_CHOICE
};

struct option {
    const char *name; /* without the dashes; of one letter: one dash will do */
    enum option_kind kind;
    const char *value_name; /* CHOICE: the choices, a|b|c */
    const char *help;
    uint64_t min;
    uint64_t max;
};

struct arguments;

struct verb {
    const char *name; /* one word or two */
    const char *args; /* for people */
    const char *help; /* a line */
    const char *more; /* lines for VERB --help, or NULL */
    int (*run)(struct cli *cli, const struct arguments *args);
    size_t count_min; /* of arguments */
    size_t count_max;
    const struct option *options; /* ends with a NULL name; or NULL */
};

struct option_value {
    bool given;
    struct word word;
    uint64_t number; /* CHOICE: index of the choice */
};

/* A value of an OPTION_MANY. */
struct option_one {
    size_t option; /* index in the verb's table */
    struct word word;
};

struct arguments {
    const struct verb *verb;
    struct word *list; /* what is no option, in order; owned */
    size_t count;
    struct option_one *many; /* owned, in order */
    size_t many_count;
    struct option_value values[OPTIONS_MAX];
    bool wants_help;
};

/* Sorts words, which follow the verb's name. CLI_DONE, or CLI_USAGE with the
 * error said; options_deinit is always allowed afterwards. Borrows words. */
int options_parse(struct cli *cli, const struct verb *verb,
                  const struct word *words, size_t count,
                  struct arguments *args);

void options_deinit(struct arguments *args);

/* The option of that name; it must be in the verb's table. */
const struct option_value *options_get(const struct arguments *args,
                                       const char *name);

bool options_has(const struct arguments *args, const char *name);

/* The n-th value, from 0, of an OPTION_MANY; NULL: there are not so many. */
const struct word *options_nth(const struct arguments *args, const char *name,
                               size_t n);

/* fallback if it was not given. */
uint64_t options_number(const struct arguments *args, const char *name,
                        uint64_t fallback);

/* Takes word as an option that holds for every verb (-k and the like; it may
 * stand before the verb too), with value for its value (NULL: none is left).
 * Sets *taken to the words used, 0 if it is none of these. */
int options_global(struct cli *cli, const struct word *word,
                   const struct word *value, size_t *taken);

/* Digits only, no sign; false if it does not fit. */
bool options_parse_number(const char *text, uint64_t *number);

/* Bytes, with an optional K, M or G. */
bool options_parse_size(const char *text, uint64_t *number);

/* A ring position: 0x..., a number, or a share as in 37.5%. */
bool options_parse_position(const char *bytes, size_t len, uint64_t *position);

#endif
