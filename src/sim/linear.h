/* SPDX-License-Identifier: Apache-2.0 */

/* sim/linear.h - is the history of one key linearizable?
 *
 * The register has put, get, del and cas, and a version that grows with each
 * change. An operation takes effect at one instant between its call and its
 * return; one whose outcome is unknown may take effect at any time after its
 * call, or never. The search is that of Wing and Gong (1993) with the
 * memoisation of Lowe (2017), as in Porcupine. Versions order writes, which
 * makes it nearly linear in practice and a version out of order a violation.
 *
 * Values are numbers that the workload makes unique per write. Times of equal
 * value are taken as concurrent. Nothing here depends on the simulator. */

#ifndef SIM_LINEAR_H
#define SIM_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"

enum linear_kind {
    LINEAR_PUT = 1,
    LINEAR_GET,
    LINEAR_DEL,
    LINEAR_CAS
};

enum linear_outcome {
    LINEAR_DONE = 1,
    LINEAR_ABSENT,  /* GET, DEL: there was none */
    LINEAR_DIFFERS, /* CAS: version tells the current one, 0: absent */
    LINEAR_UNKNOWN  /* PUT, DEL, CAS; an unknown GET is left out */
};

struct linear_op {
    uint64_t call_ns;
    uint64_t return_ns; /* no meaning if unknown */
    uint8_t kind;
    uint8_t outcome;
    uint32_t client;   /* for reports only */
    uint64_t number;   /* for reports only */
    uint64_t value;    /* written (PUT, CAS), or read (GET) */
    uint64_t expected; /* CAS: version, 0: absent */
    uint64_t version;  /* DONE: of the value; DIFFERS: current; 0: not told */
};

enum linear_verdict {
    LINEAR_YES = 1,
    LINEAR_NO,
    LINEAR_UNDECIDED /* steps_max was not enough */
};

struct linear_report {
    enum linear_verdict verdict;
    size_t placed;  /* most operations that could be put in order */
    size_t blocked; /* LINEAR_NO: the operation that fits nowhere then */
    uint64_t steps; /* operations placed, taken back ones included */
};

/* Checks count operations in any order. steps_max 0: a million.
 *   DLHT_ENOMEM */
MUST_USE int linear_check(const struct linear_op *ops, size_t count,
                          uint64_t steps_max, struct linear_report *report);

#endif
