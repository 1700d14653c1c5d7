/* SPDX-License-Identifier: Apache-2.0 */

/* Open requests, the nodes they are sent to, and going over to another. */

#include "net/client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/rng.h"
#include "net/addr.h"
#include "net/client_call.h"
#include "net/client_link.h"
#include "net/client_map.h"
#include "net/client_peers.h"
#include "net/client_request.h"
#include "net/sys.h"
#include "wire/mp.h"

enum {
    CLIENT_LINKS_MAX = 1 + CLIENT_OWNERS_MAX,
    CLIENT_PASSED_MAX = 256, /* calls that cannot be sent yet, in one round */
    /* Who stays a moment only asks one node. Then arcs are looked up, a few at
     * once and after so many forwarded answers each; twice as many as long as
     * that leads to no node that lets us in. */
    CLIENT_FORWARDED_FIRST = 64,
    CLIENT_FORWARDED_EACH = 4,
    CLIENT_FORWARDED_MOST = 65536,
    CLIENT_LOOKUPS_MAX = 4
};

static const uint64_t CLIENT_MS = UINT64_C(1000000);
/* Asking for the peers makes the node ask all of them: not for who stays a
 * moment only, and not often. */
static const uint64_t CLIENT_LEARN_FIRST_NS = UINT64_C(1000000000);
static const uint64_t CLIENT_LEARN_NS = UINT64_C(60000000000);
static const uint64_t CLIENT_PAUSE_NS = UINT64_C(500000000);
static const uint64_t CLIENT_BACKOFF_MIN_NS = UINT64_C(20000000);
static const uint64_t CLIENT_BACKOFF_MAX_NS = UINT64_C(1000000000);
/* Of owners, beside whom there is always the home node. */
static const uint64_t CLIENT_OWNER_RETRY_NS = UINT64_C(1000000000);
static const uint64_t CLIENT_OWNER_IDLE_NS = UINT64_C(60000000000);

struct client {
    struct client_peers peers;
    bool learn;
    struct id session;
    struct rng rng;
    struct calls calls;
    struct call_list waiting; /* to be sent */
    struct call *fresh;       /* of them, from here on no deadline is set */
    struct wheel wheel;
    /* The first is home: the node that is asked what nobody else is known for.
     * The others are owners of arcs, each by its number in the map and one. */
    struct client_link links[CLIENT_LINKS_MAX];
    size_t link_count; /* all behind are unused */
    struct client_map map;
    struct id cluster;    /* of home; zero: not known yet */
    uint64_t forwarded;   /* answers that another node had to be asked for */
    uint64_t look_up_at;  /* forwarded, when an arc is next looked up */
    uint64_t look_up_gap; /* ... and from then to the one after it */
    unsigned lookups;     /* open */
    uint64_t now_ns;
    uint64_t learn_ns;
    int refusal; /* why the last hello was refused */
    struct codec_arena arena;
    struct client_result result;
    struct message message;
    int completed; /* callbacks in this poll */
    bool polling;
};

static struct client_link *client_home(struct client *c)
{
    return &c->links[0];
}

static bool is_home(const struct client *c, const struct client_link *link)
{
    return link == &c->links[0];
}

/* Nobody else can be asked. */
static bool is_alone(const struct client *c, const struct client_link *link)
{
    return is_home(c, link) && c->peers.count <= 1;
}

/* Calls. */

static void client_take_back(struct client *c, struct call *call)
{
    if (c->fresh == call)
        c->fresh = call->next;
    call_list_remove(call->link ? &call->link->sent : &c->waiting, call);
    call->link = NULL;
}

/* Tells the outcome in c->result; the call is over before its callback runs,
 * which may submit others. */
static void client_complete(struct client *c, struct call *call)
{
    dlht_fn fn = call->fn;
    void *context = call->context;
    if (!fn && call->request.op == OP_LOOKUP)
        c->lookups--;
    client_take_back(c, call);
    calls_close(&c->calls, call);
    if (!fn)
        return;
    c->completed++;
    fn(context, &c->result.result);
}

static void client_fail(struct client *c, struct call *call, int status)
{
    if (call->is_write && call->was_sent)
        client_result_fail(&c->result, DLHT_EUNKNOWN,
                           "no answer came: the write may have taken effect, "
                           "or may yet");
    else
        client_result_fail(&c->result, status, dlht_strerror(status));
    client_complete(c, call);
}

int client_submit(struct client *c, const struct dlht_request *request,
                  dlht_fn fn, void *context)
{
    int rc;
    struct call *call = calls_open(&c->calls, request, &rc);
    if (!call)
        return rc;
    call->fn = fn;
    call->context = context;
    call_list_append(&c->waiting, call);
    if (!c->fresh)
        c->fresh = call;
    return DLHT_OK;
}

static void client_set_deadlines(struct client *c)
{
    for (; c->fresh; c->fresh = c->fresh->next)
        wheel_put(&c->wheel, &c->fresh->deadline,
                  c->now_ns + c->fresh->request.timeout_ms * CLIENT_MS);
}

/* The key that says where a request belongs; empty: to any node. */
static struct span client_key(const struct request *q)
{
    struct mp_reader r;
    switch (q->op) {
    case OP_PUT:
    case OP_GET:
    case OP_DEL:
    case OP_CAS:
    case OP_VECTOR_PUT:
    case OP_VECTOR_GET:
    case OP_CACHE_EXPIRE:
    case OP_CACHE_LEASE:
        return q->key;
    case OP_MGET:
    case OP_BATCH:
    case OP_CAS_BATCH: /* whose first are keys */
        mp_reader_init(&r, q->list);
        return mp_read_bytes(&r);
    case OP_RANGE:
    case OP_COUNT:
        return q->flags & REQUEST_REVERSE ? span_empty() : q->key;
    default:
        return span_empty();
    }
}

static bool is_of_one_key(const struct request *q)
{
    return q->key.len > 0 && q->op != OP_RANGE && q->op != OP_COUNT &&
           client_key(q).len > 0;
}

/* An owner did not do what it was asked for: home is asked the next time. */
static void client_doubt(struct client *c, const struct call *call)
{
    const struct request *q = &call->request;
    if (call->link && !is_home(c, call->link))
        client_map_forget(&c->map, q->keyspace_name, client_key(q));
}

static void client_expire(struct client *c)
{
    struct wheel_node *node;
    while ((node = wheel_take(&c->wheel, c->now_ns))) {
        struct call *call = (struct call *)(void *)node;
        client_doubt(c, call);
        if (call->link)
            call->link->owes = true;
        client_fail(c, call, DLHT_ETIMEOUT);
    }
}

/* Connections. */

/* Home is the next address; a first failure of each costs no pause. */
static uint64_t client_leave_home(struct client *c, unsigned failures)
{
    uint64_t pause = 0;
    client_peers_next(&c->peers);
    if (failures > c->peers.count) {
        unsigned rounds = failures / (unsigned)c->peers.count;
        pause = CLIENT_BACKOFF_MIN_NS << (rounds < 6 ? rounds - 1 : 6);
        if (pause > CLIENT_BACKOFF_MAX_NS)
            pause = CLIENT_BACKOFF_MAX_NS;
        pause = pause / 2 + rng_below(&c->rng, pause);
    }
    return pause;
}

static uint64_t client_leave_owner(unsigned failures)
{
    return CLIENT_OWNER_RETRY_NS << (failures < 6 ? failures - 1 : 6);
}

/* Gives a connection up; what was sent on it waits to be sent again. */
static void client_drop(struct client *c, struct client_link *link)
{
    client_link_close(link);
    for (struct call *call = link->sent.first; call; call = call->next) {
        call->was_lost = true;
        call->link = NULL;
    }
    call_list_merge(&c->waiting, &link->sent);
    if (!is_home(c, link))
        client_map_forget_owner(&c->map, (int)(link - c->links) - 1);
    link->failures++;
    link->retry_ns =
        c->now_ns + (is_home(c, link) ? client_leave_home(c, link->failures)
                                      : client_leave_owner(link->failures));
    link->wanted = is_home(c, link);
}

static void client_begin_connect(struct client *c, struct client_link *link)
{
    if (is_home(c, link))
        strcpy(link->addr, client_peers_current(&c->peers));
    if (client_link_connect(link, c->now_ns) != DLHT_OK)
        client_drop(c, link);
}

/* One of the owners is home, by another address: its arcs are asked for
 * there. */
static void client_unite(struct client *c, struct client_link *owner)
{
    client_map_forget_owner(&c->map, (int)(owner - c->links) - 1);
    client_link_close(owner);
    owner->retry_ns = c->now_ns;
}

/* They are of another cluster than home, or it is not known that they are of
 * the same. */
static void client_leave_owners(struct client *c)
{
    for (size_t i = 1; i < c->link_count; i++)
        if (c->links[i].state != CLIENT_LINK_DOWN)
            client_drop(c, &c->links[i]);
}

/* Addresses that the cluster named may be those of another one here. */
static bool is_of_another_cluster(const struct client *c,
                                  const struct client_link *link,
                                  const struct hello *hello)
{
    bool was_given = is_home(c, link) && c->peers.at < c->peers.given;
    return !was_given && !id_is_zero(&c->cluster) &&
           !id_is_zero(&hello->cluster) &&
           !id_equal(&c->cluster, &hello->cluster);
}

static void client_welcomed(struct client *c, struct client_link *link,
                            const struct hello *hello)
{
    if (hello->status != DLHT_OK || is_of_another_cluster(c, link, hello)) {
        if (is_home(c, link))
            c->refusal = hello->status;
        client_drop(c, link);
        return;
    }
    link->state = CLIENT_LINK_UP;
    link->heard_ns = link->used_ns = c->now_ns;
    link->peer = hello->peer;
    if (!is_home(c, link)) {
        c->look_up_gap = CLIENT_FORWARDED_EACH;
        if (id_equal(&link->peer, &client_home(c)->peer))
            client_unite(c, link);
        return;
    }
    link->failures = 0;
    if (!id_equal(&c->cluster, &hello->cluster))
        client_leave_owners(c);
    c->cluster = hello->cluster;
    c->refusal = DLHT_OK;
    if (c->learn_ns == 0)
        c->learn_ns = c->now_ns + CLIENT_LEARN_FIRST_NS;
}

/* It has a place, or failed lately, which is to be remembered. */
static bool is_in_use(const struct client *c, const struct client_link *link)
{
    return c->map.arcs_of[link - c->links - 1] > 0 || link->sent.first ||
           (link->failures > 0 && c->now_ns < link->retry_ns);
}

/* The owner with that address; NULL: there are too many, or it is none that
 * can be reached without asking for a name's address, which may take long. */
static struct client_link *client_owner(struct client *c, struct span addr)
{
    struct client_link *unused = NULL;
    for (size_t i = 1; i < CLIENT_LINKS_MAX; i++) {
        struct client_link *link = &c->links[i];
        if (i < c->link_count && span_equal(span_str(link->addr), addr))
            return link;
        if (!unused && !is_in_use(c, link))
            unused = link;
    }
    if (!unused || addr.len >= PEER_ADDR_MAX)
        return NULL;
    char text[PEER_ADDR_MAX];
    memcpy(text, addr.data, addr.len);
    text[addr.len] = 0;
    if (!addr_is_of_peer(text) || !addr_is_numeric(text))
        return NULL;
    client_link_close(unused);
    client_link_init(unused);
    strcpy(unused->addr, text);
    size_t count = (size_t)(unused - c->links) + 1;
    if (count > c->link_count)
        c->link_count = count;
    return unused;
}

/* Whom to ask. */

/* Home, or while there is none any node that serves us. */
static struct client_link *client_any(struct client *c)
{
    for (size_t i = 0; i < c->link_count; i++)
        if (c->links[i].state == CLIENT_LINK_UP)
            return &c->links[i];
    return client_home(c);
}

static struct client_link *client_route(struct client *c,
                                        const struct call *call)
{
    if (!call->fn)
        return client_home(c);
    if (c->map.arc_count == 0)
        return client_any(c);
    const struct request *q = &call->request;
    struct span key = client_key(q);
    int owner = key.len ? client_map_find(&c->map, q->keyspace_name, key) : -1;
    if (owner < 0)
        return client_any(c);
    struct client_link *link = &c->links[owner + 1];
    if (link->state == CLIENT_LINK_UP)
        return link;
    link->wanted = true;
    return client_any(c);
}

/* Looks up where a key is that is not where it was asked for. */
static void client_look_up(struct client *c, const struct request *q)
{
    char keyspace[KEYSPACE_NAME_MAX + 1];
    struct span name = q->keyspace_name;
    memcpy(keyspace, name.data, name.len);
    keyspace[name.len] = 0;
    struct dlht_request request = { .op = DLHT_OP_LOOKUP,
                                    .keyspace = name.len ? keyspace : NULL,
                                    .key = { q->key.data, q->key.len } };
    if (client_submit(c, &request, NULL, NULL) != DLHT_OK)
        return; /* the next time, then */
    c->lookups++;
    c->look_up_at = c->forwarded + c->look_up_gap;
    if (c->look_up_gap < CLIENT_FORWARDED_MOST)
        c->look_up_gap *= 2;
}

/* An answer that was fetched from another node: what is known of the key is
 * wrong, or nothing is. */
static void client_forwarded(struct client *c, const struct call *call)
{
    const struct request *q = &call->request;
    if (!c->learn || !is_of_one_key(q) || q->flags & REQUEST_STALE)
        return;
    c->forwarded++;
    client_doubt(c, call);
    if (c->forwarded >= c->look_up_at && c->lookups < CLIENT_LOOKUPS_MAX &&
        q->key.len <= CLIENT_MAP_KEY_MAX &&
        client_map_find(&c->map, q->keyspace_name, q->key) < 0)
        client_look_up(c, q);
}

static void client_looked_up(struct client *c, const struct call *call,
                             const struct response *response)
{
    struct client_map_place place;
    if (response->status != DLHT_OK ||
        !client_map_read(response->value, &place) || place.owner.len == 0 ||
        span_equal(place.owner, span_str(client_home(c)->addr)))
        return;
    struct client_link *owner = client_owner(c, place.owner);
    if (!owner)
        return;
    int rc = client_map_put(&c->map, call->request.keyspace_name, &place,
                            (int)(owner - c->links) - 1);
    if (rc == DLHT_OK && owner->state == CLIENT_LINK_UP)
        c->look_up_gap = CLIENT_FORWARDED_EACH;
}

/* Sending. */

static void client_pack(struct client *c)
{
    struct call *next;
    unsigned passed = 0;
    for (struct call *call = c->waiting.first;
         call && call != c->fresh && passed < CLIENT_PASSED_MAX; call = next) {
        next = call->next;
        struct client_link *link = client_route(c, call);
        if (!client_link_takes(link) ||
            !calls_number(&c->calls, call, &c->session)) {
            passed++;
            continue;
        }
        if (client_link_pack(link, call, &c->message, c->now_ns) != DLHT_OK)
            break; /* memory may come back before its deadline */
        client_take_back(c, call);
        call->was_sent = true;
        call->link = link;
        call_list_append(&link->sent, call);
    }
}

/* Receiving. */

/* "Nothing was done", as far as the node that answers knows. */
static bool is_refusal(int status)
{
    return status == DLHT_EUNAVAILABLE || status == DLHT_EBUSY ||
           status == DLHT_EFULL || status == DLHT_ENOKEYSPACE ||
           status == DLHT_EEXISTS || status == DLHT_ETIMEOUT;
}

/* Another node may do better. */
static bool is_stuck(int status)
{
    return status == DLHT_EUNAVAILABLE || status == DLHT_ETIMEOUT ||
           status == DLHT_EUNKNOWN;
}

static void client_answer(struct client *c, struct client_link *link,
                          const struct message *m)
{
    struct call *call = calls_by_stream(&c->calls, m->stream);
    if (!call || call->link != link)
        return; /* its time had run out, or it was sent elsewhere since */
    struct response response = m->u.response;
    if (response.status == DLHT_ECLOSED) {
        client_drop(c, link); /* that node goes: another may serve it */
        return;
    }
    if (!call->fn) {
        if (call->request.op == OP_LOOKUP)
            client_looked_up(c, call, &response);
        else
            client_peers_learn(&c->peers, response.value);
        client_complete(c, call);
        return;
    }
    link->failures = 0;
    if (response.hops > 0)
        client_forwarded(c, call);
    else if (is_stuck(response.status))
        client_doubt(c, call);
    else if (response.status == DLHT_ENOKEYSPACE)
        client_map_forget_space(&c->map, call->request.keyspace_name);
    if (call->is_write && call->was_lost && is_refusal(response.status)) {
        /* This time it was refused; what the first node did is not known. */
        response.status = DLHT_EUNKNOWN;
        response.text = span_str("refused when it was repeated; the first "
                                 "attempt may have taken effect");
    }
    client_result_show(&c->result, &response);
    client_complete(c, call);
}

static void client_read(struct client *c, struct client_link *link)
{
    int rc = client_link_read(link, c->now_ns);
    while (rc == DLHT_OK && link->state >= CLIENT_LINK_GREETING) {
        bool greeting = link->state == CLIENT_LINK_GREETING;
        rc = client_link_next(link, &c->arena, &c->message);
        if (rc == 0)
            return;
        if (rc < 0)
            break;
        rc = DLHT_OK;
        if (greeting)
            client_welcomed(c, link, &c->message.u.hello);
        else
            client_answer(c, link, &c->message);
    }
    if (rc < 0)
        client_drop(c, link);
}

/* Polling. */

/* Asks now and then who else could be asked. */
static void client_ask_peers(struct client *c)
{
    if (!c->learn || client_home(c)->state != CLIENT_LINK_UP ||
        c->now_ns < c->learn_ns)
        return;
    struct dlht_request request = { .op = DLHT_OP_PEERS };
    c->learn_ns = c->now_ns + CLIENT_LEARN_NS;
    int rc = client_submit(c, &request, NULL, NULL);
    (void)rc; /* the next time, then */
    client_set_deadlines(c);
}

static void client_tend(struct client *c, struct client_link *link)
{
    if (link->state == CLIENT_LINK_DOWN) {
        if (link->wanted && c->now_ns >= link->retry_ns)
            client_begin_connect(c, link);
    } else if (client_link_is_let_down(link, is_alone(c, link), c->now_ns)) {
        client_drop(c, link);
    } else if (!is_home(c, link) && link->state == CLIENT_LINK_UP &&
               !link->sent.first &&
               c->now_ns - link->used_ns > CLIENT_OWNER_IDLE_NS) {
        client_link_close(link);
        link->retry_ns = c->now_ns;
    }
}

/* False: some could not, and what was sent on them waits again. */
static bool client_write_all(struct client *c)
{
    bool all = true;
    for (size_t i = 0; i < c->link_count; i++) {
        struct client_link *link = &c->links[i];
        if (link->state < CLIENT_LINK_GREETING ||
            client_link_write(link) == DLHT_OK)
            continue;
        client_drop(c, link);
        all = false;
    }
    return all;
}

static void client_advance(struct client *c)
{
    for (size_t i = 0; i < c->link_count; i++)
        client_tend(c, &c->links[i]);
    client_ask_peers(c);
    do
        client_pack(c);
    while (!client_write_all(c)); /* one link less each time */
}

/* Until when it makes sense to wait. */
static uint64_t client_wake_ns(const struct client *c)
{
    uint64_t wake = wheel_next_ns(&c->wheel);
    for (size_t i = 0; i < c->link_count; i++) {
        const struct client_link *link = &c->links[i];
        uint64_t at = client_link_wake_ns(link, is_alone(c, link));
        if (at < wake)
            wake = at;
    }
    return wake;
}

static void client_hear(struct client *c, struct client_link *link,
                        short revents)
{
    if (link->state == CLIENT_LINK_CONNECTING) {
        if (!addr_connected(link->fd) ||
            (revents & POLLOUT &&
             client_link_greet(link, &c->session) != DLHT_OK))
            client_drop(c, link);
    } else if (revents & (POLLIN | POLLERR | POLLHUP)) {
        client_read(c, link);
    }
}

static void client_wait(struct client *c, uint64_t until_ns)
{
    struct pollfd polls[CLIENT_LINKS_MAX];
    struct client_link *links[CLIENT_LINKS_MAX];
    nfds_t count = 0;
    uint64_t wake = client_wake_ns(c);
    if (until_ns < wake)
        wake = until_ns;
    uint64_t ns = wake > c->now_ns ? wake - c->now_ns : 0;
    int wait_ms =
        wake == UINT64_MAX ? -1 : (int)((ns + CLIENT_MS - 1) / CLIENT_MS);
    for (size_t i = 0; i < c->link_count; i++) {
        struct client_link *link = &c->links[i];
        if (link->fd == -1)
            continue;
        int events = client_link_is_writing(link) ? POLLIN | POLLOUT : POLLIN;
        polls[count] =
            (struct pollfd){ .fd = link->fd, .events = (short)events };
        links[count++] = link;
    }
    int n = poll(polls, count, wait_ms);
    c->now_ns = sys_now_ns();
    for (nfds_t i = 0; n > 0 && i < count; i++)
        if (polls[i].revents && links[i]->fd == polls[i].fd)
            client_hear(c, links[i], polls[i].revents);
}

/* One round; until_ns in the past: takes only what is ready. */
static void client_round(struct client *c, uint64_t until_ns)
{
    client_expire(c); /* first: the wheel may have stood still for long */
    client_set_deadlines(c);
    client_advance(c);
    if (c->completed == 0)
        client_wait(c, until_ns);
}

/* Nobody listened for so long: what has come meanwhile is heard before anyone
 * is judged by silence; what was not even written could not be answered. */
static void client_listen_late(struct client *c, uint64_t pause_ns)
{
    for (size_t i = 0; i < c->link_count; i++)
        if (client_link_is_writing(&c->links[i]))
            c->links[i].heard_ns += pause_ns;
    client_wait(c, c->now_ns);
}

int client_poll(struct client *c, int timeout_ms)
{
    if (c->polling)
        return DLHT_EINVAL;
    uint64_t before_ns = c->now_ns;
    c->polling = true;
    c->completed = 0;
    c->now_ns = sys_now_ns();
    if (c->now_ns - before_ns > CLIENT_PAUSE_NS)
        client_listen_late(c, c->now_ns - before_ns);
    uint64_t until_ns = c->calls.open ? UINT64_MAX : c->now_ns;
    if (timeout_ms >= 0)
        until_ns = c->now_ns + (uint64_t)timeout_ms * CLIENT_MS;
    do
        client_round(c, until_ns);
    while (c->completed == 0 && c->now_ns < until_ns &&
           (timeout_ms >= 0 || c->calls.open > 0));
    c->polling = false;
    return c->completed;
}

bool client_is_polling(const struct client *c)
{
    return c->polling;
}

/* Making and freeing. */

static int client_error(struct dlht_error *error, int code, const char *text,
                        const char *detail)
{
    if (error) {
        error->code = code;
        snprintf(error->text, sizeof error->text, text, detail);
    }
    return code;
}

int client_connect(struct client *c, uint32_t timeout_ms,
                   struct dlht_error *error)
{
    c->now_ns = sys_now_ns();
    uint64_t until_ns = c->now_ns + timeout_ms * CLIENT_MS;
    c->polling = true;
    while (client_home(c)->state != CLIENT_LINK_UP && c->now_ns < until_ns &&
           c->refusal == DLHT_OK)
        client_round(c, until_ns);
    c->polling = false;
    if (client_home(c)->state == CLIENT_LINK_UP)
        return DLHT_OK;
    if (c->refusal != DLHT_OK)
        return client_error(error, c->refusal, "the node refuses us: %s",
                            dlht_strerror(c->refusal));
    return client_error(error, DLHT_EUNAVAILABLE, "no node answers at %s",
                        client_peers_current(&c->peers));
}

int client_new(const char *addresses, bool learn, struct client **out,
               struct dlht_error *error)
{
    *out = NULL;
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return client_error(error, DLHT_ENOMEM, "%s", "out of memory");
    if (!client_peers_parse(&c->peers, addresses)) {
        free(c);
        return client_error(error, DLHT_EINVAL,
                            "'%s' is no list of addresses: give "
                            "HOST:PORT[,HOST:PORT...]",
                            addresses);
    }
    for (size_t i = 0; i < CLIENT_LINKS_MAX; i++)
        client_link_init(&c->links[i]);
    c->link_count = 1;
    client_home(c)->wanted = true;
    c->learn = learn;
    c->look_up_at = CLIENT_FORWARDED_FIRST;
    c->look_up_gap = CLIENT_FORWARDED_EACH;
    calls_init(&c->calls);
    c->now_ns = sys_now_ns();
    rng_init(&c->rng, sys_random());
    c->session = id_random(&c->rng);
    wheel_init(&c->wheel, c->now_ns);
    *out = c;
    return DLHT_OK;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    c->polling = true;
    for (size_t i = 0; i < c->link_count; i++)
        call_list_merge(&c->waiting, &c->links[i].sent);
    for (struct call *call = c->waiting.first; call; call = call->next)
        call->link = NULL;
    while (c->waiting.first)
        client_fail(c, c->waiting.first, DLHT_ECLOSED);
    for (size_t i = 0; i < CLIENT_LINKS_MAX; i++)
        client_link_close(&c->links[i]);
    client_map_deinit(&c->map);
    calls_deinit(&c->calls);
    codec_arena_deinit(&c->arena);
    client_result_deinit(&c->result);
    free(c);
}
