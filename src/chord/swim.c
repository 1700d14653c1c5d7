/* SPDX-License-Identifier: Apache-2.0 */

/* Which peers are up: probes, suspicions, refutations.
 *
 * A period probes one peer: a ping, at the ack timeout a second ping and
 * requests to helpers, at the period's end a suspicion. Whoever is suspected
 * is told so each period until it refutes or its time is over. Helpers that
 * could not reach it either are its independent witnesses and shorten that
 * time. What one peer believes is in peers.c. */

#include "chord/swim.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "chord/peers.h"
#include "dlht/err.h"

enum {
    HELPERS_MAX = 8,
    RELAYS_MAX = 64,
    /* Messages that wait for swim_take. Beyond it the oldest is lost, as on
     * any network. */
    OUT_MAX = 1024,
    HEALTH_MAX = 8,
    WITNESSES_MAX = 3,
    /* The longest suspicion, without witnesses, in shortest ones. */
    SUSPICION_SPREAD = 6,
    /* One dead peer is asked each so many periods. */
    DEAD_PERIODS = 10,
    /* Periods with a question to a dead peer each, after one came back: a
     * partition healed, and more will. */
    REVIVAL_PERIODS = 20
};

/* Share of the way from the longest to the shortest suspicion, in thousandths,
 * with w of k possible witnesses: log(w + 1) / log(k + 1). */
static const uint16_t witness_milli[WITNESSES_MAX + 1][WITNESSES_MAX + 1] = {
    { 1000, 1000, 1000, 1000 },
    { 0, 1000, 1000, 1000 },
    { 0, 631, 1000, 1000 },
    { 0, 500, 792, 1000 },
};

struct intent {
    struct id to;
    struct id target;
    uint64_t number;
    uint8_t type;
};

struct probe {
    bool waiting; /* no answer yet */
    bool helped;  /* helpers were asked */
    uint64_t number;
    uint64_t ack_due_ns;
    struct id target;
    struct id helpers[HELPERS_MAX];
    bool nack[HELPERS_MAX];
    size_t helper_count;
};

/* A probe made for somebody else. */
struct relay {
    uint64_t number; /* of our ping */
    struct id asker;
    uint64_t asker_number;
    struct id target;
    uint64_t due_ns; /* then a nack */
};

struct swim {
    struct swim_config config;
    struct rng rng;
    struct peers peers;
    struct peers_entry *self; /* in peers */

    struct probe probe;
    uint64_t number; /* last given to a message */
    uint64_t period; /* count of periods */
    uint64_t period_due_ns;
    uint64_t suspect_due_ns; /* no suspicion ends before; UINT64_MAX: none */
    uint32_t health;         /* 0: good; slows periods and timeouts */
    uint64_t revival_until;  /* a period */

    struct relay relays[RELAYS_MAX];
    size_t relay_count;

    struct intent out[OUT_MAX];
    size_t out_first;
    size_t out_count;

    uint64_t now_ns;
    bool hurried; /* the period was brought forward: not a sign of lag */
    uint64_t lag_ns;
};

static void send(struct swim *swim, uint8_t type, const struct id *to,
                 uint64_t number, const struct id *target)
{
    if (swim->out_count == OUT_MAX) {
        swim->out_first = (swim->out_first + 1) % OUT_MAX;
        swim->out_count--;
    }
    size_t at = (swim->out_first + swim->out_count++) % OUT_MAX;
    swim->out[at] = (struct intent){ .to = *to, .number = number };
    swim->out[at].type = type;
    if (target)
        swim->out[at].target = *target;
}

/* A ping that carries our opinion of its target and needs no answer. */
static void tell(struct swim *swim, struct peers_entry *entry)
{
    entry->told_ns = swim->now_ns;
    send(swim, SWIM_PING, &entry->peer.id, ++swim->number, NULL);
}

static uint64_t ack_timeout_ns(const struct swim *swim)
{
    return swim->config.ack_timeout_ns * (swim->health + 1);
}

static void health_change(struct swim *swim, bool better)
{
    if (better && swim->health > 0)
        swim->health--;
    else if (!better && swim->health < HEALTH_MAX)
        swim->health++;
}

/* How long a suspicion lasts before it is a death. */
static uint64_t suspicion_ns(const struct swim *swim, uint32_t witnesses)
{
    size_t up = peers_up_count(&swim->peers);
    /* log10 by log2, at least 1. */
    uint64_t scale = peers_log2_milli(up + 1) * 30103 / 100000;
    if (scale < 1000)
        scale = 1000;
    uint64_t scaled_ns = swim->config.period_ns / 1000 * scale;
    uint64_t shortest =
        (uint64_t)(swim->config.suspicion_factor * (double)scaled_ns);
    /* Neither we nor the accused can bear witness. */
    size_t possible = up > 2 ? up - 2 : 0;
    if (possible > WITNESSES_MAX)
        possible = WITNESSES_MAX;
    if (possible > swim->config.indirect_count)
        possible = swim->config.indirect_count;
    if (witnesses > possible)
        witnesses = (uint32_t)possible;
    uint64_t share = witness_milli[possible][witnesses];
    return shortest + shortest * (SUSPICION_SPREAD - 1) / 1000 * (1000 - share);
}

static uint64_t suspect_end_ns(const struct swim *swim,
                               const struct peers_entry *entry)
{
    return entry->suspect_ns + suspicion_ns(swim, entry->witnesses);
}

static void set_state(struct swim *swim, struct peers_entry *entry,
                      enum peer_state state)
{
    struct peer was = entry->peer;
    entry->peer.state = (uint8_t)state;
    peers_changed(&swim->peers, entry, &was, swim->now_ns);
}

/* The next look at suspicions is no later than this one's end, and not in the
 * past, which would pass for lag. */
static void watch(struct swim *swim, const struct peers_entry *entry)
{
    uint64_t end_ns = suspect_end_ns(swim, entry);
    if (end_ns < swim->now_ns)
        end_ns = swim->now_ns;
    if (end_ns < swim->suspect_due_ns)
        swim->suspect_due_ns = end_ns;
}

/* Somebody began to doubt it: we, or we were told. */
static void begin_suspicion(struct swim *swim, struct peers_entry *entry,
                            uint32_t witnesses)
{
    entry->suspect_ns = swim->now_ns;
    entry->witnesses = witnesses;
    watch(swim, entry);
}

/* Our own probe failed; nacks helpers failed as well. */
static void accuse(struct swim *swim, struct peers_entry *entry, uint32_t nacks)
{
    if (entry->peer.state == PEER_ALIVE) {
        set_state(swim, entry, PEER_SUSPECT);
        begin_suspicion(swim, entry, nacks);
        tell(swim, entry);
        return;
    }
    if (entry->peer.state != PEER_SUSPECT)
        return;
    /* Others doubted it before us, so we are a witness too. */
    uint32_t witnesses = nacks + 1;
    if (witnesses > entry->witnesses)
        entry->witnesses = witnesses;
    watch(swim, entry);
}

static void end_suspicions(struct swim *swim)
{
    if (swim->now_ns < swim->suspect_due_ns)
        return;
    swim->suspect_due_ns = UINT64_MAX;
    for (size_t i = 0; i < swim->peers.count; i++) {
        struct peers_entry *entry = swim->peers.entries[i];
        if (entry->peer.state != PEER_SUSPECT)
            continue;
        uint64_t end_ns = suspect_end_ns(swim, entry);
        if (end_ns <= swim->now_ns)
            set_state(swim, entry, PEER_DEAD);
        else if (end_ns < swim->suspect_due_ns)
            swim->suspect_due_ns = end_ns;
    }
}

/* A random peer of that state, not ourselves; NULL: none. */
static struct peers_entry *any_in_state(struct swim *swim,
                                        enum peer_state state)
{
    size_t count = swim->peers.count;
    if (swim->peers.state_count[state] == 0)
        return NULL;
    size_t first = (size_t)rng_below(&swim->rng, count);
    for (size_t i = 0; i < count; i++) {
        struct peers_entry *entry = swim->peers.entries[(first + i) % count];
        if (entry->peer.state == state && entry != swim->self)
            return entry;
    }
    return NULL;
}

static void ask_helpers(struct swim *swim)
{
    struct probe *probe = &swim->probe;
    probe->helped = true;
    /* A second chance for what one loss would turn into doubt. */
    send(swim, SWIM_PING, &probe->target, probe->number, NULL);
    /* Each alive peer with the same chance (reservoir). */
    size_t seen = 0;
    size_t wanted = swim->config.indirect_count;
    for (size_t i = 0; i < swim->peers.count; i++) {
        struct peers_entry *entry = swim->peers.entries[i];
        if (entry == swim->self || entry->peer.state != PEER_ALIVE ||
            id_equal(&entry->peer.id, &probe->target))
            continue;
        size_t at =
            seen < wanted ? seen : (size_t)rng_below(&swim->rng, seen + 1);
        if (at < wanted)
            probe->helpers[at] = entry->peer.id;
        seen++;
    }
    probe->helper_count = seen < wanted ? seen : wanted;
    for (size_t i = 0; i < probe->helper_count; i++)
        send(swim, SWIM_PING_REQUEST, &probe->helpers[i], probe->number,
             &probe->target);
}

static void finish_probe(struct swim *swim)
{
    struct probe *probe = &swim->probe;
    if (!probe->waiting)
        return;
    probe->waiting = false;
    uint32_t nacks = 0;
    for (size_t i = 0; i < probe->helper_count; i++)
        nacks += probe->nack[i];
    /* Helpers that do not even say no: the trouble may be on our side. */
    if (probe->helper_count == 0 || nacks < probe->helper_count)
        health_change(swim, false);
    struct peers_entry *entry = peers_find(&swim->peers, &probe->target);
    if (entry)
        accuse(swim, entry, nacks);
}

/* Beside the probe of a period: one suspect hears what is said of it, and now
 * and then a dead one, so that the halves of a healed partition meet. */
static void tell_the_doubted(struct swim *swim)
{
    struct peers_entry *suspect = any_in_state(swim, PEER_SUSPECT);
    if (suspect)
        tell(swim, suspect);
    bool alone = peers_up_count(&swim->peers) == 1;
    if (!alone && swim->period % DEAD_PERIODS != 0 &&
        swim->period >= swim->revival_until)
        return;
    struct peers_entry *dead = any_in_state(swim, PEER_DEAD);
    if (dead)
        tell(swim, dead);
}

static void start_period(struct swim *swim)
{
    swim->period++;
    swim->period_due_ns =
        swim->now_ns + swim->config.period_ns * (swim->health + 1);
    tell_the_doubted(swim);
    struct peers_entry *target = peers_next_up(&swim->peers, swim->self);
    if (!target)
        return;
    swim->probe = (struct probe){ .waiting = true, .number = ++swim->number };
    swim->probe.target = target->peer.id;
    swim->probe.ack_due_ns = swim->now_ns + ack_timeout_ns(swim);
    send(swim, SWIM_PING, &target->peer.id, swim->probe.number, NULL);
}

static void relay_remove(struct swim *swim, size_t index)
{
    swim->relays[index] = swim->relays[--swim->relay_count];
}

static void end_relays(struct swim *swim)
{
    for (size_t i = 0; i < swim->relay_count;) {
        struct relay *relay = &swim->relays[i];
        if (relay->due_ns > swim->now_ns) {
            i++;
            continue;
        }
        send(swim, SWIM_NACK, &relay->asker, relay->asker_number,
             &relay->target);
        relay_remove(swim, i);
    }
}

/* While we stood still nobody could answer us: that time counts for no one,
 * and what they sent meanwhile has yet to be read. */
static void lose_time(struct swim *swim, uint64_t lost_ns)
{
    if (lost_ns < swim->config.ack_timeout_ns / 4)
        return;
    health_change(swim, false);
    uint64_t given_ns = lost_ns + swim->config.ack_timeout_ns;
    if (swim->probe.waiting) {
        swim->probe.ack_due_ns += given_ns;
        swim->period_due_ns += given_ns;
    }
    if (swim->suspect_due_ns != UINT64_MAX)
        swim->suspect_due_ns += given_ns;
    for (size_t i = 0; i < swim->peers.count; i++)
        swim->peers.entries[i]->suspect_ns += given_ns;
}

static void set_now(struct swim *swim, uint64_t now_ns)
{
    if (now_ns > swim->now_ns)
        swim->now_ns = now_ns;
}

void swim_tick(struct swim *swim, uint64_t now_ns)
{
    uint64_t due_ns = swim_timeout_ns(swim);
    set_now(swim, now_ns);
    if (swim->now_ns > due_ns && !swim->hurried &&
        swim->now_ns - due_ns > swim->lag_ns)
        lose_time(swim, swim->now_ns - due_ns - swim->lag_ns);
    swim->hurried = false;
    swim->lag_ns = 0;
    end_relays(swim);
    if (swim->self->peer.state == PEER_LEFT)
        return;
    if (swim->probe.waiting && !swim->probe.helped &&
        swim->now_ns >= swim->probe.ack_due_ns)
        ask_helpers(swim);
    if (swim->now_ns >= swim->period_due_ns) {
        finish_probe(swim);
        start_period(swim);
    }
    end_suspicions(swim);
}

uint64_t swim_timeout_ns(const struct swim *swim)
{
    uint64_t due_ns = UINT64_MAX;
    for (size_t i = 0; i < swim->relay_count; i++) {
        if (swim->relays[i].due_ns < due_ns)
            due_ns = swim->relays[i].due_ns;
    }
    if (swim->self->peer.state == PEER_LEFT)
        return due_ns;
    if (swim->period_due_ns < due_ns)
        due_ns = swim->period_due_ns;
    if (swim->suspect_due_ns < due_ns)
        due_ns = swim->suspect_due_ns;
    const struct probe *probe = &swim->probe;
    if (probe->waiting && !probe->helped && probe->ack_due_ns < due_ns)
        due_ns = probe->ack_due_ns;
    return due_ns;
}

/* Raises our word above what was said of us. */
static void outbid(struct swim *swim, const struct peer *said)
{
    struct peer *self = &swim->self->peer;
    struct peer was = *self;
    if (said->incarnation > self->incarnation || said->state == PEER_LEFT ||
        said->refutation == UINT32_MAX) {
        self->incarnation = said->incarnation + 1;
        self->refutation = 0;
    } else {
        self->refutation = said->refutation + 1;
    }
    peers_changed(&swim->peers, swim->self, &was, swim->now_ns);
}

/* True if it was news. */
static bool notice_self(struct swim *swim, const struct peer *said)
{
    const struct peer *self = &swim->self->peer;
    if (!peers_is_news(said, self) || self->state == PEER_LEFT)
        return false;
    if (said->incarnation > self->incarnation || said->state == PEER_LEFT) {
        /* Nobody but we says goodbye for us: we are a later start than the one
         * that did, whatever our data dir says. */
        struct peer claim = *said;
        claim.incarnation++;
        if (peers_is_sane(&claim))
            outbid(swim, said);
        return true;
    }
    if (said->state != PEER_ALIVE)
        health_change(swim, false);
    outbid(swim, said);
    return true;
}

static int notice(struct swim *swim, const struct peer *news, bool *is_news)
{
    *is_news = false;
    if (id_equal(&news->id, &swim->self->peer.id)) {
        *is_news = notice_self(swim, news);
        return DLHT_OK;
    }
    const struct peers_entry *known = peers_find(&swim->peers, &news->id);
    uint8_t old_state = known ? known->peer.state : 0;
    struct peers_entry *entry;
    int rc = peers_merge(&swim->peers, swim->now_ns, news, &entry);
    if (rc != DLHT_OK || !entry)
        return rc;
    *is_news = true;
    if (news->state == PEER_SUSPECT)
        begin_suspicion(swim, entry, 0);
    if (old_state == PEER_DEAD && news->state == PEER_ALIVE)
        swim->revival_until = swim->period + REVIVAL_PERIODS;
    return DLHT_OK;
}

bool swim_notice(struct swim *swim, uint64_t now_ns, const struct peer *news)
{
    set_now(swim, now_ns);
    bool is_news = false;
    if (!peers_is_sane(news) || notice(swim, news, &is_news) != DLHT_OK)
        return false;
    return is_news;
}

int swim_settle(struct swim *swim, uint64_t now_ns, const struct peer *peer)
{
    set_now(swim, now_ns);
    struct peers_entry *entry;
    int rc = peers_merge(&swim->peers, swim->now_ns, peer, &entry);
    if (rc == DLHT_OK && entry) {
        peers_hush(&swim->peers, entry);
        entry->greeted = true;
    }
    return rc;
}

static void receive_ping_request(struct swim *swim, const struct id *from,
                                 const struct swim_message *message)
{
    const struct peers_entry *target =
        peers_find(&swim->peers, &message->target);
    if (!target || target == swim->self || swim->relay_count == RELAYS_MAX)
        return;
    struct relay *relay = &swim->relays[swim->relay_count++];
    *relay = (struct relay){ .number = ++swim->number, .asker = *from };
    relay->asker_number = message->number;
    relay->target = message->target;
    relay->due_ns = swim->now_ns + swim->config.ack_timeout_ns;
    send(swim, SWIM_PING, &relay->target, relay->number, NULL);
}

static void end_probe_well(struct swim *swim)
{
    swim->probe.waiting = false;
    health_change(swim, true);
}

static void receive_ack(struct swim *swim, const struct id *from,
                        const struct swim_message *message)
{
    struct probe *probe = &swim->probe;
    const struct id *answered =
        id_is_zero(&message->target) ? from : &message->target;
    if (probe->waiting && message->number == probe->number &&
        id_equal(answered, &probe->target)) {
        end_probe_well(swim);
        return;
    }
    for (size_t i = 0; i < swim->relay_count; i++) {
        struct relay *relay = &swim->relays[i];
        if (relay->number != message->number || !id_equal(from, &relay->target))
            continue;
        send(swim, SWIM_ACK, &relay->asker, relay->asker_number,
             &relay->target);
        relay_remove(swim, i);
        return;
    }
}

static void receive_nack(struct swim *swim, const struct id *from,
                         const struct swim_message *message)
{
    struct probe *probe = &swim->probe;
    if (!probe->waiting || message->number != probe->number)
        return;
    for (size_t i = 0; i < probe->helper_count; i++) {
        if (id_equal(from, &probe->helpers[i]))
            probe->nack[i] = true;
    }
}

static bool is_sane(const struct id *from, const struct swim *swim,
                    const struct swim_message *message)
{
    if (id_is_zero(from) || id_equal(from, &swim->self->peer.id))
        return false;
    if (message->type < SWIM_PING || message->type > SWIM_NACK ||
        message->update_count > SWIM_UPDATES_MAX)
        return false;
    if (message->type == SWIM_PING_REQUEST && id_is_zero(&message->target))
        return false;
    for (size_t i = 0; i < message->update_count; i++) {
        if (!peers_is_sane(&message->updates[i]))
            return false;
    }
    return true;
}

/* A sender we think suspect or dead should hear it. A ping's answer says so
 * anyway; for the rest once a while is enough. */
static void answer_opinion(struct swim *swim, const struct id *from)
{
    struct peers_entry *entry = peers_find(&swim->peers, from);
    if (!entry ||
        (entry->peer.state != PEER_SUSPECT && entry->peer.state != PEER_DEAD))
        return;
    if (entry->told_ns == 0 ||
        swim->now_ns - entry->told_ns >= swim->config.ack_timeout_ns)
        tell(swim, entry);
}

int swim_receive(struct swim *swim, uint64_t now_ns, const struct id *from,
                 const struct swim_message *message)
{
    set_now(swim, now_ns);
    if (!is_sane(from, swim, message))
        return DLHT_EPROTO;
    int rc = DLHT_OK;
    for (size_t i = 0; i < message->update_count; i++) {
        bool is_news;
        if (notice(swim, &message->updates[i], &is_news) != DLHT_OK)
            rc = DLHT_ENOMEM;
    }
    switch ((enum swim_message_type)message->type) {
    case SWIM_PING:
        send(swim, SWIM_ACK, from, message->number, NULL);
        return rc;
    case SWIM_ACK:
        receive_ack(swim, from, message);
        break;
    case SWIM_PING_REQUEST:
        receive_ping_request(swim, from, message);
        break;
    case SWIM_NACK:
        receive_nack(swim, from, message);
        break;
    }
    answer_opinion(swim, from);
    return rc;
}

bool swim_greet(struct swim *swim, const struct id *to, struct swim_send *out)
{
    struct peers_entry *entry = peers_find(&swim->peers, to);
    if (!entry || entry == swim->self || entry->greeted)
        return false;
    entry->greeted = true;
    out->to = *to;
    out->message.type = SWIM_PING;
    out->message.number = ++swim->number;
    out->message.target = (struct id){ 0 };
    out->message.updates[0] = swim->self->peer;
    out->message.update_count = 1;
    return true;
}

void swim_hint_lost(struct swim *swim, const struct id *peer)
{
    struct peers_entry *entry = peers_find(&swim->peers, peer);
    if (!entry || entry == swim->self || !peers_entry_is_up(entry))
        return;
    peers_put_next(&swim->peers, entry);
    if (!swim->probe.waiting && swim->period_due_ns > swim->now_ns) {
        swim->period_due_ns = swim->now_ns;
        swim->hurried = true;
    }
}

void swim_note_lag(struct swim *swim, uint64_t lag_ns)
{
    swim->lag_ns += lag_ns;
    lose_time(swim, lag_ns);
}

void swim_set_self(struct swim *swim, uint64_t now_ns, const struct peer *self)
{
    set_now(swim, now_ns);
    struct peer was = swim->self->peer;
    struct peer *peer = &swim->self->peer;
    assert(id_equal(&self->id, &peer->id));
    struct peer told = *self;
    told.incarnation = was.incarnation;
    told.state = was.state;
    told.refutation = was.refutation;
    assert(peers_is_sane(&told));
    if (told.refutation == UINT32_MAX)
        told.incarnation++;
    told.refutation++;
    *peer = told;
    peers_changed(&swim->peers, swim->self, &was, swim->now_ns);
}

void swim_leave(struct swim *swim, uint64_t now_ns)
{
    set_now(swim, now_ns);
    if (swim->self->peer.state == PEER_LEFT)
        return;
    set_state(swim, swim->self, PEER_LEFT);
    swim->probe.waiting = false;
    /* We probe nobody any more, so say it now to as many as it takes. */
    for (uint32_t i = 0; i < peers_sends(&swim->peers); i++) {
        struct peers_entry *entry = peers_next_up(&swim->peers, swim->self);
        if (entry)
            tell(swim, entry);
    }
}

void swim_forget(struct swim *swim, const struct id *peer)
{
    struct peers_entry *entry = peers_find(&swim->peers, peer);
    if (!entry || entry == swim->self || peers_entry_is_up(entry))
        return;
    peers_forget(&swim->peers, entry);
}

bool swim_take(struct swim *swim, struct swim_send *out)
{
    if (swim->out_count == 0)
        return false;
    const struct intent *intent = &swim->out[swim->out_first];
    out->to = intent->to;
    out->message.type = intent->type;
    out->message.number = intent->number;
    out->message.target = intent->target;
    out->message.update_count =
        peers_pick(&swim->peers, &intent->to, swim->self, out->message.updates);
    swim->out_first = (swim->out_first + 1) % OUT_MAX;
    swim->out_count--;
    return true;
}

bool swim_take_change(struct swim *swim, struct peer *out)
{
    return peers_take_change(&swim->peers, out);
}

const struct peer *swim_self(const struct swim *swim)
{
    return &swim->self->peer;
}

const struct peer *swim_find(const struct swim *swim, const struct id *id)
{
    const struct peers_entry *entry = peers_find(&swim->peers, id);
    return entry ? &entry->peer : NULL;
}

size_t swim_count(const struct swim *swim)
{
    return swim->peers.count;
}

size_t swim_up_count(const struct swim *swim)
{
    return peers_up_count(&swim->peers);
}

const struct peer *swim_at(const struct swim *swim, size_t index)
{
    assert(index < swim->peers.count);
    return &swim->peers.entries[index]->peer;
}

void swim_check(const struct swim *swim)
{
    peers_check(&swim->peers);
    assert(peers_find(&swim->peers, &swim->self->peer.id) == swim->self);
    assert(swim->self->peer.state == PEER_ALIVE ||
           swim->self->peer.state == PEER_LEFT);
    assert(swim->out_count <= OUT_MAX && swim->relay_count <= RELAYS_MAX);
    if (swim->suspect_due_ns != UINT64_MAX)
        return;
    assert(swim->peers.state_count[PEER_SUSPECT] == 0);
}

uint64_t swim_hash(const struct swim *swim)
{
    uint64_t hash = hash64_mix(swim->number, swim->period);
    hash = hash64_mix(hash, swim->period_due_ns);
    hash = hash64_mix(hash, swim->health);
    hash = hash64_mix(hash, swim->rng.s[0]);
    for (size_t i = 0; i < swim->peers.count; i++) {
        const struct peers_entry *entry = swim->peers.entries[i];
        const struct peer *peer = &entry->peer;
        hash = hash64_mix(hash, id_hash(&peer->id));
        hash = hash64_mix(hash, peer->incarnation);
        hash = hash64_mix(hash, peer->refutation);
        hash = hash64_mix(hash, peer->state);
        hash = hash64_mix(hash, entry->is_news ? entry->sent : UINT64_MAX);
    }
    return hash;
}

static struct swim_config with_defaults(const struct swim_config *config)
{
    struct swim_config full = *config;
    if (full.period_ns == 0)
        full.period_ns = 500 * UINT64_C(1000000);
    if (full.ack_timeout_ns == 0)
        full.ack_timeout_ns = 200 * UINT64_C(1000000);
    if (full.indirect_count == 0)
        full.indirect_count = 3;
    if (full.indirect_count > HELPERS_MAX)
        full.indirect_count = HELPERS_MAX;
    if (!(full.suspicion_factor > 0))
        full.suspicion_factor = 3;
    return full;
}

int swim_new(const struct swim_config *config, const struct peer *self,
             uint64_t now_ns, struct swim **out)
{
    *out = NULL;
    struct peer alive = *self;
    alive.state = PEER_ALIVE;
    assert(peers_is_sane(&alive));
    struct swim *swim = mem_zero(1, sizeof *swim);
    if (!swim)
        return DLHT_ENOMEM;
    swim->config = with_defaults(config);
    swim->now_ns = now_ns;
    rng_init(&swim->rng, config->seed ^ id_hash(&self->id));
    peers_init(&swim->peers, rng_next(&swim->rng));
    if (peers_merge(&swim->peers, now_ns, &alive, &swim->self) != DLHT_OK) {
        swim_free(swim);
        return DLHT_ENOMEM;
    }
    struct peer ours; /* the node knows of itself */
    bool took = peers_take_change(&swim->peers, &ours);
    assert(took && swim->self);
    /* Peers that start together should not probe together. */
    swim->period_due_ns =
        now_ns + rng_below(&swim->rng, swim->config.period_ns);
    swim->suspect_due_ns = UINT64_MAX;
    *out = swim;
    return DLHT_OK;
}

void swim_free(struct swim *swim)
{
    if (!swim)
        return;
    peers_deinit(&swim->peers);
    free(swim);
}
