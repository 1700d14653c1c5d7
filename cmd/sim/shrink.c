/* SPDX-License-Identifier: Apache-2.0 */

/* A failing seed made smaller: kinds of faults, seconds, peers, keyspaces and
 * clients are taken away as long as the same invariant breaks, of the same seed
 * or of one of the next. What is taken away changes the course of all else, so
 * each step is a run of its own, and the result is the least that was found. */

#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "sim/fault.h"

struct shrink {
    struct options now; /* the least that fails, and its seed */
    struct outcome broken;
    size_t runs;
};

static void say(const struct shrink *s)
{
    char command[COMMAND_MAX];
    words_say(&s->now, s->now.seed, command, sizeof command);
    printf("%4zu runs: %s\n", s->runs, command);
    fflush(stdout);
}

/* Whether it fails as well with these; then that is how it is from now on. */
static bool try_less(struct shrink *s, const struct scenario_knobs *knobs)
{
    struct options less = s->now;
    less.knobs = *knobs;
    for (size_t i = 0; i < s->now.tries; i++) {
        struct outcome outcome;
        uint64_t seed = s->now.seed + i;
        s->runs++;
        if (!attempt_apart(&less, seed, true, &outcome))
            return false;
        if (strcmp(outcome.invariant, s->broken.invariant) != 0)
            continue;
        s->now = less;
        s->now.seed = seed;
        s->broken = outcome;
        say(s);
        return true;
    }
    return false;
}

static bool less_kinds(struct shrink *s)
{
    bool any = false;
    /* Halves first, then one by one. */
    for (uint32_t width = FAULT_KINDS / 2 + 1; width > 0; width /= 2) {
        for (uint32_t at = 0; at < FAULT_KINDS; at += width) {
            struct scenario_knobs k = s->now.knobs;
            k.kinds &= ~(((UINT32_C(1) << width) - 1) << at);
            if (k.kinds != s->now.knobs.kinds)
                any = try_less(s, &k) || any;
        }
    }
    return any;
}

/* value: within s->now.knobs, of which this is a copy. */
static bool less_of(struct shrink *s, size_t offset)
{
    bool any = false;
    for (size_t part = 2; part <= 4; part *= 2) {
        for (;;) {
            struct scenario_knobs k = s->now.knobs;
            size_t *value = (size_t *)(void *)((char *)&k + offset);
            size_t less = *value - (*value + part - 1) / part;
            if (less == 0 || less == *value)
                break;
            *value = less;
            if (!try_less(s, &k))
                break;
            any = true;
        }
    }
    struct scenario_knobs k = s->now.knobs;
    size_t *value = (size_t *)(void *)((char *)&k + offset);
    if (*value <= 1)
        return any;
    --*value;
    return try_less(s, &k) || any;
}

static bool less_seconds(struct shrink *s)
{
    bool any = false;
    for (uint32_t part = 2; part <= 8; part *= 2) {
        for (;;) {
            struct scenario_knobs k = s->now.knobs;
            k.seconds -= (k.seconds + part - 1) / part;
            if (k.seconds == 0 || !try_less(s, &k))
                break;
            any = true;
        }
    }
    return any;
}

int verb_shrink(const struct options *o)
{
    struct shrink s = { .now = *o };
    if (!attempt_apart(o, o->seed, true, &s.broken))
        return EXIT_BROKEN;
    if (!s.broken.invariant[0]) {
        printf("%s seed %llu breaks nothing\n", o->scenario,
               (unsigned long long)o->seed);
        return 0;
    }
    printf("seed %llu broke %s: %s\n", (unsigned long long)o->seed,
           s.broken.invariant, s.broken.text);
    struct scenario_knobs all;
    scenario_draw(
        scenario_find(o->scenario),
        &(struct scenario_options){ .seed = o->seed, .knobs = o->knobs }, &all);
    if (!try_less(&s, &all))
        printf("said in full it breaks nothing: what was drawn is kept\n");
    if (!s.now.knobs.has_kinds)
        return EXIT_BROKEN;
    for (bool less = true; less;) {
        less = less_kinds(&s);
        less = less_seconds(&s) || less;
        less = less_of(&s, offsetof(struct scenario_knobs, peers)) || less;
        less = less_of(&s, offsetof(struct scenario_knobs, keyspaces)) || less;
        less = less_of(&s, offsetof(struct scenario_knobs, clients)) || less;
    }
    printf("after %zu runs nothing more can be taken away.\n", s.runs);
    print_failure(&s.now, &s.broken);
    return EXIT_BROKEN;
}
