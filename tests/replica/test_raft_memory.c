/* SPDX-License-Identifier: Apache-2.0 */

/* Raft when memory runs out: whatever allocation fails, the call says so and
 * the raft is as before. The linker puts our three calls before malloc. */

#include <criterion/criterion.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "replica/raft.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static int allowed = -1; /* allocations until one fails; < 0: all */

static bool may_allocate(void)
{
    if (allowed < 0)
        return true;
    if (allowed == 0)
        return false;
    allowed--;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate() ? __real_realloc(old, size) : NULL;
}

static const struct raft_members three = {
    { { 1, true }, { 2, true }, { 3, true } }, 3
};

/* So long that each gets a block of its own. */
static const uint8_t long_bytes[2000];
#define LONG_BYTES span_of(long_bytes, sizeof long_bytes)

static int make(struct raft **raft)
{
    const struct raft_config config = {
        .id = 1, .election_ns = 1000, .heartbeat_ns = 100, .seed = 1
    };
    const struct raft_start start = { .snapshot_index = 1,
                                      .snapshot_term = 1,
                                      .members = three,
                                      .term = 1,
                                      .now_ns = 10 };
    return raft_new(&config, &start, raft);
}

static int call_append(struct raft *raft)
{
    struct raft_entry entries[40];
    for (size_t i = 0; i < 40; i++)
        entries[i] = (struct raft_entry){ .term = 2,
                                          .index = 2 + i,
                                          .type = RAFT_ENTRY_DATA,
                                          .data = LONG_BYTES };
    const struct raft_message m = { .type = RAFT_APPEND,
                                    .from = 2,
                                    .to = 1,
                                    .term = 2,
                                    .index = 1,
                                    .log_term = 1,
                                    .entries = entries,
                                    .entry_count = 40 };
    return raft_receive(raft, 10, &m);
}

static int call_restore(struct raft *raft)
{
    const struct raft_entry entry = {
        .term = 2, .index = 2, .type = RAFT_ENTRY_DATA, .data = LONG_BYTES
    };
    return raft_restore_entry(raft, &entry);
}

static struct raft_output out;

static void lead(struct raft *raft)
{
    raft_campaign(raft, 10);
    raft_take(raft, 10, &out);
    raft_persisted(raft, 10, out.number);
    const struct raft_message vote = {
        .type = RAFT_VOTE_REPLY, .from = 2, .to = 1, .term = 2
    };
    cr_assert_eq(raft_receive(raft, 10, &vote), DLHT_OK);
    raft_take(raft, 10, &out);
    raft_persisted(raft, 10, out.number);
    const struct raft_message ack = {
        .type = RAFT_APPEND_REPLY, .from = 2, .to = 1, .term = 2, .index = 2
    };
    cr_assert_eq(raft_receive(raft, 10, &ack), DLHT_OK);
    cr_assert_eq(raft_commit(raft), 2);
    uint64_t index;
    while (raft_last_index(raft) % 16 != 1) /* the array is full */
        cr_assert_eq(raft_propose(raft, 10, span_str("x"), &index), DLHT_OK);
}

static int call_propose(struct raft *raft)
{
    uint64_t index;
    return raft_propose(raft, 10, LONG_BYTES, &index);
}

static int call_change(struct raft *raft)
{
    struct raft_members next = three;
    next.count = 2;
    uint64_t index;
    return raft_change(raft, 10, &next, LONG_BYTES, &index);
}

static int call_read(struct raft *raft)
{
    uint64_t index, ticket;
    return raft_read(raft, 10, true, &index, &ticket);
}

Test(raft_memory, a_failed_call_leaves_the_raft_as_it_was)
{
    static const struct {
        const char *why;
        int (*call)(struct raft *raft);
        bool as_leader;
        int least; /* allocations that can fail */
    } table[] = {
        { "append", call_append, false, 42 },
        { "restore", call_restore, false, 3 },
        { "propose", call_propose, true, 3 },
        { "change", call_change, true, 3 },
        { "read", call_read, true, 1 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int n = 0, rc = DLHT_ENOMEM;
        for (; rc == DLHT_ENOMEM; n++) {
            struct raft *raft;
            cr_assert_eq(make(&raft), DLHT_OK);
            if (table[i].as_leader)
                lead(raft);
            uint64_t before = raft_hash(raft);
            allowed = n;
            rc = table[i].call(raft);
            allowed = -1;
            raft_check(raft);
            if (rc == DLHT_ENOMEM)
                cr_expect_eq(raft_hash(raft), before, "%s at %d", table[i].why,
                             n);
            raft_free(raft);
        }
        cr_expect_eq(rc, DLHT_OK, "%s", table[i].why);
        cr_expect_geq(n - 1, table[i].least, "%s: %d", table[i].why, n - 1);
    }
}

Test(raft_memory, without_memory_there_is_no_raft)
{
    struct raft *raft;
    allowed = 0;
    int rc = make(&raft);
    allowed = -1;
    cr_expect_eq(rc, DLHT_ENOMEM);
    cr_expect_null(raft);
}

Test(raft_memory, messages_without_memory_are_lost_and_sent_again)
{
    struct raft *raft;
    cr_assert_eq(make(&raft), DLHT_OK);
    lead(raft);
    for (int n = 0; n < 3; n++) {
        allowed = n;
        raft_take(raft, 10, &out);
        allowed = -1;
        raft_check(raft);
    }
    raft_tick(raft, 10000);
    raft_check(raft);
    raft_free(raft);
}
