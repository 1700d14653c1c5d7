/* SPDX-License-Identifier: Apache-2.0 */

/* Outgoing links against a scripted peer in the same thread. */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/check.h"
#include "net/links.h"
#include "net/raw.h"
#include "net/sys.h"

static struct loop *loop;
static struct links *links;
static int downs;
static struct id last_down;
static uint8_t watched; /* whose downs are counted; 0: everybody's */
static int check_status;

static void hello(void *context, struct hello *ours)
{
    (void)context;
    *ours = (struct hello){ .version = WIRE_VERSION,
                            .kind = HELLO_PEER,
                            .addr = span_str("127.0.0.1:1") };
    ours->peer.bytes[0] = 1;
}

static int check(void *context, const struct hello *theirs)
{
    (void)context;
    (void)theirs;
    return check_status;
}

static void down(void *context, const struct id *peer)
{
    (void)context;
    downs += watched == 0 || peer->bytes[0] == watched;
    last_down = *peer;
}

static void silent(void *context, const char *text)
{
    (void)context;
    (void)text;
}

static void turn(int ms)
{
    uint64_t end = sys_now_ns() + (uint64_t)ms * 1000000;
    do {
        uint64_t now = sys_now_ns();
        links_tick(links, now);
        links_flush(links, now);
        loop_turn(loop, false);
        usleep(500);
    } while (sys_now_ns() < end);
}

static struct id peer_id(uint8_t number)
{
    struct id id = { { number } };
    return id;
}

static void send_digest(const char *addr, uint8_t to, uint64_t arcs)
{
    struct message m = { .type = MESSAGE_DIGEST };
    m.u.digest.arcs = arcs;
    struct id id = peer_id(to);
    links_send(links, &id, addr, &m);
}

/* Accepts and answers the hello as peer `who`. */
static struct raw accept_as(int listen_fd, uint8_t who)
{
    for (int i = 0; i < 3000 && !raw_wait(listen_fd, 0); i++)
        turn(1);
    struct raw raw = { .fd = raw_accept(listen_fd) };
    for (int i = 0; i < 3000 && !raw_wait(raw.fd, 0); i++)
        turn(1);
    CHECK(raw_receive(&raw, 1000));
    CHECK_EQ(raw.message.type, MESSAGE_HELLO);
    CHECK_EQ(raw.message.u.hello.kind, HELLO_PEER);
    CHECK(!raw_wait(raw.fd, 20)); /* nothing more before the answer */
    struct message m = { .type = MESSAGE_HELLO };
    m.u.hello = (struct hello){ .version = WIRE_VERSION,
                                .kind = HELLO_PEER,
                                .peer = peer_id(who),
                                .addr = span_str("127.0.0.1:2") };
    CHECK(raw_say(&raw, &m));
    return raw;
}

/* However busy the machine is: the links go on while it is waited for. */
static bool comes(struct raw *raw)
{
    for (int i = 0; i < 3000 && !raw_wait(raw->fd, 0); i++)
        turn(1);
    return raw_receive(raw, 1000);
}

static bool closes(int fd)
{
    for (int i = 0; i < 3000 && !raw_wait(fd, 0); i++)
        turn(1);
    return raw_is_closed(fd, 500);
}

static void order_is_kept_and_chunks_wait(void)
{
    char addr[64];
    int fd = raw_listen(addr);
    static uint8_t bytes[64 << 10];
    struct message chunk = { .type = MESSAGE_SNAPSHOT_CHUNK };
    chunk.u.chunk =
        (struct snapshot_chunk){ .arc = 2,
                                 .from = 3,
                                 .to = 4,
                                 .transfer = 5,
                                 .bytes = span_of(bytes, sizeof bytes) };
    struct id id = peer_id(9);
    for (int i = 0; i < 40; i++) {
        chunk.u.chunk.sequence = (uint64_t)i;
        links_send(links, &id, addr, &chunk);
    }
    for (uint64_t i = 0; i < 10; i++)
        send_digest(addr, 9, i);
    struct raw raw = accept_as(fd, 9);
    uint64_t digests = 0, chunks = 0;
    for (int idle = 0; idle < 500 && (digests < 11 || chunks < 40);) {
        turn(1);
        if (!raw_receive(&raw, 2)) {
            idle++;
            continue;
        }
        if (raw.message.type == MESSAGE_SNAPSHOT_CHUNK) {
            CHECK(digests >= 10);
            CHECK_EQ(raw.message.u.chunk.sequence, chunks++);
            if (chunks == 1)
                send_digest(addr, 9, 10);
        } else {
            CHECK_EQ(raw.message.u.digest.arcs, digests++);
            /* The late one overtook chunks that waited. */
            if (digests == 11)
                CHECK(chunks < 40);
        }
    }
    CHECK_EQ(digests, 11);
    CHECK_EQ(chunks, 40);
    CHECK_EQ(downs, 0);
    raw_close(&raw);
    turn(20);
    CHECK_EQ(downs, 1);
    CHECK(id_equal(&last_down, &id));
    close(fd);
}

static void somebody_else_hears_nothing(void)
{
    char addr[64];
    int fd = raw_listen(addr);
    downs = 0;
    send_digest(addr, 3, 1);
    struct raw raw = accept_as(fd, 4);
    CHECK(closes(raw.fd));
    CHECK_EQ(downs, 1);
    raw_close(&raw);
    close(fd);
    /* To whoever it is: anybody will do. */
    fd = raw_listen(addr);
    send_digest(addr, 0, 1);
    raw = accept_as(fd, 4);
    CHECK(comes(&raw));
    CHECK_EQ(raw.message.type, MESSAGE_DIGEST);
    raw_close(&raw);
    close(fd);
}

static void nobody_there_is_told_and_tried_again(void)
{
    char addr[64];
    int fd = raw_listen(addr);
    close(fd);
    downs = 0;
    send_digest(addr, 5, 1);
    turn(20);
    CHECK_EQ(downs, 1);
    turn(300);
    CHECK_EQ(downs, 1); /* nothing to say: not tried again */
    for (int i = 0; i < 10; i++) {
        send_digest(addr, 5, 1);
        turn(100);
    }
    CHECK(downs >= 2 && downs <= 6); /* with pauses that grow */
}

static void what_is_queued_is_bounded(void)
{
    char addr[64];
    int fd = raw_listen(addr); /* accepts nothing */
    downs = 0;
    static uint8_t bytes[60 << 10];
    struct message chunk = { .type = MESSAGE_SNAPSHOT_CHUNK };
    chunk.u.chunk =
        (struct snapshot_chunk){ .arc = 2,
                                 .from = 3,
                                 .to = 4,
                                 .transfer = 5,
                                 .bytes = span_of(bytes, sizeof bytes) };
    struct id id = peer_id(6);
    for (int i = 0; i < 4000; i++) {
        links_send(links, &id, addr, &chunk);
        CHECK(links_unsent(links) <= LINKS_UNSENT_MAX + (1 << 20));
        if (i % 100 == 0)
            turn(1);
    }
    CHECK(downs > 0);
    close(fd);
    turn(50);
}

static void a_refusal_is_heard(void)
{
    char addr[64];
    int fd = raw_listen(addr);
    downs = 0;
    watched = 7; /* the link that was filled before may be given up just now */
    check_status = DLHT_ECLUSTER;
    send_digest(addr, 7, 1);
    struct raw raw = accept_as(fd, 7);
    CHECK(closes(raw.fd));
    CHECK_EQ(downs, 1);
    watched = 0;
    check_status = DLHT_OK;
    raw_close(&raw);
    close(fd);
}

int main(void)
{
    CHECK_EQ(loop_new(&loop), DLHT_OK);
    struct links_calls calls = {
        .hello = hello, .check = check, .down = down, .log = silent
    };
    CHECK_EQ(links_new(loop, &calls, 1, &links), DLHT_OK);
    order_is_kept_and_chunks_wait();
    somebody_else_hears_nothing();
    nobody_there_is_told_and_tried_again();
    what_is_queued_is_bounded();
    a_refusal_is_heard();
    links_free(links);
    loop_free(loop);
    return check_done();
}
