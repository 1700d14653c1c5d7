/* SPDX-License-Identifier: Apache-2.0 */

/* MessagePack-RPC: params to requests. */

#include "wire/rpc.h"

#include <assert.h>

#include "dlht/err.h"
#include "wire/body.h"
#include "wire/cas_item.h"
#include "wire/mp.h"
#include "wire/rpc_vector.h"

enum option {
    OPT_KEYSPACE = 1 << 0,
    OPT_TIMEOUT = 1 << 1,
    OPT_STALE = 1 << 2,
    OPT_STRICT = 1 << 3,
    OPT_ALL = 1 << 4,
    OPT_LIMIT = 1 << 5,
    OPT_REVERSE = 1 << 6,
    OPT_KEYS_ONLY = 1 << 7,
    OPT_SESSION = 1 << 8,
    OPT_NUMBER = 1 << 9,
    OPT_LOWEST_OPEN = 1 << 10,
    OPT_SCAN = 1 << 11,
    OPT_DOCUMENT = 1 << 12, /* others too: the map is the node's to read */
    OPT_ESTIMATE = 1 << 13,
    OPT_LARGE = 1 << 14, /* not an option: they may be as large as a model */
    OPT_TTL = 1 << 15,
    OPT_KEEP_TTL = 1 << 16,
    OPT_NEGATIVE = 1 << 17,
    OPT_TOKEN = 1 << 18,
    OPT_PEEK = 1 << 19,
    OPT_COST = 1 << 20
};

/* What the methods take. */
enum {
    OPTS_ANY = OPT_KEYSPACE | OPT_TIMEOUT,
    OPTS_READ = OPTS_ANY | OPT_STALE | OPT_STRICT,
    OPTS_BATCH = OPTS_ANY | OPT_ALL,
    OPTS_WRITE = OPTS_BATCH | OPT_SESSION | OPT_NUMBER | OPT_LOWEST_OPEN,
    OPTS_RANGE = OPTS_READ | OPT_LIMIT | OPT_REVERSE | OPT_KEYS_ONLY | OPT_SCAN,
    OPTS_ADMIN = OPTS_ANY | OPT_LIMIT | OPT_DOCUMENT,
    OPTS_SEARCH = OPTS_ANY | OPT_STALE | OPT_DOCUMENT,
    OPTS_ENTRY = OPT_TTL | OPT_KEEP_TTL | OPT_COST,
    OPTS_CACHE_SET = OPTS_WRITE | OPTS_ENTRY | OPT_NEGATIVE | OPT_TOKEN
};

/* params, in order: k key, v value, n version, t ttl_ms, l keys, r records, i records
 * with conditions, a address;
 * into the document: s name of a keyspace, A action, L keys, O options, p
 * address of a peer, c arc, V vector; these may be nil or left out: F from, T
 * to, and into the document: W vector, M metadata. */
struct method {
    const char *name;
    const char *params;
    uint32_t options;
    uint8_t op;
};

static const struct method methods[] = {
    { "get", "k", OPTS_READ, OP_GET },
    { "put", "kv", OPTS_WRITE, OP_PUT },
    { "del", "k", OPTS_WRITE, OP_DEL },
    { "cas", "knv", OPTS_WRITE, OP_CAS },
    { "mget", "l", OPTS_READ, OP_MGET },
    { "batch", "r", OPTS_BATCH, OP_BATCH },
    { "cas_batch", "i", OPTS_WRITE, OP_CAS_BATCH },
    { "range", "FT", OPTS_RANGE, OP_RANGE },
    { "count", "FT", OPTS_READ | OPT_ESTIMATE, OP_COUNT },
    { "ping", "", OPT_TIMEOUT, OP_PING },
    { "lookup", "F", OPTS_ADMIN, OP_LOOKUP },
    { "ring", "F", OPTS_ADMIN, OP_RING },
    { "peers", "", OPTS_ADMIN, OP_PEERS },
    { "status", "", OPTS_ADMIN, OP_STATUS },
    { "keyspace_create", "s", OPTS_ADMIN, OP_KEYSPACE_CREATE },
    { "keyspace_list", "", OPTS_ADMIN, OP_KEYSPACE_LIST },
    { "keyspace_drop", "s", OPTS_ADMIN, OP_KEYSPACE_DROP },
    { "leave", "a", OPTS_ADMIN, OP_LEAVE },
    { "model", "A", OPTS_ADMIN | OPT_LARGE, OP_MODEL },
    { "keyspace_set", "sO", OPTS_ADMIN, OP_KEYSPACE_SET },
    { "keyspace_show", "s", OPTS_ADMIN, OP_KEYSPACE_SHOW },
    { "presplit", "L", OPTS_ADMIN, OP_PRESPLIT },
    { "balance", "A", OPTS_ADMIN, OP_BALANCE },
    { "peer_set", "pO", OPTS_ADMIN, OP_PEER_SET },
    { "recover", "c", OPTS_ADMIN, OP_RECOVER },
    { "vector_put", "kVM", OPTS_WRITE, OP_VECTOR_PUT },
    { "vector_get", "k", OPTS_READ, OP_VECTOR_GET },
    { "search", "W", OPTS_SEARCH | OPT_LARGE, OP_SEARCH },
    { "vectors", "A", OPTS_ADMIN, OP_VECTORS },
    { "cache_set", "kv", OPTS_CACHE_SET, OP_PUT },
    { "cache_cas", "knv", OPTS_WRITE | OPTS_ENTRY, OP_CAS },
    { "cache_get", "k", OPTS_ANY | OPT_PEEK, OP_GET },
    { "cache_lease", "k", OPTS_ANY, OP_CACHE_LEASE },
    { "cache_del", "k", OPTS_WRITE, OP_DEL },
    { "cache_touch", "kt", OPTS_ANY, OP_CACHE_EXPIRE },
    { "cache_flush", "", OPTS_ANY, OP_CACHE_FLUSH },
    { "cache_stats", "", OPTS_ANY, OP_CACHE_STATS }
};

static const struct {
    const char *name;
    uint32_t option;
    uint16_t flag; /* a bool: of the request; 0: another type */
} options[] = { { "keyspace", OPT_KEYSPACE, 0 },
                { "timeout_ms", OPT_TIMEOUT, 0 },
                { "stale", OPT_STALE, REQUEST_STALE },
                { "strict", OPT_STRICT, REQUEST_STRICT },
                { "all", OPT_ALL, REQUEST_ALL },
                { "limit", OPT_LIMIT, 0 },
                { "reverse", OPT_REVERSE, REQUEST_REVERSE },
                { "keys_only", OPT_KEYS_ONLY, REQUEST_KEYS_ONLY },
                { "scan", OPT_SCAN, REQUEST_SCAN },
                { "estimate", OPT_ESTIMATE, REQUEST_ESTIMATE },
                { "session", OPT_SESSION, 0 },
                { "number", OPT_NUMBER, 0 },
                { "lowest_open", OPT_LOWEST_OPEN, 0 },
                { "ttl_ms", OPT_TTL, 0 },
                { "cost_us", OPT_COST, 0 },
                { "keep_ttl", OPT_KEEP_TTL, REQUEST_KEEP_TTL },
                { "negative", OPT_NEGATIVE, REQUEST_NEGATIVE },
                { "token", OPT_TOKEN, 0 },
                { "peek", OPT_PEEK, REQUEST_PEEK } };

enum {
    OPTIONS_BYTES_MAX = 64 << 10,
    OPTIONS_LARGE_MAX = (1 << 20) + OPTIONS_BYTES_MAX, /* a model, and more */
    ACTION_LEN_MAX = 16,
    FIELDS_OF_DOCUMENT_MAX = 2,
    METHOD_COUNT = sizeof methods / sizeof *methods,
    OPTION_COUNT = sizeof options / sizeof *options
};

/* A param of an admin method that goes into its document. */
struct field {
    const char *name;
    struct span value; /* MessagePack */
};

/* The params being read. text is NULL as long as all is well. */
struct parse {
    struct mp_reader r;
    struct request *q;
    struct buf *scratch;
    const struct method *method;
    struct field fields[FIELDS_OF_DOCUMENT_MAX];
    size_t field_count;
    struct span pairs; /* of the option map of an admin method */
    size_t pair_count;
    const char *text;
};

static void refuse(struct parse *p, const char *text)
{
    if (!p->text)
        p->text = text;
    mp_fail(&p->r);
}

static bool is_name(struct span bytes, const char *name)
{
    return span_equal(bytes, span_str(name));
}

static const struct method *find_method(struct span name)
{
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (is_name(name, methods[i].name))
            return &methods[i];
    return NULL;
}

static struct span parse_key(struct parse *p)
{
    struct span key = mp_read_bytes(&p->r);
    if (p->r.bad || key.len == 0 || key.len > KEY_LEN_MAX)
        refuse(p, "a key is bin or str of 1 to 65536 bytes");
    return key;
}

static struct span parse_value(struct parse *p)
{
    struct span value = mp_read_bytes(&p->r);
    if (p->r.bad)
        refuse(p, "a value is bin or str");
    else if (value.len > VALUE_LEN_MAX)
        refuse(p, "a value has at most 16 MiB: larger ones are artifacts");
    return value;
}

static uint64_t parse_uint(struct parse *p, uint64_t max, const char *text)
{
    uint64_t value = mp_read_uint(&p->r);
    if (p->r.bad || value > max)
        refuse(p, text);
    return value;
}

/* nil: no bound. */
static bool parse_bound(struct parse *p, struct span *bound)
{
    if (mp_peek(&p->r) == MP_NIL) {
        mp_read_nil(&p->r);
        return false;
    }
    *bound = mp_read_bytes(&p->r);
    if (p->r.bad || bound->len > CODEC_KEY_MAX)
        refuse(p, "a bound is nil, or bin or str of at most 65544 bytes");
    return true;
}

static struct span parse_name(struct parse *p)
{
    struct span name = mp_read_bytes(&p->r);
    if (p->r.bad || name.len == 0 || name.len > KEYSPACE_NAME_MAX)
        refuse(p, "the name of a keyspace is str of 1 to 64 bytes");
    return name;
}

static void parse_addr(struct parse *p)
{
    p->q->key = mp_read_bytes(&p->r);
    if (p->r.bad || p->q->key.len == 0 || !body_is_addr(p->q->key))
        refuse(p, "an address is str HOST:PORT");
}

/* The items from there to where the reader stands. */
static void note_list(struct parse *p, const uint8_t *from, size_t items)
{
    if (p->r.bad || items == 0)
        return;
    p->q->list = span_of(from, (size_t)(p->r.at - from));
    p->q->list_count = (uint32_t)items;
}

static void parse_keys(struct parse *p)
{
    size_t count = mp_read_array(&p->r);
    const uint8_t *from = p->r.at;
    if (p->r.bad || count > BATCH_COUNT_MAX)
        refuse(p, "keys are an array of at most 4096");
    for (size_t i = 0; i < count && !p->r.bad; i++)
        (void)parse_key(p);
    note_list(p, from, count);
}

static void parse_record_map(struct parse *p)
{
    size_t count = mp_read_map(&p->r);
    const uint8_t *from = p->r.at;
    if (p->r.bad || count > BATCH_COUNT_MAX)
        refuse(p, "a batch has at most 4096 records");
    for (size_t i = 0; i < count && !p->r.bad; i++) {
        (void)parse_key(p);
        (void)parse_value(p);
    }
    note_list(p, from, 2 * count);
}

static void parse_record_pairs(struct parse *p)
{
    size_t count = mp_read_array(&p->r);
    if (p->r.bad || count > BATCH_COUNT_MAX)
        refuse(p, "records are a map, or an array of at most 4096 pairs");
    for (size_t i = 0; i < count && !p->r.bad; i++) {
        if (mp_read_array(&p->r) != 2) {
            refuse(p, "a record is [key, value]");
            return;
        }
        mp_write_bin(p->scratch, parse_key(p));
        mp_write_bin(p->scratch, parse_value(p));
    }
    if (p->r.bad)
        return;
    p->q->list = buf_span(p->scratch);
    p->q->list_count = (uint32_t)(2 * count);
}

/* nil for the version: any; nil for the value: remove. */
static void parse_condition(struct parse *p)
{
    struct cas_item item = { 0 };
    if (mp_read_array(&p->r) != CAS_ITEM_BINS) {
        refuse(p, "a record is [key, version, value]");
        return;
    }
    item.key = parse_key(p);
    item.any_version = mp_peek(&p->r) == MP_NIL;
    if (item.any_version)
        mp_read_nil(&p->r);
    else
        item.version = parse_uint(p, UINT64_MAX,
                                  "a version is a number, 0 for absent, or "
                                  "nil for any");
    item.remove = mp_peek(&p->r) == MP_NIL;
    if (item.remove)
        mp_read_nil(&p->r);
    else
        item.value = parse_value(p);
    if (!p->r.bad)
        cas_item_write(p->scratch, &item);
}

static void parse_conditions(struct parse *p)
{
    size_t count = mp_read_array(&p->r);
    if (p->r.bad || count > BATCH_COUNT_MAX)
        refuse(p, "records are an array of at most 4096");
    for (size_t i = 0; i < count && !p->r.bad; i++)
        parse_condition(p);
    if (p->r.bad)
        return;
    p->q->list = buf_span(p->scratch);
    p->q->list_count = (uint32_t)(CAS_ITEM_BINS * count);
}

static void parse_name_only(struct parse *p)
{
    (void)parse_name(p);
}

static void parse_peer(struct parse *p)
{
    struct span addr = mp_read_bytes(&p->r);
    if (p->r.bad || addr.len == 0 || !body_is_addr(addr))
        refuse(p, "an address is str HOST:PORT");
}

static void parse_action(struct parse *p)
{
    struct span action = mp_read_bytes(&p->r);
    if (p->r.bad || action.len == 0 || action.len > ACTION_LEN_MAX)
        refuse(p, "an action is str, as \"show\"");
}

static void parse_bare_keys(struct parse *p)
{
    size_t count = mp_read_array(&p->r);
    if (p->r.bad || count > BATCH_COUNT_MAX)
        refuse(p, "keys are an array of at most 4096");
    for (size_t i = 0; i < count && !p->r.bad; i++)
        (void)parse_key(p);
}

/* A number, or as it is printed. */
static void parse_arc(struct parse *p)
{
    if (mp_peek(&p->r) == MP_INT) {
        (void)parse_uint(p, UINT64_MAX, "an arc is a number, or str");
        return;
    }
    struct span text = mp_read_bytes(&p->r);
    if (p->r.bad || text.len == 0 || text.len > 18)
        refuse(p, "an arc is a number, or str of hexadecimal digits");
}

static void parse_vector(struct parse *p)
{
    const char *wrong = rpc_vector_skip(&p->r);
    if (wrong)
        refuse(p, wrong);
}

static void parse_meta(struct parse *p)
{
    const char *wrong = rpc_vector_skip_meta(&p->r);
    if (wrong)
        refuse(p, wrong);
}

static void parse_settings(struct parse *p)
{
    const uint8_t *from = p->r.at;
    size_t count = mp_read_map(&p->r);
    for (size_t i = 0; i < 2 * count && !p->r.bad; i++)
        (void)mp_read_bytes(&p->r);
    if (p->r.bad)
        refuse(p, "options that are set are a map from str to str");
    else if ((size_t)(p->r.at - from) > OPTIONS_BYTES_MAX)
        refuse(p, "options have at most 65536 bytes");
}

/* A param that goes into the document as it is. */
static void parse_field(struct parse *p, const char *name,
                        void (*parse)(struct parse *p))
{
    const uint8_t *from = p->r.at;
    parse(p);
    if (p->r.bad)
        return;
    assert(p->field_count < FIELDS_OF_DOCUMENT_MAX);
    p->fields[p->field_count++] =
        (struct field){ name, span_of(from, (size_t)(p->r.at - from)) };
}

static void parse_param(struct parse *p, char kind)
{
    struct request *q = p->q;
    switch (kind) {
    case 'k':
        q->key = parse_key(p);
        break;
    case 'v':
        q->value = parse_value(p);
        break;
    case 'n':
        q->version = parse_uint(p, UINT64_MAX, "a version is a number");
        break;
    case 't':
        q->ttl_ms = parse_uint(p, UINT64_MAX, "ttl_ms is a number, 0: never");
        break;
    case 'l':
        parse_keys(p);
        break;
    case 'r':
        if (mp_peek(&p->r) == MP_MAP)
            parse_record_map(p);
        else
            parse_record_pairs(p);
        break;
    case 'i':
        parse_conditions(p);
        break;
    case 's':
        parse_field(p, "name", parse_name_only);
        break;
    case 'A':
        parse_field(p, "action", parse_action);
        break;
    case 'p':
        parse_field(p, "peer", parse_peer);
        break;
    case 'L':
        parse_field(p, "keys", parse_bare_keys);
        break;
    case 'O':
        parse_field(p, "options", parse_settings);
        break;
    case 'c':
        parse_field(p, "arc", parse_arc);
        break;
    case 'V':
        parse_field(p, "vector", parse_vector);
        break;
    case 'W':
        if (mp_peek(&p->r) == MP_NIL)
            mp_read_nil(&p->r);
        else
            parse_field(p, "vector", parse_vector);
        break;
    case 'M':
        parse_field(p, "meta", parse_meta);
        break;
    case 'a':
        parse_addr(p);
        break;
    case 'F':
        (void)parse_bound(p, &q->key);
        break;
    case 'T':
        if (parse_bound(p, &q->end))
            q->flags |= REQUEST_HAS_END;
        break;
    default:
        refuse(p, "no such parameter");
    }
}

static void parse_keyspace(struct parse *p)
{
    if (mp_peek(&p->r) != MP_INT)
        p->q->keyspace_name = parse_name(p);
    else
        p->q->keyspace = (keyspace_id)parse_uint(
            p, UINT32_MAX, "a keyspace is a name or a number");
}

static void parse_flag(struct parse *p, uint16_t flag)
{
    bool value = mp_read_bool(&p->r);
    if (p->r.bad)
        refuse(p, "this option is true or false");
    else if (value)
        p->q->flags |= flag;
}

static void parse_option(struct parse *p, size_t which)
{
    struct request *q = p->q;
    switch ((enum option)options[which].option) {
    case OPT_KEYSPACE:
        parse_keyspace(p);
        break;
    case OPT_TIMEOUT:
        q->timeout_ms = (uint32_t)parse_uint(p, BODY_TIMEOUT_MS_MAX,
                                             "timeout_ms is 0 to 60000");
        break;
    case OPT_LIMIT:
        q->limit = parse_uint(p, UINT64_MAX, "limit is a number");
        break;
    case OPT_SESSION:
        mp_read_fixed(&p->r, q->session.bytes, ID_BYTES);
        if (p->r.bad || id_is_zero(&q->session))
            refuse(p, "session is bin of 16 bytes, not all zero");
        break;
    case OPT_NUMBER:
        q->number = parse_uint(p, UINT64_MAX, "number is a number");
        break;
    case OPT_LOWEST_OPEN:
        q->lowest_open = parse_uint(p, UINT64_MAX, "lowest_open is a number");
        break;
    case OPT_TTL:
        q->ttl_ms = parse_uint(p, UINT64_MAX, "ttl_ms is a number, 0: never");
        break;
    case OPT_COST:
        q->limit =
            parse_uint(p, UINT32_MAX, "cost_us is below 2^32, 0: not known");
        break;
    case OPT_TOKEN:
        q->version = parse_uint(p, UINT64_MAX, "token is a number");
        q->flags |= REQUEST_LEASED;
        break;
    case OPT_KEEP_TTL:
    case OPT_NEGATIVE:
    case OPT_PEEK:
    case OPT_STALE:
    case OPT_STRICT:
    case OPT_ALL:
    case OPT_REVERSE:
    case OPT_KEYS_ONLY:
    case OPT_SCAN:
    case OPT_ESTIMATE:
    case OPT_DOCUMENT:
    case OPT_LARGE:
    default:
        parse_flag(p, options[which].flag);
    }
}

/* An option that the method does not know is refused, so that a slip of the
 * pen is noticed; admin methods leave that to the node. */
static void parse_option_named(struct parse *p, struct span name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if ((p->method->options & options[i].option) &&
            is_name(name, options[i].name)) {
            parse_option(p, i);
            return;
        }
    if (p->method->options & OPT_DOCUMENT)
        mp_skip(&p->r);
    else
        refuse(p, "no such option of this method");
}

static void parse_options(struct parse *p)
{
    size_t count = mp_read_map(&p->r);
    const uint8_t *from = p->r.at;
    for (size_t i = 0; i < count && !p->r.bad; i++)
        parse_option_named(p, mp_read_bytes(&p->r));
    if (p->r.bad) {
        refuse(p, "options are a map whose keys are str");
        return;
    }
    bool large = p->method->options & OPT_LARGE;
    size_t max = large ? OPTIONS_LARGE_MAX : OPTIONS_BYTES_MAX;
    if ((size_t)(p->r.at - from) > max)
        refuse(p, large ? "options have at most 1114112 bytes"
                        : "options have at most 65536 bytes");
    p->pairs = span_of(from, (size_t)(p->r.at - from));
    p->pair_count = count;
    if (id_is_zero(&p->q->session) != (p->q->number == 0))
        refuse(p, "session and number (from 1) come together");
    else if (p->q->lowest_open > p->q->number)
        refuse(p, "lowest_open is at most number");
}

static bool is_optional(char kind)
{
    return kind == 'F' || kind == 'T' || kind == 'W' || kind == 'M';
}

static void parse_params(struct parse *p)
{
    if (mp_peek(&p->r) != MP_ARRAY) {
        refuse(p, "params are an array");
        return;
    }
    size_t left = mp_read_array(&p->r);
    const char *kind = p->method->params;
    for (; *kind && left > 0 && !p->r.bad; kind++, left--) {
        if (is_optional(*kind) && mp_peek(&p->r) == MP_MAP)
            break;
        parse_param(p, *kind);
    }
    if (*kind && !is_optional(*kind))
        refuse(p, "too few params");
    if (left == 1 && mp_peek(&p->r) == MP_MAP)
        parse_options(p);
    else if (left > 0)
        refuse(p, "too many params, or options that are no map");
}

/* The document of an admin method: some params, and its options; of other
 * methods only such params. */
static void make_document(struct parse *p)
{
    bool takes_options = p->method->options & OPT_DOCUMENT;
    size_t count = p->field_count + (takes_options ? p->pair_count : 0);
    if (count == 0)
        return;
    mp_write_map(p->scratch, count);
    for (size_t i = 0; i < p->field_count; i++) {
        mp_write_cstr(p->scratch, p->fields[i].name);
        buf_append_span(p->scratch, p->fields[i].value);
    }
    if (takes_options)
        buf_append_span(p->scratch, p->pairs);
    if (p->scratch->len > VALUE_LEN_MAX)
        refuse(p, "params have at most 16 MiB");
    p->q->value = buf_span(p->scratch);
}

int rpc_unpack(struct span input, struct buf *scratch, struct rpc_call *call,
               const char **text)
{
    struct parse p = { .q = &call->request, .scratch = scratch };
    *call = (struct rpc_call){ 0 };
    *text = "";
    buf_reset(scratch);
    mp_reader_init(&p.r, input);
    size_t count = mp_read_array(&p.r);
    uint64_t type = mp_read_uint(&p.r);
    if (p.r.bad || !((type == 0 && count == 4) || (type == 2 && count == 3)))
        return DLHT_EPROTO;
    uint64_t id = type == 0 ? mp_read_uint(&p.r) : 0;
    struct span name = mp_read_bytes(&p.r);
    if (p.r.bad || id > UINT32_MAX)
        return DLHT_EPROTO;
    call->wants_answer = type == 0;
    call->id = (uint32_t)id;
    p.method = find_method(name);
    if (!p.method) {
        *text = "no such method";
        return DLHT_EINVAL;
    }
    call->request.op = p.method->op;
    parse_params(&p);
    make_document(&p);
    if (scratch->failed)
        return DLHT_ENOMEM;
    if (p.r.bad) {
        *text = p.text ? p.text : "params cannot be read";
        return DLHT_EINVAL;
    }
    return mp_at_end(&p.r) ? DLHT_OK : DLHT_EPROTO;
}
