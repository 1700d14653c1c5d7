/* SPDX-License-Identifier: Apache-2.0 */

/* node/search_marks.h - how far copies of arcs have come, and how far they must
 * have come to know all that was acknowledged before a search began.
 *
 * A peer that searches its copies at once says of each how far it had come: a
 * claim. Meanwhile their owners are asked how far they have come themselves
 * (Raft's ReadIndex), after the search began. A claim is good if its copy had
 * come as far: what was acknowledged before is a beginning of what the owner had
 * applied when it was asked, and that of what the copy had when it was searched.
 * Which of the two was earlier does not matter.
 *
 * The generation tells a log that was made anew by `recover` from the one
 * before, whose indexes mean something else. */

#ifndef NODE_SEARCH_MARKS_H
#define NODE_SEARCH_MARKS_H

#include "node/key_ranges.h"
#include "node/node_state.h"
#include "wire/mp.h"

/* An owner that does not say so soon is gone on without: other arcs need not
 * wait for its. */
#define SEARCH_CONFIRM_NS (UINT64_C(300) * NS_PER_MS)

enum {
    SEARCH_MARK_BYTES = 24,
    SEARCH_MARKS_MAX = 65536 /* in a message */
};

struct search_mark {
    arc_id arc;
    uint64_t index, generation;
};

/* Whether what has come so far has come as far as it must. */
bool search_mark_reached(const struct search_mark *has,
                         const struct search_mark *must);

/* Marks in a row, SEARCH_MARK_BYTES each. */
void search_marks_add(struct buf *row, const struct search_mark *mark);
struct search_mark search_marks_at(struct span row, size_t i);

/* A document of a row, and back: the whole marks in there, empty if there are
 * none. */
void search_marks_pack(const struct buf *row, struct buf *doc);
struct span search_marks_read(struct span doc);

enum search_claim_state {
    CLAIM_OPEN, /* its owner has not answered yet */
    CLAIM_GOOD,
    CLAIM_SHORT /* it had not come far enough, or nobody says how far it must */
};

/* A copy that was searched: of the keys in range. */
struct search_claim {
    struct key_range range; /* borrowed: from what was read */
    struct search_mark mark;
    bool led; /* by who searched it, for sure: good without its owner's mark */
    enum search_claim_state state;
};

/* All zeros: nothing is known yet. */
struct search_claims {
    struct search_claim *list; /* of one answer after the other, ascending keys
                                * in each */
    size_t count, cap;
    struct search_mark *marks; /* of owners; ascending arcs */
    size_t mark_count, mark_cap;
};

void search_claims_deinit(struct search_claims *c);

/* One claim of an answer; search_claims_read reads it. */
void search_claims_pack(const struct search_claim *claim, struct buf *doc);

/* Adds an array of claims, which must stay as long. On failure all is as
 * before.
 *   DLHT_EPROTO  it is none, or keys are not ascending
 *   DLHT_ENOMEM */
MUST_USE int search_claims_read(struct search_claims *c, struct mp_reader *r);

/* What an owner says of its arcs: a row. DLHT_ENOMEM: none of it is known */
MUST_USE int search_claims_must(struct search_claims *c, struct span row);

/* Judges what can be judged by what owners said; if all of them are heard, the
 * rest is short. Ranges of good ones are added to covered; *news becomes true
 * if it lacked any of their keys. DLHT_ENOMEM: some are left open */
MUST_USE int search_claims_judge(struct search_claims *c, bool all_heard,
                                 struct key_ranges *covered, bool *news);

/* Whether of those from first on, of one answer, one is good and about the
 * key. */
bool search_claims_has(const struct search_claims *c, size_t first,
                       size_t count, struct span key);

#endif
