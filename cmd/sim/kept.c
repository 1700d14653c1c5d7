/* SPDX-License-Identifier: Apache-2.0 */

/* Seeds that found something once: a line each, as after `dlht-sim run`, and
 * behind a # what it was. */

#include <stdio.h>
#include <string.h>

#include "sim.h"

enum {
    WORDS_MAX = 32,
    LINE_MAX_BYTES = 1000
};

static int split(char *line, char **words)
{
    int count = 0;
    for (char *word = strtok(line, " \t\n"); word && count < WORDS_MAX;
         word = strtok(NULL, " \t\n"))
        words[count++] = word;
    return count;
}

/* One line; false: it broke something, or cannot be read. */
static bool replay(const struct options *all, char *line, size_t *done)
{
    char *words[WORDS_MAX], *remark = strchr(line, '#');
    if (remark)
        *remark = 0;
    struct options o = *all;
    int count = split(line, words);
    if (count == 0)
        return true;
    o.scenario = NULL;
    if (!words_read(&o, count, words, &o.scenario))
        return false;
    if (!o.scenario || !scenario_find(o.scenario)) {
        usage("no such scenario: ", o.scenario ? o.scenario : "");
        return false;
    }
    struct outcome outcome;
    if (!attempt_apart(&o, o.seed, false, &outcome))
        return false;
    ++*done;
    if (outcome.invariant[0])
        print_failure(&o, &outcome);
    return !outcome.invariant[0];
}

int verb_kept(const struct options *o)
{
    char line[LINE_MAX_BYTES];
    size_t done = 0, failed = 0;
    FILE *file = fopen(o->file, "r");
    if (!file)
        return usage("cannot read ", o->file);
    while (fgets(line, sizeof line, file))
        failed += !replay(o, line, &done);
    fclose(file);
    printf("%zu kept seeds, %zu failed\n", done, failed);
    if (done == 0)
        return usage("no seeds in ", o->file);
    return failed ? EXIT_BROKEN : 0;
}
