/* SPDX-License-Identifier: Apache-2.0 */

/* Text becomes a filter: a recursive descent whose depth is bounded.
 *
 *     expression   part { "or" part }
 *     part         term { "and" term }
 *     term         "not" term | "(" expression ")" | "exists" field
 *                  | field operator value
 *                  | field [ "not" ] "in" "(" value { "," value } ")"
 *
 * A node is written behind all others; if it turns out to be the child of a
 * node that is not there yet, that one is put in before it. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "vector/filter_state.h"
#include "vector/meta_text.h"

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_STRING, /* its bytes are in the pool */
    TOKEN_VALUE,  /* a number, true, false or null */
    TOKEN_OPERATOR,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_AND,
    TOKEN_OR,
    TOKEN_NOT,
    TOKEN_IN,
    TOKEN_EXISTS
};

struct token {
    enum token_kind kind;
    struct span text; /* as it stands */
    struct span name; /* NAME, STRING */
    struct meta_value value;
    enum filter_op op;
};

struct parse {
    struct span text;
    size_t at; /* behind the token */
    struct token token;
    struct filter *out;
    struct meta_error *error;
    size_t depth;
};

static const struct word {
    const char *text;
    enum token_kind kind;
    enum meta_kind value;
} words[] = {
    { "and", TOKEN_AND, META_NULL },       { "or", TOKEN_OR, META_NULL },
    { "not", TOKEN_NOT, META_NULL },       { "in", TOKEN_IN, META_NULL },
    { "exists", TOKEN_EXISTS, META_NULL }, { "null", TOKEN_VALUE, META_NULL },
    { "true", TOKEN_VALUE, META_TRUE },    { "false", TOKEN_VALUE, META_FALSE },
};

static int too_big(struct parse *p, size_t at, const char *what,
                   const char *right)
{
    meta_error_say(p->error, at, what, right);
    return DLHT_ETOOBIG;
}

/* The token is not what is right here. */
static int wrong(struct parse *p, const char *right)
{
    size_t at = (size_t)(p->token.text.data - p->text.data);
    if (p->token.text.len == 0)
        at = p->text.len;
    meta_error_found(p->error, at, p->token.text, right);
    return DLHT_EINVAL;
}

/* The len bytes at p->at are no token. */
static int wrong_bytes(struct parse *p, size_t len, const char *right)
{
    struct span rest = span_tail(p->text, p->at);
    meta_error_found(p->error, p->at,
                     span_of(rest.data, len < rest.len ? len : rest.len),
                     right);
    return DLHT_EINVAL;
}

static bool begins_name(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c >= 0x80;
}

static bool goes_on_name(uint8_t c)
{
    return begins_name(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

static bool is_word(struct span text, const char *word)
{
    if (text.len != strlen(word))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((text.data[i] | 0x20) != (uint8_t)word[i])
            return false;
    return true;
}

static struct span keep(struct parse *p, struct span bytes)
{
    struct filter *f = p->out;
    uint8_t *at = f->pool + f->pool_len;
    assert(f->pool_cap - f->pool_len >= bytes.len);
    memcpy(at, bytes.data, bytes.len);
    f->pool_len += bytes.len;
    return span_of(at, bytes.len);
}

static int read_word(struct parse *p)
{
    struct span rest = span_tail(p->text, p->at);
    size_t len = 0, bad;
    while (len < rest.len && goes_on_name(rest.data[len]))
        len++;
    struct token *t = &p->token;
    t->text = span_of(rest.data, len);
    if (!meta_text_is_utf8(t->text, &bad)) {
        meta_error_say(p->error, p->at + bad, "found bytes that are no UTF-8",
                       "text in UTF-8 would be right");
        return DLHT_EINVAL;
    }
    p->at += len;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!is_word(t->text, words[i].text))
            continue;
        t->kind = words[i].kind;
        t->value = meta_value_mark(words[i].value);
        return DLHT_OK;
    }
    t->kind = TOKEN_NAME;
    t->name = t->text;
    return DLHT_OK;
}

/* What a quoted string holds, into the pool, which has room for all text. */
static int read_string(struct parse *p)
{
    struct filter *f = p->out;
    uint8_t escaped[META_ESCAPED_MAX];
    const char quote = (char)p->text.data[p->at];
    size_t from = p->at++, start = f->pool_len;
    for (;;) {
        struct span rest = span_tail(p->text, p->at);
        size_t len = meta_text_char(rest);
        const char *why;
        if (rest.len == 0) {
            p->at = from;
            return wrong_bytes(p, p->text.len,
                               "a quote at the string's end would be right");
        }
        if (rest.data[0] == (uint8_t)quote)
            break;
        if (len == 0) {
            meta_error_say(p->error, p->at, "found bytes that are no UTF-8",
                           "text in UTF-8 would be right");
            return DLHT_EINVAL;
        }
        struct span bytes = span_of(rest.data, len);
        if (rest.data[0] == '\\') {
            bytes.data = escaped;
            bytes.len = meta_text_unescape(rest, quote, escaped, &len, &why);
            if (bytes.len == 0)
                return wrong_bytes(p, len, why);
        }
        keep(p, bytes);
        p->at += len;
    }
    p->at++;
    p->token.kind = TOKEN_STRING;
    p->token.text = span_of(p->text.data + from, p->at - from);
    p->token.name = span_of(f->pool + start, f->pool_len - start);
    p->token.value = meta_value_text(p->token.name);
    return DLHT_OK;
}

static int read_number(struct parse *p)
{
    struct span rest = span_tail(p->text, p->at);
    int64_t i = 0;
    double d = 0;
    size_t len;
    enum meta_number is = meta_text_number(rest, &len, &i, &d);
    size_t end = len;
    while (end < rest.len &&
           (goes_on_name(rest.data[end]) || rest.data[end] == '+'))
        end++;
    if (is == META_NUMBER_NONE || end > len)
        return wrong_bytes(p, end ? end : 1,
                           "a number as 7, -7, 0.7 or 7e7 would be right");
    if (is == META_NUMBER_TOO_LONG)
        return too_big(p, p->at, "too long a number",
                       "at most 128 characters would be right");
    if (is == META_NUMBER_TOO_LARGE)
        return too_big(p, p->at, "too large a number",
                       "less than 1.8e308 would be right");
    p->token.kind = TOKEN_VALUE;
    p->token.text = span_of(rest.data, len);
    p->token.value =
        is == META_NUMBER_INT ? meta_value_int(i) : meta_value_real(d);
    p->at += len;
    return DLHT_OK;
}

/* Signs, and those of other languages with what they are called here. */
static const struct sign {
    const char *text;
    enum token_kind kind;
    enum filter_op op;
    const char *right;
} signs[] = {
    { "==", TOKEN_END, FILTER_EQ, "'=' would be right" },
    { "<>", TOKEN_END, FILTER_EQ, "'!=' would be right" },
    { "=<", TOKEN_END, FILTER_EQ, "'<=' would be right" },
    { "=>", TOKEN_END, FILTER_EQ, "'>=' would be right" },
    { "&&", TOKEN_END, FILTER_EQ, "'and' would be right" },
    { "||", TOKEN_END, FILTER_EQ, "'or' would be right" },
    { "!=", TOKEN_OPERATOR, FILTER_NE, NULL },
    { "<=", TOKEN_OPERATOR, FILTER_LE, NULL },
    { ">=", TOKEN_OPERATOR, FILTER_GE, NULL },
    { "=", TOKEN_OPERATOR, FILTER_EQ, NULL },
    { "<", TOKEN_OPERATOR, FILTER_LT, NULL },
    { ">", TOKEN_OPERATOR, FILTER_GT, NULL },
    { "(", TOKEN_OPEN, FILTER_EQ, NULL },
    { ")", TOKEN_CLOSE, FILTER_EQ, NULL },
    { ",", TOKEN_COMMA, FILTER_EQ, NULL },
    { "!", TOKEN_END, FILTER_EQ, "'not' would be right" },
    { "[", TOKEN_END, FILTER_EQ, "'(' would be right" },
    { "]", TOKEN_END, FILTER_EQ, "')' would be right" },
    { "`", TOKEN_END, FILTER_EQ, "a quote as ' or \" would be right" },
};

static int read_sign(struct parse *p)
{
    struct span rest = span_tail(p->text, p->at);
    size_t len = meta_text_char(rest);
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        struct span text = span_str(signs[i].text);
        if (!span_has_prefix(rest, text))
            continue;
        if (signs[i].right)
            return wrong_bytes(p, text.len, signs[i].right);
        p->token.kind = signs[i].kind;
        p->token.op = signs[i].op;
        p->token.text = span_of(rest.data, text.len);
        p->at += text.len;
        return DLHT_OK;
    }
    return wrong_bytes(p, len ? len : 1,
                       "a name, a value, an operator, '(' or ')' "
                       "would be right");
}

static int next(struct parse *p)
{
    while (p->at < p->text.len && p->text.data[p->at] != 0 &&
           strchr(" \t\r\n", p->text.data[p->at]))
        p->at++;
    if (p->at == p->text.len) {
        p->token.kind = TOKEN_END;
        p->token.text = span_of(p->text.data + p->at, 0);
        return DLHT_OK;
    }
    uint8_t c = p->text.data[p->at];
    if (c == '"' || c == '\'')
        return read_string(p);
    if (begins_name(c))
        return read_word(p);
    if (c == '-' || c == '+' || c == '.' || (c >= '0' && c <= '9'))
        return read_number(p);
    return read_sign(p);
}

/* Building */

static int put_node(struct parse *p, size_t at, enum filter_kind kind,
                    size_t child_count)
{
    struct filter *f = p->out;
    if (f->node_count == f->node_cap)
        return too_big(p, p->at, "too long a filter",
                       "at most 512 comparisons would be right");
    memmove(f->nodes + at + 1, f->nodes + at,
            (f->node_count - at) * sizeof *f->nodes);
    f->nodes[at] = (struct filter_node){ .kind = (uint8_t)kind };
    f->nodes[at].child_count = (uint16_t)child_count;
    f->node_count++;
    return DLHT_OK;
}

static void drop_node(struct filter *f, size_t at)
{
    f->node_count--;
    memmove(f->nodes + at, f->nodes + at + 1,
            (f->node_count - at) * sizeof *f->nodes);
}

static int put_value(struct parse *p)
{
    struct filter *f = p->out;
    if (f->value_count == FILTER_VALUES_MAX)
        return too_big(p, (size_t)(p->token.text.data - p->text.data),
                       "too many values", "at most 8192 would be right");
    assert(f->value_count < f->value_cap);
    f->values[f->value_count++] = p->token.value;
    return DLHT_OK;
}

static int by_value(const void *a, const void *b)
{
    return meta_value_compare(a, b);
}

/* Ascending; of those that are equal, 1 and 1.0, only one, the int if there
 * is any: the filter is the same however they were given. */
static void sort_values(struct filter *f, struct filter_test *test)
{
    struct meta_value *values = f->values + f->value_count - test->value_count;
    uint32_t n = 0;
    qsort(values, test->value_count, sizeof *values, by_value);
    for (uint32_t i = 0; i < test->value_count; i++) {
        if (n == 0 || !meta_value_equal(&values[n - 1], &values[i]))
            values[n++] = values[i];
        else if (values[i].kind == META_INT)
            values[n - 1] = values[i];
    }
    f->value_count -= test->value_count - n;
    test->value_count = n;
}

static bool is_value(const struct parse *p)
{
    return p->token.kind == TOKEN_STRING || p->token.kind == TOKEN_VALUE;
}

static int read_values(struct parse *p, struct filter_test *test)
{
    int rc = next(p);
    if (rc == DLHT_OK && p->token.kind != TOKEN_OPEN)
        return wrong(p, "'(' after 'in' would be right");
    do {
        if (rc == DLHT_OK)
            rc = next(p);
        if (rc == DLHT_OK && !is_value(p))
            return wrong(p, "a number, a string in quotes, true, false or "
                            "null would be right");
        if (rc == DLHT_OK)
            rc = put_value(p);
        if (rc == DLHT_OK)
            rc = next(p);
        if (rc != DLHT_OK)
            return rc;
        test->value_count++;
    } while (p->token.kind == TOKEN_COMMA);
    if (p->token.kind != TOKEN_CLOSE)
        return wrong(p, "',' or ')' would be right");
    sort_values(p->out, test);
    return next(p);
}

static int read_value(struct parse *p, struct filter_test *test)
{
    bool order = test->op != FILTER_EQ && test->op != FILTER_NE;
    int rc = next(p);
    if (rc != DLHT_OK)
        return rc;
    if (!is_value(p))
        return wrong(p, order ? "a number or a string in quotes would be right"
                              : "a number, a string in quotes, true, false or "
                                "null would be right");
    enum meta_kind kind = p->token.value.kind;
    if (order && !meta_value_is_number(kind) && kind != META_TEXT)
        return wrong(p, "a number or a string in quotes would be right, for "
                        "only these have an order");
    test->value_count = 1;
    rc = put_value(p);
    return rc == DLHT_OK ? next(p) : rc;
}

/* What comes behind the name of a field. */
static int read_comparison(struct parse *p, struct filter_test *test)
{
    int rc = next(p);
    if (rc != DLHT_OK)
        return rc;
    if (p->token.kind == TOKEN_OPERATOR) {
        test->op = p->token.op;
        return read_value(p, test);
    }
    test->op = FILTER_IN;
    if (p->token.kind == TOKEN_NOT) {
        test->op = FILTER_NOT_IN;
        rc = next(p);
        if (rc != DLHT_OK)
            return rc;
        if (p->token.kind != TOKEN_IN)
            return wrong(p, "'in' after 'not' would be right");
    }
    if (p->token.kind == TOKEN_NAME && is_word(p->token.text, "is"))
        return wrong(p, "'=' or '!=' would be right, as in: name = null");
    if (p->token.kind != TOKEN_IN)
        return wrong(p, "= != < <= > >= 'in' or 'not in' would be right");
    return read_values(p, test);
}

static int read_test(struct parse *p)
{
    struct filter *f = p->out;
    struct filter_test test = { .op = FILTER_EXISTS };
    bool exists = p->token.kind == TOKEN_EXISTS;
    int rc = exists ? next(p) : DLHT_OK;
    if (rc != DLHT_OK)
        return rc;
    if (p->token.kind != TOKEN_NAME && p->token.kind != TOKEN_STRING)
        return wrong(p, exists ? "the name of a field would be right; one "
                                 "that is a word of the language in quotes"
                               : "the name of a field, 'not', 'exists' or '(' "
                                 "would be right");
    const char *right = meta_name_wrong(p->token.name);
    if (right)
        return wrong(p, right);
    if (f->test_count == f->test_cap || f->test_count == FILTER_TESTS_MAX)
        return too_big(p, (size_t)(p->token.text.data - p->text.data),
                       "too long a filter",
                       "at most 512 comparisons would be right");
    test.name =
        p->token.kind == TOKEN_NAME ? keep(p, p->token.name) : p->token.name;
    test.tag = meta_tag(test.name);
    test.values = f->values + f->value_count;
    rc = exists ? next(p) : read_comparison(p, &test);
    if (rc != DLHT_OK)
        return rc;
    f->tests[f->test_count++] = test;
    return put_node(p, f->node_count, FILTER_TEST, 0);
}

static int read_expression(struct parse *p);

static int read_inner(struct parse *p)
{
    int rc = next(p);
    if (rc == DLHT_OK)
        rc = read_expression(p);
    if (rc != DLHT_OK)
        return rc;
    if (p->token.kind != TOKEN_CLOSE)
        return wrong(p, "'and', 'or' or ')' would be right");
    return next(p);
}

static int read_term(struct parse *p)
{
    struct filter *f = p->out;
    size_t at = f->node_count;
    bool turned = p->token.kind == TOKEN_NOT;
    if (!turned && p->token.kind != TOKEN_OPEN)
        return read_test(p);
    if (p->depth == FILTER_DEPTH_MAX)
        return too_big(p, (size_t)(p->token.text.data - p->text.data),
                       "too many parentheses or 'not's in one another",
                       "at most 32 would be right");
    p->depth++;
    int rc = turned ? next(p) : read_inner(p);
    if (rc == DLHT_OK && turned)
        rc = read_term(p);
    p->depth--;
    if (rc != DLHT_OK || !turned)
        return rc;
    if (f->nodes[at].kind != FILTER_NOT)
        return put_node(p, at, FILTER_NOT, 1);
    drop_node(f, at);
    return DLHT_OK;
}

/* A row of parts with one word between them. A part that is itself such a row
 * gives its children. */
static int read_row(struct parse *p, enum token_kind word,
                    enum filter_kind kind, int (*read_part)(struct parse *p))
{
    struct filter *f = p->out;
    size_t start = f->node_count, children = 0, parts = 0;
    for (;;) {
        size_t at = f->node_count;
        int rc = read_part(p);
        if (rc != DLHT_OK)
            return rc;
        parts++;
        if (parts == 1 && p->token.kind != word)
            return DLHT_OK;
        if (f->nodes[at].kind == (uint8_t)kind) {
            children += f->nodes[at].child_count;
            drop_node(f, at);
        } else {
            children++;
        }
        if (p->token.kind != word)
            return put_node(p, start, kind, children);
        rc = next(p);
        if (rc != DLHT_OK)
            return rc;
    }
}

static int read_part(struct parse *p)
{
    return read_row(p, TOKEN_AND, FILTER_AND, read_term);
}

static int read_expression(struct parse *p)
{
    return read_row(p, TOKEN_OR, FILTER_OR, read_part);
}

static int read_all(struct parse *p)
{
    int rc = next(p);
    if (rc == DLHT_OK)
        rc = read_expression(p);
    if (rc == DLHT_OK && p->token.kind != TOKEN_END)
        rc = wrong(p, "'and', 'or' or the end would be right");
    return rc;
}

static size_t at_most(size_t n, size_t max)
{
    return n < max ? n : max;
}

int filter_compile(struct span text, struct filter **out,
                   struct meta_error *error)
{
    struct parse p = { .text = text, .error = error };
    *out = NULL;
    if (text.len > FILTER_TEXT_MAX)
        return too_big(&p, FILTER_TEXT_MAX, "too long a filter",
                       "at most 65536 bytes would be right");
    if (text.len == 0)
        p.text = span_str(""); /* not NULL */
    /* The shortest comparison has three bytes; so has `not`; a value is one
     * and needs a sign beside it. */
    size_t tests = text.len / 3 + 1;
    p.out = filter_state_new(
        at_most(3 * tests, FILTER_NODES_MAX), at_most(tests, FILTER_TESTS_MAX),
        at_most(text.len / 2 + 1, FILTER_VALUES_MAX), text.len + 1);
    if (!p.out)
        return DLHT_ENOMEM;
    int rc = read_all(&p);
    if (rc != DLHT_OK) {
        filter_free(p.out);
        return rc;
    }
    filter_state_link(p.out);
    *out = p.out;
    return DLHT_OK;
}
