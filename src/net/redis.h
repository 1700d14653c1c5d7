/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis.h - who comes in speaking the Redis protocol.
 *
 * All requests of one read go into the node one after the other, the answers
 * leave in the order of the commands, one write a connection and turn. A
 * command that names a key which an unfinished one of the same connection
 * changes waits for that one, so a connection sees its own writes. What Redis
 * does in one step and the node in two (read, then store if nobody changed it)
 * is a transaction here, see net/redis_txn.h.
 *
 * Bounds are those of net/door.h, and commands of one connection in one turn.
 * Everything happens inside loop_turn, redis_reply, redis_resume and
 * redis_sweep; the request call is never made from inside redis_reply. */

#ifndef NET_REDIS_H
#define NET_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "net/loop.h"
#include "node/spot.h"
#include "wire/message.h"

struct redis;

enum {
    REDIS_DBS_MAX = 16,
    REDIS_COMMANDS_PER_TURN = 1024, /* of one connection */
    REDIS_IN_FLIGHT_MAX = 1024      /* of one connection */
};

/* Tickets of this door have it set, those of net/door.h have not. */
#define REDIS_TICKET_MARK (UINT64_C(1) << 31)

static inline bool redis_owns(uint64_t ticket)
{
    return ticket & REDIS_TICKET_MARK;
}

struct redis_calls {
    void *context;
    uint64_t (*now)(void *context); /* ns; asked once after each read */
    uint64_t (*wall_us)(void *context);
    /* As spot_find_keys, spot_answer and spot_write of node/spot.h. */
    void (*find)(void *context, struct span keyspace, const struct span *keys,
                 size_t count, struct spot *spots);
    bool (*at_spot)(void *context, const struct spot *spot, uint8_t op,
                    struct span value, struct response *out);
    bool (*write)(void *context, const struct spot *spot,
                  const struct request *request);
    /* To be answered by redis_reply with this ticket exactly once, perhaps
     * before it returns. */
    void (*request)(void *context, uint64_t ticket,
                    const struct request *request);
    void (*hello)(void *context, struct hello *ours);
    void (*log)(void *context, const char *text);
    uint64_t (*memory)(void *context); /* bytes of this process */
};

struct redis_config {
    const char *addr; /* as bound, HOST:PORT */
    int listen_fd;
    size_t callers_max;
    uint16_t node_port; /* at which this node serves peers */
    bool ask;           /* send clients to owners by ASK */
    uint64_t seed;
    /* Keyspace of each SELECT number; NULL: there is none. Copied. */
    const char *dbs[REDIS_DBS_MAX];
    struct redis_calls calls;
};

/* Takes over the listening descriptor.
 *   DLHT_ENOMEM  it stays the caller's */
MUST_USE int redis_new(struct loop *loop, const struct redis_config *config,
                       struct redis **out);
void redis_free(struct redis *redis); /* NULL is allowed */

void redis_reply(struct redis *redis, uint64_t ticket,
                 const struct response *response);

/* As in net/door.h. */
void redis_flush(struct redis *redis);
bool redis_can_resume(const struct redis *redis);
bool redis_resume(struct redis *redis);
void redis_sweep(struct redis *redis, uint64_t now_ns);
void redis_shut(struct redis *redis);
size_t redis_callers(const struct redis *redis);
size_t redis_unsent(const struct redis *redis);

#endif
