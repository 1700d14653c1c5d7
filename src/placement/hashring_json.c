/* SPDX-License-Identifier: Apache-2.0 */

/* A ring as JSON. */

#include <inttypes.h>
#include <stdio.h>

#include "placement/hashring_state.h"

static void put(struct buf *out, const char *text)
{
    buf_append_span(out, span_str(text));
}

static void put_u64(struct buf *out, const char *name, uint64_t value)
{
    char text[64];
    snprintf(text, sizeof text, "\"%s\": %" PRIu64, name, value);
    put(out, text);
}

static void put_f64(struct buf *out, const char *name, double value)
{
    char text[64];
    snprintf(text, sizeof text, "\"%s\": %.9g", name, value);
    put(out, text);
}

static bool is_plain(struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] < 0x20 || bytes.data[i] > 0x7e)
            return false;
    return true;
}

static void put_bytes(struct buf *out, const char *name, struct span bytes)
{
    char text[8];
    bool plain = is_plain(bytes);
    put(out, "\"");
    put(out, name);
    put(out, plain ? "\": \"" : "\": {\"hex\": \"");
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.data[i];
        if (plain && (byte == '"' || byte == '\\'))
            buf_append_byte(out, '\\');
        snprintf(text, sizeof text, plain ? "%c" : "%02x", byte);
        put(out, text);
    }
    put(out, plain ? "\"" : "\"}");
}

static const char *hash_name(const struct hashring_config *config)
{
    if (config->hash == hashring_xxh3)
        return "xxh3";
    return config->hash == hashring_md5 ? "md5" : "own";
}

static void put_config(struct buf *out, const struct hashring_config *config)
{
    put(out, "\"hash\": \"");
    put(out, hash_name(config));
    put(out, "\", ");
    put_u64(out, "vnodes", config->vnodes);
    put(out, ", ");
    put_u64(out, "probes", config->probes);
    put(out, config->tokens == HASHRING_CHOSEN ? ", \"choice\": \"chosen\", "
                                               : ", \"choice\": \"derived\", ");
    put_u64(out, "seed", config->seed);
}

static void put_member(struct buf *out, const struct member *m)
{
    put(out, "{");
    put_bytes(out, "id", m->id);
    put(out, ", ");
    put_f64(out, "weight", m->weight);
    put(out, ", ");
    put_bytes(out, "zone", m->zone);
    put(out, ", ");
    put_u64(out, "token_count", m->token_count);
    put(out, ", ");
    put_f64(out, "share", m->share);
    put(out, "}");
}

void hashring_json(const struct hashring *ring, bool tokens, struct buf *out)
{
    char text[64];
    put(out, "{");
    put_config(out, &ring->config);
    put(out, ", \"nodes\": [");
    for (size_t i = 0; i < ring->member_count; i++) {
        put(out, i ? ", " : "");
        put_member(out, &ring->members[i]);
    }
    put(out, tokens ? "], \"tokens\": [" : "]");
    for (size_t i = 0; tokens && i < ring->token_count; i++) {
        snprintf(text, sizeof text, "%s[\"%016" PRIx64 "\", %" PRIu32 "]",
                 i ? ", " : "", ring->positions[i], ring->owners[i]);
        put(out, text);
    }
    put(out, tokens ? "]}" : "}");
}
