/* SPDX-License-Identifier: Apache-2.0 */

/* Invariants over all nodes. */

#include "sim/checker.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct checker {
    struct world *world;
    char why[200];
};

struct checker *checker_new(struct world *world)
{
    struct checker *checker = mem_zero(1, sizeof *checker);
    if (!checker) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    checker->world = world;
    return checker;
}

void checker_free(struct checker *checker)
{
    free(checker);
}

void checker_turn(struct checker *checker, size_t peer)
{
    (void)checker;
    (void)peer;
}

void checker_all(struct checker *checker)
{
    (void)checker;
}

bool checker_is_whole(struct checker *checker, const char **why)
{
    *why = "";
    for (size_t i = 0; i < world_peer_count(checker->world); i++) {
        if (world_starts(checker->world, i) == 0 ||
            world_is_ready(checker->world, i))
            continue;
        snprintf(checker->why, sizeof checker->why, "n%zu is not ready", i);
        *why = checker->why;
        return false;
    }
    return true;
}
