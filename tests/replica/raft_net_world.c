/* SPDX-License-Identifier: Apache-2.0 */

/* Clocks, events, network and disk of a world of rafts. */

#include "replica/raft_net_state.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void net_fail(struct net *net, const char *format, ...)
{
    if (net->result->error[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(net->result->error, sizeof net->result->error, format, args);
    va_end(args);
}

bool net_chance(struct net *net, double p)
{
    return rng_chance(&net->rng, p);
}

/* Clocks. */

uint64_t net_local_ns(const struct net *net, const struct node *node)
{
    return node->offset + (uint64_t)((double)net->now_ns * node->rate);
}

uint64_t net_world_ns(const struct node *node, uint64_t local)
{
    if (local == UINT64_MAX)
        return UINT64_MAX;
    if (local <= node->offset)
        return 0;
    return (uint64_t)((double)(local - node->offset) / node->rate) + 2;
}

/* Events. */

static bool event_before(const struct event *a, const struct event *b)
{
    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns;
    return a->order < b->order;
}

struct event *net_event_add(struct net *net, enum event_kind kind, size_t node,
                            uint64_t delay_ns)
{
    if (net->heap_count == net->heap_cap) {
        net->heap_cap = net->heap_cap ? net->heap_cap * 2 : 256;
        net->heap = realloc(net->heap, net->heap_cap * sizeof *net->heap);
    }
    struct event *e = calloc(1, sizeof *e);
    e->at_ns = net->now_ns + delay_ns;
    e->order = ++net->order;
    e->kind = kind;
    e->node = node;
    e->life = net->nodes[node].life;
    size_t i = net->heap_count++;
    for (; i > 0 && event_before(e, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = e;
    return e;
}

struct event *net_event_pop(struct net *net)
{
    struct event *first = net->heap[0];
    struct event *last = net->heap[--net->heap_count];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= net->heap_count)
            break;
        if (k + 1 < net->heap_count &&
            event_before(net->heap[k + 1], net->heap[k]))
            k++;
        if (!event_before(net->heap[k], last))
            break;
        net->heap[i] = net->heap[k];
        i = k;
    }
    if (net->heap_count > 0)
        net->heap[i] = last;
    return first;
}

void net_entry_copy(struct raft_entry *to, const struct raft_entry *from)
{
    *to = *from;
    uint8_t *data = NULL;
    if (from->data.len > 0) {
        data = malloc(from->data.len);
        memcpy(data, from->data.data, from->data.len);
    }
    to->data = span_of(data, from->data.len);
    if (!from->members)
        return;
    struct raft_members *members = malloc(sizeof *members);
    *members = *from->members;
    to->members = members;
}

void net_entry_free(struct raft_entry *entry)
{
    free((void *)(uintptr_t)entry->data.data);
    free((void *)(uintptr_t)entry->members);
}

void net_event_free(struct event *e)
{
    for (size_t i = 0; i < e->message.entry_count; i++)
        net_entry_free((struct raft_entry *)(uintptr_t)&e->message.entries[i]);
    free((void *)(uintptr_t)e->message.entries);
    free(e);
}

uint64_t net_entry_hash(const struct raft_entry *entry)
{
    uint64_t h = hash64_mix(entry->term, entry->index);
    h = hash64_mix(h, entry->type);
    h = hash64_mix(h, hash64(entry->data));
    if (entry->type == RAFT_ENTRY_MEMBERS)
        for (size_t i = 0; i < entry->members->count; i++)
            h = hash64_mix(h, entry->members->list[i].id * 2 +
                                  entry->members->list[i].voter);
    return h | 1;
}

/* The network. */

static void send_once(struct net *net, size_t from, size_t to,
                      const struct raft_message *m)
{
    uint64_t delay = rng_range(&net->rng, MS / 20, MS);
    if (!net->calm && net_chance(net, 0.3))
        delay = rng_below(&net->rng, net->config.delay_ns_max) + MS / 20;
    if (!net->calm && net_chance(net, net->config.late))
        delay += rng_below(&net->rng, net->config.late_ns_max);
    struct event *e = net_event_add(net, EVENT_MESSAGE, to, delay);
    e->other = from;
    e->message = *m;
    if (m->entry_count == 0)
        return;
    struct raft_entry *list = malloc(m->entry_count * sizeof *list);
    for (size_t i = 0; i < m->entry_count; i++)
        net_entry_copy(&list[i], &m->entries[i]);
    e->message.entries = list;
}

void net_send(struct net *net, size_t from, const struct raft_message *m)
{
    assert(m->to >= 1 && m->to <= NET_NODES_MAX);
    size_t to = (size_t)m->to - 1;
    if (net->cut[from][to] || (!net->calm && net_chance(net, net->config.loss)))
        return;
    send_once(net, from, to, m);
    if (!net->calm && net_chance(net, net->config.again))
        send_once(net, from, to, m);
}

/* The disk. */

static struct op *disk_add(struct disk *disk, enum op_kind kind)
{
    if (disk->count == disk->cap) {
        disk->cap = disk->cap ? disk->cap * 2 : 64;
        disk->ops = realloc(disk->ops, disk->cap * sizeof *disk->ops);
    }
    struct op *op = &disk->ops[disk->count++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    return op;
}

void net_disk_cut(struct disk *disk, size_t count)
{
    while (disk->count > count)
        net_entry_free(&disk->ops[--disk->count].entry);
}

/* Drops from the front what the snapshot covers, keeping the last vote. */
size_t net_disk_trim(struct disk *disk)
{
    size_t n = 0;
    for (; n < disk->durable; n++) {
        struct op *op = &disk->ops[n];
        if (op->kind == OP_ENTRY && op->entry.index > disk->snapshot.index)
            break;
        if (op->kind == OP_VOTE) {
            disk->term = op->term;
            disk->vote = op->vote;
        }
        if (op->kind == OP_ENTRY && op->entry.term > disk->term) {
            disk->term = op->entry.term;
            disk->vote = 0;
        }
        net_entry_free(&op->entry);
    }
    if (n == 0)
        return 0;
    memmove(disk->ops, disk->ops + n, (disk->count - n) * sizeof *disk->ops);
    disk->count -= n;
    disk->durable -= n;
    return n;
}

void net_journal(struct net *net, size_t i, const struct raft_output *out)
{
    struct node *node = &net->nodes[i];
    struct disk *disk = &node->disk;
    for (size_t k = 0; k < out->entry_count; k++)
        net_entry_copy(&disk_add(disk, OP_ENTRY)->entry, &out->entries[k]);
    if (out->vote_changed) {
        struct op *op = disk_add(disk, OP_VOTE);
        op->term = out->term;
        op->vote = out->vote;
    }
    uint64_t commit = raft_commit(node->raft);
    if (commit > node->journaled_commit && net_chance(net, 0.3)) {
        disk_add(disk, OP_COMMIT)->commit = commit;
        node->journaled_commit = commit;
    }
    if (out->number == 0)
        return;
    if (node->disk_free_ns < net->now_ns)
        node->disk_free_ns = net->now_ns;
    node->disk_free_ns += rng_below(&net->rng, net->config.disk_ns_max) + 1;
    struct event *e =
        net_event_add(net, EVENT_DURABLE, i, node->disk_free_ns - net->now_ns);
    e->number = out->number;
    e->ops = disk->count + node->tail;
}
