/* SPDX-License-Identifier: Apache-2.0 */

/* The merge of a right arc R into its left neighbour L: docs/decisions/0005,
 * src/node/op_merge.c, op_merge_run.c, op_merge_apply.c.
 *
 * Each arc is one log that is applied in order (arc.pml shows why that may be
 * assumed); of R's leaders each has a number, and one that was followed by
 * another goes on asking L as long as it likes, but what it proposes in R is
 * not done. What is proposed under a leader is applied under it or never: the
 * next one acts only when it has applied its first entry (replica_may_change,
 * op_merge_tick: applied_term == led_term).
 *
 *   driver(e)  the leader of R number e: op_merge_tick, go_on, take_up
 *   right      R's log: apply_freeze, apply_thaw, apply_close, writes
 *   left       L's log: apply_stage, apply_subsume, apply_abandon,
 *              apply_forget, changes of members and a split of L
 *
 * Requests and answers are sets that only grow: they are lost, late, repeated
 * and overtaken. Clocks (FREEZE_NS, STAGED_IDLE_NS, LINGER_NS, ...) run out
 * whenever they like. R's records are one number, that of the last write; a
 * write is acknowledged when it is applied.
 *
 * Left out: sessions and batches, more than one STAGE a run (they are numbered;
 * what is missing is void), splits and members of R while it merges (they
 * change R's generation, which FREEZE and bounds_differ hold against it), L
 * being merged itself while R asks.
 *
 * Properties: never do two arcs serve the key; who serves has all that was
 * acknowledged; when nothing is left to happen somebody serves it.
 *
 * -DBUG=n: 1 thaw by time (DLHT_MUTANT 13), 2 merge an arc that goes on serving
 * (14), 3 ABANDON does not raise the generation, 4 R's leader says FORGET
 * before CLOSE is applied, 5 what was written during the copy is not sent, 6
 * the next leader of a frozen R does not ask, 7 L does not hold SUBSUME's
 * generation and run against its own. */

#ifndef BUG
#define BUG 0
#endif
#ifndef LEADERS /* of R */
#define LEADERS 2
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef CHANGES /* of L's members */
#define CHANGES 1
#endif
#define GENERATIONS (LEADERS + CHANGES + 3)

/* R: its log as it is applied. */
#define SERVES 0
#define FROZEN 1
#define CLOSED 2
#define GONE 3
byte right = SERVES, right_value, frozen_generation, frozen_run;
byte right_leader = 1;
bit freeze_proposed, close_proposed, thaw_proposed;
byte thaw_generation;

/* L, and the arc S that may be split off again. */
bit left_has, off_has;
byte left_value, off_value, generation;
byte staging /* run and 1 */, staged_generation, staged_value;
bit absorbed;
byte absorbed_generation;

/* The runs: r->run. */
#define NONE 0
#define COPY 1
#define FREEZE 2
#define REST 3
#define ABANDON 4
#define THAW 5
#define CLOSE 6
byte phase[LEADERS + 1], run_generation[LEADERS + 1];
bit touched[LEADERS + 1], begun[LEADERS + 1], told;
bit copied_first[LEADERS + 1];

/* Requests and answers. */
byte stage_sent[LEADERS + 1]; /* and 1: the value; its generation is the run's
                               * first */
byte stage_generation[LEADERS + 1];
bit stage_done[LEADERS + 1];
byte subsume_sent[LEADERS + 1]; /* 1: nothing was touched; 2 + value */
bit subsume_done[LEADERS + 1];
bit abandon_sent[GENERATIONS], was_abandoned[GENERATIONS];
bit was_absorbed[GENERATIONS], forget_sent;

byte acknowledged, changes;
bit was_split;

/* Who serves is the only one, and has everything. */
inline check()
{
    assert((right == SERVES) + left_has + off_has <= 1);
    assert(right != SERVES || right_value == acknowledged);
    assert(!left_has || left_value == acknowledged);
    assert(!off_has || off_value == acknowledged)
}

/* RUN_OVER, op_merge_drop_run */
inline over(e)
{
    phase[e] = NONE;
    run_generation[e] = 0
}

proctype driver(byte e)
{
end:
    do
    /* op_merge_begin: the planner may know an old generation of L. */
    :: d_step { e == right_leader && phase[e] == NONE && !begun[e] &&
        right == SERVES ->
        begun[e] = 1;
        phase[e] = COPY;
        run_generation[e] = generation;
        stage_generation[e] = generation }
    :: d_step { e == right_leader && phase[e] == NONE && !begun[e] &&
        right == SERVES && generation > 0 ->
        begun[e] = 1;
        phase[e] = COPY;
        run_generation[e] = generation - 1;
        stage_generation[e] = generation - 1 }
    /* go_on: a FREEZE of another generation came late */
    :: d_step { phase[e] != NONE && e == right_leader && right == FROZEN &&
        frozen_generation != run_generation[e] -> over(e) }
    /* copy: walk, send_batch */
    :: d_step { phase[e] == COPY && !stage_sent[e] && e == right_leader ->
        stage_sent[e] = 1 + right_value }
    :: d_step { phase[e] == COPY && stage_done[e] ->
        phase[e] = (BUG == 2 -> REST : FREEZE) }
    /* freeze */
    :: d_step { phase[e] == FREEZE && right == FROZEN && frozen_run == e &&
        frozen_generation == run_generation[e] -> phase[e] = REST }
    :: d_step { phase[e] == FREEZE && e == right_leader && right == SERVES &&
        !freeze_proposed -> freeze_proposed = 1 }
    /* send_rest */
    :: d_step { phase[e] == REST && !subsume_sent[e] &&
        (right != SERVES || BUG == 2) ->
        subsume_sent[e] =
            (touched[e] && BUG != 5 -> 2 + right_value : 1) }
    :: d_step { phase[e] == REST && subsume_done[e] -> phase[e] = CLOSE }
    /* fail: refused, or any of the clocks */
    :: d_step { (phase[e] == COPY || phase[e] == FREEZE || phase[e] == REST) ->
        phase[e] = ABANDON }
    /* abandon */
    :: d_step { phase[e] == ABANDON && !abandon_sent[run_generation[e]] ->
        abandon_sent[run_generation[e]] = 1 }
    :: d_step { phase[e] == ABANDON && was_absorbed[run_generation[e]] ->
        phase[e] = CLOSE }
    :: d_step { phase[e] == ABANDON && was_abandoned[run_generation[e]] &&
        right == FROZEN -> phase[e] = THAW }
    :: d_step { phase[e] == ABANDON && right != FROZEN -> over(e) }
    :: d_step { BUG == 1 && phase[e] == ABANDON && right == FROZEN ->
        phase[e] = THAW }
    /* thaw: proposed until it is done */
    :: d_step { phase[e] == THAW && right == FROZEN && e == right_leader &&
        !thaw_proposed ->
        thaw_proposed = 1;
        thaw_generation = run_generation[e] }
    :: d_step { phase[e] == THAW && right != FROZEN -> over(e) }
    /* close */
    :: d_step { phase[e] == CLOSE && right == SERVES && BUG == 2 &&
        e == right_leader -> right = FROZEN;
        frozen_generation = run_generation[e]; frozen_run = e }
    :: d_step { phase[e] == CLOSE && right == FROZEN && e == right_leader &&
        !close_proposed ->
        close_proposed = 1;
        if
        :: BUG == 4 -> forget_sent = 1
        :: else
        fi }
    :: d_step { phase[e] == CLOSE && (right >= CLOSED) -> over(e) }
    /* forget, or take_up of one that is closed */
    :: d_step { e == right_leader && right == CLOSED && !forget_sent ->
        forget_sent = 1 }
    /* take_up: frozen under another leader, or the run was dropped */
    :: d_step { e == right_leader && phase[e] == NONE && right == FROZEN &&
        BUG != 6 ->
        begun[e] = 1;
        phase[e] = ABANDON;
        run_generation[e] = frozen_generation }
    od
}

proctype right_log()
{
end:
    do
    /* apply_write */
    :: d_step { right == SERVES && acknowledged < WRITES ->
        right_value++;
        acknowledged++;
        if
        :: stage_sent[right_leader] -> touched[right_leader] = 1
        :: else
        fi;
        check() }
    /* apply_freeze */
    :: d_step { freeze_proposed && right == SERVES ->
        freeze_proposed = 0;
        right = FROZEN;
        frozen_generation = stage_generation[right_leader];
        frozen_run = right_leader }
    /* apply_thaw; it may stand in the log twice */
    :: d_step { thaw_proposed && right == FROZEN &&
        frozen_generation == thaw_generation ->
        right = SERVES;
        frozen_generation = 0;
        frozen_run = 0;
        check() }
    :: d_step { thaw_proposed && right != FROZEN ->
        thaw_proposed = 0;
        thaw_generation = 0 }
    /* apply_close */
    :: d_step { close_proposed && right == FROZEN ->
        close_proposed = 0;
        right = CLOSED }
    /* Another leader: what was proposed and is not applied is void. */
    :: d_step { right_leader < LEADERS && right != GONE ->
        right_leader++;
        freeze_proposed = 0;
        close_proposed = 0;
        thaw_proposed = 0;
        thaw_generation = 0 }
    /* bury_closed; or L's leader sends the copies away (send_away) */
    :: d_step { right == CLOSED || (right == FROZEN && absorbed) ->
        right = GONE }
    od
}

/* op_merge_unstage */
inline unstage()
{
    staging = 0;
    staged_generation = 0;
    staged_value = 0
}

inline apply_abandon(g)
{
    if
    :: absorbed || left_has -> was_absorbed[g] = 1
    :: else ->
        if
        :: staging && staged_generation <= g && BUG != 7 -> unstage()
        :: else
        fi;
        if
        :: generation <= g && BUG != 3 -> generation = g + 1
        :: else
        fi;
        was_abandoned[g] = 1
    fi
}

#define STAGE(e) /* apply_stage, may_begin */ \
    :: d_step { stage_sent[e] && !staging && !left_has && !off_has && \
        !absorbed && generation == stage_generation[e] -> \
        staging = e; \
        staged_generation = generation; \
        staged_value = stage_sent[e] - 1; \
        stage_done[e] = 1 }

#define SUBSUME(e) /* apply_subsume */ \
    :: d_step { subsume_sent[e] && !absorbed && !left_has && \
        (staging == e || (BUG == 7 && staging)) && \
        (generation == stage_generation[e] || BUG == 7) -> \
        left_has = 1; \
        left_value = (subsume_sent[e] > 1 -> subsume_sent[e] - 2 : \
                                             staged_value); \
        absorbed = 1; \
        absorbed_generation = stage_generation[e]; \
        generation++; \
        unstage(); \
        subsume_done[e] = 1; \
        check() }

#define ABANDONED(g) \
    :: d_step { abandon_sent[g] && !was_abandoned[g] && !was_absorbed[g] -> \
        apply_abandon(g) }

proctype left_log()
{
end:
    do
    STAGE(1)
    SUBSUME(1)
    ABANDONED(0)
    ABANDONED(1)
    ABANDONED(2)
#if LEADERS > 1
    STAGE(2)
    SUBSUME(2)
    ABANDONED(3)
#endif
#if LEADERS > 2
    STAGE(3)
    SUBSUME(3)
    ABANDONED(4)
#endif
    /* An ABANDON again, whose answer was lost, late or repeated: it may find
     * another L. */
    :: d_step { abandon_sent[0] && was_abandoned[0] && !was_absorbed[0] &&
        (absorbed || left_has) -> apply_abandon(0) }
    :: d_step { abandon_sent[1] && was_abandoned[1] && !was_absorbed[1] &&
        (absorbed || left_has) -> apply_abandon(1) }
    :: d_step { abandon_sent[0] && was_absorbed[0] && !was_abandoned[0] &&
        !(absorbed || left_has) -> apply_abandon(0) }
    :: d_step { abandon_sent[1] && was_absorbed[1] && !was_abandoned[1] &&
        !(absorbed || left_has) -> apply_abandon(1) }
    /* drop_idle_staging: L's leader says ABANDON itself */
    :: d_step { staging && BUG != 3 ->
        generation = staged_generation + 1;
        unstage() }
    /* apply_members */
    :: d_step { changes < CHANGES && (BUG != 7 || !staging) ->
        changes++;
        generation++;
        unstage() }
    /* apply_write */
    :: d_step { left_has && acknowledged < WRITES ->
        left_value++;
        acknowledged++;
        check() }
    /* apply_forget: R's leader said so; or a majority of R's copies is buried
     * (cannot_ask) */
    :: d_step { absorbed && (forget_sent || right == GONE) ->
        absorbed = 0;
        absorbed_generation = 0 }
    /* apply_split: what was R's is an arc of its own again */
    :: d_step { left_has && !was_split ->
        was_split = 1;
        left_has = 0;
        off_has = 1;
        off_value = left_value;
        left_value = 0;
        generation++;
        check() }
    od
}

init {
    byte e;
    atomic {
        run right_log();
        run left_log();
        for (e : 1 .. LEADERS) {
            run driver(e)
        }
    }
    /* Nothing is left to happen. */
    timeout -> assert(right == SERVES || left_has || off_has)
}
