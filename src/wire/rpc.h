/* SPDX-License-Identifier: Apache-2.0 */

/* wire/rpc.h - MessagePack-RPC, the door for any language.
 *
 * Request [0, id, method, params], response [1, id, error, result],
 * notification [2, method, params]. Methods carry the names of the CLI's
 * verbs; docs/protocol.md has their schemas. Parsed in place: only the records
 * of a `batch` given as an array of pairs, and the documents of admin methods,
 * are copied, into scratch.
 *
 * Where things go in a request: the address of leave and the first key of a
 * page of ring into key; the options of an admin method into the document in
 * value, with the name that keyspace_... are given as "name", the map that
 * keyspace_set is given as "options", the keys of presplit as "keys", what
 * model is to do as "action"; so are the "vector" and "meta" of vector_put, and
 * the "vector" of search beside its options. */

#ifndef WIRE_RPC_H
#define WIRE_RPC_H

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "wire/message.h"

struct rpc_call {
    uint32_t id;
    bool wants_answer;      /* false: a notification */
    struct request request; /* list, or an admin value, may lie in scratch */
};

/* Unpacks one whole request or notification (see mp_whole). scratch is reset;
 * spans point into input or scratch, until either changes.
 *   DLHT_EPROTO   not MessagePack-RPC at all: close the connection
 *   DLHT_EINVAL   a request that cannot be served; *text says why, call->id
 *                 is set so that it can be answered
 *   DLHT_ENOMEM   likewise */
MUST_USE int rpc_unpack(struct span input, struct buf *scratch,
                        struct rpc_call *call, const char **text);

/* Appends the response to call, whatever its outcome; nothing to a
 * notification. An answer that does not hold together (a list cut short, a
 * document that is not MessagePack) is answered as DLHT_EPROTO. DLHT_ENOMEM:
 * out is as before. */
MUST_USE int rpc_pack_response(const struct rpc_call *call,
                               const struct response *response,
                               struct buf *out);

#endif
