/* SPDX-License-Identifier: Apache-2.0 */

/* Words to options and back. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"
#include "sim/fault.h"

int usage(const char *what, const char *about)
{
    fprintf(stderr, "dlht-sim: %s%s; see dlht-sim --help\n", what, about);
    return EXIT_USAGE;
}

void words_default(struct options *o)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (struct options){ .seed = 1, .seed_last = 100, .jobs = 1, .tries = 5 };
    if (processors > 0 && processors < JOBS_MAX)
        o->jobs = (size_t)processors;
}

static bool read_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        return false;
    *out = n;
    return true;
}

static bool read_seeds(const char *text, struct options *o)
{
    char first[32];
    const char *dots = strstr(text, "..");
    if (!dots || (size_t)(dots - text) >= sizeof first)
        return false;
    memcpy(first, text, (size_t)(dots - text));
    first[dots - text] = 0;
    return read_number(first, &o->seed) &&
           read_number(dots + 2, &o->seed_last) && o->seed <= o->seed_last;
}

static bool read_count(const char *text, uint64_t max, size_t *out)
{
    uint64_t n;
    if (!read_number(text, &n) || n == 0 || n > max)
        return false;
    *out = (size_t)n;
    return true;
}

static bool read_value(struct options *o, const char *name, const char *value)
{
    struct scenario_knobs *k = &o->knobs;
    size_t seconds;
    if (strcmp(name, "--seeds") == 0)
        return read_seeds(value, o);
    if (strcmp(name, "--seed") == 0)
        return read_number(value, &o->seed);
    if (strcmp(name, "--peers") == 0)
        return read_count(value, WORLD_PEERS_MAX, &k->peers);
    if (strcmp(name, "--clients") == 0)
        return read_count(value, 1000, &k->clients);
    if (strcmp(name, "--keyspaces") == 0)
        return read_count(value, 4, &k->keyspaces);
    if (strcmp(name, "--jobs") == 0)
        return read_count(value, JOBS_MAX, &o->jobs);
    if (strcmp(name, "--tries") == 0)
        return read_count(value, 1000, &o->tries);
    if (strcmp(name, "--seconds") == 0) {
        if (!read_count(value, 100000, &seconds))
            return false;
        k->seconds = (uint32_t)seconds;
        return true;
    }
    k->has_kinds = true;
    return fault_parse(value, &k->kinds);
}

static bool takes_value(const char *name)
{
    static const char *const NAMES[] = {
        "--seed",  "--seeds",     "--peers",   "--clients", "--jobs",
        "--tries", "--keyspaces", "--seconds", "--faults"
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strcmp(name, NAMES[i]) == 0)
            return true;
    }
    return false;
}

static bool read_flag(struct options *o, const char *name)
{
    bool *flag = strcmp(name, "--trace") == 0        ? &o->trace
                 : strcmp(name, "--progress") == 0   ? &o->progress
                 : strcmp(name, "--keep-going") == 0 ? &o->keep_going
                                                     : NULL;
    if (flag)
        *flag = true;
    return flag != NULL;
}

bool words_read(struct options *o, int count, char **words, const char **name)
{
    for (int i = 0; i < count; i++) {
        if (read_flag(o, words[i]))
            continue;
        if (takes_value(words[i])) {
            if (i + 1 == count) {
                usage("no value for ", words[i]);
                return false;
            }
            if (!read_value(o, words[i], words[i + 1])) {
                usage("bad value for ", words[i]);
                return false;
            }
            i++;
        } else if (words[i][0] == '-' || *name) {
            usage("unknown option ", words[i]);
            return false;
        } else {
            *name = words[i];
        }
    }
    return true;
}

static void add(char *text, size_t size, const char *name, uint64_t value)
{
    size_t at = strlen(text);
    if (value)
        snprintf(text + at, size - at, " %s %llu", name,
                 (unsigned long long)value);
}

void words_say(const struct options *o, uint64_t seed, char *text, size_t size)
{
    const struct scenario_knobs *k = &o->knobs;
    snprintf(text, size, "%s --seed %llu", o->scenario,
             (unsigned long long)seed);
    add(text, size, "--peers", k->peers);
    add(text, size, "--clients", k->clients);
    add(text, size, "--keyspaces", k->keyspaces);
    add(text, size, "--seconds", k->seconds);
    if (!k->has_kinds)
        return;
    size_t at = strlen(text);
    int n = snprintf(text + at, size - at, " --faults ");
    if (n > 0 && at + (size_t)n < size)
        fault_say(k->kinds, text + at + n, size - at - (size_t)n);
}
