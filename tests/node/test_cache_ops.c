/* SPDX-License-Identifier: Apache-2.0 */

/* Volatile keyspaces asked of a node on its own: ends, leases, bounds, scans,
 * batches, what is refused, and who has an arc. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "node/alone.h"
#include "node/inspect.h"
#include "node/volatile.h"
#include "store/cache.h"
#include "wire/cas_item.h"
#include "wire/mp.h"

static const char NAME[] = "c";

/* bounds: pairs of name and value, NULL at the end. */
static void create(struct alone *a, const char *name, const char *const *bounds)
{
    struct buf doc = { 0 };
    size_t count = 0;
    while (bounds[count])
        count++;
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, name);
    mp_write_cstr(&doc, "volatile");
    mp_write_bool(&doc, true);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, count / 2);
    for (size_t i = 0; i < count; i++)
        mp_write_cstr(&doc, bounds[i]);
    struct request q = { .op = OP_KEYSPACE_CREATE, .value = buf_span(&doc) };
    /* Without options none are named. */
    if (count == 0) {
        buf_reset(&doc);
        mp_write_map(&doc, 2);
        mp_write_cstr(&doc, "name");
        mp_write_cstr(&doc, name);
        mp_write_cstr(&doc, "volatile");
        mp_write_bool(&doc, true);
        q.value = buf_span(&doc);
    }
    const struct response *s = alone_ask(a, &q);
    cr_assert_eq(s->status, DLHT_OK, "%.*s", (int)s->text.len,
                 (const char *)s->text.data);
    buf_deinit(&doc);
    alone_run(a, 200);
}

static void begin(struct alone *a, uint64_t seed, const char *bound,
                  const char *value)
{
    const char *const bounds[] = { bound, value, NULL };
    alone_init(a, seed);
    create(a, NAME, bounds);
}

static const struct response *ask(struct alone *a, struct request q)
{
    if (q.keyspace_name.len == 0)
        q.keyspace_name = span_str(NAME);
    return alone_ask(a, &q);
}

static uint64_t stat_of(struct alone *a, const char *name)
{
    const struct response *s = ask(a, (struct request){ .op = OP_CACHE_STATS });
    struct mp_reader r;
    cr_assert_eq(s->status, DLHT_OK);
    mp_reader_init(&r, s->value);
    for (size_t n = mp_read_map(&r); n > 0; n--) {
        bool is = span_equal(mp_read_bytes(&r), span_str(name));
        if (is)
            return mp_read_uint(&r);
        mp_skip(&r);
    }
    cr_assert_fail("no counter %s", name);
    return 0;
}

/* One after the other, on one key unless said otherwise. */
static const struct asked {
    uint8_t op;
    uint16_t flags;
    const char *value;
    uint64_t ttl_ms;
    uint64_t version;
    uint64_t pass_ms; /* before it */
    int status;
    const char *got;
    uint64_t got_ttl_ms; /* at most; 0: none */
    const char *why;
} steps[] = {
    { OP_GET, 0, "", 0, 0, 0, DLHT_ENOTFOUND, "", 0, "nothing is there" },
    { OP_PUT, 0, "v", 500, 0, 0, DLHT_OK, "", 0, "put with an end" },
    { OP_GET, 0, "", 0, 0, 100, DLHT_OK, "v", 400, "it is there" },
    { OP_GET, REQUEST_PEEK, "", 0, 0, 100, DLHT_OK, "v", 300, "peeked at" },
    { OP_GET, 0, "", 0, 0, 400, DLHT_ENOTFOUND, "", 0, "it has ended" },
    { OP_CACHE_EXPIRE, 0, "", 9, 0, 0, DLHT_ENOTFOUND, "", 0, "no entry" },
    { OP_CAS, 0, "w", 0, 0, 0, DLHT_OK, "", 0, "there was none" },
    { OP_CAS, 0, "x", 0, 0, 0, DLHT_EMISMATCH, "", 0, "now there is" },
    { OP_GET, 0, "", 0, 0, 5000, DLHT_OK, "w", 0, "without an end" },
    { OP_CACHE_EXPIRE, 0, "", 700, 0, 0, DLHT_OK, "", 0, "an end is given" },
    { OP_PUT, REQUEST_KEEP_TTL, "y", 0, 0, 0, DLHT_OK, "", 0, "it stays" },
    { OP_GET, 0, "", 0, 0, 0, DLHT_OK, "y", 700, "with the new value" },
    { OP_CACHE_EXPIRE, 0, "", 0, 0, 0, DLHT_OK, "", 0, "for ever" },
    { OP_GET, 0, "", 0, 0, 900, DLHT_OK, "y", 0, "still there" },
    { OP_DEL, 0, "", 0, 0, 0, DLHT_OK, "", 0, "removed" },
    { OP_DEL, 0, "", 0, 0, 0, DLHT_ENOTFOUND, "", 0, "once" },
    { OP_PUT, REQUEST_NEGATIVE, "", 0, 0, 0, DLHT_OK, "", 0, "none" },
    { OP_GET, 0, "", 0, 0, 0, DLHT_ENOTFOUND, "", 0, "known to be absent" },
    { OP_PUT, REQUEST_LEASED, "z", 0, 77, 0, DLHT_ESTALE, "", 0, "no token" },
    { OP_PUT, 0, "z", 0, 0, 0, DLHT_OK, "", 0, "put again" },
    { OP_CACHE_FLUSH, 0, "", 0, 0, 0, DLHT_OK, "", 0, "all is forgotten" },
    { OP_GET, 0, "", 0, 0, 0, DLHT_ENOTFOUND, "", 0, "really" },
};

Test(cache_ops, entries_end_when_they_should, .timeout = 60)
{
    struct alone a;
    begin(&a, 1, "max-items", "1000");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const struct asked *row = &steps[i];
        if (row->pass_ms)
            alone_run(&a, row->pass_ms);
        struct request q = { .op = row->op,
                             .flags = row->flags,
                             .key = span_str("key"),
                             .value = span_str(row->value),
                             .ttl_ms = row->ttl_ms,
                             .version = row->version };
        const struct response *s = ask(&a, q);
        cr_assert_eq(s->status, row->status, "%s: %d, %.*s", row->why,
                     s->status, (int)s->text.len, (const char *)s->text.data);
        cr_assert(span_equal(s->value, span_str(row->got)), "%s", row->why);
        cr_assert_eq(s->ttl_ms > 0, row->got_ttl_ms > 0, "%s", row->why);
        cr_assert_leq(s->ttl_ms, row->got_ttl_ms, "%s", row->why);
    }
    cr_assert_eq(stat_of(&a, "hits"), 4); /* but for the look */
    cr_assert_eq(stat_of(&a, "negative_hits"), 1);
    alone_deinit(&a);
}

Test(cache_ops, of_all_who_miss_one_makes_the_value, .timeout = 60)
{
    struct alone a;
    begin(&a, 2, "max-bytes", "1048576");
    struct request lease = { .op = OP_CACHE_LEASE, .key = span_str("key") };
    const struct response *s = ask(&a, lease);
    uint64_t token = s->version;
    cr_assert_eq(s->count, CACHE_FILL);
    cr_assert_neq(token, 0);
    s = ask(&a, lease);
    cr_assert_eq(s->count, CACHE_WAIT);
    cr_assert_eq(s->version, 0);
    struct request put = { .op = OP_PUT,
                           .flags = REQUEST_LEASED,
                           .key = span_str("key"),
                           .value = span_str("made"),
                           .version = token ^ 1 };
    cr_assert_eq(ask(&a, put)->status, DLHT_ESTALE, "a mark of another life");
    put.version = token;
    cr_assert_eq(ask(&a, put)->status, DLHT_OK);
    s = ask(&a, lease);
    cr_assert_eq(s->count, CACHE_HIT);
    cr_assert(span_equal(s->value, span_str("made")));
    cr_assert_eq(ask(&a, put)->status, DLHT_ESTALE, "used");
    alone_deinit(&a);
}

Test(cache_ops, other_keyspaces_know_no_ends, .timeout = 60)
{
    static const struct {
        struct request q;
        int status;
    } rows[] = {
        { { .op = OP_PUT, .ttl_ms = 1 }, DLHT_EINVAL },
        { { .op = OP_PUT, .limit = 1 }, DLHT_EINVAL },
        { { .op = OP_PUT, .flags = REQUEST_LEASED }, DLHT_EINVAL },
        { { .op = OP_PUT, .flags = REQUEST_NEGATIVE }, DLHT_EINVAL },
        { { .op = OP_PUT, .flags = REQUEST_KEEP_TTL }, DLHT_OK },
        { { .op = OP_GET, .flags = REQUEST_PEEK }, DLHT_OK },
        { { .op = OP_CACHE_EXPIRE }, DLHT_EINVAL },
        { { .op = OP_CACHE_FLUSH }, DLHT_EINVAL },
        { { .op = OP_CACHE_STATS }, DLHT_EINVAL },
        { { .op = OP_CACHE_LEASE }, DLHT_EINVAL },
    };
    static const char *const names[] = { "default", "plain" };
    static const char *const none[] = { NULL };
    struct alone a;
    alone_init(&a, 3);
    create(&a, "plain", none); /* volatile, and not bound */
    for (size_t n = 0; n < 2; n++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct request q = rows[i].q;
            q.keyspace_name = span_str(names[n]);
            q.key = span_str("key");
            const struct response *s = alone_ask(&a, &q);
            cr_assert_eq(s->status, rows[i].status, "row %zu of %s: %d", i,
                         names[n], s->status);
            cr_assert(
                s->status != DLHT_EINVAL ||
                    span_has_prefix(span_tail(s->text, 1), span_str(names[n])),
                "row %zu", i);
        }
    }
    alone_deinit(&a);
}

enum {
    MANY = 600
};

static void put_at_cost(struct alone *a, size_t count, uint32_t cost_us)
{
    char key[32];
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key-%zu", i);
        struct request q = { .op = OP_PUT,
                             .key = span_str(key),
                             .value = span_str(key),
                             .limit = cost_us };
        cr_assert_eq(ask(a, q)->status, DLHT_OK);
    }
}

static void put_many(struct alone *a, size_t count)
{
    put_at_cost(a, count, 0);
}

Test(cache_ops, bounds_are_kept, .timeout = 60)
{
    struct alone a;
    begin(&a, 4, "max-items", "256");
    put_many(&a, MANY);
    cr_assert_leq(stat_of(&a, "count"), 256);
    cr_assert_geq(stat_of(&a, "count"), 200);
    cr_assert_eq(stat_of(&a, "count_max"), 256);
    cr_assert_geq(stat_of(&a, "evictions"), MANY - 256);
    static uint8_t large[300 << 10];
    struct request q = { .op = OP_PUT,
                         .key = span_str("large"),
                         .value = span_of(large, sizeof large) };
    cr_assert_eq(ask(&a, q)->status, DLHT_OK, "no bound in bytes");
    alone_deinit(&a);
    begin(&a, 5, "max-bytes", "1048576");
    cr_assert_eq(ask(&a, q)->status, DLHT_ETOOBIG, "over its arc's part");
    alone_deinit(&a);
}

/* How many of those keys are there. */
static size_t left_of(struct alone *a, const char *kind, size_t count)
{
    size_t left = 0;
    char key[32];
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s-%zu", kind, i);
        struct request q = { .op = OP_GET,
                             .key = span_str(key),
                             .flags = REQUEST_PEEK };
        left += ask(a, q)->status == DLHT_OK;
    }
    return left;
}

Test(cache_ops, dear_entries_stay_longer, .timeout = 60)
{
    enum {
        EACH = 60
    };
    struct alone a;
    begin(&a, 6, "max-items", "256");
    put_at_cost(&a, MANY, 1000); /* what is usual */
    for (size_t i = 0; i < 2 * EACH + MANY; i++) {
        bool first = i < 2 * EACH, dear = first && i % 2;
        char key[32];
        snprintf(key, sizeof key, "%s-%zu",
                 dear    ? "dear"
                 : first ? "cheap"
                         : "other",
                 first ? i / 2 : i);
        struct request q = { .op = dear && i % 4 == 3 ? OP_CAS : OP_PUT,
                             .key = span_str(key),
                             .value = span_str("v"),
                             .limit = dear ? 1000000 : 1000 };
        cr_assert_eq(ask(&a, q)->status, DLHT_OK);
    }
    cr_expect_gt(left_of(&a, "dear", EACH), EACH * 3 / 4);
    cr_expect_lt(left_of(&a, "cheap", EACH), EACH / 4);
    alone_deinit(&a);
}

/* Every entry once, in pages of any size. */
Test(cache_ops, a_scan_tells_each_entry_once, .timeout = 60)
{
    static const uint64_t limits[] = { 0, 1, 2, 7, 100 };
    struct alone a;
    begin(&a, 6, "max-items", "100000");
    put_many(&a, MANY);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        bool seen[MANY] = { false };
        size_t told = 0;
        struct buf from = { 0 };
        for (bool more = true; more;) {
            struct request q = { .op = OP_RANGE,
                                 .flags = REQUEST_SCAN,
                                 .key = buf_span(&from),
                                 .limit = limits[i] };
            const struct response *s = ask(&a, q);
            cr_assert_eq(s->status, DLHT_OK);
            cr_assert(limits[i] == 0 || s->list_count <= limits[i]);
            struct mp_reader r;
            mp_reader_init(&r, s->list);
            for (uint32_t n = 0; n < s->list_count; n++) {
                struct span key = mp_read_bytes(&r);
                char text[32] = "";
                memcpy(text, key.data, key.len);
                size_t at;
                cr_assert_eq(sscanf(text, "key-%zu", &at), 1);
                cr_assert(!seen[at], "key-%zu again", at);
                seen[at] = true;
                told++;
                cr_assert(span_equal(mp_read_bytes(&r), key));
                (void)mp_read_uint(&r);
            }
            more = s->more;
            struct buf next = { 0 };
            buf_append_span(&next, s->cursor);
            buf_deinit(&from);
            from = next;
        }
        cr_assert_eq(told, MANY, "limit %llu", (unsigned long long)limits[i]);
        buf_deinit(&from);
    }
    const struct response *s = ask(&a, (struct request){ .op = OP_COUNT });
    cr_assert_eq(s->count, MANY);
    struct request q = { .op = OP_RANGE,
                         .flags = REQUEST_SCAN | REQUEST_REVERSE };
    cr_assert_eq(ask(&a, q)->status, DLHT_ENOTSUP);
    alone_deinit(&a);
}

/* What is told may be removed before the next page: nothing else is missed. */
Test(cache_ops, a_scan_may_remove_what_it_tells, .timeout = 60)
{
    struct alone a;
    begin(&a, 10, "max-items", "100000");
    put_many(&a, MANY);
    struct buf from = { 0 };
    for (bool more = true; more;) {
        struct request q = { .op = OP_RANGE,
                             .flags = REQUEST_SCAN | REQUEST_KEYS_ONLY,
                             .key = buf_span(&from),
                             .limit = 1 };
        const struct response *s = ask(&a, q);
        cr_assert_eq(s->status, DLHT_OK);
        more = s->more;
        buf_reset(&from);
        buf_append_span(&from, s->cursor);
        if (s->list_count == 0)
            continue;
        struct mp_reader r;
        struct buf key = { 0 };
        mp_reader_init(&r, s->list);
        buf_append_span(&key, mp_read_bytes(&r));
        struct request del = { .op = OP_DEL, .key = buf_span(&key) };
        cr_assert_eq(ask(&a, del)->status, DLHT_OK);
        buf_deinit(&key);
    }
    cr_assert_eq(stat_of(&a, "count"), 0);
    buf_deinit(&from);
    alone_deinit(&a);
}

/* However many large values share a place. */
Test(cache_ops, pages_are_bounded_in_bytes, .timeout = 60)
{
    static uint8_t large[1 << 20];
    struct alone a;
    begin(&a, 11, "max-bytes", "1073741824");
    for (int i = 0; i < 60; i++) {
        char key[16];
        snprintf(key, sizeof key, "large-%d", i);
        struct request q = { .op = OP_PUT,
                             .key = span_str(key),
                             .value = span_of(large, sizeof large) };
        cr_assert_eq(ask(&a, q)->status, DLHT_OK);
    }
    struct buf from = { 0 };
    uint32_t told = 0;
    for (bool more = true; more;) {
        struct request q = { .op = OP_RANGE,
                             .flags = REQUEST_SCAN,
                             .key = buf_span(&from) };
        const struct response *s = ask(&a, q);
        cr_assert_eq(s->status, DLHT_OK);
        cr_assert_leq(s->list.len, 3 << 20, "one more than a page has");
        told += s->list_count;
        more = s->more;
        buf_reset(&from);
        buf_append_span(&from, s->cursor);
    }
    cr_assert_eq(told, 60);
    buf_deinit(&from);
    alone_deinit(&a);
}

Test(cache_ops, batches_are_as_elsewhere, .timeout = 60)
{
    struct alone a;
    struct buf list = { 0 };
    begin(&a, 7, "max-items", "1000");
    for (int i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof key, "b%d", i);
        mp_write_cstr(&list, key);
        mp_write_cstr(&list, "value");
    }
    struct request q = { .op = OP_BATCH,
                         .list = buf_span(&list),
                         .list_count = 100 };
    const struct response *s = ask(&a, q);
    cr_assert_eq(s->status, DLHT_OK);
    cr_assert_eq(s->count, 50);
    buf_reset(&list);
    mp_write_cstr(&list, "b1");
    mp_write_cstr(&list, "none");
    mp_write_cstr(&list, "b49");
    q = (struct request){ .op = OP_MGET,
                          .list = buf_span(&list),
                          .list_count = 3 };
    s = ask(&a, q);
    cr_assert_eq(s->list_count, 2);
    /* One record, so one arc: at its version, then not any more. */
    for (int i = 0; i < 2; i++) {
        buf_reset(&list);
        struct cas_item item = { .key = span_str("new"),
                                 .value = span_str("x") };
        cas_item_write(&list, &item);
        q = (struct request){ .op = OP_CAS_BATCH,
                              .list = buf_span(&list),
                              .list_count = CAS_ITEM_BINS };
        s = ask(&a, q);
        cr_assert_eq(s->status, i ? DLHT_EMISMATCH : DLHT_OK);
    }
    buf_deinit(&list);
    alone_deinit(&a);
}

/* The first arc of the cache here. */
static void first_arc(const struct alone *a, struct inspect_replica *out)
{
    for (size_t i = 0; i < inspect_replica_count(a->node); i++) {
        inspect_replica_at(a->node, i, out);
        if (out->cache)
            return;
    }
    cr_assert_fail("no arc of a cache");
}

static void order(struct alone *a, const struct arc *arc, replica_id fresh,
                  uint64_t generation)
{
    struct message m = { .type = MESSAGE_RECOVER };
    m.u.recover = (struct recover_message){ .kind = RECOVER_TAKE,
                                            .arc = arc->id,
                                            .fresh = fresh,
                                            .term = 1,
                                            .generation = generation,
                                            .arc_known = arc };
    alone_hear(a, &m);
    alone_run(a, 50);
}

/* What is there after a batch of one record, put to end in 500 ms before. */
static const struct {
    struct cas_item item;
    int status;
    const char *value; /* NULL: none */
    bool ends;
    bool changed; /* has a new version */
    const char *why;
} items[] = {
    { { .value = { (const uint8_t *)"n", 1 } },
      DLHT_OK,
      "n",
      false,
      true,
      "a new value does not end" },
    { { .value = { (const uint8_t *)"n", 1 }, .keep_ttl = true },
      DLHT_OK,
      "n",
      true,
      true,
      "but if its end is kept" },
    { { .check = true }, DLHT_OK, "v", true, false, "only looked at" },
    { { .check = true, .version = 1 },
      DLHT_EMISMATCH,
      "v",
      true,
      false,
      "and found to be another" },
    { { .remove = true }, DLHT_OK, NULL, false, true, "removed" },
};

Test(cache_ops, records_of_a_batch_are_changed_or_looked_at, .timeout = 60)
{
    struct alone a;
    struct buf list = { 0 };
    begin(&a, 8, "max-items", "1000");
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        const char *why = items[i].why;
        struct cas_item item = items[i].item;
        struct request get = { .op = OP_GET, .key = span_str("k") };
        ask(&a, (struct request){ .op = OP_PUT,
                                  .key = get.key,
                                  .value = span_str("v"),
                                  .ttl_ms = 500 });
        uint64_t version = ask(&a, get)->version;
        item.key = get.key;
        item.version = item.version ? version - 1 : version;
        buf_reset(&list);
        cas_item_write(&list, &item);
        struct request q = { .op = OP_CAS_BATCH,
                             .list = buf_span(&list),
                             .list_count = CAS_ITEM_BINS };
        cr_expect_eq(ask(&a, q)->status, items[i].status, "%s", why);
        const struct response *s = ask(&a, get);
        cr_expect_eq(s->status == DLHT_OK, items[i].value != NULL, "%s", why);
        if (!items[i].value)
            continue;
        cr_expect(span_equal(s->value, span_str(items[i].value)), "%s", why);
        cr_expect_eq(s->ttl_ms > 0, items[i].ends, "%s", why);
        cr_expect_eq(s->version != version, items[i].changed, "%s", why);
    }
    buf_deinit(&list);
    alone_deinit(&a);
}

Test(cache_ops, an_order_counts_in_this_life_and_forward, .timeout = 60)
{
    struct alone a;
    struct inspect_replica r;
    begin(&a, 8, "max-items", "1000");
    put_many(&a, 100);
    first_arc(&a, &r);
    struct arc *arc = arc_copy(r.arc);
    uint64_t held = r.cache_count, base = volatile_generation(9, 1);
    cr_assert_gt(held, 0);
    cr_assert(volatile_is_of(r.self, 1), "a peer without a disk");
    order(&a, arc, r.self, arc->generation);
    first_arc(&a, &r);
    cr_assert_eq(r.cache_count, held, "told again, it changes nothing");
    order(&a, arc, (UINT64_C(7) << 40) + 5, base);
    first_arc(&a, &r);
    cr_assert_eq(r.arc->generation, arc->generation, "of another life");
    order(&a, arc, (UINT64_C(1) << 40) + 5, base);
    first_arc(&a, &r);
    cr_assert_eq(r.arc->generation, base);
    cr_assert_eq(r.cache_count, 0, "it begins with nothing");
    order(&a, arc, (UINT64_C(1) << 40) + 7, base - 1);
    first_arc(&a, &r);
    cr_assert_eq(r.arc->generation, base, "never back");
    /* Nor does one take what another keyspace has. */
    struct arc other = *arc;
    size_t count = inspect_replica_count(a.node), kept = 0;
    for (size_t i = 0; i < count; i++) {
        inspect_replica_at(a.node, i, &r);
        if (r.cache)
            continue;
        other.id = r.id;
        order(&a, &other, (UINT64_C(1) << 40) + 9, base + 1);
        inspect_replica_at(a.node, i, &r);
        kept += r.id == other.id && !r.cache;
    }
    cr_assert_gt(kept, 0, "the system arc, and others");
    /* All is served still. */
    put_many(&a, 100);
    cr_assert_eq(stat_of(&a, "count"), 100);
    arc_free(arc);
    alone_deinit(&a);
}

/* Others heard of a later start than the disk here knows of: the peer goes on
 * in a life after that one, and so do its arcs, empty. */
Test(cache_ops, an_outbid_life_is_the_one_that_counts, .timeout = 60)
{
    struct alone a;
    struct inspect_replica r;
    begin(&a, 12, "max-items", "1000");
    put_many(&a, 100);
    struct swim_message said = { .type = SWIM_ACK, .update_count = 1 };
    said.updates[0] = *swim_self(inspect_swim(a.node));
    said.updates[0].incarnation = 6;
    struct message m = { .type = MESSAGE_SWIM, .u.swim = &said };
    alone_hear(&a, &m);
    cr_assert_eq(swim_self(inspect_swim(a.node))->incarnation, 7);
    alone_run(&a, 5000);
    first_arc(&a, &r);
    cr_assert(volatile_is_of(r.self, 7));
    put_many(&a, 100);
    cr_assert_eq(stat_of(&a, "count"), 100);
    alone_deinit(&a);
}

Test(cache_ops, generations_grow_with_term_and_count)
{
    static const struct {
        uint64_t term, count;
    } rows[] = { { 1, 1 }, { 1, 2 },     { 2, 1 },
                 { 3, 9 }, { 70000, 1 }, { (UINT64_C(1) << 32) + 1, 1 } };
    uint64_t before = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t now = volatile_generation(rows[i].term, rows[i].count);
        cr_assert_gt(now, before, "row %zu", i);
        cr_assert_lt(now, UINT64_MAX / 4);
        cr_assert_neq(volatile_version_base(now),
                      volatile_version_base(before));
        cr_assert_lt(volatile_version_base(now), CACHE_VERSION_MAX);
        before = now;
    }
}

static bool says(struct span s, const char *words)
{
    size_t len = strlen(words);
    for (size_t i = 0; i + len <= s.len; i++)
        if (memcmp(s.data + i, words, len) == 0)
            return true;
    return false;
}

static const struct response *set_option(struct alone *a, const char *keyspace,
                                         const char *name, const char *value)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, keyspace);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, name);
    mp_write_cstr(&doc, value);
    struct request q = { .op = OP_KEYSPACE_SET, .value = buf_span(&doc) };
    const struct response *r = alone_ask(a, &q);
    buf_deinit(&doc);
    return r;
}

/* One after the other. */
static const struct {
    const char *keyspace, *name, *value;
    int status;
    const char *text;
} changes[] = {
    { "c", "max-items", "default", DLHT_EINVAL, "one bound must stay" },
    { "c", "max-items", "many", DLHT_EINVAL, "" },
    { "c", "max-bytes", "1048576", DLHT_OK, "" },
    { "c", "max-items", "default", DLHT_OK, "" },
    { "c", "max-bytes", "default", DLHT_EINVAL, "one bound must stay" },
    { "c", "policy", "lru", DLHT_EINVAL, "of a cache only bounds" },
    { "c", "policy", "default", DLHT_EINVAL, "of a cache only bounds" },
    { "c", "replicas", "3", DLHT_EINVAL, "a volatile keyspace has one copy" },
    { "c", "replicas", "1", DLHT_OK, "" },
    { "c", "vector-ef", "9", DLHT_EINVAL, "this keyspace is no collection" },
    { "plain", "max-items", "9", DLHT_EINVAL, "of a cache only bounds" },
    { "default", "max-items", "9", DLHT_EINVAL, "this is of volatile" },
    { "default", "policy", "lru", DLHT_EINVAL, "this is of volatile" },
};

Test(cache_ops, bounds_change_and_nothing_else, .timeout = 60)
{
    static const char *const none[] = { NULL };
    struct alone a;
    begin(&a, 13, "max-items", "1000");
    create(&a, "plain", none);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const struct response *r = set_option(
            &a, changes[i].keyspace, changes[i].name, changes[i].value);
        cr_expect_eq(r->status, changes[i].status, "row %zu: %d", i, r->status);
        cr_expect(says(r->text, changes[i].text), "row %zu: %.*s", i,
                  (int)r->text.len, (const char *)r->text.data);
        alone_run(&a, 200);
    }
    cr_expect_eq(stat_of(&a, "count_max"), 0);
    cr_expect_leq(stat_of(&a, "bytes_max"), 1048576);
    cr_expect_geq(stat_of(&a, "bytes_max"), 1048576 / 2, "of all its arcs");
    struct buf doc = { 0 };
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, NAME);
    struct request show = { .op = OP_KEYSPACE_SHOW, .value = buf_span(&doc) };
    const struct response *r = alone_ask(&a, &show);
    cr_expect_eq(r->status, DLHT_OK);
    cr_expect(says(r->value, "max-bytes") && says(r->value, "1048576") &&
              says(r->value, "s3fifo"));
    buf_deinit(&doc);
    alone_deinit(&a);
}
