/* SPDX-License-Identifier: Apache-2.0 */

/* The agreement of one arc's replicas: src/replica/raft*.c.
 *
 * Process replica(i) is one struct raft; each d_step below is one call of it
 * together with the raft_take that follows, and names the function it stands
 * for. Crash and restart are one step, since a replica that is down is one that
 * takes no step.
 *
 * The network keeps all that was ever sent and may deliver any of it at any
 * time, any number of times, or never: so it loses, delays, reorders and
 * repeats. What a leader says in a term is always a part of its log in that
 * term, so the APPENDs and HEARTBEATs of term t are llog[t], llen[t] and
 * lcommit[t]; requests for votes are stood[t, c], votes voted[t, c], answers to
 * APPENDs acked[t, i]. Entries travel one by one: a message of many is some
 * steps without another in between.
 *
 * The disk: `term, vote, log` are in memory, `dterm, dvote, dlog` survive. What
 * raft_take names reaches the disk in its order (term and vote before entries)
 * in the steps "persisted", and some time later.
 *
 * Time: hold[i] says that less than election_ns passed since i heard a leader
 * or started (must_hold_back). A leader's lease is shorter and counts from when
 * it spoke, so when the hold of i ends no lease can rest on an answer of i any
 * more: that is the step "time passes", the only clock. Until then the worst is
 * assumed: each answer has reached the leader (echo).
 *
 * Left out: snapshots and members (members.pml, transfer.pml), flow control,
 * sleep, learners. Pre-votes decide nothing and are kept by who has them as
 * grants in prevoted[t, c] (if PREVOTE; else they always succeed, which allows
 * more). A check-quorum that fails is a leader that does nothing more.
 *
 * Properties: one leader a term; a new leader has all that was ever committed
 * (so nothing acknowledged is lost: it is acknowledged when it is committed and
 * applied); two replicas never commit different entries at one index; no
 * message of a true leader is refused as one that makes no sense; a read, by
 * lease or by a round, sees all that was acknowledged before it began.
 *
 * -DBUG=n, the numbers of DLHT_MUTANT: 1 counts what is not durable, 2 forgets
 * at a restart that it voted, 4 keeps the lease through a transfer, 5 counts the
 * lease from the answer, 6 stands and votes while a lease may run (3 is in
 * members.pml, which has room for its five terms). */

#ifndef BUG
#define BUG 0
#endif
#ifndef TERMS
#define TERMS 2
#endif
#ifndef ENTRIES /* of a log */
#define ENTRIES 3
#endif
#ifndef PROPOSALS
#define PROPOSALS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef TRANSFERS
#define TRANSFERS 1
#endif
#ifndef READS
#define READS 0
#endif
#ifndef LEASE
#define LEASE 1
#endif
#ifndef LAZY
#define LAZY 0
#endif

#define N 3
#define FOLLOWER 0
#define CANDIDATE 1 /* awaits its disk */
#define ASKING 2    /* standing_sent */
#define LEADER 3

#define TC(t, c) ((t) * N + (c))
#define AT(i, k) ((i) * (ENTRIES + 1) + (k)) /* k from 1; at 0 stands 0 */

/* In memory. */
byte role[N], term[N], vote[N], last[N], log[N * (ENTRIES + 1)];
byte persisted[N], commit[N], matched[N];
bit hold[N], told[N] /* standing_told */, heard[N] /* this term's leader */;
/* On disk. */
byte dterm[N], dvote[N], dlen[N], dlog[N * (ENTRIES + 1)];
/* Sent. */
#define STOOD 128
#define WISHED 64 /* by the leader */
byte stood[(TERMS + 1) * N];  /* + 8 * last index + its term */
byte voted[(TERMS + 1) * N];  /* bits: who */
#ifdef PREVOTE
byte prevoted[(TERMS + 1) * N], asked[(TERMS + 1) * N];
#endif
byte leader[TERMS + 1];       /* and 1 */
byte llen[TERMS + 1], llog[(TERMS + 1) * (ENTRIES + 1)], lcommit[TERMS + 1];
byte acked[(TERMS + 1) * N];
byte tell[TERMS + 1]; /* TIMEOUT_NOW to that one, and 1 */
#if LEASE
byte echo[N]; /* a leader of that term may count i's answer in its lease */
#endif
/* For the properties. */
byte agreed[ENTRIES + 1], last_agreed;
byte crashes, proposals, transfers;
#if READS
byte reads, read_by /* and 1 */, read_term, read_index, read_least, read_set;
#endif

hidden byte h, n;


inline drop_reads(i)
{
#if READS
    if
    :: read_by == i + 1 -> read_by = 0; read_term = 0; read_index = 0;
        read_least = 0; read_set = 0;
    :: else
    fi
#else
    skip
#endif
}

/* Bits of a set. */
#define IS(set, i) (((set) >> (i)) & 1)
#define MAJORITY(set) \
    (IS(set, 0) + IS(set, 1) + IS(set, 2) > N / 2)

#define LAST(i) (last[i] * 8 + log[AT(i, last[i])])
#define IS_BEHIND(i, index8term) /* is_up_to_date, not */ \
    (((index8term) & 7) < log[AT(i, last[i])] || \
     (((index8term) & 7) == log[AT(i, last[i])] && \
      (((index8term) >> 3) & 7) < last[i]))

/* raft_election_raise */
inline raise(i, t)
{
    if
    :: role[i] == LEADER -> drop_reads(i)
    :: else
    fi;
    role[i] = FOLLOWER;
    term[i] = t;
    vote[i] = 0;
    told[i] = 0;
    heard[i] = 0;
    matched[i] = commit[i];
}

/* raft_follow_send */
inline answer(i)
{
    if
    :: role[i] == FOLLOWER && heard[i] && (dterm[i] == term[i] || BUG == 1) ->
        h = matched[i];
        if
        :: h > persisted[i] && BUG != 1 -> h = persisted[i]
        :: else
        fi;
        if
        :: h > acked[TC(term[i], i)] -> acked[TC(term[i], i)] = h
        :: else
        fi;
#if LEASE
        if
        :: hold[i] -> echo[i] = term[i]
        :: else
        fi;
#endif
#if READS
        if
        :: read_by && read_term == term[i] && hold[i] ->
            read_set = read_set | (1 << i)
        :: else
        fi
#endif
    :: else
    fi
}

/* Every word of the leader of term t: hear, raft_election_follow */
inline hear(i, t)
{
    if
    :: t > term[i] -> raise(i, t)
    :: else
    fi;
    role[i] = FOLLOWER;
    heard[i] = 1;
    hold[i] = LEASE;
}

/* raft_persisted with what was named until now: term and vote, which releases
 * what waits for them (raft_election_settle), and entries */
inline persist_vote(i)
{
    dterm[i] = term[i];
    dvote[i] = vote[i];
    if
    :: role[i] == CANDIDATE ->
        role[i] = ASKING;
        stood[TC(term[i], i)] = STOOD + WISHED * told[i] + LAST(i);
        voted[TC(term[i], i)] = 1 << i
    :: role[i] != CANDIDATE && vote[i] && vote[i] != i + 1 ->
        voted[TC(term[i], vote[i] - 1)] =
            voted[TC(term[i], vote[i] - 1)] | (1 << i);
        answer(i)
    :: else -> answer(i)
    fi
}

inline persist_log(i)
{
    persisted[i] = last[i];
    dlen[i] = last[i];
    for (n : 1 .. ENTRIES) {
        dlog[AT(i, n)] = log[AT(i, n)]
    }
    answer(i)
}

/* A follower says nothing of what is not on its disk, so if it lost that in a
 * crash nobody could tell that it ever came: unless LAZY (and for BUG 1) it is
 * durable at once, and only leaders lose the end of their log. */
#if LAZY
#define AT_ONCE(what) skip
#else
#define AT_ONCE(what) what
#endif

/* stand */
inline stand(i, wished)
{
    raise(i, term[i] + 1);
    role[i] = CANDIDATE;
    vote[i] = i + 1;
    told[i] = wished;
    AT_ONCE(persist_log(i); persist_vote(i))
}

/* learn_commit, raft_append_commit: and what must hold of it */
inline commit_to(i, index)
{
    commit[i] = index;
    for (n : 1 .. index) {
        assert(agreed[n] == 0 || agreed[n] == log[AT(i, n)]);
        agreed[n] = log[AT(i, n)]
    }
    if
    :: index > last_agreed -> last_agreed = index
    :: else
    fi
}

/* receive_vote_request */
#define VOTE_REQUEST(t, c) \
    :: d_step { c != i && stood[TC(t, c)] && t >= term[i] && \
        ((stood[TC(t, c)] & WISHED) || \
         (role[i] != LEADER && (!hold[i] || BUG == 6))) && \
        (t > term[i] || (vote[i] == 0 && \
                         !IS_BEHIND(i, stood[TC(t, c)] & 63))) -> \
        if \
        :: t > term[i] -> raise(i, t) \
        :: else \
        fi; \
        if \
        :: vote[i] == 0 && !IS_BEHIND(i, stood[TC(t, c)] & 63) -> \
            role[i] = FOLLOWER; \
            vote[i] = c + 1; \
            if \
            :: BUG == 1 -> voted[TC(t, c)] = voted[TC(t, c)] | (1 << i) \
            :: else \
            fi \
        :: else \
        fi; \
        AT_ONCE(persist_vote(i)) }

/* raft_follow_append with one entry, the k-th */
#define APPEND(t, k) \
    :: d_step { leader[t] && leader[t] != i + 1 && t >= term[i] && \
        k <= llen[t] && k - 1 <= last[i] && \
        log[AT(i, k - 1)] == llog[AT(t, k - 1)] && \
        (t > term[i] || matched[i] < k || hold[i] < LEASE || !heard[i]) -> \
        assert(!(t == term[i] && role[i] == LEADER)); \
        hear(i, t); \
        if \
        :: k <= last[i] && log[AT(i, k)] == llog[AT(t, k)] \
        :: else -> \
            assert(k > commit[i] && k > matched[i]); \
            for (n : k .. ENTRIES) { \
                log[AT(i, n)] = 0 \
            } \
            log[AT(i, k)] = llog[AT(t, k)]; \
            last[i] = k; \
            if \
            :: persisted[i] >= k -> persisted[i] = k - 1 \
            :: else \
            fi \
        fi; \
        if \
        :: matched[i] < k -> matched[i] = k \
        :: else \
        fi; \
        answer(i); \
        AT_ONCE(persist_vote(i); persist_log(i)) }

/* raft_follow_heartbeat, or an APPEND that does not fit: is only heard */
#define HEARTBEAT(t) \
    :: d_step { leader[t] && leader[t] != i + 1 && t >= term[i] && \
        (t > term[i] || role[i] != FOLLOWER || hold[i] < LEASE || \
         !heard[i] || \
         READING(i, t)) -> \
        hear(i, t); \
        answer(i); \
        AT_ONCE(persist_vote(i)) } \
    :: d_step { leader[t] && leader[t] != i + 1 && t == term[i] && heard[i] && \
        commit[i] < lcommit[t] && commit[i] < last[i] && \
        (commit[i] < matched[i] || commit[i] < acked[TC(t, i)]) -> \
        if \
        :: matched[i] < acked[TC(t, i)] && matched[i] < lcommit[t] -> \
            matched[i] = acked[TC(t, i)]; \
            if \
            :: matched[i] > lcommit[t] -> matched[i] = lcommit[t] \
            :: else \
            fi \
        :: else \
        fi; \
        h = lcommit[t]; \
        if \
        :: h > matched[i] -> h = matched[i] \
        :: else \
        fi; \
        commit_to(i, h) }

#if READS
#define READING(i, t) (read_by && read_term == t && !IS(read_set, i))
#else
#define READING(i, t) false
#endif

#define HAS(i, t, k) (acked[TC(t, i)] >= k)
#if LEASE
#define ECHOES(i) \
    (((echo[0] == term[i]) | ((echo[1] == term[i]) << 1) | \
      ((echo[2] == term[i]) << 2)) | (1 << i))
#endif

/* raft_append_commit */
#define COMMIT(k) \
    :: d_step { role[i] == LEADER && k <= last[i] && commit[i] < k && \
        log[AT(i, k)] == term[i] && \
        (persisted[i] >= k || BUG == 1) + \
        (i != 0 && HAS(0, term[i], k)) + (i != 1 && HAS(1, term[i], k)) + \
        (i != 2 && HAS(2, term[i], k)) > N / 2 -> \
        commit_to(i, k); \
        lcommit[term[i]] = k }

#ifdef PREVOTE
/* stand_first; receive_prevote_request; receive_prevote_reply */
#define PREVOTES(t, c) \
    :: d_step { c == i && role[i] != LEADER && !hold[i] && term[i] + 1 == t && \
        !asked[TC(t, i)] -> \
        asked[TC(t, i)] = 64 + LAST(i); \
        prevoted[TC(t, i)] = 1 << i } \
    :: d_step { c != i && asked[TC(t, c)] && term[i] < t && \
        !IS(prevoted[TC(t, c)], i) && role[i] != LEADER && !hold[i] && \
        !IS_BEHIND(i, asked[TC(t, c)] & 63) -> \
        prevoted[TC(t, c)] = prevoted[TC(t, c)] | (1 << i) }
#define MAY_STAND(i) \
    (asked[TC(term[i] + 1, i)] && MAJORITY(prevoted[TC(term[i] + 1, i)]))
#else
#define MAY_STAND(i) true
#endif

proctype replica(byte i)
{
end:
    do
    /* raft_tick or receive_prevote_reply: stands. */
    :: d_step { role[i] != LEADER && role[i] != CANDIDATE &&
        (!hold[i] || BUG == 6) && term[i] < TERMS &&
        MAY_STAND(i) -> stand(i, 0) }
    /* receive_timeout_now */
    :: d_step { term[i] > 0 && term[i] < TERMS && tell[term[i]] == i + 1 &&
        role[i] == FOLLOWER -> stand(i, 1) }
    /* raft_persisted */
    :: d_step { dterm[i] != term[i] || dvote[i] != vote[i] ||
        role[i] == CANDIDATE -> persist_vote(i) }
    :: d_step { dterm[i] == term[i] && dvote[i] == vote[i] &&
        persisted[i] < last[i] -> persist_log(i) }
    /* is_won, raft_append_lead */
    :: d_step { role[i] == ASKING && MAJORITY(voted[TC(term[i], i)]) &&
        last[i] < ENTRIES ->
        assert(leader[term[i]] == 0);
        role[i] = LEADER;
        leader[term[i]] = i + 1;
        for (h : 1 .. term[i] - 1) {
            for (n : 1 .. lcommit[h]) {
                assert(agreed[n] == log[AT(i, n)])
            }
        }
        last[i]++;
        log[AT(i, last[i])] = term[i];
        for (n : 1 .. ENTRIES) {
            llog[AT(term[i], n)] = log[AT(i, n)]
        }
        llen[term[i]] = last[i];
        lcommit[term[i]] = commit[i] }
    /* raft_propose */
    :: d_step { role[i] == LEADER && last[i] < ENTRIES &&
        proposals < PROPOSALS ->
        proposals++;
        last[i]++;
        log[AT(i, last[i])] = term[i];
        llog[AT(term[i], last[i])] = term[i];
        llen[term[i]] = last[i] }
    /* raft_transfer, raft_append_send: the successor has everything */
    :: d_step { role[i] == LEADER && tell[term[i]] == 0 && i != 0 &&
        transfers < TRANSFERS && HAS(0, term[i], last[i]) ->
        transfers++; tell[term[i]] = 1 }
    :: d_step { role[i] == LEADER && tell[term[i]] == 0 && i != 1 &&
        transfers < TRANSFERS && HAS(1, term[i], last[i]) ->
        transfers++; tell[term[i]] = 2 }
    :: d_step { role[i] == LEADER && tell[term[i]] == 0 && i != 2 &&
        transfers < TRANSFERS && HAS(2, term[i], last[i]) ->
        transfers++; tell[term[i]] = 3 }
#if REFUSALS
    /* A refusal, refuse or refuse_old, that names a later term. */
    :: d_step { term[i] < term[0] && role[i] != FOLLOWER -> raise(i, term[0]) }
    :: d_step { term[i] < term[1] && role[i] != FOLLOWER -> raise(i, term[1]) }
    :: d_step { term[i] < term[2] && role[i] != FOLLOWER -> raise(i, term[2]) }
#endif
    APPEND(1, 1)
    APPEND(1, 2)
    HEARTBEAT(1)
    COMMIT(1)
    COMMIT(2)
#if ENTRIES > 2
    APPEND(1, 3)
    COMMIT(3)
#endif
#if TERMS > 1
    VOTE_REQUEST(2, 0)
    VOTE_REQUEST(2, 1)
    VOTE_REQUEST(2, 2)
    APPEND(2, 1)
    APPEND(2, 2)
    HEARTBEAT(2)
#ifdef PREVOTE
    PREVOTES(2, 0)
    PREVOTES(2, 1)
    PREVOTES(2, 2)
#endif
#if ENTRIES > 2
    APPEND(2, 3)
#endif
#endif
#if TERMS > 2
    VOTE_REQUEST(3, 0)
    VOTE_REQUEST(3, 1)
    VOTE_REQUEST(3, 2)
    APPEND(3, 1)
    APPEND(3, 2)
    HEARTBEAT(3)
#ifdef PREVOTE
    PREVOTES(3, 0)
    PREVOTES(3, 1)
    PREVOTES(3, 2)
#endif
#if ENTRIES > 2
    APPEND(3, 3)
#endif
#endif
#if TERMS > 3
    VOTE_REQUEST(4, 0)
    VOTE_REQUEST(4, 1)
    VOTE_REQUEST(4, 2)
    APPEND(4, 1)
    APPEND(4, 2)
    HEARTBEAT(4)
#if ENTRIES > 2
    APPEND(4, 3)
#endif
#endif
#if LEASE
    /* Time passes: raft->heard_ns + election_ns, raft->hold_ns */
    :: d_step { hold[i] ->
        hold[i] = 0;
        if
        :: BUG != 5 -> echo[i] = 0
        :: else
        fi }
    /* raft_read by the lease: raft_read_has_lease */
    :: d_step { role[i] == LEADER && MAJORITY(ECHOES(i)) &&
        (tell[term[i]] == 0 || BUG == 4) && commit[i] > 0 &&
        log[AT(i, commit[i])] == term[i] && commit[i] < last_agreed ->
        assert(false) }
#endif
#if READS
    /* raft_read, raft_read_begin_round */
    :: d_step { role[i] == LEADER && reads < READS && read_by == 0 &&
        commit[i] > 0 && log[AT(i, commit[i])] == term[i] ->
        reads++;
        read_by = i + 1;
        read_term = term[i];
        read_index = commit[i];
        read_least = last_agreed;
        read_set = 1 << i }
    /* raft_read_confirm */
    :: d_step { read_by == i + 1 && MAJORITY(read_set) ->
        assert(read_index >= read_least);
        drop_reads(i) }
#endif
    /* The process ends and starts again: raft_new, raft_restore_*, raft_start.
     */
    :: d_step { crashes < CRASHES && term[i] > 0 ->
        crashes++;
        drop_reads(i);
        role[i] = FOLLOWER;
        term[i] = dterm[i];
        vote[i] = (BUG == 2 -> 0 : dvote[i]);
        dvote[i] = vote[i];
        told[i] = 0;
        heard[i] = 0;
        hold[i] = (LEASE && BUG != 6);
        last[i] = dlen[i];
        for (n : 1 .. ENTRIES) {
            log[AT(i, n)] = dlog[AT(i, n)]
        }
        persisted[i] = last[i];
        commit[i] = 0;
        matched[i] = 0 }
    od
}

init {
    atomic {
        /* Replica 0 has won term 1 by all votes. */
        role[0] = LEADER;
        for (n : 0 .. N - 1) {
            term[n] = 1; dterm[n] = 1;
            vote[n] = 1; dvote[n] = 1
        }
        n = 0;
        last[0] = 1; log[AT(0, 1)] = 1;
        leader[1] = 1; llen[1] = 1; llog[AT(1, 1)] = 1;
        run replica(0);
        run replica(1);
        run replica(2)
    }
}
