/* SPDX-License-Identifier: Apache-2.0 */

/* vector/meta_text.h - the characters, strings and numbers that JSON and filters
 * have in common.
 *
 * Numbers are read and written the same in every locale. A number without
 * fraction and exponent that fits is an int64; every other is the nearest
 * double. Nothing here allocates but what appends to a buf. */

#ifndef VECTOR_META_TEXT_H
#define VECTOR_META_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

enum {
    META_NUMBER_MAX = 128, /* characters of a number */
    META_ESCAPED_MAX = 4   /* bytes that one escape stands for */
};

/* Length of the UTF-8 character that text begins with, 0 if it is none:
 * overlong forms, surrogates and what is cut short are none. */
size_t meta_text_char(struct span text);

/* True if all is UTF-8; else *bad is where it is not. */
bool meta_text_is_utf8(struct span text, size_t *bad);

/* Reads the escape that text begins with (a backslash). *len is its length.
 * Bytes written to out, or 0: no escape of JSON; *why says what would be right.
 * quote: besides JSON's own, backslash and this character are one (0: none). */
size_t meta_text_unescape(struct span text, char quote,
                          uint8_t out[META_ESCAPED_MAX], size_t *len,
                          const char **why);

/* The string between double quotes, escaped where JSON asks for it. */
void meta_text_quote(struct buf *out, struct span text);

enum meta_number {
    META_NUMBER_NONE, /* none begins here */
    META_NUMBER_INT,
    META_NUMBER_REAL,
    META_NUMBER_TOO_LONG,
    META_NUMBER_TOO_LARGE /* for a double */
};

/* Reads the number of JSON's grammar that text begins with; *len is its length,
 * and the value is in *i or *d. */
enum meta_number meta_text_number(struct span text, size_t *len, int64_t *i,
                                  double *d);

void meta_text_put_int(struct buf *out, int64_t i);

/* The shortest of 15 to 17 digits that is read as d again, with a point or an
 * exponent so that it stays a double. d is finite. */
void meta_text_put_real(struct buf *out, double d);

#endif
