/* SPDX-License-Identifier: Apache-2.0 */

/* What operators decide of one peer: that it leaves, its weight, its zone.
 * Both are a record in the system arc, written by that arc's owner. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keeper_state.h"
#include "node/op.h"
#include "wire/mp.h"

enum {
    WEIGHT_MILLI_MIN = 100,
    WEIGHT_MILLI_MAX = 100000
};

const struct peer *op_peer_at(const struct node *node, struct span addr)
{
    const struct peer *found = NULL;
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        if (!span_equal(addr, span_str(p->addr)))
            continue;
        /* An address may have been another peer's before. */
        if (!found || p->state < found->state)
            found = p;
    }
    return found;
}

struct decision {
    struct origin origin;
};

static void decision_written(struct node *node, void *context,
                             const struct response *response)
{
    struct decision *d = context;
    int status = response->status;
    if (status == DLHT_EMISMATCH)
        node_answer_status(node, &d->origin, DLHT_EBUSY,
                           "somebody else changed this peer just now: try "
                           "again");
    else
        node_answer_status(node, &d->origin, status, NULL);
    free(d);
}

/* Writes the record of a peer; answers. */
static void write_decree(struct node *node, const struct id *peer,
                         const struct keeper_decree *decree,
                         const struct origin *origin)
{
    char room[64];
    struct buf packed = { 0 };
    keeper_decree_pack(decree, &packed);
    struct request q = { .op = OP_CAS,
                         .keyspace = SYSTEM_KEYSPACE,
                         .key = keeper_decree_key(peer, room),
                         .value = buf_span(&packed),
                         .version = decree->version };
    struct decision *d = mem_zero(1, sizeof *d);
    struct pending_target target = { .done = decision_written, .context = d };
    if (d)
        d->origin = *origin;
    if (!d || packed.failed ||
        pending_begin(node, &q, node->now_ns + 5 * NS_PER_S, &target) !=
            DLHT_OK) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        free(d);
    }
    buf_deinit(&packed);
}

/* Carries a request on a peer to the owner of the system arc, be it this
 * node. */
static void carry(struct node *node, uint8_t op, struct span doc,
                  uint64_t deadline_ns, const struct origin *origin)
{
    struct request q = { .op = op, .keyspace = SYSTEM_KEYSPACE, .value = doc };
    struct pending_target target = { .origin = *origin, .busy_is_final = true };
    if (pending_begin(node, &q, deadline_ns, &target) != DLHT_OK)
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
}

/* The system arc's owner writes down that the peer leaves, and says how far
 * the emptying has come: EBUSY and a count until it may be stopped. */
static void leave_here(struct node *node, const struct peer *peer,
                       const struct origin *origin)
{
    size_t left;
    int rc = keeper_leave(node, &peer->id, &left);
    struct keeper_decree decree;
    keeper_decree_of(node, &peer->id, &decree);
    if (!decree.leaving) {
        struct origin nobody = { .kind = ORIGIN_NONE };
        decree.leaving = true;
        write_decree(node, &peer->id, &decree, &nobody);
    }
    if (rc == DLHT_ENOTOWNER)
        rc = DLHT_EUNAVAILABLE; /* it leads, but has not begun to plan */
    char text[96];
    snprintf(text, sizeof text, "%zu arcs still have a copy there", left);
    node_answer_status(node, origin, rc, rc == DLHT_EBUSY ? text : NULL);
}

void op_leave_begin(struct node *node, const struct request *request,
                    const struct origin *origin)
{
    const struct peer *peer = op_peer_at(node, request->key);
    if (!peer) {
        node_answer_status(node, origin, DLHT_EINVAL,
                           "no such peer; `peers` shows those there are");
        return;
    }
    if (swim_up_count(node->swim) < 2) {
        node_answer_status(node, origin, DLHT_EREFUSED,
                           "it is the only peer: there is nobody to take its "
                           "arcs");
        return;
    }
    struct buf *doc = &node->scratch; /* copied by pending_begin */
    buf_reset(doc);
    mp_write_map(doc, 1);
    mp_write_cstr(doc, "peer");
    mp_write_bin(doc, request->key);
    carry(node, OP_LEAVE, buf_span(doc), op_deadline_ns(node, request), origin);
}

void op_leave_serve(struct node *node, const struct request *request,
                    const struct origin *origin)
{
    struct mp_reader r;
    mp_reader_init(&r, request->value);
    mp_read_map(&r);
    mp_skip(&r);
    struct span addr = mp_read_bytes(&r);
    const struct peer *peer = r.bad ? NULL : op_peer_at(node, addr);
    if (peer)
        leave_here(node, peer, origin);
    else
        node_answer_status(node, origin, DLHT_EINVAL, "no such peer");
}

bool op_peer_read_weight(struct span text, uint32_t *milli)
{
    uint64_t n = 0;
    size_t digits = 0, behind = 0;
    bool point = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.' && !point && digits) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9' || behind == 3 || digits > 6)
            return false;
        n = n * 10 + (uint64_t)(c - '0');
        digits++;
        behind += point;
    }
    if (digits == 0 || (point && behind == 0))
        return false;
    for (; behind < 3; behind++)
        n *= 10;
    *milli = (uint32_t)n;
    return n >= WEIGHT_MILLI_MIN && n <= WEIGHT_MILLI_MAX;
}

static bool read_zone(struct span text, char out[PEER_ZONE_MAX])
{
    memset(out, 0, PEER_ZONE_MAX);
    if (text.len >= PEER_ZONE_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    if (text.len)
        memcpy(out, text.data, text.len);
    return true;
}

/* One option into the decree; NULL, or what is wrong. */
static const char *set_option(struct keeper_decree *d, struct span name,
                              struct span value)
{
    bool reset = span_equal(value, span_str("default"));
    if (span_equal(name, span_str("weight"))) {
        d->weight_milli = 0;
        if (!reset && !op_peer_read_weight(value, &d->weight_milli))
            return "weight is a number of 0.1 to 100, or `default`";
    } else if (span_equal(name, span_str("zone"))) {
        d->has_zone = !reset;
        if (!reset && !read_zone(value, d->zone))
            return "zone is a name of at most 31 bytes, or `default`";
    } else if (span_equal(name, span_str("leaving"))) {
        if (!span_equal(value, span_str("no")))
            return "leaving is `no`; `leave` makes a peer leave";
        d->leaving = false;
    } else {
        return "the options of a peer are weight, zone and leaving";
    }
    return NULL;
}

struct peer_ask {
    struct span addr;
    struct span options; /* a MessagePack map */
};

static bool read_ask(struct span doc, struct peer_ask *out)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    memset(out, 0, sizeof *out);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("peer")))
            out->addr = mp_read_bytes(&r);
        else if (span_equal(field, span_str("options")))
            out->options = mp_read_raw(&r);
        else
            mp_skip(&r);
    }
    return !r.bad && out->addr.len && out->options.len;
}

/* All options into the decree, or what is wrong with one of them. */
static const char *set_options(struct keeper_decree *d, struct span options)
{
    struct mp_reader r;
    const char *wrong = NULL;
    mp_reader_init(&r, options);
    size_t pairs = mp_read_map(&r);
    if (pairs == 0)
        return "options are a map of names and texts";
    for (; pairs > 0 && !wrong; pairs--) {
        struct span name = mp_read_bytes(&r), value = mp_read_bytes(&r);
        wrong = r.bad ? "options are a map of names and texts"
                      : set_option(d, name, value);
    }
    return wrong;
}

void op_peer_set_begin(struct node *node, const struct request *request,
                       const struct origin *origin)
{
    struct peer_ask ask;
    struct keeper_decree unused = { 0 };
    const char *wrong = "a peer is set by a map of peer and options";
    if (read_ask(request->value, &ask))
        wrong = op_peer_at(node, ask.addr)
                    ? set_options(&unused, ask.options)
                    : "no such peer; `peers` shows those there are";
    if (wrong)
        node_answer_status(node, origin, DLHT_EINVAL, wrong);
    else
        carry(node, OP_PEER_SET, request->value, op_deadline_ns(node, request),
              origin);
}

/* What was decided against other options than the peer has now. */
static void drop_stale(const struct peer *peer, struct keeper_decree *d)
{
    uint32_t own = peer->weight_milli ? peer->weight_milli : 1000;
    if (d->own_weight_milli != own)
        d->weight_milli = 0;
    if (strcmp(d->own_zone, peer->zone) != 0)
        d->has_zone = false;
}

void op_peer_set_serve(struct node *node, const struct request *request,
                       const struct origin *origin)
{
    struct peer_ask ask;
    const struct peer *peer =
        read_ask(request->value, &ask) ? op_peer_at(node, ask.addr) : NULL;
    if (!peer) {
        node_answer_status(node, origin, DLHT_EINVAL, "no such peer");
        return;
    }
    struct keeper_decree decree;
    keeper_decree_of(node, &peer->id, &decree);
    drop_stale(peer, &decree);
    const char *wrong = set_options(&decree, ask.options);
    if (wrong) {
        node_answer_status(node, origin, DLHT_EINVAL, wrong);
        return;
    }
    /* What is decided holds against the options the peer has now. */
    decree.own_weight_milli = peer->weight_milli ? peer->weight_milli : 1000;
    memcpy(decree.own_zone, peer->zone, sizeof decree.own_zone);
    write_decree(node, &peer->id, &decree, origin);
}
