/* SPDX-License-Identifier: Apache-2.0 */

/* The client against a scripted server in the same thread: what it sends, what
 * it sends again after a loss, and what it answers when nothing comes. */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/check.h"
#include "net/client.h"
#include "net/client_script.h"
#include "wire/mp.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_lost_write_is_sent_again_under_its_number(void)
{
    char a[64], b[64], both[140];
    int fds[2] = { raw_listen(a), raw_listen(b) };
    snprintf(both, sizeof both, "%s,%s", a, b);
    struct client *c;
    CHECK_EQ(client_new(both, false, &c, NULL), DLHT_OK);
    struct outcome put = { 0 }, get = { 0 }, late = { 0 };
    submit(c, DLHT_OP_PUT, 5000, &put);
    submit(c, DLHT_OP_GET, 5000, &get);
    struct raw first = serve(fds[0], c, DLHT_OK);
    struct request q1 = next_request(&first, c);
    struct id session = q1.session;
    CHECK_EQ(q1.op, OP_PUT);
    CHECK_EQ(q1.number, 1);
    CHECK_EQ(q1.lowest_open, 1);
    CHECK(!id_is_zero(&session));
    struct request q2 = next_request(&first, c);
    CHECK_EQ(q2.op, OP_GET);
    CHECK_EQ(q2.number, 0); /* reads need none */
    raw_close(&first);

    struct raw second = serve(fds[1], c, DLHT_OK);
    q1 = next_request(&second, c);
    CHECK_EQ(q1.op, OP_PUT);
    CHECK_EQ(q1.number, 1);
    CHECK(id_equal(&q1.session, &session));
    uint32_t stream = second.message.stream;
    q2 = next_request(&second, c);
    CHECK_EQ(q2.op, OP_GET);
    uint32_t get_stream = second.message.stream;
    answer(&second, c, stream, DLHT_OK);
    CHECK_EQ(put.count, 1);
    CHECK_EQ(put.status, DLHT_OK);
    answer(&second, c, stream, DLHT_OK); /* twice: ignored */
    CHECK_EQ(put.count, 1);
    answer(&second, c, get_stream, DLHT_OK);
    CHECK_EQ(get.count, 1);
    CHECK_EQ(get.value_len, 5);

    submit(c, DLHT_OP_PUT, 5000, &late);
    struct request q3 = next_request(&second, c);
    CHECK_EQ(q3.number, 2);
    CHECK_EQ(q3.lowest_open, 2); /* the first is answered */
    raw_close(&second);
    client_free(c);
    CHECK_EQ(late.count, 1);
    CHECK_EQ(late.status, DLHT_EUNKNOWN);
    close(fds[0]);
    close(fds[1]);
}

static void time_runs_out(void)
{
    char a[64];
    int fd = raw_listen(a);
    struct client *c;
    CHECK_EQ(client_new(a, false, &c, NULL), DLHT_OK);
    struct raw raw = serve(fd, c, DLHT_OK);
    struct outcome put = { 0 }, get = { 0 };
    double begin = now_s();
    submit(c, DLHT_OP_PUT, 200, &put);
    submit(c, DLHT_OP_GET, 100, &get);
    while (get.count == 0)
        client_poll(c, -1);
    CHECK_EQ(get.status, DLHT_ETIMEOUT);
    CHECK(now_s() - begin >= 0.1 && now_s() - begin < 0.19);
    while (put.count == 0)
        client_poll(c, -1);
    CHECK_EQ(put.status, DLHT_EUNKNOWN);
    CHECK(now_s() - begin >= 0.2 && now_s() - begin < 0.4);
    /* An answer that comes after all finds nobody. */
    (void)next_request(&raw, c);
    answer(&raw, c, raw.message.stream, DLHT_OK);
    CHECK_EQ(put.count, 1);
    raw_close(&raw);
    close(fd);
    client_poll(c, 50); /* notices */
    /* Nobody there: nothing was sent, so it is known not to have happened. */
    struct outcome none = { 0 };
    submit(c, DLHT_OP_PUT, 100, &none);
    while (none.count == 0)
        client_poll(c, -1);
    CHECK_EQ(none.status, DLHT_ETIMEOUT);
    client_free(c);
}

/* The linker sends the client's looks at the clock here. */
static uint64_t later_ns;
uint64_t __real_sys_now_ns(void);
uint64_t __wrap_sys_now_ns(void);

uint64_t __wrap_sys_now_ns(void)
{
    return __real_sys_now_ns() + later_ns;
}

/* A handle that nobody touched for long still knows the time. */
static void a_long_silence_does_not_matter(void)
{
    static const uint64_t seconds[] = { 0, 30, 60, 64, 70, 200, 100000 };
    char a[64];
    int fd = raw_listen(a);
    struct client *c;
    CHECK_EQ(client_new(a, false, &c, NULL), DLHT_OK);
    struct raw raw = serve(fd, c, DLHT_OK);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        struct outcome o = { 0 };
        later_ns += seconds[i] * UINT64_C(1000000000);
        submit(c, DLHT_OP_GET, 30000, &o);
        client_poll(c, 0);
        (void)next_request(&raw, c);
        answer(&raw, c, raw.message.stream, DLHT_OK);
        CHECK_EQ(o.count, 1);
        CHECK_EQ(o.status, DLHT_OK);
    }
    raw_close(&raw);
    close(fd);
    client_free(c);
}

static void a_node_that_goes_is_left(void)
{
    char a[64], b[64], both[140];
    int fds[2] = { raw_listen(a), raw_listen(b) };
    snprintf(both, sizeof both, "%s,%s", a, b);
    struct client *c;
    CHECK_EQ(client_new(both, false, &c, NULL), DLHT_OK);
    struct outcome put = { 0 };
    submit(c, DLHT_OP_PUT, 5000, &put);
    struct raw first = serve(fds[0], c, DLHT_OK);
    (void)next_request(&first, c);
    answer(&first, c, first.message.stream, DLHT_ECLOSED);
    CHECK_EQ(put.count, 0);
    struct raw second = serve(fds[1], c, DLHT_OK);
    (void)next_request(&second, c);
    /* And one that is silent while it owes an answer. */
    raw_close(&first);
    double begin = now_s();
    struct raw third = serve(fds[0], c, DLHT_OK);
    CHECK(now_s() - begin > 1.5);
    struct request q = next_request(&third, c);
    CHECK_EQ(q.number, 1);
    answer(&third, c, third.message.stream, DLHT_OK);
    CHECK_EQ(put.status, DLHT_OK);
    raw_close(&second);
    raw_close(&third);
    client_free(c);
    close(fds[0]);
    close(fds[1]);
}

/* Who polls rarely, too, leaves a node that owes an answer and is silent; and
 * what came while nobody listened counts. */
static void silence_is_judged_by_what_came(void)
{
    char a[64], b[64], both[140];
    int fds[2] = { raw_listen(a), raw_listen(b) };
    snprintf(both, sizeof both, "%s,%s", a, b);
    struct client *c;
    CHECK_EQ(client_new(both, false, &c, NULL), DLHT_OK);
    struct outcome get = { 0 }, lost = { 0 };
    submit(c, DLHT_OP_GET, 60000, &get);
    struct raw first = serve(fds[0], c, DLHT_OK);
    (void)next_request(&first, c);
    struct message m = { .type = MESSAGE_RESPONSE,
                         .stream = first.message.stream };
    CHECK(raw_say(&first, &m));
    later_ns += UINT64_C(10000000000); /* the program was busy */
    client_poll(c, 0);
    CHECK_EQ(get.count, 1);
    CHECK(!raw_wait(fds[1], 0));
    submit(c, DLHT_OP_GET, 60000, &lost);
    (void)next_request(&first, c);
    for (int i = 0; i < 6; i++) {
        later_ns += UINT64_C(600000000);
        client_poll(c, 0);
    }
    CHECK(raw_wait(fds[1], 0));
    struct raw second = serve(fds[1], c, DLHT_OK);
    (void)next_request(&second, c);
    raw_close(&first);
    raw_close(&second);
    client_free(c);
    close(fds[0]);
    close(fds[1]);
}

/* An answer that never came is a debt: its node is left when it has been silent
 * for long, not when it is next asked for something. */
static void a_debt_runs_out(void)
{
    char a[64], b[64], both[140];
    int fds[2] = { raw_listen(a), raw_listen(b) };
    snprintf(both, sizeof both, "%s,%s", a, b);
    struct client *c;
    CHECK_EQ(client_new(both, false, &c, NULL), DLHT_OK);
    struct outcome get = { 0 }, put = { 0 };
    submit(c, DLHT_OP_GET, 100, &get);
    struct raw first = serve(fds[0], c, DLHT_OK);
    (void)next_request(&first, c);
    while (get.count == 0)
        client_poll(c, -1);
    for (int i = 0; i < 25; i++) {
        later_ns += UINT64_C(100000000);
        client_poll(c, 0);
    }
    submit(c, DLHT_OP_PUT, 60000, &put);
    struct raw second = serve(fds[1], c, DLHT_OK);
    CHECK_EQ(next_request(&second, c).op, OP_PUT);
    answer(&second, c, second.message.stream, DLHT_EUNAVAILABLE);
    CHECK_EQ(put.status, DLHT_EUNAVAILABLE); /* known: it was sent once */
    CHECK(!raw_receive(&first, 0));
    raw_close(&first);
    raw_close(&second);
    client_free(c);
    close(fds[0]);
    close(fds[1]);
}

static void the_window_of_writes_is_bounded(void)
{
    enum {
        COUNT = CLIENT_WINDOW_MAX + 100
    };
    char a[64];
    int fd = raw_listen(a);
    struct client *c;
    CHECK_EQ(client_new(a, false, &c, NULL), DLHT_OK);
    struct raw raw = serve(fd, c, DLHT_OK);
    struct outcome puts = { 0 };
    for (int i = 0; i < COUNT; i++)
        submit(c, DLHT_OP_PUT, 30000, &puts);
    static uint32_t streams[COUNT];
    uint32_t sent = 0;
    for (int idle = 0; idle < 20;) {
        client_poll(c, 0);
        if (!raw_receive(&raw, 5)) {
            idle++;
            continue;
        }
        CHECK_EQ(raw.message.u.request.number, sent + 1);
        CHECK_EQ(raw.message.u.request.lowest_open, 1);
        streams[sent++] = raw.message.stream;
    }
    CHECK_EQ(sent, CLIENT_WINDOW_MAX);
    /* All but the lowest: no room yet. Then the lowest. */
    for (uint32_t i = 1; i < 50; i++)
        answer(&raw, c, streams[i], DLHT_OK);
    client_poll(c, 5);
    CHECK(!raw_receive(&raw, 20));
    answer(&raw, c, streams[0], DLHT_OK);
    struct request q = next_request(&raw, c);
    CHECK_EQ(q.number, CLIENT_WINDOW_MAX + 1);
    CHECK_EQ(q.lowest_open, 51);
    CHECK_EQ(puts.count, 50);
    raw_close(&raw);
    client_free(c);
    CHECK_EQ(puts.count, COUNT);
    close(fd);
}

static void peers_are_learned(void)
{
    char a[64], b[64];
    int fds[2] = { raw_listen(a), raw_listen(b) };
    struct client *c;
    CHECK_EQ(client_new(a, true, &c, NULL), DLHT_OK);
    struct raw first = serve(fds[0], c, DLHT_OK);
    client_poll(c, 1100); /* it stays: it asks */
    struct request q = next_request(&first, c);
    CHECK_EQ(q.op, OP_PEERS);
    struct buf document = { 0 };
    mp_write_array(&document, 2);
    for (int i = 0; i < 2; i++) {
        mp_write_map(&document, 3);
        mp_write_cstr(&document, "peer");
        mp_write_cstr(&document, i ? "127.0.0.1:1" : b);
        mp_write_cstr(&document, "weight");
        mp_write_uint(&document, 1);
        mp_write_cstr(&document, "state");
        mp_write_cstr(&document, i ? "down" : "up");
    }
    struct message m = { .type = MESSAGE_RESPONSE,
                         .stream = first.message.stream };
    m.u.response = (struct response){ .value = buf_span(&document) };
    CHECK(raw_say(&first, &m));
    client_poll(c, 20);
    buf_deinit(&document);
    raw_close(&first);
    struct raw second = serve(fds[1], c, DLHT_OK);
    raw_close(&second);
    client_free(c);
    close(fds[0]);
    close(fds[1]);
}

static void a_server_that_babbles_is_left(void)
{
    char a[64];
    int fd = raw_listen(a);
    struct client *c;
    CHECK_EQ(client_new(a, false, &c, NULL), DLHT_OK);
    struct outcome get = { 0 };
    submit(c, DLHT_OP_GET, 5000, &get);
    for (int i = 0; i < 3; i++) {
        struct raw raw = serve(fd, c, DLHT_OK);
        (void)next_request(&raw, c);
        CHECK(raw_send(raw.fd, "HTTP/1.1 400 Bad Request", 24));
        client_poll(c, 20);
        CHECK(raw_is_closed(raw.fd, 1000));
        raw_close(&raw);
    }
    CHECK_EQ(get.count, 0);
    struct raw raw = serve(fd, c, DLHT_OK);
    (void)next_request(&raw, c);
    answer(&raw, c, raw.message.stream, DLHT_OK);
    CHECK_EQ(get.count, 1);
    raw_close(&raw);
    client_free(c);
    close(fd);
}

static void what_cannot_be_asked_is_refused(void)
{
    struct client *c;
    struct dlht_error error;
    CHECK_EQ(client_new("nonsense", false, &c, &error), DLHT_EINVAL);
    CHECK_EQ(client_new("127.0.0.1:1", false, &c, NULL), DLHT_OK);
    static char big[VALUE_LEN_MAX + 1];
    const struct {
        struct dlht_request q;
        int rc;
    } rows[] = {
        { { .op = DLHT_OP_PUT }, DLHT_EINVAL },
        { { .op = (enum dlht_op)99, .key = { "k", 1 } }, DLHT_EINVAL },
        { { .op = DLHT_OP_PUT, .key = { big, KEY_LEN_MAX + 1 } },
          DLHT_ETOOBIG },
        { { .op = DLHT_OP_PUT,
            .key = { "k", 1 },
            .value = { big, sizeof big } },
          DLHT_ETOOBIG },
        { { .op = DLHT_OP_MGET }, DLHT_EINVAL },
        { { .op = (enum dlht_op)OP_ARC_INFO, .key = { "k", 1 } }, DLHT_EINVAL },
        { { .op = (enum dlht_op)OP_MODEL_REPORT }, DLHT_EINVAL },
        { { .op = DLHT_OP_RANGE, .estimate = true }, DLHT_EINVAL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct outcome o = { 0 };
        CHECK_EQ(client_submit(c, &rows[i].q, on_answer, &o), rows[i].rc);
        CHECK_EQ(o.count, 0);
    }
    CHECK_EQ(client_connect(c, 100, &error), DLHT_EUNAVAILABLE);
    struct dlht_request ping = { .op = DLHT_OP_PING };
    struct outcome o = { 0 };
    int rc = DLHT_OK;
    for (int i = 0; i < CLIENT_OPEN_MAX && rc == DLHT_OK; i++)
        rc = client_submit(c, &ping, on_answer, &o);
    CHECK_EQ(rc, DLHT_OK);
    CHECK_EQ(client_submit(c, &ping, on_answer, &o), DLHT_EBUSY);
    client_free(c);
    CHECK_EQ(o.count, CLIENT_OPEN_MAX);
    CHECK_EQ(o.status, DLHT_ECLOSED);
}

/* What trains or replaces a model has a number, what shows it has none. */
static void models_are_asked_and_changed(void)
{
    static const struct {
        enum dlht_op op;
        const char *document;
        bool estimate;
        bool is_write;
    } rows[] = {
        { DLHT_OP_MODEL,
          "\x81\xa6"
          "action\xa4show",
          false, false },
        { DLHT_OP_MODEL,
          "\x82\xa5model\xa1x\xa6"
          "action\xa6import",
          false, true },
        { DLHT_OP_MODEL,
          "\x81\xa6"
          "action\xa5train",
          false, true },
        { DLHT_OP_MODEL,
          "\x81\xa6"
          "action\xa7history",
          false, false },
        { DLHT_OP_MODEL, "", false, false },
        { DLHT_OP_KEYSPACE_SET, "\x81\xa4name\xa1k", false, true },
        { DLHT_OP_KEYSPACE_SHOW, "\x81\xa4name\xa1k", false, false },
        { DLHT_OP_PRESPLIT, "\x81\xa4keys\x90", false, true },
        { DLHT_OP_COUNT, "", true, false },
    };
    char a[64];
    int fd = raw_listen(a);
    struct client *c;
    CHECK_EQ(client_new(a, false, &c, NULL), DLHT_OK);
    struct raw raw = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = rows[i].document;
        struct dlht_request q = { .op = rows[i].op,
                                  .estimate = rows[i].estimate,
                                  .document = { text, strlen(text) } };
        struct outcome o = { 0 };
        CHECK_EQ(client_submit(c, &q, on_answer, &o), DLHT_OK);
        if (i == 0)
            raw = serve(fd, c, DLHT_OK);
        struct request got = next_request(&raw, c);
        CHECK_EQ(got.op, (uint8_t)rows[i].op);
        CHECK_EQ(got.number != 0, rows[i].is_write);
        CHECK_EQ(got.flags, rows[i].estimate ? REQUEST_ESTIMATE : 0);
        CHECK(span_equal(got.value, span_str(text)));
        answer(&raw, c, raw.message.stream, DLHT_OK);
        CHECK_EQ(o.count, 1);
    }
    client_free(c);
    raw_close(&raw);
    close(fd);
}

int main(void)
{
    a_lost_write_is_sent_again_under_its_number();
    time_runs_out();
    a_long_silence_does_not_matter();
    a_node_that_goes_is_left();
    silence_is_judged_by_what_came();
    a_debt_runs_out();
    the_window_of_writes_is_bounded();
    peers_are_learned();
    a_server_that_babbles_is_left();
    what_cannot_be_asked_is_refused();
    models_are_asked_and_changed();
    return check_done();
}
