/* SPDX-License-Identifier: Apache-2.0 */

/* tests/store/journal_world.h - a journal on a simulated disk, and beside it
 * the list of what was appended and what of it was acknowledged. Every record
 * carries its number in that list, so what is replayed can be judged. */

#ifndef TESTS_STORE_JOURNAL_WORLD_H
#define TESTS_STORE_JOURNAL_WORLD_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "sim/disk_sim.h"
#include "store/journal.h"
#include "store/le.h"

enum {
    WORLD_ENTRIES = 512,
    WORLD_ARCS = 8,  /* arcs 0 .. 7 */
    WORLD_TYPES = 8, /* types 1 .. 7 */
    WORLD_REPLAYED = 1024,
    WORLD_PAYLOAD = 8 /* least payload: its number */
};

struct world_entry {
    uint8_t type;
    uint64_t arc;
    uint64_t index;
    size_t len;
};

struct world {
    struct disk_sim *sim;
    struct journal *journal;
    struct journal_config config;
    struct journal_report report;

    struct world_entry entries[WORLD_ENTRIES];
    size_t count; /* appended */
    size_t acked; /* the first so many are known to be synced */
    uint64_t released[WORLD_ARCS];
    size_t gone_before[WORLD_ARCS]; /* entries of an earlier life */

    uint64_t replayed[WORLD_REPLAYED]; /* numbers, in the order of replay */
    size_t replayed_count;
    char why[256]; /* what the judge found wrong; "": nothing */
};

static inline void world_init(struct world *w, struct disk_sim *sim)
{
    memset(w, 0, sizeof *w);
    w->sim = sim;
    w->config = (struct journal_config){ .segment_bytes = 4096, .seed = 7 };
}

/* Bytes that depend on number and place, so that any mixture shows. */
static inline void world_fill(uint8_t *bytes, uint64_t number, size_t len)
{
    le_put64(bytes, number);
    for (size_t i = 8; i < len; i += 8) {
        uint64_t word = number * 37 + i * 0x10101;
        memcpy(bytes + i, &word, len - i < 8 ? len - i : 8);
    }
}

#define WORLD_FAIL(w, ...) snprintf((w)->why, sizeof(w)->why, __VA_ARGS__)

static inline int world_replay(void *context,
                               const struct journal_record *record)
{
    struct world *w = context;
    if (record->payload.len < WORLD_PAYLOAD) {
        WORLD_FAIL(w, "a payload of %zu bytes", record->payload.len);
        return DLHT_OK;
    }
    uint64_t number = le_get64(record->payload.data);
    if (number >= w->count) {
        WORLD_FAIL(w, "entry %llu was never written",
                   (unsigned long long)number);
        return DLHT_OK;
    }
    const struct world_entry *e = &w->entries[number];
    uint8_t *expect = malloc(e->len);
    world_fill(expect, number, e->len);
    if (record->type != e->type || record->arc != e->arc ||
        record->index != e->index || record->term != number * 3 ||
        !span_equal(record->payload, span_of(expect, e->len)))
        WORLD_FAIL(w, "entry %llu differs", (unsigned long long)number);
    free(expect);
    cr_assert_lt(w->replayed_count, WORLD_REPLAYED);
    w->replayed[w->replayed_count++] = number;
    return DLHT_OK;
}

static inline int world_open_with(struct world *w, bool accept)
{
    w->replayed_count = 0;
    w->why[0] = '\0';
    return journal_open(disk_sim_disk(w->sim), &w->config, accept, world_replay,
                        w, &w->report, &w->journal);
}

static inline int world_open(struct world *w)
{
    return world_open_with(w, false);
}

static inline void world_close(struct world *w)
{
    journal_close(w->journal);
    w->journal = NULL;
}

static inline int world_append(struct world *w, uint8_t type, uint64_t arc,
                               uint64_t index, size_t len)
{
    cr_assert(w->count < WORLD_ENTRIES && arc < WORLD_ARCS &&
              type < WORLD_TYPES && len >= WORLD_PAYLOAD);
    uint8_t *payload = malloc(len);
    world_fill(payload, w->count, len);
    struct journal_record record = {
        .type = type,
        .arc = arc,
        .term = w->count * 3,
        .index = index,
        .payload = span_of(payload, len),
    };
    int rc = journal_append(w->journal, &record);
    free(payload);
    if (rc == DLHT_OK)
        w->entries[w->count++] = (struct world_entry){ type, arc, index, len };
    return rc;
}

static inline int world_flush(struct world *w, bool sync)
{
    int rc = journal_flush(w->journal, sync);
    if (rc == DLHT_OK && sync)
        w->acked = w->count;
    return rc;
}

static inline void world_release(struct world *w, uint64_t arc, uint64_t index)
{
    journal_release(w->journal, arc, index);
    if (index == UINT64_MAX)
        w->gone_before[arc] = w->count;
    else if (index > w->released[arc])
        w->released[arc] = index;
}

static inline bool world_is_needed(const struct world *w, size_t number)
{
    const struct world_entry *e = &w->entries[number];
    return number >= w->gone_before[e->arc] &&
           (e->index == 0 || e->index > w->released[e->arc]);
}

/* Greatest number replayed, plus one. */
static inline size_t world_replayed_end(const struct world *w)
{
    size_t end = 0;
    for (size_t i = 0; i < w->replayed_count; i++)
        if (w->replayed[i] >= end)
            end = (size_t)w->replayed[i] + 1;
    return end;
}

/* Records with an index: in order, without a hole, all that is needed. */
static inline void world_judge_indexed(struct world *w, size_t end)
{
    size_t next = SIZE_MAX;
    for (size_t i = 0; i < w->replayed_count; i++) {
        size_t number = (size_t)w->replayed[i];
        if (w->entries[number].index == 0)
            continue;
        if (next != SIZE_MAX && number != next) {
            WORLD_FAIL(w, "entry %zu where %zu was due", number, next);
            return;
        }
        next = number + 1;
        while (next < w->count && w->entries[next].index == 0)
            next++;
    }
    bool seen[WORLD_ENTRIES] = { false };
    for (size_t i = 0; i < w->replayed_count; i++)
        seen[w->replayed[i]] = true;
    size_t due = end > w->acked ? end : w->acked;
    for (size_t i = 0; i < due; i++)
        if (w->entries[i].index != 0 && !seen[i] && world_is_needed(w, i))
            WORLD_FAIL(w, "entry %zu is lost (%zu acknowledged)", i, w->acked);
}

/* Records with index 0: per arc and type the newest comes last, and an arc's
 * last ones come in the order in which they were written. */
static inline void world_judge_zeros(struct world *w, size_t end)
{
    size_t due = end > w->acked ? end : w->acked;
    size_t last_at[WORLD_ARCS][WORLD_TYPES];
    memset(last_at, 0xff, sizeof last_at);
    for (size_t i = 0; i < w->replayed_count; i++) {
        const struct world_entry *e = &w->entries[w->replayed[i]];
        if (e->index)
            continue;
        size_t *at = &last_at[e->arc][e->type];
        if (*at != SIZE_MAX && w->replayed[*at] > w->replayed[i] &&
            world_is_needed(w, (size_t)w->replayed[i]))
            WORLD_FAIL(w, "entry %zu came back", (size_t)w->replayed[i]);
        *at = i;
    }
    size_t newest[WORLD_ARCS][WORLD_TYPES];
    memset(newest, 0xff, sizeof newest);
    for (size_t i = 0; i < due; i++)
        if (w->entries[i].index == 0 && world_is_needed(w, i))
            newest[w->entries[i].arc][w->entries[i].type] = i;
    for (size_t a = 0; a < WORLD_ARCS; a++)
        for (size_t t = 0; t < WORLD_TYPES; t++) {
            size_t want = newest[a][t];
            if (want == SIZE_MAX)
                continue;
            size_t at = last_at[a][t];
            if (at == SIZE_MAX || w->replayed[at] != want) {
                WORLD_FAIL(w, "entry %zu, index 0, is not the newest", want);
                continue;
            }
            for (size_t u = 0; u < WORLD_TYPES; u++)
                if (newest[a][u] != SIZE_MAX && newest[a][u] < want &&
                    last_at[a][u] != SIZE_MAX && last_at[a][u] > at)
                    WORLD_FAIL(w, "entry %zu came after %zu", newest[a][u],
                               want);
        }
}

/* Whether what was replayed is what had to be; if not w->why says more. */
static inline bool world_judge(struct world *w)
{
    if (w->why[0])
        return false;
    size_t end = world_replayed_end(w);
    world_judge_indexed(w, end);
    world_judge_zeros(w, end);
    return !w->why[0];
}

/* From here on, what was replayed is what there is, and it is durable. */
static inline void world_adopt(struct world *w)
{
    size_t end = world_replayed_end(w);
    if (end < w->acked)
        end = w->acked;
    w->count = w->acked = end;
    for (size_t a = 0; a < WORLD_ARCS; a++)
        if (w->gone_before[a] > end)
            w->gone_before[a] = end;
}

/* The power fails and nothing in doubt survives. */
static inline void world_lose_all(struct world *w)
{
    uint16_t *none = calloc(disk_sim_doubt_count(w->sim) + 1, sizeof *none);
    disk_sim_crash_keep(w->sim, none);
    free(none);
}

#endif
