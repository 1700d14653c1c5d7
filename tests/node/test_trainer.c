/* SPDX-License-Identifier: Apache-2.0 */

/* Each trigger alone, through node_step: keys come, time passes, and the owner
 * of the system arc trains at the threshold and not before. What the numbers
 * mean is tested in tests/training. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "node/alone.h"
#include "node/models.h"
#include "node/node_state.h"
#include "node/trainer_state.h"
#include "wire/mp.h"

enum {
    KEYS = 1000, /* before: keys-min */
    OFF = 6      /* triggers */
};

static const char *const TRIGGERS[OFF] = {
    "error", "trend", "volume", "stale", "distribution", "hot-leaf"
};

struct row {
    enum drift_reason reason;
    const char *name, *value; /* of the one option that is on */
    const char *leaves;       /* of the model */
    int quiet_keys;           /* that come, all into one place, without */
    int quiet_s;              /* firing, and how long it is waited */
    int keys;                 /* then, and it fires */
    int seconds;              /* within */
    int each_second;          /* keys that come in each of them */
};

/* With m keys more before all n others the greatest error is m / (n + m), and
 * the mean about half of it; but for those m keys, which the model all has at
 * 0. One leaf of ten that has m more holds (n / 10 + m) / (n + m). */
static const struct row ROWS[] = {
    { DRIFT_VOLUME, "volume", "0.4", "128", 399, 5, 1, 3, 0 },
    { DRIFT_VOLUME, "volume-count", "50", "128", 49, 5, 1, 3, 0 },
    { DRIFT_STALE, "stale", "100", "128", 0, 98, 0, 4, 0 },
    { DRIFT_ERROR, "error", "0.05", "128", 80, 8, 60, 4, 0 },
    { DRIFT_DISTRIBUTION, "distribution", "0.1", "128", 90, 8, 40, 8, 0 },
    { DRIFT_HOT_LEAF, "hot-leaf", "4", "10", 450, 8, 130, 4, 0 },
    { DRIFT_TREND, "trend", "0.5", "128", 10, 5, 0, 60, 10 },
};

static void write_pair(struct buf *b, const char *name, const char *value)
{
    mp_write_cstr(b, name);
    mp_write_cstr(b, value);
}

/* All triggers off, but for the one of the row. */
static void set_options(struct alone *a, const struct row *row)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    write_pair(&doc, "name", "default");
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, OFF + 4);
    bool counts = strcmp(row->name, "volume-count") == 0;
    for (size_t i = 0; i < OFF; i++) /* volume off is count off, too */
        write_pair(&doc, TRIGGERS[i],
                   counts && strcmp(TRIGGERS[i], "volume") == 0 ? "10" : "off");
    write_pair(&doc, "keys-min", "1000");
    write_pair(&doc, "gap", "1");
    write_pair(&doc, "model-leaves", row->leaves);
    write_pair(&doc, row->name, row->value);
    struct request q = { .op = OP_KEYSPACE_SET, .value = buf_span(&doc) };
    cr_assert_eq(alone_ask(a, &q)->status, DLHT_OK, "%s", row->name);
    buf_deinit(&doc);
}

static void put_keys(struct alone *a, char kind, int from, int count)
{
    char key[40];
    for (int i = from; i < from + count; i++) {
        snprintf(key, sizeof key, "%c%06d", kind, i);
        cr_assert_eq(alone_put(a, key, "x"), DLHT_OK);
    }
}

static const struct keyspace *keyspace_of(const struct alone *a)
{
    const struct keyspace *ks =
        keyspaces_find_name(a->node, span_str("default"));
    cr_assert(ks && ks->training);
    return ks;
}

/* Rounds, for whatever reason, but the first. */
static uint64_t fired(const struct alone *a)
{
    uint64_t sum = 0;
    for (int r = DRIFT_ERROR; r <= DRIFT_FORCE; r++)
        sum += keyspace_of(a)->training->drift.fired[r];
    return sum;
}

static void try_row(const struct row *row)
{
    struct alone a;
    alone_init(&a, 20261121);
    a.runs_jobs = true;
    set_options(&a, row);
    put_keys(&a, 'm', 0, KEYS - 1);
    alone_run(&a, 3000);
    cr_assert_null(keyspace_of(&a)->held, "%s: below keys-min", row->name);
    put_keys(&a, 'm', KEYS - 1, 1);
    for (int i = 0; i < 30 && !keyspace_of(&a)->held; i++)
        alone_run(&a, 100);
    cr_assert(keyspace_of(&a)->held, "%s: no first model", row->name);
    cr_expect_eq(keyspace_of(&a)->training->drift.fired[DRIFT_FIRST], 1);

    put_keys(&a, 'a', 0, row->quiet_keys);
    alone_run(&a, 1000 * (uint64_t)row->quiet_s);
    cr_expect_eq(fired(&a), 0, "%s: fires below %s", row->name, row->value);

    int next = row->quiet_keys;
    put_keys(&a, 'a', next, row->keys);
    next += row->keys;
    for (int i = 0; i < row->seconds && fired(&a) == 0; i++) {
        put_keys(&a, 'a', next, row->each_second);
        next += row->each_second;
        alone_run(&a, 1000);
    }
    cr_expect_eq(fired(&a), 1, "%s: %lu rounds at %s", row->name,
                 (unsigned long)fired(&a), row->value);
    cr_expect_eq(keyspace_of(&a)->training->drift.fired[row->reason], 1,
                 "%s: another trigger fired", row->name);
    alone_deinit(&a);
}

Test(trainer, each_trigger_fires_at_its_threshold, .timeout = 60)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        try_row(&ROWS[i]);
}
