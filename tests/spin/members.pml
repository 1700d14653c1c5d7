/* SPDX-License-Identifier: Apache-2.0 */

/* Changes of the members of one arc: src/replica/raft_members.c (raft_change,
 * may_change, is_one_step, raft_members_enter), raft_election.c and
 * raft_append.c as far as they count members; src/node/keeper.c for the order:
 * a learner is added, promoted when it has caught up, and the one that it
 * replaces is removed.
 *
 * Four replicas: 0, 1 and 2 are the voters, 3 comes and any of them goes; or all
 * four are voters at first (FIRST).
 * Process replica(i) is one struct raft. Entries are (term, who votes): each
 * carries the voters that hold from it on, an entry that changes none repeats
 * them; a learner is a replica that gets entries and is in no set. What
 * arc.pml shows of one term is assumed: an election is one step in which the
 * voters that would answer do; a leader's entries reach a follower with its
 * answer in one step; all is durable. But leaders of old terms go on as long as
 * they meet nobody of a later one, and a candidate asks those that its own log
 * names, whoever they are. A copy without any log has no say
 * (replica_receive, r->empty). Replicas that are down take no step.
 *
 * Properties: one leader a term; a leader of a later term has all that was
 * committed; what is committed is nowhere replaced.
 *
 * -DBUG=n: 1 a change may begin while one is under way, 2 before an entry of
 * the leader's own term is committed, 3 more than one step at a time, 4 entries
 * of old terms are committed by counting (DLHT_MUTANT 3). */

#ifndef BUG
#define BUG 0
#endif
#ifndef TERMS
#define TERMS 3
#endif
#ifndef ENTRIES
#define ENTRIES 4
#endif

#ifndef STILL /* nothing changes */
#define STILL 0
#endif

#define N 4
#ifndef FIRST
#define FIRST 7 /* voters 0, 1 and 2 */
#endif
#define AT(i, k) ((i) * (ENTRIES + 1) + (k))

byte term[N], last[N], commit[N];
bit leads[N];
byte log[N * (ENTRIES + 1)];    /* terms; at 0 stands 0 */
byte voters[N * (ENTRIES + 1)]; /* at 0 the founders */
byte match[N * N];              /* of a leader */
byte led[TERMS + 1];
byte agreed_term[ENTRIES + 1], agreed_voters[ENTRIES + 1],
    agreed_in[ENTRIES + 1];
hidden byte n, set, size;

#define IS(bits, v) (((bits) >> (v)) & 1)
#define SIZE(bits) (IS(bits, 0) + IS(bits, 1) + IS(bits, 2) + IS(bits, 3))
/* raft->members */
#define IN_FORCE(i) voters[AT(i, last[i])]

/* Would vote for i: receive_vote_request, is_up_to_date */
#define GRANTS(v, i) \
    (v == i || (term[v] <= term[i] && last[v] > 0 && \
                (log[AT(v, last[v])] < log[AT(i, last[i])] || \
                 (log[AT(v, last[v])] == log[AT(i, last[i])] && \
                  last[v] <= last[i]))))

/* A set of voters that elects i: raft_election_settle, raft_append_lead. It is
 * chosen by the step, so that others may stay behind in their old terms. */
#define ELECT(q) \
    :: d_step { !leads[i] && term[i] < TERMS && last[i] > 0 && \
        last[i] < ENTRIES && IS(q, i) && IS(IN_FORCE(i), i) && \
        ((q) & IN_FORCE(i)) == (q) && 2 * SIZE(q) > SIZE(IN_FORCE(i)) && \
        (!IS(q, 0) || GRANTS(0, i)) && (!IS(q, 1) || GRANTS(1, i)) && \
        (!IS(q, 2) || GRANTS(2, i)) && (!IS(q, 3) || GRANTS(3, i)) -> \
        set = q; \
        elect(i) }

inline elect(who)
{
    term[who]++;
    for (n : 0 .. N - 1) {
        if
        :: IS(set, n) ->
            term[n] = term[who];
            leads[n] = 0
        :: else
        fi
    }
    assert(!led[term[who]]);
    led[term[who]] = 1;
    for (n : 1 .. ENTRIES) {
        assert(!agreed_in[n] || agreed_in[n] >= term[who] ||
               (log[AT(who, n)] == agreed_term[n] &&
                voters[AT(who, n)] == agreed_voters[n]))
    }
    leads[who] = 1;
    for (n : 0 .. N - 1) {
        match[who * N + n] = 0
    }
    append(who, voters[AT(who, last[who])]);
    set = 0
}

inline append(leader, next)
{
    size = next; /* what is given may name last */
    last[leader]++;
    log[AT(leader, last[leader])] = term[leader];
    voters[AT(leader, last[leader])] = size;
    match[leader * N + leader] = last[leader]
}

/* raft_follow_append, raft_append_reply: v takes the log of i up to k and all
 * else that is there in it */
#define APPEND(v, k) \
    :: d_step { leads[i] && v != i && term[v] <= term[i] && k <= last[i] && \
        match[i * N + v] < k && log[AT(v, k - 1)] == log[AT(i, k - 1)] && \
        last[v] >= k - 1 -> \
        term[v] = term[i]; \
        leads[v] = 0; \
        if \
        :: last[v] >= k && log[AT(v, k)] == log[AT(i, k)] \
        :: else -> \
            assert(commit[v] < k); \
            for (n : k .. ENTRIES) { \
                log[AT(v, n)] = 0; \
                voters[AT(v, n)] = 0 \
            } \
            log[AT(v, k)] = log[AT(i, k)]; \
            voters[AT(v, k)] = voters[AT(i, k)]; \
            last[v] = k \
        fi; \
        if \
        :: commit[v] < commit[i] && commit[v] < k -> \
            commit[v] = commit[i]; \
            if \
            :: commit[v] > k -> commit[v] = k \
            :: else \
            fi \
        :: else \
        fi; \
        match[i * N + v] = k }

/* raft_append_commit, agreed_index */
#define HAS(v, k) (IS(IN_FORCE(i), v) && match[i * N + v] >= k)
#define COMMIT(k) \
    :: d_step { leads[i] && commit[i] < k && k <= last[i] && \
        (log[AT(i, k)] == term[i] || BUG == 4) && \
        2 * (HAS(0, k) + HAS(1, k) + HAS(2, k) + HAS(3, k)) > \
            SIZE(IN_FORCE(i)) -> \
        for (n : 1 .. k) { \
            assert(!agreed_in[n] || \
                   (agreed_term[n] == log[AT(i, n)] && \
                    agreed_voters[n] == voters[AT(i, n)])); \
            agreed_term[n] = log[AT(i, n)]; \
            agreed_voters[n] = voters[AT(i, n)]; \
            if \
            :: !agreed_in[n] || agreed_in[n] > term[i] -> \
                agreed_in[n] = term[i] \
            :: else \
            fi \
        } \
        commit[i] = k; \
        /* resign */ \
        leads[i] = IS(IN_FORCE(i), i) }

/* raft_is_changing: the newest set stands in an entry that is not committed */
#define IS_CHANGING(i) (voters[AT(i, last[i])] != voters[AT(i, commit[i])])
#define MAY_CHANGE(i) \
    (leads[i] && last[i] < ENTRIES && (!IS_CHANGING(i) || BUG == 1) && \
     (log[AT(i, commit[i])] == term[i] || BUG == 2))

/* raft_change: v is promoted; keeper: it has caught up */
#define PROMOTE(v) \
    :: d_step { MAY_CHANGE(i) && !IS(voters[AT(i, last[i])], v) && \
        SIZE(voters[AT(i, last[i])]) < 4 && match[i * N + v] >= commit[i] && \
        match[i * N + v] > 0 -> \
        append(i, voters[AT(i, last[i])] | (1 << v)) }
#define REMOVE(v) \
    :: d_step { MAY_CHANGE(i) && IS(voters[AT(i, last[i])], v) && \
        SIZE(voters[AT(i, last[i])]) > 2 -> \
        append(i, voters[AT(i, last[i])] & (15 - (1 << v))) }

proctype replica(byte i)
{
end:
    do
    ELECT(3)
    ELECT(5)
    ELECT(6)
    ELECT(9)
    ELECT(10)
    ELECT(12)
    ELECT(7)
    ELECT(11)
    ELECT(13)
    ELECT(14)
    APPEND(0, 1)
    APPEND(1, 1)
    APPEND(2, 1)
    APPEND(3, 1)
    APPEND(0, 2)
    APPEND(1, 2)
    APPEND(2, 2)
    APPEND(3, 2)
    COMMIT(1)
    COMMIT(2)
#if ENTRIES > 2
    APPEND(0, 3)
    APPEND(1, 3)
    APPEND(2, 3)
    APPEND(3, 3)
    COMMIT(3)
#endif
#if ENTRIES > 3
    APPEND(0, 4)
    APPEND(1, 4)
    APPEND(2, 4)
    APPEND(3, 4)
    COMMIT(4)
#endif
#if ENTRIES > 4
    APPEND(0, 5)
    APPEND(1, 5)
    APPEND(2, 5)
    APPEND(3, 5)
    COMMIT(5)
#endif
#if !STILL
    PROMOTE(3)
    REMOVE(0)
    REMOVE(1)
    REMOVE(2)
    REMOVE(3)
#endif
#if BUG == 3
    :: d_step { MAY_CHANGE(i) && voters[AT(i, last[i])] == FIRST &&
        i == 0 -> append(i, 9) }
#endif
    od
}

init {
    atomic {
        /* Replica 0 leads in term 1; its first entry is with all voters. */
        for (n : 0 .. N - 1) {
            voters[AT(n, 0)] = FIRST;
            if
            :: IS(FIRST, n) ->
                term[n] = 1;
                last[n] = 1;
                log[AT(n, 1)] = 1;
                voters[AT(n, 1)] = FIRST;
                match[n] = 1
            :: else
            fi
        }
        leads[0] = 1;
        led[1] = 1;
        n = 0;
        run replica(0);
        run replica(1);
        run replica(2);
        run replica(3)
    }
}
