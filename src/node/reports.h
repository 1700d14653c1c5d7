/* SPDX-License-Identifier: Apache-2.0 */

/* node/reports.h - which arcs a leader has to report now.
 *
 * The owner of the system arc plans by what leaders report. What differs from
 * the last report is told with the next two; what does not, every ten seconds
 * or so; and all at once when the one who is told is another, or began its
 * office anew. */

#ifndef NODE_REPORTS_H
#define NODE_REPORTS_H

#include "node/node_state.h"

/* So old a report may be before its arc counts as not reported. */
#define REPORTS_OLD_NS (UINT64_C(30) * NS_PER_S)

/* Whether report, of r as it is, has to be told to owner now; then it counts
 * as told. */
bool reports_is_due(struct node *node, struct replica *r,
                    const struct arc_report *report, const struct id *owner);

#endif
