/* SPDX-License-Identifier: Apache-2.0 */

/* What several bodies are made of: arcs, members, keyspaces, peers. */

#include <assert.h>
#include <string.h>

#include "wire/body.h"
#include "wire/fields.h"

size_t body_count(struct mp_reader *r, size_t max)
{
    size_t count = mp_read_array(r);
    if (count > max) {
        mp_fail(r);
        return 0;
    }
    return count;
}

static void pack_arc_members(struct buf *b, const struct arc *arc)
{
    mp_write_array(b, arc->member_count);
    for (size_t i = 0; i < arc->member_count; i++) {
        const struct arc_member *m = &arc->members[i];
        struct fields_out f = fields_begin(b);
        fields_put_uint(&f, m->replica);
        fields_put_id(&f, &m->peer);
        fields_put_bool(&f, m->voter);
        fields_end(&f);
    }
}

static bool arc_has_replica(const struct arc *arc, replica_id replica)
{
    for (size_t i = 0; i < arc->member_count; i++)
        if (arc->members[i].replica == replica)
            return true;
    return false;
}

static void unpack_arc_members(struct mp_reader *r, struct arc *arc)
{
    size_t count = body_count(r, ARC_MEMBERS_MAX);
    if (count == 0)
        mp_fail(r);
    for (size_t i = 0; i < count && !r->bad; i++) {
        struct fields_in f = fields_open(r);
        struct arc_member m;
        m.replica = fields_uint(&f, UINT64_MAX);
        m.peer = fields_id(&f);
        m.voter = fields_bool(&f);
        fields_close(&f);
        if (m.replica == 0 || id_is_zero(&m.peer) ||
            arc_has_replica(arc, m.replica)) {
            mp_fail(r);
            return;
        }
        arc->members[arc->member_count++] = m;
    }
}

void codec_pack_arc(struct buf *b, const struct arc *arc)
{
    assert(arc->member_count > 0 && arc->member_count <= ARC_MEMBERS_MAX);
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, arc->keyspace);
    fields_put_uint(&f, arc->id);
    fields_put_bytes(&f, arc->lo);
    if (arc->has_hi)
        mp_write_bin(b, arc->hi);
    else
        mp_write_nil(b);
    fields_note(&f, arc->has_hi);
    fields_put_uint(&f, arc->generation);
    pack_arc_members(b, arc);
    fields_note(&f, true);
    fields_put_uint(&f, arc->term);
    fields_put_id(&f, &arc->owner);
    fields_end(&f);
}

static void unpack_hi(struct fields_in *f, struct arc *arc)
{
    if (fields_next_is_nil(f)) {
        (void)fields_more(f);
        mp_read_nil(f->r);
        return;
    }
    arc->has_hi = f->left > 0;
    arc->hi = fields_bytes(f, CODEC_KEY_MAX);
}

void codec_unpack_arc(struct mp_reader *r, struct arc *arc)
{
    *arc = (struct arc){ 0 };
    struct fields_in f = fields_open(r);
    arc->keyspace = (keyspace_id)fields_uint(&f, UINT32_MAX);
    arc->id = fields_uint(&f, UINT64_MAX);
    arc->lo = fields_bytes(&f, CODEC_KEY_MAX);
    unpack_hi(&f, arc);
    arc->generation = fields_uint(&f, UINT64_MAX);
    if (fields_more(&f))
        unpack_arc_members(r, arc);
    else
        mp_fail(r);
    arc->term = fields_uint(&f, UINT64_MAX);
    arc->owner = fields_id(&f);
    fields_close(&f);
    if (arc->id == 0 || (arc->has_hi && span_compare(arc->lo, arc->hi) >= 0))
        mp_fail(r);
}

void codec_pack_members(struct buf *b, const struct raft_members *members)
{
    assert(members->count <= RAFT_MEMBERS_MAX);
    mp_write_array(b, members->count);
    for (size_t i = 0; i < members->count; i++) {
        struct fields_out f = fields_begin(b);
        fields_put_uint(&f, members->list[i].id);
        fields_put_bool(&f, members->list[i].voter);
        fields_end(&f);
    }
}

static bool has_member(const struct raft_members *members, replica_id id)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].id == id)
            return true;
    return false;
}

void codec_unpack_members(struct mp_reader *r, struct raft_members *members)
{
    *members = (struct raft_members){ 0 };
    size_t count = body_count(r, RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < count && !r->bad; i++) {
        struct fields_in f = fields_open(r);
        struct raft_member m;
        m.id = fields_uint(&f, UINT64_MAX);
        m.voter = fields_bool(&f);
        fields_close(&f);
        if (m.id == 0 || has_member(members, m.id)) {
            mp_fail(r);
            return;
        }
        members->list[members->count++] = m;
    }
}

void body_pack_arcs(struct buf *b, const struct arc *arcs, size_t count)
{
    mp_write_array(b, count);
    for (size_t i = 0; i < count; i++)
        codec_pack_arc(b, &arcs[i]);
}

const struct arc *body_unpack_arcs(struct mp_reader *r,
                                   struct codec_arena *arena, size_t max,
                                   size_t *count)
{
    *count = body_count(r, max);
    struct arc *arcs = body_array(arena, r, *count, sizeof *arcs, BODY_ARC_MIN);
    for (size_t i = 0; i < *count && !r->bad; i++)
        codec_unpack_arc(r, &arcs[i]);
    if (r->bad)
        *count = 0;
    return arcs;
}

enum keyspace_bit {
    KEYSPACE_VOLATILE = 1,
    KEYSPACE_DROPPED = 2
};

void codec_pack_keyspace(struct buf *b, const struct keyspace_record *k)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, k->id);
    fields_put_bytes(&f, k->name);
    fields_put_uint(&f, k->version);
    fields_put_uint(&f, k->placement);
    fields_put_uint(&f, k->replicas);
    fields_put_uint(&f, (k->is_volatile ? KEYSPACE_VOLATILE : 0u) |
                            (k->dropped ? KEYSPACE_DROPPED : 0u));
    fields_put_uint(&f, k->floor_keys);
    fields_put_uint(&f, k->ceiling_bytes);
    body_pack_arcs(b, k->first_arcs, k->first_arc_count);
    fields_note(&f, k->first_arc_count > 0);
    fields_put_bytes(&f, k->options);
    fields_end(&f);
}

/* A name can be printed and typed: visible ASCII. */
static bool is_visible(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            return false;
    return true;
}

static bool keyspace_is_sound(const struct keyspace_record *k)
{
    return k->name.len > 0 && is_visible(k->name) &&
           (k->placement == PLACEMENT_ORDERED ||
            k->placement == PLACEMENT_HASHED) &&
           (k->replicas == 1 || k->replicas == 3 || k->replicas == 5);
}

void codec_unpack_keyspace(struct mp_reader *r, struct codec_arena *arena,
                           struct keyspace_record *k)
{
    *k = (struct keyspace_record){ 0 };
    struct fields_in f = fields_open(r);
    k->id = (keyspace_id)fields_uint(&f, UINT32_MAX);
    k->name = fields_bytes(&f, KEYSPACE_NAME_MAX);
    k->version = fields_uint(&f, UINT64_MAX);
    k->placement = (uint8_t)fields_uint(&f, UINT8_MAX);
    k->replicas = (uint8_t)fields_uint(&f, UINT8_MAX);
    uint64_t bits = fields_uint(&f, KEYSPACE_VOLATILE | KEYSPACE_DROPPED);
    k->is_volatile = bits & KEYSPACE_VOLATILE;
    k->dropped = bits & KEYSPACE_DROPPED;
    k->floor_keys = fields_uint(&f, UINT64_MAX);
    k->ceiling_bytes = fields_uint(&f, UINT64_MAX);
    if (fields_more(&f))
        k->first_arcs = body_unpack_arcs(r, arena, CODEC_FIRST_ARCS_MAX,
                                         &k->first_arc_count);
    k->options = fields_bytes(&f, KEYSPACE_OPTIONS_MAX);
    fields_close(&f);
    if (!keyspace_is_sound(k))
        mp_fail(r);
}

bool body_is_addr(struct span text)
{
    return text.len < PEER_ADDR_MAX && is_visible(text);
}

/* Empty means none; no control characters, so it can be shown. */
static bool is_zone(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return text.len < PEER_ZONE_MAX;
}

/* Text of a fixed array, which need not have an end. */
static struct span array_text(const char *text, size_t cap)
{
    const char *end = memchr(text, '\0', cap);
    return span_of(text, end ? (size_t)(end - text) : cap - 1);
}

void body_pack_peer(struct buf *b, const struct peer *peer)
{
    struct fields_out f = fields_begin(b);
    fields_put_id(&f, &peer->id);
    fields_put_bytes(&f, array_text(peer->addr, sizeof peer->addr));
    fields_put_bytes(&f, array_text(peer->zone, sizeof peer->zone));
    fields_put_uint(&f, peer->incarnation);
    fields_put_uint(&f, peer->refutation);
    fields_put_uint(&f, peer->weight_milli);
    fields_put_uint(&f, peer->state);
    fields_end(&f);
}

void body_unpack_peer(struct mp_reader *r, struct peer *peer)
{
    *peer = (struct peer){ 0 };
    struct fields_in f = fields_open(r);
    peer->id = fields_id(&f);
    struct span addr = fields_bytes(&f, PEER_ADDR_MAX - 1);
    struct span zone = fields_bytes(&f, PEER_ZONE_MAX - 1);
    peer->incarnation = fields_uint(&f, UINT64_MAX);
    peer->refutation = (uint32_t)fields_uint(&f, UINT32_MAX);
    peer->weight_milli = (uint32_t)fields_uint(&f, BODY_WEIGHT_MILLI_MAX);
    peer->state = (uint8_t)fields_uint(&f, PEER_LEFT);
    fields_close(&f);
    if (r->bad || id_is_zero(&peer->id) || peer->state < PEER_ALIVE ||
        !body_is_addr(addr) || !is_zone(zone)) {
        mp_fail(r);
        return;
    }
    if (addr.len)
        memcpy(peer->addr, addr.data, addr.len);
    if (zone.len)
        memcpy(peer->zone, zone.data, zone.len);
}
