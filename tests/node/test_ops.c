/* SPDX-License-Identifier: Apache-2.0 */

/* What operators ask of a node on its own: keyspaces and their options, where a
 * key belongs, models, the ring, peers; and what they are told when they ask
 * wrongly. Then nothing has changed. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "node/alone.h"
#include "node/spot.h"
#include "wire/mp.h"

/* A document of "name=value name=value". A value #7 is a number, ! is true,
 * {a=b,c=d} a map of texts, [a,b] an array, and ~ is cut off there. */
static void write_value(struct buf *b, const char *text, size_t len);

static size_t count_of(const char *text, size_t len, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += text[i] == c;
    return n;
}

static void write_list(struct buf *b, const char *text, size_t len, char c)
{
    while (len) {
        const char *end = memchr(text, c, len);
        size_t n = end ? (size_t)(end - text) : len;
        const char *equals = c == ',' ? memchr(text, '=', n) : NULL;
        size_t name = equals ? (size_t)(equals - text) + 1 : 0;
        if (name)
            write_value(b, text, name - 1);
        write_value(b, text + name, n - name);
        n += end != NULL;
        text += n;
        len -= n;
    }
}

static void write_value(struct buf *b, const char *text, size_t len)
{
    if (len && text[0] == '#') {
        mp_write_uint(b, strtoull(text + 1, NULL, 10));
    } else if (len == 1 && text[0] == '!') {
        mp_write_bool(b, true);
    } else if (len && text[0] == '{') {
        mp_write_map(b, count_of(text, len, '='));
        write_list(b, text + 1, len - 2, ',');
    } else if (len && text[0] == '[') {
        mp_write_array(b, len > 2 ? 1 + count_of(text, len, ',') : 0);
        write_list(b, text + 1, len - 2, ',');
    } else {
        mp_write_bin(b, span_of(text, len));
    }
}

static void write_doc(struct buf *b, const char *text)
{
    size_t fields = 0;
    for (const char *at = text; *at; at += strcspn(at, " "), at += *at == ' ')
        fields++;
    mp_write_map(b, fields);
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, " "), name = strcspn(at, "=");
        if (*at == '~')
            return;
        write_value(b, at, name);
        write_value(b, at + name + 1, len - name - 1);
        at += len;
        at += *at == ' ';
    }
}

static const struct response *ask(struct alone *a, enum op op, const char *text)
{
    struct buf doc = { 0 };
    write_doc(&doc, text);
    struct request q = { .op = (uint8_t)op, .value = buf_span(&doc) };
    const struct response *r = alone_ask(a, &q);
    buf_deinit(&doc);
    return r;
}

struct row {
    enum op op;
    const char *doc;
    int status;
    const char *says; /* what the text of the answer begins with */
};

static void ask_all(struct alone *a, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct response *r = ask(a, rows[i].op, rows[i].doc);
        cr_expect_eq(r->status, rows[i].status, "%s: %s", rows[i].doc,
                     dlht_errname(r->status));
        cr_expect(span_has_prefix(r->text, span_str(rows[i].says)), "%s: %.*s",
                  rows[i].doc, (int)r->text.len, (const char *)r->text.data);
    }
}

/* The value of an option as `keyspace show` tells it; empty: not told. */
static struct span option_of(struct alone *a, const char *keyspace,
                             const char *option)
{
    char doc[100];
    snprintf(doc, sizeof doc, "name=%s", keyspace);
    const struct response *response = ask(a, OP_KEYSPACE_SHOW, doc);
    struct mp_reader r;
    struct span found = span_empty();
    cr_assert_eq(response->status, DLHT_OK, "%s", keyspace);
    mp_reader_init(&r, response->value);
    for (size_t n = mp_read_array(&r); n > 0 && !r.bad; n--) {
        cr_assert_eq(mp_read_array(&r), 3);
        bool it = span_equal(mp_read_bytes(&r), span_str(option));
        struct span value = mp_read_bytes(&r);
        found = it ? value : found;
        mp_skip(&r);
    }
    cr_assert_not(r.bad);
    return found;
}

static void expect_option(struct alone *a, const char *option, const char *want)
{
    struct span value = option_of(a, "words", option);
    cr_expect(span_equal(value, span_str(want)), "%s is %.*s, not %s", option,
              (int)value.len, (const char *)value.data, want);
}

Test(keyspace, options_are_set_shown_and_set_back, .timeout = 60)
{
    static const struct {
        const char *option, *born, *other;
    } rows[] = {
        { "replicas", "3", "5" },
        { "floor-keys", "1000", "1" },
        { "ceiling-bytes", "67108864", "1048576" },
        { "model-leaves", "1024", "64" },
        { "model-root", "cubic", "linear" },
        { "model-leaf", "linear", "cubic" },
        { "keys-min", "", "77" },
    };
    struct alone a;
    char doc[200];
    alone_init(&a, 21);
    cr_assert_eq(ask(&a, OP_KEYSPACE_CREATE, "name=words replicas=#3")->status,
                 DLHT_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char born[32];
        struct span now = option_of(&a, "words", rows[i].option);
        cr_assert_lt(now.len, sizeof born);
        snprintf(born, sizeof born, "%.*s", (int)now.len,
                 (const char *)now.data);
        snprintf(doc, sizeof doc, "name=words options={%s=%s}", rows[i].option,
                 rows[i].other);
        cr_assert_eq(ask(&a, OP_KEYSPACE_SET, doc)->status, DLHT_OK, "%s", doc);
        expect_option(&a, rows[i].option, rows[i].other);
        snprintf(doc, sizeof doc, "name=words options={%s=default}",
                 rows[i].option);
        cr_assert_eq(ask(&a, OP_KEYSPACE_SET, doc)->status, DLHT_OK, "%s", doc);
        expect_option(&a, rows[i].option, born);
    }
    alone_deinit(&a);
}

Test(keyspace, several_options_are_set_at_once_or_none, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 22);
    cr_assert_eq(ask(&a, OP_KEYSPACE_CREATE, "name=words")->status, DLHT_OK);
    cr_assert_eq(
        ask(&a, OP_KEYSPACE_SET,
            "name=words options={floor-keys=7,model-leaves=128,keys-min=5}")
            ->status,
        DLHT_OK);
    cr_assert_eq(ask(&a, OP_KEYSPACE_SET,
                     "name=words options={floor-keys=8,model-leaves=256,"
                     "replicas=4}")
                     ->status,
                 DLHT_EINVAL);
    expect_option(&a, "floor-keys", "7");
    expect_option(&a, "model-leaves", "128");
    expect_option(&a, "keys-min", "5");
    cr_assert_eq(
        ask(&a, OP_KEYSPACE_SET, "name=words options={model-leaves=default}")
            ->status,
        DLHT_OK);
    expect_option(&a, "keys-min", "5");
    alone_deinit(&a);
}

Test(keyspace, what_is_asked_wrongly_is_refused, .timeout = 60)
{
    static const char map[] = "the options of a keyspace are a map";
    static const char named[] = "a keyspace has a name of 1 to 64 bytes";
    static const struct row rows[] = {
        { OP_KEYSPACE_CREATE, "name=a ~", DLHT_EINVAL, map },
        { OP_KEYSPACE_CREATE, "", DLHT_EINVAL, named },
        { OP_KEYSPACE_CREATE, "name=system", DLHT_EINVAL, named },
        { OP_KEYSPACE_CREATE,
          "name=5678901234567890123456789012345678901234567890123456789012345"
          "67890",
          DLHT_EINVAL, named },
        { OP_KEYSPACE_CREATE, "name=a placement=round", DLHT_EINVAL,
          "placement is" },
        { OP_KEYSPACE_CREATE, "name=a replicas=#2", DLHT_EINVAL,
          "replicas is" },
        { OP_KEYSPACE_CREATE, "name=a volatile=! placement=ordered",
          DLHT_EINVAL, "a volatile keyspace is hashed" },
        { OP_KEYSPACE_CREATE, "name=a volatile=! replicas=#3", DLHT_EINVAL,
          "a volatile keyspace has one copy" },
        { OP_KEYSPACE_CREATE, "name=a options={max-bytes=2000000}", DLHT_EINVAL,
          "max-bytes: this is of volatile keyspaces" },
        { OP_KEYSPACE_CREATE, "name=a volatile=! options={max-bytes=0}",
          DLHT_EINVAL, "max-bytes: max-bytes is a number" },
        { OP_KEYSPACE_CREATE, "name=a volatile=! options={max-items=255}",
          DLHT_EINVAL, "max-items: max-items is a number" },
        { OP_KEYSPACE_CREATE, "name=a volatile=! options={policy=fifo}",
          DLHT_EINVAL, "policy: policy is s3fifo or lru" },
        { OP_KEYSPACE_CREATE, "name=a volatile=! options={vector-dim=3}",
          DLHT_EINVAL, "a collection of vectors cannot be volatile" },
        { OP_KEYSPACE_CREATE, "name=a colour=red", DLHT_OK, "" },
        { OP_KEYSPACE_CREATE, "name=a", DLHT_EEXISTS, "this keyspace" },
        { OP_KEYSPACE_CREATE, "name=h placement=hashed replicas=#1", DLHT_OK,
          "" },
        { OP_KEYSPACE_DROP, "name=b", DLHT_ENOKEYSPACE, "no such" },
        { OP_KEYSPACE_DROP, "name=default", DLHT_EINVAL, "the keyspace" },
        { OP_KEYSPACE_SET, "name=b options={replicas=3}", DLHT_ENOKEYSPACE,
          "no such" },
        { OP_KEYSPACE_SET, "name=a", DLHT_EINVAL, "options are a map" },
        { OP_KEYSPACE_SET, "name=a options={}", DLHT_EINVAL,
          "options are a map" },
        { OP_KEYSPACE_SET, "name=a options={replicas=#3}", DLHT_EINVAL,
          "options are a map" },
        { OP_KEYSPACE_SET, "name=a options={replicas=4}", DLHT_EINVAL,
          "replicas: replicas is 1, 3 or 5" },
        { OP_KEYSPACE_SET, "name=a options={replicas=x}", DLHT_EINVAL,
          "replicas: " },
        { OP_KEYSPACE_SET, "name=a options={floor-keys=0}", DLHT_EINVAL,
          "floor-keys: " },
        { OP_KEYSPACE_SET, "name=a options={floor-keys=1e3}", DLHT_EINVAL,
          "floor-keys: " },
        { OP_KEYSPACE_SET, "name=a options={floor-keys=}", DLHT_EINVAL,
          "floor-keys: " },
        { OP_KEYSPACE_SET, "name=a options={ceiling-bytes=1048575}",
          DLHT_EINVAL, "ceiling-bytes: " },
        { OP_KEYSPACE_SET, "name=a options={model-leaves=0}", DLHT_EINVAL,
          "model-leaves: not a value" },
        { OP_KEYSPACE_SET, "name=a options={model-leaves=x}", DLHT_EINVAL,
          "model-leaves: not a value" },
        { OP_KEYSPACE_SET, "name=a options={model-root=square}", DLHT_EINVAL,
          "model-root: not a value" },
        { OP_KEYSPACE_SET, "name=a options={model-leaf=\x7f}", DLHT_EINVAL,
          "model-leaf: not a value" },
        { OP_KEYSPACE_SET, "name=a options={colour=red}", DLHT_EINVAL,
          "colour: no such option" },
        { OP_KEYSPACE_SET, "name=a options={colour=default}", DLHT_EINVAL,
          "colour: no such option" },
        { OP_KEYSPACE_SHOW, "name=b", DLHT_ENOKEYSPACE, "no such keyspace" },
        { OP_KEYSPACE_SHOW, "name=a ~", DLHT_ENOKEYSPACE, "no such keyspace" },
        { OP_KEYSPACE_SHOW, "colour=red", DLHT_OK, "" },
        { OP_KEYSPACE_DROP, "name=a", DLHT_OK, "" },
        { OP_KEYSPACE_SHOW, "name=a", DLHT_ENOKEYSPACE, "no such keyspace" },
        { OP_KEYSPACE_DROP, "name=a", DLHT_ENOKEYSPACE, "no such" },
        { OP_KEYSPACE_CREATE, "name=a", DLHT_OK, "" },
    };
    struct alone a;
    alone_init(&a, 23);
    ask_all(&a, rows, sizeof rows / sizeof *rows);
    struct span placement = option_of(&a, "h", "placement");
    cr_expect(span_equal(placement, span_str("hashed")));
    placement = option_of(&a, "a", "placement");
    cr_expect(span_equal(placement, span_str("ordered")));
    alone_deinit(&a);
}

Test(model, what_is_asked_wrongly_is_refused, .timeout = 60)
{
    static const char actions[] = "the action is";
    static const char keys[] = "keys to cut at are an array";
    static const struct row rows[] = {
        { OP_KEYSPACE_CREATE, "name=h placement=hashed", DLHT_OK, "" },
        { OP_MODEL, "action=show ~", DLHT_EINVAL, "this operation takes" },
        { OP_MODEL, "action=dance", DLHT_EINVAL, actions },
        { OP_MODEL, "", DLHT_EINVAL, actions },
        { OP_MODEL, "action=show keyspace=none", DLHT_ENOKEYSPACE, "no such" },
        { OP_MODEL, "action=show keyspace=#99", DLHT_ENOKEYSPACE, "no such" },
        { OP_MODEL, "action=show keyspace=h", DLHT_ENOTSUP, "a hashed" },
        { OP_MODEL, "action=export", DLHT_ENOTFOUND, "no model" },
        { OP_MODEL, "action=import model=bytes", DLHT_ECORRUPT, "" },
        { OP_MODEL, "action=show colour=red", DLHT_OK, "" },
        { OP_MODEL, "action=history", DLHT_OK, "" },
        { OP_PRESPLIT, "keys=[b,a]", DLHT_EINVAL, keys },
        { OP_PRESPLIT, "keys=[a,a]", DLHT_EINVAL, keys },
        { OP_PRESPLIT, "keys=[#1]", DLHT_EINVAL, keys },
        { OP_PRESPLIT, "keys=[a]", DLHT_OK, "" },
    };
    struct alone a;
    alone_init(&a, 24);
    a.runs_jobs = true;
    alone_run(&a, 6000);
    ask_all(&a, rows, sizeof rows / sizeof *rows);
    alone_deinit(&a);
}

static const struct response *lookup(struct alone *a, const char *key,
                                     const char *doc)
{
    struct buf value = { 0 };
    write_doc(&value, doc);
    struct request q = { .op = OP_LOOKUP,
                         .key = span_str(key),
                         .value = buf_span(&value) };
    const struct response *r = alone_ask(a, &q);
    buf_deinit(&value);
    return r;
}

/* The field of a document as it is packed; empty: it has none. */
static struct span field_of(struct span doc, const char *name)
{
    struct mp_reader r;
    struct span found = span_empty();
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        bool it = span_equal(mp_read_bytes(&r), span_str(name));
        struct span value = mp_read_raw(&r);
        found = it ? value : found;
    }
    cr_expect(!r.bad && mp_at_end(&r), "a sound document");
    return found;
}

static struct mp_reader reader_of(struct span doc, const char *name)
{
    struct mp_reader r;
    mp_reader_init(&r, field_of(doc, name));
    return r;
}

Test(lookup, is_by_key_or_by_place_on_the_ring, .timeout = 60)
{
    struct alone a;
    struct mp_reader r;
    alone_init(&a, 25);
    const struct response *response = lookup(&a, "ab", "");
    cr_assert_eq(response->status, DLHT_OK);
    r = reader_of(response->value, "position");
    uint64_t position = mp_read_uint(&r);
    cr_expect_eq(position, UINT64_C(0x6162000000000000), "%lx",
                 (unsigned long)position);
    char doc[60];
    snprintf(doc, sizeof doc, "position=#%lu", (unsigned long)position);
    response = lookup(&a, "", doc);
    cr_assert_eq(response->status, DLHT_OK);
    r = reader_of(response->value, "position");
    cr_expect_eq(mp_read_uint(&r), position, "without a model, the bytes");
    r = reader_of(response->value, "key");
    cr_expect(span_has_prefix(mp_read_bytes(&r), span_str("ab")));
    r = reader_of(response->value, "model");
    cr_expect(span_has_prefix(mp_read_bytes(&r), span_str("identity: none")));

    cr_expect_eq(lookup(&a, "", "")->status, DLHT_EINVAL);
    cr_expect_eq(lookup(&a, "", "place=#1")->status, DLHT_EINVAL);
    cr_expect_eq(lookup(&a, "", "position=x")->status, DLHT_EINVAL);
    cr_expect_eq(lookup(&a, "", "position=#1 more=#1")->status, DLHT_EINVAL);
    alone_deinit(&a);
}

/* Trained on request, shown, exported, and imported for another keyspace. */
Test(model, is_trained_exported_and_imported, .timeout = 120)
{
    struct alone a;
    struct buf model = { 0 }, doc = { 0 };
    struct mp_reader r;
    alone_init(&a, 28);
    a.runs_jobs = true;
    for (int i = 0; i < 400; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i * i);
        cr_assert_eq(alone_put(&a, key, "value"), DLHT_OK);
    }
    alone_run(&a, 6000);
    const struct response *response = ask(&a, OP_MODEL, "action=train");
    cr_assert_eq(response->status, DLHT_OK);
    r = reader_of(response->value, "epoch");
    cr_expect_eq(mp_read_uint(&r), 0, "there was none");
    struct request none = { .op = OP_COUNT, .flags = REQUEST_ESTIMATE };
    cr_expect_eq(alone_ask(&a, &none)->status, DLHT_ENOTSUP);
    alone_run(&a, 10000);
    response = ask(&a, OP_MODEL, "action=train wait=!");
    cr_assert_eq(response->status, DLHT_OK, "%.*s", (int)response->text.len,
                 (const char *)response->text.data);
    r = reader_of(response->value, "epoch");
    uint64_t epoch = mp_read_uint(&r);
    cr_expect_geq(epoch, 1, "the first round has published");
    response = ask(&a, OP_MODEL, "action=history");
    cr_assert_eq(response->status, DLHT_OK);

    struct request estimate = { .op = OP_COUNT, .flags = REQUEST_ESTIMATE };
    response = alone_ask(&a, &estimate);
    cr_expect_eq(response->status, DLHT_OK);
    cr_expect_eq(response->count, 400, "of all keys it is exact");
    estimate.flags |= REQUEST_HAS_END;
    estimate.key = span_str("k000100");
    estimate.end = span_str("k010000");
    response = alone_ask(&a, &estimate);
    cr_expect(response->count + response->version >= 90 &&
                  response->count <= 90 + response->version,
              "%lu, off by %lu at most", (unsigned long)response->count,
              (unsigned long)response->version);
    estimate.key = span_str("k010000");
    cr_expect_eq(alone_ask(&a, &estimate)->count, 0, "an empty range");

    response = lookup(&a, "k000100", "");
    r = reader_of(response->value, "model");
    cr_expect(span_equal(mp_read_bytes(&r), span_str("learned")));
    r = reader_of(response->value, "position");
    double share = (double)mp_read_uint(&r) / 0x1p64;
    cr_expect(share > 0.01 && share < 0.05, "%f: ten of 400 are before it",
              share);
    response = lookup(&a, "", "position=#9223372036854775808");
    r = reader_of(response->value, "key");
    struct span middle = mp_read_bytes(&r);
    cr_expect(span_compare(middle, span_str("k036000")) > 0 &&
                  span_compare(middle, span_str("k044000")) < 0,
              "%.*s is in the middle", (int)middle.len,
              (const char *)middle.data);

    response = ask(&a, OP_MODEL, "action=export");
    cr_assert_eq(response->status, DLHT_OK);
    mp_reader_init(&r, response->value);
    buf_append_span(&model, mp_read_bytes(&r));
    cr_assert_eq(ask(&a, OP_KEYSPACE_CREATE, "name=twin")->status, DLHT_OK);
    alone_run(&a, 3000);
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "action");
    mp_write_cstr(&doc, "import");
    mp_write_cstr(&doc, "keyspace");
    mp_write_cstr(&doc, "twin");
    mp_write_cstr(&doc, "model");
    mp_write_bin(&doc, buf_span(&model));
    struct request q = { .op = OP_MODEL, .value = buf_span(&doc) };
    response = alone_ask(&a, &q);
    cr_assert_eq(response->status, DLHT_OK, "%.*s", (int)response->text.len,
                 (const char *)response->text.data);
    alone_run(&a, 3000);
    response = ask(&a, OP_MODEL, "action=export keyspace=twin");
    cr_assert_eq(response->status, DLHT_OK);
    mp_reader_init(&r, response->value);
    cr_expect(span_equal(mp_read_bytes(&r), buf_span(&model)),
              "the same bytes");
    cr_expect_eq(ask(&a, OP_MODEL, "action=show keyspace=twin")->status,
                 DLHT_OK);
    cr_expect_eq(ask(&a, OP_MODEL, "action=history keyspace=twin")->status,
                 DLHT_OK);
    /* Another keyspace of that name begins without. */
    cr_assert_eq(ask(&a, OP_KEYSPACE_DROP, "name=twin")->status, DLHT_OK);
    alone_run(&a, 3000);
    cr_assert_eq(ask(&a, OP_KEYSPACE_CREATE, "name=twin")->status, DLHT_OK);
    alone_run(&a, 3000);
    cr_expect_eq(ask(&a, OP_MODEL, "action=export keyspace=twin")->status,
                 DLHT_ENOTFOUND);
    buf_deinit(&model);
    buf_deinit(&doc);
    alone_deinit(&a);
}

/* More keys in one arc than are summed in one turn. */
Test(model, a_large_arc_is_summed_in_slices, .timeout = 120)
{
    enum {
        COUNT = 5000
    };
    struct alone a;
    struct buf list = { 0 };
    char key[16];
    alone_init(&a, 31);
    a.runs_jobs = true;
    cr_assert_eq(
        ask(&a, OP_KEYSPACE_SET, "name=default options={floor-keys=1000000}")
            ->status,
        DLHT_OK);
    for (int from = 0; from < COUNT; from += COUNT / 2) {
        buf_reset(&list);
        for (int i = from; i < from + COUNT / 2; i++) {
            snprintf(key, sizeof key, "k%06d", i * 7);
            mp_write_bin(&list, span_str(key));
            mp_write_bin(&list, span_str("v"));
        }
        struct request q = { .op = OP_BATCH,
                             .list = buf_span(&list),
                             .list_count = COUNT };
        cr_assert_eq(alone_ask(&a, &q)->count, COUNT / 2);
    }
    alone_run(&a, 6000);
    struct request ring = { .op = OP_RING };
    struct mp_reader arcs;
    mp_reader_init(&arcs, alone_ask(&a, &ring)->value);
    cr_assert_eq(mp_read_array(&arcs), 1, "it is all one arc");
    cr_assert_eq(ask(&a, OP_MODEL, "action=train")->status, DLHT_OK);
    alone_run(&a, 10000);
    for (int i = 0; i <= 10; i++) {
        snprintf(key, sizeof key, "k%06d", i * COUNT / 10 * 7);
        const struct response *response = lookup(&a, key, "");
        struct mp_reader r = reader_of(response->value, "model");
        cr_assert(span_equal(mp_read_bytes(&r), span_str("learned")));
        r = reader_of(response->value, "position");
        double share = (double)mp_read_uint(&r) / 0x1p64;
        cr_expect(share > i / 10.0 - 0.01 && share < i / 10.0 + 0.01,
                  "%s is at %f", key, share);
    }
    buf_deinit(&list);
    alone_deinit(&a);
}

Test(recover, an_arc_is_named_as_it_is_printed, .timeout = 60)
{
    static const char bad[] = "arc is an id";
    static const struct row rows[] = {
        { OP_RECOVER, "", DLHT_EINVAL, bad },
        { OP_RECOVER, "arc=#0", DLHT_EINVAL, bad },
        { OP_RECOVER, "arc=", DLHT_EINVAL, bad },
        { OP_RECOVER, "arc=0x", DLHT_EINVAL, bad },
        { OP_RECOVER, "arc=0xfg", DLHT_EINVAL, bad },
        { OP_RECOVER, "arc=0xf/", DLHT_EINVAL, bad },
        { OP_RECOVER, "arc=00112233445566778", DLHT_EINVAL, bad },
        { OP_RECOVER, "arc=7 ~", DLHT_EINVAL, bad },
    };
    static const char *const same[] = { "arc=#2748", "arc=abc", "arc=0xAbC",
                                        "arc=0000000000000ABC",
                                        "colour=red arc=0xabc" };
    struct alone a;
    char text[200] = "";
    alone_init(&a, 29);
    ask_all(&a, rows, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const struct response *r = ask(&a, OP_RECOVER, same[i]);
        cr_expect_neq(r->status, DLHT_OK, "%s: nobody has that arc", same[i]);
        cr_expect_not(span_has_prefix(r->text, span_str(bad)), "%s", same[i]);
        cr_expect(i == 0 || span_equal(r->text, span_str(text)), "%s: %.*s",
                  same[i], (int)r->text.len, (const char *)r->text.data);
        snprintf(text, sizeof text, "%.*s", (int)r->text.len,
                 (const char *)r->text.data);
    }
    alone_deinit(&a);
}

Test(peer, what_is_asked_wrongly_is_refused, .timeout = 60)
{
    static const char own[] = "127.0.0.1:9000";
    static const struct row rows[] = {
        { OP_PEER_SET, "peer=127.0.0.1:9000", DLHT_EINVAL, "a peer is set" },
        { OP_PEER_SET, "options={weight=1}", DLHT_EINVAL, "a peer is set" },
        { OP_PEER_SET, "peer=h:1 options={weight=1}", DLHT_EINVAL,
          "no such peer" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={}", DLHT_EINVAL,
          "options are a map" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={weight=#1}", DLHT_EINVAL,
          "options are a map" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={weight=1.}", DLHT_EINVAL,
          "weight is" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={weight=.5}", DLHT_EINVAL,
          "weight is" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={weight=1.2345}",
          DLHT_EINVAL, "weight is" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={weight=1.2.3}",
          DLHT_EINVAL, "weight is" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={weight=12345678}",
          DLHT_EINVAL, "weight is" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={leaving=yes}", DLHT_EINVAL,
          "leaving is" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={leaving=no}", DLHT_OK,
          "" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={zone=a\nb}", DLHT_EINVAL,
          "zone is" },
        { OP_PEER_SET,
          "peer=127.0.0.1:9000 options={zone=45678901234567890123456789012345}",
          DLHT_EINVAL, "zone is" },
        { OP_PEER_SET,
          "peer=127.0.0.1:9000 options={zone=5678901234567890123456789012345}",
          DLHT_OK, "" },
        { OP_PEER_SET, "peer=127.0.0.1:9000 options={colour=red}", DLHT_EINVAL,
          "the options of a peer" },
        { OP_PEER_SET, "colour=red peer=127.0.0.1:9000 options={weight=0.1}",
          DLHT_OK, "" },
    };
    struct alone a;
    alone_init(&a, 26);
    ask_all(&a, rows, sizeof rows / sizeof *rows);
    struct request leave = { .op = OP_LEAVE, .key = span_str("h:1") };
    cr_expect_eq(alone_ask(&a, &leave)->status, DLHT_EINVAL);
    leave.key = span_str(own);
    cr_expect_eq(alone_ask(&a, &leave)->status, DLHT_EREFUSED,
                 "there is nobody to take its arcs");
    alone_deinit(&a);
}

Test(status, says_in_words_how_it_is, .timeout = 60)
{
    static const char alone[] = "whole, but not safe to stop: some arcs would "
                                "lose their majority";
    static const struct {
        const char *action, *more;
    } rows[] = {
        { "action=status", "" },
        { "action=pause", "; balancing is paused" },
        { "action=resume", "" },
    };
    struct alone a;
    alone_init(&a, 30);
    alone_run(&a, 6000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_eq(ask(&a, OP_BALANCE, rows[i].action)->status, DLHT_OK);
        alone_run(&a, 3000);
        const struct response *response = ask(&a, OP_STATUS, "");
        cr_assert_eq(response->status, DLHT_OK);
        struct mp_reader r = reader_of(response->value, "verdict");
        struct span verdict = mp_read_bytes(&r);
        char want[200];
        snprintf(want, sizeof want, "%s%s", alone, rows[i].more);
        cr_expect(span_equal(verdict, span_str(want)), "%s: %.*s",
                  rows[i].action, (int)verdict.len, (const char *)verdict.data);
    }
    alone_deinit(&a);
}

Test(ring, is_told_in_pages, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 27);
    alone_run(&a, 6000);
    cr_assert_eq(ask(&a, OP_PRESPLIT, "keys=[d,h,m,s]")->status, DLHT_OK);
    alone_run(&a, 20000);
    uint8_t from[8];
    struct request q = { .op = OP_RING, .limit = 2 };
    size_t pages = 0, arcs = 0;
    for (bool more = true; more && pages < 9; pages++) {
        const struct response *r = alone_ask(&a, &q);
        cr_assert_eq(r->status, DLHT_OK);
        struct mp_reader reader;
        mp_reader_init(&reader, r->value);
        size_t count = mp_read_array(&reader);
        cr_expect(count > 0 && count <= 2, "%zu arcs on a page", count);
        arcs += count;
        more = r->more;
        cr_expect(!more || r->cursor.len == 1, "where a cut is");
        if (more)
            memcpy(from, r->cursor.data, r->cursor.len);
        q.key = span_of(from, r->cursor.len);
    }
    cr_expect_eq(arcs, 5);
    cr_expect_eq(pages, 3);
    alone_deinit(&a);
}

Test(spot, finding_changes_nothing_whatever_comes_next, .timeout = 60)
{
    static char longest[65537];
    memset(longest, 'l', sizeof longest);
    struct alone a;
    alone_init(&a, 28);
    cr_assert_eq(ask(&a, OP_KEYSPACE_CREATE, "name=h placement=hashed")->status,
                 DLHT_OK);
    alone_run(&a, 6000);
    const struct span keys[] = { span_empty(), span_str("a"),
                                 span_of(longest, 120), span_of(longest, 121),
                                 span_of(longest, sizeof longest) };
    static const char *const NAMES[] = { "", "h", "none", "system" };
    static const uint8_t OPS[] = { OP_GET,  OP_PUT,   OP_DEL,    OP_CAS,
                                   OP_PING, OP_RANGE, OP_SEARCH, 255 };
    cr_assert_eq(alone_put(&a, "a", "there"), DLHT_OK);
    uint64_t before = 0;
    for (size_t o = 0; o < sizeof OPS; o++) {
        struct request requests[SPOTS_MAX];
        const struct request *list[SPOTS_MAX];
        struct spot spots[SPOTS_MAX];
        size_t count = 0;
        for (size_t n = 0; n < 4; n++)
            for (size_t k = 0; k < 4; k++) {
                requests[count] =
                    (struct request){ .op = OPS[o],
                                      .keyspace_name = span_str(NAMES[n]),
                                      .key = keys[k + (n > 0)] };
                list[count] = &requests[count];
                count++;
            }
        spot_find(a.node, a.now_ns, list, count, spots);
        if (o == 0) /* the groups have heard what time it is */
            before = node_hash(a.node);
        spot_find(a.node, a.now_ns, list, 0, spots);
    }
    cr_expect_eq(node_hash(a.node), before);
    alone_deinit(&a);
}
