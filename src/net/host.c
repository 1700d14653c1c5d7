/* SPDX-License-Identifier: Apache-2.0 */

/* Turns: events in, effects out. */

#include "net/host_state.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/inproc.h"
#include "net/sys.h"

enum {
    HOST_RESUMES_PER_TURN = 8,
    HOST_REQUESTS_PER_FLUSH = 64 /* what they touch stays in the cache */
};

static const uint64_t HOST_SWEEP_NS = UINT64_C(1000000000);
static const uint64_t HOST_STOP_NS = UINT64_C(10000000000);
static const uint64_t HOST_DRAIN_NS = UINT64_C(500000000);
static const uint64_t HOST_RETRY_NS = UINT64_C(10000000);
static const uint64_t HOST_TALLY_NS = UINT64_C(5000000000);

void host_say(void *context, enum log_level level, const char *text)
{
    struct host *h = context;
    if (h->log && level >= h->log_level)
        h->log(h->log_context, (enum dlht_log_level)level, text);
}

void host_warn(void *context, const char *text)
{
    host_say(context, LOG_WARNING, text);
}

static void host_enter(struct host *h, enum host_state state, int status,
                       const char *text)
{
    if (h->state == HOST_STOPPED || h->state == HOST_FAILED ||
        h->state == state)
        return;
    h->state = state;
    if (h->fn)
        h->fn(h->fn_context, state, status, text);
}

static uint64_t host_now(void *context)
{
    struct host *h = context;
    h->now_ns = sys_now_ns();
    return h->now_ns;
}

/* Effects. */

static void host_checkpoint(struct host *h, const struct effect *e)
{
    arc_id arc = e->u.checkpoint.arc;
    uint64_t number = e->u.checkpoint.number;
    if (e->kind == EFFECT_CHECKPOINT_BEGIN)
        disk_worker_begin(h->disk, arc, number, e->u.checkpoint.bytes);
    else if (e->kind == EFFECT_CHECKPOINT_ADD)
        disk_worker_add(h->disk, arc, number, e->u.checkpoint.bytes);
    else if (e->kind == EFFECT_CHECKPOINT_END)
        disk_worker_end(h->disk, arc, number);
    else if (e->kind == EFFECT_CHECKPOINT_ABORT)
        disk_worker_abort(h->disk, arc, number);
    else
        disk_worker_remove(h->disk, arc);
}

static void host_reply(struct host *h, uint64_t ticket,
                       const struct response *response)
{
    if (redis_owns(ticket))
        redis_reply(h->redis, ticket, response);
    else
        door_reply(h->door, ticket, response);
}

static void host_carry_out(struct host *h, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_SEND:
        links_send(h->links, &e->u.send.to, e->u.send.addr, &e->u.send.message);
        break;
    case EFFECT_REPLY:
        host_reply(h, e->u.reply.ticket, &e->u.reply.response);
        break;
    case EFFECT_APPEND:
        disk_worker_append(h->disk, &e->u.append);
        break;
    case EFFECT_SYNC:
        disk_worker_sync(h->disk, e->u.sync.number);
        break;
    case EFFECT_RELEASE:
        disk_worker_release(h->disk, e->u.release.arc, e->u.release.index);
        break;
    case EFFECT_CHECKPOINT_BEGIN:
    case EFFECT_CHECKPOINT_ADD:
    case EFFECT_CHECKPOINT_END:
    case EFFECT_CHECKPOINT_ABORT:
    case EFFECT_CHECKPOINT_REMOVE:
        host_checkpoint(h, e);
        break;
    case EFFECT_JOB:
        job_worker_add(h->jobs, e->u.job.number, e->u.job.run, e->u.job.data);
        break;
    case EFFECT_FILE_JOB:
        job_worker_add_file(h->jobs, e->u.file_job.number, e->u.file_job.file,
                            e->u.file_job.run, e->u.file_job.data);
        break;
    case EFFECT_LOG:
        host_say(h, e->u.log.level, e->u.log.text);
        break;
    case EFFECT_READY:
        host_enter(h, HOST_READY, DLHT_OK, "");
        break;
    case EFFECT_STOPPED:
        host_enter(h, HOST_STOPPED, DLHT_OK, "stopped");
        break;
    case EFFECT_FAILED:
        host_enter(h, HOST_FAILED, e->u.failed.status, e->u.failed.text);
        break;
    }
}

/* DLHT_OK or DLHT_ENOMEM, as node_step. */
static int host_step(struct host *h, struct event *event)
{
    event->now_ns = h->now_ns;
    h->stepped = true;
    int rc = node_step(h->node, event, &h->effects);
    if (rc != DLHT_OK)
        h->no_memory = true;
    for (size_t i = 0; i < h->effects.count; i++)
        host_carry_out(h, &h->effects.list[i]);
    return rc;
}

/* Events. */

static int host_on_hello(void *context, const struct hello *theirs,
                         struct hello *ours)
{
    struct host *h = context;
    node_hello(h->node, ours);
    return node_hello_check(h->node, theirs);
}

static void host_hello(void *context, struct hello *ours)
{
    struct host *h = context;
    node_hello(h->node, ours);
}

static int host_hello_check(void *context, const struct hello *theirs)
{
    struct host *h = context;
    return node_hello_check(h->node, theirs);
}

static void host_on_message(void *context, const struct id *from,
                            const struct message *message)
{
    struct host *h = context;
    struct event event;
    event.kind = EVENT_MESSAGE;
    event.u.message.from = *from;
    event.u.message.message = message;
    (void)host_step(h, &event); /* as if it was lost */
}

static void host_flush(struct host *h)
{
    if (!h->stepped)
        return;
    struct event event;
    event.kind = EVENT_FLUSH;
    (void)host_step(h, &event);
    h->stepped = false;
    h->asked = 0;
}

static void host_find(void *context, const struct request *const *requests,
                      size_t count, struct spot *spots)
{
    struct host *h = context;
    if (h->asked >= HOST_REQUESTS_PER_FLUSH)
        host_flush(h);
    spot_find(h->node, h->now_ns, requests, count, spots);
}

static void host_find_keys(void *context, struct span keyspace,
                           const struct span *keys, size_t count,
                           struct spot *spots)
{
    struct host *h = context;
    spot_find_keys(h->node, h->now_ns, keyspace, keys, count, spots);
}

static bool host_at_spot(void *context, const struct spot *spot, uint8_t op,
                         struct span value, struct response *out)
{
    struct host *h = context;
    h->stepped = h->stepped || op != OP_GET;
    return spot_answer(h->node, spot, op, value, out);
}

static bool host_propose(void *context, const struct spot *spot,
                         const struct request *request, uint64_t ticket)
{
    struct host *h = context;
    if (!spot_propose(h->node, spot, request, ticket))
        return false;
    h->stepped = true;
    h->asked++;
    return true;
}

static bool host_write(void *context, const struct spot *spot,
                       const struct request *request)
{
    struct host *h = context;
    h->stepped = true;
    return spot_write(h->node, spot, request);
}

static void host_on_request(void *context, uint64_t ticket,
                            const struct request *request)
{
    struct host *h = context;
    struct event event;
    event.kind = EVENT_REQUEST;
    event.u.request.ticket = ticket;
    event.u.request.request = request;
    if (host_step(h, &event) != DLHT_OK) {
        struct response busy = { .status = DLHT_EBUSY };
        host_reply(h, ticket, &busy);
    } else if (++h->asked >= HOST_REQUESTS_PER_FLUSH) {
        host_flush(h);
    }
}

static void host_on_down(void *context, const struct id *peer)
{
    struct host *h = context;
    for (size_t i = 0; i < h->down_count; i++)
        if (id_equal(&h->downs[i], peer))
            return;
    if (h->down_count == h->down_cap) {
        size_t cap = h->down_cap ? h->down_cap * 2 : 16;
        struct id *grown = mem_resize(h->downs, cap, sizeof *grown);
        if (!grown)
            return; /* probes will find out */
        h->downs = grown;
        h->down_cap = cap;
    }
    h->downs[h->down_count++] = *peer;
}

static void host_deliver_downs(struct host *h)
{
    for (size_t i = 0; i < h->down_count; i++) {
        struct event event;
        event.kind = EVENT_LINK_DOWN;
        event.u.link.peer = h->downs[i];
        (void)host_step(h, &event);
    }
    h->down_count = 0;
}

void host_on_disk(void *context, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    struct host *h = context;
    (void)host_now(h);
    struct disk_result r;
    while (disk_worker_take(h->disk, &r)) {
        struct event event;
        if (r.is_checkpoint) {
            event.kind = EVENT_CHECKPOINT;
            event.u.checkpoint.arc = r.arc;
            event.u.checkpoint.number = r.number;
            event.u.checkpoint.status = r.status;
        } else {
            event.kind = EVENT_SYNCED;
            event.u.synced.number = r.number;
            event.u.synced.status = r.status;
            event.u.synced.journal_bytes = r.journal_bytes;
            event.u.synced.pinning_arc = r.pinning_arc;
        }
        if (host_step(h, &event) != DLHT_OK)
            host_enter(h, HOST_FAILED, DLHT_ENOMEM,
                       "no memory to go on after a sync");
    }
}

void host_on_jobs(void *context, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    struct host *h = context;
    (void)host_now(h);
    struct event event;
    event.kind = EVENT_JOB;
    while (job_worker_take(h->jobs, &event.u.job.number))
        if (host_step(h, &event) != DLHT_OK)
            host_enter(h, HOST_FAILED, DLHT_ENOMEM,
                       "no memory to go on after a job");
}

void host_on_bell(void *context, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    struct host *h = context;
    sys_bell_clear(h->bell);
    if (!atomic_load(&h->stop_asked) || h->stop_ns)
        return;
    (void)host_now(h);
    h->stop_ns = h->now_ns + HOST_STOP_NS;
    struct event event;
    event.kind = EVENT_STOP;
    if (host_step(h, &event) != DLHT_OK)
        host_enter(h, HOST_STOPPED, DLHT_OK, "stopped without hand-over");
}

void host_on_inner(void *context, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    struct host *h = context;
    int fd;
    while (inproc_accept(h->inner_fd, &fd) == DLHT_OK)
        if (door_adopt(h->door, fd) != DLHT_OK)
            host_warn(h, "too many connections: one was turned away");
}

/* What doors and links call. */

static uint64_t host_wall_us(void *context)
{
    (void)context;
    return sys_wall_us();
}

static uint64_t host_memory(void *context)
{
    (void)context;
    return sys_memory();
}

struct door_calls host_door_calls(struct host *h)
{
    return (struct door_calls){ .context = h,
                                .now = host_now,
                                .hello = host_on_hello,
                                .message = host_on_message,
                                .find = host_find,
                                .at_spot = host_at_spot,
                                .propose = host_propose,
                                .request = host_on_request,
                                .log = host_warn };
}

struct redis_calls host_redis_calls(struct host *h)
{
    return (struct redis_calls){ .context = h,
                                 .now = host_now,
                                 .wall_us = host_wall_us,
                                 .find = host_find_keys,
                                 .at_spot = host_at_spot,
                                 .write = host_write,
                                 .request = host_on_request,
                                 .hello = host_hello,
                                 .log = host_warn,
                                 .memory = host_memory };
}

struct links_calls host_links_calls(struct host *h)
{
    return (struct links_calls){ .context = h,
                                 .hello = host_hello,
                                 .check = host_hello_check,
                                 .down = host_on_down,
                                 .log = host_warn };
}

/* Turns. */

/* What was sent since the start, for who measures: in the log for debugging,
 * every few seconds. */
static void host_tally(struct host *h)
{
    static const char *const NAMES[LINKS_TYPES_MAX] = {
        [MESSAGE_HELLO] = "hello",     [MESSAGE_REQUEST] = "request",
        [MESSAGE_RESPONSE] = "answer", [MESSAGE_RAFT] = "raft",
        [MESSAGE_SWIM] = "swim",       [MESSAGE_GOSSIP] = "gossip",
        [MESSAGE_DIGEST] = "digest",   [MESSAGE_REPORT] = "report",
        [MESSAGE_STEP] = "step",       [MESSAGE_RING] = "ring",
        [MESSAGE_MODEL] = "model",
    };
    const struct links_sent *sent = links_sent(h->links);
    char text[1024];
    size_t at = 0;
    for (size_t i = 0; i < LINKS_TYPES_MAX && at < sizeof text; i++) {
        if (sent->frames[i] == 0)
            continue;
        int n = snprintf(text + at, sizeof text - at, " %s %llu/%llu",
                         NAMES[i] ? NAMES[i] : "other",
                         (unsigned long long)sent->frames[i],
                         (unsigned long long)sent->bytes[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    char line[1200];
    snprintf(line, sizeof line, "tally: turns %llu, sent frames/bytes:%s",
             (unsigned long long)h->turns, at ? text : " none");
    host_say(h, LOG_DEBUG, line);
}

static void host_tick(struct host *h)
{
    if (h->tally_ns <= h->now_ns) {
        host_tally(h);
        h->tally_ns = h->now_ns + HOST_TALLY_NS;
    }

    if (node_next_timeout_ns(h->node) <= h->now_ns) {
        struct event event;
        event.kind = EVENT_TICK;
        (void)host_step(h, &event);
    }
    if (links_timeout_ns(h->links) <= h->now_ns)
        links_tick(h->links, h->now_ns);
    if (h->sweep_ns <= h->now_ns) {
        door_sweep(h->door, h->now_ns);
        if (h->redis)
            redis_sweep(h->redis, h->now_ns);
        h->sweep_ns = h->now_ns + HOST_SWEEP_NS;
    }
    if (h->stop_ns && h->stop_ns <= h->now_ns)
        host_enter(h, HOST_STOPPED, DLHT_OK, "stopped without hand-over");
}

static void host_arm(struct host *h)
{
    uint64_t at = node_next_timeout_ns(h->node);
    uint64_t links = links_timeout_ns(h->links);
    at = links < at ? links : at;
    bool callers =
        door_callers(h->door) > 0 || (h->redis && redis_callers(h->redis) > 0);
    if (callers && h->sweep_ns < at)
        at = h->sweep_ns;
    if (h->stop_ns && h->stop_ns < at)
        at = h->stop_ns;
    if (h->no_memory && h->now_ns + HOST_RETRY_NS < at)
        at = h->now_ns + HOST_RETRY_NS;
    if (h->down_count)
        at = h->now_ns;
    if (h->tally_ns < at)
        at = h->tally_ns;
    loop_alarm(h->loop, h->now_ns, at);
}

/* Input that waited for answers goes on; false: there is none. */
static bool host_resume(struct host *h)
{
    bool door = door_resume(h->door);
    bool redis = h->redis && redis_resume(h->redis);
    return door || redis;
}

static bool host_can_resume(const struct host *h)
{
    return door_can_resume(h->door) || (h->redis && redis_can_resume(h->redis));
}

/* Everything after the callbacks of a turn. */
static void host_end_turn(struct host *h)
{
    h->turns++;
    h->now_ns = sys_now_ns();
    if (h->no_memory) {
        h->no_memory = false;
        h->stepped = true;
    }
    host_tick(h);
    for (int i = 0; i < HOST_RESUMES_PER_TURN; i++) {
        host_deliver_downs(h);
        host_flush(h);
        if (!host_resume(h))
            break;
    }
    host_flush(h);
    if (h->disk)
        disk_worker_submit(h->disk);
    links_flush(h->links, h->now_ns);
    door_flush(h->door);
    if (h->redis)
        redis_flush(h->redis);
    host_arm(h);
}

static bool host_goes_on(const struct host *h)
{
    return h->state == HOST_STARTING || h->state == HOST_READY;
}

/* Last words, for a short while. */
static void host_drain(struct host *h)
{
    uint64_t end_ns = h->now_ns + HOST_DRAIN_NS;
    while (h->now_ns < end_ns &&
           (links_unsent(h->links) > 0 || door_unsent(h->door) > 0 ||
            (h->redis && redis_unsent(h->redis) > 0))) {
        loop_alarm(h->loop, h->now_ns, h->now_ns + HOST_RETRY_NS);
        loop_turn(h->loop, true);
        h->now_ns = sys_now_ns();
        links_flush(h->links, h->now_ns);
        door_flush(h->door);
        if (h->redis)
            redis_flush(h->redis);
    }
}

void host_run(struct host *h)
{
    h->now_ns = sys_now_ns();
    h->sweep_ns = h->now_ns + HOST_SWEEP_NS;
    h->tally_ns = h->log && h->log_level <= LOG_DEBUG ? h->now_ns : UINT64_MAX;
    struct event event;
    event.kind = EVENT_BOOT;
    if (host_step(h, &event) != DLHT_OK)
        host_enter(h, HOST_FAILED, DLHT_ENOMEM, "no memory to start");
    host_end_turn(h);
    while (host_goes_on(h)) {
        loop_turn(h->loop, !host_can_resume(h));
        host_end_turn(h);
    }
    door_shut(h->door);
    if (h->redis)
        redis_shut(h->redis);
    host_drain(h);
}

void host_stop(struct host *h)
{
    atomic_store(&h->stop_asked, true);
    sys_bell_ring(h->bell);
}

const char *host_address(const struct host *h)
{
    return h->listen;
}

const char *host_inner_address(const struct host *h)
{
    return h->inner;
}

const char *host_redis_address(const struct host *h)
{
    return h->redis_addr;
}
