/* SPDX-License-Identifier: Apache-2.0 */

/* sim/transcript.h - histories of clients of real nodes, for the checker that
 * judges those of the simulation.
 *
 * A line is one operation as a JSON object of these fields, in any order:
 *
 *   client, call, return   numbers; times are nanoseconds of any clock
 *   op                     "put", "get", "del", "cas"
 *   key, value             texts; of escapes only \" and \\ are known
 *   expected               cas: the version, 0 for absent
 *   outcome                "done", "absent" (get, del), "differs" (cas),
 *                          "unknown", "failed" (it surely did nothing)
 *   version                of what was written or read; 0 or left out: not told
 *
 * No value may be written to one key twice: it says which write was read. Keys
 * are absent at first. */

#ifndef SIM_TRANSCRIPT_H
#define SIM_TRANSCRIPT_H

#include <stddef.h>

#include "base/must_use.h"
#include "base/span.h"
#include "sim/history.h"

struct transcript;

/* Aborts without memory, as do the calls below. */
struct transcript *transcript_new(void);
void transcript_free(struct transcript *transcript); /* NULL is allowed */

/* Takes in a line, without its end; copied.
 *   DLHT_EINVAL  *why says what is wrong with it; nothing was taken in */
MUST_USE int transcript_add(struct transcript *transcript, struct span line,
                            const char **why);
size_t transcript_line_count(const struct transcript *transcript);

/* Once, after the last line. In reports an operation is its client and the
 * number of its line, and so is a value: of the write that made it.
 *   DLHT_EINVAL  line *bad writes a value that another line wrote */
MUST_USE int transcript_check(struct transcript *transcript,
                              struct history_verdict *verdict, size_t *bad);

/* After a check: prints what was done to the key of a verdict. */
void transcript_print(struct transcript *transcript, size_t key,
                      history_line_fn fn, void *context);

#endif
