/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_state.h - the insides of the Redis door, for its own files only.
 *
 * redis.c: connections and input. redis_lane.c: usual commands about one key,
 * done at once. redis_slots.c: tickets, answers in order, which keys are in
 * use. redis_table.c: the commands and what is told of them. redis_record.c:
 * get, set, del and their like. redis_txn.c: read, run, store;
 * redis_txn_now.c: at once.
 * redis_string.c, redis_expire.c: what runs there. redis_multi.c: MULTI.
 * redis_walk.c: scans and ranges. redis_admin.c, redis_info.c: the server.
 * redis_cluster.c: CLUSTER. */

#ifndef NET_REDIS_STATE_H
#define NET_REDIS_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"
#include "base/span.h"
#include "net/conn.h"
#include "net/redis.h"
#include "net/resp.h"

enum {
    REDIS_NAME_MAX = 64,
    REDIS_KEYS_OPEN_MAX = 256, /* of one connection, see redis_slots.c */
    REDIS_KEY_SLOTS = 1024,
    REDIS_NAMES = 512, /* a power of two, above twice the commands */
    REDIS_COMMANDS_MAX = 128,
    REDIS_LANE_COMMANDS = 5
};

struct redis_client;
struct redis_job;
struct redis_multi;
struct redis_txn;
struct redis_scans;

/* Where an answer goes: the client may be gone by then. */
struct redis_to {
    uint32_t seat;
    uint32_t generation;
    uint64_t number; /* of the command on its connection */
};

/* One command being run: words, and where its answer is written. */
struct redis_call {
    struct redis *redis;
    struct redis_client *client; /* NULL: gone, for what runs later */
    const struct redis_command *command;
    const struct span *args;
    size_t count;
    uint8_t db;
    bool resp3;
    struct buf *out;
    struct redis_txn *txn; /* what runs there reads and writes by it */
};

enum redis_command_flag {
    REDIS_WRITE = 1,
    REDIS_READ = 2, /* names keys and changes none */
    REDIS_FAST = 4, /* as told by COMMAND */
    REDIS_ADMIN = 8,
    REDIS_ALONE = 16,   /* when all before it is answered, and nothing beside */
    REDIS_IN_MULTI = 32 /* runs at once even in MULTI */
};

/* How a command runs, see struct redis_command. */
typedef void (*redis_run_fn)(struct redis_call *call);

struct redis_command {
    const char *name;
    int arity; /* with the name; negative: at least */
    uint16_t flags;
    int8_t first_key, last_key, key_step;
    /* Writes its answer to call->out at once. With keys: inside a
     * transaction, which is made for it where start is NULL. */
    redis_run_fn run;
    /* Asks the node; the answer comes later by redis_begin and redis_end.
     * Without run it cannot be in MULTI. */
    redis_run_fn start;
    const char *group;
    const char *since;
    const char *summary;
};

/* An answer that is not there yet, or that waits for one before it. */
struct redis_slot {
    struct buf out;
    bool done;
    bool mute; /* CLIENT REPLY */
    bool alone;
    uint8_t keyed; /* has keys in client->keys */
};

struct redis_client {
    struct redis *redis;
    struct conn conn;
    struct resp_scan scan;
    uint32_t seat;
    uint64_t id;
    char name[REDIS_NAME_MAX];
    char lib_name[REDIS_NAME_MAX];
    char lib_version[REDIS_NAME_MAX];
    char addr[PEER_ADDR_MAX];
    bool resp3;
    uint8_t db;
    bool asking;
    bool reply_off, reply_skip, reply_skip_next;
    struct redis_slot *slots; /* [number & (slot_cap - 1)] */
    uint32_t slot_cap;
    uint64_t slot_first; /* lowest open number */
    uint64_t slot_next;
    bool alone;     /* the last command wants nothing beside it */
    uint32_t *keys; /* of unfinished commands; NULL: never had any */
    uint32_t key_count;
    uint32_t keyed; /* slots that have keys there */
    struct redis_multi *multi;
    uint64_t since_ns; /* when the request now incomplete began; 0: none */
    uint64_t born_ns, used_ns;
    const struct redis_command *last;
    uint64_t taken, taken_ns;
    size_t reply_bytes;  /* of a typical answer, larger ones weigh more */
    size_t reply_at;     /* where the answer now written began */
    uint32_t turn_count; /* commands of this turn */
    uint64_t turn;
    bool stalled, broken, leaving, dirty;
    uint32_t next_dirty; /* seat + 1 */
};

struct redis_seat {
    struct redis_client *client; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* index + 1 */
};

/* How a node's answer becomes one of Redis. */
enum redis_answer {
    REDIS_ANSWER_VALUE = 1, /* bulk or null */
    REDIS_ANSWER_OK,
    REDIS_ANSWER_WAS_THERE, /* :1 or :0 */
    REDIS_ANSWER_STORED,    /* :1, or :0 if the version differs */
    REDIS_ANSWER_COUNT,
    REDIS_ANSWER_JOB /* to job->reply */
};

struct redis_ticket {
    struct redis_to to;
    struct redis_job *job;
    uint32_t part;
    uint32_t generation;
    uint32_t next_free; /* index + 1 */
    uint8_t answer;
    bool write;
    bool open;
};

/* Something that asks the node more than once. reply must not ask: it keeps
 * what it needs and calls redis_ready, so that step runs soon after. */
struct redis_job {
    void (*reply)(struct redis *redis, struct redis_job *job, uint32_t part,
                  const struct response *response);
    void (*step)(struct redis *redis, struct redis_job *job);
    void (*free)(struct redis_job *job);
    struct redis_job *next, *previous; /* of all */
    struct redis_job *next_ready;
    bool ready;
    bool slow; /* its steps are long: a few of them in one turn of the loop */
};

struct redis_db {
    char name[KEYSPACE_NAME_MAX + 1]; /* empty: no such number */
    size_t name_len;
    bool is_cache; /* as far as is known */
};

struct redis_stats {
    uint64_t connections, refused, commands, hits, misses, errors;
};

struct redis {
    struct loop *loop;
    struct redis_calls calls;
    char addr[PEER_ADDR_MAX];
    uint16_t node_port;
    bool ask;
    int listen_fd;
    int spare_fd;
    struct loop_watch watch;
    struct redis_seat *seats;
    size_t seat_count, seat_max;
    uint32_t seat_free;
    size_t clients;
    struct redis_ticket *tickets;
    size_t ticket_count, ticket_cap;
    uint32_t ticket_free;
    struct redis_db dbs[REDIS_DBS_MAX];
    struct redis_job *jobs;
    struct redis_job *ready_first, *ready_last;
    struct redis_job *slow_first, *slow_last; /* ready, too */
    uint64_t slow_turn;     /* in which they had their share; 0: none yet */
    unsigned depth;         /* inside calls.request */
    bool running;           /* steps of jobs */
    struct redis_txn **hot; /* by hash of key; redis_txn.c */
    struct redis_scans *scans;
    struct resp_args args;
    struct buf scratch;
    struct redis_txn *now; /* of redis_txn_now, with room for its key */
    struct buf now_out;
    struct rng rng;
    uint64_t seed; /* of tables that strangers fill */
    uint64_t next_id;
    uint64_t now_ns, born_ns;
    uint64_t turn;
    uint32_t dirty; /* seat + 1 */
    size_t stalled;
    size_t held, unsent;
    bool may_resume;
    bool shut;
    unsigned logs_left;
    struct redis_stats stats;
    uint64_t calls_of[REDIS_COMMANDS_MAX];
    const struct redis_command *lane[REDIS_LANE_COMMANDS]; /* redis_lane.c */
    uint16_t by_name[REDIS_NAMES]; /* index + 1, 0: none */
};

/* redis_slots.c */

struct redis_client *redis_client_of(const struct redis *redis,
                                     const struct redis_to *to);
/* A place for the answer of the command now taken. False: no memory, the
 * connection ends. */
MUST_USE bool redis_promise(struct redis_client *client, struct redis_to *to);
/* Nothing of its connection runs beside it from here on. */
void redis_alone(struct redis *redis, const struct redis_to *to);
/* Where the answer is written, then redis_end. NULL: nobody waits. */
struct buf *redis_begin(struct redis *redis, const struct redis_to *to);
void redis_end(struct redis *redis, const struct redis_to *to);
/* Of a status other than OK. */
void redis_write_status(struct buf *out, const struct response *response,
                        bool write);
void redis_fail(struct redis *redis, const struct redis_to *to,
                const struct response *response, bool write);
void redis_fail_text(struct redis *redis, const struct redis_to *to,
                     const char *text);

/* One request to the node, whose answer becomes that of the command. */
void redis_ask(struct redis *redis, const struct redis_to *to,
               enum redis_answer answer, const struct request *request);
/* One whose answer goes to the job. False: no memory, it was not asked. */
MUST_USE bool redis_ask_for(struct redis *redis, struct redis_job *job,
                            uint32_t part, const struct request *request);
void redis_job_init(struct redis *redis, struct redis_job *job);
void redis_job_end(struct redis *redis, struct redis_job *job); /* frees it */
void redis_ready(struct redis *redis, struct redis_job *job);
void redis_run_ready(struct redis *redis);
/* Those that are slow, once a turn; false: there was nothing to do. */
bool redis_run_slow(struct redis *redis);

/* Whether the command's keys are free of unfinished ones of this client. */
bool redis_keys_free(const struct redis_call *call);
/* Notes them, if the command just begun is unfinished. */
void redis_keys_note(const struct redis_call *call, uint64_t number);
/* The key words of a command: [*first, *last] by *step; false: none. */
bool redis_key_range(const struct redis_call *call, size_t *first, size_t *last,
                     size_t *step);

/* redis.c */
void redis_client_dirty(struct redis_client *client);
void redis_client_break(struct redis_client *client, const char *why);
void redis_client_may_go_on(struct redis_client *client);
struct span redis_db_name(const struct redis *redis, uint8_t db);
/* Runs one command whose words are in call; false: it must wait. */
bool redis_take(struct redis_call *call);

/* redis_lane.c */
void redis_lane_init(struct redis *redis);
/* Takes usual commands from the front that can be answered at once, at most
 * `most`; returns how many bytes they were. *ahead is how many of those that
 * follow were looked ahead at: not before these are taken, call it again. */
size_t redis_lane_take(struct redis_client *client, struct span input,
                       size_t most, size_t *ahead);

/* redis_table.c */
/* NULL: there is none. */
const struct redis_command *redis_command_find(const struct redis *redis,
                                               struct span name);
size_t redis_command_count(void);
const struct redis_command *redis_command_at(size_t index);
size_t redis_command_index(const struct redis_command *command);
void redis_commands_init(struct redis *redis);
void redis_write_unknown(struct buf *out, const struct span *args,
                         size_t count);
void redis_write_arity(struct buf *out, const struct redis_command *command);
void redis_command_command(struct redis_call *call);
/* False: the words do not suit; an error is written. */
bool redis_check_arity(struct redis_call *call);

/* redis_multi.c */
/* Whether the command was kept for EXEC. */
bool redis_multi_takes(struct redis_call *call);
/* A command that was refused while being kept: EXEC will say so. */
void redis_multi_spoil(struct redis_client *client);
void redis_multi_forget(struct redis_client *client);

/* redis_walk.c */
MUST_USE int redis_scans_new(uint64_t seed, struct redis_scans **out);
void redis_scans_free(struct redis_scans *scans);

/* Errors of many commands. */
void redis_write_syntax(struct buf *out);
bool redis_read_int(struct redis_call *call, struct span word, int64_t *out);
/* An array of simple strings, as the HELP of commands is. */
void redis_write_lines(struct buf *out, const char *const *lines, size_t count);
/* That the subcommand in word 1 is none. */
void redis_write_subcommand(struct redis_call *call, const char *container);
/* Whether word 1 is that; *wrong: it is, but not with so many words, and that
 * is answered. */
bool redis_sub_is(struct redis_call *call, const char *word, size_t count_min,
                  size_t count_max, bool *wrong);
bool redis_name_is_good(struct span name);
/* False: answered. */
bool redis_set_name(struct redis_call *call, struct span name);

#endif
