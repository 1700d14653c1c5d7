/* SPDX-License-Identifier: Apache-2.0 */

/* The language of filters: examples, refusals, and random expressions over
 * random metadata against an evaluator that walks the tree it drew. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "vector/filter.h"

static struct filter *compile(const char *text)
{
    struct filter *filter;
    struct meta_error error = { 0, "" };
    int rc = filter_compile(span_str(text), &filter, &error);
    cr_assert_eq(rc, DLHT_OK, "%s: %s", text, error.text);
    return filter;
}

static bool match(const char *text, const char *json)
{
    struct buf out = { 0 };
    struct meta_error error = { 0, "" };
    int rc = meta_parse(span_str(json), &out, &error);
    cr_assert_eq(rc, DLHT_OK, "%s: %s", json, error.text);
    struct filter *filter = compile(text);
    bool yes = filter_match(filter, meta_trust(buf_span(&out)));
    filter_free(filter);
    buf_deinit(&out);
    return yes;
}

Test(filter, means_what_the_page_says)
{
    static const char json[] =
        "{\"color\": \"red\", \"price\": 20, \"rate\": 2.5, \"big\": "
        "9007199254740993, \"none\": null, \"sold\": false, \"tags\": "
        "[\"new\", \"hot\", 7], \"empty\": [], \"size\": {\"w\": 3}, "
        "\"a b\": 1, \"in\": 2, \"\xc3\xa9\": \"x\"}";
    static const struct {
        const char *text;
        bool want;
    } table[] = {
        { "color = 'red'", true },
        { "color = \"Red\"", false },
        { "color != 'blue'", true },
        { "color != 'red'", false },
        { "color < 'rf'", true },
        { "color >= 'red'", true },
        { "price = 20.0", true },
        { "price < 20", false },
        { "price <= 20", true },
        { "price > 19.99", true },
        { "price >= 2e1", true },
        { "rate = 2.5", true },
        { "big = 9007199254740993", true },
        { "big = 9007199254740992", false },
        { "big > 9007199254740992.0", true },
        { "big < 9007199254740994.0", true },
        /* Missing: every comparison is false, its opposite too. */
        { "other = 1", false },
        { "other != 1", false },
        { "other < 1", false },
        { "other in (1)", false },
        { "other not in (1)", false },
        { "other = null", false },
        { "other != null", false },
        { "exists other", false },
        { "not other = 1", true },
        { "not exists other", true },
        /* Null is there, and has no value. */
        { "exists none", true },
        { "none = null", true },
        { "none != null", false },
        { "none != 1", false },
        { "none not in (1)", false },
        { "none in (1, null)", true },
        { "color != null", true },
        /* Other kinds are other values. */
        { "price = '20'", false },
        { "price != '20'", true },
        { "price < '9'", false },
        { "color > 1", false },
        { "sold = false", true },
        { "sold != true", true },
        { "sold = 0", false },
        /* Lists: any item. */
        { "tags = 'hot'", true },
        { "tags = 'old'", false },
        { "tags != 'hot'", false },
        { "tags != 'old'", true },
        { "tags > 6", true },
        { "tags > 6 and tags < 'i'", true },
        { "tags in ('old', 7.0)", true },
        { "tags not in ('old', 'cold')", true },
        { "empty = 1", false },
        { "empty != 1", true },
        { "exists empty", true },
        { "empty = null", false },
        /* in */
        { "color in ('blue', 'red')", true },
        { "color in ('blue')", false },
        { "color not in ('blue')", true },
        { "NOT color IN ('blue')", true },
        { "price in (1,2,3,4,5,6,7,8,9,10,11,12,13,14,20)", true },
        { "price in (1,2,3,4,5,6,7,8,9,10,11,12,13,14,21)", false },
        /* Names. */
        { "size.w = 3", true },
        { "\"size.w\" = 3", true },
        { "exists size", false },
        { "'a b' = 1", true },
        { "\"in\" = 2", true },
        { "\xc3\xa9 = 'x'", true },
        /* Binding: not, and, or. */
        { "not price = 1 and color = 'red'", true },
        { "price = 1 and price = 2 or color = 'red'", true },
        { "price = 1 and (price = 2 or color = 'red')", false },
        { "color = 'red' or price = 1 and price = 2", true },
        { "not (price = 20 or price = 1)", false },
        { "not not price = 20", true },
        { "TRUE_ = 1 oR Color = 'red' or EXISTS color", true },
        { "color='red'and(price=20)", true },
        { "color = \"r\\u0065d\"", true },
        { "color = 're\\'d'", false },
        { "price>-1", true },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(match(table[i].text, json), table[i].want, "%s",
                     table[i].text);
}

Test(filter, says_what_is_wrong)
{
    static const struct {
        const char *text;
        int rc;
        const char *said;
    } table[] = {
        { "", DLHT_EINVAL, "position 1: found the end, the name of a field" },
        { "price", DLHT_EINVAL, "position 6: found the end, = != <" },
        { "price ==  3", DLHT_EINVAL, "position 7: found '==', '=' would" },
        { "price <> 3", DLHT_EINVAL, "position 7: found '<>', '!='" },
        { "price = 3 && a = 1", DLHT_EINVAL, "position 11: found '&&', 'and'" },
        { "!a = 1", DLHT_EINVAL, "position 1: found '!', 'not'" },
        { "price = ", DLHT_EINVAL, "position 9: found the end, a number" },
        { "price = red", DLHT_EINVAL, "position 9: found 'red', a number, a" },
        { "price < true", DLHT_EINVAL, "position 9: found 'true', a number" },
        { "price = 3 4", DLHT_EINVAL, "position 11: found '4', 'and'" },
        { "price = 3 and", DLHT_EINVAL,
          "position 14: found the end, the name" },
        { "(price = 3", DLHT_EINVAL,
          "position 11: found the end, 'and', 'or'" },
        { "price = 3)", DLHT_EINVAL, "position 10: found ')', 'and'" },
        { "price in 3", DLHT_EINVAL, "position 10: found '3', '('" },
        { "price in ()", DLHT_EINVAL, "position 11: found ')', a number" },
        { "price in (1 2)", DLHT_EINVAL, "position 13: found '2', ','" },
        { "price in (1", DLHT_EINVAL, "position 12: found the end, ','" },
        { "price not 3", DLHT_EINVAL, "position 11: found '3', 'in'" },
        { "price is null", DLHT_EINVAL, "position 7: found 'is', '=' or" },
        { "price = 'x", DLHT_EINVAL, "position 9: found ''x', a quote" },
        { "price = 'x\\y'", DLHT_EINVAL, "position 11: found '\\y', " },
        { "price = 03", DLHT_EINVAL, "position 9: found '03', a number" },
        { "price = .5", DLHT_EINVAL, "position 9: found '.5', a number" },
        { "price = 5x", DLHT_EINVAL, "position 9: found '5x', a number" },
        { "price = 1e999", DLHT_ETOOBIG, "position 9: too large a number" },
        { "a..b = 1", DLHT_EINVAL, "position 1: found 'a..b', a name on" },
        { "in = 3", DLHT_EINVAL, "position 1: found 'in', the name" },
        { "exists 3", DLHT_EINVAL, "position 8: found '3', the name" },
        { "a = 1; b = 2", DLHT_EINVAL, "position 6: found ';', a name" },
        { "a = '\377'", DLHT_EINVAL, "position 6: found bytes" },
        { "\377 = 1", DLHT_EINVAL, "position 1: found bytes" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct meta_error error = { 0, "" };
        struct filter *filter;
        int rc = filter_compile(span_str(table[i].text), &filter, &error);
        cr_expect_eq(rc, table[i].rc, "%s: %d", table[i].text, rc);
        cr_expect_null(filter);
        cr_expect(strncmp(error.text, table[i].said, strlen(table[i].said)) ==
                      0,
                  "%s: said '%s', '%s' is right", table[i].text, error.text,
                  table[i].said);
    }
}

static int compile_many(const char *head, size_t count, const char *part,
                        const char *tail)
{
    struct buf text = { 0 };
    struct filter *filter;
    buf_append_span(&text, span_str(head));
    for (size_t i = 0; i < count; i++)
        buf_append_span(&text, span_str(part));
    buf_append_span(&text, span_str(tail));
    int rc = filter_compile(buf_span(&text), &filter, NULL);
    filter_free(filter);
    buf_deinit(&text);
    return rc;
}

Test(filter, has_bounds)
{
    cr_expect_eq(compile_many("a=1", 511, " or a=1", ""), DLHT_OK);
    cr_expect_eq(compile_many("a=1", 512, " or a=1", ""), DLHT_ETOOBIG);
    cr_expect_eq(compile_many("", 32, "not ", "a=1"), DLHT_OK);
    cr_expect_eq(compile_many("", 33, "not ", "a=1"), DLHT_ETOOBIG);
    cr_expect_eq(compile_many("", 100000, "(", ""), DLHT_ETOOBIG);
    cr_expect_eq(compile_many("", 10000, "(", ""), DLHT_ETOOBIG);
    cr_expect_eq(compile_many("a in (1", 8191, ",1", ")"), DLHT_OK);
    cr_expect_eq(compile_many("a in (1", 8192, ",1", ")"), DLHT_ETOOBIG);
    cr_expect_eq(compile_many("a=1", FILTER_TEXT_MAX - 3, " ", ""), DLHT_OK);
    cr_expect_eq(compile_many("a=1", FILTER_TEXT_MAX - 2, " ", ""),
                 DLHT_ETOOBIG);
    cr_expect_eq(compile_many("", 256, "n", " = 1"), DLHT_EINVAL);
    cr_expect_eq(compile_many("", 255, "n", " = 1"), DLHT_OK);
}

Test(filter, is_printed_short)
{
    static const struct {
        const char *text, *want;
    } table[] = {
        { "((a)=1)", NULL },
        { "((a=1))", "a = 1" },
        { "a=1 AND (b=2 AND c=3)", "a = 1 and b = 2 and c = 3" },
        { "(a=1 or b=2) and not (c=3 and d=4)",
          "(a = 1 or b = 2) and not (c = 3 and d = 4)" },
        { "a=1 and b=2 or c=3", "a = 1 and b = 2 or c = 3" },
        { "not (not a = 1)", "a = 1" },
        { "not (a in (2,1,1.0,2))", "not a in (1, 2)" },
        { "'x y' not in (null,'b',\"a\",true,0.5)",
          "\"x y\" not in (null, true, 0.5, \"a\", \"b\")" },
        { "EXISTS \"Not\"", "exists \"Not\"" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct filter *filter;
        struct buf text = { 0 };
        int rc = filter_compile(span_str(table[i].text), &filter, NULL);
        cr_assert_eq(rc, table[i].want ? DLHT_OK : DLHT_EINVAL);
        if (!table[i].want)
            continue;
        filter_print(filter, &text);
        cr_expect(span_equal(buf_span(&text), span_str(table[i].want)),
                  "%s is printed as %.*s", table[i].text, (int)text.len,
                  (char *)text.data);
        filter_free(filter);
        buf_deinit(&text);
    }
}

/* Chance: an expression and metadata, as a tree and as text. */

enum {
    NAMES = 6,
    ITEMS = 3,
    TREE = 64
};

struct val {
    enum meta_kind kind;
    long double number;
    const char *text; /* as it is */
    const char *json; /* as it is written */
};

static const struct val vals[] = {
    { META_NULL, 0, NULL, "null" },
    { META_FALSE, 0, NULL, "false" },
    { META_TRUE, 0, NULL, "true" },
    { META_INT, 0, NULL, "0" },
    { META_INT, 1, NULL, "1" },
    { META_REAL, 1, NULL, "1.0" },
    { META_REAL, 1.5L, NULL, "1.5" },
    { META_INT, -5, NULL, "-5" },
    { META_REAL, -5.25L, NULL, "-525e-2" },
    { META_INT, 9007199254740993.0L, NULL, "9007199254740993" },
    { META_REAL, 9007199254740992.0L, NULL, "9007199254740992.0" },
    { META_INT, 9223372036854775807.0L, NULL, "9223372036854775807" },
    { META_REAL, 9223372036854775808.0L, NULL, "9223372036854775808" },
    { META_REAL, -9223372036854775808.0L, NULL, "-9223372036854775808.0" },
    { META_INT, -9223372036854775808.0L, NULL, "-9223372036854775808" },
    { META_TEXT, 0, "", "\"\"" },
    { META_TEXT, 0, "red", "\"red\"" },
    { META_TEXT, 0, "re", "\"re\"" },
    { META_TEXT, 0, "1", "\"1\"" },
    { META_TEXT, 0, "a\"b\n", "\"a\\\"b\\n\"" },
    { META_TEXT, 0, "\303\251", "\"\\u00e9\"" },
    { META_TEXT, 0, "z", "\"z\"" },
};

enum {
    VALS = sizeof vals / sizeof *vals
};

static const char *const names[NAMES] = {
    "a", "bb", "c.d", "x y", "in", "e-1"
};

struct record {
    struct {
        bool there, list;
        size_t count;
        size_t items[ITEMS];
    } fields[NAMES];
};

struct tree {
    enum filter_kind kind;
    enum filter_op op;
    size_t name, count;
    size_t values[ITEMS];
    struct tree *left, *right;
};

struct drawing {
    struct rng rng;
    struct tree pool[TREE];
    size_t used;
};

static int order(const struct val *a, const struct val *b, bool *has)
{
    bool na = meta_value_is_number(a->kind), nb = meta_value_is_number(b->kind);
    *has = (na && nb) || (a->kind == META_TEXT && b->kind == META_TEXT);
    if (na && nb)
        return (a->number > b->number) - (a->number < b->number);
    if (*has)
        return strcmp(a->text, b->text);
    return a->kind == b->kind ? 0 : 1;
}

static bool slow_item(const struct tree *t, const struct val *item)
{
    for (size_t i = 0; i < t->count; i++) {
        bool has;
        int o = order(item, &vals[t->values[i]], &has);
        switch (t->op) {
        case FILTER_LT:
            return has && o < 0;
        case FILTER_LE:
            return has && o <= 0;
        case FILTER_GT:
            return has && o > 0;
        case FILTER_GE:
            return has && o >= 0;
        case FILTER_EQ:
        case FILTER_NE:
        case FILTER_IN:
        case FILTER_NOT_IN:
        case FILTER_EXISTS:
            break;
        }
        if (o == 0)
            return true;
    }
    return false;
}

static bool slow(const struct tree *t, const struct record *r)
{
    if (t->kind == FILTER_AND)
        return slow(t->left, r) && slow(t->right, r);
    if (t->kind == FILTER_OR)
        return slow(t->left, r) || slow(t->right, r);
    if (t->kind == FILTER_NOT)
        return !slow(t->left, r);
    if (!r->fields[t->name].there)
        return false;
    if (t->op == FILTER_EXISTS)
        return true;
    bool any = false, null = false;
    for (size_t i = 0; i < r->fields[t->name].count; i++) {
        const struct val *item = &vals[r->fields[t->name].items[i]];
        null = null || item->kind == META_NULL;
        any = any || slow_item(t, item);
    }
    if (t->op == FILTER_NE || t->op == FILTER_NOT_IN)
        return !null && !any;
    return any;
}

static struct tree *draw_tree(struct drawing *d, size_t depth)
{
    struct tree *t = &d->pool[d->used++];
    memset(t, 0, sizeof *t);
    uint64_t what = rng_below(&d->rng, depth ? 8 : 2);
    t->kind = what < 2   ? FILTER_TEST
              : what < 4 ? FILTER_AND
              : what < 6 ? FILTER_OR
                         : FILTER_NOT;
    if (t->kind != FILTER_TEST) {
        t->left = draw_tree(d, depth - 1);
        if (t->kind != FILTER_NOT)
            t->right = draw_tree(d, depth - 1);
        return t;
    }
    t->name = rng_below(&d->rng, NAMES);
    t->op = (enum filter_op)rng_below(&d->rng, FILTER_EXISTS + 1);
    bool many = t->op == FILTER_IN || t->op == FILTER_NOT_IN;
    bool ordered = t->op >= FILTER_LT && t->op <= FILTER_GE;
    t->count = t->op == FILTER_EXISTS ? 0
               : many                 ? 1 + rng_below(&d->rng, ITEMS)
                                      : 1;
    for (size_t i = 0; i < t->count; i++)
        t->values[i] = ordered ? 3 + rng_below(&d->rng, VALS - 3)
                               : rng_below(&d->rng, VALS);
    return t;
}

static void say(struct drawing *d, struct buf *out, const char *text)
{
    bool up = rng_chance(&d->rng, 0.2);
    for (const char *c = text; *c; c++)
        buf_append_byte(out,
                        (uint8_t)(up && *c >= 'a' && *c <= 'z' ? *c - 32 : *c));
}

static void space(struct drawing *d, struct buf *out, bool needed)
{
    if (needed || rng_chance(&d->rng, 0.5))
        buf_append_byte(out, rng_chance(&d->rng, 0.1) ? '\n' : ' ');
}

static void write_name(struct drawing *d, struct buf *out, size_t name)
{
    bool quoted = names[name][1] == ' ' || strcmp(names[name], "in") == 0;
    const char *quote = quoted || rng_chance(&d->rng, 0.2) ? "\"" : "";
    buf_append_span(out, span_str(quote));
    buf_append_span(out, span_str(names[name]));
    buf_append_span(out, span_str(quote));
}

static void write_test(struct drawing *d, struct buf *out, const struct tree *t)
{
    static const char *const signs[] = { "=",  "!=", "<",      "<=",    ">",
                                         ">=", "in", "not in", "exists" };
    bool word = t->op >= FILTER_IN;
    bool list = t->op == FILTER_IN || t->op == FILTER_NOT_IN;
    if (t->op == FILTER_EXISTS)
        say(d, out, "exists ");
    write_name(d, out, t->name);
    if (t->op == FILTER_EXISTS)
        return;
    space(d, out, word);
    say(d, out, signs[t->op]);
    space(d, out, false);
    if (list)
        buf_append_byte(out, '(');
    for (size_t i = 0; i < t->count; i++) {
        if (i > 0)
            buf_append_byte(out, ',');
        space(d, out, false);
        buf_append_span(out, span_str(vals[t->values[i]].json));
    }
    if (list)
        buf_append_byte(out, ')');
}

/* Everything inside in parentheses, or where they are needed only. */
static void write_tree(struct drawing *d, struct buf *out, const struct tree *t,
                       int binding)
{
    int own = t->kind == FILTER_OR ? 0 : t->kind == FILTER_AND ? 1 : 2;
    bool inside = own < binding || rng_chance(&d->rng, 0.2);
    if (inside)
        buf_append_byte(out, '(');
    if (t->kind == FILTER_TEST) {
        write_test(d, out, t);
    } else if (t->kind == FILTER_NOT) {
        say(d, out, "not");
        space(d, out, true);
        write_tree(d, out, t->left, 2);
    } else {
        write_tree(d, out, t->left, own);
        space(d, out, true);
        say(d, out, t->kind == FILTER_AND ? "and" : "or");
        space(d, out, true);
        write_tree(d, out, t->right, own);
    }
    if (inside)
        buf_append_byte(out, ')');
}

static void draw_record(struct drawing *d, struct record *r, struct buf *json)
{
    memset(r, 0, sizeof *r);
    buf_append_byte(json, '{');
    for (size_t f = 0, n = 0; f < NAMES; f++) {
        r->fields[f].there = rng_chance(&d->rng, 0.7);
        if (!r->fields[f].there)
            continue;
        r->fields[f].list = rng_chance(&d->rng, 0.3);
        bool list = r->fields[f].list;
        size_t count = list ? rng_below(&d->rng, ITEMS + 1) : 1;
        r->fields[f].count = count;
        if (n++ > 0)
            buf_append_byte(json, ',');
        buf_append_byte(json, '"');
        buf_append_span(json, span_str(names[f]));
        buf_append_span(json, span_str(list ? "\":[" : "\":"));
        for (size_t i = 0; i < count; i++) {
            size_t v = list ? 1 + rng_below(&d->rng, VALS - 1)
                            : rng_below(&d->rng, VALS);
            r->fields[f].items[i] = v;
            if (i > 0)
                buf_append_byte(json, ',');
            buf_append_span(json, span_str(vals[v].json));
        }
        if (list)
            buf_append_byte(json, ']');
    }
    buf_append_byte(json, '}');
}

static void check_again(const struct filter *filter, const char *text)
{
    struct buf printed = { 0 };
    struct filter *again;
    struct meta_error error = { 0, "" };
    filter_print(filter, &printed);
    int rc = filter_compile(buf_span(&printed), &again, &error);
    cr_assert_eq(rc, DLHT_OK, "%s: %.*s: %s", text, (int)printed.len,
                 (char *)printed.data, error.text);
    cr_assert(filter_equal(filter, again), "%s", text);
    filter_free(again);
    buf_deinit(&printed);
}

/* A part that passes may be left out: what remains decides. */
static void check_rest(struct drawing *d, const struct filter *filter,
                       struct meta meta)
{
    bool done[4 * TREE] = { false };
    bool passes = true;
    struct filter *rest;
    size_t end = filter_node(filter, 0)->end;
    cr_assert_eq(end, filter_node_count(filter));
    for (size_t i = 1; i < end; i = filter_node(filter, i)->end) {
        done[i] = rng_chance(&d->rng, 0.5);
        if (done[i])
            passes = passes && filter_match_node(filter, i, meta);
    }
    if (filter_node(filter, 0)->kind != FILTER_AND)
        passes = true;
    cr_assert_eq(filter_rest(filter, done, &rest), DLHT_OK);
    bool left = !rest || filter_match(rest, meta);
    cr_assert_eq(filter_match(filter, meta), passes && left);
    filter_free(rest);
}

Test(filter, agrees_with_a_walk_over_the_tree)
{
    static struct drawing d;
    const uint64_t seed = 20261122;
    size_t yes = 0, all = 0;
    rng_init(&d.rng, seed);
    for (int n = 0; n < 4000; n++) {
        struct buf text = { 0 };
        d.used = 0;
        struct tree *tree = draw_tree(&d, rng_below(&d.rng, 5));
        write_tree(&d, &text, tree, 0);
        buf_append_byte(&text, 0);
        struct filter *filter = compile((char *)text.data);
        check_again(filter, (char *)text.data);
        for (int m = 0; m < 12; m++) {
            struct buf json = { 0 }, form = { 0 };
            struct record record;
            struct meta meta;
            draw_record(&d, &record, &json);
            cr_assert_eq(meta_parse(buf_span(&json), &form, NULL), DLHT_OK);
            cr_assert_eq(meta_open(buf_span(&form), &meta), DLHT_OK);
            bool want = slow(tree, &record);
            cr_assert_eq(filter_match(filter, meta), want,
                         "seed %llu, round %d: %s of %.*s is %d",
                         (unsigned long long)seed, n, (char *)text.data,
                         (int)json.len, (char *)json.data, want);
            cr_assert_eq(filter_match_node(filter, 0, meta), want);
            check_rest(&d, filter, meta);
            yes += want;
            all++;
            buf_deinit(&json);
            buf_deinit(&form);
        }
        filter_free(filter);
        buf_deinit(&text);
    }
    cr_assert(yes > all / 10 && yes < all - all / 10, "%zu of %zu", yes, all);
}

Test(filter, lacking_memory_makes_none)
{
    if (!fail_alloc_works())
        return;
    struct filter *filter, *rest;
    const struct span text = span_str("a = 1 and (b = 'x' or c in (1, 2))");
    fail_alloc_nth(1);
    cr_assert_eq(filter_compile(text, &filter, NULL), DLHT_ENOMEM);
    cr_assert_null(filter);
    fail_alloc_nth(0);
    cr_assert_eq(filter_compile(text, &filter, NULL), DLHT_OK);
    bool done[8] = { false, true };
    fail_alloc_nth(1);
    cr_assert_eq(filter_rest(filter, done, &rest), DLHT_ENOMEM);
    cr_assert_null(rest);
    fail_alloc_nth(0);
    filter_free(filter);
}

/* docs/filter.md */

static char *read_page(void)
{
    static char page[32768];
    FILE *file = fopen(DLHT_DOCS "/filter.md", "r");
    cr_assert(file, "%s", DLHT_DOCS "/filter.md");
    size_t len = fread(page, 1, sizeof page - 1, file);
    fclose(file);
    page[len] = 0;
    return page;
}

/* Its tables have a filter between backquotes, then what comes of it. */
Test(filter, the_page_is_true)
{
    char *page = read_page();
    char *json = strstr(page, "```json") + 7;
    size_t answers = 0, refusals = 0;
    *strstr(json, "```") = 0;
    for (char *line = strtok(json + strlen(json) + 1, "\n"); line;
         line = strtok(NULL, "\n")) {
        if (strncmp(line, "| `", 3) != 0)
            continue;
        char *end = strstr(line + 3, "` | ");
        char *said = end ? end + 4 : NULL;
        char *close = said ? strstr(said, " |") : NULL;
        if (!close)
            continue;
        *end = *close = 0;
        if (strncmp(said, "position", 8) == 0) {
            struct meta_error error;
            struct filter *filter;
            cr_expect_eq(filter_compile(span_str(line + 3), &filter, &error),
                         DLHT_EINVAL);
            cr_expect_str_eq(error.text, said);
            refusals++;
        } else {
            cr_expect_eq(match(line + 3, json), strcmp(said, "yes") == 0, "%s",
                         line + 3);
            cr_expect(strcmp(said, "yes") == 0 || strcmp(said, "no") == 0);
            answers++;
        }
    }
    cr_assert(answers >= 30 && refusals >= 5, "%zu, %zu", answers, refusals);
}
