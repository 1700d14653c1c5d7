/* SPDX-License-Identifier: Apache-2.0 */

/* Options of caches. */

#include "node/cache_settings.h"

#include "dlht/err.h"

enum {
    DIGITS_MAX = 18
};

struct cache_settings cache_settings_default(void)
{
    return (struct cache_settings){ .policy = CACHE_S3FIFO };
}

bool cache_settings_bound(const struct cache_settings *s)
{
    return s->bytes_max || s->count_max;
}

bool cache_settings_has(struct span name)
{
    return span_equal(name, span_str("max-bytes")) ||
           span_equal(name, span_str("max-items")) ||
           span_equal(name, span_str("policy"));
}

static bool read_number(struct span text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= DIGITS_MAX)
            return false;
        *out = *out * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.len > 0;
}

static int set_policy(struct cache_settings *s, struct span value,
                      const char **text)
{
    *text = "policy is s3fifo or lru";
    if (span_equal(value, span_str("lru")))
        s->policy = CACHE_LRU;
    else if (span_equal(value, span_str("s3fifo")))
        s->policy = CACHE_S3FIFO;
    else
        return DLHT_EINVAL;
    return DLHT_OK;
}

int cache_settings_set(struct cache_settings *s, struct span name,
                       struct span value, const char **text)
{
    uint64_t n;
    if (span_equal(name, span_str("policy")))
        return set_policy(s, value, text);
    bool bytes = span_equal(name, span_str("max-bytes"));
    *text = bytes ? "max-bytes is a number of bytes from 1048576 up, at each "
                    "peer"
                  : "max-items is a number of entries from 256 up, at each "
                    "peer";
    if (!read_number(value, &n) ||
        n < (bytes ? CACHE_MAX_BYTES_LEAST : CACHE_MAX_ITEMS_LEAST))
        return DLHT_EINVAL;
    if (bytes)
        s->bytes_max = n;
    else
        s->count_max = n;
    return DLHT_OK;
}

const char *cache_settings_policy(enum cache_policy_kind policy)
{
    return policy == CACHE_LRU ? "lru" : "s3fifo";
}
