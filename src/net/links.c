/* SPDX-License-Identifier: Apache-2.0 */

/* Outgoing links: made on demand, greeted, dropped and made again. */

#include "net/links.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "net/addr.h"
#include "net/conn.h"
#include "net/sys.h"
#include "wire/codec.h"

enum {
    LINKS_BUCKETS = 1024,
    LINKS_LOGS_PER_TICK = 10
};

static const uint64_t LINK_CONNECT_NS = UINT64_C(3000000000);
static const uint64_t LINK_IDLE_NS = UINT64_C(60000000000);
static const uint64_t LINK_BACKOFF_MIN_NS = UINT64_C(50000000);
static const uint64_t LINK_BACKOFF_MAX_NS = UINT64_C(1000000000);

enum link_state {
    LINK_IDLE,       /* no connection, nothing to say */
    LINK_WAITING,    /* to try again at due_ns */
    LINK_CONNECTING, /* until due_ns */
    LINK_GREETING,   /* hello sent, until due_ns */
    LINK_UP
};

struct link {
    struct links *links;
    struct link *next; /* in the bucket */
    struct id to;
    char addr[PEER_ADDR_MAX];
    enum link_state state;
    struct conn conn;
    struct buf queue;  /* frames, while the link is not up */
    struct buf chunks; /* frames that wait for all others */
    size_t chunks_at;
    uint64_t due_ns;
    uint64_t backoff_ns;
    uint64_t used_ns;
    bool failed; /* to be dropped in the next flush */
    bool dirty;
    struct link *next_dirty;
};

struct links {
    struct loop *loop;
    struct links_calls calls;
    struct rng rng;
    struct link *buckets[LINKS_BUCKETS];
    size_t count;
    struct link *dirty;
    uint64_t now_ns;
    uint64_t timeout_ns;
    unsigned logs_left;
    struct links_sent sent;
    struct codec_arena arena;
    struct message message;
};

static void link_mark(struct link *link)
{
    if (link->dirty)
        return;
    link->dirty = true;
    link->next_dirty = link->links->dirty;
    link->links->dirty = link;
}

static void link_log(struct link *link, const char *what)
{
    if (link->links->logs_left == 0)
        return;
    link->links->logs_left--;
    char text[160];
    snprintf(text, sizeof text, "link to %s: %s", link->addr, what);
    link->links->calls.log(link->links->calls.context, text);
}

static void link_due(struct link *link, uint64_t at_ns)
{
    link->due_ns = at_ns;
    if (at_ns < link->links->timeout_ns)
        link->links->timeout_ns = at_ns;
}

static size_t link_unsent(const struct link *link)
{
    return link->queue.len + conn_unsent(&link->conn) + link->chunks.len -
           link->chunks_at;
}

/* Drops the connection and all that is unsent. A failure is followed by a
 * pause, and both ways the loss is told. */
static void link_drop(struct link *link, bool failure)
{
    struct links *links = link->links;
    conn_close(&link->conn);
    buf_deinit(&link->queue);
    buf_deinit(&link->chunks);
    link->chunks_at = 0;
    link->failed = false;
    if (failure) {
        uint64_t pause =
            link->backoff_ns ? link->backoff_ns * 2 : LINK_BACKOFF_MIN_NS;
        link->backoff_ns =
            pause < LINK_BACKOFF_MAX_NS ? pause : LINK_BACKOFF_MAX_NS;
        link->state = LINK_WAITING;
        link_due(link, links->now_ns + link->backoff_ns / 2 +
                           rng_below(&links->rng, link->backoff_ns));
    } else {
        link->state = LINK_IDLE;
    }
    if (!id_is_zero(&link->to))
        links->calls.down(links->calls.context, &link->to);
}

static void link_fail(struct link *link, const char *why)
{
    if (why)
        link_log(link, why);
    link->failed = true;
    link_mark(link);
}

/* The answer to our hello; then the link is up. */
static void link_answered(struct link *link, const struct hello *theirs)
{
    struct links *links = link->links;
    int rc = theirs->status != DLHT_OK
                 ? theirs->status
                 : links->calls.check(links->calls.context, theirs);
    if (rc != DLHT_OK) {
        link_fail(link, dlht_strerror(rc));
        return;
    }
    if (!id_is_zero(&link->to) && !id_equal(&link->to, &theirs->peer)) {
        link_fail(link, "somebody else listens there now");
        return;
    }
    link->state = LINK_UP;
    link->backoff_ns = 0;
    buf_append_span(&link->conn.out, buf_span(&link->queue));
    buf_deinit(&link->queue);
    if (link->conn.out.failed)
        link_fail(link, "no memory");
    link_mark(link);
}

static size_t link_take(void *context, struct span input)
{
    struct link *link = context;
    struct links *links = link->links;
    size_t len;
    int rc = codec_frame(input, &len);
    if (rc == 0)
        return 0;
    if (rc == 1)
        rc = codec_unpack(span_of(input.data, len), &links->arena,
                          &links->message);
    if (rc != DLHT_OK)
        link_fail(link, "answers with what is no frame");
    else if (link->state != LINK_GREETING ||
             links->message.type != MESSAGE_HELLO)
        link_fail(link, "speaks out of turn");
    else
        link_answered(link, &links->message.u.hello);
    return input.len;
}

static void link_greet(struct link *link)
{
    struct links *links = link->links;
    struct message m = { .type = MESSAGE_HELLO };
    links->calls.hello(links->calls.context, &m.u.hello);
    if (codec_pack(&m, &link->conn.out) != DLHT_OK) {
        link_fail(link, "no memory");
        return;
    }
    link->state = LINK_GREETING;
    if (conn_write_on(&link->conn) != DLHT_OK)
        link_fail(link, NULL);
}

static void link_on_ready(void *context, bool readable, bool writable)
{
    struct link *link = context;
    if (link->failed)
        return;
    if (link->state == LINK_CONNECTING) {
        if (!writable)
            return;
        if (addr_connected(link->conn.fd))
            link_greet(link);
        else
            link_fail(link, NULL);
        return;
    }
    if (writable)
        link_mark(link);
    if (writable && conn_write_on(&link->conn) != DLHT_OK)
        link_fail(link, "lost");
    if (readable && !link->failed &&
        conn_read(&link->conn, link_take, link) != DLHT_OK)
        link_fail(link, "lost");
}

static void link_connect(struct link *link)
{
    struct links *links = link->links;
    int fd;
    int rc = addr_is_of_peer(link->addr) ? addr_connect(link->addr, &fd)
                                         : DLHT_EINVAL;
    if (rc == DLHT_OK)
        rc = conn_open(&link->conn, links->loop, fd, link_on_ready, link);
    if (rc == DLHT_OK && !loop_watch_set(&link->conn.watch, true, true))
        rc = DLHT_ENOMEM;
    if (rc != DLHT_OK) {
        link_drop(link, true);
        return;
    }
    link->state = LINK_CONNECTING;
    link_due(link, links->now_ns + LINK_CONNECT_NS);
}

/* Moves whole chunk frames to the output while little else is in it. */
static void link_feed_chunks(struct link *link)
{
    while (link->chunks_at < link->chunks.len &&
           conn_unsent(&link->conn) < LINKS_CHUNK_AHEAD) {
        struct span rest = span_tail(buf_span(&link->chunks), link->chunks_at);
        size_t len;
        int whole = codec_frame(rest, &len);
        assert(whole == 1);
        buf_append(&link->conn.out, rest.data, len);
        if (link->conn.out.failed) {
            link_fail(link, "no memory");
            return;
        }
        link->chunks_at += len;
    }
    if (link->chunks_at == link->chunks.len) {
        link->chunks_at = 0;
        buf_deinit(&link->chunks);
    }
}

/* Makes, or finds, the link; NULL: no memory. */
static struct link *link_of(struct links *links, const struct id *to,
                            const char *addr)
{
    uint64_t hash = id_is_zero(to) ? hash64(span_str(addr)) : id_hash(to);
    struct link **bucket = &links->buckets[hash % LINKS_BUCKETS];
    for (struct link *l = *bucket; l; l = l->next)
        if (id_equal(&l->to, to) && strcmp(l->addr, addr) == 0)
            return l;
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->links = links;
    link->to = *to;
    strncpy(link->addr, addr, sizeof link->addr - 1);
    conn_init(&link->conn);
    link->next = *bucket;
    *bucket = link;
    links->count++;
    return link;
}

static struct buf *link_room(struct link *link, const struct message *message)
{
    if (message->type == MESSAGE_SNAPSHOT_CHUNK)
        return &link->chunks;
    return link->state == LINK_UP ? &link->conn.out : &link->queue;
}

static void links_count(struct links *links, uint8_t type, size_t bytes)
{
    if (type >= LINKS_TYPES_MAX)
        return;
    links->sent.frames[type]++;
    links->sent.bytes[type] += bytes;
}

void links_send(struct links *links, const struct id *to, const char *addr,
                const struct message *message)
{
    struct link *link = link_of(links, to, addr);
    if (!link) {
        if (!id_is_zero(to))
            links->calls.down(links->calls.context, to);
        return;
    }
    if (link->failed)
        return;
    size_t max = link->state == LINK_UP ? LINKS_UNSENT_MAX : LINKS_WAITING_MAX;
    link->used_ns = links->now_ns;
    struct buf *room = link_room(link, message);
    size_t before = room->len;
    if (codec_pack(message, room) != DLHT_OK)
        link_fail(link, "a message could not be packed");
    else
        links_count(links, message->type, room->len - before);
    if (!link->failed && link_unsent(link) > max)
        link_fail(link, "takes too little: all unsent is dropped");
    link_mark(link);
}

static void link_flush(struct link *link)
{
    if (link->failed) {
        link_drop(link, true);
        return;
    }
    if (link->state == LINK_IDLE && link_unsent(link) > 0)
        link_connect(link);
    if (link->state != LINK_UP)
        return;
    if (!link->conn.watch.writing)
        link_feed_chunks(link);
    if (!link->failed && conn_write(&link->conn) != DLHT_OK)
        link_fail(link, "lost");
    /* The next chunks go when these have left: what is more urgent finds a
     * short queue. */
    if (!link->failed && link->chunks.len > 0 && !link->conn.watch.writing &&
        !loop_watch_set(&link->conn.watch, true, true))
        link_fail(link, "no memory");
}

void links_flush(struct links *links, uint64_t now_ns)
{
    links->now_ns = now_ns;
    while (links->dirty) {
        struct link *link = links->dirty;
        links->dirty = link->next_dirty;
        link->dirty = false;
        link_flush(link);
    }
}

/* True if the link has had nothing to say for long: it goes altogether. */
static bool link_tick(struct link *link, uint64_t now_ns)
{
    bool late = now_ns >= link->due_ns;
    switch (link->state) {
    case LINK_WAITING:
        if (late && link_unsent(link) > 0)
            link_connect(link);
        else if (late)
            link->state = LINK_IDLE;
        break;
    case LINK_CONNECTING:
    case LINK_GREETING:
        if (late)
            link_fail(link, "does not answer");
        break;
    case LINK_IDLE:
    case LINK_UP:
        return link_unsent(link) == 0 && !link->dirty &&
               now_ns > link->used_ns && now_ns - link->used_ns > LINK_IDLE_NS;
    }
    return false;
}

static void link_free(struct link *link)
{
    conn_close(&link->conn);
    buf_deinit(&link->queue);
    buf_deinit(&link->chunks);
    free(link);
}

/* When link_tick has something to do, at the latest. */
static uint64_t link_timeout(const struct link *link)
{
    if (link->state == LINK_IDLE || link->state == LINK_UP)
        return link->used_ns + LINK_IDLE_NS + 1000000;
    return link->due_ns;
}

void links_tick(struct links *links, uint64_t now_ns)
{
    links->now_ns = now_ns;
    links->logs_left = LINKS_LOGS_PER_TICK;
    links->timeout_ns = UINT64_MAX;
    for (size_t i = 0; i < LINKS_BUCKETS; i++) {
        struct link **at = &links->buckets[i];
        while (*at) {
            struct link *link = *at;
            if (link_tick(link, now_ns)) {
                *at = link->next;
                links->count--;
                link_free(link);
                continue;
            }
            uint64_t due = link_timeout(link);
            if (due < links->timeout_ns)
                links->timeout_ns = due;
            at = &link->next;
        }
    }
    links_flush(links, now_ns);
}

uint64_t links_timeout_ns(const struct links *links)
{
    return links->timeout_ns;
}

int links_new(struct loop *loop, const struct links_calls *calls, uint64_t seed,
              struct links **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return DLHT_ENOMEM;
    (*out)->loop = loop;
    (*out)->calls = *calls;
    (*out)->now_ns = sys_now_ns();
    (*out)->timeout_ns = UINT64_MAX;
    (*out)->logs_left = LINKS_LOGS_PER_TICK;
    rng_init(&(*out)->rng, seed);
    return DLHT_OK;
}

void links_free(struct links *links)
{
    if (!links)
        return;
    for (size_t i = 0; i < LINKS_BUCKETS; i++)
        while (links->buckets[i]) {
            struct link *link = links->buckets[i];
            links->buckets[i] = link->next;
            link_free(link);
        }
    codec_arena_deinit(&links->arena);
    free(links);
}

size_t links_unsent(const struct links *links)
{
    size_t bytes = 0;
    for (size_t i = 0; i < LINKS_BUCKETS; i++)
        for (const struct link *l = links->buckets[i]; l; l = l->next)
            bytes += link_unsent(l);
    return bytes;
}

const struct links_sent *links_sent(const struct links *links)
{
    return &links->sent;
}
