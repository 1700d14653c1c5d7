/* SPDX-License-Identifier: Apache-2.0 */

/* placement/md5.h - MD5 (RFC 1321), for rings that must agree with others.
 *
 * For compatibility, not for security: collisions are made in seconds. It is
 * twenty times slower than hash64 and spreads no better. */

#ifndef PLACEMENT_MD5_H
#define PLACEMENT_MD5_H

#include <stdint.h>

#include "base/span.h"

enum {
    MD5_SIZE = 16
};

void md5_digest(struct span bytes, uint8_t digest[MD5_SIZE]);

/* The first 8 bytes of the digest, the first of them the highest: the first
 * 16 digits of what md5sum prints. */
uint64_t md5_64(struct span bytes);

#endif
