/* SPDX-License-Identifier: Apache-2.0 */

/* Sentences about texts that were refused. */

#include "vector/meta_error.h"

#include <stdio.h>

/* Cut between characters; bytes that are no text become a question mark. */
static void show(struct span found, char out[META_ERROR_FOUND_MAX + 4])
{
    size_t n = 0;
    bool cut = found.len > META_ERROR_FOUND_MAX;
    size_t len = cut ? META_ERROR_FOUND_MAX : found.len;
    while (cut && len > 0 && (found.data[len] & 0xc0) == 0x80)
        len--;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = found.data[i];
        bool odd = c < 0x20 || c == 0x7f || c >= 0xf8;
        out[n] = '?';
        if (!odd)
            out[n] = (char)c;
        n++;
    }
    for (int i = 0; cut && i < 3; i++)
        out[n++] = '.';
    out[n] = 0;
}

void meta_error_say(struct meta_error *error, size_t at, const char *what,
                    const char *right)
{
    if (!error)
        return;
    error->at = at;
    snprintf(error->text, sizeof error->text, "position %zu: %.*s, %.*s",
             at + 1, META_ERROR_FOUND_MAX + 20, what, META_ERROR_RIGHT_MAX,
             right);
}

void meta_error_found(struct meta_error *error, size_t at, struct span found,
                      const char *right)
{
    char shown[META_ERROR_FOUND_MAX + 4];
    char what[META_ERROR_FOUND_MAX + 20];
    if (!error)
        return;
    show(found, shown);
    if (found.len)
        snprintf(what, sizeof what, "found '%s'", shown);
    else
        snprintf(what, sizeof what, "found the end");
    meta_error_say(error, at, what, right);
}
