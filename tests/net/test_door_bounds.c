/* SPDX-License-Identifier: Apache-2.0 */

/* A door by itself, with a clock of the test's: who takes none of its answers
 * is shown out in time, and all together cannot fill the memory. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/addr.h"
#include "net/check.h"
#include "net/door.h"
#include "net/loop.h"
#include "wire/codec.h"

enum {
    VALUE = 16 << 20,
    CALLERS = 11,
    ASKED = 16
};

static const uint64_t SECOND = 1000000000;

static struct door *door;
static struct loop *loop;
static uint64_t now_ns = 1000000000;
static uint8_t *value;
static size_t value_len;
static uint64_t tickets[64];
static size_t ticket_count;

static uint64_t now(void *context)
{
    (void)context;
    return now_ns;
}

static int greet(void *context, const struct hello *theirs, struct hello *ours)
{
    (void)context, (void)theirs;
    *ours = (struct hello){ .version = WIRE_VERSION };
    return DLHT_OK;
}

static void hear(void *context, const struct id *from,
                 const struct message *message)
{
    (void)context, (void)from, (void)message;
}

static struct replica *here; /* where records are found; NULL: nowhere */
static size_t finds, found, answered;

static void find_records(void *context, const struct request *const *requests,
                         size_t count, struct spot *spots)
{
    (void)context;
    finds++;
    found += count;
    for (size_t i = 0; i < count; i++)
        spots[i].replica = requests[i]->op != OP_RANGE ? here : NULL;
}

static bool answer_at_spot(void *context, const struct spot *spot, uint8_t op,
                           struct span at, struct response *out)
{
    (void)context, (void)at;
    CHECK(spot->replica == here && op != OP_RANGE);
    if (op == OP_PUT)
        return false;
    *out = (struct response){ .status = DLHT_ENOTFOUND };
    answered++;
    return true;
}

static void note(void *context, uint64_t ticket, const struct request *request)
{
    (void)context, (void)request;
    CHECK(ticket_count < sizeof tickets / sizeof *tickets);
    tickets[ticket_count++] = ticket;
}

static bool propose_puts(void *context, const struct spot *spot,
                         const struct request *request, uint64_t ticket)
{
    if (request->op != OP_PUT)
        return false;
    CHECK(spot->replica == here);
    note(context, ticket, request);
    return true;
}

/* A burst is taken in whole before the first answer is known to be large. */
static void answer_all(void)
{
    struct response response = { .value = span_of(value, value_len) };
    for (size_t i = 0; i < ticket_count; i++)
        door_reply(door, tickets[i], &response);
    ticket_count = 0;
    door_flush(door);
}

static void log_line(void *context, const char *text)
{
    (void)context, (void)text;
}

static void turns(int count)
{
    for (int i = 0; i < count; i++) {
        loop_turn(loop, 0);
        answer_all();
        while (door_can_resume(door) && door_resume(door))
            answer_all();
    }
}

/* Asks for so many values. */
static int ask(int count)
{
    static const char get[] = "\x94\x00\x07\xa3get\x91\xa1k";
    int fds[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    CHECK_EQ(door_adopt(door, fds[0]), DLHT_OK);
    for (int i = 0; i < count; i++)
        CHECK_EQ(write(fds[1], get, sizeof get - 1), sizeof get - 1);
    turns(4);
    return fds[1];
}

static bool takes_some(int fd)
{
    static uint8_t bytes[4096];
    return recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0;
}

static void who_takes_nothing_is_shown_out(void)
{
    value_len = 1 << 20;
    int never = ask(1), slow = ask(1);
    CHECK_EQ(door_callers(door), 2);
    for (int i = 0; i <= DOOR_UNTAKEN_S + 1; i++) {
        now_ns += SECOND;
        door_sweep(door, now_ns);
        turns(1);
        CHECK(takes_some(slow));
        turns(1);
        CHECK(i >= DOOR_UNTAKEN_S || door_callers(door) == 2);
    }
    CHECK_EQ(door_callers(door), 1);
    close(never);
    close(slow);
    turns(2);
    CHECK_EQ(door_callers(door), 0);
}

static void all_together_are_bounded(void)
{
    int fds[CALLERS];
    size_t most = 0;
    value_len = VALUE;
    for (int i = 0; i < CALLERS; i++) {
        fds[i] = ask(ASKED);
        most = door_unsent(door) > most ? door_unsent(door) : most;
    }
    CHECK(most > DOOR_UNSENT_ALL_MAX / 2);
    CHECK(most <= DOOR_UNSENT_ALL_MAX);
    CHECK(door_callers(door) < CALLERS);
    CHECK(door_callers(door) > CALLERS / 2);
    for (int i = 0; i < CALLERS; i++)
        close(fds[i]);
    turns(2);
    CHECK_EQ(door_callers(door), 0);
}

/* Spots are not used after an event: what is left is found again. A write that
 * is begun at its spot is none. */
static void what_an_event_made_stale_is_found_again(void)
{
    static const uint8_t ops[] = { OP_GET,   OP_PUT, OP_GET,
                                   OP_RANGE, OP_GET, OP_GET };
    struct message m = { .type = MESSAGE_HELLO,
                         .u.hello = { .version = WIRE_VERSION,
                                      .kind = HELLO_CLIENT } };
    struct buf bytes = { 0 };
    int fds[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    CHECK_EQ(door_adopt(door, fds[0]), DLHT_OK);
    CHECK_EQ(codec_pack(&m, &bytes), DLHT_OK);
    CHECK_EQ(write(fds[1], bytes.data, bytes.len), (ssize_t)bytes.len);
    turns(2);
    CHECK(takes_some(fds[1]));
    buf_reset(&bytes);
    for (uint32_t i = 0; i < sizeof ops; i++) {
        m = (struct message){ .type = MESSAGE_REQUEST, .stream = i + 1 };
        m.u.request = (struct request){ .op = ops[i], .key = span_str("k") };
        CHECK_EQ(codec_pack(&m, &bytes), DLHT_OK);
    }
    here = (struct replica *)(void *)&here;
    finds = found = answered = 0;
    CHECK_EQ(write(fds[1], bytes.data, bytes.len), (ssize_t)bytes.len);
    loop_turn(loop, 0);
    CHECK_EQ(ticket_count, 2); /* the put and the range */
    CHECK_EQ(answered, 4);
    CHECK_EQ(finds, 3);
    CHECK_EQ(found, 6 + 1 + 1);
    here = NULL;
    answer_all();
    turns(2);
    CHECK(takes_some(fds[1]));
    buf_deinit(&bytes);
    close(fds[1]);
    turns(2);
    CHECK_EQ(door_callers(door), 0);
}

int main(void)
{
    const struct door_calls calls = { .now = now,
                                      .hello = greet,
                                      .message = hear,
                                      .find = find_records,
                                      .at_spot = answer_at_spot,
                                      .propose = propose_puts,
                                      .request = note,
                                      .log = log_line };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    value = calloc(1, VALUE);
    CHECK(value && fd >= 0);
    CHECK_EQ(listen(fd, 4), 0);
    CHECK_EQ(loop_new(&loop), DLHT_OK);
    CHECK_EQ(door_new(loop, "127.0.0.1:1", fd, 64, &calls, &door), DLHT_OK);
    who_takes_nothing_is_shown_out();
    all_together_are_bounded();
    what_an_event_made_stale_is_found_again();
    door_free(door);
    loop_free(loop);
    free(value);
    return check_done();
}
