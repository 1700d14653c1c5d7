/* SPDX-License-Identifier: Apache-2.0 */

/* What makes sense in a report. */

#include "training/report.h"

#include "dlht/err.h"

enum {
    REPORT_QUANTILES_MIN = 8,
    REPORT_QUANTILES_A_LEAF = 4
};

/* key is in the arc, and no longer than a key may be. */
static bool report_has(const struct report *report, struct span key)
{
    return key.len <= REPORT_KEY_LEN_MAX &&
           span_compare(key, report->lo) >= 0 &&
           (!report->has_hi || span_compare(key, report->hi) < 0);
}

static bool report_counts_agree(const struct report *report)
{
    uint64_t left = report->keys;
    for (size_t i = 0; i < report->quantile_count; i++) {
        uint64_t count = report->quantiles[i].count;
        if (count == 0 || count > left)
            return false;
        left -= count;
    }
    return left == 0;
}

static bool report_keys_ascend(const struct report *report)
{
    const struct fit_quantile *quantiles = report->quantiles;
    for (size_t i = 0; i < report->quantile_count; i++)
        if (!report_has(report, quantiles[i].key) ||
            (i > 0 &&
             span_compare(quantiles[i - 1].key, quantiles[i].key) >= 0))
            return false;
    return true;
}

int report_check(const struct report *report)
{
    if (report->lo.len > REPORT_KEY_LEN_MAX || report->keys > REPORT_KEYS_MAX ||
        report->quantile_count > REPORT_QUANTILES_MAX)
        return DLHT_EPROTO;
    if (report->has_hi && (report->hi.len > REPORT_KEY_LEN_MAX ||
                           span_compare(report->lo, report->hi) >= 0))
        return DLHT_EPROTO;
    if (!report_keys_ascend(report) || !report_counts_agree(report))
        return DLHT_EPROTO;
    if (report->keys == 0)
        return DLHT_OK;
    struct span last = report->quantiles[report->quantile_count - 1].key;
    if (!report_has(report, report->end) || span_compare(report->end, last) < 0)
        return DLHT_EPROTO;
    return DLHT_OK;
}

size_t report_quantiles_wanted(double share, uint32_t leaf_count)
{
    double wanted = share * leaf_count * REPORT_QUANTILES_A_LEAF;
    if (!(wanted > REPORT_QUANTILES_MIN)) /* or no number */
        return REPORT_QUANTILES_MIN;
    if (wanted >= REPORT_QUANTILES_MAX)
        return REPORT_QUANTILES_MAX;
    return (size_t)wanted;
}

struct span report_separator(struct span before, struct span key)
{
    size_t n = before.len < key.len ? before.len : key.len;
    size_t common = 0;
    while (common < n && before.data[common] == key.data[common])
        common++;
    return span_of(key.data, common < key.len ? common + 1 : key.len);
}
