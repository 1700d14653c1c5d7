/* SPDX-License-Identifier: Apache-2.0 */

/* wire/rpc.h - MessagePack-RPC, the door for any language.
 *
 * Request [0, id, method, params], response [1, id, error, result],
 * notification [2, method, params]. Methods and schemas: docs/protocol.md. */

#ifndef WIRE_RPC_H
#define WIRE_RPC_H

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "wire/message.h"

struct rpc_call {
    uint32_t id;
    bool wants_answer;      /* false: a notification */
    struct request request; /* list is packed into scratch where params are an
                             * array */
};

/* Unpacks one whole request or notification (see mp_whole). Spans point into
 * input or scratch.
 *   DLHT_EPROTO   not MessagePack-RPC at all: close the connection
 *   DLHT_EINVAL   a request that cannot be served; *text says why, call->id
 *                 is set so that it can be answered
 *   DLHT_ENOMEM */
MUST_USE int rpc_unpack(struct span input, struct buf *scratch,
                        struct rpc_call *call, const char **text);

/* Appends the response to call, whatever its outcome. DLHT_ENOMEM: out is as
 * before. */
MUST_USE int rpc_pack_response(const struct rpc_call *call,
                               const struct response *response,
                               struct buf *out);

#endif
