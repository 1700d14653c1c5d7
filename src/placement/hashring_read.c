/* SPDX-License-Identifier: Apache-2.0 */

/* A ring from the JSON of hashring_json.c. The text is a stranger's: whatever
 * is not as that file writes it is refused, and where and why is told. */

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "placement/hashring_state.h"

enum {
    NUMBER_MAX = 40, /* characters of a number */
    NAME_MAX = 16    /* of the name of a field */
};

/* A node as the text has it. */
struct listed {
    struct span id; /* into bytes, as is zone */
    struct span zone;
    double weight;
    double share;
    uint64_t token_count;
    size_t at; /* in the text */
};

struct reader {
    struct span text;
    size_t at;
    struct hashring_fault fault;
    int rc;         /* DLHT_OK, or why it ended */
    uint8_t *bytes; /* owned: ids and zones; they are shorter than the text */
    size_t byte_count;
    struct hashring_config config;
    bool own;             /* the hash is the caller's */
    struct listed *nodes; /* owned */
    struct token *tokens; /* owned */
    size_t *token_at;     /* owned: where each is in the text */
    size_t node_count;
    size_t node_cap;
    size_t token_count;
    size_t token_cap;
    size_t tokens_at; /* their field */
    uint64_t fingerprint;
    size_t fingerprint_at;
    unsigned seen; /* bits of fields of the object at hand */
};

/* Always false, so that it can be returned. The first fault is kept. */
static bool wrong(struct reader *r, size_t at, const char *what)
{
    if (r->rc == DLHT_OK) {
        r->rc = DLHT_ECORRUPT;
        r->fault = (struct hashring_fault){ at, what };
    }
    return false;
}

static bool no_memory(struct reader *r)
{
    if (r->rc == DLHT_OK)
        r->rc = DLHT_ENOMEM;
    return false;
}

/* --- words */

/* The next byte that is no space; 0 at the end. */
static char peek(struct reader *r)
{
    while (r->at < r->text.len && r->text.data[r->at] &&
           strchr(" \t\r\n", r->text.data[r->at]))
        r->at++;
    if (r->at == r->text.len)
        return '\0';
    return (char)r->text.data[r->at];
}

static bool accept(struct reader *r, char c)
{
    if (peek(r) != c || r->at == r->text.len)
        return false;
    r->at++;
    return true;
}

static bool expect(struct reader *r, char c, const char *what)
{
    return accept(r, c) || wrong(r, r->at, what);
}

/* Whether a list or an object goes on behind an element. */
static bool goes_on(struct reader *r, char end)
{
    if (accept(r, ','))
        return true;
    if (!accept(r, end))
        wrong(r, r->at, "a comma or the end of a list is missing");
    return false;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* count digits at r->at. */
static bool read_hex(struct reader *r, size_t count, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < count; i++, r->at++) {
        int digit = r->at < r->text.len ? hex_digit(r->text.data[r->at]) : -1;
        if (digit < 0)
            return wrong(r, r->at, "a hexadecimal digit is meant");
        *value = *value << 4 | (uint64_t)digit;
    }
    return true;
}

/* Behind a backslash. */
static bool read_escape(struct reader *r, uint8_t *byte)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    uint8_t c = r->at < r->text.len ? r->text.data[r->at] : 0;
    const char *name = c ? strchr(names, c) : NULL;
    uint64_t value = 0;
    if (c == 'u') {
        r->at++;
        if (!read_hex(r, 4, &value))
            return false;
        *byte = (uint8_t)value;
        return value < 0x80 || wrong(r, r->at - 4, "beyond ASCII: use hex");
    }
    if (!name)
        return wrong(r, r->at, "no such escape");
    *byte = (uint8_t)bytes[name - names];
    r->at++;
    return true;
}

/* A string, into out of cap bytes. */
static bool read_string(struct reader *r, uint8_t *out, size_t cap, size_t *len)
{
    size_t begin = r->at;
    *len = 0;
    if (!expect(r, '"', "a string is meant"))
        return false;
    for (;;) {
        if (r->at == r->text.len || r->text.data[r->at] < 0x20)
            return wrong(r, r->at, "a string without its end");
        uint8_t byte = r->text.data[r->at++];
        if (byte == '"')
            return true;
        if (byte == '\\' && !read_escape(r, &byte))
            return false;
        if (*len == cap)
            return wrong(r, begin, "a string that is too long");
        out[(*len)++] = byte;
    }
}

static bool read_name(struct reader *r, char name[NAME_MAX])
{
    size_t len;
    peek(r);
    size_t begin = r->at;
    if (!read_string(r, (uint8_t *)name, NAME_MAX - 1, &len))
        return false;
    name[len] = 0;
    return strlen(name) == len || wrong(r, begin, "a zero in a name");
}

static bool read_u64(struct reader *r, uint64_t max, uint64_t *value)
{
    char first = peek(r);
    size_t begin = r->at;
    *value = 0;
    while (r->at < r->text.len && r->text.data[r->at] >= '0' &&
           r->text.data[r->at] <= '9') {
        uint64_t digit = (uint64_t)(r->text.data[r->at++] - '0');
        if (*value > (UINT64_MAX - digit) / 10)
            return wrong(r, begin, "a number that is too large");
        *value = *value * 10 + digit;
    }
    if (r->at == begin || (first == '0' && r->at > begin + 1))
        return wrong(r, begin, "a whole number is meant");
    return *value <= max || wrong(r, begin, "a number that is too large");
}

/* strtod, which wants the point of the program's locale. */
static double to_f64(const char *text, const char **end)
{
    char local[NUMBER_MAX + 8];
    const char *point = strchr(text, '.');
    const char *mine = localeconv()->decimal_point;
    size_t len = strlen(mine);
    char *stop;
    if (!point || strcmp(mine, ".") == 0 || len > 8) {
        double value = strtod(text, &stop);
        *end = stop;
        return value;
    }
    size_t before = (size_t)(point - text);
    memcpy(local, text, before);
    memcpy(local + before, mine, len);
    memcpy(local + before + len, point + 1, strlen(point + 1) + 1);
    double value = strtod(local, &stop);
    *end = *stop ? text : text + strlen(text);
    return value;
}

static bool read_f64(struct reader *r, double *value)
{
    char text[NUMBER_MAX + 1];
    size_t len = 0;
    const char *end;
    char first = peek(r);
    size_t begin = r->at;
    while (r->at < r->text.len && len < NUMBER_MAX && r->text.data[r->at] &&
           strchr("0123456789+-.eE", r->text.data[r->at]))
        text[len++] = (char)r->text.data[r->at++];
    text[len] = 0;
    *value = to_f64(text, &end);
    return (len > 0 && !*end && first != '.' && first != '+') ||
           wrong(r, begin, "a number is meant");
}

/* Bytes as a string or {"hex": "..."}, kept in r->bytes. */
static bool read_bytes(struct reader *r, struct span *out)
{
    uint8_t *to = r->bytes + r->byte_count;
    size_t len = 0;
    if (peek(r) != '{') {
        if (!read_string(r, to, HASHRING_ID_MAX, &len))
            return false;
    } else {
        char name[NAME_MAX];
        r->at++;
        if (!read_name(r, name))
            return false;
        if (strcmp(name, "hex") != 0)
            return wrong(r, r->at, "\"hex\" is meant");
        if (!expect(r, ':', "a colon is missing") ||
            !expect(r, '"', "a string is meant"))
            return false;
        while (r->at == r->text.len || r->text.data[r->at] != '"') {
            uint64_t byte;
            if (len == HASHRING_ID_MAX)
                return wrong(r, r->at, "a string that is too long");
            if (!read_hex(r, 2, &byte))
                return false;
            to[len++] = (uint8_t)byte;
        }
        r->at++;
        if (!expect(r, '}', "a brace is missing"))
            return false;
    }
    *out = span_of(to, len);
    r->byte_count += len;
    return true;
}

/* --- objects */

struct field {
    const char *name;
    bool (*read)(struct reader *r);
    bool required;
};

static bool read_field(struct reader *r, const struct field *fields,
                       size_t count)
{
    char name[NAME_MAX];
    peek(r);
    size_t begin = r->at;
    size_t i = 0;
    if (!read_name(r, name))
        return false;
    while (i < count && strcmp(fields[i].name, name) != 0)
        i++;
    if (i == count)
        return wrong(r, begin, "no such field");
    if (r->seen >> i & 1)
        return wrong(r, begin, "a field that was there already");
    r->seen |= 1u << i;
    if (!expect(r, ':', "a colon is missing"))
        return false;
    peek(r);
    return fields[i].read(r);
}

static bool read_object(struct reader *r, const struct field *fields,
                        size_t count)
{
    unsigned outer = r->seen;
    r->seen = 0;
    if (!expect(r, '{', "an object is meant"))
        return false;
    size_t begin = r->at - 1;
    do {
        if (!read_field(r, fields, count))
            return false;
    } while (goes_on(r, '}'));
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !(r->seen >> i & 1))
            return wrong(r, begin, "a field is missing");
    r->seen = outer;
    return r->rc == DLHT_OK;
}

static struct listed *last_node(struct reader *r)
{
    return &r->nodes[r->node_count - 1];
}

static bool read_id(struct reader *r)
{
    return read_bytes(r, &last_node(r)->id);
}

static bool read_zone(struct reader *r)
{
    return read_bytes(r, &last_node(r)->zone);
}

static bool read_weight(struct reader *r)
{
    return read_f64(r, &last_node(r)->weight);
}

static bool read_share(struct reader *r)
{
    return read_f64(r, &last_node(r)->share);
}

static bool read_count(struct reader *r)
{
    return read_u64(r, HASHRING_TOKENS_MAX, &last_node(r)->token_count);
}

static const struct field node_fields[] = {
    { "id", read_id, true },       { "weight", read_weight, true },
    { "zone", read_zone, true },   { "token_count", read_count, true },
    { "share", read_share, true },
};

static bool read_node(struct reader *r)
{
    if (r->node_count == HASHRING_NODES_MAX)
        return wrong(r, r->at, "too many nodes");
    if (r->node_count == r->node_cap) {
        size_t cap = r->node_cap ? 2 * r->node_cap : 16;
        void *nodes = mem_resize(r->nodes, cap, sizeof *r->nodes);
        if (!nodes)
            return no_memory(r);
        r->nodes = nodes;
        r->node_cap = cap;
    }
    peek(r);
    r->nodes[r->node_count++] = (struct listed){ .at = r->at };
    if (!read_object(r, node_fields, sizeof node_fields / sizeof *node_fields))
        return false;
    if (r->node_count > 1 &&
        span_compare(last_node(r)[-1].id, last_node(r)->id) >= 0)
        return wrong(r, last_node(r)->at, "nodes are not in order of ids");
    return true;
}

static bool grow_tokens(struct reader *r)
{
    size_t cap = r->token_cap ? 2 * r->token_cap : 64;
    void *tokens = mem_resize(r->tokens, cap, sizeof *r->tokens);
    if (!tokens)
        return no_memory(r);
    r->tokens = tokens;
    void *at = mem_resize(r->token_at, cap, sizeof *r->token_at);
    if (!at)
        return no_memory(r);
    r->token_at = at;
    r->token_cap = cap;
    return true;
}

/* ["0123456789abcdef", node, ordinal] */
static bool read_token(struct reader *r)
{
    struct token token = { 0 };
    uint64_t owner = 0;
    uint64_t ordinal = 0;
    peek(r);
    size_t begin = r->at;
    if (r->token_count == HASHRING_TOKENS_MAX)
        return wrong(r, begin, "too many tokens");
    if (r->token_count == r->token_cap && !grow_tokens(r))
        return false;
    if (!expect(r, '[', "a token is meant") ||
        !expect(r, '"', "a string is meant") ||
        !read_hex(r, 16, &token.position) ||
        !expect(r, '"', "16 digits are meant") ||
        !expect(r, ',', "a comma is missing") ||
        !read_u64(r, HASHRING_NODES_MAX - 1, &owner) ||
        !expect(r, ',', "a comma is missing") ||
        !read_u64(r, HASHRING_TOKENS_MAX, &ordinal) ||
        !expect(r, ']', "a bracket is missing"))
        return false;
    token.owner = (uint32_t)owner;
    token.ordinal = (uint32_t)ordinal;
    r->token_at[r->token_count] = begin;
    r->tokens[r->token_count++] = token;
    return true;
}

static bool read_list(struct reader *r, bool (*read_one)(struct reader *r))
{
    if (!expect(r, '[', "a list is meant"))
        return false;
    if (accept(r, ']'))
        return true;
    do {
        if (!read_one(r))
            return false;
    } while (goes_on(r, ']'));
    return r->rc == DLHT_OK;
}

static bool read_nodes(struct reader *r)
{
    return read_list(r, read_node);
}

static bool read_tokens(struct reader *r)
{
    r->tokens_at = r->at;
    return read_list(r, read_token);
}

static bool read_hash(struct reader *r)
{
    char name[NAME_MAX];
    size_t begin = r->at;
    if (!read_name(r, name))
        return false;
    if (strcmp(name, "xxh3") == 0)
        r->config.hash = hashring_xxh3;
    else if (strcmp(name, "md5") == 0)
        r->config.hash = hashring_md5;
    else if (strcmp(name, "own") == 0)
        r->own = true;
    else
        return wrong(r, begin, "no such hash");
    return true;
}

static bool read_choice(struct reader *r)
{
    char name[NAME_MAX];
    size_t begin = r->at;
    if (!read_name(r, name))
        return false;
    if (strcmp(name, "derived") == 0)
        r->config.tokens = HASHRING_DERIVED;
    else if (strcmp(name, "chosen") == 0)
        r->config.tokens = HASHRING_CHOSEN;
    else
        return wrong(r, begin, "no such choice");
    return true;
}

static bool read_small(struct reader *r, uint64_t max, uint32_t *out)
{
    uint64_t value;
    size_t begin = r->at;
    if (!read_u64(r, max, &value))
        return false;
    *out = (uint32_t)value;
    return value > 0 || wrong(r, begin, "at least 1 is meant");
}

static bool read_vnodes(struct reader *r)
{
    return read_small(r, HASHRING_VNODES_MAX, &r->config.vnodes);
}

static bool read_probes(struct reader *r)
{
    return read_small(r, HASHRING_PROBES_MAX, &r->config.probes);
}

static bool read_seed(struct reader *r)
{
    return read_u64(r, UINT64_MAX, &r->config.seed);
}

static bool read_hash_seed(struct reader *r)
{
    return read_u64(r, UINT64_MAX, &r->config.hash_seed);
}

static bool read_fingerprint(struct reader *r)
{
    r->fingerprint_at = r->at;
    return expect(r, '"', "a string is meant") &&
           read_hex(r, 16, &r->fingerprint) &&
           expect(r, '"', "16 digits are meant");
}

static const struct field ring_fields[] = {
    { "hash", read_hash, true },
    { "vnodes", read_vnodes, true },
    { "probes", read_probes, true },
    { "choice", read_choice, true },
    { "seed", read_seed, true },
    { "hash_seed", read_hash_seed, true },
    { "nodes", read_nodes, true },
    { "tokens", read_tokens, false },
    { "fingerprint", read_fingerprint, true },
};

static bool parse(struct reader *r)
{
    if (!read_object(r, ring_fields, sizeof ring_fields / sizeof *ring_fields))
        return false;
    peek(r);
    return r->at == r->text.len || wrong(r, r->at, "more than one object");
}

/* --- a ring of what was read */

static struct hashring_change *changes_of(const struct reader *r)
{
    struct hashring_change *changes = mem_array(r->node_count, sizeof *changes);
    for (size_t i = 0; changes && i < r->node_count; i++)
        changes[i] = (struct hashring_change){ .verb = HASHRING_ADD,
                                               .id = r->nodes[i].id,
                                               .zone = r->nodes[i].zone,
                                               .weight = r->nodes[i].weight };
    return changes;
}

/* As the rings' own codes. */
static bool built(struct reader *r, int rc, size_t bad, size_t bad_token)
{
    if (rc == DLHT_OK)
        return true;
    if (rc == DLHT_ENOMEM)
        return no_memory(r);
    if (rc == DLHT_EFULL)
        return wrong(r, r->text.len, "too many tokens");
    if (rc == DLHT_ECORRUPT && bad_token < r->token_count)
        return wrong(r, r->token_at[bad_token],
                     "a token out of order, of no node, or twice");
    if (rc == DLHT_ECORRUPT)
        return wrong(r, r->tokens_at, "not as many tokens as there are");
    return wrong(r, bad < r->node_count ? r->nodes[bad].at : r->text.len,
                 "an id or a weight that no node has");
}

static bool derive_ring(struct reader *r, const struct hashring_change *changes,
                        struct hashring **out)
{
    struct hashring *empty;
    size_t bad = r->node_count;
    int rc = hashring_new(&r->config, &empty);
    if (rc == DLHT_OK) {
        rc = hashring_apply(empty, changes, r->node_count, out, &bad);
        hashring_drop(empty);
    }
    if (!built(r, rc, bad, 0))
        return false;
    if (!r->tokens_at)
        return true;
    if (r->token_count != (*out)->token_count)
        return wrong(r, r->tokens_at, "not as many tokens as there are");
    for (size_t i = 0; i < r->token_count; i++)
        if (r->tokens[i].position != (*out)->positions[i] ||
            r->tokens[i].owner != (*out)->owners[i] ||
            r->tokens[i].ordinal != (*out)->ordinals[i])
            return wrong(r, r->token_at[i],
                         "a token that is not where the hash puts it");
    return true;
}

static bool restore_ring(struct reader *r,
                         const struct hashring_change *changes,
                         struct hashring **out)
{
    size_t bad;
    size_t bad_token;
    if (!r->tokens_at)
        return wrong(r, r->text.len, "chosen tokens, and none are written");
    int rc = hashring_restore(&r->config, changes, r->node_count, r->tokens,
                              r->token_count, out, &bad, &bad_token);
    return built(r, rc, bad, bad_token);
}

/* What the text says of the ring besides. Shares are written in 9 digits. */
static bool agrees(struct reader *r, const struct hashring *ring)
{
    for (size_t i = 0; i < r->node_count; i++) {
        const struct listed *l = &r->nodes[i];
        const struct member *m = &ring->members[i];
        if (l->token_count != m->token_count)
            return wrong(r, l->at, "a node of other than its tokens");
        if (!(l->share > m->share - 1e-8 && l->share < m->share + 1e-8))
            return wrong(r, l->at, "a node of other than its share");
    }
    return r->fingerprint == hashring_fingerprint(ring) ||
           wrong(r, r->fingerprint_at, "the fingerprint of another ring");
}

static bool make(struct reader *r, struct hashring **out)
{
    struct hashring_change *changes = changes_of(r);
    if (!changes)
        return no_memory(r);
    bool made = r->config.tokens == HASHRING_CHOSEN
                    ? restore_ring(r, changes, out)
                    : derive_ring(r, changes, out);
    free(changes);
    return made && agrees(r, *out);
}

/* The caller's function, if the text is of a ring with one. */
static void take_hash(struct reader *r, hashring_hash_fn hash, void *context)
{
    if (r->own) {
        r->config.hash = hash;
        r->config.context = context;
    }
    if (r->config.hash_seed && r->config.hash != hashring_xxh3)
        wrong(r, r->text.len, "the seed of a hash that has none");
    if (!r->config.hash && r->rc == DLHT_OK)
        r->rc = DLHT_EINVAL;
}

int hashring_read(struct span text, hashring_hash_fn hash, void *context,
                  struct hashring **out, struct hashring_fault *fault)
{
    struct reader r = { .text = text };
    struct hashring *ring = NULL;
    r.config = hashring_config_default();
    /* A short id may be at the end of a text that is cut there. */
    r.bytes = mem_array(text.len + HASHRING_ID_MAX, 1);
    if (!r.bytes)
        no_memory(&r);
    else if (parse(&r))
        take_hash(&r, hash, context);
    if (r.rc == DLHT_OK && !make(&r, &ring)) {
        hashring_drop(ring);
        ring = NULL;
    }
    free(r.bytes);
    free(r.nodes);
    free(r.tokens);
    free(r.token_at);
    *out = ring;
    *fault = r.fault;
    return r.rc;
}
