/* SPDX-License-Identifier: Apache-2.0 */

/* net/crew.h - the same work on many things, shared among some threads.
 *
 * For what a node does before it serves: the caller works too, and waits until
 * all is done. What the work on one shares with that on another is the
 * caller's to guard. */

#ifndef NET_CREW_H
#define NET_CREW_H

#include <stddef.h>

#include "base/must_use.h"

enum {
    CREW_MAX = 8
};

/* who: less than size, another for each thread. */
typedef int (*crew_fn)(void *context, size_t who, size_t index);

/* Calls fn once for each index below count, from size threads at most (1 ..
 * CREW_MAX), of which the calling one is the first; fewer if the system gives
 * none. They are begun in ascending order. After a failure none is begun any
 * more. Returns DLHT_OK or the first failure. */
MUST_USE int crew_run(size_t size, size_t count, crew_fn fn, void *context);

#endif
