/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/base64.h - how JSON carries bytes that are not UTF-8 (RFC 4648 with
 * padding). */

#ifndef CLI_BASE64_H
#define CLI_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* A string that the caller frees, or NULL: no memory. */
char *base64_encode(const void *data, size_t len);

/* Decodes in place, since the result is shorter. False if text is not base64;
 * data is then spoilt. */
bool base64_decode(char *data, size_t *len);

#endif
