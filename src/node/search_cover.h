/* SPDX-License-Identifier: Apache-2.0 */

/* node/search_cover.h - whom a search asks for which keys.
 *
 * By the map as this node has it, which may be old: answers say what they are
 * about, and what none is about is asked for again. */

#ifndef NODE_SEARCH_COVER_H
#define NODE_SEARCH_COVER_H

#include "node/key_ranges.h"
#include "node/node_state.h"

/* Ranges of one peer. */
struct search_group {
    struct id peer;         /* zero: not known who */
    struct key_range *list; /* ascending; borrowed from map and gap */
    size_t count, cap;
    size_t bytes; /* of their keys */
};

/* All zeros: none. */
struct search_groups {
    struct search_group *list;
    size_t count, cap;
    bool failed; /* memory was lacking: something is not in there */
};

void search_groups_deinit(struct search_groups *g);

enum search_cover {
    COVER_FEWEST, /* that hold all arcs together, this one first; turn chooses
                   * among equal ones */
    COVER_OTHERS, /* the same without those of COVER_FEWEST, arc by arc */
    COVER_OWNERS
};

/* By arc of the map who is asked; zero: nobody known. The caller's; NULL: no
 * memory. */
struct id *search_cover_choose(struct node *node, const struct keyspace *ks,
                               enum search_cover who, uint64_t turn);

/* Cuts a gap at the arcs of the map and gives each peer what it was chosen for.
 * What the map does not know goes to nobody's groups; with known_only nowhere.
 * A group that is full is given no more: that is for the next round. */
void search_cover_cut(const struct keyspace *ks, const struct id *chosen,
                      const struct key_range *gap, bool known_only,
                      struct search_groups *g);

#endif
