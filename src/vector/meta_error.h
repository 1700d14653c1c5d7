/* SPDX-License-Identifier: Apache-2.0 */

/* vector/meta_error.h - why a text of a user was refused.
 *
 * One sentence that says where, what was found, and what would be right:
 *
 *     position 7: found '==', '=' would be right
 *
 * What is found is cut to some characters, so that the sentence stays short
 * whatever the text was. */

#ifndef VECTOR_META_ERROR_H
#define VECTOR_META_ERROR_H

#include <stddef.h>

#include "base/span.h"

enum {
    META_ERROR_MAX = 240,      /* bytes of the sentence, its end included */
    META_ERROR_FOUND_MAX = 40, /* bytes of the text that it shows */
    META_ERROR_RIGHT_MAX = 120 /* bytes of what would be right */
};

struct meta_error {
    size_t at; /* the byte of the text, from 0 */
    char text[META_ERROR_MAX];
};

/* found is shown between quotes; right follows as it stands. error may be
 * NULL. */
void meta_error_found(struct meta_error *error, size_t at, struct span found,
                      const char *right);

/* "position N: what, right". */
void meta_error_say(struct meta_error *error, size_t at, const char *what,
                    const char *right);

#endif
