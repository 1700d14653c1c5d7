/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_vector.h - putting and getting vectors, and what a node knows of a
 * collection. A vector is a record in the form of vector/vector_record.h; the
 * entry node makes that of what is put, and checks what others put into a
 * collection's keyspace. */

#ifndef NODE_OP_VECTOR_H
#define NODE_OP_VECTOR_H

#include "node/node_state.h"
#include "wire/mp.h"

/* Whether what the request writes may stand in the keyspace, and whether a
 * request for vectors finds a collection; false: answered. */
bool op_vector_allows(struct node *node, const struct request *request,
                      const struct keyspace *ks, const struct origin *origin);

void op_vector_put_begin(struct node *node, const struct request *request,
                         const struct keyspace *ks,
                         const struct origin *origin);
void op_vector_get_begin(struct node *node, const struct request *request,
                         const struct keyspace *ks,
                         const struct origin *origin);
/* OP_VECTORS */
void op_vectors_begin(struct node *node, const struct request *request,
                      const struct keyspace *ks, const struct origin *origin);

/* A vector as documents have it: bytes of little-endian float32, or an array of
 * numbers. NULL: dim of them are in out; else what is wrong, as long as the
 * step. */
const char *op_vector_read(struct node *node, struct mp_reader *r,
                           const struct keyspace *ks, float *out);

#endif
