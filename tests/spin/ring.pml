/* SPDX-License-Identifier: Apache-2.0 */

/* Upkeep of the ring: the pointers of each arc's owner (src/chord/ring.c,
 * ring_receive.c, ring_find.c, pointers.c; Zave's corrected Chord).
 *
 * Process arc(i) is one struct ring, of the arc whose lo is the i-th place of
 * K. An arc comes by a split of the one before it (ring_new with `from`,
 * pointers_inherit, ring_hint) and goes by a merge into it (ring_set_self;
 * whoever asks it hears that it is gone); no arc comes back under its id. A
 * list has two places, and each arc knows its own end.
 *
 * A question and its answer are one step, at any time: so they are as late as
 * one likes, but nothing happens between them. A search (ring_find) considers
 * what those that it points to point to. Owners that stop are followed by
 * others of the same group, and the arc stays: so that is no step here. Left
 * out: fingers (a finger costs hops only), `met` and `avoid` (for parts that
 * were cut off), SWIM and the maps (chord/map.c says why any order of news ends
 * in the same map).
 *
 * Properties: a lookup that goes from pointer to pointer (lookup_next_hop) over
 * arcs that are there finds the owner of its key, or stops at an arc that knows
 * that its successor is wrong and looks for the right one; when the changes stop
 * and nothing is left to do, all lists and predecessors are right
 * (audit_is_ideal), and so every lookup finds its key.
 *
 * -DBUG=n: 1 the child of a split inherits nothing and is not hinted at, 2 a
 * predecessor that is gone is kept (no rectify), 3 nobody notifies. */

#ifndef BUG
#define BUG 0
#endif
#ifndef SPLITS
#define SPLITS 2
#endif
#ifndef MERGES
#define MERGES 1
#endif
#ifndef K /* places */
#define K 4
#endif
#define NO K

bit alive[K + 1] /* NO is not */, was[K];
byte ends[K] /* hi */;
byte first[K + 1] /* of the list; the arc itself: alone */, second[K], before[K + 1], candidate[K + 1];
byte splits, merges;
hidden byte n, m, at, best, x;

#define D(a, b) (((b) + K - (a)) % K)
/* order_between: (a, b), all but a if they are the same */
#define BETWEEN(a, v, b) (D(a, v) > 0 && ((a) == (b) || D(a, v) < D(a, b)))
#define NEXT(i, k) (((i) + (k)) % K)
#define END(i) ends[i]
#define INSIDE(i, v) ((v) == (i) || (i) == END(i) || D(i, v) < D(i, END(i)))
#define HEAD(i) first[i]
/* pointers_is_before_head */
#define IS_BEFORE_HEAD(i, v) \
    ((v) != NO && !INSIDE(i, v) && BETWEEN(i, v, HEAD(i)))
#define IS_BETTER(i, v) /* ring_consider takes it */ \
    (IS_BEFORE_HEAD(i, v) && \
     (candidate[i] == NO || BETWEEN(i, v, candidate[i])))

inline consider(who, other)
{
    if
    :: IS_BETTER(who, other) -> candidate[who] = other
    :: else
    fi
}

/* ring_notify, RING_NOTIFY: ring_rectify; one that is gone is found so */
#define WOULD_RECTIFY(h, i) \
    (before[h] != (i) && !INSIDE(h, i) && \
     (before[h] == NO || BETWEEN(before[h], i, h) || \
      (!alive[before[h]] && BUG != 2)))
inline notify(to, from)
{
    if
    :: to != from && alive[to] && BUG != 3 ->
        if
        :: WOULD_RECTIFY(to, from) -> before[to] = from
        :: else
        fi;
        consider(to, from)
    :: else
    fi
}

/* pointers_adopt */
inline adopt(i, h)
{
    x = first[h];
    if
    :: x == h -> /* it has no list yet: ours stays behind it */
        if
        :: first[i] == h -> x = second[i]
        :: first[i] != h && first[i] != i -> x = first[i]
        :: else -> x = NO
        fi
    :: else
    fi;
    if
    :: x != NO && (INSIDE(i, x) || !BETWEEN(h, x, i)) -> x = NO
    :: else
    fi;
    first[i] = h;
    second[i] = x;
    if
    :: candidate[i] != NO && !IS_BEFORE_HEAD(i, candidate[i]) ->
        candidate[i] = NO
    :: else
    fi;
    /* look_behind */
    x = before[h];
    if
    :: IS_BEFORE_HEAD(i, x) -> consider(i, x)
    :: else -> notify(h, i)
    fi
}

/* pointers_drop_head */
inline drop_head(that)
{
    first[that] = second[that];
    second[that] = NO;
    if
    :: first[that] == NO -> first[that] = that
    :: else
    fi
}

/* pointers_set_self: what stands inside goes */
inline set_self(i)
{
    if
    :: second[i] != NO && INSIDE(i, second[i]) -> second[i] = NO
    :: else
    fi;
    if
    :: first[i] != i && INSIDE(i, first[i]) -> drop_head(i)
    :: else
    fi;
    if
    :: before[i] != NO && INSIDE(i, before[i]) -> before[i] = NO
    :: else
    fi;
    if
    :: candidate[i] != NO && !IS_BEFORE_HEAD(i, candidate[i]) ->
        candidate[i] = NO
    :: else
    fi
}

/* Asked, the head h would change the list of i. */
#define BEHIND(i, h) \
    (first[h] != h && !INSIDE(i, first[h]) && BETWEEN(h, first[h], i))
#define IS_NEWS(i, h) \
    ((BEHIND(i, h) && second[i] != first[h]) || \
     (first[h] != h && !BEHIND(i, h) && second[i] != NO))

/* lookup_next_hop from each arc to each key */
inline offer(v)
{
    if
    :: (v) != NO && alive[v] && D(v, m) < D(best, m) -> best = v
    :: else
    fi
}
inline check()
{
    for (n : 0 .. K - 1) {
        for (m : 0 .. K - 1) {
            at = n;
            do
            :: !alive[n] || INSIDE(at, m) -> break
            :: else ->
                best = at;
                offer(first[at]);
                offer(second[at]);
                offer(before[at]);
                offer(candidate[at]);
                assert(best != at || first[at] != ends[at]);
                if
                :: best == at -> break
                :: else
                fi;
                at = best
            od
        }
    }
    n = 0; m = 0; at = 0; best = 0
}

/* What ring_find meets by way of v: what it points to. */
#define FIND(p) \
    :: d_step { alive[i] && HEAD(i) != END(i) && p != NO && alive[p] && \
        alive[first[p]] && IS_BETTER(i, first[p]) -> \
        candidate[i] = first[p]; check() } \
    :: d_step { alive[i] && HEAD(i) != END(i) && p != NO && alive[p] && \
        alive[before[p]] && IS_BETTER(i, before[p]) -> \
        candidate[i] = before[p]; check() } \
    :: d_step { alive[i] && HEAD(i) != END(i) && p != NO && alive[p] && \
        alive[candidate[p]] && IS_BETTER(i, candidate[p]) -> \
        candidate[i] = candidate[p]; check() } \
    :: d_step { alive[i] && HEAD(i) != END(i) && p != NO && alive[p] && \
        IS_BETTER(i, p) -> candidate[i] = p; check() }

/* apply_split of i at v */
#define SPLIT(v) \
    :: d_step { alive[i] && !was[v] && v != i && INSIDE(i, v) && \
        splits < SPLITS -> \
        splits++; \
        was[v] = 1; \
        alive[v] = 1; \
        ends[v] = ends[i]; \
        ends[i] = v; \
        if \
        :: BUG != 1 -> \
            first[v] = first[i]; \
            second[v] = second[i]; \
            if \
            :: first[i] != i && second[i] == NO -> second[v] = i \
            :: else \
            fi; \
            before[v] = i \
        :: else \
        fi; \
        set_self(i); \
        if \
        :: BUG != 1 -> consider(i, v) \
        :: else \
        fi; \
        check() }

proctype arc(byte i)
{
end:
    do
    /* start_period, receive_answer: the head is asked (stabilise, 1) */
    :: d_step { alive[i] && first[i] != i && alive[first[i]] &&
        (IS_NEWS(i, first[i]) || \
         IS_BETTER(i, before[first[i]]) ||
         (!IS_BEFORE_HEAD(i, before[first[i]]) && BUG != 3 &&
          (WOULD_RECTIFY(first[i], i) || IS_BETTER(first[i], i)))) ->
        at = first[i];
        adopt(i, at);
        check() }
    /* fail_head: it is gone */
    :: d_step { alive[i] && first[i] != i && !alive[first[i]] ->
        drop_head(i);
        notify(HEAD(i), i);
        check() }
    :: d_step { alive[i] && first[i] == i && IS_BETTER(i, before[i]) ->
        candidate[i] = before[i]; check() }
    /* the candidate is asked (stabilise, 2) */
    :: d_step { alive[i] && candidate[i] != NO && alive[candidate[i]] ->
        at = candidate[i];
        candidate[i] = NO;
        if
        :: first[at] != at || at == END(i) || first[i] == i -> adopt(i, at)
        :: else
        fi;
        check() }
    :: d_step { alive[i] && candidate[i] != NO && !alive[candidate[i]] ->
        candidate[i] = NO;
        notify(HEAD(i), i);
        check() }
    FIND(first[i])
    FIND(second[i])
    FIND(before[i])
    SPLIT(1)
    SPLIT(3)
#if K > 4
    SPLIT(4)
#endif
#if K > 5
    SPLIT(5)
#endif
    /* apply_subsume; the first arc has none before it */
    :: d_step { alive[i] && END(i) != 0 && merges < MERGES ->
        merges++;
        at = END(i);
        alive[at] = 0;
        ends[i] = ends[at];
        ends[at] = at;
        first[at] = at; second[at] = NO; before[at] = NO; candidate[at] = NO;
        set_self(i);
        check() }
    od
}

#define IS_IDEAL(i) \
    (!alive[i] || (first[i] == END(i) && \
     (END(i) == i || before[END(i)] == i) && \
     ((END(END(i)) == i && second[i] == NO) || second[i] == END(END(i)))))

init {
    byte i;
    atomic {
        for (i : 0 .. K - 1) {
            first[i] = i; second[i] = NO; before[i] = NO; candidate[i] = NO;
            ends[i] = i
        }
        first[NO] = NO; before[NO] = NO; candidate[NO] = NO;
        ends[0] = 2; ends[2] = 0;
        /* Two arcs that know each other. */
        alive[0] = 1; was[0] = 1; first[0] = 2; before[0] = 2;
        alive[2] = 1; was[2] = 1; first[2] = 0; before[2] = 0;
        for (i : 0 .. K - 1) {
            run arc(i)
        }
    }
    timeout ->
    for (i : 0 .. K - 1) {
        assert(IS_IDEAL(i))
    }
}
