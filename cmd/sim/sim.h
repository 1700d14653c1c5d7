/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/sim/sim.h - what the parts of dlht-sim know of each other.
 *
 * main.c     verbs, one run
 * words.c  words to options and back
 * attempt.c  one seed, in this process or in a child
 * swarm.c    many seeds
 * shrink.c   a failing seed made smaller
 * kept.c     seeds that are kept, from a file */

#ifndef CMD_SIM_SIM_H
#define CMD_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/scenario.h"

enum {
    EXIT_BROKEN = 1,
    EXIT_USAGE = 2,
    JOBS_MAX = 64,
    COMMAND_MAX = 700
};

struct options {
    const char *scenario;
    const char *file; /* of kept seeds */
    uint64_t seed, seed_last;
    struct scenario_knobs knobs;
    size_t jobs;
    size_t tries; /* seeds for each smaller run */
    bool trace;
    bool keep_going;
    bool progress;
};

/* words.c */
void words_default(struct options *o);
/* Words after the verb; of which the first without a dash is put into *name.
 * False: said what is wrong. */
bool words_read(struct options *o, int count, char **words, const char **name);
/* The command that replays it. */
void words_say(const struct options *o, uint64_t seed, char *text, size_t size);
int usage(const char *what, const char *about);

/* What came of a seed. As bytes through a pipe. */
struct outcome {
    uint64_t seed;
    char invariant[32]; /* "": nothing was broken */
    char text[300];
    uint64_t hash, virtual_ns, ops, events, longest_ns, whole_ns;
    struct scenario_knobs drawn;
};

/* attempt.c */
/* In this process, which ends if an assertion fails or it takes too long. */
void attempt(const struct options *o, uint64_t seed,
             struct scenario_result *result);
void attempt_outcome(uint64_t seed, const struct scenario_result *result,
                     struct outcome *out);
/* Says on stderr how to replay the seed that ran when a signal came. */
void attempt_say_signals(void);
/* What the death of a child means. */
const char *attempt_invariant(int status);
/* In a child; quiet: it says nothing. False: no child can be made. */
bool attempt_apart(const struct options *o, uint64_t seed, bool quiet,
                   struct outcome *out);
/* All of it through a pipe. False: the other end is gone. */
bool attempt_write(int pipe, const void *data, size_t size);
bool attempt_read(int pipe, void *data, size_t size);

void print_failure(const struct options *o, const struct outcome *outcome);

int verb_swarm(const struct options *o);
int verb_shrink(const struct options *o);
int verb_kept(const struct options *o);

#endif
