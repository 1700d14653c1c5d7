/* SPDX-License-Identifier: Apache-2.0 */

/* Documents about collections, right and wrong, asked of a node of its own: a
 * wrong one is refused with a sentence, and nothing else happens. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "node/alone.h"
#include "node/op.h"
#include "wire/mp.h"

static const struct response *ask(struct alone *a, uint8_t op, const char *key,
                                  const struct buf *doc)
{
    struct request q = { .op = op, .keyspace_name = span_str("docs") };
    q.key = key ? span_str(key) : span_empty();
    q.value = buf_span(doc);
    return alone_ask(a, &q);
}

static void expect_refused(const struct response *r, int status,
                           const char *why)
{
    cr_expect_eq(r->status, status, "%s: %s, %.*s", why,
                 dlht_errname(r->status), (int)r->text.len,
                 r->text.len ? (const char *)r->text.data : "");
    cr_expect(status == DLHT_OK || r->text.len > 0, "%s: no sentence", why);
}

/* Options by twos, to NULL. */
static int create(struct alone *a, const char *name, const char *const *options)
{
    struct buf doc = { 0 };
    size_t count = 0;
    while (options[count])
        count++;
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, name);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, count / 2);
    for (size_t i = 0; i < count; i++)
        mp_write_cstr(&doc, options[i]);
    const struct response *r = ask(a, OP_KEYSPACE_CREATE, NULL, &doc);
    int status = r->status;
    cr_expect(status == DLHT_OK || r->text.len > 0, "%s: no sentence", name);
    buf_deinit(&doc);
    return status;
}

Test(vector_documents, options_that_make_no_collection_are_refused)
{
    static const struct {
        const char *why;
        int status;
        const char *options[9];
    } rows[] = {
        { "all of them",
          DLHT_OK,
          { "vector-dim", "3", "vector-metric", "l2", "vector-index", "exact",
            "vector-fields", "a,b.c" } },
        { "no dimensions", DLHT_EINVAL, { "vector-metric", "l2" } },
        { "none of them", DLHT_EINVAL, { "vector-dim", "0" } },
        { "too many", DLHT_EINVAL, { "vector-dim", "16385" } },
        { "words", DLHT_EINVAL, { "vector-dim", "three" } },
        { "empty", DLHT_EINVAL, { "vector-dim", "" } },
        { "signs", DLHT_EINVAL, { "vector-dim", "+3" } },
        { "a metric",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-metric", "manhattan" } },
        { "a long metric",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-metric",
            "cosinecosinecosinecosinecosinecosine" } },
        { "m", DLHT_EINVAL, { "vector-dim", "3", "vector-m", "1" } },
        { "ef", DLHT_EINVAL, { "vector-dim", "3", "vector-ef", "0" } },
        { "ef-construction",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-ef-construction", "4097" } },
        { "codes",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-quantization", "int4" } },
        { "an index",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-index", "ivf" } },
        { "a field twice",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-fields", "a,a" } },
        { "an empty field",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-fields", "a,,b" } },
        { "a comma too many",
          DLHT_EINVAL,
          { "vector-dim", "3", "vector-fields", "a," } },
    };
    struct alone a;
    alone_init(&a, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[] = "made-a";
        name[5] = (char)('a' + i);
        cr_expect_eq(create(&a, name, rows[i].options), rows[i].status, "%s",
                     rows[i].why);
    }
    alone_deinit(&a);
}

static void open_docs(struct alone *a, uint64_t seed)
{
    static const char *const options[] = { "vector-dim", "3", NULL };
    alone_init(a, seed);
    a->runs_jobs = true;
    cr_assert_eq(create(a, "docs", options), DLHT_OK);
    alone_run(a, 1000);
}

/* A document in few letters: {} map of the next number, "text", numbers, and
 * V: a vector of bin, A: of an array. */
enum piece_kind {
    MAP,
    STR,
    UINT,
    BIN,   /* so many bytes of 1.0f */
    ARRAY, /* so many ones */
    FLOAT,
    BOOL,
    NIL
};

struct piece {
    enum piece_kind kind;
    const char *text;
    uint64_t n;
    double real;
};

static void write_pieces(const struct piece *p, size_t count, struct buf *doc)
{
    static const uint8_t one[] = { 0, 0, 0x80, 0x3f };
    for (size_t i = 0; i < count && (p[i].kind != MAP || i == 0); i++) {
        switch (p[i].kind) {
        case MAP:
            mp_write_map(doc, p[i].n);
            break;
        case STR:
            mp_write_cstr(doc, p[i].text);
            break;
        case UINT:
            mp_write_uint(doc, p[i].n);
            break;
        case BIN:
            mp_write_bin_header(doc, p[i].n);
            for (size_t k = 0; k < p[i].n; k++)
                buf_append_span(doc, span_of(&one[k % 4], 1));
            break;
        case ARRAY:
            mp_write_array(doc, p[i].n);
            for (size_t k = 0; k < p[i].n; k++)
                mp_write_float(doc, p[i].real);
            break;
        case FLOAT:
            mp_write_float(doc, p[i].real);
            break;
        case BOOL:
            mp_write_bool(doc, p[i].n != 0);
            break;
        case NIL:
            mp_write_nil(doc);
            break;
        }
    }
}

struct row {
    const char *why;
    int status;
    size_t count;
    struct piece pieces[7];
};

#define TEXT(s)                                                                \
    {                                                                          \
        STR, s, 0, 0                                                           \
    }
#define N(kind, n)                                                             \
    {                                                                          \
        kind, NULL, n, 0                                                       \
    }
#define ONES(n, x)                                                             \
    {                                                                          \
        ARRAY, NULL, n, x                                                      \
    }

static const struct row put_rows[] = {
    { "bin", DLHT_OK, 3, { N(MAP, 1), TEXT("vector"), N(BIN, 12) } },
    { "array", DLHT_OK, 3, { N(MAP, 1), TEXT("vector"), ONES(3, 0.5) } },
    { "with metadata",
      DLHT_OK,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("meta"),
        TEXT("{\"a\": 1}") } },
    { "with none",
      DLHT_OK,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("meta"), N(NIL, 0) } },
    { "fields of tomorrow",
      DLHT_OK,
      5,
      { N(MAP, 2), TEXT("colour"), N(UINT, 7), TEXT("vector"), N(BIN, 12) } },
    { "no map", DLHT_EINVAL, 1, { N(UINT, 3) } },
    { "nothing", DLHT_EINVAL, 0, { N(NIL, 0) } },
    { "no vector", DLHT_EINVAL, 1, { N(MAP, 0) } },
    { "cut short", DLHT_EINVAL, 3, { N(MAP, 2), TEXT("vector"), N(BIN, 12) } },
    { "two dimensions",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), N(BIN, 8) } },
    { "four", DLHT_EINVAL, 3, { N(MAP, 1), TEXT("vector"), ONES(4, 1) } },
    { "half a number",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), N(BIN, 11) } },
    { "no direction",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), ONES(3, 0) } },
    { "NaN",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), ONES(3, (double)NAN) } },
    { "infinity",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), ONES(3, (double)INFINITY) } },
    { "beyond float32",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), ONES(3, 1e300) } },
    { "a square beyond it",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), ONES(3, 1e30) } },
    { "a word", DLHT_EINVAL, 3, { N(MAP, 1), TEXT("vector"), N(BOOL, 1) } },
    { "no JSON",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("meta"), TEXT("{a") } },
    { "JSON that is no object",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("meta"), TEXT("[1]") } },
    { "metadata of another kind",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("meta"), N(UINT, 1) } },
};

Test(vector_documents, puts_that_are_wrong_are_refused)
{
    struct alone a;
    open_docs(&a, 2);
    for (size_t i = 0; i < sizeof put_rows / sizeof *put_rows; i++) {
        struct buf doc = { 0 };
        struct buf none = { 0 };
        write_pieces(put_rows[i].pieces, put_rows[i].count, &doc);
        expect_refused(ask(&a, OP_VECTOR_PUT, "k", &doc), put_rows[i].status,
                       put_rows[i].why);
        int there = ask(&a, OP_DEL, "k", &none)->status;
        cr_expect_eq(there == DLHT_OK, put_rows[i].status == DLHT_OK, "%s: %s",
                     put_rows[i].why, dlht_errname(there));
        buf_deinit(&doc);
    }
    alone_deinit(&a);
}

static const struct row search_rows[] = {
    { "a vector", DLHT_OK, 3, { N(MAP, 1), TEXT("vector"), N(BIN, 12) } },
    { "an id", DLHT_OK, 3, { N(MAP, 1), TEXT("id"), TEXT("one") } },
    { "an id that is not there",
      DLHT_ENOTFOUND,
      3,
      { N(MAP, 1), TEXT("id"), TEXT("two") } },
    { "both",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("id"), TEXT("one"), TEXT("vector"), N(BIN, 12) } },
    { "neither", DLHT_EINVAL, 3, { N(MAP, 1), TEXT("k"), N(UINT, 3) } },
    { "no map", DLHT_EINVAL, 1, { N(NIL, 0) } },
    { "an empty id", DLHT_EINVAL, 3, { N(MAP, 1), TEXT("id"), TEXT("") } },
    { "no k",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("k"), N(UINT, 0) } },
    { "k beyond its bound",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("k"), N(UINT, 10001) } },
    { "k in words",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("k"), TEXT("ten") } },
    { "ef beyond its bound",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("ef"), N(UINT, 100001) } },
    { "no filter",
      DLHT_OK,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("filter"), N(NIL, 0) } },
    { "a filter",
      DLHT_OK,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("filter"),
        TEXT("a = 1") } },
    { "half a filter",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("filter"), TEXT("a =") } },
    { "a filter of another kind",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("filter"), N(UINT, 1) } },
    { "exact as a number",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("exact"), N(UINT, 1) } },
    { "meta as a number",
      DLHT_EINVAL,
      5,
      { N(MAP, 2), TEXT("vector"), N(BIN, 12), TEXT("meta"), N(UINT, 1) } },
    { "three dimensions too few",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), N(BIN, 0) } },
    { "no direction",
      DLHT_EINVAL,
      3,
      { N(MAP, 1), TEXT("vector"), ONES(3, 0) } },
};

static void put_one(struct alone *a)
{
    struct buf doc = { 0 };
    write_pieces(put_rows[0].pieces, put_rows[0].count, &doc);
    cr_assert_eq(ask(a, OP_VECTOR_PUT, "one", &doc)->status, DLHT_OK);
    buf_deinit(&doc);
}

Test(vector_documents, searches_that_are_wrong_are_refused)
{
    struct alone a;
    open_docs(&a, 3);
    put_one(&a);
    for (size_t i = 0; i < sizeof search_rows / sizeof *search_rows; i++) {
        struct buf doc = { 0 };
        write_pieces(search_rows[i].pieces, search_rows[i].count, &doc);
        expect_refused(ask(&a, OP_SEARCH, NULL, &doc), search_rows[i].status,
                       search_rows[i].why);
        buf_deinit(&doc);
    }
    alone_deinit(&a);
}

/* Any byte of a right document changed or gone: it is answered, and the node
 * holds together. */
Test(vector_documents, nothing_that_is_nearly_right_breaks_a_node)
{
    struct alone a;
    struct rng rng;
    open_docs(&a, 4);
    put_one(&a);
    rng_init(&rng, 4);
    for (int i = 0; i < 4000; i++) {
        static const uint8_t ops[] = { OP_VECTOR_PUT, OP_VECTOR_GET, OP_SEARCH,
                                       OP_SEARCH_PEER, OP_VECTORS };
        const struct row *from = rng_chance(&rng, 0.5) ? put_rows : search_rows;
        size_t count = from == put_rows
                           ? sizeof put_rows / sizeof *put_rows
                           : sizeof search_rows / sizeof *search_rows;
        const struct row *row = &from[rng_below(&rng, count)];
        struct buf doc = { 0 };
        write_pieces(row->pieces, row->count, &doc);
        for (uint64_t n = rng_below(&rng, 4); n > 0 && doc.len; n--)
            doc.data[rng_below(&rng, doc.len)] = (uint8_t)rng_next(&rng);
        if (rng_chance(&rng, 0.3))
            doc.len = (size_t)rng_below(&rng, doc.len + 1);
        struct request q = { .op = ops[rng_below(&rng, sizeof ops)],
                             .keyspace_name = span_str("docs"),
                             .key = span_str("k"),
                             .value = buf_span(&doc) };
        (void)alone_ask(&a, &q);
        buf_deinit(&doc);
    }
    alone_deinit(&a);
}

Test(vector_documents, a_collection_has_its_own_verbs_only)
{
    struct alone a;
    struct buf doc = { 0 };
    open_docs(&a, 5);
    write_pieces(put_rows[0].pieces, put_rows[0].count, &doc);
    static const uint8_t ops[] = { OP_VECTOR_PUT, OP_VECTOR_GET, OP_SEARCH,
                                   OP_VECTORS };
    for (size_t i = 0; i < sizeof ops; i++) {
        struct request q = { .op = ops[i],
                             .key = span_str("k"),
                             .value = buf_span(&doc) };
        expect_refused(alone_ask(&a, &q), DLHT_ENOTSUP, "of no collection");
    }
    struct request q = { .op = OP_PUT,
                         .keyspace_name = span_str("docs"),
                         .key = span_str("k"),
                         .value = span_str("no vector") };
    expect_refused(alone_ask(&a, &q), DLHT_EINVAL, "a record that is none");
    buf_deinit(&doc);
    alone_deinit(&a);
}

static int set_option(struct alone *a, const char *keyspace, const char *name,
                      const char *value)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, keyspace);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, name);
    mp_write_cstr(&doc, value);
    const struct response *r = ask(a, OP_KEYSPACE_SET, NULL, &doc);
    int status = r->status;
    cr_expect(status == DLHT_OK || r->text.len > 0, "%s: no sentence", name);
    buf_deinit(&doc);
    return status;
}

Test(vector_documents, of_a_collection_only_ef_changes)
{
    static const char *const options[] = { "vector-dim", "3", NULL };
    static const struct {
        const char *keyspace, *name, *value;
        int status;
    } rows[] = {
        { "docs", "vector-ef", "77", DLHT_OK },
        { "docs", "vector-ef", "0", DLHT_EINVAL },
        { "docs", "vector-dim", "4", DLHT_EINVAL },
        { "docs", "vector-metric", "l2", DLHT_EINVAL },
        { "docs", "vector-colour", "red", DLHT_EINVAL },
        { "docs", "vector-ef", "default", DLHT_OK },
        { "docs", "vector-ef", "88", DLHT_OK },
        { "default", "vector-ef", "77", DLHT_EINVAL },
        { "default", "vector-dim", "3", DLHT_EINVAL },
    };
    struct alone a;
    struct buf doc = { 0 };
    alone_init(&a, 9);
    cr_assert_eq(create(&a, "docs", options), DLHT_OK);
    alone_run(&a, 500);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(
            set_option(&a, rows[i].keyspace, rows[i].name, rows[i].value),
            rows[i].status, "row %zu", i);
        alone_run(&a, 200);
    }
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, "docs");
    const struct response *r = ask(&a, OP_KEYSPACE_SHOW, NULL, &doc);
    cr_expect_eq(r->status, DLHT_OK);
    bool told = false;
    for (size_t i = 0; i + 2 <= r->value.len; i++)
        told = told || memcmp(r->value.data + i, "88", 2) == 0;
    cr_expect(told, "what was set last is shown");
    buf_deinit(&doc);
    alone_deinit(&a);
}
