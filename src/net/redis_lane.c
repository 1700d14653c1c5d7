/* SPDX-License-Identifier: Apache-2.0 */

/* The usual commands about one key, some of a read at a time: their records are
 * found together, so that the waits for memory overlap, and what can be done
 * with them here is done at once. All else goes the long way (redis.c), with
 * its records brought in. */

#include "dlht/err.h"
#include "net/door.h"
#include "net/redis_multi.h"
#include "net/redis_state.h"
#include "node/spot.h"

enum lane_kind {
    LANE_GET,
    LANE_SET,
    LANE_DEL,
    LANE_UNLINK,
    LANE_EXISTS,
    LANE_NONE
};

_Static_assert((int)LANE_NONE == (int)REDIS_LANE_COMMANDS, "one of each");

static const struct {
    const char *name;
    size_t words;
} lane_commands[] = { [LANE_GET] = { "get", 2 },
                      [LANE_SET] = { "set", 3 },
                      [LANE_DEL] = { "del", 2 },
                      [LANE_UNLINK] = { "unlink", 2 },
                      [LANE_EXISTS] = { "exists", 2 } };

void redis_lane_init(struct redis *redis)
{
    for (int i = 0; i < LANE_NONE; i++)
        redis->lane[i] =
            redis_command_find(redis, span_str(lane_commands[i].name));
}

static enum lane_kind kind_of(const struct resp_plain *plain)
{
    for (int i = 0; i < LANE_NONE; i++)
        if (plain->count == lane_commands[i].words &&
            resp_is(plain->words[0], lane_commands[i].name))
            return (enum lane_kind)i;
    return LANE_NONE;
}

/* Nothing is unfinished, and answers are wanted, in order, now. */
static bool is_open(const struct redis_client *client)
{
    return client->slot_first == client->slot_next &&
           !redis_multi_is_active(client) && !client->asking &&
           !client->reply_off && !client->reply_skip &&
           !client->reply_skip_next;
}

static void write_value(struct conn *conn, struct span value)
{
    if (value.len < CONN_LARGE) {
        resp_write_bulk(&conn->out, value);
        return;
    }
    resp_write_bulk_head(&conn->out, value.len);
    conn_append_large(conn, value, span_str("\r\n"));
}

static void write_found(struct redis_client *client, enum lane_kind kind,
                        const struct response *response)
{
    struct buf *out = &client->conn.out;
    bool found = response->status == DLHT_OK;
    if (kind == LANE_SET) {
        buf_append(out, "+OK\r\n", 5);
    } else if (kind != LANE_GET) {
        buf_append(out, found ? ":1\r\n" : ":0\r\n", 4);
    } else if (found) {
        client->redis->stats.hits++;
        write_value(&client->conn, response->value);
    } else {
        client->redis->stats.misses++;
        resp_write_null(out, client->resp3);
    }
}

/* False: it goes the long way. */
static bool run(struct redis_client *client, const struct resp_plain *plain,
                const struct spot *spot)
{
    static const uint8_t OPS[] = { [LANE_GET] = OP_GET,
                                   [LANE_SET] = OP_PUT,
                                   [LANE_DEL] = OP_DEL,
                                   [LANE_UNLINK] = OP_DEL,
                                   [LANE_EXISTS] = OP_GET };
    struct redis *redis = client->redis;
    enum lane_kind kind = kind_of(plain);
    struct span value = kind == LANE_SET ? plain->words[2] : span_empty();
    struct response response;
    if (kind == LANE_NONE || !redis->calls.at_spot(redis->calls.context, spot,
                                                   OPS[kind], value, &response))
        return false;
    write_found(client, kind, &response);
    redis->calls_of[redis_command_index(redis->lane[kind])]++;
    client->last = redis->lane[kind];
    return true;
}

/* How many of them are done. */
static size_t run_all(struct redis_client *client,
                      const struct resp_plain *list, const struct spot *spots,
                      size_t count)
{
    size_t done = 0, before = conn_unsent(&client->conn);
    while (done < count && conn_unsent(&client->conn) <= DOOR_UNSENT_PAUSE &&
           run(client, &list[done], &spots[done]))
        done++;
    if (done == 0)
        return 0;
    client->redis->stats.commands += done;
    client->redis->unsent += conn_unsent(&client->conn) - before;
    if (client->conn.out.failed)
        redis_client_break(client, "no memory for an answer: closed");
    redis_client_dirty(client);
    return done;
}

/* The commands at the front, as far as they are all usual, or none is. */
static size_t peek_alike(struct span input, struct resp_plain *list,
                         size_t most)
{
    size_t count = 0, at = 0;
    bool usual = false;
    while (count < most &&
           resp_peek(span_tail(input, at), &list[count], 1) == 1) {
        bool is = kind_of(&list[count]) != LANE_NONE;
        if (count == 0)
            usual = is;
        else if (is != usual)
            break;
        at += list[count].end;
        list[count++].end = at;
    }
    return count;
}

size_t redis_lane_take(struct redis_client *client, struct span input,
                       size_t most, size_t *ahead)
{
    struct redis *redis = client->redis;
    struct resp_plain list[SPOTS_MAX];
    struct span keys[SPOTS_MAX];
    struct spot spots[SPOTS_MAX];
    size_t count = peek_alike(input, list, most < SPOTS_MAX ? most : SPOTS_MAX);
    bool open = is_open(client);
    *ahead = 1;
    if (count == 0 || (count == 1 && !open))
        return 0;
    for (size_t i = 0; i < count; i++)
        keys[i] = list[i].words[1];
    redis->calls.find(redis->calls.context, redis_db_name(redis, client->db),
                      keys, count, spots);
    size_t done = open ? run_all(client, list, spots, count) : 0;
    client->turn_count += (uint32_t)done;
    *ahead = count - done;
    return done ? list[done - 1].end : 0;
}
