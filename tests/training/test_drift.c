/* SPDX-License-Identifier: Apache-2.0 */

#include "training/drift.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"

static const uint64_t second = UINT64_C(1000000000);

enum {
    KEYS = 100000
};

/* An hour after training, with nothing wrong. */
static struct drift_check calm(void)
{
    return (struct drift_check){ .now_ns = 3600 * second,
                                 .keys = KEYS,
                                 .measured = true,
                                 .mean_error = 0.0005,
                                 .hot_leaf = 1.2 };
}

static struct drift trained(void)
{
    struct drift drift = { 0 };
    drift_trained(&drift, 0, KEYS);
    return drift;
}

/* Errors of the older and of the newer half of the checks before. */
static void fill(struct drift *drift, double older, double newer)
{
    for (size_t i = 0; i < DRIFT_CHECKS; i++)
        drift->errors[i] = i < DRIFT_CHECKS / 2 ? older : newer;
    drift->error_count = DRIFT_CHECKS;
}

struct row {
    enum drift_reason reason;
    bool at; /* at the threshold, not just below */
};

/* One thing is at its threshold, or just below it. */
static void provoke(const struct row *row, const struct drift_config *config,
                    struct drift *drift, struct drift_check *check)
{
    double size = row->at ? 1 : 0.999;
    switch (row->reason) {
    case DRIFT_ERROR:
        check->mean_error = config->error_max * size;
        break;
    case DRIFT_TREND:
        /* The check itself pushes the oldest out. */
        fill(drift, 0.002, 0.002 * (1 + config->trend_max) * size + 1e-12);
        drift->errors[DRIFT_CHECKS / 2] = 0.002;
        check->mean_error = drift->errors[DRIFT_CHECKS - 1];
        break;
    case DRIFT_VOLUME:
        check->changed = row->at ? KEYS * 4 / 10 : KEYS * 4 / 10 - 1;
        break;
    case DRIFT_STALE:
        check->now_ns = config->stale_ns - (row->at ? 0 : 1);
        break;
    case DRIFT_DISTRIBUTION:
        check->distribution = config->distribution_max * size;
        drift->apart = DRIFT_APART - 1;
        break;
    case DRIFT_HOT_LEAF:
        check->hot_leaf = config->hot_leaf_max * size;
        break;
    case DRIFT_NONE:
    case DRIFT_FIRST:
    case DRIFT_FORCE:
        cr_assert_fail("no threshold");
    }
}

static bool *flag(struct drift_config *config, enum drift_reason reason)
{
    switch (reason) {
    case DRIFT_ERROR:
        return &config->error_on;
    case DRIFT_TREND:
        return &config->trend_on;
    case DRIFT_VOLUME:
        return &config->volume_on;
    case DRIFT_STALE:
        return &config->stale_on;
    case DRIFT_DISTRIBUTION:
        return &config->distribution_on;
    case DRIFT_HOT_LEAF:
        return &config->hot_leaf_on;
    case DRIFT_NONE:
    case DRIFT_FIRST:
    case DRIFT_FORCE:
        break;
    }
    cr_assert_fail("no flag");
    return NULL;
}

static enum drift_reason ask(const struct row *row,
                             const struct drift_config *config)
{
    struct drift drift = trained();
    struct drift_check check = calm();
    provoke(row, config, &drift, &check);
    enum drift_reason reason = drift_check(&drift, config, &check);
    for (int r = 0; r <= DRIFT_FORCE; r++)
        cr_assert_eq(drift.fired[r],
                     (uint64_t)(r == (int)reason && r != DRIFT_NONE));
    return reason;
}

Test(drift, each_trigger_alone_fires_at_its_threshold)
{
    struct drift_config config = drift_config_default();
    for (int r = DRIFT_ERROR; r <= DRIFT_HOT_LEAF; r++) {
        enum drift_reason reason = (enum drift_reason)r;
        const char *name = drift_reason_name(reason);
        struct row at = { reason, true };
        struct row below = { reason, false };
        cr_assert_eq(ask(&at, &config), reason, "%s at", name);
        cr_assert_eq(ask(&below, &config), DRIFT_NONE, "%s below", name);
        for (int off = DRIFT_ERROR; off <= DRIFT_HOT_LEAF; off++) {
            struct drift_config some = drift_config_default();
            *flag(&some, (enum drift_reason)off) = false;
            cr_assert_eq(ask(&at, &some), off == r ? DRIFT_NONE : reason,
                         "%s with %s off", name,
                         drift_reason_name((enum drift_reason)off));
        }
    }
}

Test(drift, all_at_once_fire_in_order)
{
    struct drift_config config = drift_config_default();
    for (int first = DRIFT_ERROR; first <= DRIFT_HOT_LEAF; first++) {
        struct drift drift = trained();
        struct drift_check check = calm();
        for (int r = first; r <= DRIFT_HOT_LEAF; r++) {
            /* A trend is made with an error of its own. */
            if (r == DRIFT_TREND && first == DRIFT_ERROR)
                continue;
            struct row row = { (enum drift_reason)r, true };
            provoke(&row, &config, &drift, &check);
        }
        cr_assert_eq(drift_check(&drift, &config, &check),
                     (enum drift_reason)first);
    }
}

Test(drift, few_keys_and_a_short_gap_hold_all_but_force)
{
    struct drift_config config = drift_config_default();
    for (int r = DRIFT_ERROR; r <= DRIFT_HOT_LEAF; r++) {
        struct row row = { (enum drift_reason)r, true };
        for (int how = 0; how < 6; how++) {
            struct drift drift = trained();
            struct drift_check check = calm();
            provoke(&row, &config, &drift, &check);
            bool fires = true;
            if (how == 0 || how == 1) { /* keys_min */
                check.keys = config.keys_min - (how == 0);
                fires = how == 1;
            } else if (how == 2 || how == 3) { /* gap */
                drift.trained_ns = check.now_ns - config.gap_ns + (how == 2);
                config.stale_ns =
                    r == DRIFT_STALE ? config.gap_ns : config.stale_ns;
                fires = how == 3;
            } else { /* force, with too few keys in too short a time */
                check.force = true;
                check.keys = how == 4 ? 0 : 1;
                drift.trained_ns = check.now_ns;
            }
            enum drift_reason want = how >= 4 ? DRIFT_FORCE
                                     : fires  ? (enum drift_reason)r
                                              : DRIFT_NONE;
            cr_assert_eq(drift_check(&drift, &config, &check), want,
                         "%s, case %d", drift_reason_name(row.reason), how);
            config = drift_config_default();
        }
    }
}

Test(drift, the_first_model_waits_for_keys_only)
{
    struct drift_config config = drift_config_default();
    struct drift drift = { 0 };
    struct drift_check check = { .keys = 999, .now_ns = 1 };
    cr_assert_eq(drift_check(&drift, &config, &check), DRIFT_NONE);
    check.keys = 1000;
    cr_assert_eq(drift_check(&drift, &config, &check), DRIFT_FIRST);
    config.keys_min = 0;
    check.keys = 0;
    cr_assert_eq(drift_check(&drift, &config, &check), DRIFT_NONE);
    cr_assert_eq(drift.fired[DRIFT_FIRST], 1u);
}

Test(drift, a_distribution_must_stay_apart_three_times)
{
    struct drift_config config = drift_config_default();
    const struct {
        const char *why;
        double distribution[6];
        double noise;
        bool measured;
        int fires_at; /* -1: never */
    } rows[] = {
        { "three", { 0.02, 0.02, 0.02, 0, 0, 0 }, 0, true, 2 },
        { "two and two", { 0.02, 0.02, 0, 0.02, 0.02, 0 }, 0, true, -1 },
        { "later three", { 0.02, 0, 0.02, 0.02, 0.02, 0 }, 0, true, 4 },
        { "noise", { 0.02, 0.02, 0.02, 0.02, 0.02, 0.02 }, 0.007, true, -1 },
        { "less noise", { 0.021, 0.021, 0.021, 0, 0, 0 }, 0.0069, true, 2 },
        { "not known", { 0.02, 0.02, 0.02, 0.02, 0.02, 0.02 }, 0, false, -1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drift drift = trained();
        for (int n = 0; n < 6; n++) {
            struct drift_check check = calm();
            check.distribution = rows[i].distribution[n];
            check.noise = rows[i].noise;
            check.measured = rows[i].measured;
            enum drift_reason reason = drift_check(&drift, &config, &check);
            cr_assert_eq(reason == DRIFT_DISTRIBUTION, n == rows[i].fires_at,
                         "%s, check %d", rows[i].why, n);
            cr_assert(reason == DRIFT_NONE || reason == DRIFT_DISTRIBUTION);
        }
    }
}

/* Errors that grow by so much at every check; the check that fires, or 0. */
static int trend_fires(double from, double growth, size_t checks,
                       struct drift *drift)
{
    struct drift_config config = drift_config_default();
    *drift = trained();
    double error = from;
    for (size_t n = 1; n <= checks; n++, error *= growth) {
        struct drift_check check = calm();
        check.mean_error = error;
        enum drift_reason reason = drift_check(drift, &config, &check);
        cr_assert(reason == DRIFT_NONE || reason == DRIFT_TREND);
        if (reason == DRIFT_TREND)
            return (int)n;
    }
    return 0;
}

Test(drift, a_trend_is_seen_over_the_ring_of_checks)
{
    struct drift drift;
    /* Sixteen checks at g each make a half g^16 times the other. */
    cr_assert_eq(trend_fires(0.002, 1.0115, 40, &drift), DRIFT_CHECKS);
    cr_assert_eq(trend_fires(0.002, 1.0112, 40, &drift), 0);
    cr_assert_eq(trend_fires(0.008, 0.95, 200, &drift), 0);
    /* Below what is worth a look it waits until it is worth it. */
    int late = trend_fires(0.0001, 1.03, 100, &drift);
    cr_assert(late > DRIFT_CHECKS);
    cr_assert(drift.errors[(size_t)(late - 1) % DRIFT_CHECKS] >
              DRIFT_TREND_ERROR_MIN);
    /* A new model is not measured by the errors of the old. */
    drift_trained(&drift, 0, KEYS);
    struct drift_config config = drift_config_default();
    struct drift_check check = calm();
    cr_assert_eq(drift_check(&drift, &config, &check), DRIFT_NONE);
    cr_assert_eq(drift.error_count, 1u);
    cr_assert_eq(drift.fired[DRIFT_TREND], 1u);
}

Test(drift, volume_counts_keys_or_share)
{
    struct drift_config config = drift_config_default();
    config.volume_count = 500;
    struct drift drift = trained();
    struct drift_check check = calm();
    check.changed = 499;
    cr_assert_eq(drift_check(&drift, &config, &check), DRIFT_NONE);
    check.changed = 500;
    cr_assert_eq(drift_check(&drift, &config, &check), DRIFT_VOLUME);
    config.volume_count = 0;
    cr_assert_eq(drift_check(&drift, &config, &check), DRIFT_NONE);
}

/* Field by field: what is between them may be anything. */
static bool same(const struct drift_config *a, const struct drift_config *b)
{
    return a->error_on == b->error_on && a->trend_on == b->trend_on &&
           a->volume_on == b->volume_on && a->stale_on == b->stale_on &&
           a->distribution_on == b->distribution_on &&
           a->hot_leaf_on == b->hot_leaf_on && a->error_max == b->error_max &&
           a->trend_max == b->trend_max && a->volume_count == b->volume_count &&
           a->volume_share == b->volume_share && a->stale_ns == b->stale_ns &&
           a->distribution_max == b->distribution_max &&
           a->hot_leaf_max == b->hot_leaf_max && a->keys_min == b->keys_min &&
           a->gap_ns == b->gap_ns;
}

Test(drift, options_are_set_by_name)
{
    const struct {
        const char *name, *value;
        int rc;
    } rows[] = {
        { "error", "0.05", DLHT_OK },
        { "error", "off", DLHT_OK },
        { "error", "1", DLHT_OK },
        { "error", "0", DLHT_EINVAL },
        { "error", "1.5", DLHT_EINVAL },
        { "error", "", DLHT_EINVAL },
        { "error", "-0.1", DLHT_EINVAL },
        { "error", "+0.1", DLHT_EINVAL },
        { "error", "1e-3", DLHT_EINVAL },
        { "error", "nan", DLHT_EINVAL },
        { "error", "inf", DLHT_EINVAL },
        { "error", "0x1", DLHT_EINVAL },
        { "error", ".5", DLHT_EINVAL },
        { "error", "0.", DLHT_EINVAL },
        { "error", "0.1.2", DLHT_EINVAL },
        { "error", " 0.1", DLHT_EINVAL },
        { "error", "0,1", DLHT_EINVAL },
        { "error", "on", DLHT_EINVAL },
        { "error", "Off", DLHT_EINVAL },
        { "error", "0.0000000001", DLHT_EINVAL },
        { "trend", "0.3", DLHT_OK },
        { "volume", "0.5", DLHT_OK },
        { "volume-count", "5000", DLHT_OK },
        { "volume-count", "0", DLHT_OK },
        { "volume-count", "off", DLHT_OK },
        { "volume-count", "1.5", DLHT_EINVAL },
        { "volume-count", "1000000000000000", DLHT_EINVAL },
        { "stale", "3600", DLHT_OK },
        { "stale", "0", DLHT_EINVAL },
        { "stale", "2000000000", DLHT_EINVAL },
        { "distribution", "0.02", DLHT_OK },
        { "distribution", "2", DLHT_EINVAL },
        { "hot-leaf", "8", DLHT_OK },
        { "hot-leaf", "0.5", DLHT_EINVAL },
        { "keys-min", "10", DLHT_OK },
        { "keys-min", "off", DLHT_EINVAL },
        { "gap", "0.5", DLHT_OK },
        { "gap", "0", DLHT_OK },
        { "gap", "off", DLHT_EINVAL },
        { "force", "1", DLHT_ENOTFOUND },
        { "", "1", DLHT_ENOTFOUND },
        { "erro", "1", DLHT_ENOTFOUND },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drift_config config = drift_config_default();
        struct drift_config before = config;
        cr_assert_eq(drift_config_set(&config, span_str(rows[i].name),
                                      span_str(rows[i].value)),
                     rows[i].rc, "%s %s", rows[i].name, rows[i].value);
        if (rows[i].rc != DLHT_OK)
            cr_assert(same(&config, &before));
    }
    struct drift_config config = drift_config_default();
    config.error_on = false;
    cr_assert_eq(drift_config_set(&config, span_str("error"), span_str("0.25")),
                 DLHT_OK);
    cr_assert(config.error_on && config.error_max == 0.25);
    cr_assert_eq(drift_config_set(&config, span_str("gap"), span_str("0.5")),
                 DLHT_OK);
    cr_assert_eq(config.gap_ns, second / 2);
    cr_assert_eq(drift_config_set(&config, span_str("stale"), span_str("off")),
                 DLHT_OK);
    cr_assert(!config.stale_on && config.stale_ns == 86400 * second);
}

struct listed {
    char text[512];
    struct drift_config copy;
    size_t count;
};

static void list(void *context, const char *name, const char *value,
                 const char *default_value)
{
    struct listed *l = context;
    size_t len = strlen(l->text);
    snprintf(l->text + len, sizeof l->text - len, "%s %s %s\n", name, value,
             default_value);
    cr_assert_eq(drift_config_set(&l->copy, span_str(name), span_str(value)),
                 DLHT_OK);
    l->count++;
}

Test(drift, options_are_listed_and_come_back)
{
    struct drift_config config = drift_config_default();
    config.trend_on = false;
    config.error_max = 0.123456789;
    config.volume_count = 77;
    config.gap_ns = second / 4;
    struct listed l = { .copy = drift_config_default() };
    drift_config_list(&config, list, &l);
    cr_assert_str_eq(l.text, "error 0.123456789 0.01\n"
                             "trend off 0.2\n"
                             "volume 0.4 0.4\n"
                             "volume-count 77 off\n"
                             "stale 86400 86400\n"
                             "distribution 0.01 0.01\n"
                             "hot-leaf 4 4\n"
                             "keys-min 1000 1000\n"
                             "gap 0.25 10\n");
    cr_assert(same(&l.copy, &config));
    cr_assert_eq(l.count, 9u);
}

Test(drift, reasons_have_names)
{
    const char *names[] = { "none",         "first",    "error",
                            "trend",        "volume",   "stale",
                            "distribution", "hot-leaf", "force" };
    for (int r = 0; r <= DRIFT_FORCE; r++)
        cr_assert_str_eq(drift_reason_name((enum drift_reason)r), names[r]);
    cr_assert_str_eq(drift_reason_name((enum drift_reason)99), "unknown");
}
