/* SPDX-License-Identifier: Apache-2.0 */

/* The split of an arc: COMMAND_SPLIT in the log of the parent, and the child's
 * own group that each replica founds when it applies it
 * (src/node/replica_apply.c: apply_split, make_right; replica_ask.c:
 * replica_split; restore.c; transfer.c).
 *
 * Process peer(p) is one node with its copy of the parent and of the child. A
 * log is what arc.pml shows: an entry counts once two of three have it durably,
 * and who leads has all that counts. So an entry is stored by its leader and one
 * other in one step, in `entry` and `held` for the parent; of the child's log
 * only the number of writes is kept. A peer applies the parent's entries one by
 * one and as late as it likes: it lags, and the child's leader may reach it
 * before it has applied the split (meet_unknown: an empty copy, which has no
 * say and gets a snapshot), or the parent's snapshot jumps over the split.
 *
 * Left out: the left half after the split (writes to it are entries that change
 * nothing for the right one), changes of members.
 *
 * Properties: a write to the right half is acknowledged by the parent only
 * before the split and by the child only after it; who reads it sees all that
 * was acknowledged; all that the child acknowledged is on the disks of two, and
 * stays there.
 *
 * -DBUG=n: 1 the fence is dropped: what was proposed under other bounds is done
 * (DLHT_MUTANT 12), 2 JOURNAL_COMMIT is not written:
 * the child does not outlive the process, 3 a snapshot replaces the log from
 * which the child would be made again, 4 the parent answers reads by what it
 * has applied, not by what is committed; 5 snapshots of the parent jump over a
 * split that only one replica has applied (replica_has_open_child): no majority
 * will ever have the child; 6 a copy that waits for the child's leader, and may
 * have voted for it (meet_unborn), is not filled by the split (fill_empty). */

#ifndef BUG
#define BUG 0
#endif
#ifndef ENTRIES
#define ENTRIES 3
#endif
#ifndef WRITES /* to the child */
#define WRITES 2
#endif
#ifndef CRASHES
#define CRASHES 2
#endif

#define N 3
#define WRITE 1
#define SPLIT 2

byte entry[ENTRIES + 1], count, split_at;
byte held[N], applied[N], base[N] /* of the log: a snapshot */;
bit is_split[N];
byte right[N]; /* writes to the right half in the parent's copy */
byte leader = 1; /* of the parent, and 1 */

#define NONE 0
#define EMPTY 1
#define LIVE 2
#define UNBORN 3
#define IS_TO_COME(p) (child[p] != LIVE)
byte child[N], stored[N] /* writes */;
bit unbased[N] /* only the parent's log can make it */, buried[N];
byte child_leader; /* and 1 */

byte first /* writes to the right half before the split */;
byte acknowledged /* writes to the right half */, child_writes, crashes;
hidden byte n;

/* Has durably what was acknowledged of the child, or what makes it. */
#define HOLDS(p) \
    ((child[p] == LIVE && stored[p] >= acknowledged) || \
     (IS_TO_COME(p) && !buried[p] && held[p] >= split_at && \
      base[p] < split_at && !is_split[p] && child_writes == 0))
#define CHECK \
    assert(!split_at || HOLDS(0) + HOLDS(1) + HOLDS(2) >= 2)

/* replica_propose, and its commit: by leader p and q */
inline propose(p, q, what)
{
    count++;
    entry[count] = what;
    held[p] = count;
    held[q] = count;
    if
    :: what == SPLIT && !split_at ->
        split_at = count;
        first = acknowledged
    :: what == WRITE && (!split_at || BUG == 1) -> acknowledged++
    :: else
    fi;
    CHECK
}

#define LEADS(p) (leader == (p) + 1 && held[p] == count)

/* Over a split that p has not applied: not before a majority has the child. */
#define MAY_JUMP(p) \
    (!split_at || is_split[p] || \
     (child[0] == LIVE) + (child[1] == LIVE) + (child[2] == LIVE) >= 2)

#define OTHER(q) /* steps of p with another one */ \
    :: d_step { q != p && LEADS(p) && count < ENTRIES && held[q] == count -> \
        propose(p, q, WRITE) } \
    /* replica_split; a late one is void */ \
    :: d_step { q != p && LEADS(p) && count < ENTRIES && held[q] == count -> \
        propose(p, q, SPLIT) } \
    /* begin_incoming, transfer_install: the parent's log is compacted */ \
    :: d_step { q != p && LEADS(q) && applied[q] == count && held[p] < count && \
        (!unbased[p] || BUG == 3) && (MAY_JUMP(p) || BUG == 5) -> \
        held[p] = count; \
        applied[p] = count; \
        base[p] = count; \
        right[p] = right[q]; \
        is_split[p] = is_split[q]; \
        CHECK } \
    /* a write to the child, stored by two of its copies */ \
    :: d_step { q != p && child_leader == p + 1 && child[q] == LIVE && \
        stored[q] == stored[p] && child_writes < WRITES -> \
        child_writes++; \
        stored[p]++; \
        stored[q]++; \
        acknowledged++; \
        CHECK } \
    /* it follows the child's leader; or meets it before the split */ \
    :: d_step { q != p && child_leader == p + 1 && child[q] == NONE && \
        !buried[q] -> child[q] = EMPTY } \
    :: d_step { q != p && child_leader == p + 1 && \
        (child[q] == EMPTY || child[q] == UNBORN) -> \
        child[q] = LIVE; \
        stored[q] = stored[p] } \
    :: d_step { q != p && child_leader == p + 1 && child[q] == LIVE && \
        stored[q] < stored[p] -> stored[q] = stored[p] } \
    /* The child's election: is_up_to_date, r->empty has no say. */ \
    :: d_step { q != p && child[p] == LIVE && child_leader != p + 1 && \
        child[q] == LIVE && stored[q] <= stored[p] -> child_leader = p + 1 } \
    /* meet_unborn: its parent is not cut yet, and nothing happened to the child */ \
    :: d_step { q != p && child[p] == LIVE && child_leader != p + 1 && \
        stored[p] == first && (child[q] == NONE || child[q] == UNBORN) && \
        !buried[q] && !is_split[q] -> \
        child[q] = UNBORN; \
        child_leader = p + 1 }

proctype peer(byte p)
{
end:
    do
    OTHER(0)
    OTHER(1)
    OTHER(2)
    :: d_step { held[p] < count -> held[p]++ } /* APPEND */
    :: d_step { leader != p + 1 && held[p] == count -> leader = p + 1 }
    /* replica_apply: apply_write */
    :: d_step { applied[p] < held[p] && entry[applied[p] + 1] == WRITE ->
        applied[p]++;
        if
        :: !is_split[p] || BUG == 1 -> right[p]++
        :: else
        fi }
    /* apply_split, make_right; the second is void */
    :: d_step { applied[p] < held[p] && entry[applied[p] + 1] == SPLIT ->
        applied[p]++;
        if
        :: !is_split[p] && !buried[p] &&
            (child[p] == NONE || (IS_TO_COME(p) && BUG != 6)) ->
            child[p] = LIVE;
            stored[p] = right[p];
            unbased[p] = 1
        :: else
        fi;
        is_split[p] = 1;
        CHECK }
    /* A checkpoint of the child. */
    :: d_step { unbased[p] && child[p] == LIVE -> unbased[p] = 0 }
    /* Reads of the right half: raft_read, serve_reads */
    :: d_step { leader == p + 1 && held[p] == count && !is_split[p] &&
        (applied[p] == count || BUG == 4) && right[p] != acknowledged &&
        (BUG != 4 || split_at) -> assert(false) }
    :: d_step { child_leader == p + 1 && stored[p] != acknowledged ->
        assert(false) }
    /* The process ends and starts again (restore.c): the parent is applied
     * again from its base as far as JOURNAL_COMMIT says. */
    :: d_step { crashes < CRASHES ->
        crashes++;
        if
        :: child_leader == p + 1 -> child_leader = 0
        :: else
        fi;
        if
        :: leader == p + 1 -> leader = 0
        :: else
        fi;
        if
        :: unbased[p] && (BUG == 2 || base[p] >= split_at) ->
            child[p] = NONE;
            stored[p] = 0;
            unbased[p] = 0;
            buried[p] = (BUG != 2) /* restore_bury_lost */
        :: else
        fi;
        if
        :: base[p] < split_at && (child[p] == NONE || BUG == 2) ->
            applied[p] = base[p];
            is_split[p] = 0;
            right[p] = 0;
            for (n : 1 .. base[p]) {
                right[p] = right[p] + (entry[n] == WRITE)
            }
        :: else
        fi;
        CHECK }
    od
}

init {
    atomic {
        run peer(0);
        run peer(1);
        run peer(2)
    }
}
