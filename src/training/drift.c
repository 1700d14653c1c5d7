/* SPDX-License-Identifier: Apache-2.0 */

/* Triggers. */

#include "training/drift.h"

#include "dlht/err.h"

struct drift_config drift_config_default(void)
{
    const uint64_t second = UINT64_C(1000000000);
    return (struct drift_config){ .error_on = true,
                                  .trend_on = true,
                                  .volume_on = true,
                                  .stale_on = true,
                                  .distribution_on = true,
                                  .hot_leaf_on = true,
                                  .error_max = 0.01,
                                  .trend_max = 0.2,
                                  .volume_count = 0,
                                  .volume_share = 0.4,
                                  .stale_ns = 86400 * second,
                                  .distribution_max = 0.01,
                                  .hot_leaf_max = 4,
                                  .keys_min = 1000,
                                  .gap_ns = 10 * second };
}

const char *drift_reason_name(enum drift_reason reason)
{
    switch (reason) {
    case DRIFT_NONE:
        return "none";
    case DRIFT_FIRST:
        return "first";
    case DRIFT_ERROR:
        return "error";
    case DRIFT_TREND:
        return "trend";
    case DRIFT_VOLUME:
        return "volume";
    case DRIFT_STALE:
        return "stale";
    case DRIFT_DISTRIBUTION:
        return "distribution";
    case DRIFT_HOT_LEAF:
        return "hot-leaf";
    case DRIFT_FORCE:
        return "force";
    }
    return "unknown";
}

void drift_trained(struct drift *drift, uint64_t now_ns, uint64_t keys)
{
    drift->trained_ns = now_ns;
    drift->trained_keys = keys;
    drift->error_count = 0;
    drift->apart = 0;
}

static double drift_now_apart(const struct drift_config *config,
                              const struct drift_check *check)
{
    double noise = 3 * check->noise;
    return noise > config->distribution_max ? noise : config->distribution_max;
}

/* Remembers what was measured. */
static void drift_note(struct drift *drift, const struct drift_config *config,
                       const struct drift_check *check)
{
    if (!config->distribution_on)
        drift->apart = 0;
    if (!check->measured || drift->trained_keys == 0)
        return;
    drift->errors[drift->error_count % DRIFT_CHECKS] = check->mean_error;
    drift->error_count++;
    if (!config->distribution_on)
        return;
    bool apart = check->distribution >= drift_now_apart(config, check);
    if (!apart)
        drift->apart = 0;
    else if (drift->apart < DRIFT_APART)
        drift->apart++;
}

static bool drift_has_trend(const struct drift *drift, double trend_max)
{
    if (drift->error_count < DRIFT_CHECKS)
        return false;
    double half[2] = { 0, 0 }; /* older, newer */
    size_t each = DRIFT_CHECKS / 2;
    for (size_t i = 0; i < DRIFT_CHECKS; i++) {
        size_t at = (drift->error_count + i) % DRIFT_CHECKS;
        half[i / each] += drift->errors[at];
    }
    double floor = DRIFT_TREND_ERROR_MIN * (double)each;
    return half[1] >= floor && half[1] >= half[0] * (1 + trend_max);
}

static bool drift_has_volume(const struct drift *drift,
                             const struct drift_config *config,
                             uint64_t changed)
{
    if (config->volume_count > 0 && changed >= config->volume_count)
        return true;
    double share = config->volume_share * (double)drift->trained_keys;
    return changed > 0 && (double)changed >= share;
}

static bool drift_is_on(const struct drift_config *config,
                        enum drift_reason reason)
{
    switch (reason) {
    case DRIFT_ERROR:
        return config->error_on;
    case DRIFT_TREND:
        return config->trend_on;
    case DRIFT_VOLUME:
        return config->volume_on;
    case DRIFT_STALE:
        return config->stale_on;
    case DRIFT_DISTRIBUTION:
        return config->distribution_on;
    case DRIFT_HOT_LEAF:
        return config->hot_leaf_on;
    case DRIFT_NONE:
    case DRIFT_FIRST:
    case DRIFT_FORCE:
        break;
    }
    return false;
}

static bool drift_is_beyond(const struct drift *drift,
                            const struct drift_config *config,
                            const struct drift_check *check,
                            enum drift_reason reason)
{
    switch (reason) {
    case DRIFT_ERROR:
        return check->measured && check->mean_error >= config->error_max;
    case DRIFT_TREND:
        return drift_has_trend(drift, config->trend_max);
    case DRIFT_VOLUME:
        return drift_has_volume(drift, config, check->changed);
    case DRIFT_STALE:
        return check->now_ns - drift->trained_ns >= config->stale_ns;
    case DRIFT_DISTRIBUTION:
        return drift->apart >= DRIFT_APART;
    case DRIFT_HOT_LEAF:
        return check->measured && check->hot_leaf >= config->hot_leaf_max;
    case DRIFT_NONE:
    case DRIFT_FIRST:
    case DRIFT_FORCE:
        break;
    }
    return false;
}

static enum drift_reason drift_find(const struct drift *drift,
                                    const struct drift_config *config,
                                    const struct drift_check *check)
{
    if (check->force)
        return DRIFT_FORCE;
    if (check->keys < config->keys_min || check->keys == 0)
        return DRIFT_NONE;
    if (drift->trained_keys == 0)
        return DRIFT_FIRST;
    if (check->now_ns < drift->trained_ns ||
        check->now_ns - drift->trained_ns < config->gap_ns)
        return DRIFT_NONE;
    for (int r = DRIFT_ERROR; r <= DRIFT_HOT_LEAF; r++) {
        enum drift_reason reason = (enum drift_reason)r;
        if (drift_is_on(config, reason) &&
            drift_is_beyond(drift, config, check, reason))
            return reason;
    }
    return DRIFT_NONE;
}

enum drift_reason drift_check(struct drift *drift,
                              const struct drift_config *config,
                              const struct drift_check *check)
{
    drift_note(drift, config, check);
    enum drift_reason reason = drift_find(drift, config, check);
    if (reason != DRIFT_NONE)
        drift->fired[reason]++;
    return reason;
}
