/* SPDX-License-Identifier: Apache-2.0 */

/* tests/sim/fake_node.h - a stand-in for node/ that tests the simulator.
 *
 * The peer that has nobody to ask at its start keeps the only copy of all
 * keys, in its journal; every other forwards to it. That is linearizable and
 * survives crashes, until it is made wrong on purpose. */

#ifndef TESTS_SIM_FAKE_NODE_H
#define TESTS_SIM_FAKE_NODE_H

enum fake_wrong {
    FAKE_RIGHT,
    FAKE_ACK_BEFORE_SYNC, /* loses acknowledged writes in a crash */
    FAKE_STALE_CACHE,     /* others answer reads from what they saw */
    FAKE_APPLY_TWICE,     /* a repeated request is done again */
    FAKE_DELETE_RETURNS,  /* a restart brings deleted keys back */
    FAKE_CAS_LOOSE,       /* cas succeeds whatever the version */
    FAKE_RANGE_SKIPS,     /* a range forgets a key now and then */
    FAKE_FAIL_IS_WRONG,   /* says "failed" of what it will do */
    FAKE_SILENT,          /* forgets to answer now and then */
    FAKE_WRONGS
};

extern enum fake_wrong fake_wrong;

#endif
