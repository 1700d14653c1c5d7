/* SPDX-License-Identifier: Apache-2.0 */

/* sim/quiet_story.h - groups that sleep, and are needed: what the scenario
 * quiet_5 does and checks.
 *
 * Again and again nobody asks for anything until the groups sleep; then
 * something goes wrong, unseen by them or not, and then clients come back.
 * When nothing else is wrong, the time is taken from the death of an owner to
 * the first answer of its arc.
 *
 * That an idle ring comes to rest is checked here; that all else still holds,
 * by the checkers. */

#ifndef SIM_QUIET_STORY_H
#define SIM_QUIET_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/checker.h"
#include "sim/workload.h"

struct quiet_story {
    uint64_t seed;
    struct world *world;
    struct workload *workload;
    struct checker *checker;
    uint64_t quiet_ns; /* after which groups sleep */
    uint64_t bound_ns; /* to be whole again, A10 */
    bool clean;        /* no message is lost by chance */
    char *remark;      /* figures, at the end */
    size_t remark_size;
};

/* Clients run before and after. False: the world has failed. */
bool quiet_story_run(const struct quiet_story *story);

#endif
