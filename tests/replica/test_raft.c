/* SPDX-License-Identifier: Apache-2.0 */

/* One raft, rule by rule: we play its disk and the other members. */

#include "replica/raft.h"

#include <criterion/criterion.h>

#include "dlht/err.h"

/* Tables of messages read better by position: type, from, to, term, index,
 * log_term. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define MS UINT64_C(1000000)
#define T0 (1000 * MS)

static struct raft_output out;

static struct raft_members members_of(const char *text)
{
    /* "123l": voters 1 and 2, learner 3. */
    struct raft_members m = { .count = 0 };
    for (; *text; text++) {
        if (*text == 'l')
            m.list[m.count - 1].voter = false;
        else
            m.list[m.count++] =
                (struct raft_member){ (replica_id)(*text - '0'), true };
    }
    return m;
}

static struct raft_config config_of(replica_id id)
{
    return (struct raft_config){ .id = id,
                                 .election_ns = 100 * MS,
                                 .heartbeat_ns = 20 * MS,
                                 .lease_reads = true,
                                 .seed = 5 };
}

static struct raft *make(const struct raft_config *config, const char *members)
{
    struct raft_start start = { .snapshot_index = 1,
                                .snapshot_term = 1,
                                .members = members_of(members),
                                .term = 1,
                                .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(config, &start, &raft), DLHT_OK);
    return raft;
}

static struct raft *founded(replica_id id, const char *members)
{
    struct raft_config config = config_of(id);
    return make(&config, members);
}

static void take(struct raft *raft, uint64_t now)
{
    raft_take(raft, now, &out);
    raft_check(raft);
}

/* Takes and says at once that it is durable; out is what then goes. */
static void flush(struct raft *raft, uint64_t now)
{
    take(raft, now);
    while (out.number) {
        raft_persisted(raft, now, out.number);
        take(raft, now);
    }
}

static const struct raft_message *sent(uint8_t type, replica_id to)
{
    for (size_t i = 0; i < out.message_count; i++)
        if (out.messages[i].type == type && out.messages[i].to == to)
            return &out.messages[i];
    return NULL;
}

static int say(struct raft *raft, uint64_t now, struct raft_message m)
{
    int rc = raft_receive(raft, now, &m);
    raft_check(raft);
    return rc;
}

static void grant(struct raft *raft, uint64_t now, uint8_t type,
                  replica_id from, replica_id to, uint64_t term)
{
    cr_assert_eq(say(raft, now,
                     (struct raft_message){
                         .type = type, .from = from, .to = to, .term = term }),
                 DLHT_OK);
}

/* Makes a founder the leader of term 2 with the vote of `voter`, 0: alone. */
static void elect(struct raft *raft, replica_id id, replica_id voter)
{
    raft_campaign(raft, T0);
    flush(raft, T0);
    if (voter)
        grant(raft, T0, RAFT_VOTE_REPLY, voter, id, 2);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
}

/* The member has all and says so, echoing the newest stamp sent to it. */
static void ack(struct raft *raft, uint64_t now, replica_id from, replica_id to,
                uint64_t index, uint64_t stamp)
{
    cr_assert_eq(say(raft, now,
                     (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                            .from = from,
                                            .to = to,
                                            .term = raft_term(raft),
                                            .index = index,
                                            .stamp = stamp }),
                 DLHT_OK);
}

static struct raft_message append(uint64_t term, uint64_t prev,
                                  uint64_t prev_term,
                                  const struct raft_entry *entries, size_t n)
{
    return (struct raft_message){ .type = RAFT_APPEND,
                                  .from = 2,
                                  .to = 1,
                                  .term = term,
                                  .index = prev,
                                  .log_term = prev_term,
                                  .stamp = 77,
                                  .entries = n ? entries : NULL,
                                  .entry_count = n };
}

static void fill(struct raft_entry *entries, size_t n, uint64_t first,
                 uint64_t term)
{
    for (size_t i = 0; i < n; i++)
        entries[i] = (struct raft_entry){ .term = term,
                                          .index = first + i,
                                          .type = RAFT_ENTRY_DATA,
                                          .data = span_str("value") };
}

/* A follower 1 of leader 2 in term 2 with durable entries 2..last, committed
 * up to commit, not hearing the leader any more by T0 + 500 ms. */
static struct raft *follower(uint64_t last, uint64_t commit)
{
    struct raft *raft = founded(1, "123");
    struct raft_entry entries[16];
    fill(entries, (size_t)last - 1, 2, 2);
    struct raft_message m = append(2, 1, 1, entries, (size_t)last - 1);
    m.commit = commit;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    flush(raft, T0);
    return raft;
}

Test(raft, a_founder_alone_leads_at_once_but_commits_what_is_durable)
{
    struct raft *raft = founded(1, "1");
    raft_campaign(raft, T0);
    cr_expect_eq(raft_role(raft), RAFT_CANDIDATE, "own vote not durable");
    take(raft, T0);
    cr_assert(out.vote_changed && out.vote == 1 && out.term == 2);
    cr_assert_eq(out.number, 1);
    raft_persisted(raft, T0, 1);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
    take(raft, T0);
    cr_assert_eq(out.entry_count, 1);
    cr_expect_eq(out.entries[0].type, RAFT_ENTRY_NOOP);
    cr_expect_eq(raft_commit(raft), 1);
    raft_persisted(raft, T0, out.number);
    cr_expect_eq(raft_commit(raft), 2);
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX, "nobody to talk to");
    raft_free(raft);
}

Test(raft, without_a_disk_all_is_durable_at_once)
{
    struct raft_config config = config_of(1);
    config.memory = true;
    struct raft *raft = make(&config, "12l");
    raft_campaign(raft, T0);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
    uint64_t index;
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    cr_expect_eq(raft_commit(raft), index);
    take(raft, T0);
    cr_expect_eq(out.number, 0);
    cr_expect_eq(out.entry_count, 0);
    cr_expect_not(out.vote_changed);
    cr_expect(sent(RAFT_APPEND, 2));
    raft_free(raft);
}

Test(raft, votes_follow_the_rules)
{
    static const struct {
        const char *why;
        uint64_t after_ms; /* since the leader was heard */
        struct raft_message m;
        int answer; /* 1 granted, 0 refused, -1 silence */
    } table[] = {
        { "as long a log", 100, { .term = 3, .index = 4, .log_term = 2 }, 1 },
        { "a longer log", 100, { .term = 3, .index = 9, .log_term = 2 }, 1 },
        { "a later term in it",
          100,
          { .term = 4, .index = 2, .log_term = 3 },
          1 },
        { "a shorter log", 100, { .term = 3, .index = 3, .log_term = 2 }, 0 },
        { "an older term in it",
          100,
          { .term = 3, .index = 9, .log_term = 1 },
          0 },
        { "an old term", 100, { .term = 1, .index = 9, .log_term = 2 }, 0 },
        { "the leader is heard",
          99,
          { .term = 3, .index = 4, .log_term = 2 },
          -1 },
        { "the leader wishes it",
          99,
          { .term = 3, .index = 4, .log_term = 2, .transfer = true },
          1 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = follower(4, 2);
        uint64_t now = T0 + table[i].after_ms * MS;
        struct raft_message m = table[i].m;
        m.type = RAFT_VOTE_REQUEST;
        m.from = 3;
        m.to = 1;
        cr_assert_eq(say(raft, now, m), DLHT_OK);
        take(raft, now);
        const struct raft_message *reply = sent(RAFT_VOTE_REPLY, 3);
        if (table[i].answer == 1) {
            cr_expect_null(reply, "%s: before it is durable", table[i].why);
            cr_expect(out.vote_changed && out.vote == 3, "%s", table[i].why);
            raft_persisted(raft, now, out.number);
            take(raft, now);
            reply = sent(RAFT_VOTE_REPLY, 3);
        }
        cr_expect_eq(reply ? !reply->refused : -1, table[i].answer, "%s",
                     table[i].why);
        if (table[i].answer < 0)
            cr_expect_eq(raft_term(raft), 2, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft, one_vote_a_term)
{
    struct raft *raft = follower(2, 2);
    uint64_t now = T0 + 200 * MS;
    struct raft_message m = { .type = RAFT_VOTE_REQUEST,
                              .from = 3,
                              .to = 1,
                              .term = 3,
                              .index = 2,
                              .log_term = 2 };
    cr_assert_eq(say(raft, now, m), DLHT_OK);
    flush(raft, now);
    cr_assert(sent(RAFT_VOTE_REPLY, 3) && !sent(RAFT_VOTE_REPLY, 3)->refused);
    cr_assert_eq(say(raft, now, m), DLHT_OK);
    take(raft, now);
    cr_expect(sent(RAFT_VOTE_REPLY, 3), "asked again, told again");
    m.from = 2;
    cr_assert_eq(say(raft, now, m), DLHT_OK);
    take(raft, now);
    cr_expect(sent(RAFT_VOTE_REPLY, 2) && sent(RAFT_VOTE_REPLY, 2)->refused);
    raft_free(raft);
}

Test(raft, a_starting_member_holds_its_vote_back)
{
    struct raft_config config = config_of(1);
    struct raft_start start = { .snapshot_index = 5,
                                .snapshot_term = 2,
                                .members = members_of("123"),
                                .term = 2,
                                .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    struct raft_message m = { .type = RAFT_VOTE_REQUEST,
                              .from = 3,
                              .to = 1,
                              .term = 3,
                              .index = 9,
                              .log_term = 2 };
    cr_assert_eq(say(raft, T0 + 99 * MS, m), DLHT_OK);
    take(raft, T0 + 99 * MS);
    cr_expect_eq(raft_term(raft), 2);
    raft_campaign(raft, T0 + 99 * MS);
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER, "nor stands");
    cr_expect_eq(raft_timeout_ns(raft), T0 + 100 * MS);
    cr_assert_eq(say(raft, T0 + 100 * MS, m), DLHT_OK);
    take(raft, T0 + 100 * MS);
    cr_expect_eq(out.vote, 3);
    raft_free(raft);
    /* Unless nobody else could lead. */
    start.members = members_of("12l");
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    cr_expect_leq(raft_timeout_ns(raft), T0);
    raft_tick(raft, T0);
    flush(raft, T0);
    cr_expect_eq(raft_role(raft), RAFT_LEADER);
    raft_free(raft);
}

Test(raft, a_lone_voter_waits_while_its_making_is_open)
{
    struct raft_config config = config_of(1);
    struct raft_start start = { .snapshot_index = 5,
                                .snapshot_term = 2,
                                .members = members_of("12"),
                                .term = 2,
                                .now_ns = T0 };
    struct raft_entry entry = { 2, 6, RAFT_ENTRY_MEMBERS, span_str("m"),
                                members_of("1") };
    for (int committed = 0; committed < 2; committed++) {
        struct raft *raft;
        cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
        cr_assert_eq(raft_restore_entry(raft, &entry), DLHT_OK);
        if (committed)
            raft_restore_commit(raft, 6);
        raft_campaign(raft, T0);
        cr_expect_eq(raft_role(raft),
                     committed ? RAFT_CANDIDATE : RAFT_FOLLOWER,
                     "2 removed itself and may still lead, with a lease");
        raft_free(raft);
    }
}

Test(raft, a_removed_voter_stands_until_that_is_committed)
{
    struct raft *raft = follower(2, 2);
    struct raft_entry entry = { 2, 3, RAFT_ENTRY_MEMBERS, span_str("m"),
                                members_of("23") };
    struct raft_message m = append(2, 2, 2, &entry, 1);
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    cr_expect_neq(raft_timeout_ns(raft), UINT64_MAX);
    m = append(2, 3, 2, NULL, 0);
    m.commit = 3;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    raft_free(raft);
}

Test(raft, a_timeout_asks_first_and_raises_no_term)
{
    struct raft *raft = follower(4, 2);
    uint64_t due = raft_timeout_ns(raft);
    cr_expect_geq(due, T0 + 100 * MS);
    cr_expect_lt(due, T0 + 200 * MS);
    raft_tick(raft, due);
    flush(raft, due);
    cr_expect_eq(raft_term(raft), 2);
    const struct raft_message *ask = sent(RAFT_PREVOTE_REQUEST, 3);
    cr_assert(ask && ask->term == 3 && ask->index == 4 && ask->log_term == 2);
    grant(raft, due, RAFT_PREVOTE_REPLY, 3, 1, 3);
    cr_expect_eq(raft_role(raft), RAFT_CANDIDATE);
    take(raft, due);
    cr_expect_null(sent(RAFT_VOTE_REQUEST, 3), "own vote not durable");
    grant(raft, due, RAFT_VOTE_REPLY, 3, 1, 3);
    cr_expect_eq(raft_role(raft), RAFT_CANDIDATE, "an answer to an older life");
    raft_persisted(raft, due, out.number);
    take(raft, due);
    cr_expect(sent(RAFT_VOTE_REQUEST, 2) && sent(RAFT_VOTE_REQUEST, 3));
    grant(raft, due, RAFT_VOTE_REPLY, 3, 1, 3);
    cr_expect_eq(raft_role(raft), RAFT_LEADER);
    raft_free(raft);
}

Test(raft, a_leader_without_a_majority_steps_down)
{
    struct raft *raft = founded(1, "123");
    elect(raft, 1, 2);
    uint64_t now = T0;
    while (now < T0 + 150 * MS && raft_role(raft) == RAFT_LEADER) {
        now = raft_timeout_ns(raft);
        raft_tick(raft, now);
        flush(raft, now);
    }
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER);
    cr_expect_leq(now, T0 + 120 * MS);
    raft_free(raft);
}

Test(raft, a_majority_of_durable_copies_commits)
{
    struct raft *raft = founded(1, "123");
    elect(raft, 1, 2);
    take(raft, T0); /* index 2, not durable here */
    uint64_t number = out.number;
    ack(raft, T0, 2, 1, 2, 0);
    cr_expect_eq(raft_commit(raft), 1, "one copy is no majority");
    raft_persisted(raft, T0, number);
    cr_expect_eq(raft_commit(raft), 2);
    uint64_t index;
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    take(raft, T0);
    ack(raft, T0, 2, 1, 3, 0);
    ack(raft, T0, 3, 1, 3, 0);
    cr_expect_eq(raft_commit(raft), 3, "two others are one");
    raft_free(raft);
}

Test(raft, old_terms_are_committed_beneath_an_own_entry)
{
    struct raft *raft = follower(4, 2);
    uint64_t now = raft_timeout_ns(raft);
    raft_tick(raft, now);
    flush(raft, now);
    grant(raft, now, RAFT_PREVOTE_REPLY, 3, 1, 3);
    flush(raft, now);
    grant(raft, now, RAFT_VOTE_REPLY, 3, 1, 3);
    flush(raft, now);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
    ack(raft, now, 3, 1, 4, 0);
    cr_expect_eq(raft_commit(raft), 2);
    ack(raft, now, 3, 1, 5, 0);
    cr_expect_eq(raft_commit(raft), 5);
    raft_free(raft);
}

Test(raft, a_follower_acknowledges_what_is_durable)
{
    struct raft *raft = follower(2, 1);
    struct raft_entry entries[4];
    fill(entries, 4, 3, 2);
    cr_assert_eq(say(raft, T0, append(2, 2, 2, entries, 2)), DLHT_OK);
    take(raft, T0);
    uint64_t first = out.number;
    cr_expect_eq(out.entry_count, 2);
    cr_expect_null(sent(RAFT_APPEND_REPLY, 2));
    cr_assert_eq(say(raft, T0, append(2, 4, 2, entries + 2, 2)), DLHT_OK);
    take(raft, T0);
    cr_expect_eq(out.number, first + 1);
    raft_persisted(raft, T0, first);
    take(raft, T0);
    const struct raft_message *reply = sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->index == 4 && reply->stamp == 77);
    raft_persisted(raft, T0, first + 1);
    take(raft, T0);
    reply = sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->index == 6);
    raft_free(raft);
}

Test(raft, what_was_overwritten_since_is_not_durable)
{
    struct raft *raft = follower(2, 1);
    struct raft_entry entries[4];
    fill(entries, 3, 3, 2);
    cr_assert_eq(say(raft, T0, append(2, 2, 2, entries, 3)), DLHT_OK);
    take(raft, T0); /* 3..5 of term 2 */
    uint64_t first = out.number;
    fill(entries, 2, 4, 3);
    struct raft_message m = append(3, 3, 2, entries, 2);
    m.from = 3;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0); /* 4..5 of term 3 */
    uint64_t second = out.number;
    cr_expect_eq(out.entries[0].index, 4);
    cr_expect(out.vote_changed && out.term == 3);
    raft_persisted(raft, T0, first);
    take(raft, T0);
    cr_expect_null(sent(RAFT_APPEND_REPLY, 3), "the term is not durable yet");
    raft_persisted(raft, T0, second);
    take(raft, T0);
    cr_assert(sent(RAFT_APPEND_REPLY, 3));
    cr_expect_eq(sent(RAFT_APPEND_REPLY, 3)->index, 5);
    /* The same again where only the log is late. */
    fill(entries, 2, 6, 3);
    m = append(3, 5, 3, entries, 2);
    m.from = 3;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0);
    first = out.number;
    fill(entries, 1, 6, 4);
    m = append(4, 5, 3, entries, 1);
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0);
    raft_persisted(raft, T0, first);
    raft_persisted(raft, T0, out.number);
    take(raft, T0);
    cr_assert(sent(RAFT_APPEND_REPLY, 2));
    cr_expect_eq(sent(RAFT_APPEND_REPLY, 2)->index, 6);
    raft_free(raft);
}

Test(raft, a_gap_is_refused_with_a_hint)
{
    static const struct {
        const char *why;
        uint64_t prev, prev_term, hint, hint_term;
    } table[] = {
        { "beyond the end", 9, 2, 4, 2 },
        { "beyond, by an older leader's term", 9, 1, 2, 2 },
        { "another term there", 4, 3, 3, 2 },
        { "never below commit", 3, 1, 2, 2 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = follower(4, 2);
        struct raft_message m =
            append(3, table[i].prev, table[i].prev_term, NULL, 0);
        m.from = 3;
        cr_assert_eq(say(raft, T0, m), DLHT_OK);
        flush(raft, T0);
        const struct raft_message *reply = sent(RAFT_APPEND_REPLY, 3);
        cr_assert(reply && reply->refused, "%s", table[i].why);
        cr_expect_eq(reply->index, table[i].prev);
        cr_expect_eq(reply->hint, table[i].hint, "%s: hint %d", table[i].why,
                     (int)reply->hint);
        cr_expect_eq(reply->log_term, table[i].hint_term, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft, nonsense_changes_nothing)
{
    static const struct raft_entry gap[] = { { 2, 5, RAFT_ENTRY_DATA },
                                             { 2, 7, RAFT_ENTRY_DATA } };
    static const struct raft_entry falling[] = { { 2, 5, RAFT_ENTRY_DATA },
                                                 { 1, 6, RAFT_ENTRY_DATA } };
    static const struct raft_entry future[] = { { 9, 5, RAFT_ENTRY_DATA } };
    static const struct raft_entry unknown[] = { { 2, 5, 9 } };
    static const struct raft_entry no_voter[] = { { 2, 5,
                                                    RAFT_ENTRY_MEMBERS } };
    static const struct raft_entry hollow[] = {
        { 2, 5, RAFT_ENTRY_DATA, { NULL, 8 } }
    };
    static const struct raft_entry old[] = { { 3, 2, RAFT_ENTRY_DATA } };
    static const struct raft_entry own[] = { { 1, 4, RAFT_ENTRY_DATA } };
    static const struct {
        const char *why;
        struct raft_message m;
    } table[] = {
        { "not for us", { RAFT_APPEND, 2, 9, 2 } },
        { "from nobody", { RAFT_APPEND, 0, 1, 2 } },
        { "from ourselves", { RAFT_APPEND, 1, 1, 2 } },
        { "no type", { 0, 2, 1, 2 } },
        { "unknown type", { 99, 2, 1, 2 } },
        { "no term", { RAFT_APPEND, 2, 1, 0 } },
        { "term too great", { RAFT_APPEND, 2, 1, UINT64_MAX } },
        { "index too great", { RAFT_APPEND, 2, 1, 2, UINT64_MAX, 2 } },
        { "a second leader", { RAFT_APPEND, 3, 1, 2, 4, 2 } },
        { "a second leader's heartbeat", { RAFT_HEARTBEAT, 3, 1, 2 } },
        { "a committed entry would change", { RAFT_APPEND, 3, 1, 3, 2, 3 } },
        { "previous term above the message's", { RAFT_APPEND, 2, 1, 2, 4, 3 } },
        { "entries with a gap",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = gap, .entry_count = 2 } },
        { "terms that fall",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = falling,
            .entry_count = 2 } },
        { "a term to come",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = future, .entry_count = 1 } },
        { "unknown kind of entry",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = unknown,
            .entry_count = 1 } },
        { "no voter left",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = no_voter,
            .entry_count = 1 } },
        { "no bytes",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = hollow, .entry_count = 1 } },
        { "too many entries",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = gap,
            .entry_count = RAFT_APPEND_ENTRIES_MAX + 1 } },
        { "no entries, but a count",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entry_count = 1 } },
        { "overwrites what is committed",
          { RAFT_APPEND, 3, 1, 3, 1, 1, .entries = old, .entry_count = 1 } },
        { "the leader takes back its own",
          { RAFT_APPEND, 2, 1, 2, 3, 1, .entries = own, .entry_count = 1 } },
        { "entries in a heartbeat",
          { RAFT_HEARTBEAT, 2, 1, 2, .entries = gap, .entry_count = 2 } },
        { "a stranger's answer", { RAFT_APPEND_REPLY, 8, 1, 9 } },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = follower(4, 2);
        uint64_t before = raft_hash(raft);
        cr_expect_eq(say(raft, T0, table[i].m), DLHT_EPROTO, "%s",
                     table[i].why);
        cr_expect_eq(raft_hash(raft), before, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft, a_leader_drops_answers_that_cannot_be)
{
    static const struct {
        const char *why;
        struct raft_message m;
    } table[] = {
        { "beyond our log", { RAFT_APPEND_REPLY, 2, 1, 2, .index = 9 } },
        { "a stamp we never made",
          { RAFT_APPEND_REPLY, 2, 1, 2, .index = 2, .stamp = UINT64_MAX } },
        { "arrived beyond our log",
          { RAFT_HEARTBEAT_REPLY, 2, 1, 2, .index = 2, .hint = 9 } },
        { "refused heartbeat",
          { RAFT_HEARTBEAT_REPLY, 2, 1, 2, .refused = true } },
        { "a leader of our term", { RAFT_HEARTBEAT, 2, 1, 2 } },
    };
    struct raft *raft = founded(1, "123");
    elect(raft, 1, 2);
    flush(raft, T0);
    uint64_t before = raft_hash(raft);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cr_expect_eq(say(raft, T0, table[i].m), DLHT_EPROTO, "%s",
                     table[i].why);
        cr_expect_eq(raft_hash(raft), before, "%s", table[i].why);
    }
    raft_free(raft);
}

Test(raft, a_leader_of_an_old_term_is_told)
{
    struct raft *raft = follower(4, 2);
    cr_assert_eq(say(raft, T0, append(1, 4, 1, NULL, 0)), DLHT_OK);
    take(raft, T0);
    const struct raft_message *reply = sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->refused && reply->term == 2);
    raft_free(raft);
    raft = founded(1, "123");
    elect(raft, 1, 2);
    cr_assert_eq(say(raft, T0,
                     (struct raft_message){ RAFT_APPEND_REPLY, 3, 1, 7,
                                            .refused = true }),
                 DLHT_OK);
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER);
    cr_expect_eq(raft_term(raft), 7);
    raft_free(raft);
}

/* A leader 1 of term 2 with 2 and 3 replicating, index 2 committed. */
static struct raft *leader_with(const struct raft_config *config,
                                const char *members)
{
    struct raft *raft = make(config, members);
    elect(raft, 1, 2);
    take(raft, T0);
    uint64_t stamp = sent(RAFT_APPEND, 2)->stamp, number = out.number;
    raft_persisted(raft, T0, number);
    for (size_t i = 1; i < raft_members(raft)->count; i++)
        ack(raft, T0, raft_members(raft)->list[i].id, 1, 2, stamp);
    take(raft, T0);
    cr_assert_eq(raft_commit(raft), 2);
    return raft;
}

static struct raft *leader(void)
{
    struct raft_config config = config_of(1);
    return leader_with(&config, "123");
}

Test(raft, one_turn_is_one_message)
{
    struct raft *raft = leader();
    uint64_t index;
    for (int i = 0; i < 10; i++)
        cr_assert_eq(raft_propose(raft, T0, span_str("abc"), &index), DLHT_OK);
    take(raft, T0);
    cr_expect_eq(out.message_count, 2);
    const struct raft_message *m = sent(RAFT_APPEND, 2);
    cr_assert_eq(m->entry_count, 10);
    cr_expect_eq(m->index, 2);
    cr_expect(span_equal(m->entries[9].data, span_str("abc")));
    cr_expect_eq(out.entry_count, 10);
    raft_free(raft);
}

Test(raft, messages_and_flight_are_bounded)
{
    struct raft_config config = config_of(1);
    config.append_bytes_max = 300;
    config.inflight_bytes_max = 1000;
    config.pending_bytes_max = 5000;
    struct raft *raft = leader_with(&config, "123");
    uint8_t bytes[500] = { 0 };
    uint64_t index;
    int accepted = 0;
    while (raft_propose(raft, T0, span_of(bytes, 36), &index) == DLHT_OK)
        accepted++;
    cr_expect_eq(accepted, 50, "%d", accepted);
    take(raft, T0);
    size_t entries = 0;
    for (size_t i = 0; i < out.message_count; i++) {
        cr_expect_leq(out.messages[i].entry_count, 3);
        entries += out.messages[i].to == 2 ? out.messages[i].entry_count : 0;
    }
    cr_expect_eq(entries, 12, "%d", (int)entries);
    ack(raft, T0, 2, 1, 5, 0);
    take(raft, T0);
    cr_assert(sent(RAFT_APPEND, 2));
    cr_expect_eq(sent(RAFT_APPEND, 2)->index, 14);
    raft_free(raft);
}

Test(raft, a_lost_message_is_found_missing)
{
    struct raft *raft = leader();
    uint64_t index, now = T0 + 21 * MS;
    cr_assert_eq(raft_propose(raft, T0, span_str("lost"), &index), DLHT_OK);
    flush(raft, T0);
    raft_tick(raft, now);
    take(raft, now);
    uint64_t stamp = sent(RAFT_HEARTBEAT, 2)->stamp;
    struct raft_message m = {
        RAFT_HEARTBEAT_REPLY, 2, 1, 2, .index = 2, .hint = 2, .stamp = stamp
    };
    cr_assert_eq(say(raft, now, m), DLHT_OK);
    take(raft, now);
    cr_assert(sent(RAFT_APPEND, 2));
    cr_expect_eq(sent(RAFT_APPEND, 2)->index, 2);
    m.from = 3;
    m.hint = 3; /* arrived, but on its way to the disk */
    cr_assert_eq(say(raft, now, m), DLHT_OK);
    take(raft, now);
    cr_expect_null(sent(RAFT_APPEND, 3));
    raft_free(raft);
}

Test(raft, a_member_behind_the_log_is_named_for_a_snapshot_once)
{
    struct raft *raft = leader();
    struct raft_members next = members_of("1234l");
    uint64_t index;
    cr_assert_eq(raft_change(raft, T0, &next, span_empty(), &index), DLHT_OK);
    flush(raft, T0);
    struct raft_message m = { RAFT_APPEND_REPLY, 4, 1, 2, .index = 3,
                              .refused = true };
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0);
    cr_assert_eq(out.snapshot_count, 1);
    cr_expect_eq(out.snapshots[0], 4);
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0);
    cr_expect_eq(out.snapshot_count, 0, "once");
    raft_snapshot_done(raft, T0, 4, 0);
    take(raft, T0);
    cr_expect_eq(out.snapshot_count, 0, "not at once after a failure");
    uint64_t now = T0 + 50 * MS;
    raft_tick(raft, now);
    take(raft, now);
    m = (struct raft_message){ RAFT_HEARTBEAT_REPLY, 4, 1, 2,
                               .stamp = sent(RAFT_HEARTBEAT, 4)->stamp };
    cr_assert_eq(say(raft, now, m), DLHT_OK);
    take(raft, now);
    cr_expect_eq(out.snapshot_count, 1);
    raft_snapshot_done(raft, now, 4, 3);
    take(raft, now);
    cr_assert(sent(RAFT_APPEND, 4));
    cr_expect_eq(sent(RAFT_APPEND, 4)->index, 3);
    raft_free(raft);
}

Test(raft, a_fresh_member_takes_a_snapshot_and_goes_on)
{
    struct raft_config config = config_of(1);
    struct raft_start start = { .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    cr_assert_eq(say(raft, T0, append(2, 9, 2, NULL, 0)), DLHT_OK);
    flush(raft, T0);
    const struct raft_message *reply = sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->refused && reply->hint == 0);
    struct raft_members members = members_of("231l");
    cr_assert_eq(raft_install(raft, T0, 9, 2, &members), DLHT_OK);
    cr_expect_eq(raft_install(raft, T0, 9, 2, &members), DLHT_ESTALE);
    cr_expect_eq(raft_commit(raft), 9);
    struct raft_entry entry;
    fill(&entry, 1, 10, 2);
    cr_assert_eq(say(raft, T0, append(2, 9, 2, &entry, 1)), DLHT_OK);
    flush(raft, T0);
    reply = sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && !reply->refused && reply->index == 10);
    raft_free(raft);
}

Test(raft, a_snapshot_keeps_the_log_only_if_they_agree)
{
    struct raft_members members = members_of("123");
    struct raft *raft = follower(6, 2);
    cr_assert_eq(raft_install(raft, T0, 4, 2, &members), DLHT_OK);
    raft_check(raft);
    cr_expect_eq(raft_last_index(raft), 6);
    cr_expect_eq(raft_first_index(raft), 5);
    raft_free(raft);
    raft = follower(6, 2);
    cr_assert_eq(raft_install(raft, T0, 4, 3, &members), DLHT_OK);
    raft_check(raft);
    cr_expect_eq(raft_last_index(raft), 4);
    cr_expect_eq(raft_term(raft), 3);
    raft_free(raft);
}

Test(raft, compaction_keeps_what_is_not_committed)
{
    struct raft *raft = follower(6, 4);
    size_t bytes = raft_log_bytes(raft);
    raft_compact(raft, 99);
    raft_check(raft);
    cr_expect_eq(raft_first_index(raft), 5);
    cr_expect_eq(raft_term_at(raft, 4), 2);
    cr_expect_null(raft_entry_at(raft, 4));
    cr_assert_not_null(raft_entry_at(raft, 5));
    cr_expect_lt(raft_log_bytes(raft), bytes);
    raft_free(raft);
}

Test(raft, membership_changes_one_step_at_a_time)
{
    static const struct {
        const char *why, *next;
        int rc;
    } table[] = {
        { "a learner more", "1234l", DLHT_OK },
        { "a voter more", "1234", DLHT_OK },
        { "one less", "12", DLHT_OK },
        { "ourselves", "23", DLHT_OK },
        { "demoted", "123l", DLHT_OK },
        { "the same", "123", DLHT_EINVAL },
        { "the same in another order", "321", DLHT_EINVAL },
        { "two more", "12345", DLHT_EINVAL },
        { "one for another", "124", DLHT_EINVAL },
        { "two demoted", "12l3l", DLHT_EINVAL },
        { "twice the same", "1233", DLHT_EINVAL },
        { "no voter", "1l2l3l", DLHT_EINVAL },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = leader();
        struct raft_members next = members_of(table[i].next);
        uint64_t index;
        cr_expect_eq(raft_change(raft, T0, &next, span_str("d"), &index),
                     table[i].rc, "%s", table[i].why);
        raft_check(raft);
        if (table[i].rc == DLHT_OK) {
            cr_expect_eq(raft_members(raft)->count, next.count);
            cr_expect(raft_is_changing(raft));
            next = members_of("123");
            cr_expect_eq(raft_change(raft, T0, &next, span_empty(), &index),
                         DLHT_EBUSY, "%s", table[i].why);
        }
        raft_free(raft);
    }
}

Test(raft, a_change_waits_for_an_entry_of_the_term)
{
    struct raft *raft = founded(1, "123");
    elect(raft, 1, 2);
    struct raft_members next = members_of("12");
    uint64_t index, ticket;
    cr_expect_eq(raft_change(raft, T0, &next, span_empty(), &index),
                 DLHT_EBUSY);
    cr_expect_eq(raft_read(raft, T0, false, &index, &ticket), DLHT_EBUSY);
    raft_free(raft);
}

Test(raft, a_truncation_brings_the_former_members_back)
{
    struct raft *raft = follower(2, 2);
    struct raft_entry entry = { 2, 3, RAFT_ENTRY_MEMBERS, span_str("m"),
                                members_of("12") };
    cr_assert_eq(say(raft, T0, append(2, 2, 2, &entry, 1)), DLHT_OK);
    cr_expect_eq(raft_members(raft)->count, 2);
    fill(&entry, 1, 3, 3);
    struct raft_message m = append(3, 2, 2, &entry, 1);
    m.from = 3;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    cr_expect_eq(raft_members(raft)->count, 3);
    cr_expect_not(raft_is_changing(raft));
    raft_free(raft);
}

Test(raft, a_leader_that_removed_itself_leads_until_that_is_committed)
{
    struct raft *raft = leader();
    struct raft_members next = members_of("23");
    uint64_t index;
    cr_assert_eq(raft_change(raft, T0, &next, span_empty(), &index), DLHT_OK);
    flush(raft, T0);
    ack(raft, T0, 2, 1, 3, 0);
    cr_expect_eq(raft_role(raft), RAFT_LEADER, "its own copy does not count");
    ack(raft, T0, 3, 1, 3, 0);
    cr_expect_eq(raft_commit(raft), 3);
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER);
    take(raft, T0);
    cr_expect(sent(RAFT_TIMEOUT_NOW, 2) || sent(RAFT_TIMEOUT_NOW, 3));
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX, "it stands no more");
    raft_free(raft);
}

Test(raft, learners_that_keep_up_are_awaited_and_others_not)
{
    struct raft_config config = config_of(1);
    config.await_learners = true;
    struct raft *raft = make(&config, "12l");
    elect(raft, 1, 0);
    flush(raft, T0);
    cr_expect_eq(raft_commit(raft), 2, "not yet caught up, not awaited");
    ack(raft, T0, 2, 1, 2, 0);
    struct raft_progress progress;
    cr_assert(raft_progress_of(raft, T0, 2, &progress));
    cr_expect(progress.caught_up && progress.active);
    uint64_t index;
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    flush(raft, T0);
    cr_expect_eq(raft_commit(raft), 2);
    ack(raft, T0, 2, 1, 3, 0);
    cr_expect_eq(raft_commit(raft), 3);
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    flush(raft, T0);
    for (uint64_t now = T0; now <= T0 + 120 * MS; now += 20 * MS)
        raft_tick(raft, now);
    cr_expect_eq(raft_commit(raft), 4, "not for ever");
    raft_free(raft);
}

Test(raft, the_lease_runs_from_the_sending)
{
    static const struct {
        const char *why;
        bool lease_reads, strict;
        uint64_t after_ms;
        bool lease;
    } table[] = {
        { "fresh", true, false, 1, true },
        { "just before its end", true, false, 79, true },
        { "at its end", true, false, 80, false },
        { "strict read", true, true, 1, false },
        { "leases off", false, false, 1, false },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft_config config = config_of(1);
        config.lease_reads = table[i].lease_reads;
        struct raft *raft = leader_with(&config, "123");
        uint64_t index, ticket, now = T0 + table[i].after_ms * MS;
        cr_assert_eq(raft_read(raft, now, table[i].strict, &index, &ticket),
                     DLHT_OK);
        cr_expect_eq(index, 2);
        cr_expect_eq(ticket == 0, table[i].lease, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft, a_transfer_ends_the_lease_for_the_term)
{
    struct raft *raft = leader();
    uint64_t index, ticket;
    cr_expect_eq(raft_transfer(raft, T0, 1), DLHT_EINVAL);
    cr_expect_eq(raft_transfer(raft, T0, 9), DLHT_EINVAL);
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    flush(raft, T0);
    cr_assert_eq(raft_transfer(raft, T0, 2), DLHT_OK);
    cr_expect_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_ENOTOWNER);
    take(raft, T0);
    cr_expect_null(sent(RAFT_TIMEOUT_NOW, 2), "it lacks an entry");
    ack(raft, T0, 2, 1, 3, 0);
    take(raft, T0);
    cr_expect(sent(RAFT_TIMEOUT_NOW, 2));
    cr_assert_eq(raft_read(raft, T0, false, &index, &ticket), DLHT_OK);
    cr_expect_neq(ticket, 0);
    raft_tick(raft, T0 + 100 * MS);
    if (raft_role(raft) == RAFT_LEADER) {
        uint64_t now = T0 + 100 * MS;
        take(raft, now);
        ack(raft, now, 2, 1, 3, sent(RAFT_HEARTBEAT, 2)->stamp);
        cr_assert_eq(raft_propose(raft, now, span_str("x"), &index), DLHT_OK,
                     "given up");
        cr_assert_eq(raft_read(raft, now, false, &index, &ticket), DLHT_OK);
        cr_expect_neq(ticket, 0, "the word to stand may still arrive");
    }
    raft_free(raft);
}

Test(raft, the_successor_stands_at_once)
{
    struct raft *raft = follower(4, 2);
    struct raft_message m = { RAFT_TIMEOUT_NOW, 2, 1, 2 };
    cr_assert_eq(say(raft, T0 + MS, m), DLHT_OK);
    flush(raft, T0 + MS);
    const struct raft_message *ask = sent(RAFT_VOTE_REQUEST, 3);
    cr_assert(ask && ask->transfer && ask->term == 3);
    raft_free(raft);
}

Test(raft, many_reads_share_a_round)
{
    struct raft *raft = leader();
    uint64_t index, tickets[3];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(raft_read(raft, T0, true, &index, &tickets[i]), DLHT_OK);
    take(raft, T0);
    const struct raft_message *beat = sent(RAFT_HEARTBEAT, 2);
    cr_assert(beat, "at once");
    uint64_t stamp = beat->stamp;
    struct raft_message m = { RAFT_HEARTBEAT_REPLY, 2, 1, 2, .index = 2,
                              .stamp = stamp - 1 };
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0);
    cr_expect_eq(out.read_count, 0, "asked before");
    m.stamp = stamp;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0);
    cr_assert_eq(out.read_count, 3);
    for (int i = 0; i < 3; i++)
        cr_expect(out.reads[i].ticket == tickets[i] && !out.reads[i].lost);
    cr_assert_eq(raft_read(raft, T0, true, &index, &tickets[0]), DLHT_OK);
    m.type = RAFT_VOTE_REPLY;
    m.term = 9;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    take(raft, T0);
    cr_assert_eq(out.read_count, 1);
    cr_expect(out.reads[0].lost);
    raft_free(raft);
}

Test(raft, a_group_with_nothing_to_do_sleeps_and_wakes)
{
    struct raft *raft = leader();
    uint64_t index, ticket;
    cr_assert(raft_sleep(raft, T0));
    cr_expect(raft_is_quiet(raft));
    take(raft, T0);
    const struct raft_message *beat = sent(RAFT_HEARTBEAT, 2);
    cr_assert(beat && beat->quiet && beat->commit == 2);
    uint64_t stamp = beat->stamp;
    cr_expect_neq(raft_timeout_ns(raft), UINT64_MAX, "till all have heard it");
    for (replica_id id = 2; id <= 3; id++) {
        struct raft_message m = { RAFT_HEARTBEAT_REPLY, id, 1, 2, .index = 2,
                                  .stamp = stamp };
        cr_assert_eq(say(raft, T0, m), DLHT_OK);
    }
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    cr_assert_eq(raft_read(raft, T0, false, &index, &ticket), DLHT_OK);
    cr_expect_neq(ticket, 0, "no lease asleep");
    cr_expect_not(raft_is_quiet(raft));
    take(raft, T0);
    cr_assert(sent(RAFT_HEARTBEAT, 2) && !sent(RAFT_HEARTBEAT, 2)->quiet);
    raft_free(raft);

    raft = follower(2, 1);
    struct raft_message m = { RAFT_HEARTBEAT, 2, 1, 2, .commit = 2, .stamp = 99,
                              .quiet = true };
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    cr_expect(raft_is_quiet(raft));
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    m.quiet = false;
    m.stamp = 98;
    cr_assert_eq(say(raft, T0, m), DLHT_OK);
    cr_expect(raft_is_quiet(raft), "an older word that came late");
    raft_wake(raft, T0);
    cr_expect_neq(raft_timeout_ns(raft), UINT64_MAX);
    raft_free(raft);
}

Test(raft, a_log_comes_back_as_it_was_written)
{
    struct raft_config config = config_of(1);
    struct raft_start start = { .snapshot_index = 3,
                                .snapshot_term = 2,
                                .members = members_of("123"),
                                .term = 2,
                                .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    struct raft_entry e[4];
    fill(e, 4, 3, 2);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(raft_restore_entry(raft, &e[i]), DLHT_OK);
    cr_expect_eq(raft_last_index(raft), 6);
    fill(e, 1, 5, 4); /* replaces 5 and 6 */
    cr_assert_eq(raft_restore_entry(raft, &e[0]), DLHT_OK);
    cr_expect_eq(raft_last_index(raft), 5);
    cr_expect_eq(raft_term(raft), 4);
    fill(e, 1, 7, 4);
    cr_expect_eq(raft_restore_entry(raft, &e[0]), DLHT_ECORRUPT);
    fill(e, 1, 4, 1);
    cr_expect_eq(raft_restore_entry(raft, &e[0]), DLHT_OK);
    cr_expect_eq(raft_last_index(raft), 5, "left over from before");
    raft_restore_vote(raft, 4, 3);
    raft_restore_commit(raft, 99);
    cr_expect_eq(raft_commit(raft), 5);
    raft_check(raft);
    raft_take(raft, T0, &out);
    cr_expect_eq(out.number, 0, "all of it is on disk");
    uint64_t now = T0 + 200 * MS;
    struct raft_message m = { RAFT_VOTE_REQUEST, 2, 1, 4, 9, 4 };
    cr_assert_eq(say(raft, now, m), DLHT_OK);
    take(raft, now);
    cr_assert(sent(RAFT_VOTE_REPLY, 2));
    cr_expect(sent(RAFT_VOTE_REPLY, 2)->refused, "voted for 3 before");
    raft_free(raft);
}

Test(raft, members_that_do_not_hold_together_give_no_raft)
{
    static const struct {
        const char *why, *members;
        uint64_t index;
    } table[] = {
        { "none", "", 1 },
        { "no voter", "1l", 1 },
        { "twice the same", "11", 1 },
        { "id 0", "0", 1 },
        { "members before the log", "1", 0 },
    };
    struct raft_config config = config_of(1);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft_start start = { .snapshot_index = table[i].index,
                                    .snapshot_term = table[i].index,
                                    .members = members_of(table[i].members),
                                    .term = 1 };
        struct raft *raft;
        cr_expect_eq(raft_new(&config, &start, &raft), DLHT_EINVAL, "%s",
                     table[i].why);
        cr_expect_null(raft);
    }
}
