/* SPDX-License-Identifier: Apache-2.0 */

/* A client that asks owners: how it learns who leads what, from nodes played by
 * hand; and what it does when that is wrong, or they are gone. */

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "net/check.h"
#include "net/client.h"
#include "net/client_script.h"
#include "wire/mp.h"

enum {
    FORWARDED = 64, /* as many are asked of one node before it learns */
    HOME = 1,
    OWNER = 2
};

/* A home node that the client is given, and another that it may learn of. */
struct stage {
    char home_addr[64], owner_addr[64];
    int home_fd, owner_fd;
    struct client *client;
    struct raw home, owner;
};

/* What LOOKUP says of a key: NULL: not said. */
struct told {
    const char *lo, *hi, *owner, *placement;
};

static void write_text(struct buf *b, const char *name, const char *text)
{
    mp_write_cstr(b, name);
    if (text)
        mp_write_bin(b, span_str(text));
    else
        mp_write_nil(b);
}

static void tell(struct stage *s, uint32_t stream, const struct told *told)
{
    struct buf document = { 0 };
    mp_write_map(&document, 5);
    write_text(&document, "lo", told->lo);
    write_text(&document, "hi", told->hi);
    write_text(&document, "owner", told->owner);
    write_text(&document, "placement", told->placement);
    mp_write_cstr(&document, "generation");
    mp_write_uint(&document, 3);
    struct response response = { .value = buf_span(&document), .hops = 1 };
    answer_with(&s->home, s->client, stream, &response);
    buf_deinit(&document);
}

/* The next request, but for the question who else is there. */
static struct request next(struct stage *s, struct raw *raw)
{
    struct request q = next_request(raw, s->client);
    while (q.op == OP_PEERS) {
        answer(raw, s->client, raw->message.stream, DLHT_EUNAVAILABLE);
        q = next_request(raw, s->client);
    }
    return q;
}

/* The owner lets the client in. */
static void let_in(struct stage *s, uint8_t peer)
{
    s->owner = serve_as(s->owner_fd, s->client, DLHT_OK, peer);
    client_poll(s->client, 20);
}

/* So many gets of the key, answered by home as fetched from elsewhere; the
 * lookup that follows, if there is one, is left in s->home. */
static void forward(struct stage *s, const char *key, int count)
{
    for (int i = 0; i < count; i++) {
        struct outcome o = { 0 };
        submit_key(s->client, DLHT_OP_GET, key, &o);
        struct request q = next(s, &s->home);
        CHECK_EQ(q.op, OP_GET);
        struct response response = { .value = span_str("value"), .hops = 1 };
        answer_with(&s->home, s->client, s->home.message.stream, &response);
        CHECK_EQ(o.count, 1);
    }
}

static void begin(struct stage *s)
{
    memset(s, 0, sizeof *s);
    s->home_fd = raw_listen(s->home_addr);
    s->owner_fd = raw_listen(s->owner_addr);
    CHECK_EQ(client_new(s->home_addr, true, &s->client, NULL), DLHT_OK);
    s->home = serve_as(s->home_fd, s->client, DLHT_OK, HOME);
}

/* ... until the client knows that the owner has the keys of [b, d). */
static void begin_learned(struct stage *s, const char *placement)
{
    begin(s);
    forward(s, "bee", FORWARDED);
    struct request q = next(s, &s->home);
    CHECK_EQ(q.op, OP_LOOKUP);
    CHECK(span_equal(q.key, span_str("bee")));
    struct told told = { "b", "d", s->owner_addr, placement };
    tell(s, s->home.message.stream, &told);
}

static void end(struct stage *s)
{
    client_free(s->client);
    if (s->home.fd > 0)
        raw_close(&s->home);
    if (s->owner.fd > 0)
        raw_close(&s->owner);
    if (s->home_fd > 0)
        close(s->home_fd);
    close(s->owner_fd);
}

/* A request for the key reaches that node. */
static void check_asks(struct stage *s, struct raw *raw, const char *key)
{
    struct outcome o = { 0 };
    submit_key(s->client, DLHT_OP_GET, key, &o);
    struct request q = next(s, raw);
    CHECK_EQ(q.op, OP_GET);
    CHECK(span_equal(q.key, span_str(key)));
    /* Silence would bring it home in the end, too. */
    if (raw == &s->home && s->owner.fd > 0)
        CHECK(!raw_receive(&s->owner, 0));
    answer(raw, s->client, raw->message.stream, DLHT_OK);
    CHECK_EQ(o.count, 1);
    CHECK_EQ(o.status, DLHT_OK);
}

/* ... and the owner has let it in. Until then home is asked. */
static void begin_owned(struct stage *s)
{
    begin_learned(s, "ordered");
    check_asks(s, &s->home, "bee");
    let_in(s, OWNER);
}

static void owners_are_asked(void)
{
    struct stage s;
    begin_learned(&s, "ordered");
    /* Until the owner has let it in, home is asked. */
    check_asks(&s, &s.home, "bee");
    let_in(&s, OWNER);
    check_asks(&s, &s.owner, "bee");
    check_asks(&s, &s.owner, "b");
    check_asks(&s, &s.owner, "czz");
    check_asks(&s, &s.home, "a");
    check_asks(&s, &s.home, "d");

    /* What has several keys goes where the first is. */
    struct outcome o = { 0 };
    struct dlht_record keys[] = { { .key = { "cat", 3 } },
                                  { .key = { "zoo", 3 } } };
    struct dlht_request q = { .op = DLHT_OP_MGET,
                              .records = keys,
                              .record_count = 2 };
    CHECK_EQ(client_submit(s.client, &q, on_answer, &o), DLHT_OK);
    CHECK_EQ(next(&s, &s.owner).op, OP_MGET);
    /* What has no key goes home. */
    submit(s.client, DLHT_OP_STATUS, 5000, &o);
    CHECK_EQ(next(&s, &s.home).op, OP_STATUS);
    end(&s);
    CHECK_EQ(o.count, 2);
}

static void a_hashed_key_goes_where_its_hash_is(void)
{
    static const char *const keys[] = { "bee", "cat", "k1", "k2",
                                        "k3",  "k4",  "k5", "k6" };
    struct stage s;
    begin_learned(&s, "hashed");
    struct outcome o = { 0 };
    /* "b" is 0x62, "d" 0x64: one key in 128, so that of these none is there;
     * bee was told to be, which is a lie. */
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint64_t top = hash64(span_str(keys[i])) >> 56;
        CHECK(top < 0x62 || top >= 0x64);
        check_asks(&s, &s.home, keys[i]);
    }
    char key[16];
    for (int i = 0;; i++) {
        snprintf(key, sizeof key, "n%d", i);
        uint64_t top = hash64(span_str(key)) >> 56;
        if (top >= 0x62 && top < 0x64)
            break;
    }
    submit_key(s.client, DLHT_OP_GET, key, &o);
    (void)next(&s, &s.home); /* the owner has to let it in */
    let_in(&s, OWNER);
    check_asks(&s, &s.owner, key);
    end(&s);
}

/* An answer that had to be fetched shows that the map is wrong. */
static void what_is_wrong_is_forgotten(void)
{
    struct stage s;
    begin_owned(&s);
    struct outcome o = { 0 };
    submit_key(s.client, DLHT_OP_GET, "cat", &o);
    (void)next(&s, &s.owner);
    struct response moved = { .value = span_str("value"), .hops = 1 };
    answer_with(&s.owner, s.client, s.owner.message.stream, &moved);
    CHECK_EQ(o.count, 1);
    forward(&s, "bee", 3);
    struct request q = next(&s, &s.home);
    CHECK_EQ(q.op, OP_LOOKUP); /* after four of them */
    struct told told = { "b", "c", s.owner_addr, "ordered" };
    tell(&s, s.home.message.stream, &told);
    check_asks(&s, &s.owner, "bee");
    check_asks(&s, &s.home, "cat");
    end(&s);
}

static void a_write_that_its_owner_lost_is_sent_home(void)
{
    struct stage s;
    begin_owned(&s);
    struct outcome put = { 0 }, other = { 0 };
    submit_key(s.client, DLHT_OP_PUT, "bee", &put);
    struct request first = next(&s, &s.owner);
    CHECK_EQ(first.op, OP_PUT);
    CHECK_EQ(first.number, 1);
    submit_key(s.client, DLHT_OP_PUT, "ant", &other);
    CHECK_EQ(next(&s, &s.home).number, 2);
    uint32_t other_stream = s.home.message.stream;
    raw_close(&s.owner);
    s.owner.fd = 0;
    struct request again = next(&s, &s.home);
    CHECK_EQ(again.number, 1);
    CHECK_EQ(again.lowest_open, 1);
    CHECK(id_equal(&again.session, &first.session));
    /* Refused now, but what the owner did is not known. */
    answer(&s.home, s.client, s.home.message.stream, DLHT_EUNAVAILABLE);
    CHECK_EQ(put.status, DLHT_EUNKNOWN);
    answer(&s.home, s.client, other_stream, DLHT_OK);
    CHECK_EQ(other.status, DLHT_OK);
    end(&s);
}

static void an_owner_that_is_silent_is_left(void)
{
    struct stage s;
    begin_owned(&s);
    struct outcome o = { 0 };
    submit_key(s.client, DLHT_OP_GET, "bee", &o);
    (void)next(&s, &s.owner);
    uint32_t late = s.owner.message.stream;
    CHECK_EQ(next(&s, &s.home).op, OP_GET);
    CHECK_EQ(s.home.message.stream, late);
    answer(&s.home, s.client, late, DLHT_OK);
    CHECK_EQ(o.count, 1);
    CHECK(raw_is_closed(s.owner.fd, 1000));
    end(&s);
}

/* How many lookups so many forwarded answers lead to, each told as given. */
static int lookups_of(struct stage *s, int count, const struct told *told)
{
    int lookups = 0, submitted = 0;
    struct outcome o = { 0 };
    for (int asked = 0; asked < count;) {
        for (; submitted == asked; submitted++)
            submit_key(s->client, DLHT_OP_GET, "bee", &o);
        struct request q = next(s, &s->home);
        uint32_t stream = s->home.message.stream;
        if (q.op == OP_LOOKUP) {
            lookups++;
            tell(s, stream, told);
            continue;
        }
        struct response response = { .value = span_str("value"), .hops = 1 };
        answer_with(&s->home, s->client, stream, &response);
        asked++;
    }
    return lookups;
}

/* Where lookups do not help there are fewer and fewer of them. */
static void an_owner_that_cannot_be_reached_does_not_matter(void)
{
    static const struct told tolds[] = {
        { "b", "d", "127.0.0.1:1", "ordered" },
        { "b", "d", "no.such.host.invalid:7", "ordered" },
        { "b", "d", NULL, "ordered" },
    };
    for (size_t i = 0; i < sizeof tolds / sizeof tolds[0]; i++) {
        struct stage s;
        begin(&s);
        int lookups = lookups_of(&s, 1000, &tolds[i]);
        CHECK(lookups >= 1 && lookups <= 10);
        end(&s);
    }
}

/* One that is gone is forgotten, and who has its arcs then is learned. */
static void an_owner_that_is_gone_is_replaced(void)
{
    struct stage s;
    begin_owned(&s);
    check_asks(&s, &s.owner, "bee");
    raw_close(&s.owner);
    close(s.owner_fd);
    s.owner_fd = raw_listen(s.owner_addr); /* another one */
    struct told told = { "b", "d", s.owner_addr, "ordered" };
    CHECK_EQ(lookups_of(&s, 16, &told), 1);
    let_in(&s, OWNER + 1);
    check_asks(&s, &s.owner, "bee");
    end(&s);
}

/* What its write to an owner could not bring away goes home at once. */
static void a_request_that_cannot_be_written_goes_home(void)
{
    struct stage s;
    begin_owned(&s);
    struct linger none = { .l_onoff = 1 };
    setsockopt(s.owner.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    raw_close(&s.owner); /* by a reset, while the client does not listen */
    s.owner.fd = 0;
    struct outcome put = { 0 };
    submit_key(s.client, DLHT_OP_PUT, "bee", &put);
    client_poll(s.client, 0); /* this one will do */
    CHECK(raw_receive(&s.home, 1000));
    CHECK_EQ(s.home.message.u.request.op, OP_PUT);
    answer(&s.home, s.client, s.home.message.stream, DLHT_OK);
    CHECK_EQ(put.status, DLHT_OK);
    end(&s);
}

static void an_owner_that_goes_is_left(void)
{
    struct stage s;
    begin_owned(&s);
    struct outcome put = { 0 };
    submit_key(s.client, DLHT_OP_PUT, "bee", &put);
    (void)next(&s, &s.owner);
    answer(&s.owner, s.client, s.owner.message.stream, DLHT_ECLOSED);
    CHECK_EQ(put.count, 0);
    CHECK_EQ(next(&s, &s.home).number, 1);
    end(&s);
}

/* Also with timeouts that are shorter than a silence is borne. */
static void who_lets_time_run_out_is_not_asked_again(void)
{
    struct stage s;
    begin_owned(&s);
    struct outcome o = { 0 };
    struct dlht_request q = { .op = DLHT_OP_GET,
                              .key = { "bee", 3 },
                              .timeout_ms = 100 };
    CHECK_EQ(client_submit(s.client, &q, on_answer, &o), DLHT_OK);
    (void)next(&s, &s.owner);
    while (o.count == 0)
        client_poll(s.client, -1);
    CHECK_EQ(o.status, DLHT_ETIMEOUT);
    check_asks(&s, &s.home, "bee");
    /* So it is with one that says that it cannot. */
    end(&s);
    begin_owned(&s);
    submit_key(s.client, DLHT_OP_GET, "bee", &o);
    (void)next(&s, &s.owner);
    answer(&s.owner, s.client, s.owner.message.stream, DLHT_EUNAVAILABLE);
    CHECK_EQ(o.status, DLHT_EUNAVAILABLE);
    check_asks(&s, &s.home, "bee");
    end(&s);
}

/* While there is no home, any node serves all that is asked. */
static void without_home_the_others_are_asked(void)
{
    struct stage s;
    begin_owned(&s);
    close(s.home_fd);
    raw_close(&s.home);
    client_poll(s.client, 20);
    check_asks(&s, &s.owner, "bee");
    check_asks(&s, &s.owner, "zoo");
    s.home_fd = s.home.fd = -1;
    end(&s);
}

/* Its address means another node here than there. */
static void an_owner_of_another_cluster_is_not_asked(void)
{
    struct stage s;
    begin_learned(&s, "ordered");
    check_asks(&s, &s.home, "bee");
    s.owner = serve_of(s.owner_fd, s.client, DLHT_OK, OWNER, 8);
    client_poll(s.client, 20);
    check_asks(&s, &s.home, "bee");
    CHECK(raw_is_closed(s.owner.fd, 1000));
    end(&s);
}

static void home_by_another_name_is_home(void)
{
    struct stage s;
    begin_learned(&s, "ordered");
    check_asks(&s, &s.home, "bee");
    let_in(&s, HOME);
    check_asks(&s, &s.home, "bee");
    CHECK(raw_is_closed(s.owner.fd, 1000));
    end(&s);
}

static void nonsense_about_places_is_ignored(void)
{
    static const struct told tolds[] = {
        { NULL, "d", "127.0.0.1:1", "ordered" },
        { "b", "d", "nowhere", "ordered" },
        { "b", "d", "unix:/tmp/x", "ordered" },
        { "b", "d", "127.0.0.1:1", NULL },
        { "d", "b", "127.0.0.1:1", "ordered" },
    };
    struct stage s;
    for (size_t i = 0; i < sizeof tolds / sizeof tolds[0]; i++) {
        begin(&s);
        CHECK(lookups_of(&s, 100, &tolds[i]) > 0);
        check_asks(&s, &s.home, "bee");
        end(&s);
    }
    static const int32_t statuses[] = { DLHT_OK, DLHT_EUNAVAILABLE };
    for (size_t i = 0; i < 2; i++) {
        begin(&s);
        forward(&s, "bee", FORWARDED);
        CHECK_EQ(next(&s, &s.home).op, OP_LOOKUP);
        answer(&s.home, s.client, s.home.message.stream, statuses[i]);
        check_asks(&s, &s.home, "bee"); /* `value` is no document */
        end(&s);
    }
}

/* A keyspace that is gone: its arcs are, too. */
static void a_keyspace_that_is_gone_is_forgotten(void)
{
    struct stage s;
    begin_owned(&s);
    struct outcome o = { 0 };
    submit_key(s.client, DLHT_OP_GET, "bee", &o);
    (void)next(&s, &s.owner);
    answer(&s.owner, s.client, s.owner.message.stream, DLHT_ENOKEYSPACE);
    CHECK_EQ(o.status, DLHT_ENOKEYSPACE);
    check_asks(&s, &s.home, "cat");
    end(&s);
}

int main(void)
{
    owners_are_asked();
    a_hashed_key_goes_where_its_hash_is();
    what_is_wrong_is_forgotten();
    a_write_that_its_owner_lost_is_sent_home();
    an_owner_that_is_silent_is_left();
    an_owner_that_cannot_be_reached_does_not_matter();
    an_owner_that_is_gone_is_replaced();
    a_request_that_cannot_be_written_goes_home();
    an_owner_that_goes_is_left();
    who_lets_time_run_out_is_not_asked_again();
    without_home_the_others_are_asked();
    an_owner_of_another_cluster_is_not_asked();
    home_by_another_name_is_home();
    nonsense_about_places_is_ignored();
    a_keyspace_that_is_gone_is_forgotten();
    return check_done();
}
