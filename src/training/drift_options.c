/* SPDX-License-Identifier: Apache-2.0 */

/* Triggers as users write them. Numbers are read and written here, since what
 * the C library makes of a point depends on the locale. */

#include "training/drift.h"

#include <stdio.h>

#include "dlht/err.h"

enum {
    DIGITS_MAX = 15, /* exact in a double */
    DECIMALS_MAX = 9,
    TEXT_MAX = 40
};

enum drift_kind {
    DRIFT_REAL,
    DRIFT_WHOLE,
    DRIFT_SECONDS
};

/* Where an option lives, and what it may be. */
struct drift_option {
    const char *name;
    enum drift_kind kind;
    size_t on; /* offset of its switch; 0 and has_on false: none */
    bool has_on;
    bool zero_is_off;
    size_t at;
    double least, most;
};

#define SWITCH(field) .on = offsetof(struct drift_config, field), .has_on = true
#define AT(field) .at = offsetof(struct drift_config, field)

static const struct drift_option drift_options[] = {
    { "error", DRIFT_REAL, SWITCH(error_on), AT(error_max), .least = 1e-9,
      .most = 1 },
    { "trend", DRIFT_REAL, SWITCH(trend_on), AT(trend_max), .least = 1e-9,
      .most = 1000 },
    { "volume", DRIFT_REAL, SWITCH(volume_on), AT(volume_share), .least = 1e-9,
      .most = 1e6 },
    { "volume-count", DRIFT_WHOLE, .zero_is_off = true, AT(volume_count),
      .most = 1e15 },
    { "stale", DRIFT_SECONDS, SWITCH(stale_on), AT(stale_ns), .least = 1e-9,
      .most = 1e9 },
    { "distribution", DRIFT_REAL, SWITCH(distribution_on), AT(distribution_max),
      .least = 1e-9, .most = 1 },
    { "hot-leaf", DRIFT_REAL, SWITCH(hot_leaf_on), AT(hot_leaf_max), .least = 1,
      .most = 1e6 },
    { "keys-min", DRIFT_WHOLE, AT(keys_min), .most = 1e15 },
    { "gap", DRIFT_SECONDS, AT(gap_ns), .most = 1e9 },
};

enum {
    DRIFT_OPTIONS = sizeof drift_options / sizeof drift_options[0]
};

/* Digits, and perhaps a point and more digits. */
static bool drift_parse(struct span text, bool whole, double *out)
{
    uint64_t digits = 0;
    size_t count = 0;
    size_t point = text.len;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.' && point == text.len && i > 0 && !whole) {
            point = i;
        } else if (c >= '0' && c <= '9' && count < DIGITS_MAX) {
            digits = digits * 10 + (uint64_t)(c - '0');
            count++;
        } else {
            return false;
        }
    }
    size_t decimals = point < text.len ? text.len - point - 1 : 0;
    if (count == 0 || decimals > DECIMALS_MAX ||
        (point < text.len && decimals == 0))
        return false;
    double unit = 1;
    for (size_t i = 0; i < decimals; i++)
        unit *= 10;
    *out = (double)digits / unit;
    return true;
}

static void drift_store(const struct drift_option *option, double value,
                        struct drift_config *config)
{
    void *field = (uint8_t *)config + option->at;
    if (option->kind == DRIFT_REAL) {
        *(double *)field = value;
        return;
    }
    double scale = option->kind == DRIFT_SECONDS ? 1e9 : 1;
    *(uint64_t *)field = (uint64_t)(value * scale + 0.5);
}

static bool *drift_switch(const struct drift_option *option,
                          struct drift_config *config)
{
    return (bool *)((uint8_t *)config + option->on);
}

static int drift_set(const struct drift_option *option, struct span text,
                     struct drift_config *config)
{
    if (span_equal(text, span_str("off"))) {
        if (!option->has_on && !option->zero_is_off)
            return DLHT_EINVAL;
        if (option->has_on)
            *drift_switch(option, config) = false;
        else
            drift_store(option, 0, config);
        return DLHT_OK;
    }
    double value;
    if (!drift_parse(text, option->kind == DRIFT_WHOLE, &value) ||
        value < option->least || value > option->most)
        return DLHT_EINVAL;
    drift_store(option, value, config);
    if (option->has_on)
        *drift_switch(option, config) = true;
    return DLHT_OK;
}

int drift_config_set(struct drift_config *config, struct span name,
                     struct span value)
{
    for (size_t i = 0; i < DRIFT_OPTIONS; i++)
        if (span_equal(name, span_str(drift_options[i].name)))
            return drift_set(&drift_options[i], value, config);
    return DLHT_ENOTFOUND;
}

/* Whole seconds or keys and nine decimals, without zeros at the end. */
static void drift_write(uint64_t whole, uint64_t billionths,
                        char text[TEXT_MAX])
{
    int len = snprintf(text, TEXT_MAX, "%llu.%09llu", (unsigned long long)whole,
                       (unsigned long long)billionths);
    while (text[len - 1] == '0')
        text[--len] = 0;
    if (text[len - 1] == '.')
        text[--len] = 0;
}

static void drift_text(const struct drift_option *option,
                       struct drift_config *config, char text[TEXT_MAX])
{
    const uint64_t billion = UINT64_C(1000000000);
    const void *field = (const uint8_t *)config + option->at;
    uint64_t whole;
    uint64_t rest = 0;
    if (option->kind == DRIFT_REAL) {
        double value = *(const double *)field;
        whole = (uint64_t)value;
        rest = (uint64_t)((value - (double)whole) * 1e9 + 0.5);
        whole += rest / billion;
        rest %= billion;
    } else {
        whole = *(const uint64_t *)field;
        if (option->kind == DRIFT_SECONDS) {
            rest = whole % billion;
            whole /= billion;
        }
    }
    bool off = option->has_on ? !*drift_switch(option, config)
                              : option->zero_is_off && whole == 0;
    if (off)
        snprintf(text, TEXT_MAX, "off");
    else
        drift_write(whole, rest, text);
}

void drift_config_list(const struct drift_config *config, drift_option_fn *each,
                       void *context)
{
    struct drift_config now = *config;
    struct drift_config usual = drift_config_default();
    for (size_t i = 0; i < DRIFT_OPTIONS; i++) {
        char value[TEXT_MAX];
        char default_value[TEXT_MAX];
        drift_text(&drift_options[i], &now, value);
        drift_text(&drift_options[i], &usual, default_value);
        each(context, drift_options[i].name, value, default_value);
    }
}
