/* SPDX-License-Identifier: Apache-2.0 */

/* wire/rpc_vector.h - the params and results of RPC methods that only vectors
 * have. */

#ifndef WIRE_RPC_VECTOR_H
#define WIRE_RPC_VECTOR_H

#include "base/buf.h"
#include "base/must_use.h"
#include "wire/message.h"
#include "wire/mp.h"

enum {
    RPC_VECTOR_DIM_MAX = 16384,
    RPC_VECTOR_META_MAX = 262144 /* bytes of JSON */
};

/* Passes over a vector: bin of floats, or an array of numbers. NULL, or what
 * is wrong with it; the reader is bad then. */
const char *rpc_vector_skip(struct mp_reader *r);

/* The same for metadata: str, or nil. */
const char *rpc_vector_skip_meta(struct mp_reader *r);

/* [map of vector and meta, version], from an answer to OP_VECTOR_GET. False if
 * it does not hold together; so below. */
MUST_USE bool rpc_vector_write_got(struct buf *b, const struct response *s);

/* [hits, summary], a hit [id, distance, meta, vector, version], from an answer
 * to OP_SEARCH. */
MUST_USE bool rpc_vector_write_hits(struct buf *b, const struct response *s);

#endif
