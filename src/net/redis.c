/* SPDX-License-Identifier: Apache-2.0 */

/* Accepted connections of Redis clients: input, turns, bounds. */

#include "net/redis.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "net/addr.h"
#include "net/door.h"
#include "net/redis_cluster.h"
#include "net/redis_multi.h"
#include "net/redis_state.h"
#include "net/redis_txn.h"

enum {
    REDIS_ACCEPTS_PER_TURN = 64,
    REDIS_LOGS_PER_SWEEP = 10,
    REDIS_REPLY_GUESS = DOOR_UNSENT_PAUSE / 64
};

static const uint64_t REDIS_SECOND_NS = 1000000000;

static void redis_log(struct redis *redis, const char *text)
{
    if (redis->logs_left == 0)
        return;
    redis->logs_left--;
    redis->calls.log(redis->calls.context, text);
}

void redis_client_dirty(struct redis_client *client)
{
    struct redis *redis = client->redis;
    if (client->dirty)
        return;
    client->dirty = true;
    client->next_dirty = redis->dirty;
    redis->dirty = client->seat + 1;
}

void redis_client_break(struct redis_client *client, const char *why)
{
    if (!client->broken && why)
        redis_log(client->redis, why);
    client->broken = true;
    redis_client_dirty(client);
}

void redis_client_may_go_on(struct redis_client *client)
{
    if (client->stalled)
        client->redis->may_resume = true;
}

struct span redis_db_name(const struct redis *redis, uint8_t db)
{
    return span_of(redis->dbs[db].name, redis->dbs[db].name_len);
}

static void client_free(struct redis_client *client)
{
    struct redis *redis = client->redis;
    struct redis_seat *seat = &redis->seats[client->seat];
    assert(seat->client == client);
    redis->stalled -= client->stalled;
    redis->held -= conn_held(&client->conn);
    conn_close(&client->conn);
    for (uint64_t i = client->slot_first; i < client->slot_next; i++)
        buf_deinit(&client->slots[i & (client->slot_cap - 1)].out);
    free(client->slots);
    free(client->keys);
    redis_multi_forget(client);
    seat->client = NULL;
    seat->generation++;
    seat->next_free = redis->seat_free;
    redis->seat_free = client->seat + 1;
    redis->clients--;
    free(client);
}

/* Input. */

static bool client_has_room(const struct redis_client *client)
{
    size_t window = DOOR_UNSENT_PAUSE / (client->reply_bytes + 1);
    if (window > REDIS_IN_FLIGHT_MAX)
        window = REDIS_IN_FLIGHT_MAX;
    if (window == 0)
        window = 1;
    return client->slot_next - client->slot_first < window &&
           conn_unsent(&client->conn) <= DOOR_UNSENT_PAUSE;
}

/* Writes an answer that is there at once. */
static void answer_now(struct redis_call *call, redis_run_fn run)
{
    struct redis_client *client = call->client;
    struct redis_to to;
    if (client->slot_first == client->slot_next && !client->reply_off &&
        !client->reply_skip) {
        call->out = &client->conn.out;
        size_t before = call->out->len;
        run(call);
        call->redis->unsent += client->conn.out.len - before;
        if (conn_unsent(&client->conn) > DOOR_UNSENT_MAX)
            redis_client_break(client, "takes none of its answers: closed");
        redis_client_dirty(client);
        return;
    }
    if (!redis_promise(client, &to))
        return;
    call->out = redis_begin(call->redis, &to);
    run(call);
    redis_end(call->redis, &to);
}

static void run_unknown(struct redis_call *call)
{
    redis_write_unknown(call->out, call->args, call->count);
}

static void run_arity(struct redis_call *call)
{
    redis_write_arity(call->out, call->command);
}

static void run_queued(struct redis_call *call)
{
    resp_write(call->out, "+QUEUED\r\n");
}

static void run_not_in_multi(struct redis_call *call)
{
    char line[128];
    snprintf(line, sizeof line,
             "ERR Command '%s' not allowed inside a transaction",
             call->command->name);
    resp_write_error(call->out, span_str(line));
}

static bool must_wait(const struct redis_call *call)
{
    const struct redis_client *client = call->client;
    if (client->slot_first == client->slot_next)
        return false;
    if (client->alone || (call->command->flags & REDIS_ALONE))
        return true;
    return !redis_keys_free(call);
}

static void start(struct redis_call *call)
{
    struct redis_client *client = call->client;
    uint64_t number = client->slot_next;
    if (call->redis->ask && redis_cluster_takes(call))
        assert(client->broken || client->slot_next > number);
    else if (call->command->start)
        call->command->start(call);
    else
        redis_txn_start(call);
    if (client->slot_next > number) {
        struct redis_slot *slot =
            &client->slots[number & (client->slot_cap - 1)];
        if (!slot->done && number >= client->slot_first &&
            (call->command->flags & REDIS_ALONE)) {
            slot->alone = true;
            client->alone = true;
        }
        redis_keys_note(call, number);
    }
}

static bool has_txn_run(const struct redis_command *command)
{
    return command->first_key > 0;
}

bool redis_take(struct redis_call *call)
{
    struct redis_client *client = call->client;
    const struct redis_command *command =
        redis_command_find(call->redis, call->args[0]);
    call->command = command;
    if (!command) {
        redis_multi_spoil(client);
        answer_now(call, run_unknown);
        return true;
    }
    if (!redis_check_arity(call)) {
        redis_multi_spoil(client);
        answer_now(call, run_arity);
        return true;
    }
    if (must_wait(call))
        return false;
    call->redis->calls_of[redis_command_index(command)]++;
    client->last = command;
    if (redis_multi_takes(call)) {
        answer_now(call, command->run ? run_queued : run_not_in_multi);
        return true;
    }
    if (command->start || has_txn_run(command))
        start(call);
    else
        answer_now(call, command->run);
    return true;
}

static void write_protocol_error(struct redis_call *call)
{
    char line[RESP_ERROR_MAX + 8];
    snprintf(line, sizeof line, "ERR %s", call->redis->args.error);
    resp_write_error(call->out, span_str(line));
}

/* One command from the front; 0: it is not whole, or must wait. */
static size_t client_take_one(struct redis_client *client, struct span input)
{
    struct redis *redis = client->redis;
    struct redis_call call = { .redis = redis,
                               .client = client,
                               .db = client->db,
                               .resp3 = client->resp3 };
    size_t used = 0;
    enum resp_result rc = resp_parse(&client->scan, input, &redis->args, &used);
    if (rc == RESP_MORE)
        return 0;
    if (rc == RESP_BAD) {
        client->leaving = true;
        answer_now(&call, write_protocol_error);
        return input.len;
    }
    if (rc == RESP_NO_MEMORY) {
        redis_client_break(client, "no memory for a request: closed");
        return input.len;
    }
    call.args = redis->args.list;
    call.count = redis->args.count;
    if (call.count == 0)
        return used;
    if (!redis_take(&call)) {
        client->stalled = true;
        return 0;
    }
    redis->stats.commands++;
    client->reply_skip = client->reply_skip_next;
    client->reply_skip_next = false;
    redis_run_ready(redis);
    return used;
}

static size_t client_take(void *context, struct span input)
{
    struct redis_client *client = context;
    struct redis *redis = client->redis;
    size_t used = 0;
    redis->now_ns = redis->calls.now(redis->calls.context);
    client->used_ns = redis->now_ns;
    if (client->turn != redis->turn) {
        client->turn = redis->turn;
        client->turn_count = 0;
    }
    bool was_stalled = client->stalled;
    size_t ahead = 0; /* commands that were looked ahead at */
    while (used < input.len && !client->leaving && !client->broken) {
        if (!client_has_room(client) ||
            client->turn_count >= REDIS_COMMANDS_PER_TURN) {
            client->stalled = true;
            redis_client_may_go_on(client);
            break;
        }
        struct span rest = span_tail(input, used);
        if (ahead == 0 && client->scan.at == 0) {
            size_t most = REDIS_COMMANDS_PER_TURN - client->turn_count;
            size_t n = redis_lane_take(client, rest, most, &ahead);
            used += n;
            if (n > 0)
                continue;
        }
        ahead -= ahead > 0;
        size_t n = client_take_one(client, rest);
        if (n == 0 || client->broken)
            break;
        client->turn_count++;
        used += n;
    }
    redis->stalled += client->stalled && !was_stalled;
    if (client->broken || client->leaving)
        return input.len;
    if (used == input.len)
        client->since_ns = 0;
    else if (used || client->since_ns == 0)
        client->since_ns = redis->now_ns;
    return used;
}

static void client_note_held(struct redis_client *client, size_t before)
{
    client->redis->held += conn_held(&client->conn) - before;
}

static void client_pause_or_go_on(struct redis_client *client)
{
    bool on = !client->stalled && !client->leaving;
    if (conn_listen(&client->conn, on) != DLHT_OK)
        redis_client_break(client, "no memory for a connection: closed");
}

static void client_on_ready(void *context, bool readable, bool writable)
{
    struct redis_client *client = context;
    if (client->broken)
        return;
    if (writable) {
        if (conn_write_on(&client->conn) != DLHT_OK)
            redis_client_break(client, NULL);
        redis_client_may_go_on(client);
        if (client->leaving)
            redis_client_dirty(client);
    }
    if (!readable || client->broken)
        return;
    size_t held = conn_held(&client->conn);
    int rc = conn_read(&client->conn, client_take, client);
    client_note_held(client, held);
    if (rc != DLHT_OK)
        redis_client_break(client, NULL);
    else if (client->stalled || client->leaving)
        client_pause_or_go_on(client);
}

bool redis_can_resume(const struct redis *redis)
{
    return redis->ready_first || redis->slow_first ||
           (redis->may_resume && redis->stalled > 0);
}

static void client_resume(struct redis_client *client)
{
    struct redis *redis = client->redis;
    client->stalled = false;
    redis->stalled--;
    size_t held = conn_held(&client->conn);
    conn_take_held(&client->conn, client_take, client);
    client_note_held(client, held);
    if (!client->broken)
        client_pause_or_go_on(client);
}

bool redis_resume(struct redis *redis)
{
    bool ran = redis->ready_first != NULL;
    redis_run_ready(redis);
    ran = redis_run_slow(redis) || ran;
    redis_run_ready(redis);
    if (redis->stalled == 0 || !redis->may_resume)
        return ran;
    redis->may_resume = false;
    for (size_t i = 0; i < redis->seat_count; i++) {
        struct redis_client *client = redis->seats[i].client;
        if (!client || !client->stalled || client->broken)
            continue;
        if (client->turn == redis->turn &&
            client->turn_count >= REDIS_COMMANDS_PER_TURN)
            redis->may_resume = true;
        else if (client_has_room(client))
            client_resume(client);
    }
    return true;
}

/* Coming and going. */

static void client_adopt(struct redis *redis, int fd)
{
    struct redis_client *client =
        redis->clients < redis->seat_max ? mem_zero(1, sizeof *client) : NULL;
    if (!client) {
        static const char full[] = "-ERR max number of clients reached\r\n";
        (void)!write(fd, full, sizeof full - 1);
        close(fd);
        redis->stats.refused++;
        redis_log(redis, "too many connections: one was turned away");
        return;
    }
    client->redis = redis;
    client->reply_bytes = REDIS_REPLY_GUESS;
    client->born_ns = client->used_ns = redis->calls.now(redis->calls.context);
    client->turn = redis->turn;
    addr_of_peer(fd, client->addr);
    conn_init(&client->conn);
    if (conn_open(&client->conn, redis->loop, fd, client_on_ready, client) !=
        DLHT_OK) {
        free(client);
        return;
    }
    uint32_t index;
    if (redis->seat_free) {
        index = redis->seat_free - 1;
        redis->seat_free = redis->seats[index].next_free;
    } else {
        index = (uint32_t)redis->seat_count++;
    }
    client->seat = index;
    client->id = ++redis->next_id;
    redis->seats[index].client = client;
    redis->clients++;
    redis->stats.connections++;
}

static void turn_away(struct redis *redis)
{
    redis_log(redis, "no file descriptor left: a connection was turned away");
    if (redis->spare_fd == -1)
        return;
    close(redis->spare_fd);
    int fd;
    if (addr_accept(redis->addr, redis->listen_fd, &fd) == DLHT_OK)
        close(fd);
    redis->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listener(void *context, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    struct redis *redis = context;
    for (int i = 0; i < REDIS_ACCEPTS_PER_TURN; i++) {
        int fd;
        int rc = addr_accept(redis->addr, redis->listen_fd, &fd);
        if (rc == DLHT_EFULL)
            turn_away(redis);
        if (rc != DLHT_OK)
            return;
        client_adopt(redis, fd);
    }
}

static void take_config(struct redis *redis, const struct redis_config *config)
{
    redis->calls = config->calls;
    redis->node_port = config->node_port;
    redis->ask = config->ask;
    redis->listen_fd = config->listen_fd;
    redis->seat_max = config->callers_max;
    redis->logs_left = REDIS_LOGS_PER_SWEEP;
    for (size_t i = 0; i < REDIS_DBS_MAX; i++)
        redis->dbs[i].is_cache = false; /* it may be made anew as another */
    redis->turn = 1;
    rng_init(&redis->rng, config->seed);
    redis->seed = rng_next(&redis->rng);
    strncpy(redis->addr, config->addr, sizeof redis->addr - 1);
    for (int i = 0; i < REDIS_DBS_MAX; i++) {
        if (config->dbs[i])
            strncpy(redis->dbs[i].name, config->dbs[i],
                    sizeof redis->dbs[i].name - 1);
        redis->dbs[i].name_len = strlen(redis->dbs[i].name);
    }
    redis->born_ns = redis->now_ns = redis->calls.now(redis->calls.context);
}

int redis_new(struct loop *loop, const struct redis_config *config,
              struct redis **out)
{
    *out = NULL;
    struct redis *redis = mem_zero(1, sizeof *redis);
    if (!redis)
        return DLHT_ENOMEM;
    redis->loop = loop;
    redis->spare_fd = -1;
    take_config(redis, config);
    redis_commands_init(redis);
    redis_lane_init(redis);
    redis->seats = mem_zero(redis->seat_max, sizeof *redis->seats);
    redis->hot = mem_zero(REDIS_TXN_HOT, sizeof *redis->hot);
    if (!redis->seats || !redis->hot || !redis_txn_now_init(redis) ||
        redis_scans_new(redis->seed, &redis->scans) != DLHT_OK ||
        !loop_watch_init(loop, &redis->watch, redis->listen_fd, on_listener,
                         redis) ||
        !loop_watch_set(&redis->watch, true, false)) {
        loop_watch_end(&redis->watch);
        redis_scans_free(redis->scans);
        redis_txn_now_deinit(redis);
        free(redis->hot);
        free(redis->seats);
        free(redis);
        return DLHT_ENOMEM;
    }
    redis->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *out = redis;
    return DLHT_OK;
}

void redis_shut(struct redis *redis)
{
    if (redis->shut)
        return;
    redis->shut = true;
    loop_watch_end(&redis->watch);
    addr_unlisten(redis->addr, redis->listen_fd);
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    redis_shut(redis);
    for (size_t i = 0; i < redis->seat_count; i++)
        if (redis->seats[i].client)
            client_free(redis->seats[i].client);
    while (redis->jobs) {
        redis->jobs->ready = false;
        redis_job_end(redis, redis->jobs);
    }
    if (redis->spare_fd != -1)
        close(redis->spare_fd);
    redis_scans_free(redis->scans);
    redis_txn_now_deinit(redis);
    resp_args_deinit(&redis->args);
    buf_deinit(&redis->scratch);
    free(redis->hot);
    free(redis->tickets);
    free(redis->seats);
    free(redis);
}

static void client_flush(struct redis_client *client)
{
    if (client->conn.out.failed)
        client->broken = true;
    if (!client->broken && conn_write(&client->conn) != DLHT_OK)
        client->broken = true;
    bool idle = client->slot_first == client->slot_next;
    if (client->broken ||
        (client->leaving && idle && conn_unsent(&client->conn) == 0)) {
        client_free(client);
        return;
    }
    if (client->stalled && client_has_room(client))
        client->redis->may_resume = true;
}

/* Who has the most unsent gives way when all have too much. */
static void bound_unsent(struct redis *redis)
{
    struct redis_client *most = NULL;
    size_t sum = redis_unsent(redis);
    redis->unsent = sum;
    if (sum <= DOOR_UNSENT_ALL_MAX)
        return;
    for (size_t i = 0; i < redis->seat_count; i++) {
        struct redis_client *client = redis->seats[i].client;
        if (client && !client->broken &&
            (!most || conn_unsent(&client->conn) > conn_unsent(&most->conn)))
            most = client;
    }
    if (most)
        redis_client_break(most, "answers that nobody takes fill the memory "
                                 "for them: who had most was closed");
}

void redis_flush(struct redis *redis)
{
    redis->turn++;
    if (redis->unsent > DOOR_UNSENT_ALL_MAX)
        bound_unsent(redis);
    while (redis->dirty) {
        struct redis_client *client = redis->seats[redis->dirty - 1].client;
        assert(client && client->dirty);
        redis->dirty = client->next_dirty;
        client->dirty = false;
        client_flush(client);
    }
}

static size_t client_held(const struct redis_client *client)
{
    return conn_held(&client->conn) + redis_multi_held(client);
}

static void bound_held(struct redis *redis)
{
    struct redis_client *most = NULL;
    for (size_t i = 0; i < redis->seat_count; i++) {
        struct redis_client *client = redis->seats[i].client;
        if (client && !client->broken &&
            (!most || client_held(client) > client_held(most)))
            most = client;
    }
    if (most)
        redis_client_break(most, "incomplete requests fill the memory for "
                                 "them: the largest was closed");
}

static bool takes_nothing(struct redis_client *client, uint64_t now_ns)
{
    const struct conn *conn = &client->conn;
    if (conn_unsent(conn) == 0 || conn->sent != client->taken ||
        client->taken_ns == 0) {
        client->taken = conn->sent;
        client->taken_ns = now_ns;
    }
    return now_ns > client->taken_ns &&
           now_ns - client->taken_ns > DOOR_UNTAKEN_S * REDIS_SECOND_NS;
}

static bool is_slow(const struct redis_client *client, uint64_t now_ns)
{
    return client->since_ns && !client->stalled && now_ns > client->since_ns &&
           now_ns - client->since_ns > DOOR_PARTIAL_S * REDIS_SECOND_NS;
}

void redis_sweep(struct redis *redis, uint64_t now_ns)
{
    redis->logs_left = REDIS_LOGS_PER_SWEEP;
    for (size_t i = 0; i < redis->seat_count; i++) {
        struct redis_client *client = redis->seats[i].client;
        if (!client || client->broken)
            continue;
        if (is_slow(client, now_ns))
            redis_client_break(client, "half a request for too long: closed");
        else if (takes_nothing(client, now_ns))
            redis_client_break(client, "takes none of its answers: closed");
    }
    if (redis->held > DOOR_HELD_MAX)
        bound_held(redis);
    redis_flush(redis);
}

size_t redis_callers(const struct redis *redis)
{
    return redis->clients;
}

size_t redis_unsent(const struct redis *redis)
{
    size_t bytes = 0;
    for (size_t i = 0; i < redis->seat_count; i++)
        if (redis->seats[i].client)
            bytes += conn_unsent(&redis->seats[i].client->conn);
    return bytes;
}
