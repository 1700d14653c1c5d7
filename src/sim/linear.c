/* SPDX-License-Identifier: Apache-2.0 */

/* Wing and Gong's search over the calls and returns of one key. */

#include "sim/linear.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"

enum {
    STEPS_MAX_DEFAULT = 1000000
};

static const size_t NONE = SIZE_MAX;

/* A lost write whose value nobody read, and a lost delete, are ghosts: they
 * only matter to an operation right after them that shows something changed.
 * Placing them nowhere else, and like ones in the order of their calls, keeps
 * the search small however many were lost. */
enum ghost {
    GHOST_NONE,
    GHOST_VALUE,
    GHOST_DEL
};

/* What the register holds. If bound is false the version is only known to be
 * above `version`; of an absent key likewise. owes: the ghost just placed. */
struct state {
    bool present;
    bool bound;
    enum ghost owes;
    uint64_t version;
    uint64_t value;
};

/* A call or a return, in a list ordered by time from which the calls and
 * returns of placed operations are lifted. */
struct entry {
    uint64_t time;
    size_t op;
    bool is_return;
    size_t previous;
    size_t next;
};

struct frame {
    size_t entry;
    struct state before;
};

struct seen {
    uint64_t a, b;
};

struct search {
    const struct linear_op *ops;
    size_t op_count;
    uint64_t *version; /* of each write, if anybody saw it; else 0 */
    uint8_t *ghost;    /* enum ghost of each operation */
    size_t *twin;      /* ghost of like effect called before it, or NONE */
    bool *is_placed;
    size_t *order; /* writes with a version, ascending */
    size_t order_count;
    size_t order_next;
    size_t *return_of;     /* entry of an operation's return, or NONE */
    struct entry *entries; /* [0] is the head */
    size_t entry_count;
    struct frame *stack;
    size_t depth;
    size_t required_left;
    struct seen *table; /* open addressing, cap a power of two */
    size_t table_cap;
    size_t table_count;
    uint64_t bits; /* hash of the set of placed operations */
    uint64_t steps;
};

static bool is_write(const struct linear_op *op)
{
    return op->kind == LINEAR_PUT || op->kind == LINEAR_CAS;
}

static bool changes(const struct linear_op *op)
{
    return is_write(op) &&
           (op->outcome == LINEAR_DONE || op->outcome == LINEAR_UNKNOWN);
}

/* A write with a version goes in the order of versions and no other. */
static bool write_state(const struct linear_op *op, uint64_t version,
                        uint64_t floor, struct state *out)
{
    if (version != 0 && version <= floor)
        return false;
    out->present = true;
    out->bound = version != 0;
    out->version = version != 0 ? version : floor;
    out->value = op->value;
    return true;
}

/* Whether the present version may be this one; it is from then on. */
static bool bind_version(struct state *s, uint64_t version)
{
    if (s->bound)
        return s->version == version;
    if (version <= s->version)
        return false;
    s->bound = true;
    s->version = version;
    return true;
}

static bool apply_get(struct state *s, const struct linear_op *op)
{
    if (op->outcome == LINEAR_ABSENT)
        return !s->present;
    if (!s->present || s->value != op->value)
        return false;
    return op->version == 0 || bind_version(s, op->version);
}

static bool apply_del(struct state *s, const struct linear_op *op)
{
    if (op->outcome == LINEAR_ABSENT)
        return !s->present;
    if (!s->present)
        return false;
    s->present = false;
    s->bound = false;
    s->value = 0;
    return true;
}

static bool apply_cas(struct state *s, const struct linear_op *op,
                      uint64_t version)
{
    if (op->outcome == LINEAR_DIFFERS) {
        if (op->version == op->expected)
            return false;
        if (op->version == 0)
            return !s->present;
        return s->present && bind_version(s, op->version);
    }
    if (op->expected == 0) {
        if (s->present)
            return false;
    } else if (!s->present || !bind_version(s, op->expected)) {
        return false;
    }
    return write_state(op, version, s->version, s);
}

/* False: it cannot take effect in this state. An operation of unknown outcome
 * is only ever placed where it has an effect. */
static bool apply(const struct search *search, size_t index, struct state *s)
{
    const struct linear_op *op = &search->ops[index];
    switch ((enum linear_kind)op->kind) {
    case LINEAR_PUT:
        return write_state(op, search->version[index], s->version, s);
    case LINEAR_GET:
        return apply_get(s, op);
    case LINEAR_DEL:
        return apply_del(s, op);
    case LINEAR_CAS:
        return apply_cas(s, op, search->version[index]);
    }
    return false;
}

static int grow_table(struct search *s)
{
    size_t cap = s->table_cap ? s->table_cap * 2 : 1024;
    struct seen *table = mem_zero(cap, sizeof *table);
    if (!table)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < s->table_cap; i++) {
        struct seen *old = &s->table[i];
        if (old->a == 0 && old->b == 0)
            continue;
        size_t at = (size_t)old->a & (cap - 1);
        while (table[at].a != 0 || table[at].b != 0)
            at = (at + 1) & (cap - 1);
        table[at] = *old;
    }
    free(s->table);
    s->table = table;
    s->table_cap = cap;
    return DLHT_OK;
}

/* Notes that this set of operations led to this state; *fresh false: it was
 * tried before. */
static int note_seen(struct search *s, uint64_t bits, const struct state *state,
                     bool *fresh)
{
    if (s->table_count * 2 >= s->table_cap) {
        int rc = grow_table(s);
        if (rc != DLHT_OK)
            return rc;
    }
    uint64_t h = hash64_mix(bits, state->version);
    uint64_t flags = (uint64_t)state->present * 2 + state->bound;
    h = hash64_mix(h, flags * 4 + (uint64_t)state->owes);
    struct seen key = { hash64_mix(h, state->value),
                        bits ^ hash64_mix(state->value, state->version) };
    if (key.a == 0 && key.b == 0)
        key.a = 1;
    size_t at = (size_t)key.a & (s->table_cap - 1);
    while (s->table[at].a != 0 || s->table[at].b != 0) {
        if (s->table[at].a == key.a && s->table[at].b == key.b) {
            *fresh = false;
            return DLHT_OK;
        }
        at = (at + 1) & (s->table_cap - 1);
    }
    s->table[at] = key;
    s->table_count++;
    *fresh = true;
    return DLHT_OK;
}

static void unlink_entry(struct search *s, size_t e)
{
    struct entry *entry = &s->entries[e];
    s->entries[entry->previous].next = entry->next;
    if (entry->next != NONE)
        s->entries[entry->next].previous = entry->previous;
}

static void relink_entry(struct search *s, size_t e)
{
    struct entry *entry = &s->entries[e];
    s->entries[entry->previous].next = e;
    if (entry->next != NONE)
        s->entries[entry->next].previous = e;
}

static uint64_t bit_of(size_t op)
{
    return hash64_mix(0x51ab1e5eed, op + 1);
}

static void place(struct search *s, size_t e, const struct state *before)
{
    size_t op = s->entries[e].op;
    s->stack[s->depth].entry = e;
    s->stack[s->depth].before = *before;
    s->depth++;
    unlink_entry(s, e);
    if (s->return_of[op] != NONE) {
        unlink_entry(s, s->return_of[op]);
        s->required_left--;
    }
    if (s->version[op] != 0)
        s->order_next++;
    s->is_placed[op] = true;
    s->bits ^= bit_of(op);
}

/* Takes the last placed operation back and gives its entry. */
static size_t take_back(struct search *s, struct state *state)
{
    assert(s->depth > 0);
    struct frame *frame = &s->stack[--s->depth];
    size_t e = frame->entry;
    size_t op = s->entries[e].op;
    *state = frame->before;
    s->bits ^= bit_of(op);
    if (s->version[op] != 0)
        s->order_next--;
    s->is_placed[op] = false;
    if (s->return_of[op] != NONE) {
        relink_entry(s, s->return_of[op]);
        s->required_left++;
    }
    relink_entry(s, e);
    return e;
}

static bool version_is_known(const struct search *s, uint64_t version)
{
    size_t lo = 0, hi = s->order_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->version[s->order[mid]] < version)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->order_count && s->version[s->order[lo]] == version;
}

/* Whether an operation can show that a ghost went before it. */
static bool shows_ghost(const struct search *s, const struct linear_op *op,
                        enum ghost ghost)
{
    bool cas = op->kind == LINEAR_CAS;
    uint64_t told = op->outcome == LINEAR_DIFFERS ? op->version : op->expected;
    if (ghost == GHOST_DEL) {
        if (cas)
            return told == 0;
        return op->outcome == LINEAR_ABSENT;
    }
    if (cas)
        return told != 0 && !version_is_known(s, told);
    return op->kind == LINEAR_DEL && op->outcome == LINEAR_DONE;
}

static bool in_turn(const struct search *s, size_t op, const struct state *now)
{
    if (now->owes != GHOST_NONE && !shows_ghost(s, &s->ops[op], now->owes))
        return false;
    if (s->twin[op] != NONE && !s->is_placed[s->twin[op]])
        return false;
    return s->version[op] == 0 ||
           (s->order_next < s->order_count && s->order[s->order_next] == op);
}

static int run(struct search *s, uint64_t steps_max,
               struct linear_report *report)
{
    struct state state = { 0 };
    size_t e = s->entries[0].next;
    report->verdict = LINEAR_YES;
    while (s->required_left > 0) {
        if (s->steps > steps_max) {
            report->verdict = LINEAR_UNDECIDED;
            return DLHT_OK;
        }
        if (e != NONE && !s->entries[e].is_return) {
            size_t op = s->entries[e].op;
            struct state after = state;
            bool fresh = false;
            if (in_turn(s, op, &state) && apply(s, op, &after)) {
                after.owes = (enum ghost)s->ghost[op];
                int rc = note_seen(s, s->bits ^ bit_of(op), &after, &fresh);
                if (rc != DLHT_OK)
                    return rc;
            }
            if (!fresh) {
                e = s->entries[e].next;
                continue;
            }
            s->steps++;
            place(s, e, &state);
            state = after;
            e = s->entries[0].next;
            continue;
        }
        if (s->depth >= report->placed && e != NONE) {
            report->placed = s->depth;
            report->blocked = s->entries[e].op;
        }
        if (s->depth == 0) {
            report->verdict = LINEAR_NO;
            return DLHT_OK;
        }
        e = s->entries[take_back(s, &state)].next;
    }
    report->placed = s->depth;
    return DLHT_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->is_return != y->is_return)
        return x->is_return ? 1 : -1; /* calls first: equal is concurrent */
    return (x->op > y->op) - (x->op < y->op);
}

/* Entries of all calls and returns, linked in the order of time behind the
 * head. */
static void make_entries(struct search *s)
{
    size_t n = 1;
    s->entries[0].time = 0;
    for (size_t i = 0; i < s->op_count; i++) {
        const struct linear_op *op = &s->ops[i];
        s->return_of[i] = NONE;
        s->entries[n++] = (struct entry){ .time = op->call_ns, .op = i };
        if (op->outcome == LINEAR_UNKNOWN)
            continue;
        assert(op->return_ns >= op->call_ns);
        s->entries[n++] =
            (struct entry){ .time = op->return_ns, .op = i, .is_return = true };
        s->required_left++;
    }
    qsort(s->entries + 1, n - 1, sizeof *s->entries, compare_entries);
    for (size_t i = 0; i < n; i++) {
        s->entries[i].previous = i == 0 ? NONE : i - 1;
        s->entries[i].next = i + 1 == n ? NONE : i + 1;
        if (i > 0 && s->entries[i].is_return)
            s->return_of[s->entries[i].op] = i;
    }
    s->entry_count = n;
}

struct pair {
    uint64_t key;
    size_t op;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->op > y->op) - (x->op < y->op);
}

/* A write whose answer was lost, or told no version, has the version that a
 * reader saw with its value. */
static void learn_versions(struct search *s, struct pair *pairs)
{
    size_t n = 0;
    for (size_t i = 0; i < s->op_count; i++) {
        const struct linear_op *op = &s->ops[i];
        if (op->kind == LINEAR_GET && op->outcome == LINEAR_DONE &&
            op->version != 0)
            pairs[n++] = (struct pair){ op->value, i };
    }
    qsort(pairs, n, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < s->op_count; i++) {
        const struct linear_op *op = &s->ops[i];
        s->version[i] = 0;
        if (!changes(op))
            continue;
        if (op->outcome == LINEAR_DONE)
            s->version[i] = op->version;
        size_t lo = 0, hi = n;
        while (s->version[i] == 0 && lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (pairs[mid].key < op->value)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (s->version[i] == 0 && lo < n && pairs[lo].key == op->value)
            s->version[i] = s->ops[pairs[lo].op].version;
    }
}

static void order_versions(struct search *s, struct pair *pairs)
{
    for (size_t i = 0; i < s->op_count; i++) {
        if (s->version[i] != 0)
            pairs[s->order_count++] = (struct pair){ s->version[i], i };
    }
    qsort(pairs, s->order_count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < s->order_count; i++)
        s->order[i] = pairs[i].op;
}

static bool was_read(const struct search *s, uint64_t value)
{
    for (size_t i = 0; i < s->op_count; i++) {
        const struct linear_op *op = &s->ops[i];
        if (op->kind == LINEAR_GET && op->outcome == LINEAR_DONE &&
            op->value == value)
            return true;
    }
    return false;
}

/* Entries are in the order of time by now. */
static void find_ghosts(struct search *s)
{
    size_t last_put = NONE, last_del = NONE;
    for (size_t i = 0; i < s->op_count; i++) {
        s->ghost[i] = GHOST_NONE;
        s->twin[i] = NONE;
    }
    for (size_t e = 1; e < s->entry_count; e++) {
        size_t i = s->entries[e].op;
        const struct linear_op *op = &s->ops[i];
        if (op->outcome != LINEAR_UNKNOWN)
            continue;
        if (op->kind == LINEAR_DEL) {
            s->ghost[i] = GHOST_DEL;
            s->twin[i] = last_del;
            last_del = i;
        } else if (s->version[i] == 0 && !was_read(s, op->value)) {
            s->ghost[i] = GHOST_VALUE;
            if (op->kind == LINEAR_PUT) {
                s->twin[i] = last_put;
                last_put = i;
            }
        }
    }
}

int linear_check(const struct linear_op *ops, size_t count, uint64_t steps_max,
                 struct linear_report *report)
{
    struct search s = { .ops = ops, .op_count = count };
    *report = (struct linear_report){ .verdict = LINEAR_UNDECIDED };
    struct pair *pairs = mem_array(count, sizeof *pairs);
    s.version = mem_array(count, sizeof *s.version);
    s.order = mem_array(count, sizeof *s.order);
    s.ghost = mem_array(count, sizeof *s.ghost);
    s.twin = mem_array(count, sizeof *s.twin);
    s.is_placed = mem_zero(count, sizeof *s.is_placed);
    s.return_of = mem_array(count, sizeof *s.return_of);
    s.entries = mem_zero(2 * count + 1, sizeof *s.entries);
    s.stack = mem_array(count, sizeof *s.stack);
    int rc = DLHT_ENOMEM;
    bool whole = pairs && s.version && s.order && s.ghost && s.twin &&
                 s.is_placed && s.return_of && s.entries && s.stack;
    if (whole) {
        learn_versions(&s, pairs);
        order_versions(&s, pairs);
        make_entries(&s);
        find_ghosts(&s);
        rc = run(&s, steps_max ? steps_max : STEPS_MAX_DEFAULT, report);
    }
    report->steps = s.steps;
    free(pairs);
    free(s.version);
    free(s.order);
    free(s.ghost);
    free(s.twin);
    free(s.is_placed);
    free(s.return_of);
    free(s.entries);
    free(s.stack);
    free(s.table);
    return rc;
}
