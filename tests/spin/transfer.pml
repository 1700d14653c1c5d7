/* SPDX-License-Identifier: Apache-2.0 */

/* A replica moves from peer 2 to peer 3: learner by snapshot, promotion,
 * removal (src/node/keeper.c, transfer.c, replica.c: meet_unknown,
 * replica_receive, replica_remove; burials.c; raft_follow.c: raft_install).
 *
 * Process peer(p) is one node with its copy of the arc. The log is a sequence
 * that only grows (arc.pml, members.pml): `stored` says how much of it a copy
 * has, and an entry is appended in one step by its leader and enough others to
 * be a majority of the voters that it names. Leaders of old terms go on as long
 * as they meet nobody of a later one: if one of them ever gets a majority, two
 * logs have parted.
 *
 * A snapshot is a head (what it is of) and one chunk, both of which the network
 * keeps, so they come late, twice, and from senders that are gone. The target
 * writes them beside its state and takes them over when they are durable
 * (transfer_install). Crashes of the source lose the transfer, crashes of the
 * target what it has received; both begin again.
 *
 * Properties: no leader of an old term gets a majority; a copy never holds parts
 * of two snapshots; what is committed is durable at a majority of the voters.
 *
 * -DBUG=n: 1 chunks of another transfer are taken, 2 a snapshot counts before it
 * is durable, 3 the ids of removed replicas are not kept (no burials). */

#ifndef BUG
#define BUG 0
#endif
#ifndef TERMS
#define TERMS 2
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef SENDS /* snapshots */
#define SENDS 3
#endif

#define N 4
#define TARGET 3
#define SOURCE 2

/* Entries are writes but for these, which are at most one each. */
byte count = 1, added_at, promoted_at, removed_at, writes;
#define VOTERS(at) /* of who has the log so far */ \
    (3 + ((!removed_at || (at) < removed_at) << SOURCE) + \
     ((promoted_at && (at) >= promoted_at) << TARGET))

#define NONE 0
#define EMPTY 1
#define FULL 2
byte copy[N], stored[N], term[N];
bit leads[N], buried;

/* Snapshots under way, and what the target has of one. */
byte sends, sent_index[SENDS + 1], sent_term[SENDS + 1];
byte incoming, incoming_head, incoming_chunk;
byte match; /* of the target, as the leader knows */
bit not_durable; /* BUG 2 */
byte crashes;
hidden byte n, set;

#define IS(bits, v) (((bits) >> (v)) & 1)
#define SIZE(bits) (IS(bits, 0) + IS(bits, 1) + IS(bits, 2) + IS(bits, 3))
#define HOLDS(v) (IS(VOTERS(count), v) && copy[v] == FULL && stored[v] >= count)
#define CHECK \
    assert(2 * (HOLDS(0) + HOLDS(1) + HOLDS(2) + HOLDS(3)) > \
           SIZE(VOTERS(count)))

/* Stores the next entry after that of leader p. */
#define TAKES(q) \
    (q == p || (copy[q] == FULL && term[q] <= term[p] && \
                stored[q] == stored[p]) || \
     (BUG == 2 && q == TARGET && match == count && term[q] <= term[p]))
#define GO(q, next) \
    (leads[p] && IS(q, p) && ((q) & (next)) == (q) && \
     2 * SIZE(q) > SIZE(next) && (!IS(q, 0) || TAKES(0)) && \
     (!IS(q, 1) || TAKES(1)) && (!IS(q, 2) || TAKES(2)) && \
     (!IS(q, 3) || TAKES(3)))

inline store(by)
{
    assert(stored[by] == count);
    count++;
    for (n : 0 .. N - 1) {
        if
        :: IS(set, n) ->
            term[n] = term[by];
            leads[n] = (n == by);
            if
            :: copy[n] == FULL -> stored[n] = count
            :: else
            fi;
            if
            :: n == TARGET -> match = count
            :: else
            fi
        :: else
        fi
    }
    set = 0
}

#define NOW VOTERS(stored[p])
#define MAJORITY(q) \
    /* raft_propose */ \
    :: d_step { writes < WRITES && GO(q, NOW) -> \
        set = q; writes++; store(p); CHECK } \
    /* raft_change: a learner; a voter; the source goes */ \
    :: d_step { !added_at && GO(q, NOW) -> \
        set = q; added_at = count + 1; store(p); CHECK } \
    :: d_step { added_at && stored[p] >= added_at && !promoted_at && \
        match == stored[p] && GO(q, NOW | (1 << TARGET)) -> \
        set = q; promoted_at = count + 1; store(p); CHECK } \
    :: d_step { promoted_at && stored[p] >= promoted_at && !removed_at && \
        p != SOURCE && GO(q, NOW & (15 - (1 << SOURCE))) -> \
        set = q; removed_at = count + 1; store(p); CHECK } \
    /* An election; what it has and others miss is theirs then. */ \
    :: d_step { !leads[p] && copy[p] == FULL && term[p] < TERMS && \
        IS(NOW, p) && IS(q, p) && ((q) & NOW) == (q) && \
        2 * SIZE(q) > SIZE(NOW) && \
        (!IS(q, 0) || GRANTS(0)) && (!IS(q, 1) || GRANTS(1)) && \
        (!IS(q, 2) || GRANTS(2)) && (!IS(q, 3) || GRANTS(3)) -> \
        set = q; \
        term[p]++; \
        for (n : 0 .. N - 1) { \
            if \
            :: IS(set, n) -> term[n] = term[p]; leads[n] = 0 \
            :: else \
            fi \
        } \
        leads[p] = 1; \
        match = 0; \
        set = 0; \
        assert(stored[p] == count) }
#define GRANTS(v) \
    (v == p || (copy[v] == FULL && term[v] <= term[p] && \
                stored[v] <= stored[p]))

/* raft_follow_append of entries that p has and q has not */
#define APPEND(q) \
    :: d_step { leads[p] && q != p && copy[q] == FULL && term[q] <= term[p] && \
        stored[q] < stored[p] && \
        (q != SOURCE || !removed_at || stored[q] < removed_at) -> \
        stored[q]++; \
        term[q] = term[p]; \
        leads[q] = 0; \
        if \
        :: q == TARGET && stored[q] > match -> match = stored[q] \
        :: else \
        fi }

/* transfer_receive_chunk: the first, and the other */
#define CHUNKS(x) \
    :: d_step { p == TARGET && x <= sends && copy[p] == EMPTY && \
        sent_term[x] >= term[p] && incoming != x && !incoming_chunk -> \
        incoming = x; \
        incoming_head = sent_index[x] } \
    :: d_step { p == TARGET && x <= sends && copy[p] == EMPTY && incoming && \
        (incoming == x || BUG == 1) && !incoming_chunk -> \
        incoming_chunk = sent_index[x] }

inline forget_incoming()
{
    incoming = 0;
    incoming_head = 0;
    incoming_chunk = 0
}

proctype peer(byte p)
{
end:
    do
    MAJORITY(3)
    MAJORITY(5)
    MAJORITY(6)
    MAJORITY(7)
    MAJORITY(9)
    MAJORITY(10)
    MAJORITY(11)
    MAJORITY(13)
    MAJORITY(14)
    APPEND(0)
    APPEND(1)
    APPEND(2)
    APPEND(3)
    /* meet_unknown: the leader's first word makes an empty copy */
    :: d_step { leads[p] && added_at && stored[p] >= added_at &&
        copy[TARGET] == NONE -> copy[TARGET] = EMPTY }
    /* transfer_begin_all, begin; again, if the last one came to nothing */
    :: d_step { leads[p] && copy[TARGET] == EMPTY && sends < SENDS &&
        term[TARGET] <= term[p] ->
        sends++;
        sent_index[sends] = stored[p];
        sent_term[sends] = term[p] }
    CHUNKS(1)
    CHUNKS(2)
#if SENDS > 2
    CHUNKS(3)
#endif
    /* EFFECT_CHECKPOINT_END is done: transfer_install, raft_install */
    :: d_step { p == TARGET && incoming_chunk && !not_durable ->
        assert(incoming_chunk == incoming_head);
        stored[p] = incoming_head;
        copy[p] = FULL;
        forget_incoming() }
    :: d_step { p == TARGET && incoming_chunk && BUG == 2 && !not_durable ->
        not_durable = 1;
        match = incoming_head }
    :: d_step { not_durable && p == TARGET && incoming_chunk ->
        not_durable = 0;
        stored[p] = incoming_head;
        copy[p] = FULL;
        forget_incoming() }
    /* raft_snapshot_done, or an answer to a heartbeat */
    :: d_step { p == TARGET && copy[p] == FULL && match < stored[p] &&
        ((leads[0] && term[0] == term[p]) ||
         (leads[1] && term[1] == term[p]) ||
         (leads[2] && term[2] == term[p])) -> match = stored[p] }
    /* GONE, or it applies its own removal: replica_remove */
    :: d_step { p == SOURCE && removed_at && copy[p] == FULL &&
        (stored[p] >= removed_at || leads[0] || leads[1] || leads[TARGET]) ->
        copy[p] = NONE;
        stored[p] = 0;
        term[p] = 0;
        leads[p] = 0;
        buried = 1 }
    /* A leader that still counts it speaks to it: meet_unknown */
    :: d_step { leads[p] && p != SOURCE && copy[SOURCE] == NONE && BUG == 3 &&
        IS(NOW, SOURCE) ->
        copy[SOURCE] = FULL; /* and a snapshot of that leader */
        stored[SOURCE] = stored[p];
        term[SOURCE] = term[p] }
    /* The process ends and starts again. */
    :: d_step { crashes < CRASHES && copy[p] != NONE ->
        crashes++;
        leads[p] = 0;
        if
        :: p == TARGET -> forget_incoming(); not_durable = 0
        :: else
        fi;
        CHECK }
    od
}

init {
    atomic {
        for (n : 0 .. 2) {
            copy[n] = FULL;
            stored[n] = 1;
            term[n] = 1
        }
        n = 0;
        leads[0] = 1;
        run peer(0);
        run peer(1);
        run peer(2);
        run peer(3)
    }
}
