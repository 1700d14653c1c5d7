/* SPDX-License-Identifier: Apache-2.0 */

/* Sorting words into options and arguments. */

#include "options.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool options_parse_number(const char *text, uint64_t *number)
{
    uint64_t n = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        unsigned digit = (unsigned)(*text - '0');
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *number = n;
    return true;
}

/* "37.5" of "37.5%": a share of all positions. */
static bool parse_percent(const char *text, size_t len, uint64_t *position)
{
    char digits[32];
    double percent;

    if (len == 0 || len >= sizeof(digits) || *text == '.' ||
        strspn(text, "0123456789.") != len)
        return false;
    memcpy(digits, text, len);
    digits[len] = 0;
    if (strchr(digits, '.') != strrchr(digits, '.'))
        return false;
    percent = strtod(digits, NULL);
    if (percent > 100)
        return false;
    *position =
        percent >= 100 ? UINT64_MAX : (uint64_t)(percent / 100 * 0x1p64);
    return true;
}

bool options_parse_position(const char *bytes, size_t len, uint64_t *position)
{
    char text[40];

    if (len == 0 || len >= sizeof(text) || memchr(bytes, 0, len))
        return false;
    memcpy(text, bytes, len);
    text[len] = 0;
    if (text[len - 1] == '%')
        return parse_percent(text, len - 1, position);
    if (len < 3 || memcmp(text, "0x", 2) != 0)
        return options_parse_number(text, position);
    if (len > 18 || strspn(text + 2, "0123456789abcdefABCDEF") != len - 2)
        return false;
    *position = strtoull(text + 2, NULL, 16);
    return true;
}

/* "4096", "64K", "1M", "2GiB". */
bool options_parse_size(const char *text, uint64_t *size)
{
    static const char units[] = "KMG";
    char digits[24];
    size_t n = strspn(text, "0123456789");
    const char *unit = text[n] ? strchr(units, text[n]) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    const char *rest = unit ? text + n + 1 : text + n;

    if (n == 0 || n >= sizeof(digits))
        return false;
    if (*rest && strcmp(rest, "B") != 0 && strcmp(rest, "iB") != 0)
        return false;
    memcpy(digits, text, n);
    digits[n] = 0;
    if (!options_parse_number(digits, size) || *size > UINT64_MAX >> shift)
        return false;
    *size <<= shift;
    return true;
}

/* Index of text among "a|b|c". */
static bool parse_choice(const char *choices, const char *text, uint64_t *index)
{
    size_t len = strlen(text);

    *index = 0;
    for (const char *at = choices; at; (*index)++) {
        size_t n = strcspn(at, "|");
        if (n == len && memcmp(at, text, n) == 0)
            return true;
        at = at[n] ? at + n + 1 : NULL;
    }
    return false;
}

static int take_value(struct cli *cli, const struct option *option,
                      struct option_value *value)
{
    const char *text = value->word.data;
    bool whole = strlen(text) == value->word.len;

    switch (option->kind) {
    case OPTION_FLAG:
    case OPTION_BYTES:
    case OPTION_MANY:
        return CLI_DONE;
    case OPTION_NUMBER:
        if (!whole || !options_parse_number(text, &value->number) ||
            value->number < option->min || value->number > option->max)
            return cli_usage(cli,
                             "--%s '%s': a number of %" PRIu64 " to %" PRIu64
                             " is meant",
                             option->name, text, option->min, option->max);
        return CLI_DONE;
    case OPTION_SIZE:
        if (!whole || !options_parse_size(text, &value->number) ||
            value->number < option->min || value->number > option->max)
            return cli_usage(cli,
                             "--%s '%s': bytes are meant, %" PRIu64
                             " to %" PRIu64 ", as in 4096 or 64K",
                             option->name, text, option->min, option->max);
        return CLI_DONE;
    case OPTION_CHOICE:
        if (!whole || !parse_choice(option->value_name, text, &value->number))
            return cli_usage(cli, "--%s '%s': one of %s is meant", option->name,
                             text, option->value_name);
        return CLI_DONE;
    }
    assert(false);
    return CLI_USAGE;
}

static size_t find_option(const struct verb *verb, const char *name, size_t len)
{
    for (size_t i = 0; verb->options && verb->options[i].name; i++) {
        const char *known = verb->options[i].name;
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* -k, where the verb has an option of that one letter. */
static bool is_short(const struct verb *verb, const struct word *word)
{
    return word->len == 2 && word->data[0] == '-' &&
           find_option(verb, word->data + 1, 1) != SIZE_MAX;
}

static bool is_option(const struct verb *verb, const struct word *word)
{
    if (word->quoted)
        return false;
    return (word->len > 2 && memcmp(word->data, "--", 2) == 0) ||
           is_short(verb, word);
}

int options_global(struct cli *cli, const struct word *word,
                   const struct word *value, size_t *taken)
{
    const char *name = word->data;
    const char *text = value ? value->data : "";
    bool after_equals = strchr(name, '=') != NULL;
    size_t len = strcspn(name, "=");
    uint64_t number = 0;

    *taken = 0;
    if (word->quoted)
        return CLI_DONE;
    if (len == 6 && strcmp(name, "--json") == 0) {
        cli->set.json = true;
        *taken = 1;
        return CLI_DONE;
    }
    if (after_equals)
        text = name + len + 1;
    if (strcmp(name, "-k") == 0 ||
        (len == 10 && memcmp(name, "--keyspace", len) == 0)) {
        if (!*text)
            return cli_usage(cli, "%s needs the name of a keyspace", name);
        cli->set.keyspace = text;
    } else if (len == 9 && memcmp(name, "--timeout", len) == 0) {
        if (!options_parse_number(text, &number) || number == 0 ||
            number > CLI_TIMEOUT_MS_MAX)
            return cli_usage(cli,
                             "--timeout '%s': milliseconds are meant, 1 to %d",
                             text, CLI_TIMEOUT_MS_MAX);
        cli->set.timeout_ms = (uint32_t)number;
    } else {
        return CLI_DONE;
    }
    *taken = after_equals ? 1 : 2;
    return CLI_DONE;
}

/* The option at words[0]; *taken says how many words it used. */
static int take_option(struct cli *cli, const struct verb *verb,
                       const struct word *words, size_t count,
                       struct arguments *args, size_t *taken)
{
    size_t dashes = is_short(verb, &words[0]) ? 1 : 2;
    const char *name = words[0].data + dashes;
    const char *equals = memchr(name, '=', words[0].len - dashes);
    size_t len = equals ? (size_t)(equals - name) : words[0].len - dashes;
    size_t index = find_option(verb, name, len);
    struct option_value *value;

    *taken = 1;
    if (len == 4 && memcmp(name, "help", 4) == 0) {
        args->wants_help = true;
        return CLI_DONE;
    }
    if (index == SIZE_MAX) {
        int rc =
            options_global(cli, &words[0], count > 1 ? &words[1] : NULL, taken);
        if (rc != CLI_DONE || *taken)
            return rc;
        return cli_usage(cli,
                         "unknown option --%.*s; '%s --help' lists them (a "
                         "key that begins so goes behind --)",
                         (int)len, name, verb->name);
    }
    value = &args->values[index];
    value->given = true;
    if (verb->options[index].kind == OPTION_FLAG) {
        if (equals)
            return cli_usage(cli, "--%.*s takes no value", (int)len, name);
        return CLI_DONE;
    }
    if (equals) {
        value->word = (struct word){ equals + 1, words[0].len - len - 3, true };
    } else if (count > 1) {
        value->word = words[1];
        *taken = 2;
    } else {
        return cli_usage(cli, "--%.*s needs a value: --%.*s %s", (int)len, name,
                         (int)len, name, verb->options[index].value_name);
    }
    if (verb->options[index].kind == OPTION_MANY)
        args->many[args->many_count++] =
            (struct option_one){ index, value->word };
    return take_value(cli, &verb->options[index], value);
}

int options_parse(struct cli *cli, const struct verb *verb,
                  const struct word *words, size_t count,
                  struct arguments *args)
{
    bool options_end = false;

    memset(args, 0, sizeof(*args));
    args->verb = verb;
    args->list = calloc(count + 1, sizeof(*args->list));
    args->many = calloc(count + 1, sizeof(*args->many));
    if (!args->list || !args->many)
        return cli_fail(cli, DLHT_ENOMEM, NULL);
    for (size_t i = 0; i < count;) {
        size_t taken = 1;
        if (!options_end && !words[i].quoted &&
            strcmp(words[i].data, "--") == 0) {
            options_end = true;
        } else if (!options_end && is_option(verb, &words[i])) {
            int rc = take_option(cli, verb, words + i, count - i, args, &taken);
            if (rc != CLI_DONE)
                return rc;
        } else {
            args->list[args->count++] = words[i];
        }
        i += taken;
    }
    if (args->wants_help)
        return CLI_DONE;
    if (args->count < verb->count_min || args->count > verb->count_max)
        return cli_usage(cli, "%s arguments; usage: %s%s%s",
                         args->count < verb->count_min ? "too few" : "too many",
                         verb->name, *verb->args ? " " : "", verb->args);
    return CLI_DONE;
}

void options_deinit(struct arguments *args)
{
    free(args->list);
    free(args->many);
    args->list = NULL;
    args->many = NULL;
    args->count = args->many_count = 0;
}

const struct option_value *options_get(const struct arguments *args,
                                       const char *name)
{
    size_t index = find_option(args->verb, name, strlen(name));

    assert(index < OPTIONS_MAX);
    return &args->values[index];
}

bool options_has(const struct arguments *args, const char *name)
{
    return options_get(args, name)->given;
}

const struct word *options_nth(const struct arguments *args, const char *name,
                               size_t n)
{
    size_t index = find_option(args->verb, name, strlen(name));

    for (size_t i = 0; i < args->many_count; i++) {
        if (args->many[i].option == index && n-- == 0)
            return &args->many[i].word;
    }
    return NULL;
}

uint64_t options_number(const struct arguments *args, const char *name,
                        uint64_t fallback)
{
    const struct option_value *value = options_get(args, name);

    return value->given ? value->number : fallback;
}
