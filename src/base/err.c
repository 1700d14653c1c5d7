/* SPDX-License-Identifier: Apache-2.0 */

/* Texts and names of the error codes. */

#include "dlht/err.h"

const char *dlht_strerror(int code)
{
    switch (code) {
#define ERR_TEXT(name, number, text)                                           \
    case number:                                                               \
        return text;
        DLHT_ERRORS(ERR_TEXT)
#undef ERR_TEXT
    default:
        return "unknown error";
    }
}

const char *dlht_errname(int code)
{
    switch (code) {
#define ERR_NAME(name, number, text)                                           \
    case number:                                                               \
        return #name;
        DLHT_ERRORS(ERR_NAME)
#undef ERR_NAME
    default:
        return "E?";
    }
}
