/* SPDX-License-Identifier: Apache-2.0 */

/* Strangers at the port of a node: each loses its own connection at most, and
 * an honest client beside them is served all the while. */

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "dlht/dlht.h"
#include "net/check.h"
#include "net/raw.h"

static int log_lines;

static void count_log(void *context, enum dlht_log_level level,
                      const char *text)
{
    (void)context, (void)level, (void)text;
    log_lines++;
}

static struct dlht *node;
static struct dlht *honest;
static const char *address;

static void still_serves(void)
{
    CHECK_EQ(dlht_put(honest, NULL, "k", 1, "v", 1, NULL), DLHT_OK);
}

/* Whole frames with right headers and random insides, headers with random
 * fields, and plain noise. */
static void garbage_costs_one_connection(void)
{
    struct rng rng;
    uint64_t seed = 4711;
    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    int fd = -1;
    for (int i = 0; i < 10000; i++) {
        uint8_t bytes[512];
        size_t len = 1 + rng_below(&rng, sizeof bytes);
        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)rng_next(&rng);
        if (i % 3 == 0 && len > 16) {
            static const uint8_t head[] = { FRAME_MAGIC, FRAME_LAYOUT };
            memcpy(bytes, head, 2);
            bytes[2] = (uint8_t)rng_below(&rng, 20);
            memset(bytes + 3, 0, 5);
            bytes[7] = (uint8_t)(len - 16);
        } else if (i % 3 == 1) {
            bytes[0] = i % 2 ? 0x93 : 0x94;
        }
        if (fd == -1)
            fd = raw_connect(address);
        CHECK(fd != -1);
        raw_send(fd, bytes, len);
        if (i % 2) {
            close(fd);
            fd = -1;
        }
        if (i % 1000 == 0)
            still_serves();
    }
    if (fd != -1)
        close(fd);
    still_serves();
    CHECK(log_lines < 1000);
}

static void what_is_not_understood_is_closed(void)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", 18, "another protocol" },
        { "\xd1\x01\x02\x00\x7f\xff\xff\xff\0\0\0\0\0\0\0\0", 16, "oversized" },
        { "\xd1\x63", 2, "a layout to come" },
        { "\xd1\x01\x02\x00\0\0\0\x01\0\0\0\0\0\0\0\0\x90", 17, "checksum" },
        { "\x93\x05\x01\x02", 4, "no rpc message" },
        { "\x94\xdd\xff\xff\xff\xff", 6, "a claim of 2^32 elements" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = raw_connect(address);
        CHECK(raw_send(fd, rows[i].bytes, rows[i].len));
        if (!raw_is_closed(fd, 3000))
            CHECK(!rows[i].why);
        close(fd);
    }
    still_serves();
}

/* Frames that are sound but out of place. */
static void order_of_frames_is_kept(void)
{
    struct message request = { .type = MESSAGE_REQUEST, .stream = 1 };
    request.u.request = (struct request){ .op = OP_PING };
    struct raw raw = { .fd = raw_connect(address) };
    CHECK(raw_say(&raw, &request));
    CHECK(raw_is_closed(raw.fd, 3000)); /* no hello */
    raw_close(&raw);

    raw = (struct raw){ .fd = raw_connect(address) };
    CHECK(raw_greet(&raw));
    CHECK(raw_say(&raw, &request));
    CHECK(raw_receive(&raw, 3000));
    CHECK_EQ(raw.message.type, MESSAGE_RESPONSE);
    CHECK_EQ(raw.message.stream, 1);
    struct message digest = { .type = MESSAGE_DIGEST };
    CHECK(raw_say(&raw, &digest)); /* a client is no peer */
    CHECK(raw_is_closed(raw.fd, 3000));
    raw_close(&raw);
}

static void hello_is_refused_with_its_reason(void)
{
    static const struct {
        uint32_t version;
        uint8_t cluster;
        uint8_t kind;
        int32_t status;
    } rows[] = {
        { WIRE_VERSION + 1, 0, HELLO_CLIENT, DLHT_EVERSION },
        { WIRE_VERSION, 9, HELLO_PEER, DLHT_ECLUSTER },
        { WIRE_VERSION, 0, HELLO_PEER, DLHT_OK },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct message m = { .type = MESSAGE_HELLO };
        m.u.hello =
            (struct hello){ .version = rows[i].version, .kind = rows[i].kind };
        m.u.hello.peer.bytes[3] = 1;
        m.u.hello.addr = span_str("127.0.0.1:1");
        memset(m.u.hello.cluster.bytes, rows[i].cluster, ID_BYTES);
        struct raw raw = { .fd = raw_connect(address) };
        CHECK(raw_say(&raw, &m));
        CHECK(raw_receive(&raw, 3000));
        CHECK_EQ(raw.message.type, MESSAGE_HELLO);
        CHECK_EQ(raw.message.u.hello.status, rows[i].status);
        if (rows[i].status)
            CHECK(raw_is_closed(raw.fd, 3000));
        raw_close(&raw);
    }
}

static void a_message_may_come_byte_by_byte(void)
{
    static const char put[] = "\x94\x00\x01\xa3put\x92\xa1k\xa1w"
                              "\x94\x00\x02\xa3get\x91\xa1k";
    static const char want[] = "\x94\x01\x01\xc0";
    int fd = raw_connect(address);
    for (size_t i = 0; i + 1 < sizeof put; i++) {
        CHECK(raw_send(fd, put + i, 1));
        if (i % 5 == 0)
            usleep(2000);
    }
    char got[64];
    size_t len = 0;
    while (len < 14 && raw_wait(fd, 3000)) {
        ssize_t n = recv(fd, got + len, sizeof got - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    CHECK_EQ(len, 14);
    CHECK(memcmp(got, want, 4) == 0);
    close(fd);

    struct raw raw = { .fd = raw_connect(address) };
    CHECK(raw_greet(&raw));
    struct message m = { .type = MESSAGE_REQUEST, .stream = 77 };
    m.u.request = (struct request){ .op = OP_GET, .key = span_str("k") };
    struct buf out = { 0 };
    CHECK_EQ(codec_pack(&m, &out), DLHT_OK);
    for (size_t i = 0; i < out.len; i++) {
        CHECK(raw_send(raw.fd, out.data + i, 1));
        usleep(500);
    }
    CHECK(raw_receive(&raw, 3000));
    CHECK_EQ(raw.message.stream, 77);
    CHECK(span_equal(raw.message.u.response.value, span_str("w")));
    buf_deinit(&out);
    raw_close(&raw);
}

static size_t memory_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss;
}

/* Asks for gigabytes and reads nothing. */
static void a_client_that_never_reads_is_bounded(void)
{
    size_t len = 1 << 20;
    char *value = calloc(1, len);
    CHECK_EQ(dlht_put(honest, NULL, "big", 3, value, len, NULL), DLHT_OK);
    free(value);
    struct message m = { .type = MESSAGE_REQUEST };
    m.u.request = (struct request){ .op = OP_GET, .key = span_str("big") };
    struct buf out = { 0 };
    for (m.stream = 0; m.stream < 8192; m.stream++)
        CHECK_EQ(codec_pack(&m, &out), DLHT_OK);
    size_t before = memory_kib();
    struct raw raw = { .fd = raw_connect(address) };
    CHECK(raw_greet(&raw));
    for (int i = 0; i < 20; i++) {
        send(raw.fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        usleep(10000);
    }
    still_serves();
    CHECK(memory_kib() - before < 200 * 1024);
    /* It is not punished: once it reads, all is answered. */
    for (uint32_t i = 0; i < 100; i++) {
        CHECK(raw_receive(&raw, 5000));
        int status = raw.message.u.response.status;
        CHECK(status == DLHT_OK || status == DLHT_EBUSY);
    }
    raw_close(&raw);
    buf_deinit(&out);
}

static void a_thousand_connections_are_served(void)
{
    enum {
        COUNT = 1000
    };
    static int fds[COUNT];
    static const char ping[] = "\x94\x00\x07\xa4ping\x90";
    static const char pong[] = "\x94\x01\x07\xc0\xc3";
    for (int i = 0; i < COUNT; i++) {
        fds[i] = raw_connect(address);
        CHECK(fds[i] != -1);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++)
            CHECK(raw_send(fds[i], ping, sizeof ping - 1));
        for (int i = 0; i < COUNT; i++) {
            char got[5] = "";
            CHECK(raw_wait(fds[i], 5000) && recv(fds[i], got, 5, 0) == 5 &&
                  memcmp(got, pong, 5) == 0);
        }
    }
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    still_serves();
}

int main(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 8192 ? limit.rlim_max : 8192;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "127.0.0.1:0";
    config.log = count_log;
    CHECK_EQ(dlht_open(&config, &node, NULL), DLHT_OK);
    address = dlht_address(node);
    CHECK_EQ(dlht_connect(address, 5000, &honest, NULL), DLHT_OK);
    a_message_may_come_byte_by_byte();
    order_of_frames_is_kept();
    hello_is_refused_with_its_reason();
    what_is_not_understood_is_closed();
    a_client_that_never_reads_is_bounded();
    a_thousand_connections_are_served();
    garbage_costs_one_connection();
    dlht_close(honest);
    dlht_close(node);
    return check_done();
}
