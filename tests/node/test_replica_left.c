/* SPDX-License-Identifier: Apache-2.0 */

/* Which copies that heard nothing for long are given up. */

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "node/command.h"
#include "node/crowd.h"
#include "node/replica.h"

enum {
    SELF = 7,
    APPLIED = 10,
    GENERATION = 5, /* as far as it applied its log */
    TERM = 4,
    LOG_MAX = 3,
    LONG_MS = 16000
};

/* What stands in the log behind what was applied. */
enum kind {
    NONE,
    PUT,
    SPLIT,
    MERGE,
    ADDED,   /* the copy is a learner */
    PROMOTED /* and a voter */
};

struct look {
    const char *text;
    enum kind log[LOG_MAX];
    uint64_t generation, term; /* of a descriptor that does not name it */
    uint64_t heard_term;       /* a leader spoke in it; 0: none */
    bool left;
};

static void append(struct raft *raft, uint64_t index, enum kind kind)
{
    struct buf data = { 0 };
    struct raft_members members = {
        .list = { { 1, true }, { 2, true }, { SELF, kind == PROMOTED } },
        .count = 3
    };
    struct raft_entry entry = { .term = TERM, .index = index };
    if (kind == ADDED || kind == PROMOTED) {
        entry.type = RAFT_ENTRY_MEMBERS;
        entry.members = &members;
    } else {
        struct command c = { .kind = kind == SPLIT   ? COMMAND_SPLIT
                                     : kind == MERGE ? COMMAND_MERGE
                                                     : COMMAND_PUT,
                             .key = span_str("k"),
                             .value = span_str("v") };
        entry.type = RAFT_ENTRY_DATA;
        command_pack(&c, &data);
    }
    entry.data = buf_span(&data);
    cr_assert_eq(raft_restore_entry(raft, &entry), DLHT_OK);
    buf_deinit(&data);
}

static struct raft *raft_of(const struct look *look, uint64_t now_ns)
{
    struct raft_config config = { .id = SELF,
                                  .election_ns = 300 * NS_PER_MS,
                                  .heartbeat_ns = 100 * NS_PER_MS,
                                  .seed = 1 };
    struct raft_start start = {
        .snapshot_index = APPLIED,
        .snapshot_term = TERM,
        .members = { .list = { { 1, true }, { 2, true } }, .count = 2 },
        .term = TERM,
        .now_ns = now_ns
    };
    struct raft *raft;
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    for (size_t i = 0; i < LOG_MAX && look->log[i]; i++)
        append(raft, APPLIED + 1 + i, look->log[i]);
    raft_start(raft, now_ns);
    if (look->heard_term) {
        struct raft_message beat = { .type = RAFT_HEARTBEAT,
                                     .from = 1,
                                     .to = SELF,
                                     .term = look->heard_term,
                                     .stamp = now_ns };
        cr_assert_eq(raft_receive(raft, now_ns, &beat), DLHT_OK);
    }
    return raft;
}

static bool is_left(struct crowd *c, const struct look *look, uint64_t ms)
{
    char bounds[2][8];
    struct arc own = crowd_arc(FAR, 0, 1, bounds), known;
    own.generation = GENERATION;
    known = own;
    known.generation = look->generation;
    known.term = look->term;
    crowd_tell_arc(c, &known);
    struct replica r = { .id = own.id,
                         .keyspace = FAR,
                         .self = SELF,
                         .arc = &own,
                         .applied = APPLIED,
                         .heard_ns = c->a.node->now_ns,
                         .led_by_ns = c->a.node->now_ns };
    r.raft = raft_of(look, r.heard_ns);
    alone_run(&c->a, ms);
    bool left = replica_is_left(c->a.node, &r);
    raft_free(r.raft);
    return left;
}

Test(replica_left, only_what_no_majority_may_need)
{
    static const struct look looks[] = {
        { "nobody led since", { ADDED }, 5, 4, 0, false },
        { "a leader of later began without it", { ADDED }, 5, 5, 0, true },
        { "that leader spoke to it", { ADDED }, 5, 5, 5, false },
        { "added and removed in one term", { ADDED }, 6, 4, 0, true },
        { "a voter that nobody told", { ADDED, PROMOTED }, 5, 5, 0, false },
        { "a voter that was removed", { ADDED, PROMOTED }, 7, 5, 0, true },
        { "its admission is still to come", { NONE }, 5, 4, 0, false },
        { "it came and was undone", { NONE }, 6, 4, 0, true },
        { "cut before it was added", { PUT, SPLIT, ADDED }, 6, 4, 0, false },
        { "cut, added and removed", { PUT, SPLIT, ADDED }, 7, 4, 0, true },
        { "a merge raises it by any number",
          { MERGE, ADDED },
          50,
          4,
          0,
          false },
        { "a merge, and led since", { MERGE, ADDED }, 50, 5, 0, true },
    };
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        struct crowd c;
        crowd_begin(&c, 1);
        crowd_tell_keyspace(&c, FAR, "far", false);
        cr_expect_eq(is_left(&c, &looks[i], LONG_MS), looks[i].left, "%s",
                     looks[i].text);
        cr_expect_not(is_left(&c, &looks[i], LONG_MS / 2), "%s, too early",
                      looks[i].text);
        crowd_end(&c);
    }
}
