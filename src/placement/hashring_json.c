/* SPDX-License-Identifier: Apache-2.0 */

/* A ring as JSON, and as one number. hashring_read.c reads it. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
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

/* With a point, whatever the program's locale has. */
static void put_number(struct buf *out, const char *text)
{
    for (bool point = false; *text; text++)
        if (strchr("0123456789+-e", *text)) {
            buf_append_byte(out, (uint8_t)*text);
        } else if (!point) {
            buf_append_byte(out, '.');
            point = true;
        }
}

static void put_share(struct buf *out, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.9g", value);
    put(out, "\"share\": ");
    put_number(out, text);
}

/* The shortest of three that is read as the same number again. */
static void put_weight(struct buf *out, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.9g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    put(out, "\"weight\": ");
    put_number(out, text);
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
    put(out, ", ");
    put_u64(out, "hash_seed", config->hash_seed);
}

static void put_member(struct buf *out, const struct member *m)
{
    put(out, "{");
    put_bytes(out, "id", m->id);
    put(out, ", ");
    put_weight(out, m->weight);
    put(out, ", ");
    put_bytes(out, "zone", m->zone);
    put(out, ", ");
    put_u64(out, "token_count", m->token_count);
    put(out, ", ");
    put_share(out, m->share);
    put(out, "}");
}

uint64_t hashring_fingerprint(const struct hashring *ring)
{
    const struct hashring_config *c = &ring->config;
    uint64_t hash = hash64(span_str(hash_name(c)));
    hash = hash64_mix(hash, c->vnodes);
    hash = hash64_mix(hash, c->probes);
    hash = hash64_mix(hash, c->tokens);
    hash = hash64_mix(hash, c->seed);
    hash = hash64_mix(hash, c->hash_seed);
    for (size_t i = 0; i < ring->member_count; i++) {
        const struct member *m = &ring->members[i];
        uint64_t weight;
        memcpy(&weight, &m->weight, sizeof weight);
        hash = hash64_mix(hash, hash64(m->id));
        hash = hash64_mix(hash, hash64(m->zone));
        hash = hash64_mix(hash, weight);
    }
    for (size_t i = 0; i < ring->token_count; i++) {
        hash = hash64_mix(hash, ring->positions[i]);
        hash = hash64_mix(hash,
                          (uint64_t)ring->owners[i] << 32 | ring->ordinals[i]);
    }
    return hash;
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
        snprintf(text, sizeof text,
                 "%s[\"%016" PRIx64 "\", %" PRIu32 ", %" PRIu32 "]",
                 i ? ", " : "", ring->positions[i], ring->owners[i],
                 ring->ordinals[i]);
        put(out, text);
    }
    snprintf(text, sizeof text, "%s, \"fingerprint\": \"%016" PRIx64 "\"}",
             tokens ? "]" : "", hashring_fingerprint(ring));
    put(out, text);
}
