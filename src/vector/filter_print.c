/* SPDX-License-Identifier: Apache-2.0 */

/* A filter as text. */

#include <string.h>

#include "vector/filter_state.h"
#include "vector/meta_text.h"

static const char *const reserved[] = { "and",    "or",   "not",  "in",
                                        "exists", "null", "true", "false" };

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c >= 0x80;
}

/* Whether a name can stand without quotes. */
static bool is_bare(struct span name)
{
    if (name.len == 0 || !is_letter(name.data[0]))
        return false;
    for (size_t i = 1; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!is_letter(c) && c != '.' && c != '-' && (c < '0' || c > '9'))
            return false;
    }
    for (size_t w = 0; w < sizeof reserved / sizeof *reserved; w++) {
        size_t n = 0;
        while (n < name.len && (name.data[n] | 0x20) == reserved[w][n])
            n++;
        if (n == name.len && reserved[w][n] == 0)
            return false;
    }
    return true;
}

static void print_values(const struct filter_test *test, struct buf *out)
{
    bool list = test->op == FILTER_IN || test->op == FILTER_NOT_IN;
    if (list)
        buf_append_byte(out, '(');
    for (size_t i = 0; i < test->value_count; i++) {
        if (i > 0)
            buf_append_span(out, span_str(", "));
        meta_print_value(&test->values[i], out);
    }
    if (list)
        buf_append_byte(out, ')');
}

static void print_test(const struct filter_test *test, struct buf *out)
{
    static const char *const signs[] = {
        [FILTER_EQ] = " = ",         [FILTER_NE] = " != ",
        [FILTER_LT] = " < ",         [FILTER_LE] = " <= ",
        [FILTER_GT] = " > ",         [FILTER_GE] = " >= ",
        [FILTER_IN] = " in ",        [FILTER_NOT_IN] = " not in ",
        [FILTER_EXISTS] = "exists ",
    };
    struct span sign = span_str(signs[test->op]);
    if (test->op == FILTER_EXISTS)
        buf_append_span(out, sign);
    if (is_bare(test->name))
        buf_append_span(out, test->name);
    else
        meta_text_quote(out, test->name);
    if (test->op != FILTER_EXISTS)
        buf_append_span(out, sign);
    print_values(test, out);
}

/* OR binds least, then AND, then NOT; a child that binds less than its parent
 * stands in parentheses. */
static void print_node(const struct filter *f, size_t i, struct buf *out)
{
    const struct filter_node *node = &f->nodes[i];
    const char *word = node->kind == FILTER_AND  ? " and "
                       : node->kind == FILTER_OR ? " or "
                                                 : "";
    if (node->kind == FILTER_TEST) {
        print_test(&f->tests[node->test], out);
        return;
    }
    if (node->kind == FILTER_NOT)
        buf_append_span(out, span_str("not "));
    for (size_t child = i + 1; child < node->end; child = f->nodes[child].end) {
        uint8_t kind = f->nodes[child].kind;
        bool inside = kind == FILTER_OR ||
                      (kind == FILTER_AND && node->kind == FILTER_NOT);
        if (child > i + 1)
            buf_append_span(out, span_str(word));
        if (inside)
            buf_append_byte(out, '(');
        print_node(f, child, out);
        if (inside)
            buf_append_byte(out, ')');
    }
}

void filter_print(const struct filter *filter, struct buf *out)
{
    print_node(filter, 0, out);
}
